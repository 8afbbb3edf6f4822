// Gradients of a dense layer with maxout: of every output, one piece was chosen
// and the others have no gradient. Written as matrix products, two thirds of the
// work (with three pieces) would multiply zeros; here each row picks the weights
// of its chosen pieces.
#pragma once
#include "gemm_pack.hpp"

namespace thinc {
namespace THINC_LEVEL {
namespace products {

constexpr int CHOSEN_ROWS = VECTOR_BYTES == 64 ? 8 : 4;  // of dX in one tile,
constexpr int CHOSEN_VECTORS = 2;                        // and of its columns
constexpr int64_t CHOSEN_PANEL_BYTES = 24 << 10;  // of W in one pass: within an L1 cache
constexpr int64_t CHOSEN_BATCH = 128;             // rows whose choices are listed at a time
constexpr int LISTED_VECTORS = 4;                 // columns of dW that are summed at a time

// The gradient of one output in one row, and where its piece's weights begin.
template <typename T>
struct Choice {
    int32_t offset;
    T gradient;
};

// dX (ROWS, CHOSEN_VECTORS * LANES) = or += sum over outputs of gradient * weights.
// choices: (outputs, ROWS). Only the first `width` columns are stored.
template <typename T, int ROWS>
static void chosen_tile(T* dX, ptrdiff_t ldx, const T* panel, const Choice<T>* choices,
                        int64_t outputs, int64_t width, bool add) {
    constexpr int L = LANES<T>;
    V<T> sums[ROWS][CHOSEN_VECTORS];
    THINC_UNROLL
    for (int r = 0; r < ROWS; r++) {
        THINC_UNROLL
        for (int v = 0; v < CHOSEN_VECTORS; v++) sums[r][v] = V<T>{};
    }
    for (int64_t o = 0; o < outputs; o++) {
        THINC_UNROLL
        for (int r = 0; r < ROWS; r++) {
            const T* const weights = panel + choices[r].offset;
            const T gradient = choices[r].gradient;
            THINC_UNROLL
            for (int v = 0; v < CHOSEN_VECTORS; v++) sums[r][v] += load(weights + v * L) * gradient;
        }
        choices += ROWS;
    }
    THINC_UNROLL
    for (int r = 0; r < ROWS; r++) {
        THINC_UNROLL
        for (int v = 0; v < CHOSEN_VECTORS; v++) {
            const int lanes = static_cast<int>(smaller(L, width - v * L));
            if (lanes <= 0) continue;
            T* const x = dX + r * ldx + v * L;
            if (lanes == L) store<T>(x, add ? load(x) + sums[r][v] : sums[r][v]);
            else store_first<T>(x, add ? load_first(x, lanes) + sums[r][v] : sums[r][v], lanes);
        }
    }
}

// Copies W (outputs * pieces, I) into panels: for each CHOSEN_VECTORS * LANES columns,
// all rows one after the other, the last panel filled up with zeros.
template <typename T>
static void pack_panels(T* panels, const T* W, int64_t rows, int64_t I) {
    constexpr int64_t WIDTH = CHOSEN_VECTORS * LANES<T>;
    for (int64_t j = 0; j < I; j += WIDTH) {
        const int64_t width = smaller(WIDTH, I - j);
        for (int64_t i = 0; i < rows; i++, panels += WIDTH) {
            std::memcpy(panels, W + i * I + j, width * sizeof(T));
            for (int64_t k = width; k < WIDTH; k++) panels[k] = 0;
        }
    }
}

// dX (rows, I) of at most CHOSEN_BATCH rows.
template <typename T>
static void gradient_of_input(T* dX, const T* panels, Choice<T>* choices, const T* dY,
                              const int32_t* which, int64_t rows, int64_t O, int64_t pieces,
                              int64_t I) {
    constexpr int64_t WIDTH = CHOSEN_VECTORS * LANES<T>;
    // As many outputs at a time as have their panel in cache.
    const int64_t fitting =
        larger(1, CHOSEN_PANEL_BYTES / static_cast<int64_t>(sizeof(T)) / WIDTH / pieces);
    const int64_t whole = rows / CHOSEN_ROWS * CHOSEN_ROWS;
    // Rows of a tile side by side; those left over one by one.
    for (int64_t r = 0; r < rows; r++) {
        const bool tiled = r < whole;
        const int64_t step = tiled ? CHOSEN_ROWS : 1;
        Choice<T>* c = tiled ? choices + r / CHOSEN_ROWS * CHOSEN_ROWS * O + r % CHOSEN_ROWS
                             : choices + r * O;
        for (int64_t first = 0; first < O; first += fitting) {
            int64_t offset = 0;
            for (int64_t o = first; o < smaller(first + fitting, O); o++, c += step) {
                c->offset = static_cast<int32_t>(offset + which[r * O + o] * WIDTH);
                c->gradient = dY[r * O + o];
                offset += pieces * WIDTH;
            }
        }
    }
    for (int64_t j = 0; j < I; j += WIDTH) {
        const T* const panel = panels + j * O * pieces;
        const int64_t width = smaller(WIDTH, I - j);
        for (int64_t o = 0; o < O; o += fitting) {
            const int64_t outputs = smaller(fitting, O - o);
            const T* const part = panel + o * pieces * WIDTH;
            for (int64_t r = 0; r < whole; r += CHOSEN_ROWS)
                chosen_tile<T, CHOSEN_ROWS>(dX + r * I + j, I, part, choices + r * O + o * CHOSEN_ROWS,
                                            outputs, width, o > 0);
            for (int64_t r = whole; r < rows; r++)
                chosen_tile<T, 1>(dX + r * I + j, I, part, choices + r * O + o, outputs, width, o > 0);
        }
    }
}

// dW (VECTORS * LANES columns of one piece) += sum over its choices of gradient * X's
// row, which begins at the choice's offset. Only the first `last` lanes of the last
// vector are stored.
template <typename T, int VECTORS>
static void add_listed(T* dW, const T* X, const Choice<T>* choices, int64_t count, int last) {
    constexpr int L = LANES<T>;
    // Two sums each, or the next addition would wait for the one before.
    V<T> even[VECTORS], odd[VECTORS];
    THINC_UNROLL
    for (int v = 0; v < VECTORS; v++) even[v] = odd[v] = V<T>{};
    int64_t i = 0;
    for (; i + 2 <= count; i += 2) {
        const T* const a = X + choices[i].offset;
        const T* const b = X + choices[i + 1].offset;
        THINC_UNROLL
        for (int v = 0; v < VECTORS; v++) {
            even[v] += load(a + v * L) * choices[i].gradient;
            odd[v] += load(b + v * L) * choices[i + 1].gradient;
        }
    }
    if (i < count) {
        const T* const a = X + choices[i].offset;
        THINC_UNROLL
        for (int v = 0; v < VECTORS; v++) even[v] += load(a + v * L) * choices[i].gradient;
    }
    THINC_UNROLL
    for (int v = 0; v < VECTORS; v++) {
        T* const w = dW + v * L;
        if (v + 1 < VECTORS || last == L) store<T>(w, load(w) + even[v] + odd[v]);
        else store_first<T>(w, load_first(w, last) + even[v] + odd[v], last);
    }
}

// dW, db += of at most CHOSEN_BATCH rows. Scratch: X_part (CHOSEN_BATCH, LISTED_VECTORS *
// LANES), ends (O * pieces,).
template <typename T>
static void gradient_of_weights(T* dW, T* db, Choice<T>* choices, T* X_part, int32_t* ends,
                                const T* dY, const int32_t* which, const T* X, ptrdiff_t ldx,
                                int64_t rows, int64_t O, int64_t pieces, int64_t I) {
    constexpr int L = LANES<T>;
    constexpr int WIDTH = LISTED_VECTORS * L;
    const int64_t lists = O * pieces;
    // A list of choices for each piece of each output, one behind the other.
    for (int64_t i = 0; i < lists; i++) ends[i] = 0;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t o = 0; o < O; o++) ends[o * pieces + which[r * O + o]]++;
    int32_t start = 0;
    for (int64_t i = 0; i < lists; i++) {
        const int32_t count = ends[i];
        ends[i] = start;
        start += count;
    }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t o = 0; o < O; o++)
            choices[ends[o * pieces + which[r * O + o]]++] = {static_cast<int32_t>(r * WIDTH), dY[r * O + o]};

    for (int64_t i = 0, first = 0; i < lists; first = ends[i], i++) {
        T sum = 0;
        for (int64_t k = first; k < ends[i]; k++) sum += choices[k].gradient;
        db[i] += sum;
    }
    for (int64_t j = 0; j < I; j += WIDTH) {
        const int64_t width = smaller(WIDTH, I - j);
        const int64_t vectors = ceil_div(width, L);
        const int last = static_cast<int>(width - (vectors - 1) * L);
        // Aligned, and in one cache: the rows are read by every list.
        for (int64_t r = 0; r < rows; r++) {
            std::memcpy(X_part + r * WIDTH, X + r * ldx + j, width * sizeof(T));
            for (int64_t k = width; k < vectors * L; k++) X_part[r * WIDTH + k] = 0;
        }
        for (int64_t i = 0, first = 0; i < lists; first = ends[i], i++) {
            const int64_t count = ends[i] - first;
            T* const w = dW + i * I + j;
            switch (vectors) {
                case 1: add_listed<T, 1>(w, X_part, choices + first, count, last); break;
                case 2: add_listed<T, 2>(w, X_part, choices + first, count, last); break;
                case 3: add_listed<T, 3>(w, X_part, choices + first, count, last); break;
                default: add_listed<T, LISTED_VECTORS>(w, X_part, choices + first, count, last);
            }
        }
    }
}

// For a handful of rows, where W would be copied to be used once; also for when there
// is no scratch memory.
template <typename T>
static void maxout_gradients_by_row(T* dX, T* dW, T* db, const T* dY, const int32_t* which,
                                    const T* X, ptrdiff_t ldx, const T* W, int64_t B, int64_t O,
                                    int64_t pieces, int64_t I) {
    for (int64_t r = 0; r < B; r++) {
        const T* __restrict x = X + r * ldx;
        T* __restrict dx = dX ? dX + r * I : nullptr;
        for (int64_t j = 0; dx && j < I; j++) dx[j] = 0;
        for (int64_t o = 0; o < O; o++) {
            const int64_t piece = o * pieces + which[r * O + o];
            const T dy = dY[r * O + o];
            const T* __restrict w = W + piece * I;
            T* __restrict dw = dW + piece * I;
            db[piece] += dy;
            for (int64_t j = 0; dx && j < I; j++) dx[j] += dy * w[j];
            for (int64_t j = 0; j < I; j++) dw[j] += dy * x[j];
        }
    }
}

}  // namespace products

template <typename T>
static void backprop_affine_maxout(T* dX, T* dW, T* db, const T* dY, const int32_t* which,
                                   const T* X, int64_t ldx, const T* W, int64_t B, int64_t O,
                                   int64_t pieces, int64_t I) {
    using namespace products;
    constexpr int64_t WIDTH = CHOSEN_VECTORS * LANES<T>;
    const int64_t lists = O * pieces;
    const std::size_t panel_bytes = dX ? ceil_div(I, WIDTH) * WIDTH * lists * sizeof(T) : 0;
    const std::size_t part_bytes = CHOSEN_BATCH * LISTED_VECTORS * LANES<T> * sizeof(T);
    const std::size_t choice_bytes = smaller(B, CHOSEN_BATCH) * O * sizeof(Choice<T>);
    // Offsets have 32 bits.
    const bool by_row = B < CHOSEN_ROWS || O == 0 || pieces > INT32_MAX / WIDTH / 2;
    const Scratch scratch(by_row ? 0 : panel_bytes + part_bytes + choice_bytes + lists * sizeof(int32_t));
    unsigned char* const memory = scratch.template get<unsigned char>();
    if (by_row || !memory)
        return maxout_gradients_by_row(dX, dW, db, dY, which, X, ldx, W, B, O, pieces, I);
    T* const panels = reinterpret_cast<T*>(memory);
    T* const X_part = reinterpret_cast<T*>(memory + panel_bytes);
    Choice<T>* const choices = reinterpret_cast<Choice<T>*>(memory + panel_bytes + part_bytes);
    int32_t* const ends =
        reinterpret_cast<int32_t*>(memory + panel_bytes + part_bytes + choice_bytes);
    if (dX) pack_panels(panels, W, lists, I);
    for (int64_t r = 0; r < B; r += CHOSEN_BATCH) {
        const int64_t rows = smaller(CHOSEN_BATCH, B - r);
        if (dX)
            gradient_of_input(dX + r * I, panels, choices, dY + r * O, which + r * O, rows, O, pieces, I);
        gradient_of_weights(dW, db, choices, X_part, ends, dY + r * O, which + r * O, X + r * ldx,
                            ldx, rows, O, pieces, I);
    }
}

}  // namespace THINC_LEVEL
}  // namespace thinc
