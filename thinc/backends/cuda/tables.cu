// Rows picked from tables, the hash functions that pick them, and gradients put back.
#include "grid.cuh"
#include "thinc/hash.hpp"
#include "thinc/random.hpp"

namespace thinc {

constexpr int HASH_WORDS = 4;

__device__ inline Words4 hash_words(Word64 id, i64 seed) {
    const Hash128 h = murmur3_x64_128(id, (Word32)seed);
    return {{(Word32)h.h1, (Word32)(h.h1 >> 32), (Word32)h.h2, (Word32)(h.h2 >> 32)}};
}

__global__ void hash_ids(Word32* out, const Word64* ids, i64 n, i64 seed) {
    for (i64 i = global_thread(); i < n; i += grid_threads()) {
        const Words4 words = hash_words(ids[i], seed);
        for (int k = 0; k < HASH_WORDS; ++k) out[i * HASH_WORDS + k] = words.at[k];
    }
}

// A warp for each id. Every lane makes the hash, some 40 multiplications, because to wait
// for another lane's would take as long.
template <typename T>
__global__ void hash_embed(T* Y, Word32* rows, const T* E, const Word64* ids, i64 n, i64 width,
                           i64 nr_row, i64 seed) {
    const bool aligned = are_aligned(Y, E);
    for (i64 i = global_warp(); i < n; i += grid_warps()) {
        Words4 words = hash_words(ids[i], seed);
#pragma unroll
        for (int k = 0; k < HASH_WORDS; ++k) words.at[k] %= (Word32)nr_row;
        if (rows != nullptr && lane_index() == 0) {
#pragma unroll
            for (int k = 0; k < HASH_WORDS; ++k) rows[i * HASH_WORDS + k] = words.at[k];
        }
        for_each_in_row<T>(width, aligned, [=](i64 c, auto pack) {
            constexpr int W = decltype(pack)::VALUE;
            Values<W, Compute<T>> sum = {};
#pragma unroll
            for (int k = 0; k < HASH_WORDS; ++k) {
                const auto row = load<W>(E + (i64)words.at[k] * width + c);
#pragma unroll
                for (int j = 0; j < W; ++j) sum.at[j] += row.at[j];
            }
            store<W>(Y + i * width + c, sum);
        });
    }
}

// The row an index names, -1 for none.
template <typename Index>
__device__ inline i64 row_at(const Index* indices, i64 position, i64 nr_row) {
    const i64 row = (i64)indices[position];
    return row >= 0 && row < nr_row ? row : -1;
}

template <typename T, typename Index>
__global__ void gather_add(T* Y, const T* table, const Index* indices, i64 B, i64 K, i64 width,
                           i64 nr_row, int* status) {
    const bool aligned = are_aligned(Y, table);
    for (i64 b = global_warp(); b < B; b += grid_warps()) {
        for (i64 k = lane_index(); k < K; k += WARP) {
            if (row_at(indices, b * K + k, nr_row) < 0) report(status, b * K + k);
        }
        for_each_in_row<T>(width, aligned, [=](i64 c, auto pack) {
            constexpr int W = decltype(pack)::VALUE;
            Values<W, Compute<T>> sum = {};
            for (i64 k = 0; k < K; ++k) {
                const i64 row = row_at(indices, b * K + k, nr_row);
                if (row < 0) continue;
                const auto x = load<W>(table + row * width + c);
#pragma unroll
                for (int j = 0; j < W; ++j) sum.at[j] += x.at[j];
            }
            store<W>(Y + b * width + c, sum);
        });
    }
}

// ---- gradients ------------------------------------------------------------------------

__device__ inline void atomic_add(float* p, float x) { atomicAdd(p, x); }
__device__ inline void atomic_add(double* p, double x) { atomicAdd(p, x); }

// Sixteen bits of a word: read it, add, write it back if nobody was faster.
template <typename T>
__device__ inline void atomic_add(T* p, float x) {
    const unsigned long long address = (unsigned long long)p;
    unsigned int* const word = (unsigned int*)(address & ~3ull);
    const int shift = (address & 2) ? 16 : 0;
    unsigned int expected = *word, found;
    do {
        found = expected;
        const T old = {(unsigned short)(found >> shift)};
        const unsigned int bits = narrow<T>(widen(old) + x).bits;
        expected = atomicCAS(word, found, (found & ~(0xffffu << shift)) | (bits << shift));
    } while (expected != found);
}

template <typename T, typename Index>
__global__ void scatter_add(T* table, const T* dY, const Index* indices, i64 B, i64 K, i64 width,
                            i64 nr_row, int* status) {
    for (i64 b = global_warp(); b < B; b += grid_warps()) {
        for (i64 k = 0; k < K; ++k) {
            const i64 row = row_at(indices, b * K + k, nr_row);
            if (row < 0) {
                if (lane_index() == 0) report(status, b * K + k);
                continue;
            }
            for (i64 c = lane_index(); c < width; c += WARP) {
                atomic_add(table + row * width + c, widen(dY[b * width + c]));
            }
        }
    }
}

// Equal indices lie side by side in `sorted`. A block belongs to each position, and works
// if an index begins there: it owns that row of the table, and adds up all that goes to it
// in the order of the batch, eight warps in turn.
template <typename T, typename Index>
__global__ void scatter_add_sorted(T* table, const T* dY, const Index* sorted, const i64* order,
                                   i64 n, i64 K, i64 width, i64 nr_row, int* status) {
    using C = Compute<T>;
    for (i64 start = blockIdx.x; start < n; start += gridDim.x) {
        const Index index = sorted[start];
        if (start > 0 && sorted[start - 1] == index) continue;
        const i64 row = row_at(sorted, start, nr_row);
        if (row < 0) {
            if (threadIdx.x == 0 && threadIdx.y == 0 && blockIdx.y == 0) {
                report(status, order[start]);
            }
            continue;
        }
        const i64 end = start + count_up_to(sorted + start, n - start, index);
        for (i64 tile = blockIdx.y; tile * WARP < width; tile += gridDim.y) {
            const i64 c = tile * WARP + threadIdx.x;
            C sum = C(0);
            if (c < width) {
                for (i64 i = start + threadIdx.y; i < end; i += TILE_ROWS) {
                    sum += widen(dY[quotient(order[i], K) * width + c]);
                }
            }
            sum = tile_sum(sum);
            if (threadIdx.y == 0 && c < width) {
                table[row * width + c] = narrow<T>(widen(table[row * width + c]) + sum);
            }
        }
    }
}

// ---- other keys --------------------------------------------------------------------------

__global__ void ngrams(Word64* out, const Word64* keys, i64 count, i64 n) {
    for (i64 i = global_thread(); i < count; i += grid_threads()) {
        Word64 h = murmur64a_start(8 * (Word64)n, 0);
        for (i64 k = 0; k < n; ++k) h = murmur64a_absorb(h, keys[i + k]);
        out[i] = murmur64a_finish(h);
    }
}

// A search in sorted keys: 17 steps for 100,000, and unlike a hash table it needs no
// building on the host but a sort.
__global__ void remap_ids(int* Y, const i64* ids, i64 n, const i64* keys, const int* values, i64 m,
                          i64 other) {
    for (i64 i = global_thread(); i < n; i += grid_threads()) {
        const i64 place = count_up_to(keys, m, ids[i]) - 1;
        Y[i] = place >= 0 && keys[place] == ids[i] ? values[place] : (int)other;
    }
}

}  // namespace thinc
