"""Initializers: the spread they promise, and that numpy's seed decides the draw."""

import inspect
import math

import numpy
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from thinc import initializers
from thinc.backends import NumpyOps
from thinc.backends.ops import Ops
from thinc.config import registry

OPS = NumpyOps()
SHAPE = (200, 300)

# name: variance for fan_in and fan_out, and whether uniform.
SCALED = {
    "lecun_normal_init": (lambda i, o: 1 / i, False),
    "he_normal_init": (lambda i, o: 2 / i, False),
    "glorot_normal_init": (lambda i, o: 2 / (i + o), False),
    "lecun_uniform_init": (lambda i, o: 1 / i, True),
    "he_uniform_init": (lambda i, o: 2 / i, True),
    "glorot_uniform_init": (lambda i, o: 2 / (i + o), True),
}


@pytest.fixture(params=SCALED)
def scaled(request):
    return getattr(initializers, request.param), *SCALED[request.param]


def test_variance_is_the_papers(scaled):
    init, variance, is_uniform = scaled
    numpy.random.seed(0)
    W = init(OPS, SHAPE)
    expected = variance(fan_in(SHAPE), SHAPE[0])
    # 60,000 draws: the variance's own deviation is below 0.6%.
    assert_allclose(W.var(dtype="float64"), expected, rtol=0.03)
    assert abs(W.mean(dtype="float64")) < 5 * math.sqrt(expected / W.size)
    bound = math.sqrt(3 * expected)
    if is_uniform:
        assert 0.999 * bound < abs(W).max() <= numpy.float32(bound)
    else:
        assert abs(W).max() > 1.5 * bound


def fan_in(shape):
    return shape[1]


def test_draw_is_numpys_global_one(scaled):
    init, variance, is_uniform = scaled
    numpy.random.seed(3)
    W = init(OPS, (4, 5))
    numpy.random.seed(3)
    deviation = math.sqrt(variance(5, 4))
    if is_uniform:
        bound = math.sqrt(3) * deviation
        expected = numpy.random.uniform(-bound, bound, (4, 5))
    else:
        expected = numpy.random.normal(0, deviation, (4, 5))
    assert_allclose(W, expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (0, 4), (4, 0), (1, 1)])
def test_shape_and_dtype(scaled, shape):
    W = scaled[0](OPS, shape)
    assert (W.shape, W.dtype) == (shape, numpy.float32)


def test_one_dimension_counts_as_both_fans(scaled):
    init, variance, _ = scaled
    numpy.random.seed(0)
    b = init(OPS, (20000,))
    assert b.shape == (20000,)
    assert_allclose(b.var(dtype="float64"), variance(20000, 20000), rtol=0.05)
    numpy.random.seed(0)
    assert_array_equal(init(OPS, 20000), b)


def test_no_dimension_is_refused(scaled):
    with pytest.raises(ValueError, match="at least one dimension"):
        scaled[0](OPS, ())


def test_zero_init():
    assert_array_equal(initializers.zero_init(OPS, (2, 3)), numpy.zeros((2, 3), dtype="f"))


def test_uniform_init():
    numpy.random.seed(0)
    W = initializers.uniform_init(OPS, (100, 100), lo=2.0, hi=3.0)
    assert W.min() >= 2.0 and W.max() <= 3.0 and W.std() > 0.28
    assert abs(initializers.uniform_init(OPS, (100,))).max() <= 0.1


def test_normal_inits_mean_is_the_deviation():
    assert_array_equal(initializers.normal_init(OPS, (3, 4)), numpy.zeros((3, 4)))
    numpy.random.seed(0)
    W = initializers.normal_init(OPS, (100, 100), mean=2.5)
    assert_allclose([W.mean(), W.std()], [0.0, 2.5], atol=0.1)
    with pytest.raises(ValueError):
        initializers.normal_init(OPS, (3, 4), mean=-1)


def test_normal_init_with_fan_in():
    numpy.random.seed(0)
    assert_allclose(initializers.normal_init(OPS, (99, 100), fan_in=4).std(), 0.5, rtol=0.03)
    assert_allclose(initializers.normal_init(OPS, (99, 100), fan_in=-1).std(), 0.1, rtol=0.03)
    for fan in (0, -2):
        with pytest.raises(ValueError, match=f"fan_in must be positive, or -1, got {fan}"):
            initializers.normal_init(OPS, (3, 4), fan_in=fan)


@pytest.mark.parametrize("name", initializers.__all__)
def test_registered_factory_gives_the_same_draw(name):
    init = getattr(initializers, name)
    configured = registry.initializers.get(f"{name}.v1")()
    numpy.random.seed(5)
    expected = init(OPS, (3, 4))
    numpy.random.seed(5)
    assert_array_equal(configured(OPS, (3, 4)), expected)


def test_factories_take_the_options_of_the_functions():
    for name in initializers.__all__:
        factory = getattr(initializers, f"configure_{name}")
        own = inspect.signature(getattr(initializers, name)).parameters.values()
        options = {p.name for p in own if p.kind is p.KEYWORD_ONLY}
        assert set(inspect.signature(factory).parameters) == options


def test_every_backend_is_asked_for_its_arrays():
    assert initializers.glorot_uniform_init(Ops(), (2, 3)).dtype == numpy.float32
