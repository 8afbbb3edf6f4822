// Where a thread stands in the grid, and sums over warps and blocks.
//
// All indices are 64-bit: blockIdx.x * blockDim.x in int would overflow beyond 2^31
// elements. Every sum has a fixed order, whatever the hardware schedules first.
#pragma once
#include "storage.cuh"

namespace thinc {

constexpr int WARP = 32;
constexpr int MAX_WARPS = 32;  // in a block
constexpr unsigned int ALL_LANES = 0xffffffffu;

__device__ inline i64 global_thread() { return (i64)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ inline i64 grid_threads() { return (i64)gridDim.x * blockDim.x; }
__device__ inline int lane_index() { return (int)(threadIdx.x % WARP); }
__device__ inline int warp_in_block() { return (int)(threadIdx.x / WARP); }
__device__ inline int warps_in_block() { return (int)(blockDim.x / WARP); }
__device__ inline i64 global_warp() { return (i64)blockIdx.x * warps_in_block() + warp_in_block(); }
__device__ inline i64 grid_warps() { return (i64)gridDim.x * warps_in_block(); }

THINC_HD i64 smaller(i64 a, i64 b) { return a < b ? a : b; }
THINC_HD i64 larger(i64 a, i64 b) { return a > b ? a : b; }
THINC_HD i64 ceil_div(i64 a, i64 b) { return (a + b - 1) / b; }

// A division of 64 bits is a function of some 70 instructions, one of 32 bits has 20.
THINC_HD i64 quotient(i64 a, i64 b) {
    const bool short_ones = ((unsigned long long)(a | b) >> 32) == 0;
    return short_ones ? (i64)((unsigned int)a / (unsigned int)b) : a / b;
}
THINC_HD i64 remainder(i64 a, i64 b) { return a - quotient(a, b) * b; }

// A number of elements that the compiler knows.
template <int W>
struct Width {
    static constexpr int VALUE = W;
};

// Calls each(i, Width<W>) for packs of 16 bytes of T, then for the elements left; all one
// by one if the arrays are not aligned. A thread's share depends on the grid alone.
template <typename T, typename Each>
__device__ inline void for_each_pack(i64 N, bool aligned, Each each) {
    constexpr int W = PACK<T>;
    const i64 packs = aligned ? N / W : 0;
    for (i64 k = global_thread(); k < packs; k += grid_threads()) each(k * W, Width<W>());
    for (i64 i = packs * W + global_thread(); i < N; i += grid_threads()) each(i, Width<1>());
}

// The same for the columns of one row and the lanes of one warp. Rows of other widths than
// multiples of a pack start at odd addresses, so they go element by element.
template <typename T, typename Each>
__device__ inline void for_each_in_row(i64 width, bool aligned, Each each) {
    constexpr int W = PACK<T>;
    if (aligned && width % W == 0) {
        for (i64 c = lane_index() * W; c < width; c += WARP * W) each(c, Width<W>());
    } else {
        for (i64 c = lane_index(); c < width; c += WARP) each(c, Width<1>());
    }
}

// ---- sums and maxima ------------------------------------------------------------

// Exchanged by xor, so that all lanes have the same bits.
template <typename C>
__device__ inline C warp_sum(C x) {
#pragma unroll
    for (int offset = WARP / 2; offset > 0; offset /= 2) {
        x += __shfl_xor_sync(ALL_LANES, x, offset);
    }
    return x;
}

// NaNs are passed over.
template <typename C>
__device__ inline C warp_max(C x) {
#pragma unroll
    for (int offset = WARP / 2; offset > 0; offset /= 2) {
        const C other = __shfl_xor_sync(ALL_LANES, x, offset);
        x = other > x ? other : x;
    }
    return x;
}

// Of all threads of a one-dimensional block; all of them call it and get the result.
template <typename C>
__device__ inline C block_sum(C x) {
    __shared__ C parts[MAX_WARPS];
    x = warp_sum(x);
    if (lane_index() == 0) parts[warp_in_block()] = x;
    __syncthreads();
    C total = C(0);
    for (int w = 0; w < warps_in_block(); ++w) total += parts[w];
    __syncthreads();  // before anyone writes parts again
    return total;
}

template <typename C>
__device__ inline C block_max(C x) {
    __shared__ C parts[MAX_WARPS];
    x = warp_max(x);
    if (lane_index() == 0) parts[warp_in_block()] = x;
    __syncthreads();
    C best = parts[0];
    for (int w = 1; w < warps_in_block(); ++w) best = parts[w] > best ? parts[w] : best;
    __syncthreads();
    return best;
}

template <typename C>
THINC_HD C infinity();
template <>
THINC_HD float infinity<float>() {
    return from_bits(0x7f800000u);
}
template <>
THINC_HD double infinity<double>() {
    return from_bits(0x7ff0000000000000ull);
}

// ---- tiles of columns ----------------------------------------------------------------
//
// Blocks of (32, 8) threads: threadIdx.x is a column of the tile, and each of the eight
// warps takes every eighth row, so that every load is of 32 neighbouring elements.

constexpr int TILE_ROWS = 8;

// Calls each(c) with this thread's column of every tile, also where that is beyond the
// last column: the threads of a block must all come to the barriers.
template <typename Each>
__device__ inline void for_each_column_tile(i64 cols, Each each) {
    for (i64 tile = blockIdx.x; tile * WARP < cols; tile += gridDim.x) {
        each(tile * WARP + threadIdx.x);
    }
}

// Sum over the warps, of each column; all threads of the block call it and get the result.
template <typename C>
__device__ inline C tile_sum(C x) {
    __shared__ C parts[TILE_ROWS][WARP];
    parts[threadIdx.y][threadIdx.x] = x;
    __syncthreads();
    C total = parts[0][threadIdx.x];
#pragma unroll
    for (int w = 1; w < TILE_ROWS; ++w) total += parts[w][threadIdx.x];
    __syncthreads();
    return total;
}

template <typename C>
__device__ inline C tile_max(C x) {
    __shared__ C parts[TILE_ROWS][WARP];
    parts[threadIdx.y][threadIdx.x] = x;
    __syncthreads();
    C best = parts[0][threadIdx.x];
#pragma unroll
    for (int w = 1; w < TILE_ROWS; ++w) {
        const C other = parts[w][threadIdx.x];
        best = other > best ? other : best;
    }
    __syncthreads();
    return best;
}

// ---- searches ------------------------------------------------------------------------

// How many of the rising numbers are <= x: a search of log2(n) steps, in which all lanes of
// a warp that look for the same x read the same word.
template <typename Number>
__device__ inline i64 count_up_to(const Number* numbers, i64 n, Number x) {
    i64 low = 0, high = n;
    while (low < high) {
        const i64 middle = low + (high - low) / 2;
        if (numbers[middle] <= x) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

// The sequence that a row is in, nr_seq beyond the last. Empty sequences have no rows.
__device__ inline i64 find_sequence(const i64* offsets, i64 nr_seq, i64 row) {
    return count_up_to(offsets + 1, nr_seq, row);
}

// Note a bad index at a position, for the host to find later. The last one stays.
__device__ inline void report(int* status, i64 position) {
    if (status != nullptr) atomicMax(status, (int)smaller(position + 1, 0x7fffffff));
}

}  // namespace thinc
