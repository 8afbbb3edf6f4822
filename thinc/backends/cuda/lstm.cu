// One time step of an LSTM, all that is not a matrix product. See thinc/backends/lstm.py for
// the formulas. A row r < continuing goes on from the row r of the step before; the rows
// after are the first of their sequences and start from one common state.
#include "grid.cuh"
#include "thinc/math.hpp"

namespace thinc {

// The four gates of unit u in row r; they lie in groups.
template <typename T>
struct Gates {
    Compute<T> forget, input, output, candidate;

    static __device__ inline Gates read(const T* gates, i64 r, i64 u, i64 width) {
        const T* row = gates + r * 4 * width + u;
        return {widen(row[0]), widen(row[width]), widen(row[2 * width]), widen(row[3 * width])};
    }

    __device__ inline void write(T* gates, i64 r, i64 u, i64 width) const {
        T* row = gates + r * 4 * width + u;
        row[0] = narrow<T>(forget);
        row[width] = narrow<T>(input);
        row[2 * width] = narrow<T>(output);
        row[3 * width] = narrow<T>(candidate);
    }
};

template <typename T>
__global__ void lstm_step(T* gates, T* cells, T* H, const T* cells_before, const T* c0, i64 size,
                          i64 continuing, i64 width) {
    for (i64 i = global_thread(); i < size * width; i += grid_threads()) {
        const i64 r = quotient(i, width), u = i - r * width;
        const Gates<T> a = Gates<T>::read(gates, r, u, width);
        const Gates<T> y = {sigmoid(a.forget), sigmoid(a.input), sigmoid(a.output),
                            tanh(a.candidate)};
        const auto before = widen(r < continuing ? cells_before[i] : c0[u]);
        const auto cell = y.forget * before + y.input * y.candidate;
        y.write(gates, r, u, width);
        cells[i] = narrow<T>(cell);
        H[i] = narrow<T>(y.output * tanh(cell));
    }
}

template <typename T>
__global__ void backprop_lstm_step(T* d_gates, T* d_before, T* d_entering, const T* dH,
                                   const T* d_cells, const T* gates, const T* cells,
                                   const T* cells_before, const T* c0, i64 size, i64 continuing,
                                   i64 width) {
    using C = Compute<T>;
    for (i64 i = global_thread(); i < size * width; i += grid_threads()) {
        const i64 r = quotient(i, width), u = i - r * width;
        const Gates<T> y = Gates<T>::read(gates, r, u, width);
        const C before = widen(r < continuing ? cells_before[i] : c0[u]);
        const C tanh_c = tanh(widen(cells[i]));
        const C dh = widen(dH[i]);
        const C dc = (d_cells == nullptr ? C(0) : widen(d_cells[i])) +
                     dh * y.output * (C(1) - tanh_c * tanh_c);
        const Gates<T> d = {dc * before * y.forget * (C(1) - y.forget),
                            dc * y.candidate * y.input * (C(1) - y.input),
                            dh * tanh_c * y.output * (C(1) - y.output),
                            dc * y.input * (C(1) - y.candidate * y.candidate)};
        d.write(d_gates, r, u, width);
        if (r < continuing) {
            d_before[i] = narrow<T>(dc * y.forget);
        } else if (d_entering != nullptr) {
            d_entering[i - continuing * width] = narrow<T>(dc * y.forget);
        }
    }
}

}  // namespace thinc
