// Dropout masks from NumPy's own generator, MT19937 (Matsumoto and Nishimura 1998),
// bit for bit: whoever seeds numpy.random decides the masks, and draws made later
// are the same as if NumPy had drawn ours.
#pragma once
#include <cstdint>

#include "kernel_table.hpp"
#include "thinc/config.hpp"

namespace thinc {
namespace THINC_LEVEL {

constexpr int MT_WORDS = 624;
constexpr int MT_SHIFT = 397;

static inline uint32_t mt_mix(uint32_t word, uint32_t next) {
    const uint32_t y = (word & 0x80000000u) | (next & 0x7fffffffu);
    return (y >> 1) ^ ((0u - (next & 1u)) & 0x9908b0dfu);
}

static inline uint32_t mt_temper(uint32_t y) {
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

// The next 624 words. Each loop reads what it has written only after 227 words,
// further away than any vector is long.
static void mt_advance(uint32_t* key) {
    constexpr int FIRST = MT_WORDS - MT_SHIFT;
    for (int i = 0; i < FIRST; ++i) key[i] = key[i + MT_SHIFT] ^ mt_mix(key[i], key[i + 1]);
    for (int i = FIRST; i < MT_WORDS - 1; ++i) key[i] = key[i - FIRST] ^ mt_mix(key[i], key[i + 1]);
    key[MT_WORDS - 1] = key[MT_SHIFT - 1] ^ mt_mix(key[MT_WORDS - 1], key[0]);
}

// NumPy's double is (a 2^26 + b) / 2^53 with a, b the upper 27 and 26 bits of two
// words. u >= drop is decided by a alone unless a equals the limit's upper part.
struct DropLimit {
    int32_t a;
    int32_t b;
    float kept;  // the mask's value where u >= drop

    explicit DropLimit(double drop) : kept(static_cast<float>(1.0 / (1.0 - drop))) {
        const double scaled = drop * 9007199254740992.0;  // exact: a power of two
        int64_t limit = 0;
        if (scaled >= 9007199254740992.0) {
            limit = int64_t(1) << 53;
        } else if (scaled > 0.0) {
            limit = static_cast<int64_t>(scaled);
            limit += static_cast<double>(limit) < scaled;
        }
        a = static_cast<int32_t>(limit >> 26);
        b = static_cast<int32_t>(limit & ((1 << 26) - 1));
    }

    float mask(uint32_t first, uint32_t second) const {
        const int32_t x = static_cast<int32_t>(mt_temper(first) >> 5);
        const int32_t y = static_cast<int32_t>(mt_temper(second) >> 6);
        return (x > a || (x == a && y >= b)) ? kept : 0.0f;
    }
};

static void mask_of_pairs(float* mask, const uint32_t* words, int64_t n, const DropLimit& limit) {
    const int32_t a = limit.a;
    const float kept = limit.kept;
    int32_t ties = 0;
    for (int64_t i = 0; i < n; ++i) {
        const int32_t x = static_cast<int32_t>(mt_temper(words[2 * i]) >> 5);
        mask[i] = x > a ? kept : 0.0f;
        ties |= x == a;
    }
    if (ties) {
        for (int64_t i = 0; i < n; ++i) mask[i] = limit.mask(words[2 * i], words[2 * i + 1]);
    }
}

static void dropout_mask(float* mask, int64_t N, double drop, uint32_t* key, int* pos) {
    const DropLimit limit(drop);
    int at = *pos;
    int64_t done = 0;
    while (done < N) {
        if (at >= MT_WORDS) {
            mt_advance(key);
            at = 0;
        }
        int64_t pairs = (MT_WORDS - at) / 2;
        if (pairs > N - done) pairs = N - done;
        mask_of_pairs(mask + done, key + at, pairs, limit);
        done += pairs;
        at += static_cast<int>(2 * pairs);
        if (done < N && at == MT_WORDS - 1) {  // a pair across the border
            const uint32_t first = key[MT_WORDS - 1];
            mt_advance(key);
            mask[done++] = limit.mask(first, key[0]);
            at = 1;
        }
    }
    *pos = at;
}

static void fill_random(KernelTable& table) { table.dropout_mask = dropout_mask; }

}  // namespace THINC_LEVEL
}  // namespace thinc
