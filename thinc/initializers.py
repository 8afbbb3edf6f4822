"""Initial values of parameters.

Every initializer takes the ops and the shape and returns a new float32 array of that
shape. Random ones draw from numpy's global generator, once, so that fix_random_seed
decides the result, on every device.
"""

from functools import partial
from typing import Callable, Optional, Tuple, Union

import numpy

from .backends.ops import Ops
from .registration import registry
from .types import FloatsXd

__all__ = [
    "lecun_normal_init",
    "he_normal_init",
    "glorot_normal_init",
    "lecun_uniform_init",
    "he_uniform_init",
    "glorot_uniform_init",
    "uniform_init",
    "normal_init",
    "zero_init",
]

AnyShape = Union[int, Tuple[int, ...]]
Initializer = Callable[[Ops, AnyShape], FloatsXd]


def _fans(shape: AnyShape) -> Tuple[int, int]:
    """Fan-out and fan-in: the first two sizes, or the only one twice."""
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    if not sizes:
        raise ValueError("A scaled initializer needs a shape of at least one dimension, got ().")
    return sizes[0], sizes[1] if len(sizes) > 1 else sizes[0]


def _deviation(gain: float, fan: int) -> float:
    # Without inputs there is nothing to scale (and nothing to draw).
    return float(numpy.sqrt(gain / fan)) if fan else 0.0


def _normal(ops: Ops, deviation: float, shape: AnyShape) -> FloatsXd:
    return ops.asarray_f(numpy.random.normal(scale=deviation, size=shape))


def _uniform(ops: Ops, lo: float, hi: float, shape: AnyShape) -> FloatsXd:
    return ops.asarray_f(numpy.random.uniform(lo, hi, shape))


# ---- scaled by the number of inputs and outputs -------------------------------------
#
# shape[0] is fan-out, shape[1] fan-in, as in a weight matrix (nO, nI); a one-dimensional
# shape has both equal.


def lecun_normal_init(ops: Ops, shape: AnyShape) -> FloatsXd:
    """Normal with deviation sqrt(1 / fan_in). LeCun et al. (1998), Efficient BackProp."""
    return _normal(ops, _deviation(1.0, _fans(shape)[1]), shape)


def he_normal_init(ops: Ops, shape: AnyShape) -> FloatsXd:
    """Normal with deviation sqrt(2 / fan_in). He et al. (2015), arXiv:1502.01852."""
    return _normal(ops, _deviation(2.0, _fans(shape)[1]), shape)


def glorot_normal_init(ops: Ops, shape: AnyShape) -> FloatsXd:
    """Normal with deviation sqrt(2 / (fan_in + fan_out)). Glorot and Bengio (2010)."""
    return _normal(ops, _deviation(2.0, sum(_fans(shape))), shape)


def lecun_uniform_init(ops: Ops, shape: AnyShape) -> FloatsXd:
    """Uniform in [-a, a), a = sqrt(3 / fan_in): the variance of lecun_normal_init."""
    a = _deviation(3.0, _fans(shape)[1])
    return _uniform(ops, -a, a, shape)


def he_uniform_init(ops: Ops, shape: AnyShape) -> FloatsXd:
    """Uniform in [-a, a), a = sqrt(6 / fan_in): the variance of he_normal_init."""
    a = _deviation(6.0, _fans(shape)[1])
    return _uniform(ops, -a, a, shape)


def glorot_uniform_init(ops: Ops, shape: AnyShape) -> FloatsXd:
    """Uniform in [-a, a), a = sqrt(6 / (fan_in + fan_out)). Glorot and Bengio (2010)."""
    a = _deviation(6.0, sum(_fans(shape)))
    return _uniform(ops, -a, a, shape)


# ---- of a given spread --------------------------------------------------------------


def uniform_init(ops: Ops, shape: AnyShape, *, lo: float = -0.1, hi: float = 0.1) -> FloatsXd:
    """Uniform in [lo, hi)."""
    return _uniform(ops, lo, hi, shape)


def normal_init(
    ops: Ops, shape: AnyShape, *, mean: float = 0, fan_in: Optional[int] = None
) -> FloatsXd:
    """Normal around zero with deviation `mean`, or sqrt(1 / fan_in) if fan_in is given.

    mean: the standard deviation, in spite of its name; so the default gives zeros.
    fan_in: a number of inputs; -1 stands for that of the shape (shape[1]).
    Raises ValueError for a negative deviation, and for a fan_in that is 0 or below -1.
    """
    if fan_in is None:
        return _normal(ops, mean, shape)
    if fan_in == 0 or fan_in < -1:
        raise ValueError(f"normal_init: fan_in must be positive, or -1, got {fan_in}.")
    return _normal(ops, _deviation(1.0, _fans(shape)[1] if fan_in == -1 else fan_in), shape)


def zero_init(ops: Ops, shape: AnyShape) -> FloatsXd:
    """Zeros."""
    return ops.alloc_f(shape)


# ---- for configs: the options now, ops and shape later ------------------------------


@registry.initializers("lecun_normal_init.v1")
def configure_lecun_normal_init() -> Initializer:
    """lecun_normal_init."""
    return partial(lecun_normal_init)


@registry.initializers("he_normal_init.v1")
def configure_he_normal_init() -> Initializer:
    """he_normal_init."""
    return partial(he_normal_init)


@registry.initializers("glorot_normal_init.v1")
def configure_glorot_normal_init() -> Initializer:
    """glorot_normal_init."""
    return partial(glorot_normal_init)


@registry.initializers("lecun_uniform_init.v1")
def configure_lecun_uniform_init() -> Initializer:
    """lecun_uniform_init."""
    return partial(lecun_uniform_init)


@registry.initializers("he_uniform_init.v1")
def configure_he_uniform_init() -> Initializer:
    """he_uniform_init."""
    return partial(he_uniform_init)


@registry.initializers("glorot_uniform_init.v1")
def configure_glorot_uniform_init() -> Initializer:
    """glorot_uniform_init."""
    return partial(glorot_uniform_init)


@registry.initializers("uniform_init.v1")
def configure_uniform_init(*, lo: float = -0.1, hi: float = 0.1) -> Initializer:
    """uniform_init between lo and hi."""
    return partial(uniform_init, lo=lo, hi=hi)


@registry.initializers("normal_init.v1")
def configure_normal_init(*, mean: float = 0, fan_in: Optional[int] = None) -> Initializer:
    """normal_init with deviation `mean`, or sqrt(1 / fan_in)."""
    return partial(normal_init, mean=mean, fan_in=fan_in)


@registry.initializers("zero_init.v1")
def configure_zero_init() -> Initializer:
    """zero_init."""
    return partial(zero_init)
