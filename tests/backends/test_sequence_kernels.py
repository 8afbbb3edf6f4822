"""The compiled loops over sequences against the generic Ops, at every instruction-set level."""

import numpy
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from thinc.backends import NumpyOps, Ops, cpu_kernels

OPS = NumpyOps()
REFERENCE = Ops()
# A sum of up to 40 normal numbers, in the kernel's precision against float64.
TOLERANCE = {
    "float32": {"rtol": 2e-6, "atol": 1e-5},
    "float64": {"rtol": 1e-14, "atol": 1e-13},
}

every_dtype = pytest.mark.parametrize("dtype", strategies.FLOAT_DTYPES)
seeds = st.integers(0, 2**32 - 1)
# Around the number of lanes of every vector size, and wider than a block of them.
widths = st.sampled_from([0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 67, 96, 130])
lengths_with_empty = strategies.lengths(0, 11)
lengths_without_empty = strategies.lengths(1, 11)
layout_names = st.sampled_from(list(strategies.layouts(numpy.zeros((1, 1)))))


@pytest.fixture(params=cpu_kernels.available_levels(), autouse=True, scope="module")
def level(request):
    with cpu_kernels.use_level(request.param):
        yield request.param


def normal(shape, dtype, seed, special=False):
    rng = numpy.random.default_rng(seed)
    X = rng.normal(size=shape).astype(dtype)
    if special and X.size:
        for value in (numpy.nan, numpy.inf, -numpy.inf):
            X.reshape(-1)[rng.integers(0, X.size, 1 + X.size // 15)] = value
    return X


def assert_same_floats(actual, expected, dtype):
    """expected: the float64 result."""
    assert actual.dtype == dtype
    assert_allclose(actual, expected, **TOLERANCE[dtype])


@every_dtype
@pytest.mark.parametrize("name", ["reduce_sum", "reduce_mean"])
@given(
    lengths=lengths_with_empty, width=widths, layout=layout_names, special=st.booleans(), seed=seeds
)
def test_sums_and_means(name, dtype, lengths, width, layout, special, seed):
    X = normal((int(lengths.sum()), width), dtype, seed, special)
    with numpy.errstate(invalid="ignore"):
        expected = getattr(REFERENCE, name)(X.astype("float64"), lengths)
        Y = getattr(OPS, name)(strategies.layouts(X)[layout], lengths)
    assert_same_floats(Y, expected, dtype)


@every_dtype
def test_a_mean_is_finite_where_the_sum_is_not(dtype):
    largest = numpy.finfo(dtype).max
    X = numpy.full((5, 19), largest / 2, dtype=dtype)
    X[:, 3] = numpy.inf
    Y = OPS.reduce_mean(X, numpy.array([5], dtype="int32"))
    expected = numpy.full((1, 19), largest / 2, dtype=dtype)
    expected[:, 3] = numpy.inf
    assert_allclose(Y, expected, rtol=1e-6)


@every_dtype
@given(
    lengths=lengths_without_empty,
    width=widths,
    layout=layout_names,
    special=st.booleans(),
    seed=seeds,
)
def test_maxima_and_their_places(dtype, lengths, width, layout, special, seed):
    # Few different values, so that the first of equal ones has to win.
    X = numpy.round(normal((int(lengths.sum()), width), dtype, seed, special))
    expected, expected_which = REFERENCE.reduce_max(X, lengths)
    Y, which = OPS.reduce_max(strategies.layouts(X)[layout], lengths)
    assert Y.dtype == dtype
    assert which.dtype == "int32"
    assert_array_equal(Y, expected)
    assert_array_equal(which, expected_which)


@every_dtype
def test_first_nan_is_the_maximum_wherever_it_stands(dtype):
    lengths = numpy.array([9], dtype="int32")
    for width in (1, 5, 16, 19):
        for place in range(9):
            X = normal((9, width), dtype, place)
            X[place:, width // 2] = numpy.nan
            Y, which = OPS.reduce_max(X, lengths)
            assert numpy.isnan(Y[0, width // 2])
            assert which[0, width // 2] == place
            assert numpy.isnan(Y).sum() == 1


@every_dtype
@pytest.mark.parametrize("name", ["backprop_reduce_sum", "backprop_reduce_mean"])
@given(lengths=lengths_with_empty, width=widths, layout=layout_names, seed=seeds)
def test_backprop_of_sums_and_means(name, dtype, lengths, width, layout, seed):
    dY = normal((len(lengths), width), dtype, seed)
    expected = getattr(REFERENCE, name)(dY.astype("float64"), lengths)
    dX = getattr(OPS, name)(strategies.layouts(dY)[layout], lengths)
    assert_same_floats(dX, expected, dtype)


@every_dtype
@given(lengths=lengths_without_empty, width=widths, layout=layout_names, seed=seeds)
def test_backprop_of_maxima(dtype, lengths, width, layout, seed):
    X = normal((int(lengths.sum()), width), dtype, seed)
    _, which = REFERENCE.reduce_max(X, lengths)
    dY = normal((len(lengths), width), dtype, seed + 1)
    expected = REFERENCE.backprop_reduce_max(dY, which, lengths)
    dX = OPS.backprop_reduce_max(strategies.layouts(dY)[layout], which, lengths)
    assert dX.dtype == dtype
    assert_array_equal(dX, expected)


@every_dtype
@pytest.mark.parametrize("wrong", [-1, 3, 2**31 - 1, -(2**31)])
def test_backprop_of_maxima_refuses_a_place_outside_its_sequence(dtype, wrong):
    lengths = numpy.array([4, 3], dtype="int32")
    which = numpy.zeros((2, 17), dtype="int32")
    which[1, 16] = wrong
    with pytest.raises(IndexError, match="which"):
        OPS.backprop_reduce_max(numpy.ones((2, 17), dtype=dtype), which, lengths)


@every_dtype
@given(
    lengths=lengths_with_empty,
    width=widths,
    window=st.integers(0, 4),
    layout=layout_names,
    special=st.booleans(),
    seed=seeds,
)
def test_windows(dtype, lengths, width, window, layout, special, seed):
    X = normal((int(lengths.sum()), width), dtype, seed, special)
    expected = REFERENCE.seq2col(X, window, lengths=lengths)
    Y = OPS.seq2col(strategies.layouts(X)[layout], window, lengths=lengths)
    assert Y.dtype == dtype
    assert_array_equal(Y, expected)


@every_dtype
@given(
    lengths=lengths_with_empty,
    width=widths,
    window=st.integers(0, 4),
    layout=layout_names,
    special=st.booleans(),
    seed=seeds,
)
def test_backprop_of_windows(dtype, lengths, width, window, layout, special, seed):
    shape = (int(lengths.sum()), (2 * window + 1) * width)
    dY = normal(shape, dtype, seed, special)
    with numpy.errstate(invalid="ignore"):
        expected = REFERENCE.backprop_seq2col(dY.astype("float64"), window, lengths=lengths)
        dX = OPS.backprop_seq2col(strategies.layouts(dY)[layout], window, lengths=lengths)
    assert_same_floats(dX, expected, dtype)


@every_dtype
@pytest.mark.parametrize("window", [1, 2])
def test_windows_without_lengths_span_the_whole_array(dtype, window):
    X = normal((7, 5), dtype, 0)
    one = numpy.array([7], dtype="int32")
    Y = OPS.seq2col(X, window)
    assert_array_equal(Y, REFERENCE.seq2col(X, window, lengths=one))
    assert_same_floats(
        OPS.backprop_seq2col(Y, window), REFERENCE.backprop_seq2col(Y, window, lengths=one), dtype
    )


@every_dtype
@given(lengths=lengths_with_empty, width=st.integers(1, 20), window=st.integers(0, 3), seed=seeds)
def test_backprop_of_windows_is_the_adjoint(dtype, lengths, width, window, seed):
    X = normal((int(lengths.sum()), width), dtype, seed)
    dY = normal((X.shape[0], (2 * window + 1) * width), dtype, seed + 1)
    forward = numpy.vdot(dY.astype("float64"), OPS.seq2col(X, window, lengths=lengths))
    backward = numpy.vdot(X.astype("float64"), OPS.backprop_seq2col(dY, window, lengths=lengths))
    assert_allclose(forward, backward, rtol=1e-5, atol=1e-4)


def test_windows_wider_than_the_sequences():
    X = numpy.arange(6, dtype="float32").reshape(3, 2)
    lengths = numpy.array([1, 2], dtype="int32")
    Y = OPS.seq2col(X, 3, lengths=lengths).reshape(3, 7, 2)
    expected = numpy.zeros((3, 7, 2), dtype="float32")
    expected[0, 3], expected[1, 3:5], expected[2, 2:4] = X[0], X[1:], X[1:]
    assert_array_equal(Y, expected)


# ---- softmax ------------------------------------------------------------------

# Wider than a block of columns, too.
softmax_widths = st.sampled_from([0, 1, 2, 7, 8, 15, 16, 17, 33, 127, 128, 129, 260])


@every_dtype
@given(
    lengths=lengths_with_empty,
    width=softmax_widths,
    layout=layout_names,
    inplace=st.booleans(),
    seed=seeds,
)
def test_softmax_of_sequences(dtype, lengths, width, layout, inplace, seed):
    X = normal((int(lengths.sum()), width), dtype, seed) * 5
    expected = REFERENCE.softmax_sequences(X.astype("float64"), lengths)
    given_X = strategies.layouts(X)[layout]
    inplace = inplace and layout != "read-only"
    Y = OPS.softmax_sequences(given_X, lengths, inplace=inplace)
    assert_same_floats(Y, expected, dtype)
    if inplace:
        assert Y is given_X
    else:
        assert_array_equal(given_X, X)


@every_dtype
@given(lengths=lengths_with_empty, width=softmax_widths, seed=seeds)
def test_softmax_of_sequences_with_special_numbers(dtype, lengths, width, seed):
    X = normal((int(lengths.sum()), width), dtype, seed, special=True)
    with numpy.errstate(invalid="ignore"):
        expected = REFERENCE.softmax_sequences(X.astype("float64"), lengths)
        assert_same_floats(OPS.softmax_sequences(X, lengths), expected, dtype)


@every_dtype
@given(lengths=lengths_with_empty, width=softmax_widths, layout=layout_names, seed=seeds)
def test_backprop_of_softmax_of_sequences(dtype, lengths, width, layout, seed):
    X = normal((int(lengths.sum()), width), dtype, seed)
    Y = REFERENCE.softmax_sequences(X, lengths)
    dY = normal(X.shape, dtype, seed + 1)
    expected = REFERENCE.backprop_softmax_sequences(
        dY.astype("float64"), Y.astype("float64"), lengths
    )
    given_dY, given_Y = strategies.layouts(dY)[layout], strategies.layouts(Y)[layout]
    dX = OPS.backprop_softmax_sequences(given_dY, given_Y, lengths)
    assert_same_floats(dX, expected, dtype)
    assert_array_equal(given_dY, dY)


@every_dtype
def test_softmax_of_sequences_refuses_wrong_lengths(dtype):
    X = numpy.ones((3, 2), dtype=dtype)
    for call in (
        lambda lengths: OPS.softmax_sequences(X, lengths),
        lambda lengths: OPS.backprop_softmax_sequences(X, X, lengths),
    ):
        with pytest.raises(IndexError, match="sum"):
            call(numpy.array([1, 1], dtype="int32"))
        with pytest.raises(ValueError, match="lengths"):
            call(numpy.array([4, -1], dtype="int32"))
    with pytest.raises(ValueError, match="shape"):
        OPS.backprop_softmax_sequences(X, X[:2], numpy.array([3], dtype="int32"))
    with pytest.raises(NotImplementedError, match="2-d"):
        OPS.softmax_sequences(X[None], numpy.array([3], dtype="int32"))
