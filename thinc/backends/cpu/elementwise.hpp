// Loops over elements: activations and their gradients, other functions, a loss.
#pragma once
#include <cstdint>

#include "kernel_table.hpp"
#include "thinc/activations.hpp"
#include "thinc/functions.hpp"

namespace thinc {
namespace THINC_LEVEL {

// Formulas with parameters take them from the kernel's params array.
template <typename Op, typename T>
struct Make {
    static Op from(const T*) { return Op(); }
};
template <typename T>
struct Make<ClippedLinear<T>, T> {
    static ClippedLinear<T> from(const T* params) {
        return ClippedLinear<T>(params[0], params[1], params[2], params[3]);
    }
};
template <typename T>
struct Make<Mish<T>, T> {
    static Mish<T> from(const T* params) { return Mish<T>{params[0]}; }
};

template <typename Op, typename T>
static void map_values(T* Y, const T* X, int64_t N, const T* params) {
    const Op op = Make<Op, T>::from(params);
    THINC_IVDEP
    for (int64_t i = 0; i < N; ++i) Y[i] = op.value(X[i]);
}

template <typename Op, typename T>
static void map_slopes(T* dX, const T* dY, const T* Z, int64_t N, const T* params) {
    const Op op = Make<Op, T>::from(params);
    THINC_IVDEP
    for (int64_t i = 0; i < N; ++i) dX[i] = times_slope(op, dY[i], Z[i]);
}

template <template <typename> class Op, typename T>
static void fill_activation(Kernels<T>& kernels, Activation name) {
    kernels.values[name] = map_values<Op<T>, T>;
    kernels.slopes[name] = map_slopes<Op<T>, T>;
}

template <typename Op, typename T>
static void map_function(T* Y, const T* X, int64_t N) {
    THINC_IVDEP
    for (int64_t i = 0; i < N; ++i) Y[i] = Op().value(X[i]);
}

template <typename T>
static void logloss(T* losses, const T* y_true, const T* y_pred, int64_t N) {
    THINC_IVDEP
    for (int64_t i = 0; i < N; ++i) losses[i] = log_loss(y_true[i], y_pred[i]);
}

template <typename T>
static void fill_functions(Kernels<T>& kernels) {
    kernels.functions[ERF] = map_function<Erf<T>, T>;
    kernels.functions[SQUARED_SECH] = map_function<SquaredSech<T>, T>;
    kernels.functions[SIGMOID_SLOPE] = map_function<SigmoidSlope<T>, T>;
    kernels.functions[TANH_SLOPE] = map_function<TanhSlope<T>, T>;
    kernels.logloss = logloss<T>;
}

template <typename T>
static void fill_elementwise(Kernels<T>& kernels) {
    fill_activation<Sigmoid>(kernels, SIGMOID);
    fill_activation<Relu>(kernels, RELU);
    fill_activation<ClippedLinear>(kernels, CLIPPED_LINEAR);
    fill_activation<Swish>(kernels, SWISH);
    fill_activation<HardSwish>(kernels, HARD_SWISH);
    fill_activation<HardSwishMobilenet>(kernels, HARD_SWISH_MOBILENET);
    fill_activation<Dish>(kernels, DISH);
    fill_activation<Gelu>(kernels, GELU);
    fill_activation<GeluApprox>(kernels, GELU_APPROX);
    fill_activation<Mish>(kernels, MISH);
    fill_activation<Tanh>(kernels, TANH);
    fill_activation<Identity>(kernels, IDENTITY);
    fill_functions(kernels);
}

}  // namespace THINC_LEVEL
}  // namespace thinc
