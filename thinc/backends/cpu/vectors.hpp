// Two vectors with strides: the BLAS routines of level 1 that C clients ask for.
#pragma once
#include "kernel_table.hpp"

namespace thinc {
namespace THINC_LEVEL {

template <typename T>
static void axpy(int64_t N, T alpha, const T* X, int64_t x_stride, T* Y, int64_t y_stride) {
    if (alpha == 0) return;  // as BLAS: X is not looked at
    if (x_stride == 1 && y_stride == 1) {
        for (int64_t i = 0; i < N; i++) Y[i] += alpha * X[i];
    } else {
        for (int64_t i = 0; i < N; i++) Y[i * y_stride] += alpha * X[i * x_stride];
    }
}

template <typename T>
static void scale(int64_t N, T alpha, T* X, int64_t stride) {
    if (stride == 1) {
        for (int64_t i = 0; i < N; i++) X[i] *= alpha;
    } else {
        for (int64_t i = 0; i < N; i++) X[i * stride] *= alpha;
    }
}

template <typename T>
static void fill_vectors(Kernels<T>& kernels) {
    kernels.axpy = axpy<T>;
    kernels.scale = scale<T>;
}

}  // namespace THINC_LEVEL
}  // namespace thinc
