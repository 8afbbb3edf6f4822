// Layer normalization. LANES rows are taken at a time: then one register holds a sum of
// each, joined in few shuffles, and one division or root serves all. For narrow rows these
// would take longer than the rest.
//
// Sums run in many lanes, so their rounding error grows with cols / 64, not with cols.
// Variances take a second pass.
#pragma once
#include <cstdint>

#include "gemm_tiles.hpp"
#include "kernel_table.hpp"
#include "thinc/rows.hpp"

namespace thinc {
namespace THINC_LEVEL {
namespace normalization {

using products::LANES;
using products::load_lanes;
using products::splat;
using products::store_lanes;
using products::V;

// v with zeros from lane n on.
template <typename T>
THINC_INLINE V<T> first_lanes(V<T> v, int n) {
    typename products::Register<T>::mask lane;
    for (int j = 0; j < LANES<T>; j++) lane[j] = j;
    return lane < n ? v : V<T>{};
}

// Lane j of the result: the sum of term(c, lanes) over all columns c = j, j + LANES, ...
template <typename T, typename Term>
THINC_INLINE V<T> lane_sums(int64_t cols, Term term) {
    constexpr int L = LANES<T>;
    V<T> sums[4] = {};
    int64_t c = 0;
    for (; c + 4 * L <= cols; c += 4 * L) {
        THINC_UNROLL
        for (int k = 0; k < 4; k++) sums[k] += term(c + k * L, L);
    }
    for (; c + L <= cols; c += L) sums[0] += term(c, L);
    if (c < cols) {
        const int rest = static_cast<int>(cols - c);
        sums[1] += first_lanes<T>(term(c, rest), rest);
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// What lane i of sums[j] should be the sum of: means[i] becomes the sum of sums[i], divided.
template <typename T>
THINC_INLINE void means_of_rows(T* means, V<T>* sums, int64_t cols) {
    products::reduce<T>(sums);
    products::store(means, sums[0] / T(cols));
}

}  // namespace normalization

template <typename T>
static void layer_norm(T* Y, T* mean, T* rstd, const T* X, const T* G, const T* b, int64_t rows,
                       int64_t cols) {
    using namespace normalization;
    constexpr int L = LANES<T>;
    for (int64_t first = 0; first < rows; first += L, X += L * cols, Y += L * cols) {
        const int count = static_cast<int>(rows - first < L ? rows - first : L);
        V<T> sums[L] = {};
        T mu[L], variance[L], scale[L];
        for (int i = 0; i < count; i++) {
            const T* const x = X + i * cols;
            sums[i] = lane_sums<T>(cols, [=](int64_t c, int n) { return load_lanes(x + c, n); });
        }
        means_of_rows(mu, sums, cols);
        for (int i = 0; i < L; i++) sums[i] = V<T>{};
        for (int i = 0; i < count; i++) {
            const T* const x = X + i * cols;
            const T m = mu[i];
            sums[i] = lane_sums<T>(cols, [=](int64_t c, int n) {
                const V<T> d = load_lanes(x + c, n) - m;
                return d * d;
            });
        }
        means_of_rows(variance, sums, cols);
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
    using namespace normalization;
    constexpr int L = LANES<T>;
    for (int64_t first = 0; first < rows; first += L) {
        const int count = static_cast<int>(rows - first < L ? rows - first : L);
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
        means_of_rows(mean_g, sums_g, cols);
        means_of_rows(mean_gx, sums_gx, cols);
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
