// Maxout over windows of three rows, as convolutional encoders have it: rows i, i + 1
// and i + 2 of a sequence side by side, times the weights (W0, W1, W2).
//
// Neighbouring windows share two rows, so four products make two sums instead of six:
//
//   m1 = (d0 - d2) W0            m2 = (d1 + d2) (W0 + W1 + W2) / 2
//   m4 = (d3 - d1) W2            m3 = (d2 - d1) (W0 - W1 + W2) / 2
//
//   d0 W0 + d1 W1 + d2 W2 = m1 + (m2 + m3)        d1 W0 + d2 W1 + d3 W2 = m4 + (m2 - m3)
//
// Winograd's F(2, 3), see Lavin and Gray, 'Fast Algorithms for Convolutional Neural
// Networks', 2016. Each window depends on its own three rows only, and with rows (and
// parts of the weights) of like size, rounding errors are those of the direct sum: there
// are fewer additions. The schemes that share more have neither property.
#pragma once
#include "affine.hpp"

namespace thinc {
namespace THINC_LEVEL {
namespace products {

constexpr int64_t SHARING_ROWS = 64;  // below, preparing the weights costs more than it saves
constexpr int64_t SHARING_PREPACKED_ROWS = 8;  // the same, of weights that have been prepared

// The sums of each pair of windows, in four blocks: m1, m2, m3 and m4.
template <typename T>
struct PairSums {
    const T* data;
    ptrdiff_t ldc, block;

    V<T> at(int64_t row, int64_t column, int lanes) const {
        const T* const m1 = data + row / 2 * ldc + column;
        const V<T> m2 = load_lanes(m1 + block, lanes), m3 = load_lanes(m1 + 2 * block, lanes);
        return row % 2 ? load_lanes(m1 + 3 * block, lanes) + (m2 - m3) : load_lanes(m1, lanes) + (m2 + m3);
    }
};

// (W0 + W1 + W2) / 2 and (W0 - W1 + W2) / 2 for each row (W0, W1, W2) of W.
template <typename T>
static void combine_weights(T* __restrict plus, T* __restrict minus, const T* __restrict W,
                            int64_t rows, int64_t width) {
    for (int64_t i = 0; i < rows; i++, W += 3 * width, plus += width, minus += width) {
        for (int64_t k = 0; k < width; k++) {
            const T outer = (W[k] + W[k + 2 * width]) * T(0.5), middle = W[k + width] * T(0.5);
            plus[k] = outer + middle;
            minus[k] = outer - middle;
        }
    }
}

// The left operands of m1 ... m4, each (pairs, width), for the windows that begin at row 0 of
// X, 2, 4 ... If `windows` is odd, the last pair has only its first.
template <typename T>
static void combine_rows(T* __restrict U, const T* __restrict X, int64_t windows, int64_t width) {
    const int64_t pairs = ceil_div(windows, 2), block = pairs * width;
    for (int64_t i = 0; i < pairs; i++, U += width, X += 2 * width) {
        const T* const d1 = X + width;
        const T* const d2 = d1 + width;
        const T* const d3 = 2 * i + 1 < windows ? d2 + width : d2;
        for (int64_t k = 0; k < width; k++) {
            U[k] = X[k] - d2[k];
            U[k + block] = d1[k] + d2[k];
            U[k + 2 * block] = d2[k] - d1[k];
            U[k + 3 * block] = d3[k] - d1[k];
        }
    }
}

template <typename T>
static bool all_finite(const T* X, int64_t rows, int64_t columns, ptrdiff_t ldx) {
    V<T> nothing = {};  // NaN once a number is not finite
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < columns; j += LANES<T>) {
            const V<T> x = load_lanes(X + i * ldx + j, static_cast<int>(smaller(LANES<T>, columns - j)));
            nothing += x - x;
        }
    }
    bool finite = true;
    for (int lane = 0; lane < LANES<T>; lane++) finite &= nothing[lane] == 0;
    return finite;
}

// Numbers in the strips of the four left operands' weights.
template <typename T>
static int64_t windows_size(const Product<T>& p, int64_t width) {
    return 4 * strips_size<T>(p.groups, p.N, width);
}

// Packs the weights of m1 ... m4, for p.B with rows of three times `width`. combined: scratch
// memory for 2 * groups * N * width numbers. False if there was no memory.
template <typename T>
static bool prepack_windows(T* prepacked, T* combined, const Product<T>& p, int64_t width) {
    const int64_t columns = p.groups * p.N;
    const T* const W = p.B.data;
    combine_weights(combined, combined + columns * width, W, columns, width);
    const Matrix<T> weights[4] = {{W, 1, p.B.column_stride},
                                  {combined, 1, p.groups * width},
                                  {combined + columns * width, 1, p.groups * width},
                                  {W + 2 * width, 1, p.B.column_stride}};
    for (int q = 0; q < 4; q++, prepacked += strips_size<T>(p.groups, p.N, width)) {
        const ptrdiff_t group_stride = q % 3 ? width : p.group_stride;
        if (!prepack_strips<T>(prepacked, weights[q], p.groups, group_stride, p.N, width)) return false;
    }
    return true;
}

// Maxout of overlapping rows: p.A's are 3 * width long and `width` apart. prepacked: what
// prepack_windows has packed, or null. False if there was no memory; then nothing has
// been written.
template <typename T>
static bool multiply_windows(const Product<T>& p, int64_t width, const T* prepacked,
                             const MaxoutOutput<T>& out) {
    constexpr int64_t L = LANES<T>, SIZE = sizeof(T);
    const int64_t columns = p.groups * p.N;
    const int64_t block_pairs = smaller(ceil_div(p.M, 2), block_rows<T>(4 * columns));
    const int64_t k_block = larger(1, ceil_div(width, larger(1, ceil_div(width, K_BLOCK))));
    const int64_t packed_size = prepacked ? 0 : windows_size(p, width);
    const int64_t strip_count = p.groups * (ceil_div(p.N, L) + 1);
    const int64_t combined_size = prepacked ? 0 : 2 * columns * width;
    const int64_t rows_size = ceil_div(block_pairs * width, L) * L, sums_size = block_pairs * columns;
    const int64_t rest_size = ceil_div(larger(combined_size, 4 * (rows_size + sums_size)), L) * L;
    const Scratch scratch((packed_size + rest_size) * SIZE + 4 * strip_count * sizeof(Strip<T>));
    T* const packed = scratch.template get<T>();
    if (!packed) return false;
    T* const rest = packed + packed_size;  // combined weights, and then rows and sums
    Strip<T>* const strips = reinterpret_cast<Strip<T>*>(rest + rest_size);
    if (!prepacked) {
        if (!prepack_windows(packed, rest, p, width)) return false;
        prepacked = packed;
    }
    Strip<T>* ends[4];
    for (int q = 0; q < 4; q++) {
        ends[q] = strips + q * strip_count;
        for (int64_t g = 0; g < p.groups; g++)
            ends[q] = prepacked_strips<T>(ends[q], prepacked, width, p.N, g * p.N);
    }

    T* const U = rest;
    T* const sums = U + 4 * rows_size;
    for (int64_t first = 0; first < p.M; first += 2 * block_pairs) {
        const int64_t windows = smaller(2 * block_pairs, p.M - first), pairs = ceil_div(windows, 2);
        combine_rows(U, p.A.at(first, 0), windows, width);
        for (int q = 0; q < 4; q++) {
            for (int64_t k = 0; k < width; k += k_block) {
                const int64_t depth = smaller(k_block, width - k);
                // What is added to m2 reaches both sums.
                const bool with_bias = q == 1 && k + depth == width;
                const Finish<T> finish = {1, T(k > 0), with_bias ? p.finish.bias : nullptr, false};
                multiply_block<T>({U + q * pairs * width + k, width, 1}, pairs, sums + q * sums_size,
                                  columns, strips + q * strip_count, ends[q], k, depth, finish);
            }
        }
        out.reduce(PairSums<T>{sums, columns, sums_size}, first, windows, p.N);
        // An infinity, or a sum that overflows, would make a difference of infinities here
        // that the direct sum does not have.
        if (!all_finite(out.best + first * out.ldo, windows, p.N, out.ldo))
            multiply<T>(p.rows(first, windows), out.from_row(first));
    }
    return true;
}

}  // namespace products
}  // namespace THINC_LEVEL
}  // namespace thinc
