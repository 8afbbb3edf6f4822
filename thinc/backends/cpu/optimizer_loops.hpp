// Optimizers: one pass over each parameter, at the speed of memory.
#pragma once
#include <cstdint>
#include <type_traits>

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

// Calls update(start, count) for blocks of constant size, then for each element left.
//
// A parameter's arrays often have one size, hence addresses that agree in their low 12
// bits, and a load that follows a store to such an address waits for it (4K aliasing).
// An update that reads its whole block before it writes any of it avoids most of that.
template <int BLOCK, typename Update>
static inline void update_blocks(int64_t N, Update update) {
    int64_t i = 0;
    for (; i + BLOCK <= N; i += BLOCK) update(i, std::integral_constant<int, BLOCK>());
    for (; i < N; ++i) update(i, std::integral_constant<int, 1>());
}

// Bytes of a block in one array: a few vectors, so that a step's values fit the registers.
constexpr int UPDATE_BLOCK_BYTES = 256;

// What follows the algorithm's step, for a block of new weights.
template <int COUNT, typename T>
static inline __attribute__((always_inline)) void store_weights(
    T* w, T* gradient, T* averages, const T* new_w, const Surroundings<T>& around) {
    T new_average[COUNT];
    if (averages != nullptr)
        for (int j = 0; j < COUNT; ++j) new_average[j] = around.averaged(averages[j], new_w[j]);
    for (int j = 0; j < COUNT; ++j) w[j] = new_w[j];
    for (int j = 0; j < COUNT; ++j) gradient[j] = T(0);
    if (averages != nullptr)
        for (int j = 0; j < COUNT; ++j) averages[j] = new_average[j];
}

template <typename T>
static void adam_step(T* w, T* gradient, T* m, T* v, T* averages, int64_t N, T rest1, T rest2,
                      T eps, T learn_rate, T gradient_scale, T l2, T decay, T ema_rate) {
    const Adam<T> adam{rest1, rest2, eps, learn_rate};
    const Surroundings<T> around{gradient_scale, l2, decay, ema_rate};
    update_blocks<UPDATE_BLOCK_BYTES / sizeof(T)>(
        N, [=](int64_t i, auto count) __attribute__((always_inline)) {
            constexpr int COUNT = decltype(count)::value;
            T new_w[COUNT], new_m[COUNT], new_v[COUNT];
            for (int j = 0; j < COUNT; ++j) {
                new_m[j] = m[i + j];
                new_v[j] = v[i + j];
                const T g = around.full_gradient(w[i + j], gradient[i + j]);
                new_w[j] = around.decayed(adam.step(w[i + j], g, new_m[j], new_v[j]));
            }
            for (int j = 0; j < COUNT; ++j) m[i + j] = new_m[j];
            for (int j = 0; j < COUNT; ++j) v[i + j] = new_v[j];
            store_weights<COUNT>(w + i, gradient + i, averages ? averages + i : nullptr, new_w,
                                 around);
        });
}

template <typename T>
static void sgd_step(T* w, T* gradient, T* averages, int64_t N, T learn_rate, T gradient_scale,
                     T l2, T decay, T ema_rate) {
    const Sgd<T> sgd{learn_rate};
    const Surroundings<T> around{gradient_scale, l2, decay, ema_rate};
    update_blocks<UPDATE_BLOCK_BYTES / sizeof(T)>(
        N, [=](int64_t i, auto count) __attribute__((always_inline)) {
            constexpr int COUNT = decltype(count)::value;
            T new_w[COUNT];
            for (int j = 0; j < COUNT; ++j) {
                const T g = around.full_gradient(w[i + j], gradient[i + j]);
                new_w[j] = around.decayed(sgd.step(w[i + j], g));
            }
            store_weights<COUNT>(w + i, gradient + i, averages ? averages + i : nullptr, new_w,
                                 around);
        });
}

template <typename T>
static void fill_optimizer(Kernels<T>& kernels) {
    kernels.sum_of_squares = sum_of_squares<T>;
    kernels.adam_step = adam_step<T>;
    kernels.sgd_step = sgd_step<T>;
}

}  // namespace THINC_LEVEL
}  // namespace thinc
