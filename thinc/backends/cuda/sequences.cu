// Sequences that lie one after another in the rows of X: windows and reductions.
//
// A sequence starts where the lengths before it end. These offsets are made once, by a
// scan; a row finds its sequence by a binary search in them, so that no kernel loops over
// sequences and a long one does not hold up the rest.
#include "grid.cuh"
#include "thinc/rows.hpp"
#include "thinc/math.hpp"

namespace thinc {

// The rows of a sequence, whatever the offsets say: never outside [0, rows].
struct Rows {
    i64 first, end;
};

__device__ inline Rows rows_of(const i64* offsets, i64 s, i64 rows) {
    const i64 first = larger(0, smaller(offsets[s], rows));
    return {first, larger(first, smaller(offsets[s + 1], rows))};
}

// The sequence around a row; none beyond the last one.
__device__ inline Rows rows_around(const i64* offsets, i64 nr_seq, i64 row, i64 rows) {
    if (offsets == nullptr) return {0, rows};
    const i64 s = find_sequence(offsets, nr_seq, row);
    return s < nr_seq ? rows_of(offsets, s, rows) : Rows{row, row};
}

// One block scans 1,024 lengths at a time: warps by shuffles, then the sums of the warps.
template <typename Index>
__global__ void sequence_offsets(i64* offsets, const Index* lengths, i64 nr_seq, i64 total,
                                 i64 minimum, int* status) {
    __shared__ i64 of_warps[MAX_WARPS];
    i64 before = 0;  // of all lengths of earlier rounds, the same in all threads
    for (i64 start = 0; start < nr_seq; start += blockDim.x) {
        const i64 s = start + threadIdx.x;
        i64 length = s < nr_seq ? (i64)lengths[s] : 0;
        if (s < nr_seq && length < minimum) report(status, s);
        length = larger(length, 0);
        i64 sum = length;
        for (int offset = 1; offset < WARP; offset *= 2) {
            const i64 lower = __shfl_up_sync(ALL_LANES, sum, offset);
            if (lane_index() >= offset) sum += lower;
        }
        if (lane_index() == WARP - 1) of_warps[warp_in_block()] = sum;
        __syncthreads();
        i64 lower_warps = 0, all_warps = 0;
        for (int w = 0; w < warps_in_block(); ++w) {
            if (w < warp_in_block()) lower_warps += of_warps[w];
            all_warps += of_warps[w];
        }
        if (s < nr_seq) offsets[s] = before + lower_warps + sum - length;
        before += all_warps;
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        offsets[nr_seq] = before;
        if (total >= 0 && before != total) report(status, nr_seq);
    }
}

__global__ void sequence_of_row(int* sequence, const i64* offsets, i64 nr_seq, i64 rows) {
    for (i64 row = global_thread(); row < rows; row += grid_threads()) {
        const i64 s = find_sequence(offsets, nr_seq, row);
        sequence[row] = s < nr_seq ? (int)s : -1;
    }
}

// ---- windows ----------------------------------------------------------------------

// A window is a run of memory: rows t - window ... t + window lie one after another in X as
// well as in Y. What the run has outside the sequence is zero. Bits are copied as they are.
template <typename Unit>
__device__ inline void copy_window(Unit* y, const Unit* X, i64 begin, i64 count, i64 first,
                                   i64 end) {
    for (i64 j = lane_index(); j < count; j += WARP) {
        const i64 from = begin + j;
        y[j] = from >= first && from < end ? X[from] : Unit{};
    }
}

template <typename T>
__global__ void seq2col(T* Y, const T* X, const i64* offsets, i64 nr_seq, i64 rows, i64 width,
                        i64 window) {
    constexpr int W = PACK<T>;
    const bool in_packs = width % W == 0 && are_aligned(Y, X);
    const i64 row_units = in_packs ? width / W : width;
    const i64 count = (2 * window + 1) * row_units;
    for (i64 t = global_warp(); t < rows; t += grid_warps()) {
        const Rows own = rows_around(offsets, nr_seq, t, rows);
        const i64 begin = (t - window) * row_units;
        const i64 first = own.first * row_units, end = own.end * row_units;
        if (in_packs) {
            copy_window(reinterpret_cast<Bytes16*>(Y) + t * count,
                        reinterpret_cast<const Bytes16*>(X), begin, count, first, end);
        } else {
            copy_window(Y + t * count, X, begin, count, first, end);
        }
    }
}

template <typename T>
__global__ void backprop_seq2col(T* dX, const T* dY, const i64* offsets, i64 nr_seq, i64 rows,
                                 i64 width, i64 window) {
    using C = Compute<T>;
    const i64 columns = 2 * window + 1;
    const bool aligned = are_aligned(dX, dY);
    for (i64 t = global_warp(); t < rows; t += grid_warps()) {
        const Rows own = rows_around(offsets, nr_seq, t, rows);
        // Row t is column `k` of the window of row t + window - k.
        const i64 from = larger(0, t + window - (own.end - 1));
        const i64 to = smaller(columns - 1, t + window - own.first);
        for_each_in_row<T>(width, aligned, [=](i64 c, auto pack) {
            constexpr int W = decltype(pack)::VALUE;
            Values<W, C> sum = {};
            for (i64 k = from; k <= to; ++k) {
                const i64 row = t + window - k;
                const auto d = load<W>(dY + (row * columns + k) * width + c);
#pragma unroll
                for (int j = 0; j < W; ++j) sum.at[j] += d.at[j];
            }
            store<W>(dX + t * width + c, sum);
        });
    }
}

// ---- reductions -------------------------------------------------------------------
//
// A block of eight warps for each sequence and 32 columns. Twenty rows, a usual sentence,
// are three rounds of loads; thousands are not slow either.

struct Sum {};
struct Mean {};
struct Max {};
struct First {};
struct Last {};

template <typename C>
THINC_HD bool is_finite(C x) {
    return x - x == C(0);
}

// The sum of a column over the rows, or the mean: shares first where the sum overflows.
template <typename T>
__device__ inline Compute<T> reduce_column(Sum, const T* X, Rows rows, i64 width, i64 c) {
    Compute<T> sum = Compute<T>(0);
    if (c < width) {
        for (i64 r = rows.first + threadIdx.y; r < rows.end; r += TILE_ROWS) {
            sum += widen(X[r * width + c]);
        }
    }
    return tile_sum(sum);
}

template <typename T>
__device__ inline Compute<T> reduce_column(Mean, const T* X, Rows rows, i64 width, i64 c) {
    using C = Compute<T>;
    const C count = C(larger(1, rows.end - rows.first));
    const C sum = reduce_column(Sum(), X, rows, width, c);
    // All or no threads take this way, because it has barriers.
    if (!__syncthreads_or(!is_finite(sum))) return sum / count;
    C shares = C(0);
    if (c < width) {
        for (i64 r = rows.first + threadIdx.y; r < rows.end; r += TILE_ROWS) {
            shares += widen(X[r * width + c]) / count;
        }
    }
    shares = tile_sum(shares);
    return is_finite(sum) ? sum / count : shares;
}

template <typename Reduction, typename T>
__global__ void reduce(T* Y, const T* X, const i64* offsets, i64 nr_seq, i64 rows, i64 width) {
    for (i64 s = blockIdx.x; s < nr_seq; s += gridDim.x) {
        const Rows own = rows_of(offsets, s, rows);
        for (i64 tile = blockIdx.y; tile * WARP < width; tile += gridDim.y) {
            const i64 c = tile * WARP + threadIdx.x;
            const Compute<T> y = reduce_column(Reduction(), X, own, width, c);
            if (threadIdx.y == 0 && c < width) Y[s * width + c] = narrow<T>(y);
        }
    }
}

// A candidate for the maximum; row -1 is none.
template <typename C>
struct Candidate {
    C value;
    i64 row;
};

// The first NaN, else the first of the largest: whoever would have won in order of rows.
template <typename C>
THINC_HD Candidate<C> winner(Candidate<C> a, Candidate<C> b) {
    if (a.row < 0) return b;
    if (b.row < 0) return a;
    const Candidate<C> early = a.row < b.row ? a : b;
    const Candidate<C> late = a.row < b.row ? b : a;
    return replaces_maximum(late.value, early.value) ? late : early;
}

template <typename T>
__global__ void reduce_max(T* Y, int* which, const T* X, const i64* offsets, i64 nr_seq, i64 rows,
                           i64 width) {
    using C = Compute<T>;
    __shared__ C values[TILE_ROWS][WARP];
    __shared__ i64 places[TILE_ROWS][WARP];
    for (i64 s = blockIdx.x; s < nr_seq; s += gridDim.x) {
        const Rows own = rows_of(offsets, s, rows);
        for (i64 tile = blockIdx.y; tile * WARP < width; tile += gridDim.y) {
            const i64 c = tile * WARP + threadIdx.x;
            Candidate<C> best = {C(0), -1};
            if (c < width) {
                for (i64 r = own.first + threadIdx.y; r < own.end; r += TILE_ROWS) {
                    best = winner(best, Candidate<C>{widen(X[r * width + c]), r - own.first});
                }
            }
            values[threadIdx.y][threadIdx.x] = best.value;
            places[threadIdx.y][threadIdx.x] = best.row;
            __syncthreads();
            if (threadIdx.y == 0 && c < width) {
                for (int w = 1; w < TILE_ROWS; ++w) {
                    best = winner(best, Candidate<C>{values[w][threadIdx.x], places[w][threadIdx.x]});
                }
                Y[s * width + c] = narrow<T>(best.value);
                which[s * width + c] = (int)larger(best.row, 0);
            }
            __syncthreads();
        }
    }
}

THINC_HD i64 place_in(First, Rows rows) { return rows.first; }
THINC_HD i64 place_in(Last, Rows rows) { return rows.end - 1; }

template <typename Place, typename T>
__global__ void reduce_place(T* Y, const T* X, const i64* offsets, i64 nr_seq, i64 rows,
                             i64 width) {
    const bool aligned = are_aligned(Y, X);
    for (i64 s = global_warp(); s < nr_seq; s += grid_warps()) {
        const Rows own = rows_of(offsets, s, rows);
        const T* row = own.first < own.end ? X + place_in(Place(), own) * width : nullptr;
        for_each_in_row<T>(width, aligned, [=](i64 c, auto pack) {
            constexpr int W = decltype(pack)::VALUE;
            Values<W, Compute<T>> x = {};
            if (row != nullptr) x = load<W>(row + c);
            store<W>(Y + s * width + c, x);
        });
    }
}

// ---- gradients of reductions -------------------------------------------------------
//
// The share of row t, column c of a sequence's gradient d.

template <typename C>
THINC_HD C share_of(Sum, C d, i64, Rows, const int*) {
    return d;
}
template <typename C>
THINC_HD C share_of(Mean, C d, i64, Rows rows, const int*) {
    return d / C(larger(1, rows.end - rows.first));
}
template <typename C>
THINC_HD C share_of(Max, C d, i64 t, Rows rows, const int* which) {
    return *which == t - rows.first ? d : C(0);
}
template <typename C>
THINC_HD C share_of(First, C d, i64 t, Rows rows, const int*) {
    return t == rows.first ? d : C(0);
}
template <typename C>
THINC_HD C share_of(Last, C d, i64 t, Rows rows, const int*) {
    return t == rows.end - 1 ? d : C(0);
}

template <typename Spread, typename T>
__global__ void spread(T* dX, const T* dY, const int* which, const i64* offsets, i64 nr_seq,
                       i64 rows, i64 width) {
    const bool aligned = are_aligned(dX, dY);
    for (i64 t = global_warp(); t < rows; t += grid_warps()) {
        const i64 s = find_sequence(offsets, nr_seq, t);
        const Rows own = s < nr_seq ? rows_of(offsets, s, rows) : Rows{t, t};
        for_each_in_row<T>(width, aligned, [=](i64 c, auto pack) {
            constexpr int W = decltype(pack)::VALUE;
            Values<W, Compute<T>> d = {};
            if (s < nr_seq) {
                d = load<W>(dY + s * width + c);
#pragma unroll
                for (int j = 0; j < W; ++j) {
                    d.at[j] = share_of(Spread(), d.at[j], t, own, which + s * width + c + j);
                }
            }
            store<W>(dX + t * width + c, d);
        });
    }
}

// ---- softmax over the rows of a sequence --------------------------------------------

template <typename T>
__global__ void softmax_sequences(T* Y, const T* X, const i64* offsets, i64 nr_seq, i64 rows,
                                  i64 width) {
    using C = Compute<T>;
    for (i64 s = blockIdx.x; s < nr_seq; s += gridDim.x) {
        const Rows own = rows_of(offsets, s, rows);
        for (i64 tile = blockIdx.y; tile * WARP < width; tile += gridDim.y) {
            const i64 c = tile * WARP + threadIdx.x;
            const i64 first = c < width ? own.first + threadIdx.y : own.end;
            C best = -infinity<C>();
            for (i64 r = first; r < own.end; r += TILE_ROWS) {
                const C x = widen(X[r * width + c]);
                best = x > best ? x : best;
            }
            best = tile_max(best);
            C sum = C(0);
            for (i64 r = first; r < own.end; r += TILE_ROWS) sum += exp(widen(X[r * width + c]) - best);
            const C scale = C(1) / tile_sum(sum);
            for (i64 r = first; r < own.end; r += TILE_ROWS) {
                Y[r * width + c] = narrow<T>(exp(widen(X[r * width + c]) - best) * scale);
            }
        }
    }
}

template <typename T>
__global__ void backprop_softmax_sequences(T* dX, const T* dY, const T* Y, const i64* offsets,
                                           i64 nr_seq, i64 rows, i64 width) {
    using C = Compute<T>;
    for (i64 s = blockIdx.x; s < nr_seq; s += gridDim.x) {
        const Rows own = rows_of(offsets, s, rows);
        for (i64 tile = blockIdx.y; tile * WARP < width; tile += gridDim.y) {
            const i64 c = tile * WARP + threadIdx.x;
            const i64 first = c < width ? own.first + threadIdx.y : own.end;
            C dot = C(0);
            for (i64 r = first; r < own.end; r += TILE_ROWS) {
                dot += widen(Y[r * width + c]) * widen(dY[r * width + c]);
            }
            dot = tile_sum(dot);
            for (i64 r = first; r < own.end; r += TILE_ROWS) {
                const i64 i = r * width + c;
                dX[i] = narrow<T>(softmax_gradient(widen(Y[i]), widen(dY[i]), dot, C(1)));
            }
        }
    }
}

}  // namespace thinc
