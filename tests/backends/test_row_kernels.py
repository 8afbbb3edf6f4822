"""Softmax, layer normalization and maxout, compiled, against the generic Ops, at every level."""

import numpy
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from thinc.backends import NumpyOps, Ops, cpu_kernels

OPS = NumpyOps()
REFERENCE = Ops()
TOLERANCE = {
    "float32": {"rtol": 5e-6, "atol": 5e-6},
    "float64": {"rtol": 1e-12, "atol": 1e-13},
}
LAYOUTS = ["contiguous", "fortran", "every second", "backwards", "read-only"]

every_dtype = pytest.mark.parametrize("dtype", strategies.FLOAT_DTYPES)
seeds = st.integers(0, 2**32 - 1)
rows = st.integers(0, 9)
widths = st.one_of(st.integers(1, 70), st.sampled_from([127, 128, 300]))
pieces = st.integers(1, 7)
layout_names = st.sampled_from(LAYOUTS)
temperatures = st.sampled_from([1.0, 0.5, 2.0, 10.0])


@pytest.fixture(params=cpu_kernels.available_levels(), autouse=True, scope="module")
def level(request):
    with cpu_kernels.use_level(request.param):
        yield request.param


def normal(shape, dtype, seed, scale=1.0):
    return (numpy.random.default_rng(seed).normal(size=shape) * scale).astype(dtype)


def gradient_by_differences(function, X, dY, step=1e-6):
    """d sum(function(X) * dY) / dX by central differences."""
    dX = numpy.zeros_like(X)
    for place in numpy.ndindex(X.shape):
        moved = X.copy()
        moved[place] += step
        above = function(moved)
        moved[place] -= 2 * step
        dX[place] = ((above - function(moved)) * dY).sum() / (2 * step)
    return dX


# ---- softmax -----------------------------------------------------------------


@every_dtype
@given(B=rows, O=widths, temperature=temperatures, layout=layout_names, seed=seeds)
def test_softmax(dtype, B, O, temperature, layout, seed):
    X = normal((B, O), dtype, seed, 5.0)
    expected = REFERENCE.softmax(X.astype("float64"), temperature=temperature) if B else X
    given_X = strategies.layouts(X)[layout]
    Y = OPS.softmax(given_X, temperature=temperature)
    assert Y.dtype == dtype
    assert_allclose(Y, expected, **TOLERANCE[dtype])
    assert_array_equal(given_X, X)
    if layout != "read-only":
        assert OPS.softmax(given_X, temperature=temperature, inplace=True) is given_X
        assert_allclose(given_X, expected, **TOLERANCE[dtype])


@every_dtype
@given(B=rows, O=widths, temperature=temperatures, layout=layout_names, seed=seeds)
def test_backprop_softmax(dtype, B, O, temperature, layout, seed):
    Y = numpy.abs(normal((B, O), dtype, seed)) / O
    dY = normal((B, O), dtype, seed + 1)
    expected = REFERENCE.backprop_softmax(
        Y.astype("float64"), dY.astype("float64"), temperature=temperature
    )
    given_dY = strategies.layouts(dY)[layout]
    dX = OPS.backprop_softmax(strategies.layouts(Y)[layout], given_dY, temperature=temperature)
    assert dX.dtype == dtype
    assert_allclose(dX, expected, **TOLERANCE[dtype])
    assert_array_equal(given_dY, dY)


@every_dtype
def test_softmax_of_three_dimensions_and_other_axes(dtype):
    X = normal((3, 4, 5), dtype, 0)
    dY = normal((3, 4, 5), dtype, 1)
    for axis in (-1, 2, 1, 0):
        Y = REFERENCE.softmax(X.astype("float64"), axis=axis)
        assert_allclose(OPS.softmax(X, axis=axis), Y, **TOLERANCE[dtype])
        assert_allclose(
            OPS.backprop_softmax(Y.astype(dtype), dY, axis=axis),
            REFERENCE.backprop_softmax(Y, dY.astype("float64"), axis=axis),
            **TOLERANCE[dtype],
        )


@every_dtype
def test_softmax_of_one_column_is_one(dtype):
    X = numpy.array([[3.0], [-1e30], [1e30]], dtype=dtype)
    Y = OPS.softmax(X)
    assert_array_equal(Y, numpy.ones((3, 1)))
    assert_array_equal(OPS.backprop_softmax(Y, X), numpy.zeros((3, 1)))


@every_dtype
@pytest.mark.parametrize("width", [2, 7, 16, 33])
def test_softmax_of_large_scores_and_of_nan(dtype, width):
    big = numpy.finfo(dtype).max / 4
    X = numpy.zeros((4, width), dtype=dtype)
    X[0, 1], X[1, :], X[2, 0], X[3, -1] = big, -big, -numpy.inf, numpy.nan
    Y = OPS.softmax(X)
    assert_array_equal(Y[0], numpy.arange(width) == 1)
    assert_allclose(Y[1], 1 / width, rtol=1e-6)
    assert Y[2, 0] == 0
    assert_allclose(Y[2, 1:], 1 / (width - 1), rtol=1e-6)
    assert numpy.isnan(Y[3]).all()


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_backprop_softmax_by_differences(temperature):
    X, dY = normal((3, 5), "float64", 3), normal((3, 5), "float64", 4)
    expected = gradient_by_differences(
        lambda values: OPS.softmax(values, temperature=temperature), X, dY
    )
    Y = OPS.softmax(X, temperature=temperature)
    dX = OPS.backprop_softmax(Y, dY, temperature=temperature)
    assert_allclose(dX, expected, atol=1e-8)


@every_dtype
def test_backprop_softmax_of_unequal_shapes_is_an_error(dtype):
    with pytest.raises(ValueError, match="backprop_softmax"):
        OPS.backprop_softmax(numpy.ones((2, 3), dtype=dtype), numpy.ones((2, 4), dtype=dtype))


# ---- layer normalization -----------------------------------------------------


@every_dtype
@given(B=rows, O=widths, layout=layout_names, seed=seeds)
def test_layer_norm(dtype, B, O, layout, seed):
    X, G, b = (normal(s, dtype, seed + i) for i, s in enumerate([(B, O), (O,), (O,)]))
    if O <= 2:  # the difference of two near values has no precision to speak of
        X = numpy.round(X) + numpy.arange(O, dtype=dtype) * 8
    expected = REFERENCE.layer_norm(*(A.astype("float64") for A in (X, G, b)))
    results = OPS.layer_norm(*(strategies.layouts(A)[layout] for A in (X, G, b)))
    for found, wanted, shape in zip(results, expected, [(B, O), (B,), (B,)], strict=True):
        assert found.dtype == dtype
        assert found.shape == shape
        assert_allclose(found, wanted, **TOLERANCE[dtype])


@every_dtype
@given(B=rows, O=st.integers(3, 130), layout=layout_names, seed=seeds)
def test_backprop_layer_norm(dtype, B, O, layout, seed):
    X, G, dY = (normal(s, dtype, seed + i) for i, s in enumerate([(B, O), (O,), (B, O)]))
    X += numpy.arange(O, dtype=dtype) % 3
    X64, G64, dY64 = (A.astype("float64") for A in (X, G, dY))
    _, mean, rstd = REFERENCE.layer_norm(X64, G64, G64)
    expected = REFERENCE.backprop_layer_norm(dY64, X64, mean, rstd, G64)
    saved = mean.astype(dtype), rstd.astype(dtype)
    dY_given, X_given, G_given = (strategies.layouts(A)[layout] for A in (dY, X, G))
    results = OPS.backprop_layer_norm(dY_given, X_given, *saved, G_given)
    for found, wanted in zip(results, expected, strict=True):
        assert found.dtype == dtype
        assert_allclose(found, wanted, rtol=2e-5 if dtype == "float32" else 1e-11, atol=2e-5)
    assert_array_equal(dY_given, dY)


def test_backprop_layer_norm_by_differences():
    X, dY = normal((3, 7), "float64", 5), normal((3, 7), "float64", 6)
    G, b = normal(7, "float64", 7), normal(7, "float64", 8)
    _, mean, rstd = OPS.layer_norm(X, G, b)
    dX, dG, db = OPS.backprop_layer_norm(dY, X, mean, rstd, G)
    for found, function, at in (
        (dX, lambda values: OPS.layer_norm(values, G, b)[0], X),
        (dG, lambda values: OPS.layer_norm(X, values, b)[0], G),
        (db, lambda values: OPS.layer_norm(X, G, values)[0], b),
    ):
        assert_allclose(found, gradient_by_differences(function, at, dY), atol=1e-7)


@every_dtype
def test_layer_norm_of_equal_values_is_the_bias(dtype):
    X = numpy.full((4, 33), 3.0, dtype=dtype)
    b = normal(33, dtype, 9)
    Y, mean, rstd = OPS.layer_norm(X, numpy.ones(33, dtype=dtype), b)
    assert_allclose(Y, numpy.tile(b, (4, 1)), atol=1e-6)
    assert_array_equal(mean, 3)
    assert_allclose(rstd, 1e4, rtol=1e-6)


@every_dtype
def test_layer_norm_keeps_a_nan_in_its_row(dtype):
    X = normal((3, 20), dtype, 10)
    X[1, 13] = numpy.nan
    G, b = numpy.ones(20, dtype=dtype), numpy.zeros(20, dtype=dtype)
    Y, mean, rstd = OPS.layer_norm(X, G, b)
    assert numpy.isnan(Y[1]).all()
    assert numpy.isfinite(Y[[0, 2]]).all()
    assert_array_equal(numpy.isnan(mean), [False, True, False])


@every_dtype
def test_layer_norm_of_three_dimensions(dtype):
    X, G, b = normal((2, 3, 9), dtype, 11), normal(9, dtype, 12), normal(9, dtype, 13)
    Y, mean, rstd = OPS.layer_norm(X, G, b)
    flat = OPS.layer_norm(X.reshape((6, 9)), G, b)
    assert_array_equal(Y.reshape((6, 9)), flat[0])
    assert mean.shape == rstd.shape == (2, 3)


@every_dtype
def test_layer_norm_with_parameters_of_another_width_is_an_error(dtype):
    X, short = normal((2, 9), dtype, 0), normal(8, dtype, 0)
    right = normal(9, dtype, 0)
    for G, b in ((short, right), (right, short)):
        with pytest.raises(ValueError, match="layer_norm"):
            OPS.layer_norm(X, G, b)
    with pytest.raises(ValueError, match="layer_norm"):
        OPS.backprop_layer_norm(X, X, X[:, 0].copy(), X[:, 0].copy(), short)


# ---- maxout ------------------------------------------------------------------


@every_dtype
@given(B=rows, O=st.integers(0, 20), P=pieces, layout=layout_names, seed=seeds)
def test_maxout(dtype, B, O, P, layout, seed):
    # Small integers, so that pieces tie, and some NaN.
    rng = numpy.random.default_rng(seed)
    X = rng.integers(-3, 4, size=(B, O, P)).astype(dtype)
    X[rng.random(X.shape) < 0.1] = rng.choice([numpy.nan, numpy.inf, -numpy.inf])
    best, which = OPS.maxout(strategies.layouts(X)[layout])
    expected, first = REFERENCE.maxout(X)
    assert best.dtype == dtype
    assert which.dtype == "int32"
    assert_array_equal(best, expected)
    assert_array_equal(which, first)


@every_dtype
@pytest.mark.parametrize("which_dtype", ["int32", "int64", "uint32", "uint8"])
@given(B=rows, O=st.integers(0, 20), P=pieces, layout=layout_names, seed=seeds)
def test_backprop_maxout(dtype, which_dtype, B, O, P, layout, seed):
    dY = normal((B, O), dtype, seed)
    which = numpy.random.default_rng(seed).integers(0, P, size=(B, O)).astype(which_dtype)
    expected = REFERENCE.backprop_maxout(dY, which, P)
    dX = OPS.backprop_maxout(strategies.layouts(dY)[layout], strategies.layouts(which)[layout], P)
    assert dX.dtype == dtype
    assert_array_equal(dX, expected)


@every_dtype
@pytest.mark.parametrize("P", range(1, 8))
def test_maxout_of_equal_pieces_takes_the_first(dtype, P):
    best, which = OPS.maxout(numpy.full((5, 9, P), -2.0, dtype=dtype))
    assert_array_equal(best, numpy.full((5, 9), -2.0))
    assert_array_equal(which, numpy.zeros((5, 9)))


@every_dtype
@pytest.mark.parametrize("P", range(1, 8))
def test_maxout_of_minus_infinity(dtype, P):
    best, which = OPS.maxout(numpy.full((5, 9, P), -numpy.inf, dtype=dtype))
    assert_array_equal(best, numpy.full((5, 9), -numpy.inf))
    assert_array_equal(which, numpy.zeros((5, 9)))


@every_dtype
@pytest.mark.parametrize("P", range(1, 8))
@pytest.mark.parametrize("index", [-1, -(2**31), 2**31 - 1, 2**32, 2**40 + 1, "P"])
@pytest.mark.parametrize("place", [0, 44, 89])
def test_a_piece_out_of_range_is_an_error(dtype, P, index, place):
    which = numpy.zeros((10, 9), dtype="int64")
    which.reshape(-1)[place] = P if index == "P" else index
    with pytest.raises(IndexError, match="backprop_maxout"):
        OPS.backprop_maxout(numpy.ones((10, 9), dtype=dtype), which, P)
    if abs(int(which.reshape(-1)[place])) < 2**31:
        with pytest.raises(IndexError, match="backprop_maxout"):
            OPS.backprop_maxout(numpy.ones((10, 9), dtype=dtype), which.astype("int32"), P)


@every_dtype
def test_maxout_of_wrong_shapes_is_an_error(dtype):
    with pytest.raises(ValueError, match="maxout"):
        OPS.maxout(numpy.ones((3, 4), dtype=dtype))
    with pytest.raises(ValueError, match="maxout"):
        OPS.maxout(numpy.ones((3, 4, 0), dtype=dtype))
    with pytest.raises(ValueError, match="maxout"):
        OPS.backprop_maxout(numpy.ones((3, 4), dtype=dtype), numpy.zeros((3, 5), dtype="int32"), 2)
