"""The activation functions and their slopes, in array language.

These are the reference that compiled kernels are compared with: each function
takes the array module first and works at any floating precision, extended
precision included. Backends look formulas up by `name`; the order of FORMULAS
is the order of `enum Activation` in cpu/kernel_table.hpp.
"""

import math
from typing import Any, Callable, Dict, NamedTuple, Tuple

SQRT_2 = math.sqrt(2.0)
SQRT_PI = math.sqrt(math.pi)
SQRT_2_OVER_PI = math.sqrt(2.0 / math.pi)
SIGMOID_LIMIT = 20.0
GELU_CUBIC = 0.044715


class Formula(NamedTuple):
    """An activation function.

    value(xp, X, *params): the function, element by element.
    slope(xp, Z, *params): its derivative, as a function of the input X or,
        where slope_of is "Y", of the function's value.
    defaults: the parameters' default values.
    """

    name: str
    value: Callable[..., Any]
    slope: Callable[..., Any]
    slope_of: str = "X"
    defaults: Tuple[float, ...] = ()


def logistic(xp, X):
    """1 / (1 + exp(-x)), x limited to [-20, 20]."""
    return 1.0 / (1.0 + xp.exp(-xp.clip(X, -SIGMOID_LIMIT, SIGMOID_LIMIT)))


def logistic_slope(xp, Y):
    return Y * (1.0 - Y)


def relu(xp, X):
    # A selection, because x * (x > 0) is NaN for -inf. NaN stays NaN.
    return xp.where(X <= 0, X.dtype.type(0), X)


def relu_slope(xp, Y):
    return xp.where(Y <= 0, Y.dtype.type(0), Y.dtype.type(1))


def clipped_linear(xp, X, slope, offset, min_val, max_val):
    """min(max(slope * x + offset, min_val), max_val)"""
    return xp.minimum(xp.maximum(X * slope + offset, min_val), max_val)


def clipped_linear_slope(xp, X, slope, offset, min_val, max_val):
    if slope == 0:
        return xp.zeros_like(X)
    # A negative slope exchanges the ends of the open interval.
    low, high = sorted(((min_val - offset) / slope, (max_val - offset) / slope))
    if min_val > max_val:
        return xp.zeros_like(X)
    return xp.logical_and(low < X, X < high) * X.dtype.type(slope)


def swish(xp, X):
    """x * logistic(x). Ramachandran et al. (2017), arXiv:1710.05941."""
    return X * logistic(xp, X)


def swish_slope(xp, X):
    L = logistic(xp, X)
    Y = X * L
    return Y + L * (1.0 - Y)


def hard_swish(xp, X):
    """x * hard_sigmoid(x)"""
    return X * clipped_linear(xp, X, 0.2, 0.5, 0.0, 1.0)


def hard_swish_slope(xp, X):
    return _ramp_slope(xp, X, 2.5, 0.4 * X + 0.5)


def hard_swish_mobilenet(xp, X):
    """x * min(max(x + 3, 0), 6) / 6. Howard et al. (2019), arXiv:1905.02244."""
    return X * (clipped_linear(xp, X, 1.0, 3.0, 0.0, 6.0) / 6.0)


def hard_swish_mobilenet_slope(xp, X):
    return _ramp_slope(xp, X, 3.0, (X * 2.0 + 3.0) / 6.0)


def _ramp_slope(xp, X, limit, inside):
    zero, one = inside.dtype.type(0), inside.dtype.type(1)
    return xp.where(X > limit, one, xp.where(X < -limit, zero, inside))


def dish(xp, X):
    """x / 2 * (1 + x / sqrt(1 + x^2)): swish without an exponential."""
    return 0.5 * X * _one_plus_sine(xp, X, xp.hypot(X, _one(X)))


def dish_slope(xp, X):
    H = xp.hypot(X, _one(X))
    return 0.5 * _one_plus_sine(xp, X, H) + 0.5 * (X / H) / H / H


def _one_plus_sine(xp, X, H):
    # 1 + x/h, h = sqrt(1 + x^2). For negative x, 1/(h (h - x)) is the same
    # number without the difference of two nearly equal ones.
    return xp.where(X < 0, 1.0 / H / (H + xp.abs(X)), 1.0 + X / H)


def _one(X):
    return X.dtype.type(1) if X.dtype.kind == "f" else 1.0


def erf(xp, X):
    """The error function, accurate to the array's own precision.

    Up to 2 the series 2/sqrt(pi) exp(-x^2) sum_n 2^n x^(2n+1) / (2n+1)!!, whose
    terms all have one sign (Abramowitz & Stegun 7.1.6), beyond it 1 - erfc.
    """
    A = xp.abs(X)
    Y = xp.where(A < 2.0, _erf_series(xp, A), 1.0 - _erfc_fraction(xp, A))
    return xp.copysign(Y, X)


def erfc(xp, X):
    """1 - erf(x), with a small relative error for large x too."""
    A = xp.abs(X)
    upper = xp.where(A < 2.0, 1.0 - _erf_series(xp, A), _erfc_fraction(xp, A))
    return xp.where(X < 0, 2.0 - upper, upper)


def _erf_series(xp, A):
    A = xp.minimum(A, 2.0)
    square = A * A
    term = A * (2.0 / SQRT_PI)
    total = term
    for n in range(1, 48):
        term = term * (2.0 * square / (2 * n + 1))
        total = total + term
    return total * xp.exp(-square)


def _erfc_fraction(xp, A):
    # Continued fraction of Abramowitz & Stegun 7.1.14, from the inside out.
    A = xp.maximum(A, 2.0)
    tail = A
    for n in range(80, 0, -1):
        tail = A + (0.5 * n) / tail
    return xp.exp(-A * A) / (tail * SQRT_PI)


def normal_cdf(xp, X):
    """The standard normal distribution function."""
    return 0.5 * erfc(xp, X * (-1.0 / SQRT_2))


def gelu(xp, X):
    """x * normal_cdf(x). Hendrycks and Gimpel (2016), arXiv:1606.08415."""
    return X * normal_cdf(xp, X)


def gelu_slope(xp, X):
    density = xp.exp(-0.5 * X * X) / (SQRT_2 * SQRT_PI)
    return normal_cdf(xp, X) + X * density


def gelu_approx(xp, X):
    """gelu, with the distribution function approximated by a tanh."""
    return 0.5 * X * (1.0 + xp.tanh(_gelu_inner(X)))


def gelu_approx_slope(xp, X):
    # Beyond 10 the slope is constant; the limit keeps cosh finite in float32.
    X = xp.clip(X, -10.0, 10.0)
    U = _gelu_inner(X)
    dU = SQRT_2_OVER_PI * (1.0 + (3.0 * GELU_CUBIC) * X * X)
    return 0.5 * (1.0 + xp.tanh(U)) + 0.5 * X * dU / xp.cosh(U) ** 2


def _gelu_inner(X):
    return SQRT_2_OVER_PI * (X + GELU_CUBIC * X * X * X)


def squared_sech(xp, X):
    """(1 / cosh(x))^2, x limited to [-20, 20]."""
    return (1.0 / xp.cosh(xp.clip(X, -20.0, 20.0))) ** 2


def mish(xp, X, threshold):
    """x * tanh(log(1 + exp(x))), and x itself from threshold on.

    Misra (2019), arXiv:1908.08681. With e = exp(x), tanh(log(1 + e)) is
    n / (n + 2), n = e (e + 2).
    """
    N, _ = _mish_terms(xp, X)
    return xp.where(X >= threshold, X, X * (N / (N + 2.0)))


def mish_slope(xp, X, threshold):
    N, E = _mish_terms(xp, X)
    inside = N / (N + 2.0) + X * (4.0 * E * (1.0 + E) / (N + 2.0) ** 2)
    return xp.where(X >= threshold, inside.dtype.type(1), inside)


def _mish_terms(xp, X):
    # From 20 on n / (n + 2) rounds to one; (n + 2)^2 must stay finite in float32.
    E = xp.exp(xp.minimum(X, 20.0))
    return E * (E + 2.0), E


def tanh(xp, X):
    return xp.tanh(X)


def tanh_slope(xp, Y):
    return 1.0 - Y * Y


def identity(xp, X):
    return X.copy()


def identity_slope(xp, X):
    return xp.ones_like(X)


SIGMOID = Formula("sigmoid", logistic, logistic_slope, "Y")
RELU = Formula("relu", relu, relu_slope, "Y")
CLIPPED_LINEAR = Formula(
    "clipped_linear", clipped_linear, clipped_linear_slope, "X", (1.0, 0.0, 0.0, 1.0)
)
SWISH = Formula("swish", swish, swish_slope)
HARD_SWISH = Formula("hard_swish", hard_swish, hard_swish_slope)
HARD_SWISH_MOBILENET = Formula(
    "hard_swish_mobilenet", hard_swish_mobilenet, hard_swish_mobilenet_slope
)
DISH = Formula("dish", dish, dish_slope)
GELU = Formula("gelu", gelu, gelu_slope)
GELU_APPROX = Formula("gelu_approx", gelu_approx, gelu_approx_slope)
MISH = Formula("mish", mish, mish_slope, "X", (20.0,))
TANH = Formula("tanh", tanh, tanh_slope, "Y")
IDENTITY = Formula("identity", identity, identity_slope)

FORMULAS: Dict[str, Formula] = {
    formula.name: formula
    for formula in (
        SIGMOID,
        RELU,
        CLIPPED_LINEAR,
        SWISH,
        HARD_SWISH,
        HARD_SWISH_MOBILENET,
        DISH,
        GELU,
        GELU_APPROX,
        MISH,
        TANH,
        IDENTITY,
    )
}
