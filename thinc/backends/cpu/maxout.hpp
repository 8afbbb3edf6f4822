// Maxout. The pieces of one output are neighbours in memory, so vectors of them are
// taken apart into one vector for each piece, and put together again for gradients.
#pragma once
#include <cstdint>
#include <cstring>
#include <utility>

#include "gemm_tiles.hpp"
#include "kernel_table.hpp"
#include "thinc/rows.hpp"

namespace thinc {
namespace THINC_LEVEL {
namespace interleaved {

using products::LANES;
using products::V;

template <typename T> using Indices = typename products::Register<T>::mask;  // as wide as T

template <typename T>
using NarrowIndices __attribute__((vector_size(4 * LANES<T>))) = int32_t;

// Lane J of piece I of 3, in the first two of three vectors (or anything, if it is in the
// third), and then in what that gave and the third.
template <int L, int I> constexpr int from_first_two(int j) {
    return 3 * j + I < 2 * L ? 3 * j + I : 0;
}
template <int L, int I> constexpr int from_third(int j) {
    return 3 * j + I < 2 * L ? j : 3 * j + I - L;
}

// Lane J of the vector number I in memory, in pieces 0 and 1, and then in that and piece 2.
template <int L, int I> constexpr int from_pieces_0_1(int j) {
    const int k = I * L + j;
    return k % 3 == 2 ? 0 : (k % 3) * L + k / 3;
}
template <int L, int I> constexpr int from_piece_2(int j) {
    const int k = I * L + j;
    return k % 3 == 2 ? L + k / 3 : j;
}

template <typename T, int... J>
THINC_INLINE void even_and_odd(V<T>& a, V<T>& b, std::integer_sequence<int, J...>) {
    const V<T> even = __builtin_shufflevector(a, b, (2 * J)...);
    b = __builtin_shufflevector(a, b, (2 * J + 1)...);
    a = even;
}

template <typename T, int... J>
THINC_INLINE void alternate(V<T>& a, V<T>& b, std::integer_sequence<int, J...>) {
    constexpr int L = LANES<T>;
    const V<T> low = __builtin_shufflevector(a, b, ((J & 1) * L + J / 2)...);
    b = __builtin_shufflevector(a, b, ((J & 1) * L + (L + J) / 2)...);
    a = low;
}

template <typename T, int I, int... J>
THINC_INLINE V<T> one_of_three(const V<T>* v, std::integer_sequence<int, J...>) {
    constexpr int L = LANES<T>;
    const V<T> most = __builtin_shufflevector(v[0], v[1], from_first_two<L, I>(J)...);
    return __builtin_shufflevector(most, v[2], from_third<L, I>(J)...);
}

template <typename T, int I, int... J>
THINC_INLINE V<T> three_in_one(const V<T>* v, std::integer_sequence<int, J...>) {
    constexpr int L = LANES<T>;
    const V<T> most = __builtin_shufflevector(v[0], v[1], from_pieces_0_1<L, I>(J)...);
    return __builtin_shufflevector(most, v[2], from_piece_2<L, I>(J)...);
}

// v holds PIECES vectors as they lie in memory; then vector p holds piece p of each output.
template <int PIECES, typename T>
THINC_INLINE void take_apart(V<T>* v) {
    constexpr auto lanes = std::make_integer_sequence<int, LANES<T>>();
    if constexpr (PIECES == 2) {
        even_and_odd<T>(v[0], v[1], lanes);
    } else if constexpr (PIECES == 3) {
        const V<T> all[3] = {v[0], v[1], v[2]};
        v[0] = one_of_three<T, 0>(all, lanes);
        v[1] = one_of_three<T, 1>(all, lanes);
        v[2] = one_of_three<T, 2>(all, lanes);
    } else {
        even_and_odd<T>(v[0], v[1], lanes);  // pieces 0 and 2 of the first half; 1 and 3
        even_and_odd<T>(v[2], v[3], lanes);
        even_and_odd<T>(v[0], v[2], lanes);
        even_and_odd<T>(v[1], v[3], lanes);
    }
}

// The inverse.
template <int PIECES, typename T>
THINC_INLINE void put_together(V<T>* v) {
    constexpr auto lanes = std::make_integer_sequence<int, LANES<T>>();
    if constexpr (PIECES == 2) {
        alternate<T>(v[0], v[1], lanes);
    } else if constexpr (PIECES == 3) {
        const V<T> all[3] = {v[0], v[1], v[2]};
        v[0] = three_in_one<T, 0>(all, lanes);
        v[1] = three_in_one<T, 1>(all, lanes);
        v[2] = three_in_one<T, 2>(all, lanes);
    } else {
        alternate<T>(v[0], v[2], lanes);
        alternate<T>(v[1], v[3], lanes);
        alternate<T>(v[0], v[1], lanes);
        alternate<T>(v[2], v[3], lanes);
    }
}

template <typename T>
static inline void best_of_row(T* best, int32_t* which, const T* x, int64_t pieces) {
    T b = x[0];
    int32_t w = 0;
    for (int32_t p = 1; p < pieces; ++p) {
        const bool replace = replaces_maximum(x[p], b);
        b = replace ? x[p] : b;
        w = replace ? p : w;
    }
    *best = b;
    *which = w;
}

template <int PIECES, typename T>
static inline void best_of_all(T* best, int32_t* which, const T* X, int64_t rows) {
    constexpr int64_t L = LANES<T>;
    int64_t r = 0;
    for (; r + L <= rows; r += L) {
        V<T> v[PIECES];
        THINC_UNROLL
        for (int p = 0; p < PIECES; ++p) v[p] = products::load(X + r * PIECES + p * L);
        take_apart<PIECES, T>(v);
        Indices<T> w = {};
        THINC_UNROLL
        for (int p = 1; p < PIECES; ++p) {
            const Indices<T> replace = ~(v[p] <= v[0]) & (v[0] == v[0]);
            v[0] = replace ? v[p] : v[0];
            w = replace ? Indices<T>{} + p : w;
        }
        products::store(best + r, v[0]);
        const NarrowIndices<T> narrow = __builtin_convertvector(w, NarrowIndices<T>);
        std::memcpy(which + r, &narrow, sizeof narrow);
    }
    for (; r < rows; ++r) best_of_row(best + r, which + r, X + r * PIECES, PIECES);
}

template <int PIECES, typename T>
static inline void spread(T* dX, const T* dY, const int32_t* which, int64_t rows) {
    constexpr int64_t L = LANES<T>;
    int64_t r = 0;
    for (; r + L <= rows; r += L) {
        NarrowIndices<T> narrow;
        std::memcpy(&narrow, which + r, sizeof narrow);
        const Indices<T> w = __builtin_convertvector(narrow, Indices<T>);
        const V<T> dy = products::load(dY + r);
        V<T> v[PIECES];
        THINC_UNROLL
        for (int p = 0; p < PIECES; ++p) v[p] = w == Indices<T>{} + p ? dy : V<T>{};
        put_together<PIECES, T>(v);
        THINC_UNROLL
        for (int p = 0; p < PIECES; ++p) products::store(dX + r * PIECES + p * L, v[p]);
    }
    for (; r < rows; ++r)
        for (int p = 0; p < PIECES; ++p) dX[r * PIECES + p] = which[r] == p ? dY[r] : T(0);
}

}  // namespace interleaved

template <typename T>
static void maxout(T* best, int32_t* which, const T* X, int64_t rows, int64_t pieces) {
    if (pieces == 2) return interleaved::best_of_all<2>(best, which, X, rows);
    if (pieces == 3) return interleaved::best_of_all<3>(best, which, X, rows);
    if (pieces == 4) return interleaved::best_of_all<4>(best, which, X, rows);
    for (int64_t r = 0; r < rows; ++r)
        interleaved::best_of_row(best + r, which + r, X + r * pieces, pieces);
}

template <typename T>
static int64_t backprop_maxout(T* dX, const T* dY, const int32_t* which, int64_t rows,
                               int64_t pieces) {
    int outside = 0;
    for (int64_t r = 0; r < rows; ++r) outside |= (which[r] < 0) | (which[r] >= pieces);
    if (outside) {
        int64_t r = 0;
        while (which[r] >= 0 && which[r] < pieces) ++r;
        return r;
    }
    if (pieces == 2) {
        interleaved::spread<2>(dX, dY, which, rows);
    } else if (pieces == 3) {
        interleaved::spread<3>(dX, dY, which, rows);
    } else if (pieces == 4) {
        interleaved::spread<4>(dX, dY, which, rows);
    } else {
        if (rows > 0) std::memset(dX, 0, rows * pieces * sizeof(T));
        for (int64_t r = 0; r < rows; ++r) dX[r * pieces + which[r]] = dY[r];
    }
    return -1;
}

template <typename T>
static void fill_maxout(Kernels<T>& kernels) {
    kernels.maxout = maxout<T>;
    kernels.backprop_maxout = backprop_maxout<T>;
}

}  // namespace THINC_LEVEL
}  // namespace thinc
