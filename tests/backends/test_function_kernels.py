"""erf, squared sech, slopes and log loss, compiled: against extended precision, at every level."""

import numpy
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from thinc.backends import NumpyOps, Ops, cpu_kernels

OPS = NumpyOps()
REFERENCE = Ops()
EXTENDED = numpy.longdouble
# The reference must be more precise than what it judges.
PRECISE_DTYPES = [
    dtype
    for dtype in strategies.FLOAT_DTYPES
    if numpy.finfo(EXTENDED).eps < numpy.finfo(dtype).eps / 100
]
FUNCTIONS = ["erf", "sechsq", "dsigmoid", "dtanh"]
TOLERANCE = {
    "float32": {"rtol": 2e-6, "atol": 1e-6},
    "float64": {"rtol": 1e-14, "atol": 1e-14},
}

ROOT_PI = numpy.sqrt(EXTENDED("3.14159265358979323846264338327950288"))

every_dtype = pytest.mark.parametrize("dtype", strategies.FLOAT_DTYPES)
every_precise_dtype = pytest.mark.parametrize("dtype", PRECISE_DTYPES)
every_function = pytest.mark.parametrize("name", FUNCTIONS)
seeds = st.integers(0, 2**32 - 1)
shapes = st.sampled_from([(0,), (1,), (3, 5), (16,), (17,), (2, 3, 11), (130,), (0, 4), (4, 0)])
layout_names = st.sampled_from(list(strategies.layouts(numpy.zeros((1, 1)))))


@pytest.fixture(params=cpu_kernels.available_levels(), autouse=True, scope="module")
def level(request):
    with cpu_kernels.use_level(request.param):
        yield request.param


def of_every_magnitude(dtype):
    rng = numpy.random.default_rng(0)
    return numpy.concatenate(
        [
            rng.uniform(-1.1, 1.1, 5001),
            rng.uniform(-6, 6, 5000),
            rng.uniform(-30, 30, 1000),
            rng.normal(size=3000) * 10.0 ** rng.uniform(-30, 0, 3000),
        ]
    ).astype(dtype)


def ulp_errors(found, exact):
    info = numpy.finfo(found.dtype)
    nearest = numpy.maximum(numpy.abs(exact).astype(found.dtype), info.tiny)
    return numpy.abs(found.astype(EXTENDED) - exact) / numpy.spacing(nearest).astype(EXTENDED)


def erf(X):
    """The series of Abramowitz and Stegun 7.1.6; one beyond where it rounds to that."""
    A = numpy.minimum(numpy.abs(X), 7)
    term = total = A
    for n in range(1, 220):
        term = term * (2 * A * A / (2 * n + 1))
        total = total + term
    return numpy.copysign(2 / ROOT_PI * total * numpy.exp(-A * A), X)


@every_precise_dtype
def test_erf_is_exact_to_two_ulp(dtype):
    X = of_every_magnitude(dtype)
    Y = OPS.erf(X)
    assert Y.dtype == dtype
    assert ulp_errors(Y, erf(X.astype(EXTENDED))).max() <= 2.0


@every_precise_dtype
def test_squared_sech_is_exact_to_five_ulp(dtype):
    X = of_every_magnitude(dtype)
    exact = (1 / numpy.cosh(numpy.clip(X.astype(EXTENDED), -20, 20))) ** 2
    assert ulp_errors(OPS.sechsq(X), exact).max() <= 5.0


@every_precise_dtype
def test_logarithm_within_log_loss_is_exact_to_two_ulp(dtype):
    # Where y is 1 the other logarithm is multiplied by zero.
    p = (10.0 ** numpy.random.default_rng(1).uniform(-12, -0.01, 6001)).astype(dtype)
    exact = -numpy.log((p + numpy.asarray(1e-8, dtype=dtype)).astype(EXTENDED))
    assert ulp_errors(OPS.logloss(numpy.ones_like(p), p), exact).max() <= 2.0


@every_dtype
@every_function
@settings(max_examples=30)
@given(shape=shapes, layout=layout_names, inplace=st.booleans(), seed=seeds)
def test_functions_agree_with_array_code(name, dtype, shape, layout, inplace, seed):
    X = (numpy.random.default_rng(seed).normal(size=shape) * 3).astype(dtype)
    expected = getattr(REFERENCE, name)(X.astype("float64"))
    given_X = strategies.layouts(X)[layout]
    options = {"inplace": True} if inplace and name.startswith("d") else {}
    if options and layout == "read-only":
        with pytest.raises(ValueError, match="read-only"):
            getattr(OPS, name)(given_X, **options)
        return
    Y = getattr(OPS, name)(given_X, **options)
    assert Y.dtype == dtype
    assert_allclose(Y, expected, **TOLERANCE[dtype])
    if options:
        assert Y is given_X
    else:
        assert_array_equal(given_X, X)


@every_dtype
@every_function
@pytest.mark.parametrize("width", [1, 8, 19])
def test_functions_of_special_numbers(name, dtype, width):
    values = [0.0, -0.0, 1.0, -1.0, 20.0, -20.0, 1e30, -1e30]
    values += [numpy.inf, -numpy.inf, numpy.nan, numpy.finfo(dtype).tiny / 4]
    for value in values:
        X = numpy.full(width, value, dtype=dtype)
        with numpy.errstate(all="ignore"):
            expected = getattr(REFERENCE, name)(X)
            Y = getattr(OPS, name)(X)
        assert_allclose(Y, expected, rtol=4e-6 if dtype == "float32" else 1e-14)
        assert_array_equal(numpy.signbit(Y[Y == 0]), numpy.signbit(expected[Y == 0]))


def test_functions_of_other_dtypes_are_left_to_array_code():
    assert OPS.erf(numpy.array([3, -3])).dtype == numpy.array([3]).dtype
    assert OPS.erf(numpy.array([0.5], dtype="float16")).dtype == "float16"
    assert_array_equal(OPS.dtanh(numpy.array([3, 1])), [-8, 0])


@every_dtype
@settings(max_examples=30)
@given(shape=shapes, layout=layout_names, seed=seeds)
def test_log_loss(dtype, shape, layout, seed):
    rng = numpy.random.default_rng(seed)
    y, p = rng.integers(0, 2, shape).astype(dtype), rng.random(shape).astype(dtype)
    expected = REFERENCE.logloss(y.astype("float64"), p.astype("float64"))
    losses = OPS.logloss(strategies.layouts(y)[layout], strategies.layouts(p)[layout])
    assert losses.dtype == dtype
    assert_allclose(losses, expected, rtol=1e-4 if dtype == "float32" else 1e-12, atol=2e-7)


@every_dtype
def test_log_loss_of_special_numbers(dtype):
    p = numpy.array([0, 1, -1e-8, 2, -3, numpy.inf, -numpy.inf, numpy.nan, 0.5] * 3, dtype=dtype)
    for truth in (0.0, 1.0, 0.3):
        y = numpy.full_like(p, truth)
        with numpy.errstate(all="ignore"):
            expected = REFERENCE.logloss(y, p)
        assert_allclose(OPS.logloss(y, p), expected, rtol=1e-5, atol=1e-7)


def test_log_loss_broadcasts_and_mixes_dtypes():
    y, p = numpy.ones((3, 1), "float32"), numpy.full((3, 4), 0.25)
    assert_allclose(OPS.logloss(y, p), numpy.full((3, 4), -numpy.log(0.25)), rtol=1e-6)


@pytest.mark.parametrize("D", [0, 1, 2, 3, 7, 8, 96])
@pytest.mark.parametrize("N", [0, 1, 2, 40])
@pytest.mark.parametrize("period", [10000, 7, 0.5])
def test_position_encode(N, D, period):
    expected = REFERENCE.position_encode(N, D, period)
    waves = OPS.position_encode(N, D, period)
    assert waves.dtype == "float32"
    assert_allclose(waves, expected, atol=1e-6, rtol=1e-6)
    out = numpy.full((N, D), 77, dtype="float32")
    assert OPS.position_encode(N, D, period, out=out) is out
    assert_array_equal(out, expected)
    with pytest.raises(ValueError, match="out must be"):
        OPS.position_encode(N, D, period, out=numpy.zeros((N, D + 1), "float32"))
