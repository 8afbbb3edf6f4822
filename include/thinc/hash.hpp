// Murmur hashes, after Austin Appleby's public-domain definitions
// (https://github.com/aappleby/smhasher). Each takes its input as
// little-endian bytes, whatever the machine's byte order.
#pragma once
#include "config.hpp"

namespace thinc {

// Both halves of a 128-bit hash. As four 32-bit words: low and high half of h1, then of h2.
struct Hash128 {
    uint64_t h1, h2;
};

THINC_HD uint64_t rotate_left(uint64_t x, int bits) { return (x << bits) | (x >> (64 - bits)); }
THINC_HD uint32_t rotate_left(uint32_t x, int bits) { return (x << bits) | (x >> (32 - bits)); }

// The finalizers of MurmurHash3: every input bit reaches every output bit.
THINC_HD uint64_t murmur3_finish(uint64_t x) {
    x ^= x >> 33;
    x *= uint64_t(0xff51afd7ed558ccd);
    x ^= x >> 33;
    x *= uint64_t(0xc4ceb9fe1a85ec53);
    return x ^ (x >> 33);
}

THINC_HD uint32_t murmur3_finish(uint32_t x) {
    x ^= x >> 16;
    x *= 0x85ebca6bU;
    x ^= x >> 13;
    x *= 0xc2b2ae35U;
    return x ^ (x >> 16);
}

// MurmurHash3_x64_128 of the eight bytes of an id. They are all in the tail that
// follows the 16-byte blocks, which leaves one word to scramble.
THINC_HD Hash128 murmur3_x64_128(uint64_t id, uint32_t seed) {
    const uint64_t length = 8;
    const uint64_t mixed = rotate_left(id * uint64_t(0x87c37b91114253d5), 31);
    const uint64_t k = mixed * uint64_t(0x4cf5ad432745937f);
    uint64_t h1 = k ^ seed ^ length;
    uint64_t h2 = seed ^ length;
    h1 += h2;
    h2 += h1;
    h1 = murmur3_finish(h1);
    h2 = murmur3_finish(h2);
    h1 += h2;
    h2 += h1;
    return {h1, h2};
}

// MurmurHash64A of a run of 64-bit keys: start, absorb each key, finish.
constexpr uint64_t MURMUR64A_FACTOR = uint64_t(0xc6a4a7935bd1e995);

THINC_HD uint64_t murmur64a_start(uint64_t nr_bytes, uint64_t seed) {
    return seed ^ (nr_bytes * MURMUR64A_FACTOR);
}

THINC_HD uint64_t murmur64a_absorb(uint64_t h, uint64_t key) {
    uint64_t k = key * MURMUR64A_FACTOR;
    k ^= k >> 47;
    k *= MURMUR64A_FACTOR;
    return (h ^ k) * MURMUR64A_FACTOR;
}

THINC_HD uint64_t murmur64a_finish(uint64_t h) {
    h ^= h >> 47;
    h *= MURMUR64A_FACTOR;
    return h ^ (h >> 47);
}

// MurmurHash3_x86_32: scramble a block of four bytes and absorb it.
THINC_HD uint32_t murmur3_x86_32_scramble(uint32_t k) {
    return rotate_left(k * 0xcc9e2d51U, 15) * 0x1b873593U;
}

THINC_HD uint32_t murmur3_x86_32_absorb(uint32_t h, uint32_t k) {
    return rotate_left(h ^ murmur3_x86_32_scramble(k), 13) * 5 + 0xe6546b64U;
}

// MurmurHash3_x86_32 of the eight bytes of a key.
THINC_HD uint32_t murmur3_x86_32(uint64_t key, uint32_t seed) {
    uint32_t h = murmur3_x86_32_absorb(seed, static_cast<uint32_t>(key));
    h = murmur3_x86_32_absorb(h, static_cast<uint32_t>(key >> 32));
    return murmur3_finish(h ^ 8U);
}

// MurmurHash3_x86_32 of any bytes; of these, fewer than 2^32 (the hash itself
// only knows the length modulo that).
THINC_HD uint32_t murmur3_x86_32(const uint8_t* bytes, uint64_t nr_bytes, uint32_t seed) {
    uint32_t h = seed;
    uint64_t i = 0;
    for (; i + 4 <= nr_bytes; i += 4) {
        const uint32_t k = static_cast<uint32_t>(bytes[i]) | static_cast<uint32_t>(bytes[i + 1]) << 8 |
                           static_cast<uint32_t>(bytes[i + 2]) << 16 |
                           static_cast<uint32_t>(bytes[i + 3]) << 24;
        h = murmur3_x86_32_absorb(h, k);
    }
    uint32_t tail = 0;
    for (int shift = 0; i < nr_bytes; ++i, shift += 8) tail |= static_cast<uint32_t>(bytes[i]) << shift;
    h ^= murmur3_x86_32_scramble(tail);  // of an empty tail: zero
    return murmur3_finish(h ^ static_cast<uint32_t>(nr_bytes));
}

// x mod divisor without a division: Granlund and Montgomery, "Division by
// Invariant Integers using Multiplication" (1994), figure 4.1, for 32 bits.
//
// Let l = ceil(log2 d), m = 2^32 + factor = floor(2^(32+l) / d) + 1. Then
// m d = 2^(32+l) + e with 0 < e <= d <= 2^l, which by their theorem 4.2 makes
// floor(m x / 2^(32+l)) the quotient floor(x / d) of every 0 <= x < 2^32.
// m has 33 bits; its top bit is added as x, halved on the way so that the sum fits.
struct Modulo {
    uint32_t divisor, factor;
    int shift1, shift2;

    // divisor > 0
    THINC_HD explicit Modulo(uint32_t d) : divisor(d) {
        int l = 0;
        while (l < 32 && (uint64_t(1) << l) < d) ++l;
        factor = static_cast<uint32_t>(((((uint64_t(1) << l) - d) << 32) / d) + 1);
        shift1 = l > 0 ? 1 : 0;
        shift2 = l > 0 ? l - 1 : 0;
    }

    THINC_HD uint32_t operator()(uint32_t x) const {
        const uint32_t high = static_cast<uint32_t>((static_cast<uint64_t>(factor) * x) >> 32);
        const uint32_t quotient = (high + ((x - high) >> shift1)) >> shift2;
        return x - quotient * divisor;
    }
};

}  // namespace thinc
