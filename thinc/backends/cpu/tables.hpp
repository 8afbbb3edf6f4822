// Sums of table rows, the inner loops of embedding layers. Memory is the cost:
// the rows of one output are read together, so that it is written once, and the
// rows of a later one are asked for while these are added.
#pragma once
#include <cstdint>
#include <cstring>

#include "gemm_pack.hpp"
#include "kernel_table.hpp"

namespace thinc {
namespace THINC_LEVEL {
namespace tables {

constexpr int64_t PREFETCH_AHEAD = 2;  // in batch items
constexpr int64_t LINE = 64;
// Of narrower rows, the processor has those of several outputs under way by itself.
constexpr int64_t MIN_PREFETCH_BYTES = 256;

// The rows of the output PREFETCH_AHEAD after b. Always inlined: gcc takes a function
// that only prefetches for one without effect, and drops its calls.
template <bool WRITE, typename T>
static inline __attribute__((always_inline)) void prefetch_rows(const T* table, const uint32_t* indices,
                                                                int64_t b, int64_t B, int64_t K,
                                                                int64_t width) {
    const int64_t bytes = width * sizeof(T);
    if (bytes < MIN_PREFETCH_BYTES || b + PREFETCH_AHEAD >= B) return;
    const uint32_t* const later = indices + (b + PREFETCH_AHEAD) * K;
    for (int64_t k = 0; k < K; ++k) {
        const char* const row = reinterpret_cast<const char*>(table + later[k] * width);
        for (int64_t i = 0; i < bytes; i += LINE) __builtin_prefetch(row + i, WRITE);
    }
}

// y = (ACCUMULATE ? y : 0) + rows[0] + ... + rows[K - 1], K up to 4
template <int K, bool ACCUMULATE, typename T>
static inline void add_rows(T* __restrict y, const T* const* rows, int64_t width) {
    const T* const a = rows[0];
    const T* const b = rows[K > 1 ? 1 : 0];
    const T* const c = rows[K > 2 ? 2 : 0];
    const T* const d = rows[K > 3 ? 3 : 0];
    for (int64_t j = 0; j < width; ++j) {
        T sum = a[j];
        if (K > 1) sum += b[j];
        if (K > 2) sum += c[j];
        if (K > 3) sum += d[j];
        y[j] = ACCUMULATE ? y[j] + sum : sum;
    }
}

template <bool ACCUMULATE, typename T>
static inline void add_up_to_four_rows(T* y, const T* const* rows, int64_t count, int64_t width) {
    switch (count) {
        case 1: return add_rows<1, ACCUMULATE>(y, rows, width);
        case 2: return add_rows<2, ACCUMULATE>(y, rows, width);
        case 3: return add_rows<3, ACCUMULATE>(y, rows, width);
        default: return add_rows<4, ACCUMULATE>(y, rows, width);
    }
}

}  // namespace tables

namespace tables {

// y = (ACCUMULATE ? y : 0) + the sum of K > 0 rows of the table
template <bool ACCUMULATE, typename T>
static inline void add_rows_of(T* y, const T* table, const uint32_t* indices, int64_t K, int64_t width) {
    for (int64_t k = 0; k < K; k += 4) {
        const int64_t count = K - k < 4 ? K - k : 4;
        const T* rows[4];
        for (int64_t i = 0; i < count; ++i) rows[i] = table + indices[k + i] * width;
        if (k == 0) add_up_to_four_rows<ACCUMULATE>(y, rows, count, width);
        else add_up_to_four_rows<true>(y, rows, count, width);
    }
}

}  // namespace tables

template <typename T>
static void gather_add(T* Y, int64_t ldy, const T* table, const uint32_t* indices, int64_t B,
                       int64_t K, int64_t width) {
    for (int64_t b = 0; b < B; ++b, Y += ldy) {
        tables::prefetch_rows<false>(table, indices, b, B, K, width);
        if (K > 0) tables::add_rows_of<false>(Y, table, indices + b * K, K, width);
        else if (width > 0) std::memset(Y, 0, width * sizeof(T));
    }
}

template <typename T>
static bool gather_maxout(T* best, const T* table, const uint32_t* indices, const T* bias, int64_t B,
                          int64_t K, int64_t O, int64_t pieces) {
    using namespace products;
    if (O == 0) return true;
    const int64_t width = O * pieces;
    const Scratch scratch(width * sizeof(T));
    T* const sums = scratch.template get<T>();
    if (!sums) return false;
    for (int64_t b = 0; b < B; ++b, best += O) {
        tables::prefetch_rows<false>(table, indices, b, B, K, width);
        std::memcpy(sums, bias, width * sizeof(T));
        tables::add_rows_of<true>(sums, table, indices + b * K, K, width);
        for (int64_t j = 0; j < O; j += LANES<T>) {
            const int lanes = static_cast<int>(smaller(LANES<T>, O - j));
            V<T> top = load_lanes(sums + j, lanes);
            for (int64_t p = 1; p < pieces; ++p) {
                const V<T> next = load_lanes(sums + p * O + j, lanes);
                top = ~(next <= top) & (top == top) ? next : top;  // larger, or the first NaN
            }
            store_lanes(best + j, top, lanes);
        }
    }
    return true;
}

template <typename T>
static void backprop_gather_add(T* table, const T* dY, const uint32_t* indices, int64_t B, int64_t K,
                                int64_t width) {
    for (int64_t b = 0; b < B; ++b) {
        tables::prefetch_rows<true>(table, indices, b, B, K, width);
        const T* __restrict dy = dY + b * width;
        // One row after the other: two of them may be the same.
        for (int64_t k = 0; k < K; ++k) {
            T* __restrict row = table + indices[b * K + k] * width;
            for (int64_t j = 0; j < width; ++j) row[j] += dy[j];
        }
    }
}

template <typename T>
static void fill_tables(Kernels<T>& kernels) {
    kernels.gather_add = gather_add<T>;
    kernels.gather_maxout = gather_maxout<T>;
    kernels.backprop_gather_add = backprop_gather_add<T>;
}

}  // namespace THINC_LEVEL
}  // namespace thinc
