// Random numbers without state: a counter goes in, random words come out, so that any
// thread can make any element's number, and make it again in the backward pass.
#pragma once
#include "config.hpp"
#include "hash.hpp"

namespace thinc {

struct Words4 {
    Word32 at[4];
};

// Philox4x32-10, Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as
// 1, 2, 3" (2011). A stream is a key (seed) and the upper half of the counter.
THINC_HD Words4 philox4x32(Word64 block, Word64 stream, Word64 seed) {
    Word32 c0 = static_cast<Word32>(block), c1 = static_cast<Word32>(block >> 32);
    Word32 c2 = static_cast<Word32>(stream), c3 = static_cast<Word32>(stream >> 32);
    Word32 k0 = static_cast<Word32>(seed), k1 = static_cast<Word32>(seed >> 32);
    for (int round = 0; round < 10; ++round) {
        const Word64 p0 = Word64(0xD2511F53u) * c0;
        const Word64 p1 = Word64(0xCD9E8D57u) * c2;
        c0 = static_cast<Word32>(p1 >> 32) ^ c1 ^ k0;
        c1 = static_cast<Word32>(p1);
        c2 = static_cast<Word32>(p0 >> 32) ^ c3 ^ k1;
        c3 = static_cast<Word32>(p0);
        k0 += 0x9E3779B9u;  // the golden ratio, and the root of three
        k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

// Whether an element is dropped, decided by one random word: probability drop, to within
// 2^-32. 0 < drop < 1.
template <typename T>
struct Dropout {
    Word64 limit;  // a smaller word drops
    T kept;        // what the others are multiplied with

    THINC_HD explicit Dropout(double drop) : kept(static_cast<T>(1.0 / (1.0 - drop))) {
        const double scaled = drop * 4294967296.0;
        limit = static_cast<Word64>(scaled);
        if (static_cast<double>(limit) < scaled) ++limit;
    }

    THINC_HD T mask(Word32 word) const { return word < limit ? T(0) : kept; }
};

}  // namespace thinc
