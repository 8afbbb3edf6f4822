// Optimizers: one pass over each parameter, at the speed of memory.
#pragma once
#include <cfloat>
#include <cstdint>
#include <type_traits>

#include "gemm_tiles.hpp"
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

// Conversion to double takes longer than reading from memory, so squares are summed as
// they are over short runs, whose sums are added in double.
static inline double sum_of_runs(const float* X, int64_t N) {
    using V = products::V<float>;
    constexpr int64_t L = products::LANES<float>;
    constexpr int64_t VECTORS = 4, STEPS = 16;
    double sums[L] = {};
    int64_t i = 0;
    for (; i + VECTORS * STEPS * L <= N; i += VECTORS * STEPS * L) {
        V run[VECTORS] = {};
        for (int64_t step = 0; step < STEPS; ++step) {
            THINC_UNROLL
            for (int64_t k = 0; k < VECTORS; ++k) {
                const V x = products::load(X + i + (step * VECTORS + k) * L);
                run[k] += x * x;
            }
        }
        float lanes[L];
        products::store(lanes, (run[0] + run[1]) + (run[2] + run[3]));
        for (int64_t j = 0; j < L; ++j) sums[j] += static_cast<double>(lanes[j]);
    }
    double total = sum_of_squares(X + i, N - i);
    for (double sum : sums) total += sum;
    return total;
}

// Each square that underflows is less than FLT_MIN: together they must not matter.
static double quick_sum_of_squares(const float* X, int64_t N) {
    const double sum = sum_of_runs(X, N);
    const double trusted = static_cast<double>(N) * static_cast<double>(FLT_MIN / FLT_EPSILON);
    return sum >= trusted && sum - sum == 0.0 ? sum : sum_of_squares(X, N);
}

static double quick_sum_of_squares(const double* X, int64_t N) { return sum_of_squares(X, N); }

// From the end, because the array was read to its end just before.
template <typename T>
static void scale_from_end(T* X, int64_t N, T factor) {
    constexpr int64_t BLOCK = 1024;
    for (int64_t end = N; end > 0; end -= BLOCK) {
        const int64_t start = end > BLOCK ? end - BLOCK : 0;
        for (int64_t i = start; i < end; ++i) X[i] *= factor;
    }
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
static void update_averages(T* averages, const T* weights, int64_t N, T rate) {
    update_blocks<UPDATE_BLOCK_BYTES / sizeof(T)>(
        N, [=](int64_t i, auto count) __attribute__((always_inline)) {
            constexpr int COUNT = decltype(count)::value;
            T moved[COUNT];
            for (int j = 0; j < COUNT; ++j) {
                moved[j] = averages[i + j] - rate * (averages[i + j] - weights[i + j]);
            }
            for (int j = 0; j < COUNT; ++j) averages[i + j] = moved[j];
        });
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
    kernels.quick_sum_of_squares = quick_sum_of_squares;
    kernels.scale_from_end = scale_from_end<T>;
    kernels.update_averages = update_averages<T>;
    kernels.adam_step = adam_step<T>;
    kernels.sgd_step = sgd_step<T>;
}

}  // namespace THINC_LEVEL
}  // namespace thinc
