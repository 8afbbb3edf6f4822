// A row in the registers of a warp, and its layer normalization.
#pragma once
#include "grid.cuh"
#include "thinc/rows.hpp"

namespace thinc {

// The elements of a row that a lane keeps; fill where the row has ended.
template <int ITEMS, typename T>
__device__ inline Values<ITEMS, Compute<T>> load_row(const T* row, i64 cols, Compute<T> fill) {
    Values<ITEMS, Compute<T>> x;
#pragma unroll
    for (int k = 0; k < ITEMS; ++k) {
        const i64 c = lane_index() + k * WARP;
        x.at[k] = c < cols ? widen(row[c]) : fill;
    }
    return x;
}

template <int ITEMS, typename T>
__device__ inline void store_row(T* row, i64 cols, const Values<ITEMS, Compute<T>>& x) {
#pragma unroll
    for (int k = 0; k < ITEMS; ++k) {
        const i64 c = lane_index() + k * WARP;
        if (c < cols) row[c] = narrow<T>(x.at[k]);
    }
}

template <typename C>
struct RowStatistics {
    C mean, rstd;
};

template <typename C>
THINC_HD C reciprocal_deviation(C variance) {
    return C(1) / square_root(variance + layer_norm_epsilon<C>());
}

// x becomes (x - mean) rstd. Zero where the row has ended.
template <int ITEMS, typename C>
__device__ inline RowStatistics<C> normalize_row(Values<ITEMS, C>& x, i64 cols) {
    C sum = C(0);
#pragma unroll
    for (int k = 0; k < ITEMS; ++k) sum += x.at[k];
    const C mean = warp_sum(sum) / C(cols);
    C squares = C(0);
#pragma unroll
    for (int k = 0; k < ITEMS; ++k) {
        x.at[k] = lane_index() + k * WARP < cols ? x.at[k] - mean : C(0);
        squares += x.at[k] * x.at[k];
    }
    const C rstd = reciprocal_deviation(warp_sum(squares) / C(cols));
#pragma unroll
    for (int k = 0; k < ITEMS; ++k) x.at[k] *= rstd;
    return {mean, rstd};
}

template <int ITEMS, typename T>
__device__ inline void scale_and_store_row(T* y, const Values<ITEMS, Compute<T>>& normal,
                                           const T* G, const T* b, i64 cols) {
#pragma unroll
    for (int k = 0; k < ITEMS; ++k) {
        const i64 c = lane_index() + k * WARP;
        if (c < cols) y[c] = narrow<T>(normal.at[k] * widen(G[c]) + widen(b[c]));
    }
}

// The same by a block, for rows of any length.
template <typename T>
__device__ inline RowStatistics<Compute<T>> block_normalize_row(T* y, const T* x, const T* G,
                                                                const T* b, i64 cols) {
    using C = Compute<T>;
    C sum = C(0);
    for (i64 c = threadIdx.x; c < cols; c += blockDim.x) sum += widen(x[c]);
    const C mean = block_sum(sum) / C(cols);
    C squares = C(0);
    for (i64 c = threadIdx.x; c < cols; c += blockDim.x) {
        const C centred = widen(x[c]) - mean;
        squares += centred * centred;
    }
    const C rstd = reciprocal_deviation(block_sum(squares) / C(cols));
    for (i64 c = threadIdx.x; c < cols; c += blockDim.x) {
        y[c] = narrow<T>((widen(x[c]) - mean) * rstd * widen(G[c]) + widen(b[c]));
    }
    return {mean, rstd};
}

}  // namespace thinc
