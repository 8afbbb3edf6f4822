// The ways to walk over a matrix product, and the choice between them.
//
// A product is planned by estimated cost, since shapes differ by orders of
// magnitude: one row of a network at run time, thousands in training.
//   packed      B is copied into strips as wide as a tile; A is used in place.
//               The choice when there are many rows. A B with unit column stride
//               and few rows is used in place too.
//   transposed  few rows, B = W^T with W (N, K) contiguous along K: copying W
//               would cost as much as the product, so A is copied instead.
//   dots        a handful of rows (or of columns), both operands contiguous
//               along K.
// Weights that no longer change can be prepacked in strips, which is then the packed product
// without its copying: the choice from a few rows on.
#pragma once
#include "gemm_pack.hpp"

namespace thinc {
namespace THINC_LEVEL {
namespace products {

// ---- tiles by size -----------------------------------------------------------

template <typename T>
using Tile = void (*)(const T*, ptrdiff_t, const T*, ptrdiff_t, int64_t, T*, ptrdiff_t, int,
                      const Finish<T>&);

template <typename T, int VECTORS, bool K_IS_UNIT, int... R>
static const Tile<T>* tiles_up_to(std::integer_sequence<int, R...>) {
    static constexpr Tile<T> table[] = {tile<T, R + 1, VECTORS, K_IS_UNIT>...};
    return table;
}

// Tiles with one or two rows are made wider, or they would wait for each other's
// additions.
constexpr int widest_tile(int64_t rows) { return rows == 1 ? 8 : rows <= 3 ? 4 : MAX_VECTORS; }

template <typename T, bool K_IS_UNIT>
static const Tile<T>* tiles(int vectors) {
    switch (vectors) {
        case 1: return tiles_up_to<T, 1, K_IS_UNIT>(std::make_integer_sequence<int, MAX_ROWS>());
        case 2: return tiles_up_to<T, 2, K_IS_UNIT>(std::make_integer_sequence<int, MAX_ROWS>());
        case 4: return tiles_up_to<T, 4, K_IS_UNIT>(std::make_integer_sequence<int, 3>());
        default: return tiles_up_to<T, 8, K_IS_UNIT>(std::make_integer_sequence<int, 1>());
    }
}

// ---- the product, as a task --------------------------------------------------

// C (M, groups * N): group g's columns are A @ B_g, B_g starting group_stride
// after B_(g-1). Plain products have one group; maxout has one per piece, so
// that its pieces come out in separate blocks of columns.
template <typename T>
struct Product {
    Matrix<T> A, B;
    int64_t M, N, K;
    int64_t groups;
    ptrdiff_t group_stride;
    Finish<T> finish;
    const T* strips = nullptr;  // B as prepack_strips lays it out, or null

    Product rows(int64_t first, int64_t count) const {
        Product part = *this;
        part.A.data = A.at(first, 0);
        part.M = count;
        return part;
    }
};

// Where the results go, and what is done with them while they are in cache.
template <typename T>
struct PlainOutput {
    T* C;
    ptrdiff_t ldc;

    static constexpr bool has_second_pass = false;
    T* rows(int64_t first) const { return C + first * ldc; }
    void done(int64_t, int64_t, int64_t, int64_t) const {}
};

// ---- packed ------------------------------------------------------------------

constexpr int64_t K_BLOCK = VECTOR_BYTES == 64 ? 384 : 256;  // depth of a tile's loop
constexpr int64_t PANEL_BYTES = 512 << 10;  // of B in one pass over A's rows: half an L2 cache
constexpr int64_t PACKED_BYTES = 2 << 20;   // of packed B altogether
constexpr int64_t BLOCK_BYTES = 192 << 10;  // of C between the first and the second pass
constexpr int64_t IN_PLACE_ROWS = 64;       // up to which copying B does not pay

// Rows of C that are finished, second pass included, before the next ones begin.
template <typename T>
static int64_t block_rows(int64_t columns) {
    const int64_t fitting = BLOCK_BYTES / static_cast<int64_t>(sizeof(T)) / larger(1, columns);
    return larger(4, fitting / MAX_ROWS) * MAX_ROWS;
}

template <typename T> constexpr int64_t TRANSPOSED_ROWS = 4 * LANES<T>;  // the same, transposed

// Elements in the largest block of at most so many columns.
template <typename T>
static int64_t block_capacity(int64_t columns) {
    return larger(BLOCK_BYTES / static_cast<int64_t>(sizeof(T)),
                  columns * larger(4 * MAX_ROWS, TRANSPOSED_ROWS<T>));
}

// A strip of B, one tile wide.
template <typename T>
struct Strip {
    const T* data;
    ptrdiff_t ld;
    int64_t column;  // of C
    int vectors, last;
};

// Fills strips, whose memory begins at `packed`, from B (depth, columns) with unit column
// stride, some strips at a time: of a single one, each row would lie in another page.
template <typename T>
static void pack_rows(T* packed, const Strip<T>* strips, const Strip<T>* strips_end, Matrix<T> B,
                      int64_t depth) {
    constexpr int L = LANES<T>;
    constexpr ptrdiff_t TOGETHER = 8;
    int64_t column = 0;
    while (strips != strips_end) {
        const Strip<T>* const end = strips + smaller(TOGETHER, strips_end - strips);
        for (int64_t k = 0; k < depth; k++) {
            const T* from = B.at(k, column);
            for (const Strip<T>* s = strips; s != end; s++) {
                T* to = packed + (s->data - packed) + k * s->ld;
                for (int v = 1; v < s->vectors; v++, from += L, to += L) store(to, load(from));
                store(to, load_lanes(from, s->last));
                from += s->last;
            }
        }
        for (; strips != end; strips++) column += (strips->vectors - 1) * L + strips->last;
    }
}

// Lists the strips of `columns` columns of one group that prepack_strips has packed.
template <typename T>
static Strip<T>* prepacked_strips(Strip<T>* strips, const T*& prepacked, int64_t depth,
                                  int64_t columns, int64_t first_column) {
    constexpr int L = LANES<T>;
    for (int64_t j = 0; j < columns; strips++) {
        int64_t vectors = MAX_VECTORS;
        while (vectors > 1 && vectors > ceil_div(columns - j, L)) vectors /= 2;
        const int64_t width = smaller(vectors * L, columns - j), ld = vectors * L;
        *strips = {prepacked, ld, first_column + j, static_cast<int>(vectors),
                   static_cast<int>(width - (vectors - 1) * L)};
        prepacked += depth * ld;
        j += width;
    }
    return strips;
}

// Lists the strips of `columns` columns of one group and packs those that
// cannot be read in place: all, or only a last, incomplete vector.
template <typename T>
static Strip<T>* make_strips(Strip<T>* strips, T*& packed, Matrix<T> B, int64_t depth,
                             int64_t columns, int64_t first_column, bool in_place, int widest) {
    constexpr int L = LANES<T>;
    const bool by_rows = !in_place && B.column_stride == 1;
    const Strip<T>* const first_strip = strips;
    T* const first_packed = packed;
    for (int64_t j = 0; j < columns;) {
        int64_t vectors = widest;
        while (vectors > 1 && vectors > ceil_div(columns - j, L)) vectors /= 2;
        if (in_place && columns - j < vectors * L && vectors > 1) vectors /= 2;
        const int64_t width = smaller(vectors * L, columns - j);
        const int last = static_cast<int>(width - (vectors - 1) * L);
        const Matrix<T> part = {B.at(0, j), B.row_stride, B.column_stride};
        *strips = {part.data, part.row_stride, first_column + j, static_cast<int>(vectors), last};
        if (!in_place || last < L) {
            const ptrdiff_t ld = vectors * L;
            for (int64_t v = 0; v < vectors && !by_rows; v++)
                pack_strip<T>(packed + v * L, ld, {part.at(0, v * L), B.row_stride, B.column_stride},
                              v + 1 < vectors ? L : last, depth);
            strips->data = packed;
            strips->ld = ld;
            packed += depth * ld;
        }
        strips++;
        j += width;
    }
    if (by_rows) pack_rows(first_packed, first_strip, strips, B, depth);
    return strips;
}

// Numbers in the prepacked strips of a product with N columns in each group.
template <typename T>
static int64_t strips_size(int64_t groups, int64_t N, int64_t K) {
    return groups * ceil_div(N, LANES<T>) * LANES<T> * K;
}

// Packs all of a product's B for good. False if there was no memory.
template <typename T>
static bool prepack_strips(T* prepacked, Matrix<T> B, int64_t groups, ptrdiff_t group_stride,
                           int64_t N, int64_t K) {
    const Scratch scratch((ceil_div(N, LANES<T>) + 1) * sizeof(Strip<T>));
    Strip<T>* const strips = scratch.template get<Strip<T>>();
    if (!strips) return false;
    for (int64_t g = 0; g < groups; g++, B.data += group_stride)
        make_strips<T>(strips, prepacked, B, K, N, 0, false, MAX_VECTORS);
    return true;
}

// Whether rows so many bytes apart evict each other from the cache.
constexpr bool collides(std::size_t stride) { return stride % 1024 == 0; }

// Rows of A as a tile takes them, copied to `copy` if they cannot be used in
// place: because no stride is 1, or because rows that lie a multiple of the
// cache's period apart would evict each other.
template <typename T>
struct TileRows {
    const T* data;
    ptrdiff_t ld;
    bool k_is_unit;
};

template <typename T>
constexpr int64_t TILE_ROWS_SIZE = (MAX_ROWS + LANES<T>) * (K_BLOCK + 64 / static_cast<int64_t>(sizeof(T)));

template <typename T>
static TileRows<T> tile_rows(Matrix<T> A, int64_t rows, int64_t depth, int64_t uses, T* copy) {
    constexpr ptrdiff_t LD = K_BLOCK + 64 / sizeof(T);
    constexpr ptrdiff_t WIDTH = ceil_div(MAX_ROWS, LANES<T>) * LANES<T>;
    if (A.column_stride == 1) {
        if (!collides(A.row_stride * sizeof(T)) || rows <= 4 || uses < 2) return {A.data, A.row_stride, true};
        for (int64_t i = 0; i < rows; i++)
            std::memcpy(copy + i * LD, A.at(i, 0), depth * sizeof(T));
    } else if (A.row_stride == 1) {
        if (uses < 4 || A.column_stride < 2 * WIDTH) return {A.data, A.column_stride, false};
        for (int64_t i = 0; i < rows; i += LANES<T>)
            pack_strip<T>(copy + i, WIDTH, {A.at(i, 0), A.column_stride, 1},
                          static_cast<int>(smaller(LANES<T>, rows - i)), depth);
        return {copy, WIDTH, false};
    } else {
        for (int64_t i = 0; i < rows; i++)
            for (int64_t k = 0; k < depth; k++) copy[i * LD + k] = *A.at(i, k);
    }
    return {copy, LD, true};
}

// One block of rows times the listed strips, of which depth [k, k + depth) is used.
template <typename T>
static void multiply_block(Matrix<T> A, int64_t M, T* C, ptrdiff_t ldc, const Strip<T>* strips,
                           const Strip<T>* strips_end, int64_t k, int64_t depth,
                           const Finish<T>& finish) {
    alignas(64) T copy[TILE_ROWS_SIZE<T>];
    const int64_t tile_count = ceil_div(M, MAX_ROWS);
    for (int64_t t = 0, i = 0; t < tile_count; t++) {
        // Sizes that differ by one at most: a last tile of one row would be slow.
        const int64_t rows = ceil_div(M - i, tile_count - t);
        const TileRows<T> a = tile_rows<T>({A.at(i, 0), A.row_stride, A.column_stride}, rows, depth,
                                           strips_end - strips, copy);
        for (const Strip<T>* s = strips; s != strips_end; s++) {
            const Tile<T>* by_rows = a.k_is_unit ? tiles<T, true>(s->vectors) : tiles<T, false>(s->vectors);
            by_rows[rows - 1](a.data, a.ld, s->data + k * s->ld, s->ld, depth,
                              C + i * ldc + s->column, ldc, s->last, finish.at(s->column));
        }
        i += rows;
    }
}

// False if there was no memory; then nothing has been written.
template <typename T, typename Output>
static bool multiply_packed(const Product<T>& p, const Output& out) {
    constexpr int L = LANES<T>;
    constexpr int64_t SIZE = sizeof(T);
    const bool prepacked = p.strips;
    const bool in_place = !prepacked && p.B.column_stride == 1 && p.M <= IN_PLACE_ROWS;
    const int widest = in_place ? widest_tile(p.M) : MAX_VECTORS;

    // Blocks of K are equal. What needs a second pass gets all of K at once.
    const int64_t k_block = larger(1, ceil_div(p.K, larger(1, ceil_div(p.K, K_BLOCK))));
    const bool all_of_K = Output::has_second_pass || prepacked;
    const int64_t depth = all_of_K ? larger(1, p.K) : smaller(larger(1, p.K), 4 * k_block);
    int64_t columns = smaller(PANEL_BYTES / SIZE / k_block, PACKED_BYTES / SIZE / depth);
    columns = larger(1, columns / (MAX_VECTORS * L)) * MAX_VECTORS * L;
    if (p.groups > 1 || in_place || prepacked) columns = p.N;
    columns = smaller(columns, p.N);
    const int64_t vectors = ceil_div(columns, L);

    const std::size_t packed_bytes =
        prepacked ? 0
        : in_place ? (p.N % L ? p.groups * depth * L * SIZE : 0) : p.groups * vectors * depth * L * SIZE;
    const std::size_t strip_bytes = p.groups * (vectors + 1) * sizeof(Strip<T>);
    alignas(64) unsigned char small[4096];
    const bool fits = packed_bytes + strip_bytes <= sizeof small;
    Scratch scratch(fits ? 0 : packed_bytes + strip_bytes);
    unsigned char* memory = fits ? small : scratch.template get<unsigned char>();
    if (!memory) return false;
    Strip<T>* const strips = reinterpret_cast<Strip<T>*>(memory + packed_bytes);

    const int64_t row_block = block_rows<T>(p.groups * columns);
    for (int64_t k0 = 0; k0 == 0 || k0 < p.K; k0 += depth) {
        const int64_t k1 = smaller(p.K, k0 + depth);
        for (int64_t j = 0; j < p.N; j += columns) {
            const int64_t width = smaller(columns, p.N - j);
            T* packed = reinterpret_cast<T*>(memory);
            const T* next_prepacked = p.strips;
            Strip<T>* end = strips;
            for (int64_t g = 0; g < p.groups; g++) {
                if (prepacked) {
                    end = prepacked_strips<T>(end, next_prepacked, p.K, p.N, g * p.N);
                    continue;
                }
                const Matrix<T> B = {p.B.at(k0, j) + g * p.group_stride, p.B.row_stride, p.B.column_stride};
                end = make_strips<T>(end, packed, B, k1 - k0, width, g * p.N + j, in_place, widest);
            }
            for (int64_t i = 0; i < p.M; i += row_block) {
                const int64_t rows = smaller(row_block, p.M - i);
                T* const C = out.rows(i);
                for (int64_t k = k0; k == k0 || k < k1; k += k_block) {
                    const int64_t k_end = smaller(k1, k + k_block);
                    Finish<T> finish = p.finish;
                    if (k > 0) finish.beta = 1;
                    if (k_end < p.K) finish.bias = nullptr, finish.relu = false;
                    multiply_block<T>({p.A.at(i, k), p.A.row_stride, p.A.column_stride}, rows, C,
                                      out.ldc, strips, end, k - k0, k_end - k, finish);
                }
                if (k1 == p.K) out.done(i, rows, j, width);
            }
        }
    }
    return true;
}

// ---- transposed --------------------------------------------------------------

constexpr int64_t TRANSPOSED_DEPTH = 512;

// B is unit along K and N >= TRANSPOSED_COLUMNS. Columns left over go to the
// packed product, where they are cheap to copy.
template <typename T, typename Output>
static bool multiply_transposed(const Product<T>& p, const Output& out) {
    constexpr int L = LANES<T>;
    constexpr int COLUMNS = TRANSPOSED_COLUMNS<T>;
    const int64_t k_block = larger(1, ceil_div(p.K, ceil_div(p.K, TRANSPOSED_DEPTH)));
    const int64_t row_block = TRANSPOSED_ROWS<T>;
    const int64_t columns = p.N / COLUMNS * COLUMNS;
    Scratch scratch((smaller(row_block, ceil_div(p.M, L) * L) + COLUMNS) * (k_block + 16) * sizeof(T));
    T* const X = scratch.template get<T>();
    if (!X) return false;
    T* const copy = X + smaller(row_block, ceil_div(p.M, L) * L) * k_block;
    const bool copied = collides(p.B.column_stride * sizeof(T)) && p.M > L;

    for (int64_t i = 0; i < p.M; i += row_block) {
        const int64_t rows = smaller(row_block, p.M - i);
        T* const C = out.rows(i);
        for (int64_t k = 0; k < p.K; k += k_block) {
            const int64_t depth = smaller(k_block, p.K - k);
            for (int64_t r = 0; r < rows; r += L)
                pack_strip<T>(X + r * depth, L, {p.A.at(i + r, k), p.A.column_stride, p.A.row_stride},
                              static_cast<int>(smaller(L, rows - r)), depth);
            Finish<T> finish = p.finish;
            if (k > 0) finish.beta = 1;
            if (k + depth < p.K) finish.bias = nullptr, finish.relu = false;
            for (int64_t g = 0; g < p.groups; g++) {
                for (int64_t j = 0; j < columns; j += COLUMNS) {
                    const T* W = p.B.at(k, j) + g * p.group_stride;
                    ptrdiff_t ldw = p.B.column_stride;
                    if (copied) {
                        for (int64_t c = 0; c < COLUMNS; c++)
                            std::memcpy(copy + c * (k_block + 16), W + c * ldw, depth * sizeof(T));
                        W = copy;
                        ldw = k_block + 16;
                    }
                    for (int64_t r = 0; r < rows; r += L)
                        transposed_tile<T>(W, ldw, X + r * depth, depth, C + r * out.ldc + g * p.N + j,
                                           out.ldc, static_cast<int>(smaller(L, rows - r)),
                                           finish.at(g * p.N + j));
                }
            }
        }
        if (columns < p.N) {
            for (int64_t g = 0; g < p.groups; g++) {
                Product<T> rest = p.rows(i, rows);
                rest.groups = 1;
                rest.strips = nullptr;
                rest.N = p.N - columns;
                rest.B.data = p.B.at(0, columns) + g * p.group_stride;
                rest.finish = p.finish.at(g * p.N + columns);
                if (!multiply_packed(rest, PlainOutput<T>{C + g * p.N + columns, out.ldc})) return false;
            }
        }
        out.done(i, rows, 0, p.N);
    }
    return true;
}

// ---- dots --------------------------------------------------------------------

// Both operands are unit along K. LANES rows of B at a time against every row of A.
template <typename T, typename Output>
static void multiply_dots(const Product<T>& p, const Output& out) {
    constexpr int L = LANES<T>;
    const int64_t row_block = block_rows<T>(p.groups * p.N);
    for (int64_t first = 0; first < p.M; first += row_block) {
        const int64_t rows = smaller(row_block, p.M - first);
        T* const C = out.rows(first);
        for (int64_t g = 0; g < p.groups; g++) {
            for (int64_t j = 0; j < p.N; j += L) {
                const int count = static_cast<int>(smaller(L, p.N - j));
                const int64_t column = g * p.N + j;
                const T* W = p.B.at(0, j) + g * p.group_stride;
                const V<T> bias = bias_vector(p.finish.bias ? p.finish.bias + column : nullptr, count);
                for (int64_t i = 0; i < rows;) {
                    V<T> sums[4];
                    const int n = rows - i >= 4 && L > 8 ? 4 : rows - i >= 2 ? 2 : 1;
                    const auto tile = n == 4 ? dot_tile<T, (L > 8 ? 4 : 2)> : n == 2 ? dot_tile<T, 2> : dot_tile<T, 1>;
                    tile(sums, p.A.at(first + i, 0), p.A.row_stride, W, p.B.column_stride, count, p.K);
                    for (int r = 0; r < n; r++, i++)
                        finish_vector(C + i * out.ldc + column, sums[r], count, bias, p.finish);
                }
            }
        }
        out.done(first, rows, 0, p.N);
    }
}

// The same with the roles swapped, for few columns.
template <typename T, typename Output>
static void multiply_column_dots(const Product<T>& p, const Output& out) {
    constexpr int L = LANES<T>;
    for (int64_t i = 0; i < p.M; i += L) {
        const int count = static_cast<int>(smaller(L, p.M - i));
        T* const C = out.rows(i);
        for (int64_t g = 0; g < p.groups; g++) {
            for (int64_t j = 0; j < p.N; j++) {
                const T* x = p.B.at(0, j) + g * p.group_stride;
                const int64_t column = g * p.N + j;
                V<T> sum;
                dot_tile<T, 1>(&sum, x, 0, p.A.at(i, 0), p.A.row_stride, count, p.K);
                const T bias = p.finish.bias ? p.finish.bias[column] : T(0);
                if (out.ldc == 1) {
                    finish_vector(C, sum, count, splat(bias), p.finish);
                    continue;
                }
                for (int r = 0; r < count; r++) {
                    T* c = C + r * out.ldc + column;
                    T y = sum[r] * p.finish.alpha + bias;
                    if (p.finish.beta != 0) y += *c * p.finish.beta;
                    *c = p.finish.relu && y <= 0 ? T(0) : y;
                }
            }
        }
        out.done(i, count, 0, p.N);
    }
}

// ---- without scratch memory --------------------------------------------------

// What is left when the system has no memory for a copy.
template <typename T, typename Output>
static void multiply_plainly(const Product<T>& p, const Output& out) {
    for (int64_t i = 0; i < p.M; i++) {
        T* const C = out.rows(i);
        for (int64_t j = 0; j < p.groups * p.N; j++) {
            const T* b = p.B.at(0, j % p.N) + j / p.N * p.group_stride;
            T sum = 0;
            for (int64_t k = 0; k < p.K; k++) sum += *p.A.at(i, k) * b[k * p.B.row_stride];
            sum *= p.finish.alpha;
            if (p.finish.beta != 0) sum += C[j] * p.finish.beta;
            if (p.finish.bias) sum += p.finish.bias[j];
            C[j] = p.finish.relu && sum <= 0 ? T(0) : sum;
        }
        out.done(i, 1, 0, p.N);
    }
}

// ---- the choice --------------------------------------------------------------

// Estimates in multiply-adds of a vector; the constants are measured. Where there
// are 16 registers only, the transposed tile is held up by its loads.
template <typename T, typename Output>
static void multiply(Product<T> p, const Output& out) {
    constexpr int L = LANES<T>;
    if (p.M == 0 || p.N == 0) return;
    if (p.finish.alpha == 0) p.K = 0;  // as BLAS: A and B are not looked at

    const bool a_dots = p.A.column_stride == 1, b_dots = p.B.row_stride == 1;
    const int64_t a_vectors = ceil_div(p.M, L), b_vectors = ceil_div(p.N, L) * p.groups;
    const int64_t columns = p.N * p.groups;
    constexpr int64_t COPY = 2, COPY_TRANSPOSED = L > 8 ? 6 : 3, COPY_SINGLY = 2 * L;  // of a vector

    const bool in_place = p.B.column_stride == 1 && p.M <= IN_PLACE_ROWS;
    const int64_t copy_b = in_place || p.strips ? 0
        : p.B.column_stride == 1 ? COPY : b_dots ? COPY_TRANSPOSED : COPY_SINGLY;
    const int64_t packed = p.K * b_vectors * (larger(p.M, in_place ? 1 : 3) + copy_b) + 100;

    const int64_t copy_a = p.A.row_stride == 1 ? COPY : a_dots ? COPY_TRANSPOSED : COPY_SINGLY;
    const int64_t products = L > 8 ? columns : columns + columns / 6;
    const int64_t copy_w = collides(p.B.column_stride * sizeof(T)) && p.M > L
        ? ceil_div(p.M, TRANSPOSED_ROWS<T>) * columns * ceil_div(p.K, L) * COPY : 0;
    const int64_t transposed = b_dots && p.N >= TRANSPOSED_COLUMNS<T> && p.K > 0
        ? a_vectors * (p.K * (products + copy_a) + COPY_TRANSPOSED * columns) + copy_w + 100 : INT64_MAX;

    const int64_t dot = (ceil_div(p.K, L) + 3) * L;
    const int64_t dots = a_dots && b_dots ? p.M * b_vectors * dot : INT64_MAX;
    const int64_t column_dots = a_dots && b_dots ? columns * a_vectors * (dot + 2 * L) : INT64_MAX;

    const int64_t best = smaller(smaller(packed, transposed), smaller(dots, column_dots));
    if (best == dots) return multiply_dots(p, out);
    if (best == column_dots) return multiply_column_dots(p, out);
    const bool done = best == transposed ? multiply_transposed(p, out) : multiply_packed(p, out);
    if (!done) multiply_plainly(p, out);
}

}  // namespace products
}  // namespace THINC_LEVEL
}  // namespace thinc
