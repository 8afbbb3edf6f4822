// Formulas from kernel arguments, which are doubles.
#pragma once
#include "thinc/activations.hpp"

namespace thinc {

template <template <typename> class Op, typename C>
struct MakeFormula {
    static THINC_HD Op<C> from(double, double, double, double) { return Op<C>(); }
};

template <typename C>
struct MakeFormula<ClippedLinear, C> {
    static THINC_HD ClippedLinear<C> from(double slope, double offset, double low, double high) {
        return ClippedLinear<C>(C(slope), C(offset), C(low), C(high));
    }
};

template <typename C>
struct MakeFormula<Mish, C> {
    static THINC_HD Mish<C> from(double threshold, double, double, double) {
        return Mish<C>{C(threshold)};
    }
};

}  // namespace thinc
