// Loops over rows: softmax, column sums.
#pragma once
#include <cstdint>

#include "kernel_table.hpp"
#include "row_sums.hpp"
#include "thinc/rows.hpp"

namespace thinc {
namespace THINC_LEVEL {

// The largest number; NaNs are passed over.
template <typename T>
static T maximum(const T* X, int64_t n) {
    using products::V;
    constexpr int64_t L = products::LANES<T>;
    T best = X[0];
    int64_t i = 0;
    if (n >= L) {
        V<T> bests = products::load(X);
        for (i = L; i + L <= n; i += L) {
            const V<T> x = products::load(X + i);
            bests = x > bests ? x : bests;
        }
        T lanes[L];
        products::store(lanes, bests);
        for (int64_t j = 0; j < L; ++j) best = lanes[j] > best ? lanes[j] : best;
    }
    for (; i < n; ++i) best = X[i] > best ? X[i] : best;
    return best;
}

template <typename T>
static void softmax(T* Y, const T* X, int64_t rows, int64_t cols, T inverse_temperature) {
    using namespace row_sums;
    constexpr int L = LANES<T>;
    if (cols == 0) return;
    const int64_t step = rows_together<T>(cols, 1);
    for (int64_t first = 0; first < rows; first += step) {
        const int count = static_cast<int>(rows - first < step ? rows - first : step);
        V<T> sums[L] = {};
        T totals[L];
        for (int i = 0; i < count; i++) {
            const T* const x = X + (first + i) * cols;
            T* const y = Y + (first + i) * cols;
            const T* scaled = x;
            if (inverse_temperature != T(1)) {
                THINC_IVDEP
                for (int64_t c = 0; c < cols; ++c) y[c] = x[c] * inverse_temperature;
                scaled = y;
            }
            const T largest = maximum(scaled, cols);
            THINC_IVDEP
            for (int64_t c = 0; c < cols; ++c) y[c] = exp_below_one(scaled[c] - largest);
            sums[i] = lane_sums<T>(cols, [=](int64_t c, int n) { return load_lanes(y + c, n); });
        }
        join(totals, sums, T(1));
        for (int i = 0; i < count; i++) {
            T* const y = Y + (first + i) * cols;
            const T scale = T(1) / totals[i];
            THINC_IVDEP
            for (int64_t c = 0; c < cols; ++c) y[c] *= scale;
        }
    }
}

template <typename T>
static void backprop_softmax(T* dX, const T* Y, const T* dY, int64_t rows, int64_t cols,
                             T inverse_temperature) {
    using namespace row_sums;
    constexpr int L = LANES<T>;
    const int64_t step = rows_together<T>(cols, 2);
    for (int64_t first = 0; first < rows; first += step) {
        const int count = static_cast<int>(rows - first < step ? rows - first : step);
        V<T> sums[L] = {};
        T dots[L];
        for (int i = 0; i < count; i++) {
            const T* const y = Y + (first + i) * cols;
            const T* const dy = dY + (first + i) * cols;
            sums[i] = lane_sums<T>(cols, [=](int64_t c, int n) {
                return load_lanes(y + c, n) * load_lanes(dy + c, n);
            });
        }
        join(dots, sums, T(1));
        for (int i = 0; i < count; i++) {
            const int64_t row = (first + i) * cols;
            const T dot = dots[i];
            THINC_IVDEP
            for (int64_t c = 0; c < cols; ++c) {
                dX[row + c] = softmax_gradient(Y[row + c], dY[row + c], dot, inverse_temperature);
            }
        }
    }
}

// Rows are summed in blocks, each block in registers: out is touched once per
// block, and the error grows with rows / ROWS + ROWS.
template <typename T>
static void add_column_sums(T* out, const T* X, int64_t rows, int64_t cols) {
    using products::load;
    using products::store;
    using products::V;
    constexpr int64_t L = products::LANES<T>;
    constexpr int64_t ROWS = 128;
    for (int64_t r = 0; r < rows; r += ROWS) {
        const int64_t n = rows - r < ROWS ? rows - r : ROWS;
        const T* block = X + r * cols;
        int64_t c = 0;
        for (; c + 4 * L <= cols; c += 4 * L) {
            V<T> sum[4] = {};
            for (int64_t i = 0; i < n; ++i) {
                for (int64_t k = 0; k < 4; ++k) sum[k] += load(block + i * cols + c + k * L);
            }
            for (int64_t k = 0; k < 4; ++k) {
                T* const o = out + c + k * L;
                store<T>(o, load(o) + sum[k]);
            }
        }
        for (; c + L <= cols; c += L) {
            V<T> even = {}, odd = {};
            int64_t i = 0;
            for (; i + 2 <= n; i += 2) {
                even += load(block + i * cols + c);
                odd += load(block + (i + 1) * cols + c);
            }
            if (i < n) even += load(block + i * cols + c);
            store<T>(out + c, load(out + c) + (even + odd));
        }
        if (c < cols) {
            T sum[L] = {};
            for (int64_t i = 0; i < n; ++i) {
                for (int64_t k = 0; k < cols - c; ++k) sum[k] += block[i * cols + c + k];
            }
            for (int64_t k = 0; k < cols - c; ++k) out[c + k] += sum[k];
        }
    }
}

template <typename T>
static void fill_rows(Kernels<T>& kernels) {
    kernels.softmax = softmax<T>;
    kernels.backprop_softmax = backprop_softmax<T>;
    kernels.add_column_sums = add_column_sums<T>;
}

}  // namespace THINC_LEVEL
}  // namespace thinc
