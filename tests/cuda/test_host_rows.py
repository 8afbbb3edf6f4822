"""Softmax, layer normalization, column sums and maxout of the CUDA sources, on the host."""

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

from thinc.backends.cuda_geometry import MAX_WARP_ROW, parts_of, row_items
from thinc.backends.ops import Ops

OPS = Ops()
# A width for each size of a row in registers, and one beyond all of them.
WIDTHS = (1, 2, 31, 32, 33, 96, 128, 129, 256, 300, 512, 513, 1024, 1025, 1500)
few_rows = st.integers(0, 20)


def test_widths_reach_every_kernel():
    assert {row_items(width) for width in WIDTHS} == {0, 4, 8, 16, 32}


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=12)
@given(
    rows=few_rows,
    cols=st.sampled_from(WIDTHS),
    temperature=st.sampled_from([1.0, 0.25, 3.0, -2.0]),
    seed=seeds,
    launch=launches,
)
def test_softmax(kernels, dtype, rows, cols, temperature, seed, launch):
    X = random_array(seed, (rows, cols), dtype, scale=5)
    Y = blank(X.shape, dtype)
    kernels.run("softmax", dtype, Y, X, rows, cols, 1 / temperature, **launch)
    expected = OPS.softmax(numbers_of(X, dtype), temperature=temperature)
    assert_close(Y, expected, dtype, factor=3)

    dY, dX = random_array(seed + 1, X.shape, dtype), blank(X.shape, dtype)
    kernels.run("backprop_softmax", dtype, dX, Y, dY, rows, cols, 1 / temperature, **launch)
    arguments = numbers_of(Y, dtype), numbers_of(dY, dtype)
    assert_close(dX, OPS.backprop_softmax(*arguments, temperature=temperature), dtype, factor=10)
    kernels.run("softmax", dtype, X, X, rows, cols, 1 / temperature, **launch)
    assert_array_equal(X, Y)
    kernels.run("backprop_softmax", dtype, dY, Y, dY, rows, cols, 1 / temperature, **launch)
    assert_array_equal(dY, dX)


@pytest.mark.parametrize("cols", [5, 2000])
def test_softmax_of_extremes(kernels, cols):
    X = numpy.zeros((5, cols), dtype="f")
    X[0, 1], X[1, 2], X[2, 3] = numpy.nan, numpy.inf, -numpy.inf
    X[3] = 3e38
    X[4] = -numpy.inf
    Y = blank(X.shape, "float32")
    kernels.run("softmax", "float32", Y, X, 5, cols, 1.0)
    assert numpy.isnan(Y[[0, 1, 4]]).all()
    assert Y[2, 3] == 0 and abs(Y[2].sum() - 1) < 1e-5
    assert_close(Y[3], 1 / cols, "float32")


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=12)
@given(rows=st.integers(0, 70), cols=st.sampled_from(WIDTHS), seed=seeds, launch=launches)
def test_layer_norm(kernels, dtype, rows, cols, seed, launch):
    X = random_array(seed, (rows, cols), dtype)
    G, b = random_array(seed + 1, cols, dtype), random_array(seed + 2, cols, dtype)
    Y, mean, rstd = blank(X.shape, dtype), statistics(rows, dtype), statistics(rows, dtype)
    kernels.run("layer_norm", dtype, Y, mean, rstd, X, G, b, rows, cols, **launch)
    x, g = numbers_of(X, dtype), numbers_of(G, dtype)
    if cols > 2:  # of two numbers the deviation may be next to nothing
        expected = OPS.layer_norm(x, g, numbers_of(b, dtype))
        assert_close(Y, expected[0], dtype, factor=20)
        assert_close(mean, expected[1], dtype, kind=str(mean.dtype), factor=5)
        assert_close(rstd, expected[2], dtype, kind=str(mean.dtype), factor=20)

    rstd = numpy.minimum(rstd, 50)
    dY, dX = random_array(seed + 3, X.shape, dtype), blank(X.shape, dtype)
    parts = parts_of(rows)
    partials, gradients = statistics((parts, 2 * cols), dtype), blank(2 * cols, dtype)
    arguments = (dY, X, mean, rstd, G, rows, cols, parts)
    kernels.run("backprop_layer_norm", dtype, dX, partials, *arguments, **launch)
    kernels.run("sum_partials", dtype, gradients, partials, parts, 2 * cols, 0, **launch)
    statistic = mean.astype("float64"), rstd.astype("float64")
    dx, dg, db = OPS.backprop_layer_norm(numbers_of(dY, dtype), x, *statistic, g)
    assert_close(dX, dx, dtype, factor=100)
    assert_close(gradients[:cols], dg, dtype, factor=100)
    assert_close(gradients[cols:], db, dtype, factor=20)
    again = statistics((parts, 2 * cols), dtype)
    kernels.run("backprop_layer_norm", dtype, dY, again, *arguments, order=3)  # dX in dY
    assert_array_equal(dY, dX)
    assert_array_equal(again, partials)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=10)
@given(
    rows=st.integers(0, 300),
    cols=st.sampled_from([1, 31, 32, 33, 100]),
    add=st.booleans(),
    seed=seeds,
    launch=launches,
)
def test_column_sums(kernels, dtype, rows, cols, add, seed, launch):
    X, out = random_array(seed, (rows, cols), dtype), random_array(seed + 1, cols, dtype)
    expected = numbers_of(X, dtype).sum(axis=0) + (numbers_of(out, dtype) if add else 0)
    parts = parts_of(rows)
    partials = statistics((parts, cols), dtype)
    kernels.run("column_partials", dtype, partials, X, rows, cols, parts, **launch)
    kernels.run("sum_partials", dtype, out, partials, parts, cols, int(add), **launch)
    assert_close(out, expected, dtype, factor=20)


# ---- maxout -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=20)
@given(
    rows=few_rows,
    outputs=st.sampled_from([0, 1, 5, 32, 100]),
    pieces=st.integers(1, 5),
    with_bias=st.booleans(),
    with_which=st.booleans(),
    seed=seeds,
    launch=launches,
)
def test_maxout(kernels, dtype, rows, outputs, pieces, with_bias, with_which, seed, launch):
    rng = numpy.random.default_rng(seed)
    # Few different numbers, so that equal ones meet; and some NaN.
    X = rng.integers(-3, 4, (rows, outputs, pieces)).astype("f")
    X[rng.random(X.shape) < 0.05] = numpy.nan
    bias = rng.integers(-2, 3, (outputs, pieces)).astype("f")
    best, which = blank((rows, outputs), dtype), numpy.full((rows, outputs), -9, "int32")
    kernels.run(
        "maxout",
        dtype,
        best,
        which if with_which else None,
        stored(X, dtype),
        stored(bias, dtype) if with_bias else None,
        rows,
        outputs,
        pieces,
        **launch,
    )
    expected, places = OPS.maxout(X + bias if with_bias else X)
    assert_array_equal(numbers_of(best, dtype), expected)
    assert_array_equal(which, places if with_which else -9)

    dY, dX = random_array(seed, (rows, outputs), dtype), blank(X.shape, dtype)
    status = numpy.zeros(1, "int32")
    n = rows * outputs
    kernels.run("backprop_maxout", dtype, dX, dY, places, n, pieces, status, **launch)
    expected = OPS.backprop_maxout(numbers_of(dY, dtype), places, pieces)
    assert_array_equal(numbers_of(dX, dtype), expected)
    assert status[0] == 0


def test_backprop_maxout_reports_a_piece_that_there_is_not(kernels):
    which = numpy.array([0, 3, -1, 2], "int32")
    dX, dY, status = blank((4, 3), "float32"), numpy.ones(4, "f"), numpy.zeros(1, "int32")
    kernels.run("backprop_maxout", "float32", dX, dY, which, 4, 3, status)
    assert_array_equal(dX, [[1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 1]])
    assert status[0] == 3


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=12)
@given(
    rows=few_rows,
    outputs=st.sampled_from([w for w in WIDTHS if w > 2]),
    pieces=st.integers(1, 4),
    with_bias=st.booleans(),
    seed=seeds,
    launch=launches,
)
def test_maxout_layer_norm(kernels, dtype, rows, outputs, pieces, with_bias, seed, launch):
    X = random_array(seed, (rows, outputs, pieces), dtype)
    bias = random_array(seed + 1, (outputs, pieces), dtype) if with_bias else None
    G, b = random_array(seed + 2, outputs, dtype), random_array(seed + 3, outputs, dtype)

    def separately():
        best, which = blank((rows, outputs), dtype), numpy.zeros((rows, outputs), "int32")
        Y, mean, rstd = blank(best.shape, dtype), statistics(rows, dtype), statistics(rows, dtype)
        kernels.run("maxout", dtype, best, which, X, bias, rows, outputs, pieces)
        kernels.run("layer_norm", dtype, Y, mean, rstd, best, G, b, rows, outputs)
        return Y, best, which, mean, rstd

    expected = separately()
    results = [numpy.zeros_like(array) for array in expected]
    arguments = (X, bias, G, b, rows, outputs, pieces)
    kernels.run("maxout_layer_norm", dtype, *results, *arguments, **launch)
    for result, array in zip(results, expected, strict=True):
        assert_array_equal(result, array)
    if outputs <= MAX_WARP_ROW:
        alone = [numpy.zeros_like(expected[0]), None, None, *results[3:]]
        kernels.run("maxout_layer_norm", dtype, *alone, *arguments, **launch)
        assert_array_equal(alone[0], expected[0])
