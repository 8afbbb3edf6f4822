// Loops over rows: softmax, column sums.
//
// Sums run in many lanes at once and are joined at the end, so their rounding
// error grows with cols / 64, not with cols.
#pragma once
#include <cstdint>

#include "kernel_table.hpp"
#include "thinc/rows.hpp"

namespace thinc {
namespace THINC_LEVEL {

// One vector register of T.
#if defined(__AVX512F__)
constexpr int REGISTER_BYTES = 64;
#elif defined(__AVX__)
constexpr int REGISTER_BYTES = 32;
#else
constexpr int REGISTER_BYTES = 16;
#endif

template <typename T>
struct Pack {
    typedef T Type __attribute__((vector_size(REGISTER_BYTES)));
    static constexpr int64_t SIZE = REGISTER_BYTES / sizeof(T);
};

template <typename V, typename T>
THINC_HD void load(V& to, const T* from) {
    __builtin_memcpy(&to, from, sizeof(V));
}

template <typename V, typename T>
THINC_HD void store(T* to, const V& from) {
    __builtin_memcpy(to, &from, sizeof(V));
}

// Sum over i of what term(i, t) leaves in t, which is one element or a pack of
// the elements from i on.
template <typename T, typename Term>
THINC_HD T sum_terms(int64_t n, Term term) {
    using V = typename Pack<T>::Type;
    constexpr int64_t W = Pack<T>::SIZE;
    V sum0 = {}, sum1 = {}, sum2 = {}, sum3 = {};
    V t0 = {}, t1 = {}, t2 = {}, t3 = {};
    int64_t i = 0;
    for (; i + 4 * W <= n; i += 4 * W) {
        term(i, t0);
        term(i + W, t1);
        term(i + 2 * W, t2);
        term(i + 3 * W, t3);
        sum0 += t0;
        sum1 += t1;
        sum2 += t2;
        sum3 += t3;
    }
    for (; i + W <= n; i += W) {
        term(i, t0);
        sum0 += t0;
    }
    sum0 = (sum0 + sum1) + (sum2 + sum3);
    T rest = T(0);
    for (; i < n; ++i) {
        T t = T(0);
        term(i, t);
        rest += t;
    }
    T lanes[W];
    store(lanes, sum0);
    for (int64_t width = W / 2; width > 0; width /= 2) {
        for (int64_t j = 0; j < width; ++j) lanes[j] += lanes[j + width];
    }
    return lanes[0] + rest;
}

// The largest number; NaNs are passed over.
template <typename T>
static T maximum(const T* X, int64_t n) {
    using V = typename Pack<T>::Type;
    constexpr int64_t W = Pack<T>::SIZE;
    T best = X[0];
    int64_t i = 0;
    if (n >= W) {
        V bests, x;
        load(bests, X);
        for (i = W; i + W <= n; i += W) {
            load(x, X + i);
            bests = x > bests ? x : bests;
        }
        T lanes[W];
        store(lanes, bests);
        for (int64_t j = 0; j < W; ++j) best = lanes[j] > best ? lanes[j] : best;
    }
    for (; i < n; ++i) best = X[i] > best ? X[i] : best;
    return best;
}

template <typename T>
static void softmax(T* Y, const T* X, int64_t rows, int64_t cols, T inverse_temperature) {
    if (cols == 0) return;
    for (int64_t r = 0; r < rows; ++r, X += cols, Y += cols) {
        const T* scaled = X;
        if (inverse_temperature != T(1)) {
            THINC_IVDEP
            for (int64_t c = 0; c < cols; ++c) Y[c] = X[c] * inverse_temperature;
            scaled = Y;
        }
        const T largest = maximum(scaled, cols);
        THINC_IVDEP
        for (int64_t c = 0; c < cols; ++c) Y[c] = exp_below_one(scaled[c] - largest);
        const T sum = sum_terms<T>(cols, [=](int64_t c, auto& t) { load(t, Y + c); });
        const T scale = T(1) / sum;
        THINC_IVDEP
        for (int64_t c = 0; c < cols; ++c) Y[c] *= scale;
    }
}

template <typename T>
static void backprop_softmax(T* dX, const T* Y, const T* dY, int64_t rows, int64_t cols,
                             T inverse_temperature) {
    for (int64_t r = 0; r < rows; ++r, dX += cols, Y += cols, dY += cols) {
        const T dot = sum_terms<T>(cols, [=](int64_t c, auto& t) {
            auto y = t;
            load(y, Y + c);
            load(t, dY + c);
            t *= y;
        });
        THINC_IVDEP
        for (int64_t c = 0; c < cols; ++c) {
            dX[c] = softmax_gradient(Y[c], dY[c], dot, inverse_temperature);
        }
    }
}

// Rows are summed in blocks, each block in registers: out is touched once per
// block, and the error grows with rows / ROWS + ROWS.
template <typename T>
static void add_column_sums(T* out, const T* X, int64_t rows, int64_t cols) {
    using V = typename Pack<T>::Type;
    constexpr int64_t W = Pack<T>::SIZE;
    constexpr int64_t ROWS = 128;
    for (int64_t r = 0; r < rows; r += ROWS) {
        const int64_t n = rows - r < ROWS ? rows - r : ROWS;
        const T* block = X + r * cols;
        int64_t c = 0;
        for (; c + 4 * W <= cols; c += 4 * W) {
            V sum[4] = {}, x;
            for (int64_t i = 0; i < n; ++i) {
                for (int64_t k = 0; k < 4; ++k) {
                    load(x, block + i * cols + c + k * W);
                    sum[k] += x;
                }
            }
            for (int64_t k = 0; k < 4; ++k) {
                load(x, out + c + k * W);
                x += sum[k];
                store(out + c + k * W, x);
            }
        }
        for (; c + W <= cols; c += W) {
            V even = {}, odd = {}, x;
            int64_t i = 0;
            for (; i + 2 <= n; i += 2) {
                load(x, block + i * cols + c);
                even += x;
                load(x, block + (i + 1) * cols + c);
                odd += x;
            }
            if (i < n) {
                load(x, block + i * cols + c);
                even += x;
            }
            even += odd;
            load(x, out + c);
            x += even;
            store(out + c, x);
        }
        if (c < cols) {
            T sum[W] = {};
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
