// Optimizers: one pass over each parameter, at the speed of memory.
#pragma once
#include <cstdint>

#include "kernel_table.hpp"
#include "thinc/optimizers.hpp"

namespace thinc {
namespace THINC_LEVEL {

template <typename T>
static double sum_of_squares(const T* X, int64_t N) {
    constexpr int LANES = 32;
    double sums[LANES] = {};
    int64_t i = 0;
    for (; i + LANES <= N; i += LANES) {
        for (int j = 0; j < LANES; ++j) {
            const double x = static_cast<double>(X[i + j]);
            sums[j] += x * x;
        }
    }
    double total = 0.0;
    for (; i < N; ++i) total += static_cast<double>(X[i]) * static_cast<double>(X[i]);
    for (double sum : sums) total += sum;
    return total;
}

template <typename T>
static void adam_step(T* w, T* gradient, T* m, T* v, T* averages, int64_t N, T beta1, T beta2,
                      T eps, T learn_rate, T gradient_scale, T l2, T decay, T ema_rate) {
    const Adam<T> adam{beta1, beta2, eps, learn_rate};
    const Surroundings<T> around{gradient_scale, l2, decay, ema_rate};
    const auto update = [=](int64_t i) __attribute__((always_inline)) {
        const T g = around.full_gradient(w[i], gradient[i]);
        w[i] = around.decayed(adam.step(w[i], g, m[i], v[i]));
        gradient[i] = T(0);
    };
    if (averages == nullptr) {
        THINC_IVDEP
        for (int64_t i = 0; i < N; ++i) update(i);
    } else {
        THINC_IVDEP
        for (int64_t i = 0; i < N; ++i) {
            update(i);
            averages[i] = around.averaged(averages[i], w[i]);
        }
    }
}

template <typename T>
static void sgd_step(T* w, T* gradient, T* averages, int64_t N, T learn_rate, T gradient_scale,
                     T l2, T decay, T ema_rate) {
    const Sgd<T> sgd{learn_rate};
    const Surroundings<T> around{gradient_scale, l2, decay, ema_rate};
    const auto update = [=](int64_t i) __attribute__((always_inline)) {
        const T g = around.full_gradient(w[i], gradient[i]);
        w[i] = around.decayed(sgd.step(w[i], g));
        gradient[i] = T(0);
    };
    if (averages == nullptr) {
        THINC_IVDEP
        for (int64_t i = 0; i < N; ++i) update(i);
    } else {
        THINC_IVDEP
        for (int64_t i = 0; i < N; ++i) {
            update(i);
            averages[i] = around.averaged(averages[i], w[i]);
        }
    }
}

template <typename T>
static void fill_optimizer(Kernels<T>& kernels) {
    kernels.sum_of_squares = sum_of_squares<T>;
    kernels.adam_step = adam_step<T>;
    kernels.sgd_step = sgd_step<T>;
}

}  // namespace THINC_LEVEL
}  // namespace thinc
