// Sequences that lie one after another in the rows of X: reductions to one row
// each, and windows over neighbouring rows. All of these are bound by memory.
#pragma once
#include <cstdint>
#include <cstring>

#include "kernel_table.hpp"

namespace thinc {
namespace THINC_LEVEL {
namespace sequences {

template <typename T>
static inline void copy_row(T* to, const T* from, int64_t width) {
    std::memcpy(to, from, width * sizeof(T));
}

template <typename T>
static inline void clear(T* to, int64_t count) {
    std::memset(to, 0, count * sizeof(T));
}

// y += x, and y += four consecutive rows: y is loaded and stored once for four.
template <typename T>
static inline void add_row(T* __restrict y, const T* __restrict x, int64_t width) {
    for (int64_t j = 0; j < width; ++j) y[j] += x[j];
}

template <typename T>
static inline void add_four_rows(T* __restrict y, const T* __restrict x, int64_t width) {
    const T* const x1 = x + width;
    const T* const x2 = x1 + width;
    const T* const x3 = x2 + width;
    for (int64_t j = 0; j < width; ++j) y[j] += (x[j] + x1[j]) + (x2[j] + x3[j]);
}

template <typename T>
static inline void sum_rows(T* y, const T* X, int64_t rows, int64_t width) {
    if (rows == 0) return clear(y, width);
    copy_row(y, X, width);
    int64_t i = 1;
    for (; i + 4 <= rows; i += 4) add_four_rows(y, X + i * width, width);
    for (; i < rows; ++i) add_row(y, X + i * width, width);
}

// Takes x where it is larger, or the first NaN. which holds integers as wide as
// T, so that a column's maximum and its place fit the same kind of register.
template <typename T, typename Index>
static inline void take_larger(T& best, Index& which, T x, Index place) {
    const bool take = !(x <= best) & (best == best);
    best = take ? x : best;
    which = take ? place : which;
}

template <typename T> struct IndexOf;
template <> struct IndexOf<float> { typedef int32_t type; };
template <> struct IndexOf<double> { typedef int64_t type; };

}  // namespace sequences

template <typename T>
static void reduce_sum(T* Y, const T* X, const int32_t* lengths, int64_t nr_seq, int64_t width) {
    if (width == 0) return;
    for (int64_t s = 0; s < nr_seq; ++s) {
        sequences::sum_rows(Y + s * width, X, lengths[s], width);
        X += lengths[s] * width;
    }
}

template <typename T>
static void reduce_mean(T* Y, const T* X, const int32_t* lengths, int64_t nr_seq, int64_t width) {
    if (width == 0) return;
    for (int64_t s = 0; s < nr_seq; ++s) {
        T* const y = Y + s * width;
        sequences::sum_rows(y, X, lengths[s], width);
        X += lengths[s] * width;
        const T length = static_cast<T>(lengths[s] > 0 ? lengths[s] : 1);
        for (int64_t j = 0; j < width; ++j) y[j] /= length;
    }
}

template <typename T>
static void reduce_max(T* Y, int32_t* which, const T* X, const int32_t* lengths, int64_t nr_seq,
                       int64_t width) {
    using Index = typename sequences::IndexOf<T>::type;
    constexpr int64_t BLOCK = 64;  // columns whose running maximum stays in cache or registers
    for (int64_t s = 0; s < nr_seq; ++s) {
        const int64_t rows = lengths[s];
        for (int64_t first = 0; first < width; first += BLOCK) {
            const int64_t count = width - first < BLOCK ? width - first : BLOCK;
            T best[BLOCK];
            Index place[BLOCK];
            const T* x = X + first;
            for (int64_t j = 0; j < count; ++j) best[j] = x[j], place[j] = 0;
            for (int64_t i = 1; i < rows; ++i) {
                x += width;
                if (count == BLOCK) {
                    for (int64_t j = 0; j < BLOCK; ++j)
                        sequences::take_larger(best[j], place[j], x[j], static_cast<Index>(i));
                } else {
                    for (int64_t j = 0; j < count; ++j)
                        sequences::take_larger(best[j], place[j], x[j], static_cast<Index>(i));
                }
            }
            for (int64_t j = 0; j < count; ++j) {
                Y[s * width + first + j] = best[j];
                which[s * width + first + j] = static_cast<int32_t>(place[j]);
            }
        }
        X += rows * width;
    }
}

template <typename T>
static void backprop_reduce_sum(T* dX, const T* dY, const int32_t* lengths, int64_t nr_seq,
                                int64_t width) {
    if (width == 0) return;
    for (int64_t s = 0; s < nr_seq; ++s) {
        for (int32_t i = 0; i < lengths[s]; ++i, dX += width)
            sequences::copy_row(dX, dY + s * width, width);
    }
}

template <typename T>
static void backprop_reduce_mean(T* dX, const T* dY, const int32_t* lengths, int64_t nr_seq,
                                 int64_t width) {
    if (width == 0) return;
    for (int64_t s = 0; s < nr_seq; ++s) {
        if (lengths[s] == 0) continue;
        const T length = static_cast<T>(lengths[s]);
        T* const scaled = dX;
        for (int64_t j = 0; j < width; ++j) scaled[j] = dY[s * width + j] / length;
        dX += width;
        for (int32_t i = 1; i < lengths[s]; ++i, dX += width) sequences::copy_row(dX, scaled, width);
    }
}

template <typename T>
static int64_t backprop_reduce_max(T* dX, const T* dY, const int32_t* which, const int32_t* lengths,
                                   int64_t nr_seq, int64_t width) {
    for (int64_t s = 0; s < nr_seq; ++s) {
        const int64_t rows = lengths[s];
        if (rows * width > 0) sequences::clear(dX, rows * width);
        for (int64_t i = s * width; i < (s + 1) * width; ++i) {
            const int64_t row = which[i];
            if (row < 0 || row >= rows) return i;
            dX[row * width + i - s * width] = dY[i];
        }
        dX += rows * width;
    }
    return -1;
}

template <typename T>
static void seq2col(T* Y, const T* X, const int32_t* lengths, int64_t nr_seq, int64_t width,
                    int64_t window) {
    if (width == 0) return;
    const int64_t out_width = (2 * window + 1) * width;
    for (int64_t s = 0; s < nr_seq; ++s) {
        const int64_t rows = lengths[s];
        for (int64_t i = 0; i < rows; ++i, Y += out_width) {
            // The window's rows are neighbours in X too: one copy, zeros around it.
            const int64_t before = i < window ? window - i : 0;
            const int64_t after = rows - 1 - i < window ? window - (rows - 1 - i) : 0;
            const int64_t inside = 2 * window + 1 - before - after;
            if (before) sequences::clear(Y, before * width);
            std::memcpy(Y + before * width, X + (i - window + before) * width,
                        inside * width * sizeof(T));
            if (after) sequences::clear(Y + (before + inside) * width, after * width);
        }
        X += rows * width;
    }
}

// Row i was block window + k of the window around row i - k. In dY, those blocks
// lie 2 window blocks apart: one row back, one block on.
template <typename T>
static void backprop_seq2col(T* dX, const T* dY, const int32_t* lengths, int64_t nr_seq, int64_t width,
                             int64_t window) {
    if (width == 0) return;
    const int64_t out_width = (2 * window + 1) * width;
    const int64_t step = out_width - width;
    for (int64_t s = 0; s < nr_seq; ++s) {
        const int64_t rows = lengths[s];
        for (int64_t i = 0; i < rows; ++i, dX += width) {
            const int64_t first = i < window ? 0 : i - window;
            const int64_t last = rows - 1 - i < window ? rows - 1 : i + window;
            const T* block = dY + first * out_width + (i - first + window) * width;
            T* __restrict dx = dX;
            int64_t blocks = last - first + 1;
            if (blocks >= 3) {
                const T* const b = block + step;
                const T* const c = b + step;
                for (int64_t j = 0; j < width; ++j) dx[j] = block[j] + b[j] + c[j];
                block = c + step;
                blocks -= 3;
            } else {
                sequences::copy_row(dX, block, width);
                block += step;
                blocks -= 1;
            }
            for (; blocks >= 2; blocks -= 2, block += 2 * step) {
                const T* const b = block + step;
                for (int64_t j = 0; j < width; ++j) dx[j] += block[j] + b[j];
            }
            if (blocks) sequences::add_row(dX, block, width);
        }
        dY += rows * out_width;
    }
}

template <typename T>
static void fill_sequences(Kernels<T>& kernels) {
    kernels.reduce_sum = reduce_sum<T>;
    kernels.reduce_mean = reduce_mean<T>;
    kernels.reduce_max = reduce_max<T>;
    kernels.backprop_reduce_sum = backprop_reduce_sum<T>;
    kernels.backprop_reduce_mean = backprop_reduce_mean<T>;
    kernels.backprop_reduce_max = backprop_reduce_max<T>;
    kernels.seq2col = seq2col<T>;
    kernels.backprop_seq2col = backprop_seq2col<T>;
}

}  // namespace THINC_LEVEL
}  // namespace thinc
