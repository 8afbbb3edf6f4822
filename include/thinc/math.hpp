// Elementary functions without branches or tables, so that compilers vectorize
// the loops around them. The same arithmetic runs on the host and on CUDA.
//
// Largest error, measured against extended precision (tests/backends/
// test_math_accuracy.py), in ulp of the result, float and double:
//   exp            1.5   subnormal results included; 0, inf, NaN as in C
//   sigmoid        3     after its argument is clipped to [-20, 20]
//   tanh           3     sign of zero kept
//   normal_cdf     5     both tails, down to the smallest normal result
//   erf            2     sign of zero kept
//   log            1.5   0, subnormal numbers, negative ones, inf, NaN as in C
#pragma once
#include "config.hpp"

namespace thinc {

// Limits that keep a NaN: neither comparison holds for it.
template <typename T>
THINC_HD T clip(T x, T low, T high) {
    x = x < low ? low : x;
    return x > high ? high : x;
}

template <typename T>
THINC_HD T magnitude(T x) {
    using UInt = typename FloatBits<T>::UInt;
    return from_bits(UInt(to_bits(x) & (~UInt(0) >> 1)));
}

// |x| with the sign of sign_of.
template <typename T>
THINC_HD T with_sign(T x, T sign_of) {
    using UInt = typename FloatBits<T>::UInt;
    const UInt sign = ~(~UInt(0) >> 1);
    return from_bits(UInt((to_bits(x) & ~sign) | (to_bits(sign_of) & sign)));
}

// Coefficients from the constant term up. Horner's scheme in x^2 over pairs of
// coefficients: half as long a chain of dependent operations as in x.
template <typename T>
THINC_HD T polynomial_of_pairs(T, T, T c0) {
    return c0;
}

template <typename T>
THINC_HD T polynomial_of_pairs(T x, T, T c0, T c1) {
    return c0 + x * c1;
}

template <typename T, typename... Rest>
THINC_HD T polynomial_of_pairs(T x, T x2, T c0, T c1, Rest... rest) {
    return (c0 + x * c1) + x2 * polynomial_of_pairs(x, x2, rest...);
}

template <typename T, typename... Coefficients>
THINC_HD T polynomial(T x, Coefficients... c) {
    return polynomial_of_pairs(x, x * x, c...);
}

namespace detail {

template <typename T>
THINC_HD T infinity() {
    using UInt = typename FloatBits<T>::UInt;
    return from_bits(UInt(UInt(2 * FloatBits<T>::BIAS + 1) << FloatBits<T>::MANTISSA));
}

template <typename T>
THINC_HD T not_a_number() {
    using UInt = typename FloatBits<T>::UInt;
    return from_bits(UInt(to_bits(infinity<T>()) | (UInt(1) << (FloatBits<T>::MANTISSA - 1))));
}

// 1.5 * 2^MANTISSA: adding it leaves the nearest integer in the low bits.
template <typename T>
THINC_HD T rounder() {
    return T(1ull << FloatBits<T>::MANTISSA) * T(1.5);
}

template <typename T>
THINC_HD typename FloatBits<T>::UInt integer_of(T rounded) {
    return to_bits(rounded) - to_bits(rounder<T>());
}

// 2^n for n (two's complement) in the range of normal numbers.
template <typename T>
THINC_HD T power_of_two(typename FloatBits<T>::UInt n) {
    using UInt = typename FloatBits<T>::UInt;
    return from_bits(UInt((n + UInt(FloatBits<T>::BIAS)) << FloatBits<T>::MANTISSA));
}

THINC_HD float minus_multiple_of_ln2(float x, float n) {
    return (x - n * 0.693359375f) + n * 2.12194440e-4f;
}
THINC_HD double minus_multiple_of_ln2(double x, double n) {
    return (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
}

// exp(r) - 1 for |r| <= ln(2) / 2: r + r^2 q(r), q interpolated at Chebyshev nodes.
THINC_HD float expm1_reduced(float r) {
    return r + r * r * polynomial(r, 0.5f, 0.166665769896987757f, 0.0416665546172045742f,
                                  0.00836317905272257737f, 0.00139261835877134945f);
}
THINC_HD double expm1_reduced(double r) {
    return r + r * r * polynomial(r, 0.5, 0.16666666666666671, 0.0416666666666666698,
                                  0.00833333333332613513, 0.00138888888888837483,
                                  0.000198412698748206253, 0.0000248015873255477412,
                                  2.75572554002064244e-6, 2.75572736431102953e-7,
                                  2.51052170047207452e-8, 2.09146869680868772e-9);
}

// Arguments beyond which exp is 0 or infinite.
THINC_HD float clip_exp(float x) { return clip(x, -104.0f, 89.0f); }
THINC_HD double clip_exp(double x) { return clip(x, -746.0, 710.0); }

// exp(x + low), |low| small against 1, x within the limits above.
template <typename T>
THINC_HD T exp_of_sum(T x, T low) {
    T rounded = x * T(1.4426950408889634) + rounder<T>();
    T n = rounded - rounder<T>();
    T p = expm1_reduced(minus_multiple_of_ln2(x, n) + low);
    // In two steps: 2^n itself may be out of range while the result is not.
    auto half = integer_of<T>(n * T(0.5) + rounder<T>());
    auto rest = integer_of<T>(rounded) - half;
    return (p + T(1)) * power_of_two<T>(half) * power_of_two<T>(rest);
}

// exp(x) where it is known to be neither subnormal nor infinite (or NaN).
template <typename T>
THINC_HD T exp_in_range(T x) {
    T rounded = x * T(1.4426950408889634) + rounder<T>();
    T p = expm1_reduced(minus_multiple_of_ln2(x, rounded - rounder<T>()));
    T scale = power_of_two<T>(integer_of<T>(rounded));
    return scale + scale * p;
}

// erf(x) / x - 1 as a polynomial in x^2, for |x| <= 1.
THINC_HD float erf_quotient(float square) {
    return polynomial(square, 0.12837916584835095f, -0.37612626666720331f, 0.112835947151602177f,
                      -0.0268542120106264124f, 0.00518908742343397399f, -0.000801686428716586953f,
                      0.0000787587506268548834f);
}
THINC_HD double erf_quotient(double square) {
    return polynomial(square, 0.12837916709551257, -0.376126389031837481, 0.112837916709548787,
                      -0.0268661706450767932, 0.00522397762481801447, -0.000854832698083378991,
                      0.000120553311116427109, -0.0000149255952668311816, 1.6461000484121368e-6,
                      -1.6350312701054695e-7, 1.46597752740474358e-8, -1.13728488567916737e-9,
                      5.9571761477489114e-11);
}

// 2 atanh(s) = 2 s + s^3 q(s^2) for |s| <= (sqrt(2) - 1) / (sqrt(2) + 1).
THINC_HD float atanh_series(float square) {
    return polynomial(square, 0.666666665544970916f, 0.400001218398061267f, 0.285508208159606633f,
                      0.233304672163038363f);
}
THINC_HD double atanh_series(double square) {
    return polynomial(square, 0.666666666666666969, 0.399999999998995045, 0.285714286259754849,
                      0.222222111347950799, 0.181828891252617221, 0.153317216005560413,
                      0.146164496850434059);
}

// ln(2) in two parts, the first of few enough bits that its multiples are exact.
THINC_HD float ln2_high(float) { return 0.693359375f; }
THINC_HD float ln2_low(float) { return -2.12194440e-4f; }
THINC_HD double ln2_high(double) { return 6.93147180369123816490e-01; }
THINC_HD double ln2_low(double) { return 1.90821492927058770002e-10; }

// Below this exp is subnormal.
THINC_HD float normal_exp_limit(float) { return -87.3365f; }
THINC_HD double normal_exp_limit(double) { return -708.39641; }

// From here on tanh rounds to one, and exp(-x^2 / 2) to zero.
THINC_HD float tanh_limit(float) { return 10.0f; }
THINC_HD double tanh_limit(double) { return 20.0; }
THINC_HD float normal_limit(float) { return 15.0f; }
THINC_HD double normal_limit(double) { return 39.0; }

// (a + 4) exp(a^2 / 2) P(Z > a) as a polynomial in t = (a - 4) / (a + 4), Z normal,
// for 0 <= a <= normal_limit. The scaling leaves a function without decay.
THINC_HD float scaled_tail(float t) {
    return polynomial(t, 0.7552851386f, -0.6078965941f, 0.3871366831f, -0.1865233068f,
                      0.06040618551f, -0.007525402418f, -0.003520972824f, 0.001566881688f,
                      0.0001889965194f, -0.0001255583856f);
}
THINC_HD double scaled_tail(double t) {
    return polynomial(
        t, 0.75528513041575148, -0.607896641971891759, 0.387137400742218879, -0.186521857959694163,
        0.0603965748906994641, -0.00754018896559305902, -0.00347969236224253334,
        0.0016308184418903596, 0.000133344254019049116, -0.000231094818319376211,
        -1.90786653166135743e-6, 0.0000351441811577609727, 7.15005595921609866e-7,
        -5.91889273176323645e-6, -6.25132104047868019e-7, 1.01980485181351727e-6,
        2.63682485764076251e-7, -1.54263205367710739e-7, -7.63808205349045035e-8,
        1.45785933470364597e-8, 1.39240239935017101e-8, 7.26954547902668946e-11,
        -9.65342542022850467e-10);
}

}  // namespace detail

template <typename T>
THINC_HD T exp(T x) {
    return detail::exp_of_sum(detail::clip_exp(x), T(0));
}

// exp(x) for x <= 0 (or NaN); zero where it would be subnormal.
template <typename T>
THINC_HD T exp_below_one(T x) {
    T y = detail::exp_in_range(x);
    return x < detail::normal_exp_limit(x) ? T(0) : y;
}

// 1 / (1 + exp(-x)), x clipped to [-20, 20].
template <typename T>
THINC_HD T sigmoid(T x) {
    return T(1) / (T(1) + detail::exp_in_range(-clip(x, T(-20), T(20))));
}

// (e - 1) / (e + 1) with e = exp(2 |x|); e - 1 is formed without cancellation.
template <typename T>
THINC_HD T tanh(T x) {
    T a = magnitude(x);
    a = a > detail::tanh_limit(a) ? detail::tanh_limit(a) : a;
    T rounded = a * T(2 * 1.4426950408889634) + detail::rounder<T>();
    T n = rounded - detail::rounder<T>();
    T p = detail::expm1_reduced(detail::minus_multiple_of_ln2(T(2) * a, n));
    T scale = detail::power_of_two<T>(detail::integer_of<T>(rounded));
    T expm1 = scale * p + (scale - T(1));
    return with_sign(expm1 / (expm1 + T(2)), x);
}

// P(Z <= x) of a standard normal Z, that is (1 + erf(x / sqrt(2))) / 2, and the
// factor exp(-x^2 / 2) of its density, which is needed on the way.
template <typename T>
struct Normal {
    T cdf;
    T decay;
};

// P(Z > a) for a >= 0, in place of the cdf.
template <typename T>
THINC_HD Normal<T> normal_tail(T a) {
    using UInt = typename FloatBits<T>::UInt;
    a = a > detail::normal_limit(a) ? detail::normal_limit(a) : a;
    // a^2 in two parts: an error in the exponent would be multiplied by a^2.
    T high = from_bits(UInt(to_bits(a) & (~UInt(0) << (FloatBits<T>::MANTISSA / 2 + 1))));
    T decay = detail::exp_of_sum(T(-0.5) * high * high, T(-0.5) * (a - high) * (a + high));
    T u = T(1) / (a + T(4));
    return {detail::scaled_tail((a - T(4)) * u) * u * decay, decay};
}

template <typename T>
THINC_HD Normal<T> normal(T x) {
    Normal<T> tail = normal_tail(magnitude(x));
    return {x < T(0) ? tail.cdf : T(1) - tail.cdf, tail.decay};
}

// The error function: 1 - 2 P(Z > |x| sqrt(2)) with the sign of x, and near zero, where
// that has no relative precision, a polynomial.
template <typename T>
THINC_HD T erf(T x) {
    T a = magnitude(x);
    T near = x + x * detail::erf_quotient(x * x);
    T far = T(1) - T(2) * normal_tail(a * T(1.4142135623730951)).cdf;
    return a < T(1) ? near : with_sign(far, x);
}

// The natural logarithm. x = 2^e m with m in [sqrt(1/2), sqrt(2)); log(m) = 2 atanh(s),
// s = (m - 1) / (m + 1), arranged so that m - 1 enters without rounding.
template <typename T>
THINC_HD T log(T x) {
    using Bits = FloatBits<T>;
    using UInt = typename Bits::UInt;
    const T smallest = detail::power_of_two<T>(UInt(1) - UInt(Bits::BIAS));
    const bool subnormal = x < smallest;
    const T normal = subnormal ? x * detail::power_of_two<T>(UInt(Bits::MANTISSA)) : x;
    // Adding this makes the exponent change at sqrt(2) in place of 2.
    const UInt offset = to_bits(T(1)) - to_bits(T(0.70710678118654752));
    const UInt exponent = (to_bits(normal) + offset) >> Bits::MANTISSA;
    const T m = from_bits(UInt(to_bits(normal) - ((exponent - UInt(Bits::BIAS)) << Bits::MANTISSA)));
    // The exponent as a number, from the low bits of 2^MANTISSA.
    const T shift = T(UInt(1) << Bits::MANTISSA);
    T e = from_bits(UInt(to_bits(shift) | exponent)) - (shift + T(Bits::BIAS));
    e = subnormal ? e - T(Bits::MANTISSA) : e;
    const T f = m - T(1);
    const T s = f / (m + T(1));
    const T square = s * s;
    const T half_f2 = T(0.5) * f * f;
    const T rest = s * (half_f2 + square * detail::atanh_series(square)) + e * detail::ln2_low(e);
    T y = (f - (half_f2 - rest)) + e * detail::ln2_high(e);
    y = x == T(0) ? -detail::infinity<T>() : y;
    y = x < T(0) ? detail::not_a_number<T>() : y;
    return x < detail::infinity<T>() ? y : x;  // infinity and NaN stay what they are
}

}  // namespace thinc
