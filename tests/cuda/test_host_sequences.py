"""Windows and ragged reductions of the CUDA sources, run on the host."""

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from samples import DTYPES, assert_close, blank, launches, numbers_of, random_array, seeds, stored

from thinc.backends.ops import Ops

OPS = Ops()
some_lengths = st.lists(st.integers(0, 20), max_size=7)
full_lengths = st.lists(st.integers(1, 20), max_size=7)
widths = st.sampled_from([0, 1, 4, 8, 31, 33, 64, 100])
INDICES = ("int32", "uint32", "int64", "uint64")


def offsets_of(lengths):
    return numpy.concatenate([[0], numpy.cumsum(lengths)]).astype("int64")


# ---- offsets ------------------------------------------------------------------------------


@pytest.mark.parametrize("index", INDICES)
@settings(max_examples=8)
@given(n=st.sampled_from([0, 1, 31, 33, 1024, 1025, 2500]), seed=seeds, order=st.integers(0, 4))
def test_offsets(kernels, index, n, seed, order):
    lengths = numpy.random.default_rng(seed).integers(0, 9, n).astype(index)
    offsets, status = numpy.full(n + 1, -1, "int64"), numpy.zeros(1, "int32")
    total = int(lengths.sum())
    kernels.run("sequence_offsets", index, offsets, lengths, n, total, 0, status, order=order)
    assert_array_equal(offsets, offsets_of(lengths))
    assert status[0] == 0
    rows = numpy.full(total + 1, -9, "int32")
    kernels.run("sequence_of_row", (), rows, offsets, n, total + 1, order=order)
    assert_array_equal(rows[:-1], numpy.repeat(numpy.arange(n), lengths.astype("int64")))
    assert rows[-1] == -1


@pytest.mark.parametrize(
    "lengths, total, minimum, expected",
    [
        ([2, 0, 3], 5, 0, 0),
        ([2, 0, 3], -1, 0, 0),
        ([2, 0, 3], 5, 1, 2),
        ([2, 0, 3], 6, 0, 4),
        ([2, -1, 3], -1, 0, 2),
    ],
)
def test_offsets_report_what_does_not_fit(kernels, lengths, total, minimum, expected):
    offsets, status = numpy.zeros(4, "int64"), numpy.zeros(1, "int32")
    array = numpy.array(lengths, "int32")
    kernels.run("sequence_offsets", "int32", offsets, array, 3, total, minimum, status)
    assert status[0] == expected
    assert_array_equal(offsets, offsets_of(numpy.maximum(array, 0)))
    kernels.run("sequence_offsets", "int32", offsets, array, 3, total, minimum, None)


def test_offsets_beyond_32_bits(kernels):
    lengths = numpy.full(5, 2**31 - 1, "int32")
    offsets = numpy.zeros(6, "int64")
    kernels.run("sequence_offsets", "int32", offsets, lengths, 5, -1, 0, None)
    assert_array_equal(offsets, offsets_of(lengths.astype("int64")))


# ---- windows ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=20)
@given(
    lengths=some_lengths,
    width=widths,
    window=st.integers(0, 3),
    whole=st.booleans(),
    seed=seeds,
    launch=launches,
)
def test_seq2col(kernels, dtype, lengths, width, window, whole, seed, launch):
    rows, counts = sum(lengths), numpy.array(lengths, "int32")
    X = random_array(seed, (rows, width), dtype)
    Y = blank((rows, (2 * window + 1) * width), dtype)
    where = (None if whole else offsets_of(lengths), len(lengths), rows, width, window)
    if whole:
        counts = None
    kernels.run("seq2col", dtype, Y, X, *where, **launch)
    assert_array_equal(
        numbers_of(Y, dtype), OPS.seq2col(numbers_of(X, dtype), window, lengths=counts)
    )
    dY, dX = random_array(seed + 1, Y.shape, dtype), blank(X.shape, dtype)
    kernels.run("backprop_seq2col", dtype, dX, dY, *where, **launch)
    if rows:
        expected = OPS.backprop_seq2col(numbers_of(dY, dtype), window, lengths=counts)
        assert_close(dX, expected, dtype, factor=4)


# ---- reductions ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=20)
@given(lengths=some_lengths, width=widths, seed=seeds, launch=launches)
def test_sums_and_means(kernels, dtype, lengths, width, seed, launch):
    rows, counts = sum(lengths), numpy.array(lengths, "int32")
    X = random_array(seed, (rows, width), dtype)
    where = (offsets_of(lengths), len(lengths), rows, width)
    for kind in ("sum", "mean"):
        Y, dX = blank((len(lengths), width), dtype), blank(X.shape, dtype)
        kernels.run("reduce", (kind, dtype), Y, X, *where, **launch)
        expected = getattr(OPS, f"reduce_{kind}")(numbers_of(X, dtype), counts)
        assert_close(Y, expected, dtype, factor=5)
        dY = random_array(seed + 1, Y.shape, dtype)
        kernels.run("spread", (kind, dtype), dX, dY, None, *where, **launch)
        expected = getattr(OPS, f"backprop_reduce_{kind}")(numbers_of(dY, dtype), counts)
        assert_close(dX, expected, dtype)


def test_mean_of_numbers_whose_sum_overflows(kernels):
    X = numpy.full((20, 3), 3e38, dtype="f")
    X[:, 1] = 1.0
    X[5, 2] = numpy.nan
    Y = blank((2, 3), "float32")
    kernels.run("reduce", ("mean", "float32"), Y, X, offsets_of([18, 2]), 2, 20, 3)
    numpy.testing.assert_allclose(Y, [[3e38, 1, numpy.nan], [3e38, 1, 3e38]], rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=20)
@given(lengths=full_lengths, width=widths, seed=seeds, launch=launches)
def test_maxima(kernels, dtype, lengths, width, seed, launch):
    rows, counts = sum(lengths), numpy.array(lengths, "int32")
    rng = numpy.random.default_rng(seed)
    values = rng.integers(-3, 3, (rows, width)).astype("f")
    values[rng.random(values.shape) < 0.05] = numpy.nan
    X, shape = stored(values, dtype), (len(lengths), width)
    Y, which, dX = blank(shape, dtype), numpy.full(shape, -9, "int32"), blank(X.shape, dtype)
    where = (offsets_of(lengths), len(lengths), rows, width)
    kernels.run("reduce_max", dtype, Y, which, X, *where, **launch)
    expected, places = OPS.reduce_max(values, counts)
    assert_array_equal(numbers_of(Y, dtype), expected)
    assert_array_equal(which, places)
    dY = random_array(seed, shape, dtype)
    kernels.run("spread", ("max", dtype), dX, dY, which, *where, **launch)
    expected = OPS.backprop_reduce_max(numbers_of(dY, dtype), which, counts)
    assert_array_equal(numbers_of(dX, dtype), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=10)
@given(lengths=full_lengths, width=widths, seed=seeds, launch=launches)
def test_first_and_last_rows(kernels, dtype, lengths, width, seed, launch):
    rows, counts = sum(lengths), numpy.array(lengths, "int32")
    X = random_array(seed, (rows, width), dtype)
    where = (offsets_of(lengths), len(lengths), rows, width)
    for place in ("first", "last"):
        Y, dX = blank((len(lengths), width), dtype), blank(X.shape, dtype)
        kernels.run("reduce_place", (place, dtype), Y, X, *where, **launch)
        expected, where_from = getattr(OPS, f"reduce_{place}")(X, counts)
        assert_array_equal(Y, expected)
        dY = random_array(seed + 1, Y.shape, dtype)
        kernels.run("spread", (place, dtype), dX, dY, None, *where, **launch)
        expected = getattr(OPS, f"backprop_reduce_{place}")(dY, where_from)
        assert_array_equal(dX, expected)


def test_a_sequence_without_rows(kernels):
    X, where = numpy.ones((3, 2), "f"), (offsets_of([0, 3, 0]), 3, 3, 2)
    for place in ("first", "last"):
        Y = blank((3, 2), "float32")
        kernels.run("reduce_place", (place, "float32"), Y, X, *where)
        assert_array_equal(Y, [[0, 0], [1, 1], [0, 0]])
    Y, which = blank((3, 2), "float32"), numpy.full((3, 2), -9, "int32")
    kernels.run("reduce_max", "float32", Y, which, X, *where)
    assert_array_equal(Y, [[0, 0], [1, 1], [0, 0]])
    assert_array_equal(which, 0)


def test_offsets_that_lie_about_the_rows_touch_nothing_else(kernels):
    """The host may learn too late that lengths are wrong; memory must stay whole."""
    X = numpy.ones((4, 2), "f")
    for offsets in ([0, 2, 9], [0, -5, 100], [7, 3, 1]):
        where = (numpy.array(offsets, "int64"), 2, 4, 2)
        Y, which, dX = blank((2, 2), "float32"), numpy.zeros((2, 2), "int32"), numpy.zeros_like(X)
        kernels.run("reduce_max", "float32", Y, which, X, *where)
        assert set(Y.ravel()) <= {0, 1}, "what lies around X is NaN"
        kernels.run("reduce", ("sum", "float32"), Y, X, *where)
        assert set(Y.ravel()) <= {0, 1, 2, 3, 4}
        kernels.run("reduce_place", ("last", "float32"), Y, X, *where)
        assert set(Y.ravel()) <= {0, 1}
        kernels.run("spread", ("mean", "float32"), dX, Y, None, *where)
        assert numpy.isfinite(dX).all()
        kernels.run("softmax_sequences", "float32", dX, X, *where)
        assert numpy.isfinite(dX).all()
        Z = blank((4, 6), "float32")
        kernels.run("seq2col", "float32", Z, X, *where, 1)
        assert numpy.isfinite(Z).all()
        kernels.run("backprop_seq2col", "float32", dX, Z, *where, 1)
        assert numpy.isfinite(dX).all()


def test_rows_beyond_the_last_sequence_are_in_none(kernels):
    X, where = numpy.ones((4, 2), "f"), (numpy.array([0, 1, 2]), 2, 4, 2)
    Y, dX = blank((4, 6), "float32"), blank((4, 2), "float32")
    kernels.run("seq2col", "float32", Y, X, *where, 1)
    assert_array_equal(Y, [[0, 0, 1, 1, 0, 0]] * 2 + [[0] * 6] * 2)
    kernels.run("backprop_seq2col", "float32", dX, numpy.ones((4, 6), "f"), *where, 1)
    assert_array_equal(dX, [[1, 1], [1, 1], [0, 0], [0, 0]])
    kernels.run("spread", ("sum", "float32"), dX, X[:2].copy(), None, *where)
    assert_array_equal(dX, [[1, 1], [1, 1], [0, 0], [0, 0]])


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=15)
@given(lengths=some_lengths, width=widths, seed=seeds, launch=launches)
def test_softmax_of_sequences(kernels, dtype, lengths, width, seed, launch):
    rows, counts = sum(lengths), numpy.array(lengths, "int32")
    X = random_array(seed, (rows, width), dtype, scale=10)
    Y, dX = blank(X.shape, dtype), blank(X.shape, dtype)
    where = (offsets_of(lengths), len(lengths), rows, width)
    kernels.run("softmax_sequences", dtype, Y, X, *where, **launch)
    assert_close(Y, OPS.softmax_sequences(numbers_of(X, dtype), counts), dtype, factor=3)
    dY = random_array(seed + 1, X.shape, dtype)
    kernels.run("backprop_softmax_sequences", dtype, dX, dY, Y, *where, **launch)
    arguments = numbers_of(dY, dtype), numbers_of(Y, dtype), counts
    assert_close(dX, OPS.backprop_softmax_sequences(*arguments), dtype, factor=10)
    kernels.run("softmax_sequences", dtype, X, X, *where, **launch)
    assert_array_equal(X, Y)
