// Rows moved from one layout to another, whatever they are made of: a warp copies a row in
// the widest units that its address allows. And the encoding of positions.
#include "grid.cuh"

namespace thinc {

// from == nullptr: zeros.
template <typename Unit>
__device__ inline void copy_row(Unit* to, const Unit* from, i64 width) {
    for (i64 j = lane_index(); j < width; j += WARP) to[j] = from == nullptr ? Unit{} : from[j];
}

// Of the array of padded sequences: row t of sequence s.
__device__ inline i64 padded_row(i64 s, i64 t, i64 nr_seq, i64 longest, i64 time_first) {
    return time_first ? t * nr_seq + s : s * longest + t;
}

template <typename Unit>
__global__ void pad_rows(Unit* out, const i64* pointers, const i64* lengths, i64 nr_seq,
                         i64 longest, i64 width, i64 time_first) {
    for (i64 i = global_warp(); i < nr_seq * longest; i += grid_warps()) {
        const i64 s = quotient(i, longest), t = i - s * longest;
        const Unit* sequence = (const Unit*)pointers[s];
        const Unit* from = t < lengths[s] ? sequence + t * width : nullptr;
        copy_row(out + padded_row(s, t, nr_seq, longest, time_first) * width, from, width);
    }
}

template <typename Unit>
__global__ void unpad_rows(Unit* out, const Unit* padded, const i64* offsets, const i64* columns,
                           i64 nr_seq, i64 rows, i64 longest, i64 batch, i64 width,
                           i64 time_first) {
    for (i64 row = global_warp(); row < rows; row += grid_warps()) {
        const i64 s = find_sequence(offsets, nr_seq, row);
        const Unit* from = nullptr;
        if (s < nr_seq) {
            const i64 column = columns == nullptr ? s : columns[s];
            const i64 t = row - offsets[s];
            if (t >= 0 && t < longest && column >= 0 && column < batch) {
                from = padded + padded_row(column, t, batch, longest, time_first) * width;
            }
        }
        copy_row(out + row * width, from, width);
    }
}

template <typename Unit>
__global__ void gather_rows(Unit* out, const Unit* X, const i64* indices, i64 n, i64 width,
                            i64 nr_row) {
    for (i64 i = global_warp(); i < n; i += grid_warps()) {
        const i64 row = indices[i];
        copy_row(out + i * width, row >= 0 && row < nr_row ? X + row * width : nullptr, width);
    }
}

// In double precision: a float's sine of a large position has no correct digit left.
__global__ void position_encode(float* out, i64 N, i64 D, double period) {
    for (i64 i = global_thread(); i < N * D; i += grid_threads()) {
        const i64 position = quotient(i, D), c = i - position * D;
        const i64 even = smaller(c - c % 2, larger(D - 2 - D % 2, 0));
        const double angle = (double)position * pow(period, -2.0 * (double)even / (double)D);
        out[i] = (float)(c % 2 == 0 ? sin(angle) : cos(angle));
    }
}

}  // namespace thinc
