// One LSTM layer in one direction, over packed sequences; the formulas are those
// of thinc/backends/lstm.py. The large products are the caller's: here are those
// that depend on the step before, and the cells.
#pragma once
#include <cstdint>
#include <cstring>

#include "gemm.hpp"
#include "kernel_table.hpp"
#include "thinc/math.hpp"

namespace thinc {
namespace THINC_LEVEL {
namespace lstm {

// Rows [start, start + size) belong to the step. The first `continuing` of them
// follow those from row `previous` on; the others are the first of their sequence.
struct Step {
    int64_t start, size, previous, continuing;
};

// `backward` is the layer's direction; ascending the order in which steps are
// visited, which is the other one when gradients are propagated.
template <typename Visit>
static inline void for_each_step(const int32_t* size_at_t, int64_t steps, bool backward, bool ascending,
                                 Visit visit) {
    int64_t start = 0;
    if (!ascending)
        for (int64_t t = 0; t < steps; ++t) start += size_at_t[t];
    for (int64_t i = 0; i < steps; ++i) {
        const int64_t t = ascending ? i : steps - 1 - i;
        const int64_t size = size_at_t[t];
        if (!ascending) start -= size;
        Step step = {start, size, 0, 0};
        if (backward && t + 1 < steps) {
            step.previous = start + size;
            step.continuing = size_at_t[t + 1];
        } else if (!backward && t > 0) {
            step.previous = start - size_at_t[t - 1];
            step.continuing = size;
        }
        visit(step);
        if (ascending) start += size;
    }
}

template <typename T>
static inline void activate_row(T* h, T* c, T* gates, const T* c_before, int64_t width) {
    T* const forget = gates;
    T* const input = gates + width;
    T* const output = gates + 2 * width;
    T* const candidate = gates + 3 * width;
    THINC_IVDEP
    for (int64_t j = 0; j < width; ++j) {
        const T f = sigmoid(forget[j]);
        const T i = sigmoid(input[j]);
        const T o = sigmoid(output[j]);
        const T g = tanh(candidate[j]);
        const T cell = f * c_before[j] + i * g;
        forget[j] = f;
        input[j] = i;
        output[j] = o;
        candidate[j] = g;
        c[j] = cell;
        h[j] = o * tanh(cell);
    }
}

// da, the gradients before the four gates' non-linearities, from dy and from what
// the step after sent back: dh in da[0:width] and dc in da[width:2 width], if
// CARRIED. dc_before = what goes on to the step before, added to it if ADD.
template <bool CARRIED, bool ADD, typename T>
static inline void backprop_row(T* da, T* dc_before, const T* dy, const T* c, const T* gates,
                                const T* c_before, int64_t width) {
    T* const da1 = da + width;
    T* const da2 = da + 2 * width;
    T* const da3 = da + 3 * width;
    THINC_IVDEP
    for (int64_t j = 0; j < width; ++j) {
        const T f = gates[j];
        const T i = gates[width + j];
        const T o = gates[2 * width + j];
        const T g = gates[3 * width + j];
        const T tanh_c = tanh(c[j]);
        const T dh = CARRIED ? dy[j] + da[j] : dy[j];
        const T dc_of_h = dh * o * (T(1) - tanh_c * tanh_c);
        const T dc = CARRIED ? da1[j] + dc_of_h : dc_of_h;
        da[j] = dc * c_before[j] * f * (T(1) - f);
        da1[j] = dc * g * i * (T(1) - i);
        da2[j] = dh * tanh_c * o * (T(1) - o);
        da3[j] = dc * i * (T(1) - g * g);
        dc_before[j] = ADD ? dc_before[j] + dc * f : dc * f;
    }
}

template <typename T>
static inline void backprop_row(bool carried, bool add, T* da, T* dc_before, const T* dy, const T* c,
                                const T* gates, const T* c_before, int64_t width) {
    if (carried && add) backprop_row<true, true>(da, dc_before, dy, c, gates, c_before, width);
    else if (carried) backprop_row<true, false>(da, dc_before, dy, c, gates, c_before, width);
    else if (add) backprop_row<false, true>(da, dc_before, dy, c, gates, c_before, width);
    else backprop_row<false, false>(da, dc_before, dy, c, gates, c_before, width);
}

// Wh, as it is added to the gates. With enough rows it is transposed once, so that
// the product of each step can read it in place; the product of h0 is made once too.
template <typename T>
class Recurrence {
public:
    Recurrence(const T* Wh, const T* h0, int64_t width, int64_t rows)
        : width_(width), ld_(padded(4 * width)), transposes_(rows >= TRANSPOSING_PAYS),
          scratch_(((transposes_ ? width : 0) + 1) * ld_ * sizeof(T)), B_(Wh), rsb_(1), csb_(width),
          h0_(h0), of_h0_(scratch_.template get<T>()) {
        if (!of_h0_) return;  // no memory: the same, only slower
        if (transposes_) {
            T* const transposed = of_h0_ + ld_;
            for (int64_t j = 0; j < 4 * width; j += LANES) {
                const int count = static_cast<int>(4 * width - j < LANES ? 4 * width - j : LANES);
                products::pack_strip<T>(transposed + j, ld_, {Wh + j * width, 1, width}, count, width);
            }
            B_ = transposed;
            rsb_ = ld_;
            csb_ = 1;
        }
        gemm<T>(of_h0_, ld_, h0, width, 1, B_, rsb_, csb_, 1, 4 * width, width, 1, 0);
    }

    void add(T* gates, const T* h, int64_t rows) const { add(gates, h, width_, rows); }

    void add_initial(T* gates, int64_t rows) const {
        if (!of_h0_) return add(gates, h0_, 0, rows);  // all rows are the same
        for (int64_t r = 0; r < rows; ++r, gates += 4 * width_) {
            THINC_IVDEP
            for (int64_t j = 0; j < 4 * width_; ++j) gates[j] += of_h0_[j];
        }
    }

private:
    static constexpr int64_t LANES = products::LANES<T>;
    static constexpr int64_t TRANSPOSING_PAYS = 16;  // rows of all steps; measured at widths 64 to 256
    static int64_t padded(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

    void add(T* gates, const T* h, int64_t row_stride, int64_t rows) const {
        gemm<T>(gates, 4 * width_, h, row_stride, 1, B_, rsb_, csb_, rows, 4 * width_, width_, 1, 1);
    }

    int64_t width_, ld_;
    bool transposes_;
    products::Scratch scratch_;
    const T* B_;
    int64_t rsb_, csb_;
    const T* h0_;
    T* of_h0_;
};

}  // namespace lstm

template <typename T>
static void lstm_forward(T* H, T* C, T* gates, const T* Wh, const T* h0, const T* c0,
                         const int32_t* size_at_t, int64_t steps, int64_t width, bool backward) {
    if (steps == 0 || width == 0) return;
    int64_t rows = 0;
    for (int64_t t = 0; t < steps; ++t) rows += size_at_t[t];
    const lstm::Recurrence<T> recurrence(Wh, h0, width, rows);
    lstm::for_each_step(size_at_t, steps, backward, !backward, [=, &recurrence](lstm::Step step) {
        T* const a = gates + step.start * 4 * width;
        recurrence.add(a, H + step.previous * width, step.continuing);
        recurrence.add_initial(a + step.continuing * 4 * width, step.size - step.continuing);
        for (int64_t r = 0; r < step.size; ++r) {
            const int64_t row = step.start + r;
            const T* const c_before = r < step.continuing ? C + (step.previous + r) * width : c0;
            lstm::activate_row(H + row * width, C + row * width, gates + row * 4 * width, c_before, width);
        }
    });
}

// What a step sends to the one before it waits where that one's own gradients
// will be: in its rows of d_gates, which it has not written yet.
template <typename T>
static void backprop_lstm(T* d_gates, T* dh0, T* dc0, const T* dY, const T* H, const T* C,
                          const T* gates, const T* Wh, const T* h0, const T* c0,
                          const int32_t* size_at_t, int64_t steps, int64_t width, bool backward) {
    (void)H, (void)h0;  // they matter to the gradient of Wh, which is the caller's
    if (width == 0) return;
    std::memset(dh0, 0, width * sizeof(T));
    std::memset(dc0, 0, width * sizeof(T));
    int64_t carried = 0;  // rows that got something from the step after
    lstm::for_each_step(size_at_t, steps, backward, backward, [=, &carried](lstm::Step step) {
        T* const da = d_gates + step.start * 4 * width;
        T* const before = d_gates + step.previous * 4 * width;
        for (int64_t r = 0; r < step.size; ++r) {
            const int64_t row = step.start + r;
            const bool continues = r < step.continuing;
            lstm::backprop_row(r < carried, !continues, da + r * 4 * width,
                               continues ? before + r * 4 * width + width : dc0, dY + row * width,
                               C + row * width, gates + row * 4 * width,
                               continues ? C + (step.previous + r) * width : c0, width);
        }
        gemm<T>(before, 4 * width, da, 4 * width, 1, Wh, width, 1, step.continuing, width, 4 * width, 1, 0);
        // The initial state is one for all: its gradient is the product of a sum.
        constexpr int64_t BLOCK = 256;
        T sum[BLOCK];
        for (int64_t j = 0; j < 4 * width && step.continuing < step.size; j += BLOCK) {
            const int64_t count = 4 * width - j < BLOCK ? 4 * width - j : BLOCK;
            std::memset(sum, 0, sizeof sum);
            for (int64_t r = step.continuing; r < step.size; ++r)
                for (int64_t i = 0; i < count; ++i) sum[i] += da[r * 4 * width + j + i];
            gemm<T>(dh0, width, sum, BLOCK, 1, Wh + j * width, width, 1, 1, width, count, 1, 1);
        }
        carried = step.continuing;
    });
}

template <typename T>
static void fill_lstm(Kernels<T>& kernels) {
    kernels.lstm_forward = lstm_forward<T>;
    kernels.backprop_lstm = backprop_lstm<T>;
}

}  // namespace THINC_LEVEL
}  // namespace thinc
