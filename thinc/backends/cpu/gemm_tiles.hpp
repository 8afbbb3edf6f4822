// The register-blocked inner loops of the matrix products, and what they are
// made of: vectors, partial loads and stores, transposition in registers.
//
// Three shapes of inner loop, because no single one is fast everywhere:
//   tile             rows of A broadcast against vectors of B's columns
//   transposed_tile  the same with the operands' roles swapped, for B stored as
//                    W (N, K) and few rows of A: W is then used where it lies
//   dot_tile         dot products along K, for a handful of rows or columns
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "kernel_table.hpp"

namespace thinc {
namespace THINC_LEVEL {
namespace products {

using std::ptrdiff_t;

#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64;
constexpr int MAX_ROWS = 14;  // 14 x 2 accumulators, 2 vectors of B, 2 to spare
#elif defined(__AVX2__)
constexpr int VECTOR_BYTES = 32;
constexpr int MAX_ROWS = 6;
#elif defined(__aarch64__)
constexpr int VECTOR_BYTES = 16;
constexpr int MAX_ROWS = 12;
#else
constexpr int VECTOR_BYTES = 16;
constexpr int MAX_ROWS = 4;
#endif
constexpr int MAX_VECTORS = 2;  // of B's columns in one tile

#define THINC_INLINE inline __attribute__((always_inline))
#define THINC_UNROLL _Pragma("GCC unroll 64")

// A register full of T, and the signed integers of the same size that
// comparisons yield.
template <typename T> struct Register;
template <> struct Register<float> {
    typedef float type __attribute__((vector_size(VECTOR_BYTES)));
    typedef int32_t mask __attribute__((vector_size(VECTOR_BYTES)));
};
template <> struct Register<double> {
    typedef double type __attribute__((vector_size(VECTOR_BYTES)));
    typedef int64_t mask __attribute__((vector_size(VECTOR_BYTES)));
};
template <typename T> using V = typename Register<T>::type;
template <typename T> constexpr int LANES = VECTOR_BYTES / static_cast<int>(sizeof(T));

// memcpy of a constant size is one unaligned move, whatever T's alignment.
template <typename T>
THINC_INLINE V<T> load(const T* p) {
    V<T> v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

template <typename T>
THINC_INLINE void store(T* p, V<T> v) {
    std::memcpy(p, &v, sizeof v);
}

template <typename T>
THINC_INLINE V<T> splat(T x) {
    return V<T>{} + x;
}

// The first n lanes (0 < n <= LANES); the others are zero, and are not touched
// in memory: a masked move where there is one.
template <typename T>
THINC_INLINE V<T> load_first(const T* p, int n) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
        return (V<T>)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
    else
        return (V<T>)_mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1), p);
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4) {
        const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        return (V<T>)_mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane));
    } else {
        const __m256i lane = _mm256_setr_epi64x(0, 1, 2, 3);
        return (V<T>)_mm256_maskload_pd(p, _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), lane));
    }
#else
    V<T> v = {};
    for (int i = 0; i < n; i++) v[i] = p[i];
    return v;
#endif
}

template <typename T>
THINC_INLINE void store_first(T* p, V<T> v, int n) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
        _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), (__m512)v);
    else
        _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1), (__m512d)v);
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4) {
        const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        _mm256_maskstore_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane), (__m256)v);
    } else {
        const __m256i lane = _mm256_setr_epi64x(0, 1, 2, 3);
        _mm256_maskstore_pd(p, _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), lane), (__m256d)v);
    }
#else
    for (int i = 0; i < n; i++) p[i] = v[i];
#endif
}

template <typename T>
THINC_INLINE V<T> load_lanes(const T* p, int n) {
    return n == LANES<T> ? load(p) : load_first(p, n);
}

template <typename T>
THINC_INLINE void store_lanes(T* p, V<T> v, int n) {
    if (n == LANES<T>) store(p, v);
    else store_first(p, v, n);
}

// ---- transposition ----------------------------------------------------------

// Lane j of the two outputs of one exchange: bit S of the lane number trades
// places with bit S of the row number.
template <int S, int L> constexpr int low_lane(int j) { return (j & S) ? L + j - S : j; }
template <int S, int L> constexpr int high_lane(int j) { return (j & S) ? L + j : j + S; }

template <typename T, int S, int... J>
THINC_INLINE void exchange(V<T>& a, V<T>& b, std::integer_sequence<int, J...>) {
    constexpr int L = LANES<T>;
    const V<T> low = __builtin_shufflevector(a, b, low_lane<S, L>(J)...);
    b = __builtin_shufflevector(a, b, high_lane<S, L>(J)...);
    a = low;
}

// Lane i * BLOCK + j of vector p trades places with lane p * BLOCK + j of vector i.
template <typename T, int BLOCK = 1, int S = BLOCK>
THINC_INLINE void transpose_blocks(V<T>* v) {
    constexpr int L = LANES<T>;
    constexpr int STEP = S / BLOCK;
    if constexpr (S < L) {
        THINC_UNROLL
        for (int i = 0; i < L / BLOCK; i++)
            if (!(i & STEP)) exchange<T, S>(v[i], v[i + STEP], std::make_integer_sequence<int, L>());
        transpose_blocks<T, BLOCK, 2 * S>(v);
    }
}

template <typename T>
THINC_INLINE void transpose(V<T>* v) {
    transpose_blocks<T>(v);
}

// v[0] lane i = sum of the lanes of v[i].
template <typename T, int S = 1>
THINC_INLINE void reduce(V<T>* v) {
    constexpr int L = LANES<T>;
    if constexpr (S < L) {
        THINC_UNROLL
        for (int i = 0; i < L; i += 2 * S) {
            exchange<T, S>(v[i], v[i + S], std::make_integer_sequence<int, L>());
            v[i] += v[i + S];
        }
        reduce<T, 2 * S>(v);
    }
}

// ---- what happens to a finished sum -----------------------------------------

// C = relu?(alpha * sum + beta * C + bias). bias is null or points at the
// element of the first column concerned.
template <typename T>
struct Finish {
    T alpha, beta;
    const T* bias;
    bool relu;

    // Gradients are added up this way, often over a depth of a few rows only.
    bool only_adds() const { return alpha == 1 && beta == 1 && !bias && !relu; }
    Finish at(ptrdiff_t column) const {
        return {alpha, beta, bias ? bias + column : nullptr, relu};
    }
};

// 0 for every x <= 0, -0 too; NaN stays.
template <typename T>
THINC_INLINE V<T> rectified(V<T> x) {
    return x <= V<T>{} ? V<T>{} : x;
}

// Stores n lanes of a row of C; n == LANES everywhere but at the right border.
template <typename T>
THINC_INLINE void finish_vector(T* c, V<T> sum, int n, V<T> bias, const Finish<T>& finish) {
    sum *= finish.alpha;
    if (finish.beta != 0) sum += load_lanes(c, n) * finish.beta;
    sum += bias;
    if (finish.relu) sum = rectified<T>(sum);
    store_lanes(c, sum, n);
}

template <typename T>
THINC_INLINE V<T> bias_vector(const T* bias, int n) {
    if (!bias) return V<T>{};
    return load_lanes(bias, n);
}

// ---- the loops ---------------------------------------------------------------

// C (ROWS, VECTORS * LANES) from A (ROWS, K) and B (K, VECTORS * LANES).
// One of A's strides is 1: the column's if K_IS_UNIT, else the row's; lda is the
// other one. B has unit column stride and is readable over its full width; only
// the first `last` lanes of the last vector are stored.
template <typename T, int ROWS, int VECTORS, bool K_IS_UNIT>
static void tile(const T* A, ptrdiff_t lda, const T* B, ptrdiff_t ldb, int64_t K, T* C,
                 ptrdiff_t ldc, int last, const Finish<T>& finish) {
    constexpr int L = LANES<T>;
    V<T> sums[ROWS][VECTORS];
    THINC_UNROLL
    for (int i = 0; i < ROWS; i++) {
        THINC_UNROLL
        for (int v = 0; v < VECTORS; v++) sums[i][v] = V<T>{};
    }
    // Every third row has a pointer, the two after it are reached by scaled
    // indexing: 14 separate pointers would not fit the registers.
    constexpr int POINTERS = (ROWS + 2) / 3;
    const T* a[POINTERS];
    THINC_UNROLL
    for (int i = 0; i < POINTERS; i++) a[i] = K_IS_UNIT ? A + 3 * i * lda : A + 3 * i;

    for (int64_t k = 0; k < K; k++) {
        V<T> b[VECTORS];
        THINC_UNROLL
        for (int v = 0; v < VECTORS; v++) b[v] = load(B + v * L);
        B += ldb;
        THINC_UNROLL
        for (int i = 0; i < ROWS; i++) {
            const T x = K_IS_UNIT ? a[i / 3][(i % 3) * lda] : A[i];
            THINC_UNROLL
            for (int v = 0; v < VECTORS; v++) sums[i][v] += b[v] * x;
        }
        if (K_IS_UNIT) {
            THINC_UNROLL
            for (int i = 0; i < POINTERS; i++) a[i]++;
        } else {
            A += lda;
        }
    }

    if (last == L && finish.only_adds()) {
        THINC_UNROLL
        for (int i = 0; i < ROWS; i++) {
            THINC_UNROLL
            for (int v = 0; v < VECTORS; v++) {
                T* const c = C + i * ldc + v * L;
                store<T>(c, load(c) + sums[i][v]);
            }
        }
        return;
    }
    THINC_UNROLL
    for (int v = 0; v < VECTORS; v++) {
        const int n = v + 1 < VECTORS ? L : last;
        const V<T> bias = bias_vector(finish.bias ? finish.bias + v * L : nullptr, n);
        THINC_UNROLL
        for (int i = 0; i < ROWS; i++) finish_vector(C + i * ldc + v * L, sums[i][v], n, bias, finish);
    }
}

// Columns of C that one call of transposed_tile makes.
template <typename T> constexpr int TRANSPOSED_COLUMNS = LANES<T> < 8 ? 8 : LANES<T>;

// C (rows, TRANSPOSED_COLUMNS) from X (K, LANES), which holds the rows of A as
// its columns, and W (TRANSPOSED_COLUMNS, K), which is B transposed. Sums are
// kept transposed and turned round on the way out; 0 < rows <= LANES.
template <typename T>
static void transposed_tile(const T* W, ptrdiff_t ldw, const T* X, int64_t K, T* C, ptrdiff_t ldc,
                            int rows, const Finish<T>& finish) {
    constexpr int L = LANES<T>;
    constexpr int COLUMNS = TRANSPOSED_COLUMNS<T>;
    V<T> sums[COLUMNS];
    THINC_UNROLL
    for (int i = 0; i < COLUMNS; i++) sums[i] = V<T>{};
    constexpr int POINTERS = (COLUMNS + 2) / 3;
    const T* w[POINTERS];
    THINC_UNROLL
    for (int i = 0; i < POINTERS; i++) w[i] = W + 3 * i * ldw;

    for (int64_t k = 0; k < K; k++) {
        const V<T> x = load(X);
        X += L;
        THINC_UNROLL
        for (int i = 0; i < COLUMNS; i++) sums[i] += x * w[i / 3][(i % 3) * ldw];
        THINC_UNROLL
        for (int i = 0; i < POINTERS; i++) w[i]++;
    }

    THINC_UNROLL
    for (int g = 0; g < COLUMNS / L; g++) {
        transpose<T>(sums + g * L);
        const V<T> bias = bias_vector(finish.bias ? finish.bias + g * L : nullptr, L);
        THINC_UNROLL
        for (int i = 0; i < L; i++)
            if (i < rows) finish_vector(C + i * ldc + g * L, sums[g * L + i], L, bias, finish);
    }
}

// Sums of LANES products along K: of XROWS rows of x with LANES / XROWS rows of W.
// Lane i * LANES / XROWS + j is for rows i of x and j of W.
template <typename T, int XROWS>
THINC_INLINE V<T> dots(const T* x, ptrdiff_t ldx, const T* const* w, int64_t K) {
    constexpr int L = LANES<T>;
    constexpr int WROWS = L / XROWS;
    V<T> sums[L];
    THINC_UNROLL
    for (int i = 0; i < L; i++) sums[i] = V<T>{};
    int64_t k = 0;
    for (; k + L <= K; k += L) {
        V<T> xk[XROWS];
        THINC_UNROLL
        for (int i = 0; i < XROWS; i++) xk[i] = load(x + i * ldx + k);
        THINC_UNROLL
        for (int j = 0; j < WROWS; j++) {
            const V<T> wk = load(w[j] + k);
            THINC_UNROLL
            for (int i = 0; i < XROWS; i++) sums[i * WROWS + j] += xk[i] * wk;
        }
    }
    if (k < K) {
        const int rest = static_cast<int>(K - k);
        V<T> xk[XROWS];
        THINC_UNROLL
        for (int i = 0; i < XROWS; i++) xk[i] = load_first(x + i * ldx + k, rest);
        THINC_UNROLL
        for (int j = 0; j < WROWS; j++) {
            const V<T> wk = load_first(w[j] + k, rest);
            THINC_UNROLL
            for (int i = 0; i < XROWS; i++) sums[i * WROWS + j] += xk[i] * wk;
        }
    }
    reduce<T>(sums);
    return sums[0];
}

// y[i], lane j: product of row i of x (XROWS, K) with row j of W (count, K),
// 0 < count <= LANES. More rows of x at a time load W less often.
template <typename T, int XROWS>
static void dot_tile(V<T>* y, const T* x, ptrdiff_t ldx, const T* W, ptrdiff_t ldw, int count,
                     int64_t K) {
    constexpr int L = LANES<T>;
    constexpr int WROWS = L / XROWS;
    const T* w[L];
    THINC_UNROLL
    for (int j = 0; j < L; j++) w[j] = W + (j < count ? j : count - 1) * ldw;  // repeats the last
    V<T> parts[XROWS];
    for (int i = 0; i < XROWS; i++) parts[i] = dots<T, XROWS>(x, ldx, w + i * WROWS, K);
    // Part p has its products with row i at lanes i * WROWS; y wants it the other way round.
    transpose_blocks<T, WROWS>(parts);
    THINC_UNROLL
    for (int i = 0; i < XROWS; i++) y[i] = parts[i];
}

}  // namespace products
}  // namespace THINC_LEVEL
}  // namespace thinc
