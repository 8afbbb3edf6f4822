// Sequences that lie one after another in the rows of X: reductions to one row
// each, softmax, and windows over neighbouring rows. Most of these are bound by memory.
#pragma once
#include <cstdint>
#include <cstring>

#include "gemm_tiles.hpp"
#include "kernel_table.hpp"
#include "thinc/math.hpp"
#include "thinc/rows.hpp"

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

template <typename T>
static inline bool all_finite(const T* y, int64_t width) {
    int32_t others = 0;
    for (int64_t j = 0; j < width; ++j) others |= y[j] - y[j] != 0;  // infinity - infinity is NaN
    return !others;
}

template <typename T>
static inline void mean_of_rows(T* y, const T* X, int64_t rows, int64_t width) {
    sum_rows(y, X, rows, width);
    if (rows == 0) return;
    const T length = static_cast<T>(rows);
    if (all_finite(y, width)) {
        for (int64_t j = 0; j < width; ++j) y[j] /= length;
        return;
    }
    // A sum may overflow where the mean does not.
    clear(y, width);
    for (int64_t i = 0; i < rows; ++i, X += width)
        for (int64_t j = 0; j < width; ++j) y[j] += X[j] / length;
}

// ---- maxima -------------------------------------------------------------------

// Takes x where it is larger, or the first NaN. In vectors of their own: compilers
// turn the chain of comparisons into branches.
template <typename T, typename Index, typename Mask>
static inline void take_where(Mask take, T& best, Index& which, T x, Index place) {
    best = take ? x : best;
    which = take ? place : which;
}

template <typename T>
using Places = typename products::Register<T>::mask;  // integers as wide as T

template <typename T>
static inline Places<T> load_places(const int32_t* p) {
    typedef int32_t narrow __attribute__((vector_size(4 * products::LANES<T>)));
    narrow v;
    std::memcpy(&v, p, sizeof v);
    return __builtin_convertvector(v, Places<T>);
}

template <typename T>
static inline void store_places(int32_t* p, Places<T> places) {
    typedef int32_t narrow __attribute__((vector_size(4 * products::LANES<T>)));
    const narrow v = __builtin_convertvector(places, narrow);
    std::memcpy(p, &v, sizeof v);
}

// y = max(y, ROWS consecutive rows), the first of them at `place` in its sequence.
template <int ROWS, typename T>
static inline void take_larger(T* y, int32_t* which, const T* x, int32_t place, int64_t width) {
    using namespace products;
    constexpr int64_t L = LANES<T>;
    if (width < L) {
        for (int64_t j = 0; j < width; ++j) {
            for (int32_t i = 0; i < ROWS; ++i) {
                const T value = x[i * width + j];
                take_where(!(value <= y[j]) && y[j] == y[j], y[j], which[j], value, place + i);
            }
        }
        return;
    }
    for (int64_t j = 0; j < width; j += L) {
        if (j > width - L) j = width - L;  // again over some columns: it changes nothing
        V<T> best = products::load(y + j);
        Places<T> at = load_places<T>(which + j);
        THINC_UNROLL
        for (int32_t i = 0; i < ROWS; ++i) {
            const V<T> value = products::load(x + i * width + j);
            const Places<T> take = ~(value <= best) & (best == best);
            take_where(take, best, at, value, Places<T>{} + (place + i));
        }
        products::store(y + j, best);
        store_places<T>(which + j, at);
    }
}

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
        sequences::mean_of_rows(Y + s * width, X, lengths[s], width);
        X += lengths[s] * width;
    }
}

template <typename T>
static void reduce_max(T* Y, int32_t* which, const T* X, const int32_t* lengths, int64_t nr_seq,
                       int64_t width) {
    if (width == 0) return;
    for (int64_t s = 0; s < nr_seq; ++s) {
        T* const y = Y + s * width;
        int32_t* const at = which + s * width;
        sequences::copy_row(y, X, width);
        sequences::clear(at, width);
        int32_t i = 1;
        for (; i <= lengths[s] - 4; i += 4)
            sequences::take_larger<4>(y, at, X + i * width, i, width);
        for (; i < lengths[s]; ++i) sequences::take_larger<1>(y, at, X + i * width, i, width);
        X += lengths[s] * width;
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

// Columns are taken in blocks, whose maxima and sums stay in the nearest cache.
constexpr int64_t SOFTMAX_BLOCK = 128;

template <typename T>
static inline void softmax_columns(T* Y, const T* X, int64_t rows, int64_t width, int64_t columns) {
    T largest[SOFTMAX_BLOCK], sum[SOFTMAX_BLOCK];
    sequences::copy_row(largest, X, columns);
    for (int64_t i = 1; i < rows; ++i) {
        const T* const x = X + i * width;
        for (int64_t j = 0; j < columns; ++j) largest[j] = x[j] > largest[j] ? x[j] : largest[j];
    }
    for (int64_t j = 0; j < columns; ++j) sum[j] = T(0);
    for (int64_t i = 0; i < rows; ++i) {
        const T* const x = X + i * width;
        T* const y = Y + i * width;
        THINC_IVDEP
        for (int64_t j = 0; j < columns; ++j) {
            const T e = exp_below_one(x[j] - largest[j]);
            y[j] = e;
            sum[j] += e;
        }
    }
    for (int64_t j = 0; j < columns; ++j) sum[j] = T(1) / sum[j];
    for (int64_t i = 0; i < rows; ++i) {
        T* const y = Y + i * width;
        THINC_IVDEP
        for (int64_t j = 0; j < columns; ++j) y[j] *= sum[j];
    }
}

template <typename T>
static inline void backprop_softmax_columns(T* dX, const T* dY, const T* Y, int64_t rows,
                                            int64_t width, int64_t columns) {
    T dot[SOFTMAX_BLOCK];
    for (int64_t j = 0; j < columns; ++j) dot[j] = T(0);
    for (int64_t i = 0; i < rows; ++i) {
        const T* const y = Y + i * width;
        const T* const dy = dY + i * width;
        for (int64_t j = 0; j < columns; ++j) dot[j] += y[j] * dy[j];
    }
    for (int64_t i = 0; i < rows; ++i) {
        const T* const y = Y + i * width;
        const T* const dy = dY + i * width;
        T* const dx = dX + i * width;
        THINC_IVDEP
        for (int64_t j = 0; j < columns; ++j) dx[j] = softmax_gradient(y[j], dy[j], dot[j], T(1));
    }
}

template <typename T>
static void softmax_sequences(T* Y, const T* X, const int32_t* lengths, int64_t nr_seq,
                              int64_t width) {
    for (int64_t s = 0; s < nr_seq; ++s) {
        for (int64_t j = 0; j < width && lengths[s] > 0; j += SOFTMAX_BLOCK) {
            const int64_t columns = width - j < SOFTMAX_BLOCK ? width - j : SOFTMAX_BLOCK;
            softmax_columns(Y + j, X + j, lengths[s], width, columns);
        }
        X += lengths[s] * width;
        Y += lengths[s] * width;
    }
}

template <typename T>
static void backprop_softmax_sequences(T* dX, const T* dY, const T* Y, const int32_t* lengths,
                                       int64_t nr_seq, int64_t width) {
    for (int64_t s = 0; s < nr_seq; ++s) {
        for (int64_t j = 0; j < width; j += SOFTMAX_BLOCK) {
            const int64_t columns = width - j < SOFTMAX_BLOCK ? width - j : SOFTMAX_BLOCK;
            backprop_softmax_columns(dX + j, dY + j, Y + j, lengths[s], width, columns);
        }
        const int64_t size = lengths[s] * width;
        dX += size;
        dY += size;
        Y += size;
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
    kernels.softmax_sequences = softmax_sequences<T>;
    kernels.backprop_softmax_sequences = backprop_softmax_sequences<T>;
    kernels.seq2col = seq2col<T>;
    kernels.backprop_seq2col = backprop_seq2col<T>;
}

}  // namespace THINC_LEVEL
}  // namespace thinc
