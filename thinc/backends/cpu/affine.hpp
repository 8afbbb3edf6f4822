// What dense layers do with the sums of a matrix product while these are still
// in cache: activations, and the choice of maxout.
#pragma once
#include "elementwise.hpp"
#include "gemm_plans.hpp"

namespace thinc {
namespace THINC_LEVEL {
namespace products {

// The activation loops of this instruction-set level.
template <typename T>
static const Kernels<T>& activation_loops() {
    static const Kernels<T> loops = [] {
        Kernels<T> kernels = {};
        fill_elementwise(kernels);
        return kernels;
    }();
    return loops;
}

// Sums go to `sums` (which may be Y), f of them to Y, block by block.
template <typename T>
struct ActivatedOutput {
    T* sums;
    T* Y;
    ptrdiff_t ldc;
    void (*f)(T*, const T*, int64_t, const T*);
    const T* params;

    static constexpr bool has_second_pass = true;
    T* rows(int64_t first) const { return sums + first * ldc; }
    void done(int64_t first, int64_t count, int64_t column, int64_t width) const {
        if (width == ldc) {
            f(Y + first * ldc, sums + first * ldc, count * ldc, params);
            return;
        }
        for (int64_t i = first; i < first + count; i++)
            f(Y + i * ldc + column, sums + i * ldc + column, width, params);
    }
};

// Sums (rows, pieces, width) as they lie in memory, ldc apart.
template <typename T>
struct PlainSums {
    const T* data;
    ptrdiff_t ldc;

    V<T> at(int64_t row, int64_t column, int lanes) const {
        return load_lanes(data + row * ldc + column, lanes);
    }
};

// Sums are made in one block of scratch memory after the other; their maxima go to best
// and which, whose rows are ldo apart. which may be null.
template <typename T>
struct MaxoutOutput {
    T* sums;
    ptrdiff_t ldc;
    T* best;
    int32_t* which;
    ptrdiff_t ldo;
    int64_t pieces;

    static constexpr bool has_second_pass = true;
    T* rows(int64_t) const { return sums; }

    void done(int64_t first, int64_t count, int64_t, int64_t width) const {
        reduce(PlainSums<T>{sums, ldc}, first, count, width);
    }

    // Row 0 of the block of sums is row `first` of the results.
    template <typename Sums>
    void reduce(const Sums& block, int64_t first, int64_t count, int64_t width) const {
        switch (pieces) {
            case 2: return reduce_rows<2>(block, first, count, width);
            case 3: return reduce_rows<3>(block, first, count, width);
            default: return reduce_rows<0>(block, first, count, width);
        }
    }

    MaxoutOutput from_row(int64_t first) const {
        MaxoutOutput part = *this;
        part.best += first * ldo;
        if (which) part.which += first * ldo;
        return part;
    }

private:
    // PIECES is known at compile time where it matters, else zero.
    template <int PIECES, typename Sums>
    void reduce_rows(const Sums& block, int64_t first, int64_t count, int64_t width) const {
        constexpr int L = LANES<T>;
        using Index = typename Register<T>::mask;
        typedef int32_t Index32 __attribute__((vector_size(L * sizeof(int32_t))));
        const int64_t n = PIECES ? PIECES : pieces;
        for (int64_t i = 0; i < count; i++) {
            for (int64_t j = 0; j < width; j += L) {
                const int lanes = static_cast<int>(smaller(L, width - j));
                V<T> top = block.at(i, j, lanes);
                Index index = {};
                for (int64_t p = 1; p < n; p++) {
                    const V<T> next = block.at(i, p * width + j, lanes);
                    // Larger, or the first NaN.
                    const Index wins = ~(next <= top) & (top == top);
                    top = wins ? next : top;
                    index = wins ? Index{} + static_cast<decltype(index[0] + 0)>(p) : index;
                }
                const Index32 narrow = __builtin_convertvector(index, Index32);
                store_lanes(best + (first + i) * ldo + j, top, lanes);
                if (which) std::memcpy(which + (first + i) * ldo + j, &narrow, lanes * sizeof(int32_t));
            }
        }
    }
};

// One number at a time, for when there is no scratch memory.
template <typename T>
static void maxout_plainly(T* best, int32_t* which, const T* X, int64_t ldx, const T* W, const T* b,
                           int64_t M, int64_t O, int64_t pieces, int64_t K) {
    for (int64_t i = 0; i < M; i++) {
        for (int64_t o = 0; o < O; o++) {
            T top = 0;
            int32_t index = 0;
            for (int64_t p = 0; p < pieces; p++) {
                const T* w = W + (o * pieces + p) * K;
                T sum = b ? b[o * pieces + p] : T(0);
                for (int64_t k = 0; k < K; k++) sum += X[i * ldx + k] * w[k];
                if (p == 0 || (!(sum <= top) && top == top)) {
                    top = sum;
                    index = static_cast<int32_t>(p);
                }
            }
            best[i * O + o] = top;
            if (which) which[i * O + o] = index;
        }
    }
}

}  // namespace products

}  // namespace THINC_LEVEL
}  // namespace thinc
