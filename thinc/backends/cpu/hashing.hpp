// Loops over the hashes of include/thinc/hash.hpp. They work on blocks of keys:
// one array for each half of the hash is what compilers vectorize.
#pragma once
#include <cstddef>

#include "kernel_table.hpp"
#include "thinc/hash.hpp"

namespace thinc {
namespace THINC_LEVEL {
namespace hashing {

constexpr int64_t BLOCK = 64;

// word(x) is applied to each of the four words of each id.
template <typename Word>
static inline __attribute__((always_inline)) void hash_blocks(uint32_t* out, const uint64_t* ids,
                                                              int64_t n, uint32_t seed, Word word) {
    uint64_t h1[BLOCK], h2[BLOCK];
    for (int64_t first = 0; first < n; first += BLOCK) {
        const int64_t count = n - first < BLOCK ? n - first : BLOCK;
        for (int64_t i = 0; i < count; ++i) {
            const Hash128 h = murmur3_x64_128(ids[first + i], seed);
            h1[i] = h.h1;
            h2[i] = h.h2;
        }
        uint32_t* const words = out + 4 * first;
        for (int64_t i = 0; i < count; ++i) {
            words[4 * i + 0] = word(static_cast<uint32_t>(h1[i]));
            words[4 * i + 1] = word(static_cast<uint32_t>(h1[i] >> 32));
            words[4 * i + 2] = word(static_cast<uint32_t>(h2[i]));
            words[4 * i + 3] = word(static_cast<uint32_t>(h2[i] >> 32));
        }
    }
}

}  // namespace hashing

static void hash_ids(uint32_t* out, const uint64_t* ids, int64_t n, uint32_t seed) {
    hashing::hash_blocks(out, ids, n, seed, [](uint32_t word) { return word; });
}

static void hash_rows(uint32_t* out, const uint64_t* ids, int64_t n, uint32_t seed, uint32_t nr_row) {
    if (n == 0) return;
    const Modulo modulo(nr_row);
    hashing::hash_blocks(out, ids, n, seed, modulo);
}

template <typename Word>
static inline __attribute__((always_inline)) void hash_keys_twice(uint32_t* out, const uint64_t* keys,
                                                                  int64_t n, Word word) {
    for (int64_t i = 0; i < n; ++i) {
        out[2 * i] = word(murmur3_x86_32(static_cast<Word64>(keys[i]), 0));
        out[2 * i + 1] = word(murmur3_x86_32(static_cast<Word64>(keys[i]), 1));
    }
}

static void sparse_cells(uint32_t* out, const uint64_t* keys, int64_t n, uint32_t length, bool masked) {
    if (masked) {
        const uint32_t mask = length - 1;
        hash_keys_twice(out, keys, n, [=](uint32_t word) { return word & mask; });
    } else {
        hash_keys_twice(out, keys, n, Modulo(length));
    }
}

static void ngrams(uint64_t* out, const uint64_t* keys, int64_t n, int64_t order) {
    const int64_t nr_out = n - order + 1;
    const uint64_t start = murmur64a_start(8 * static_cast<uint64_t>(order), 0);
    uint64_t h[hashing::BLOCK];
    for (int64_t first = 0; first < nr_out; first += hashing::BLOCK) {
        const int64_t count = nr_out - first < hashing::BLOCK ? nr_out - first : hashing::BLOCK;
        for (int64_t i = 0; i < count; ++i) h[i] = start;
        for (int64_t j = first; j < first + order; ++j) {
            for (int64_t i = 0; i < count; ++i) h[i] = murmur64a_absorb(h[i], keys[j + i]);
        }
        for (int64_t i = 0; i < count; ++i) out[first + i] = murmur64a_finish(h[i]);
    }
}

// A block without a bad index is the normal case: look for the place only in one that has it.
static int64_t find_out_of_range(const uint32_t* indices, int64_t n, uint32_t nr_row) {
    constexpr int64_t BLOCK = 512;
    for (int64_t first = 0; first < n; first += BLOCK) {
        const int64_t end = n - first < BLOCK ? n : first + BLOCK;
        uint32_t bad = 0;
        for (int64_t i = first; i < end; ++i) bad |= indices[i] >= nr_row;
        if (!bad) continue;
        for (int64_t i = first; i < end; ++i) {
            if (indices[i] >= nr_row) return i;
        }
    }
    return -1;
}

static void fill_hashing(KernelTable& table) {
    table.hash_ids = hash_ids;
    table.hash_rows = hash_rows;
    table.sparse_cells = sparse_cells;
    table.ngrams = ngrams;
    table.find_out_of_range = find_out_of_range;
}

}  // namespace THINC_LEVEL
}  // namespace thinc
