// Layer normalization. Variances take a second pass over the rows.
#pragma once
#include <cstdint>

#include "kernel_table.hpp"
#include "row_sums.hpp"
#include "thinc/rows.hpp"

namespace thinc {
namespace THINC_LEVEL {

template <typename T>
static void layer_norm(T* Y, T* mean, T* rstd, const T* X, const T* G, const T* b, int64_t rows,
                       int64_t cols) {
    using namespace row_sums;
    constexpr int L = LANES<T>;
    const int64_t step = rows_together<T>(cols, 1);
    for (int64_t first = 0; first < rows; first += step, X += step * cols, Y += step * cols) {
        const int count = static_cast<int>(rows - first < step ? rows - first : step);
        V<T> sums[L] = {};
        T mu[L], variance[L], scale[L];
        for (int i = 0; i < count; i++) {
            const T* const x = X + i * cols;
            sums[i] = lane_sums<T>(cols, [=](int64_t c, int n) { return load_lanes(x + c, n); });
        }
        join(mu, sums, T(cols));
        for (int i = 0; i < L; i++) sums[i] = V<T>{};
        for (int i = 0; i < count; i++) {
            const T* const x = X + i * cols;
            const T m = mu[i];
            sums[i] = lane_sums<T>(cols, [=](int64_t c, int n) {
                const V<T> d = load_lanes(x + c, n) - m;
                return d * d;
            });
        }
        join(variance, sums, T(cols));
        for (int i = 0; i < L; i++) scale[i] = T(1) / square_root(variance[i] + layer_norm_epsilon<T>());
        for (int i = 0; i < count; i++) {
            const T* const x = X + i * cols;
            T* const y = Y + i * cols;
            const T m = mu[i], s = scale[i];
            for (int64_t c = 0; c < cols; c += L) {
                const int n = static_cast<int>(cols - c < L ? cols - c : L);
                store_lanes(y + c, (load_lanes(x + c, n) - m) * s * load_lanes(G + c, n) + load_lanes(b + c, n), n);
            }
            mean[first + i] = m;
            rstd[first + i] = s;
        }
    }
}

template <typename T>
static void backprop_layer_norm(T* dX, T* dG, T* db, const T* dY, const T* X, const T* mean,
                                const T* rstd, const T* G, int64_t rows, int64_t cols) {
    using namespace row_sums;
    constexpr int L = LANES<T>;
    const int64_t step = rows_together<T>(cols, 2);
    for (int64_t first = 0; first < rows; first += step) {
        const int count = static_cast<int>(rows - first < step ? rows - first : step);
        V<T> sums_g[L] = {}, sums_gx[L] = {};
        T mean_g[L], mean_gx[L];
        for (int i = 0; i < count; i++) {
            const T* const x = X + (first + i) * cols;
            const T* const dy = dY + (first + i) * cols;
            const T m = mean[first + i], s = rstd[first + i];
            V<T> gx[2] = {};
            sums_g[i] = lane_sums<T>(cols, [&](int64_t c, int n) {
                const V<T> g = load_lanes(dy + c, n) * load_lanes(G + c, n);
                gx[c / L % 2] += first_lanes<T>(g * ((load_lanes(x + c, n) - m) * s), n);
                return g;
            });
            sums_gx[i] = gx[0] + gx[1];
        }
        join(mean_g, sums_g, T(cols));
        join(mean_gx, sums_gx, T(cols));
        // Column by column, so that dG and db are touched once for all rows.
        for (int64_t c = 0; c < cols; c += L) {
            const int n = static_cast<int>(cols - c < L ? cols - c : L);
            const V<T> gain = load_lanes(G + c, n);
            V<T> sum_dG = {}, sum_db = {};
            for (int i = 0; i < count; i++) {
                const int64_t at = (first + i) * cols + c;
                const T m = mean[first + i], s = rstd[first + i];
                const V<T> dy = load_lanes(dY + at, n);
                const V<T> x_hat = (load_lanes(X + at, n) - m) * s;
                sum_dG += dy * x_hat;
                sum_db += dy;
                store_lanes(dX + at, layer_norm_gradient<V<T>>(dy * gain, x_hat, splat(mean_g[i]),
                                                               splat(mean_gx[i]), splat(s)), n);
            }
            store_lanes(dG + c, load_lanes(dG + c, n) + sum_dG, n);
            store_lanes(db + c, load_lanes(db + c, n) + sum_db, n);
        }
    }
}

template <typename T>
static void fill_layer_norm(Kernels<T>& kernels) {
    kernels.layer_norm = layer_norm<T>;
    kernels.backprop_layer_norm = backprop_layer_norm<T>;
}

}  // namespace THINC_LEVEL
}  // namespace thinc
