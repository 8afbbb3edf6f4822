// Formulas of operations on rows, given the statistics of the row.
#pragma once
#include "config.hpp"
#include "math.hpp"

namespace thinc {

// Backward of softmax at temperature 1 / inverse_temperature; dot = sum of Y dY.
template <typename T>
THINC_HD T softmax_gradient(T y, T dy, T dot, T inverse_temperature) {
    return y * (dy - dot) * inverse_temperature;
}

// Added to the variance in layer normalization.
template <typename T>
THINC_HD T layer_norm_epsilon() {
    return T(1e-8);
}

// Backward of layer normalization (Ba et al. 2016, https://arxiv.org/abs/1607.06450).
// g = dY G, x_hat = (x - mean) rstd; mean_g and mean_gx: means of g and g x_hat.
template <typename T>
THINC_HD T layer_norm_gradient(T g, T x_hat, T mean_g, T mean_gx, T rstd) {
    return rstd * (g - mean_g - x_hat * mean_gx);
}

// Does x take the place of best as maximum? The first of equals stays, and so
// does the first NaN.
template <typename T>
THINC_HD bool replaces_maximum(T x, T best) {
    return !(x <= best) & (best == best);
}

}  // namespace thinc
