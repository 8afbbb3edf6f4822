// The updates of one weight. What surrounds the algorithm is common to all:
// the gradient is scaled and given its L2 term before, decay and the moving
// average of the weights follow after.
#pragma once
#include "config.hpp"

namespace thinc {

// Adam, Kingma and Ba 2015 (https://arxiv.org/abs/1412.6980). learn_rate includes
// the bias correction. rest1 and rest2 are 1 - beta1 and 1 - beta2, which a float holds
// more precisely than a difference from a rounded beta. Returns the new weight.
template <typename T>
struct Adam {
    T rest1, rest2, eps, learn_rate;

    THINC_HD T step(T w, T gradient, T& m, T& v) const {
        update_moments(gradient, m, v);
        return w - learn_rate * m / (square_root(v) + eps);
    }

    // The first steps of RAdam (Liu et al. 2020, https://arxiv.org/abs/1908.03265), when
    // the second moment is not yet to be trusted: along the first alone.
    THINC_HD T step_along_momentum(T w, T gradient, T& m, T& v) const {
        update_moments(gradient, m, v);
        return w - learn_rate * m;
    }

    THINC_HD void update_moments(T gradient, T& m, T& v) const {
        m = (T(1) - rest1) * m + rest1 * gradient;
        v = (T(1) - rest2) * v + rest2 * gradient * gradient;
    }
};

template <typename T>
struct Sgd {
    T learn_rate;

    THINC_HD T step(T w, T gradient) const { return w - learn_rate * gradient; }
};

template <typename T>
struct Surroundings {
    T gradient_scale, l2, decay, ema_rate;

    THINC_HD T full_gradient(T w, T gradient) const { return gradient * gradient_scale + l2 * w; }
    THINC_HD T decayed(T w) const { return w - decay * w; }
    THINC_HD T averaged(T average, T w) const { return average - ema_rate * (average - w); }
};

}  // namespace thinc
