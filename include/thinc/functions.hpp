// Functions of one number that are no activations: no layer has them as its output.
#pragma once
#include "config.hpp"
#include "math.hpp"

namespace thinc {

template <typename T>
struct Erf {
    THINC_HD T value(T x) const { return erf(x); }
};

// (1 / cosh(x))^2, x clipped to [-20, 20]: 4 e / (1 + e)^2 with e = exp(-2 |x|).
template <typename T>
struct SquaredSech {
    THINC_HD T value(T x) const {
        const T e = detail::exp_in_range(T(-2) * clip(magnitude(x), T(0), T(20)));
        const T d = T(1) / (T(1) + e);
        return (T(4) * e) * (d * d);
    }
};

// The slopes of sigmoid and tanh, from their values.
template <typename T>
struct SigmoidSlope {
    THINC_HD T value(T y) const { return y * (T(1) - y); }
};

template <typename T>
struct TanhSlope {
    THINC_HD T value(T y) const { return T(1) - y * y; }
};

// -(y log(p + 1e-8) + (1 - y) log(1 - p + 1e-8)): the loss of predicting p where y is true.
template <typename T>
THINC_HD T log_loss(T y, T p) {
    return -(y * log(p + T(1e-8)) + (T(1) - y) * log((T(1) - p) + T(1e-8)));
}

}  // namespace thinc
