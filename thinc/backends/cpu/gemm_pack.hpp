// What the matrix products keep and copy: scratch memory, and strips of an
// operand laid out as the inner loops read them.
#pragma once
#include <cstdlib>

#include "gemm_tiles.hpp"

namespace thinc {
namespace THINC_LEVEL {
namespace products {

template <typename T>
struct Matrix {
    const T* data;
    ptrdiff_t row_stride, column_stride;

    const T* at(ptrdiff_t row, ptrdiff_t column) const {
        return data + row * row_stride + column * column_stride;
    }
};

constexpr int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// ---- scratch memory ----------------------------------------------------------

// Kept by each thread and grown on demand: pages fresh from the system cost more
// than packing into them. Requests above the bound are not kept. Nested requests
// (a layer's block of sums, the product's packed operand) get buffers of their own.
class Scratch {
public:
    static constexpr std::size_t KEPT_BYTES = std::size_t(3) << 20;

    explicit Scratch(std::size_t bytes) {
        Pool& pool = thread_pool();
        if (pool.depth == Pool::BUFFERS || bytes > KEPT_BYTES) {
            own_ = std::malloc(bytes + LINE);
            data_ = aligned(own_);
            return;
        }
        borrowed_ = true;
        Buffer& kept = pool.buffers[pool.depth++];
        if (kept.size < bytes) {
            std::free(kept.memory);
            // Doubled, so that growing shapes do not allocate at every call.
            kept.size = bytes > KEPT_BYTES / 2 ? KEPT_BYTES : 2 * bytes;
            kept.memory = std::malloc(kept.size + LINE);
            if (!kept.memory) kept.size = 0;
        }
        data_ = aligned(kept.memory);
    }
    ~Scratch() {
        if (borrowed_) thread_pool().depth--;
        else std::free(own_);
    }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

    // Aligned to a cache line. Null if there was no memory.
    template <typename T> T* get() const { return static_cast<T*>(data_); }

private:
    static constexpr std::size_t LINE = 64;

    struct Buffer {
        void* memory = nullptr;
        std::size_t size = 0;
        ~Buffer() { std::free(memory); }
    };
    struct Pool {
        static constexpr int BUFFERS = 3;
        Buffer buffers[BUFFERS];
        int depth = 0;
    };
    static Pool& thread_pool() {
        static thread_local Pool pool;
        return pool;
    }
    static void* aligned(void* p) {
        return p ? reinterpret_cast<void*>((reinterpret_cast<std::uintptr_t>(p) + LINE - 1) & ~(LINE - 1))
                 : nullptr;
    }

    void* data_ = nullptr;
    void* own_ = nullptr;
    bool borrowed_ = false;
};

// ---- packing -----------------------------------------------------------------

// Copies B (K, count), count <= LANES, to rows of LANES, padded with zeros.
template <typename T>
static void pack_strip(T* to, ptrdiff_t ldt, Matrix<T> B, int count, int64_t K) {
    constexpr int L = LANES<T>;
    if (B.row_stride == 1 && B.column_stride != 1) {
        for (int64_t k = 0; k < K; k += L) {
            const int rest = static_cast<int>(smaller(L, K - k));
            V<T> v[L];
            if (rest == L && count == L) {
                THINC_UNROLL
                for (int i = 0; i < L; i++) v[i] = load(B.at(k, i));
            } else {
                for (int i = 0; i < L; i++)
                    v[i] = i < count ? load_first(B.at(k, i), rest) : V<T>{};
            }
            transpose<T>(v);
            if (rest == L) {
                THINC_UNROLL
                for (int i = 0; i < L; i++) store(to + (k + i) * ldt, v[i]);
            } else {
                for (int i = 0; i < rest; i++) store(to + (k + i) * ldt, v[i]);
            }
        }
    } else if (B.column_stride == 1) {
        if (count == L) {
            for (int64_t k = 0; k < K; k++) store(to + k * ldt, load(B.at(k, 0)));
        } else {
            for (int64_t k = 0; k < K; k++) store(to + k * ldt, load_first(B.at(k, 0), count));
        }
    } else {
        for (int64_t k = 0; k < K; k++)
            for (int i = 0; i < L; i++) to[k * ldt + i] = i < count ? *B.at(k, i) : T(0);
    }
}

}  // namespace products
}  // namespace THINC_LEVEL
}  // namespace thinc
