"""Activations, biases and dropout of the CUDA sources, run on the host."""

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from samples import (
    DTYPES,
    assert_close,
    blank,
    launches,
    numbers_of,
    random_array,
    seeds,
    statistics,
    stored,
)

from thinc.backends.cuda_geometry import parts_of
from thinc.backends.cuda_kernels import FORMULA_STRUCTS, NR_PARAMS
from thinc.backends.formulas import FORMULAS

PARAMS = {"clipped_linear": (0.7, 0.3, -0.5, 1.5), "mish": (5.0,)}


def padded(params):
    return (*params, *[0.0] * (NR_PARAMS - len(params)))


def test_every_formula_has_its_struct():
    assert FORMULA_STRUCTS.keys() == FORMULAS.keys()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FORMULAS)
@settings(max_examples=4)
@given(n=st.integers(0, 600), seed=seeds, launch=launches)
def test_values_and_slopes(kernels, name, dtype, n, seed, launch):
    formula, params = FORMULAS[name], PARAMS.get(name, ())
    X, dY = random_array(seed, n, dtype), random_array(seed + 1, n, dtype)
    Y, dX = blank(n, dtype), blank(n, dtype)
    kernels.run("map_values", (name, dtype), Y, X, n, *padded(params), **launch)
    assert_close(Y, formula.value(numpy, numbers_of(X, dtype), *params), dtype)
    Z = Y if formula.slope_of == "Y" else X
    kernels.run("map_slopes", (name, dtype), dX, dY, Z, n, *padded(params), **launch)
    slope = formula.slope(numpy, numbers_of(Z, dtype), *params)
    assert_close(dX, slope * numbers_of(dY, dtype), dtype, factor=4)
    # In place, to the same bits.
    kernels.run("map_values", (name, dtype), X, X, n, *padded(params), **launch)
    assert_array_equal(X, Y)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FORMULAS)
def test_nan_and_infinity(kernels, name, dtype):
    formula, params = FORMULAS[name], PARAMS.get(name, ())
    X = stored([numpy.nan, numpy.inf, -numpy.inf, 0.0, -0.0], dtype)
    Y = blank(5, dtype)
    kernels.run("map_values", (name, dtype), Y, X, 5, *padded(params))
    with numpy.errstate(invalid="ignore", over="ignore", divide="ignore"):
        expected = formula.value(numpy, numbers_of(X, dtype), *params)
    result = numbers_of(Y, dtype)
    assert numpy.isnan(result[0]) == numpy.isnan(expected[0])
    assert_close(Y[3:], expected[3:], dtype)
    # Of infinity where the formula has a limit there; x times zero is NaN in both.
    if name in ("relu", "clipped_linear", "sigmoid", "tanh", "identity", "hard_swish"):
        numpy.testing.assert_allclose(result[1:3], expected[1:3], atol=1e-2)


def test_relu_stops_the_gradient_of_nan_where_it_is_zero(kernels):
    dX = blank(3, "float32")
    dY = numpy.array([numpy.nan, numpy.inf, 2.0], dtype="f")
    Y = numpy.array([0.0, 0.0, numpy.nan], dtype="f")
    kernels.run("map_slopes", ("relu", "float32"), dX, dY, Y, 3, *padded(()))
    assert_array_equal(dX, [0.0, 0.0, 2.0])


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=15)
@given(
    name=st.sampled_from(sorted(FORMULAS)),
    rows=st.integers(0, 40),
    cols=st.sampled_from([1, 3, 8, 31, 32, 40, 96]),
    keep=st.booleans(),
    seed=seeds,
    launch=launches,
)
def test_bias_and_its_gradient(kernels, dtype, name, rows, cols, keep, seed, launch):
    formula, params = FORMULAS[name], PARAMS.get(name, ())
    X, bias = random_array(seed, (rows, cols), dtype), random_array(seed + 1, cols, dtype)
    Y, P = blank((rows, cols), dtype), blank((rows, cols), dtype) if keep else None
    arguments = (X, bias, rows, cols, *padded(params))
    kernels.run("add_bias", (name, dtype), Y, P, *arguments, **launch)
    total = stored(numbers_of(X, dtype) + numbers_of(bias, dtype), dtype)
    if keep:
        assert_close(P, numbers_of(total, dtype), dtype)
        total, again = P, blank(P.shape, dtype)
        # Of the sum as it is stored, to the bit: slopes are of that too.
        kernels.run("map_values", (name, dtype), again, P, P.size, *padded(params))
        assert_array_equal(again, Y)
    assert_close(Y, formula.value(numpy, numbers_of(total, dtype), *params), dtype, factor=3)

    dY, dX = random_array(seed + 2, (rows, cols), dtype), blank((rows, cols), dtype)
    Z = Y if formula.slope_of == "Y" else total
    parts = parts_of(rows)
    partials, d_bias = statistics((parts, cols), dtype), blank(cols, dtype)
    sizes = (rows, cols, parts)
    kernels.run(
        "backprop_bias", (name, dtype), dX, partials, dY, Z, *sizes, *padded(params), **launch
    )
    kernels.run("sum_partials", dtype, d_bias, partials, parts, cols, 0, **launch)
    gradient = formula.slope(numpy, numbers_of(Z, dtype), *params) * numbers_of(dY, dtype)
    assert_close(dX, gradient, dtype, factor=4)
    assert_close(d_bias, gradient.sum(axis=0), dtype, factor=10)


# ---- conversions ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_every_number_of_16_bits_survives(kernels, dtype):
    bits = numpy.arange(2**16, dtype="uint16")
    X = bits.view("float16") if dtype == "float16" else bits
    Y = blank(2**16, dtype)
    kernels.run("map_values", ("identity", dtype), Y, X, 2**16, *padded(()))
    numbers = ~numpy.isnan(numbers_of(X, dtype))
    assert_array_equal(Y.view("uint16")[numbers], bits[numbers])
    assert numpy.isnan(numbers_of(Y, dtype)[~numbers]).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_rounding_to_16_bits(kernels, dtype):
    """To the nearest, ties to even: all halves between neighbours, and random numbers."""
    every = stored(numpy.arange(1000) / 7.0, dtype)
    some = numpy.arange(0, 0x7C00, 3, dtype="uint16") if dtype == "float16" else every
    exact = numbers_of(some.view("float16") if dtype == "float16" else some, dtype)
    middle = (exact[1:] + exact[:-1]) / 2
    near = numpy.nextafter(middle.astype("f"), numpy.float32(numpy.inf))
    bits = numpy.random.default_rng(0).integers(0, 2**32, 5000, dtype="uint32")
    edges = [65504, 65519.996, 65520, 1e9, 6.1e-5, 5.96e-8, 2.98e-8, 2.99e-8, 0, 1e-30]
    some_bits = bits.view("f")[~numpy.isnan(bits.view("f"))]
    X = numpy.concatenate([exact, middle, near, some_bits, edges]).astype("f")
    X = numpy.concatenate([X, -X, [numpy.nan, numpy.inf, -numpy.inf]]).astype("f")
    Y = blank(len(X), dtype)
    kernels.run("sum_partials", dtype, Y, X, 1, len(X), 0)
    with numpy.errstate(over="ignore", invalid="ignore"):
        expected = stored(X, dtype)
    assert_array_equal(numbers_of(Y, dtype), numbers_of(expected, dtype))
    signed = (X == X) & (X != 0)  # a sum of zeros is positive
    assert_array_equal(numpy.signbit(numbers_of(Y, dtype)[signed]), numpy.signbit(X[signed]))


# ---- dropout ----------------------------------------------------------------------------


def philox(counter, key):
    """Philox4x32-10 with Python's integers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [p1 >> 32 ^ c[1] ^ k[0], p1 & 0xFFFFFFFF, p0 >> 32 ^ c[3] ^ k[1], p0 & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def test_our_philox_is_the_published_one():
    """The known answers that come with the authors' library, Random123."""
    ones = 0xFFFFFFFF
    assert philox([0] * 4, [0] * 2) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert philox([ones] * 4, [ones] * 2) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    pi = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0]
    assert philox(pi[:4], pi[4:]) == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


@settings(max_examples=20)
@given(
    n=st.integers(0, 50),
    drop=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**63 - 1),
    stream=st.integers(0, 2**40),
    step=st.none() | st.integers(0, 1000),
    launch=launches,
)
def test_dropout_mask_is_of_philox(kernels, n, drop, seed, stream, step, launch):
    mask = blank(n, "float32")
    counter = None if step is None else numpy.array([step])
    kernels.run("dropout_mask", (), mask, n, drop, seed, stream, counter, **launch)
    at = stream + (step or 0)
    key = [seed & 0xFFFFFFFF, seed >> 32]
    words = [philox([i // 4, 0, at & 0xFFFFFFFF, at >> 32], key)[i % 4] for i in range(n)]
    expected = [0.0 if word < drop * 2**32 else numpy.float32(1 / (1 - drop)) for word in words]
    assert_array_equal(mask, numpy.array(expected, dtype="f"))


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=10)
@given(n=st.integers(0, 500), drop=st.floats(0.1, 0.9), seed=seeds, launch=launches)
def test_dropout_applies_the_mask_of_its_stream(kernels, dtype, n, drop, seed, launch):
    X, Y, mask = random_array(seed, n, dtype), blank(n, dtype), blank(n, "float32")
    kernels.run("dropout_mask", (), mask, n, drop, seed, 3, None)
    kernels.run("dropout", dtype, Y, X, n, drop, seed, 3, None, **launch)
    factor = numpy.where(mask > 0, 1 / (1 - drop), 0)
    assert_close(Y, numbers_of(X, dtype) * factor, dtype)
    kernels.run("dropout", dtype, X, X, n, drop, seed, 3, None, **launch)
    assert_array_equal(X, Y)


def test_dropout_drops_the_given_share(kernels):
    n = 100_000
    for drop in (0.1, 0.5, 0.9):
        mask = blank(n, "float32")
        kernels.run("dropout_mask", (), mask, n, drop, 7, 0, None)
        assert abs((mask == 0).mean() - drop) < 5 * (drop * (1 - drop) / n) ** 0.5
        other = blank(n, "float32")
        kernels.run("dropout_mask", (), other, n, drop, 7, 1, None)
        both = ((mask == 0) & (other == 0)).mean()
        assert abs(both - drop * drop) < 5 * (drop / n) ** 0.5  # streams are independent


@pytest.mark.parametrize("dtype", DTYPES)
@given(n=st.integers(0, 300), rate=st.floats(0, 1), seed=seeds, launch=launches)
@settings(max_examples=10)
def test_update_averages(kernels, dtype, n, rate, seed, launch):
    ema, weights = random_array(seed, n, "float32"), random_array(seed + 1, n, dtype)
    expected = ema - rate * (ema - numbers_of(weights, dtype))
    kernels.run("update_averages", dtype, ema, weights, n, rate, **launch)
    assert_close(ema, expected, dtype, kind="float32")
