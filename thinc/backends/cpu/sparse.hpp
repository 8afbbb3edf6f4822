// Linear models of hashed features. W lies class by class. Classes are the outer loop: one
// class's weights are a table that a cache may hold, while all classes' are not.
#pragma once
#include <cstdint>

#include "gemm_pack.hpp"
#include "kernel_table.hpp"

namespace thinc {
namespace THINC_LEVEL {

template <typename T>
static void sparse_linear(T* Y, const T* W, const T* b, const uint32_t* cells, const T* values,
                          const int32_t* lengths, int64_t rows, int64_t O, int64_t K,
                          int64_t stride) {
    for (int64_t c = 0; c < O; ++c, W += stride) {
        const uint32_t* cell = cells;
        const T* value = values;
        for (int64_t r = 0; r < rows; ++r) {
            T sum = T(0);
            for (int32_t m = 0; m < lengths[r]; ++m, ++value) {
                T weight = T(0);
                for (int64_t k = 0; k < K; ++k) weight += W[*cell++];
                sum += weight * *value;
            }
            Y[r * O + c] = sum + b[c];
        }
    }
}

template <typename T>
static void sparse_linear_by_feature(T* Y, const T* W, const T* b, const uint32_t* cells,
                                     const T* values, const int32_t* lengths, int64_t rows,
                                     int64_t O, int64_t K) {
    using namespace products;
    constexpr int64_t AHEAD = 16;  // cells whose weights are asked for before they are needed
    int64_t left = 0;
    for (int64_t r = 0; r < rows; ++r) left += lengths[r] * K;
    for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < O; c += LANES<T>) {
            const int lanes = static_cast<int>(smaller(LANES<T>, O - c));
            const uint32_t* cell = cells;
            const T* const w = W + c;
            V<T> sum = {};
            int64_t i = 0;
            for (int32_t m = 0; m < lengths[r]; ++m) {
                V<T> weights = {};
                for (int64_t k = 0; k < K; ++k, ++cell, ++i) {
                    if (i + AHEAD < left) {
                        const T* const later = w + cell[AHEAD] * O;
                        __builtin_prefetch(later);
                        __builtin_prefetch(later + lanes - 1);
                    }
                    weights += load_lanes(w + *cell * O, lanes);
                }
                sum += weights * values[m];
            }
            store_lanes(Y + r * O + c, sum + load_lanes(b + c, lanes), lanes);
        }
        cells += lengths[r] * K;
        values += lengths[r];
        left -= lengths[r] * K;
    }
}

template <typename T>
static void backprop_sparse_linear(T* dW, const T* dY, const uint32_t* cells, const T* values,
                                   const int32_t* lengths, int64_t rows, int64_t O, int64_t K,
                                   int64_t stride) {
    for (int64_t c = 0; c < O; ++c, dW += stride) {
        const uint32_t* cell = cells;
        const T* value = values;
        for (int64_t r = 0; r < rows; ++r) {
            const T dy = dY[r * O + c];
            for (int32_t m = 0; m < lengths[r]; ++m, ++value) {
                const T d_weight = dy * *value;
                for (int64_t k = 0; k < K; ++k) dW[*cell++] += d_weight;
            }
        }
    }
}

template <typename T>
static void fill_sparse(Kernels<T>& kernels) {
    kernels.sparse_linear = sparse_linear<T>;
    kernels.sparse_linear_by_feature = sparse_linear_by_feature<T>;
    kernels.backprop_sparse_linear = backprop_sparse_linear<T>;
}

}  // namespace THINC_LEVEL
}  // namespace thinc
