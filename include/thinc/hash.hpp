// Murmur hashes, after Austin Appleby's public-domain definitions
// (https://github.com/aappleby/smhasher). Each takes its input as
// little-endian bytes, whatever the machine's byte order.
#pragma once
#include "config.hpp"

namespace thinc {

// Not <cstdint>'s types: NVRTC has none.
using Word32 = unsigned int;
using Word64 = unsigned long long;

// Both halves of a 128-bit hash. As four 32-bit words: low and high half of h1, then of h2.
struct Hash128 {
    Word64 h1, h2;
};

THINC_HD Word64 rotate_left(Word64 x, int bits) { return (x << bits) | (x >> (64 - bits)); }
THINC_HD Word32 rotate_left(Word32 x, int bits) { return (x << bits) | (x >> (32 - bits)); }

// The finalizers of MurmurHash3: every input bit reaches every output bit.
THINC_HD Word64 murmur3_finish(Word64 x) {
    x ^= x >> 33;
    x *= Word64(0xff51afd7ed558ccd);
    x ^= x >> 33;
    x *= Word64(0xc4ceb9fe1a85ec53);
    return x ^ (x >> 33);
}

THINC_HD Word32 murmur3_finish(Word32 x) {
    x ^= x >> 16;
    x *= 0x85ebca6bU;
    x ^= x >> 13;
    x *= 0xc2b2ae35U;
    return x ^ (x >> 16);
}

// MurmurHash3_x64_128 of the eight bytes of an id. They are all in the tail that
// follows the 16-byte blocks, which leaves one word to scramble.
THINC_HD Hash128 murmur3_x64_128(Word64 id, Word32 seed) {
    const Word64 length = 8;
    const Word64 mixed = rotate_left(id * Word64(0x87c37b91114253d5), 31);
    const Word64 k = mixed * Word64(0x4cf5ad432745937f);
    Word64 h1 = k ^ seed ^ length;
    Word64 h2 = seed ^ length;
    h1 += h2;
    h2 += h1;
    h1 = murmur3_finish(h1);
    h2 = murmur3_finish(h2);
    h1 += h2;
    h2 += h1;
    return {h1, h2};
}

// MurmurHash64A of a run of 64-bit keys: start, absorb each key, finish.
constexpr Word64 MURMUR64A_FACTOR = Word64(0xc6a4a7935bd1e995);

THINC_HD Word64 murmur64a_start(Word64 nr_bytes, Word64 seed) {
    return seed ^ (nr_bytes * MURMUR64A_FACTOR);
}

THINC_HD Word64 murmur64a_absorb(Word64 h, Word64 key) {
    Word64 k = key * MURMUR64A_FACTOR;
    k ^= k >> 47;
    k *= MURMUR64A_FACTOR;
    return (h ^ k) * MURMUR64A_FACTOR;
}

THINC_HD Word64 murmur64a_finish(Word64 h) {
    h ^= h >> 47;
    h *= MURMUR64A_FACTOR;
    return h ^ (h >> 47);
}

// MurmurHash3_x86_32: scramble a block of four bytes and absorb it.
THINC_HD Word32 murmur3_x86_32_scramble(Word32 k) {
    return rotate_left(k * 0xcc9e2d51U, 15) * 0x1b873593U;
}

THINC_HD Word32 murmur3_x86_32_absorb(Word32 h, Word32 k) {
    return rotate_left(h ^ murmur3_x86_32_scramble(k), 13) * 5 + 0xe6546b64U;
}

// MurmurHash3_x86_32 of the eight bytes of a key.
THINC_HD Word32 murmur3_x86_32(Word64 key, Word32 seed) {
    Word32 h = murmur3_x86_32_absorb(seed, static_cast<Word32>(key));
    h = murmur3_x86_32_absorb(h, static_cast<Word32>(key >> 32));
    return murmur3_finish(h ^ 8U);
}

// MurmurHash3_x86_32 of any bytes; of these, fewer than 2^32 (the hash itself
// only knows the length modulo that).
THINC_HD Word32 murmur3_x86_32(const unsigned char* bytes, Word64 nr_bytes, Word32 seed) {
    Word32 h = seed;
    Word64 i = 0;
    for (; i + 4 <= nr_bytes; i += 4) {
        const Word32 k = static_cast<Word32>(bytes[i]) | static_cast<Word32>(bytes[i + 1]) << 8 |
                           static_cast<Word32>(bytes[i + 2]) << 16 |
                           static_cast<Word32>(bytes[i + 3]) << 24;
        h = murmur3_x86_32_absorb(h, k);
    }
    Word32 tail = 0;
    for (int shift = 0; i < nr_bytes; ++i, shift += 8) tail |= static_cast<Word32>(bytes[i]) << shift;
    h ^= murmur3_x86_32_scramble(tail);  // of an empty tail: zero
    return murmur3_finish(h ^ static_cast<Word32>(nr_bytes));
}

// x mod divisor without a division: Granlund and Montgomery, "Division by
// Invariant Integers using Multiplication" (1994), figure 4.1, for 32 bits.
//
// Let l = ceil(log2 d), m = 2^32 + factor = floor(2^(32+l) / d) + 1. Then
// m d = 2^(32+l) + e with 0 < e <= d <= 2^l, which by their theorem 4.2 makes
// floor(m x / 2^(32+l)) the quotient floor(x / d) of every 0 <= x < 2^32.
// m has 33 bits; its top bit is added as x, halved on the way so that the sum fits.
struct Modulo {
    Word32 divisor, factor;
    int shift1, shift2;

    // divisor > 0
    THINC_HD explicit Modulo(Word32 d) : divisor(d) {
        int l = 0;
        while (l < 32 && (Word64(1) << l) < d) ++l;
        factor = static_cast<Word32>(((((Word64(1) << l) - d) << 32) / d) + 1);
        shift1 = l > 0 ? 1 : 0;
        shift2 = l > 0 ? l - 1 : 0;
    }

    THINC_HD Word32 operator()(Word32 x) const {
        const Word32 high = static_cast<Word32>((static_cast<Word64>(factor) * x) >> 32);
        const Word32 quotient = (high + ((x - high) >> shift1)) >> shift2;
        return x - quotient * divisor;
    }
};

}  // namespace thinc
