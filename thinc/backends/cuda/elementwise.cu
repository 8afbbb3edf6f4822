// One element after another: activations, biases, dropout. Bound by memory: loads and
// stores of 16 bytes where the arrays allow it, and as few passes as possible.
#include "formulas.cuh"
#include "grid.cuh"
#include "thinc/random.hpp"

namespace thinc {

template <template <typename> class Op, typename T>
__global__ void map_values(T* Y, const T* X, i64 N, double p0, double p1, double p2, double p3) {
    using C = Compute<T>;
    const Op<C> op = MakeFormula<Op, C>::from(p0, p1, p2, p3);
    for_each_pack<T>(N, are_aligned(Y, X), [=](i64 i, auto width) {
        constexpr int W = decltype(width)::VALUE;
        auto x = load<W>(X + i);
#pragma unroll
        for (int j = 0; j < W; ++j) x.at[j] = op.value(x.at[j]);
        store<W>(Y + i, x);
    });
}

template <template <typename> class Op, typename T>
__global__ void map_slopes(T* dX, const T* dY, const T* Z, i64 N, double p0, double p1, double p2,
                           double p3) {
    using C = Compute<T>;
    const Op<C> op = MakeFormula<Op, C>::from(p0, p1, p2, p3);
    for_each_pack<T>(N, are_aligned(dX, dY, Z), [=](i64 i, auto width) {
        constexpr int W = decltype(width)::VALUE;
        auto d = load<W>(dY + i);
        const auto z = load<W>(Z + i);
#pragma unroll
        for (int j = 0; j < W; ++j) d.at[j] = times_slope(op, d.at[j], z.at[j]);
        store<W>(dX + i, d);
    });
}

// P, the sum, is stored for formulas whose slope needs it. Y is computed from the stored
// P, so that value and slope speak of one input in half precision too.
template <template <typename> class Op, typename T>
__global__ void add_bias(T* Y, T* P, const T* X, const T* bias, i64 rows, i64 cols, double p0,
                         double p1, double p2, double p3) {
    using C = Compute<T>;
    const Op<C> op = MakeFormula<Op, C>::from(p0, p1, p2, p3);
    const bool aligned = cols % PACK<T> == 0 && are_aligned(Y, P, X, bias);
    for_each_pack<T>(rows * cols, aligned, [=](i64 i, auto width) {
        constexpr int W = decltype(width)::VALUE;
        auto x = load<W>(X + i);
        const auto b = load<W>(bias + remainder(i, cols));
#pragma unroll
        for (int j = 0; j < W; ++j) x.at[j] = widen(narrow<T>(x.at[j] + b.at[j]));
        if (P != nullptr) store<W>(P + i, x);
#pragma unroll
        for (int j = 0; j < W; ++j) x.at[j] = op.value(x.at[j]);
        store<W>(Y + i, x);
    });
}

template <template <typename> class Op, typename T>
__global__ void backprop_bias(T* dX, Compute<T>* partials, const T* dY, const T* Z, i64 rows,
                              i64 cols, i64 parts, double p0, double p1, double p2, double p3) {
    using C = Compute<T>;
    const Op<C> op = MakeFormula<Op, C>::from(p0, p1, p2, p3);
    const i64 share = ceil_div(rows, parts);
    for_each_column_tile(cols, [=](i64 c) {
        for (i64 part = blockIdx.y; part < parts; part += gridDim.y) {
            const i64 end = smaller(rows, (part + 1) * share);
            C sum = C(0);
            if (c < cols) {
                for (i64 r = part * share + threadIdx.y; r < end; r += TILE_ROWS) {
                    const C d = times_slope(op, widen(dY[r * cols + c]), widen(Z[r * cols + c]));
                    dX[r * cols + c] = narrow<T>(d);
                    sum += d;
                }
            }
            sum = tile_sum(sum);
            if (threadIdx.y == 0 && c < cols) partials[part * cols + c] = sum;
        }
    });
}

// The masks of W neighbouring elements: word i % 4 of block i / 4 of the stream.
template <int W, typename C>
__device__ inline Values<W, C> masks(const Dropout<C>& dropout, i64 i, Word64 stream, Word64 seed) {
    Values<W, C> mask;
    Words4 words = philox4x32((Word64)i / 4, stream, seed);
#pragma unroll
    for (int j = 0; j < W; ++j) {
        if (j > 0 && j % 4 == 0) words = philox4x32((Word64)(i + j) / 4, stream, seed);
        // Packs of two start at word 0 or 2, packs of four and eight at word 0.
        const int word = (int)((i + j) % 4);
        Word32 chosen = words.at[0];
        chosen = word == 1 ? words.at[1] : chosen;
        chosen = word == 2 ? words.at[2] : chosen;
        chosen = word == 3 ? words.at[3] : chosen;
        mask.at[j] = dropout.mask(chosen);
    }
    return mask;
}

__device__ inline Word64 stream_at(i64 stream, const i64* step) {
    return (Word64)stream + (step == nullptr ? 0 : (Word64)*step);
}

__global__ void dropout_mask(float* mask, i64 N, double drop, i64 seed, i64 stream,
                             const i64* step) {
    const Dropout<float> dropout(drop);
    const Word64 at = stream_at(stream, step);
    for_each_pack<float>(N, is_aligned(mask), [=](i64 i, auto width) {
        constexpr int W = decltype(width)::VALUE;
        store<W>(mask + i, masks<W>(dropout, i, at, (Word64)seed));
    });
}

template <typename T>
__global__ void dropout(T* Y, const T* X, i64 N, double drop, i64 seed, i64 stream,
                        const i64* step) {
    const Dropout<Compute<T>> dropout(drop);
    const Word64 at = stream_at(stream, step);
    for_each_pack<T>(N, are_aligned(Y, X), [=](i64 i, auto width) {
        constexpr int W = decltype(width)::VALUE;
        auto x = load<W>(X + i);
        const auto mask = masks<W>(dropout, i, at, (Word64)seed);
#pragma unroll
        for (int j = 0; j < W; ++j) x.at[j] *= mask.at[j];
        store<W>(Y + i, x);
    });
}

template <typename T>
__global__ void update_averages(float* ema, const T* weights, i64 N, double rate) {
    using C = Compute<T>;
    const i64 step = grid_threads();
    for (i64 i = global_thread(); i < N; i += step) {
        const C average = C(ema[i]);
        ema[i] = float(average - C(rate) * (average - widen(weights[i])));
    }
}

}  // namespace thinc
