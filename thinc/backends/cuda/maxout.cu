// Maxout, with the bias of the product before it and the layer normalization after it.
#include "rows.cuh"

namespace thinc {

template <typename C>
struct Best {
    C value;
    int which;
};

// Of `pieces` neighbouring numbers; the bias, if any, is added in the precision of storage,
// as if it had been done before. PIECES > 0: what pieces is, so that the loads are unrolled.
template <int PIECES, typename T>
__device__ inline Best<Compute<T>> best_piece(const T* x, const T* bias, i64 pieces) {
    using C = Compute<T>;
    const int count = PIECES > 0 ? PIECES : (int)pieces;
    Best<C> best = {C(0), 0};
#pragma unroll(PIECES > 0 ? PIECES : 1)
    for (int p = 0; p < count; ++p) {
        C value = widen(x[p]);
        if (bias != nullptr) value = widen(narrow<T>(value + widen(bias[p])));
        const bool replaces = p == 0 || replaces_maximum(value, best.value);
        best.value = replaces ? value : best.value;
        best.which = replaces ? p : best.which;
    }
    return best;
}

// A thread for each output. A warp reads 32 pieces-long runs that lie side by side, so its
// loads share sectors and the cache serves all but the first.
template <typename T, int PIECES>
__global__ void maxout(T* best, int* which, const T* X, const T* bias, i64 rows, i64 outputs,
                       i64 pieces) {
    for (i64 i = global_thread(); i < rows * outputs; i += grid_threads()) {
        const T* b = bias == nullptr ? nullptr : bias + remainder(i, outputs) * pieces;
        const Best<Compute<T>> found = best_piece<PIECES>(X + i * pieces, b, pieces);
        best[i] = narrow<T>(found.value);
        if (which != nullptr) which[i] = found.which;
    }
}

template <typename T, int ITEMS, int PIECES>
__global__ void maxout_layer_norm(T* Y, T* best, int* which, Compute<T>* mean, Compute<T>* rstd,
                                  const T* X, const T* bias, const T* G, const T* b, i64 rows,
                                  i64 outputs, i64 pieces) {
    using C = Compute<T>;
    // The maximum of output i of all rows is found, noted and returned.
    const auto maximum = [=](i64 i, i64 o) {
        const T* piece_bias = bias == nullptr ? nullptr : bias + o * pieces;
        const Best<C> found = best_piece<PIECES>(X + i * pieces, piece_bias, pieces);
        if (best != nullptr) best[i] = narrow<T>(found.value);
        if (which != nullptr) which[i] = found.which;
        return found.value;
    };
    if constexpr (ITEMS > 0) {
        for (i64 r = global_warp(); r < rows; r += grid_warps()) {
            Values<ITEMS, C> x;
#pragma unroll
            for (int k = 0; k < ITEMS; ++k) {
                const i64 o = lane_index() + k * WARP;
                x.at[k] = o < outputs ? maximum(r * outputs + o, o) : C(0);
            }
            const RowStatistics<C> row = normalize_row<ITEMS>(x, outputs);
            scale_and_store_row<ITEMS>(Y + r * outputs, x, G, b, outputs);
            if (lane_index() == 0) {
                mean[r] = row.mean;
                rstd[r] = row.rstd;
            }
        }
    } else {
        for (i64 r = blockIdx.x; r < rows; r += gridDim.x) {
            for (i64 o = threadIdx.x; o < outputs; o += blockDim.x) maximum(r * outputs + o, o);
            // Each thread reads back only what it wrote itself.
            const RowStatistics<C> row =
                block_normalize_row(Y + r * outputs, best + r * outputs, G, b, outputs);
            if (threadIdx.x == 0) {
                mean[r] = row.mean;
                rstd[r] = row.rstd;
            }
        }
    }
}

// dX in order, a quotient for each element: writes of whole sectors, in place of zeros
// first and scattered numbers after.
template <typename T>
__global__ void backprop_maxout(T* dX, const T* dY, const int* which, i64 N, i64 pieces,
                                int* status) {
    const auto gradient = [=](i64 i) {
        const i64 n = quotient(i, pieces);
        const i64 piece = i - n * pieces;
        const int chosen = which[n];
        if (piece == 0 && (chosen < 0 || chosen >= pieces)) report(status, n);
        return chosen == piece ? widen(dY[n]) : Compute<T>(0);
    };
    for_each_pack<T>(N * pieces, is_aligned(dX), [=](i64 i, auto width) {
        constexpr int W = decltype(width)::VALUE;
        Values<W, Compute<T>> d;
#pragma unroll
        for (int j = 0; j < W; ++j) d.at[j] = gradient(i + j);
        store<W>(dX + i, d);
    });
}

}  // namespace thinc
