// Activations: value(x), and slope(z), the derivative, where z is the activation's
// input, or its output where that says enough (sigmoid, relu, tanh). NaN stays NaN.
// Values agree with thinc 8.3, hence the clipping at 20 in sigmoid and swish.
#pragma once
#include "config.hpp"
#include "math.hpp"

namespace thinc {

template <typename T>
struct Sigmoid {
    THINC_HD T value(T x) const { return sigmoid(x); }
    THINC_HD T slope(T y) const { return y * (T(1) - y); }
};

// max(x, 0); zero is positive.
template <typename T>
struct Relu {
    THINC_HD T value(T x) const { return x <= T(0) ? T(0) : x; }
    THINC_HD T slope(T y) const { return y <= T(0) ? T(0) : T(1); }
};

// min(max(slope * x + offset, min_val), max_val). The derivative is zero at the
// corners and at NaN.
template <typename T>
struct ClippedLinear {
    T factor, offset, min_val, max_val;
    T low, high;  // the inputs between which the line rises or falls

    THINC_HD ClippedLinear(T slope, T offset_, T min_val_, T max_val_)
        : factor(slope), offset(offset_), min_val(min_val_), max_val(max_val_),
          low(((slope < T(0) ? max_val_ : min_val_) - offset_) / slope),
          high(((slope < T(0) ? min_val_ : max_val_) - offset_) / slope) {}

    THINC_HD T value(T x) const { return clip(factor * x + offset, min_val, max_val); }
    THINC_HD T slope(T x) const { return ((low < x) & (x < high)) ? factor : T(0); }
};

// x sigmoid(x), Ramachandran et al. 2017 (https://arxiv.org/abs/1710.05941).
template <typename T>
struct Swish {
    THINC_HD T value(T x) const {
        return x / (T(1) + detail::exp_in_range(-clip(x, T(-20), T(20))));
    }
    THINC_HD T slope(T x) const {
        T s = sigmoid(x);
        T y = x * s;
        return s + y * (T(1) - s);  // y + s (1 - y) would lose s beside a large y
    }
};

// x times the line 0.2 x + 0.5 clipped to [0, 1]. At +-2.5 the slope is that of
// the parabola.
template <typename T>
struct HardSwish {
    THINC_HD T value(T x) const { return x * clip(x * T(0.2) + T(0.5), T(0), T(1)); }
    THINC_HD T slope(T x) const {
        T inside = x * T(0.4) + T(0.5);
        T s = x > T(2.5) ? T(1) : inside;
        return x < T(-2.5) ? T(0) : s;
    }
};

// x relu6(x + 3) / 6, Howard et al. 2019 (https://arxiv.org/abs/1905.02244).
template <typename T>
struct HardSwishMobilenet {
    THINC_HD T value(T x) const { return x * (clip(x + T(3), T(0), T(6)) * T(1. / 6)); }
    THINC_HD T slope(T x) const {
        T inside = (x * T(2) + T(3)) * T(1. / 6);
        T s = x > T(3) ? T(1) : inside;
        return x < T(-3) ? T(0) : s;
    }
};

// x / 2 (x / sqrt(1 + x^2) + 1): the shape of swish without exp.
//
// With h = sqrt(1 + x^2), 1 + x/h is written 1/(h (h - x)) for negative x, where it
// is the difference of two nearly equal numbers.
template <typename T>
struct Dish {
    THINC_HD T value(T x) const {
        const Parts p = parts(x);
        return x < T(0) ? T(0.5) * p.sine / (p.h + p.size) : T(0.5) * x * (T(1) + p.sine);
    }
    THINC_HD T slope(T x) const {
        const Parts p = parts(x);
        const T cosine = T(1) / p.h;
        const T one_plus_sine = x < T(0) ? cosine / (p.h + p.size) : T(1) + p.sine;
        return T(0.5) * (one_plus_sine + p.sine * cosine * cosine);
    }

private:
    struct Parts {
        T size, h, sine;  // |x|, sqrt(1 + x^2), x / h
    };
    static THINC_HD Parts parts(T x) {
        const T size = x < T(0) ? -x : x;
        // Beyond, h is |x| in either precision, and x^2 may overflow.
        const bool huge = size > T(1e9);
        const T near = huge ? T(0) : x;
        const T h = square_root(T(1) + near * near);
        const T sign = x < T(0) ? T(-1) : T(1);
        return {size, huge ? size : h, huge ? sign : near / h};
    }
};

// x P(Z <= x), Hendrycks and Gimpel 2016 (https://arxiv.org/abs/1606.08415).
template <typename T>
struct Gelu {
    THINC_HD T value(T x) const { return x * normal(x).cdf; }
    THINC_HD T slope(T x) const {
        Normal<T> n = normal(x);
        return n.cdf + x * (n.decay * T(0.39894228040143268));  // 1 / sqrt(2 pi)
    }
};

// Their approximation x (1 + tanh u) / 2, u = sqrt(2 / pi) (x + 0.044715 x^3),
// written with (1 + tanh u) / 2 = 1 / (1 + exp(-2u)).
template <typename T>
struct GeluApprox {
    THINC_HD T value(T x) const {
        T minus_2u = x * (T(-1.5957691216057308) + x * x * T(-0.071354816272600253));
        return x / (T(1) + exp(minus_2u));
    }
    THINC_HD T slope(T x) const {
        x = clip(x, T(-10), T(10));  // the slope is constant beyond; du would overflow
        T u = x * (T(0.7978845608028654) + x * x * T(0.035677408136300127));
        T du = T(0.7978845608028654) + x * x * T(0.10703222440890038);
        T e = detail::exp_in_range(T(-2) * clip(magnitude(u), T(0), T(20)));
        T d = T(1) / (T(1) + e);
        T half_one_plus_tanh = u < T(0) ? e * d : d;
        return half_one_plus_tanh + x * du * (T(2) * e * d * d);
    }
};

// x tanh(log(1 + exp(x))), Misra 2019 (https://arxiv.org/abs/1908.08681), and x
// itself from the threshold on. With e = exp(x), tanh(log(1 + e)) is rational in e:
// n / (n + 2), n = e (e + 2). Above 20 the rounded results no longer change.
template <typename T>
struct Mish {
    T threshold;

    THINC_HD T value(T x) const {
        T e = exp(x < T(20) ? x : T(20));
        T n = e * (e + T(2));
        return x < threshold ? x * (n / (n + T(2))) : x;
    }
    // A NaN counts as beyond the threshold, where the gradient passes.
    THINC_HD T slope(T x) const {
        T s = x < T(20) ? x : T(20);
        T e = exp(s);
        T d = e * (e + T(2)) + T(2);
        T omega = T(4) * s * (T(1) + e) + (T(4) + e * (T(6) + e * (T(4) + e)));
        return x < threshold ? e * omega / (d * d) : T(1);
    }
};

template <typename T>
struct Tanh {
    THINC_HD T value(T x) const { return tanh(x); }
    THINC_HD T slope(T y) const { return T(1) - y * y; }
};

template <typename T>
struct Identity {
    THINC_HD T value(T x) const { return x; }
    THINC_HD T slope(T) const { return T(1); }
};

// The chain rule: dY f'(z).
template <typename Op, typename T>
THINC_HD T times_slope(const Op& op, T dY, T z) {
    return dY * op.slope(z);
}

// Where the output is zero nothing passes, not even a NaN.
template <typename T>
THINC_HD T times_slope(const Relu<T>&, T dY, T y) {
    return y <= T(0) ? T(0) : dY;
}

}  // namespace thinc
