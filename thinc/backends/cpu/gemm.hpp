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

namespace products {

// Outputs of maxout that are made at a time: as many as have their weights fit the cache.
template <typename T>
static int64_t panel_width(int64_t O, int64_t pieces, int64_t K) {
    constexpr int64_t STRIP = MAX_VECTORS * LANES<T>, SIZE = sizeof(T);
    const int64_t fitting = smaller(PANEL_BYTES / smaller(K_BLOCK, larger(1, K)), PACKED_BYTES / larger(1, K));
    return smaller(O, larger(1, fitting / SIZE / pieces / STRIP) * STRIP);
}

// The product of one panel: X (M, K) times the weights of `count` outputs, from o on.
template <typename T>
static Product<T> panel(const T* X, int64_t ldx, const T* W, const T* bias, int64_t M, int64_t o,
                        int64_t count, int64_t pieces, int64_t K) {
    return {{X, ldx, 1}, {W + o * pieces * K, 1, pieces * K}, M, count, K, pieces, K, {1, 0, bias, false}};
}

}  // namespace products

template <typename T>
static void affine(Activation f, const T* params, T* Y, T* P, const T* X, int64_t ldx, const T* W,
                   const T* b, const T* prepacked, int64_t M, int64_t N, int64_t K) {
    using namespace products;
    const auto multiply_columns = [=](const Product<T>& p, int64_t column) {
        if (!P && (f == RELU || f == IDENTITY)) {
            multiply<T>(p, PlainOutput<T>{Y + column, N});
        } else {
            T* const sums = (P ? P : Y) + column;
            multiply<T>(p, ActivatedOutput<T>{sums, Y + column, N, activation_loops<T>().values[f], params});
        }
    };
    const int64_t width = prepacked ? larger(1, panel_width<T>(N, 1, K)) : larger(1, N);
    for (int64_t j = 0; j < N; j += width) {
        Product<T> p = panel(X, ldx, W, b ? b + j : nullptr, M, j, smaller(width, N - j), 1, K);
        p.finish.relu = !P && f == RELU;
        p.strips = prepacked;
        multiply_columns(p, j);
        if (prepacked) prepacked += strips_size<T>(1, p.N, K);
    }
}

template <typename T>
static void affine_maxout(T* best, int32_t* which, const T* X, int64_t ldx, const T* W, const T* b,
                          const T* prepacked, const T* prepacked_windows, int64_t M, int64_t O, int64_t pieces,
                          int64_t K) {
    using namespace products;
    constexpr int64_t SIZE = sizeof(T);
    if (M == 0 || O == 0) return;
    const int64_t width = panel_width<T>(O, pieces, K);
    const int64_t sum_count = smaller(M * pieces * width, block_capacity<T>(pieces * width));

    const std::size_t bias_count = b ? pieces * width : 0;
    const Scratch scratch((sum_count + bias_count) * SIZE);
    T* const sums = scratch.template get<T>();
    if (!sums) return maxout_plainly(best, which, X, ldx, W, b, M, O, pieces, K);
    T* const bias = b ? sums + sum_count : nullptr;
    const int64_t sharing_rows = prepacked_windows ? SHARING_PREPACKED_ROWS : SHARING_ROWS;
    const bool windows = ldx > 0 && 3 * ldx == K && M >= sharing_rows;

    for (int64_t o = 0; o < O; o += width) {
        const int64_t count = smaller(width, O - o);
        for (int64_t j = 0; b && j < count; j++)
            for (int64_t p = 0; p < pieces; p++) bias[p * count + j] = b[(o + j) * pieces + p];
        Product<T> product = panel(X, ldx, W, bias, M, o, count, pieces, K);
        product.strips = prepacked;
        const MaxoutOutput<T> output = {sums, pieces * count, best + o, which ? which + o : nullptr, O, pieces};
        if (!windows || !multiply_windows(product, ldx, prepacked_windows, output)) multiply<T>(product, output);
        if (prepacked) prepacked += strips_size<T>(pieces, count, K);
        if (prepacked_windows) prepacked_windows += windows_size(product, K / 3);
    }
}

// Numbers that prepack writes.
template <typename T>
static int64_t prepacked_size(int64_t O, int64_t pieces, int64_t K, bool windows) {
    using namespace products;
    const int64_t width = larger(1, panel_width<T>(O, pieces, K));
    const int64_t depth = windows ? 4 * (K / 3) : K;
    int64_t size = 0;
    for (int64_t o = 0; o < O; o += width) size += strips_size<T>(pieces, smaller(width, O - o), depth);
    return size;
}

template <typename T>
static bool prepack(T* prepacked, const T* W, int64_t O, int64_t pieces, int64_t K, bool windows) {
    using namespace products;
    const int64_t width = larger(1, panel_width<T>(O, pieces, K)), part = K / 3;
    const Scratch scratch(windows ? 2 * pieces * width * part * sizeof(T) : 1);
    T* const combined = scratch.template get<T>();
    if (!combined) return false;
    for (int64_t o = 0; o < O; o += width) {
        const Product<T> p = panel<T>(nullptr, 0, W, nullptr, 0, o, smaller(width, O - o), pieces, K);
        const bool done = windows ? prepack_windows(prepacked, combined, p, part)
                                  : prepack_strips(prepacked, p.B, pieces, p.group_stride, p.N, K);
        if (!done) return false;
        prepacked += windows ? windows_size(p, part) : strips_size<T>(pieces, p.N, K);
    }
    return true;
}

template <typename T>
static void fill_gemm(Kernels<T>& kernels) {
    kernels.gemm = gemm<T>;
    kernels.affine = affine<T>;
    kernels.affine_maxout = affine_maxout<T>;
    kernels.prepacked_size = prepacked_size<T>;
    kernels.prepack = prepack<T>;
    kernels.backprop_affine_maxout = backprop_affine_maxout<T>;
}

}  // namespace THINC_LEVEL
}  // namespace thinc
