// Matrix products, and the dense layers built on them: what C++ callers see.
// See gemm_plans.hpp for how a product is made.
#pragma once
#include "affine.hpp"
#include "maxout_gradients.hpp"
#include "window_products.hpp"

namespace thinc {
namespace THINC_LEVEL {

template <typename T>
static void gemm(T* C, int64_t ldc, const T* A, int64_t rsa, int64_t csa, const T* B, int64_t rsb,
                 int64_t csb, int64_t M, int64_t N, int64_t K, T alpha, T beta) {
    using namespace products;
    multiply<T>({{A, rsa, csa}, {B, rsb, csb}, M, N, K, 1, 0, {alpha, beta, nullptr, false}},
                PlainOutput<T>{C, ldc});
}

template <typename T>
static void affine(Activation f, const T* params, T* Y, T* P, const T* X, int64_t ldx, const T* W,
                   const T* b, int64_t M, int64_t N, int64_t K) {
    using namespace products;
    Product<T> p = {{X, ldx, 1}, {W, 1, K}, M, N, K, 1, 0, {1, 0, b, false}};
    if (!P && (f == RELU || f == IDENTITY)) {
        p.finish.relu = f == RELU;
        multiply<T>(p, PlainOutput<T>{Y, N});
    } else {
        multiply<T>(p, ActivatedOutput<T>{P ? P : Y, Y, N, activation_loops<T>().values[f], params});
    }
}

template <typename T>
static void affine_maxout(T* best, int32_t* which, const T* X, int64_t ldx, const T* W, const T* b,
                          int64_t M, int64_t O, int64_t pieces, int64_t K) {
    using namespace products;
    constexpr int64_t SIZE = sizeof(T);
    if (M == 0 || O == 0) return;
    // As many outputs at a time as have their weights fit the cache.
    constexpr int64_t STRIP = MAX_VECTORS * LANES<T>;
    const int64_t fitting = smaller(PANEL_BYTES / smaller(K_BLOCK, larger(1, K)), PACKED_BYTES / larger(1, K));
    const int64_t width = smaller(O, larger(1, fitting / SIZE / pieces / STRIP) * STRIP);
    const int64_t sum_count = smaller(M * pieces * width, block_capacity<T>(pieces * width));

    const std::size_t bias_count = b ? pieces * width : 0;
    const Scratch scratch((sum_count + bias_count) * SIZE);
    T* const sums = scratch.template get<T>();
    if (!sums) return maxout_plainly(best, which, X, ldx, W, b, M, O, pieces, K);
    T* const bias = b ? sums + sum_count : nullptr;

    for (int64_t o = 0; o < O; o += width) {
        const int64_t count = smaller(width, O - o);
        for (int64_t j = 0; b && j < count; j++)
            for (int64_t p = 0; p < pieces; p++) bias[p * count + j] = b[(o + j) * pieces + p];
        const Product<T> product = {{X, ldx, 1}, {W + o * pieces * K, 1, pieces * K}, M, count, K,
                                    pieces,      K,                                   {1, 0, bias, false}};
        const MaxoutOutput<T> output = {sums, pieces * count, best + o, which ? which + o : nullptr, O, pieces};
        const bool windows = ldx > 0 && 3 * ldx == K && M >= SHARING_ROWS;
        if (!windows || !multiply_windows(product, ldx, output)) multiply<T>(product, output);
    }
}

template <typename T>
static void fill_gemm(Kernels<T>& kernels) {
    kernels.gemm = gemm<T>;
    kernels.affine = affine<T>;
    kernels.affine_maxout = affine_maxout<T>;
    kernels.backprop_affine_maxout = backprop_affine_maxout<T>;
}

}  // namespace THINC_LEVEL
}  // namespace thinc
