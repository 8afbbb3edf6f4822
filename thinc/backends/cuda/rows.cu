// Softmax, layer normalization and column sums.
//
// ITEMS > 0: a warp for each row, which stays in registers (ITEMS elements a lane, of
// columns lane, lane + 32, ...): one read and one write of memory, no barrier, sums by
// shuffles. That covers widths of up to 1,024, in five sizes so that a row of 96 does not
// pay for one of 1,024. ITEMS == 0: a block for each row, which is read again in each pass,
// from the cache.
#include "grid.cuh"
#include "rows.cuh"

namespace thinc {

template <typename T, int ITEMS>
__global__ void softmax(T* Y, const T* X, i64 rows, i64 cols, double inverse_temperature) {
    using C = Compute<T>;
    const C factor = C(inverse_temperature);
    if constexpr (ITEMS > 0) {
        for (i64 r = global_warp(); r < rows; r += grid_warps()) {
            auto x = load_row<ITEMS>(X + r * cols, cols, -infinity<C>());
            C best = -infinity<C>();
#pragma unroll
            for (int k = 0; k < ITEMS; ++k) {
                // Beyond the row, -infinity must stay that whatever the factor's sign.
                if (lane_index() + k * WARP < cols) x.at[k] *= factor;
                best = x.at[k] > best ? x.at[k] : best;
            }
            best = warp_max(best);
            C sum = C(0);
#pragma unroll
            for (int k = 0; k < ITEMS; ++k) {
                x.at[k] = exp(x.at[k] - best);  // zero beyond the row
                sum += x.at[k];
            }
            const C scale = C(1) / warp_sum(sum);
#pragma unroll
            for (int k = 0; k < ITEMS; ++k) x.at[k] *= scale;
            store_row<ITEMS>(Y + r * cols, cols, x);
        }
    } else {
        for (i64 r = blockIdx.x; r < rows; r += gridDim.x) {
            const T* x = X + r * cols;
            T* y = Y + r * cols;
            C best = -infinity<C>();
            for (i64 c = threadIdx.x; c < cols; c += blockDim.x) {
                const C value = widen(x[c]) * factor;
                best = value > best ? value : best;
            }
            best = block_max(best);
            C sum = C(0);
            for (i64 c = threadIdx.x; c < cols; c += blockDim.x) {
                sum += exp(widen(x[c]) * factor - best);
            }
            const C scale = C(1) / block_sum(sum);
            for (i64 c = threadIdx.x; c < cols; c += blockDim.x) {
                y[c] = narrow<T>(exp(widen(x[c]) * factor - best) * scale);
            }
        }
    }
}

template <typename T, int ITEMS>
__global__ void backprop_softmax(T* dX, const T* Y, const T* dY, i64 rows, i64 cols,
                                 double inverse_temperature) {
    using C = Compute<T>;
    const C factor = C(inverse_temperature);
    if constexpr (ITEMS > 0) {
        for (i64 r = global_warp(); r < rows; r += grid_warps()) {
            const auto y = load_row<ITEMS>(Y + r * cols, cols, C(0));
            auto d = load_row<ITEMS>(dY + r * cols, cols, C(0));
            C dot = C(0);
#pragma unroll
            for (int k = 0; k < ITEMS; ++k) dot += y.at[k] * d.at[k];
            dot = warp_sum(dot);
#pragma unroll
            for (int k = 0; k < ITEMS; ++k) {
                d.at[k] = softmax_gradient(y.at[k], d.at[k], dot, factor);
            }
            store_row<ITEMS>(dX + r * cols, cols, d);
        }
    } else {
        for (i64 r = blockIdx.x; r < rows; r += gridDim.x) {
            const i64 start = r * cols;
            C dot = C(0);
            for (i64 c = threadIdx.x; c < cols; c += blockDim.x) {
                dot += widen(Y[start + c]) * widen(dY[start + c]);
            }
            dot = block_sum(dot);
            for (i64 c = threadIdx.x; c < cols; c += blockDim.x) {
                const C d = softmax_gradient(widen(Y[start + c]), widen(dY[start + c]), dot, factor);
                dX[start + c] = narrow<T>(d);
            }
        }
    }
}

// ---- layer normalization ------------------------------------------------------------

template <typename T, int ITEMS>
__global__ void layer_norm(T* Y, Compute<T>* mean, Compute<T>* rstd, const T* X, const T* G,
                           const T* b, i64 rows, i64 cols) {
    using C = Compute<T>;
    if constexpr (ITEMS > 0) {
        for (i64 r = global_warp(); r < rows; r += grid_warps()) {
            auto x = load_row<ITEMS>(X + r * cols, cols, C(0));
            const RowStatistics<C> row = normalize_row<ITEMS>(x, cols);
            scale_and_store_row<ITEMS>(Y + r * cols, x, G, b, cols);
            if (lane_index() == 0) {
                mean[r] = row.mean;
                rstd[r] = row.rstd;
            }
        }
    } else {
        for (i64 r = blockIdx.x; r < rows; r += gridDim.x) {
            const RowStatistics<C> row = block_normalize_row(Y + r * cols, X + r * cols, G, b, cols);
            if (threadIdx.x == 0) {
                mean[r] = row.mean;
                rstd[r] = row.rstd;
            }
        }
    }
}

// A block takes one part of the rows. Gradients of the columns stay in registers until
// its last row, then its warps add up: the order depends on rows and parts alone.
template <typename T, int ITEMS>
__global__ void backprop_layer_norm(T* dX, Compute<T>* partials, const T* dY, const T* X,
                                    const Compute<T>* mean, const Compute<T>* rstd, const T* G,
                                    i64 rows, i64 cols, i64 parts) {
    using C = Compute<T>;
    const i64 share = ceil_div(rows, parts);
    const C count = C(cols);
    for (i64 part = blockIdx.x; part < parts; part += gridDim.x) {
        const i64 end = smaller(rows, (part + 1) * share);
        C* const dG = partials + part * 2 * cols;
        C* const db = dG + cols;
        if constexpr (ITEMS > 0) {
            Values<ITEMS, C> sum_g = {}, sum_b = {};
            for (i64 r = part * share + warp_in_block(); r < end; r += warps_in_block()) {
                auto d = load_row<ITEMS>(dY + r * cols, cols, C(0));
                auto x = load_row<ITEMS>(X + r * cols, cols, mean[r]);
                const C scale = rstd[r];
                C mean_g = C(0), mean_gx = C(0);
#pragma unroll
                for (int k = 0; k < ITEMS; ++k) {
                    const i64 c = lane_index() + k * WARP;
                    x.at[k] = (x.at[k] - mean[r]) * scale;
                    sum_g.at[k] += d.at[k] * x.at[k];
                    sum_b.at[k] += d.at[k];
                    if (c < cols) d.at[k] *= widen(G[c]);
                    mean_g += d.at[k];
                    mean_gx += d.at[k] * x.at[k];
                }
                mean_g = warp_sum(mean_g) / count;
                mean_gx = warp_sum(mean_gx) / count;
#pragma unroll
                for (int k = 0; k < ITEMS; ++k) {
                    d.at[k] = layer_norm_gradient(d.at[k], x.at[k], mean_g, mean_gx, scale);
                }
                store_row<ITEMS>(dX + r * cols, cols, d);
            }
            // Column lane + 32 k of each warp meets in shared memory, one k after another.
            __shared__ C of_warps[2][MAX_WARPS][WARP];
#pragma unroll
            for (int k = 0; k < ITEMS; ++k) {
                of_warps[0][warp_in_block()][lane_index()] = sum_g.at[k];
                of_warps[1][warp_in_block()][lane_index()] = sum_b.at[k];
                __syncthreads();
                const i64 c = lane_index() + k * WARP;
                const int which = warp_in_block();
                if (which < 2 && c < cols) {
                    C total = C(0);
                    for (int w = 0; w < warps_in_block(); ++w) {
                        total += of_warps[which][w][lane_index()];
                    }
                    (which == 0 ? dG : db)[c] = total;
                }
                __syncthreads();
            }
        } else {
            // No other block touches this part of partials, and a thread always takes the same
            // columns: it sums in memory, which for one row is in the cache.
            for (i64 c = threadIdx.x; c < cols; c += blockDim.x) dG[c] = db[c] = C(0);
            for (i64 r = part * share; r < end; ++r) {
                const i64 start = r * cols;
                const C mu = mean[r], scale = rstd[r];
                C mean_g = C(0), mean_gx = C(0);
                for (i64 c = threadIdx.x; c < cols; c += blockDim.x) {
                    const C d = widen(dY[start + c]);
                    const C x = (widen(X[start + c]) - mu) * scale;
                    const C g = d * widen(G[c]);
                    dG[c] += d * x;
                    db[c] += d;
                    mean_g += g;
                    mean_gx += g * x;
                }
                mean_g = block_sum(mean_g) / count;
                mean_gx = block_sum(mean_gx) / count;
                for (i64 c = threadIdx.x; c < cols; c += blockDim.x) {
                    const C x = (widen(X[start + c]) - mu) * scale;
                    const C g = widen(dY[start + c]) * widen(G[c]);
                    dX[start + c] = narrow<T>(layer_norm_gradient(g, x, mean_g, mean_gx, scale));
                }
            }
        }
    }
}

// ---- sums of columns ----------------------------------------------------------------

template <typename T>
__global__ void column_partials(Compute<T>* partials, const T* X, i64 rows, i64 cols, i64 parts) {
    using C = Compute<T>;
    const i64 share = ceil_div(rows, parts);
    for_each_column_tile(cols, [=](i64 c) {
        for (i64 part = blockIdx.y; part < parts; part += gridDim.y) {
            const i64 end = smaller(rows, (part + 1) * share);
            C sum = C(0);
            if (c < cols) {
                for (i64 r = part * share + threadIdx.y; r < end; r += TILE_ROWS) {
                    sum += widen(X[r * cols + c]);
                }
            }
            sum = tile_sum(sum);
            if (threadIdx.y == 0 && c < cols) partials[part * cols + c] = sum;
        }
    });
}

template <typename T>
__global__ void sum_partials(T* out, const Compute<T>* partials, i64 parts, i64 cols, i64 add) {
    using C = Compute<T>;
    for_each_column_tile(cols, [=](i64 c) {
        C sum = C(0);
        if (c < cols) {
            for (i64 part = threadIdx.y; part < parts; part += TILE_ROWS) {
                sum += partials[part * cols + c];
            }
        }
        sum = tile_sum(sum);
        if (threadIdx.y == 0 && c < cols) out[c] = narrow<T>(add ? widen(out[c]) + sum : sum);
    });
}

}  // namespace thinc
