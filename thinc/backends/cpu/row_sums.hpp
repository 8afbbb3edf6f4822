// Sums of rows. LANES rows are taken at a time: then one register holds a sum of each, joined
// in few shuffles, and one division or root serves all. For narrow rows these would take longer
// than the rest.
//
// Sums run in many lanes, so their rounding error grows with cols / 64, not with cols.
#pragma once
#include <cstdint>

#include "gemm_tiles.hpp"

namespace thinc {
namespace THINC_LEVEL {
namespace row_sums {

using products::LANES;
using products::load_lanes;
using products::splat;
using products::store_lanes;
using products::V;

// How many rows to take at a time: LANES, or as many as stay in the first cache between two
// passes over them, in `arrays` arrays.
template <typename T>
constexpr int64_t rows_together(int64_t cols, int64_t arrays) {
    constexpr int64_t CACHED = (24 << 10) / static_cast<int64_t>(sizeof(T));
    const int64_t numbers = cols * arrays;
    return numbers * LANES<T> <= CACHED ? LANES<T> : numbers < CACHED ? CACHED / numbers : 1;
}

// v with zeros from lane n on.
template <typename T>
THINC_INLINE V<T> first_lanes(V<T> v, int n) {
    typename products::Register<T>::mask lane;
    for (int j = 0; j < LANES<T>; j++) lane[j] = j;
    return lane < n ? v : V<T>{};
}

// Lane j of the result: the sum of term(c, lanes) over all columns c = j, j + LANES, ...
template <typename T, typename Term>
THINC_INLINE V<T> lane_sums(int64_t cols, Term term) {
    constexpr int L = LANES<T>;
    V<T> sums[4] = {};
    int64_t c = 0;
    for (; c + 4 * L <= cols; c += 4 * L) {
        THINC_UNROLL
        for (int k = 0; k < 4; k++) sums[k] += term(c + k * L, L);
    }
    for (; c + L <= cols; c += L) sums[0] += term(c, L);
    if (c < cols) {
        const int rest = static_cast<int>(cols - c);
        sums[1] += first_lanes<T>(term(c, rest), rest);
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// totals[i] = the sum of the lanes of sums[i], divided. Overwrites sums.
template <typename T>
THINC_INLINE void join(T* totals, V<T>* sums, T divisor) {
    products::reduce<T>(sums);
    products::store(totals, sums[0] / divisor);
}

}  // namespace row_sums
}  // namespace THINC_LEVEL
}  // namespace thinc
