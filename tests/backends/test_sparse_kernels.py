"""Linear models of hashed features, and hashes of strings: NumpyOps against the generic Ops."""
import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from thinc.api import NumpyOps, Ops

OPS = NumpyOps()
REFERENCE = Ops()
REFERENCE.xp = numpy


def problem(dtype, lengths, nO, K, stride, extra, seed):
    """Weights, biases, cells, values and lengths; cells reach up to the last weight."""
    rng = numpy.random.default_rng(seed)
    m = sum(lengths)
    limit = 1 + extra
    W = rng.normal(0, 1, limit + max(nO - 1, 0) * stride).astype(dtype)
    cells = rng.integers(0, limit, (m, K)).astype("uint32")
    values = rng.normal(0, 1, m).astype(dtype)
    return W, rng.normal(0, 1, nO).astype(dtype), cells, values, numpy.array(lengths, "int32")


PROBLEMS = st.builds(
    problem,
    dtype=st.sampled_from(["float32", "float64"]),
    lengths=st.lists(st.integers(0, 9), max_size=6),
    nO=st.integers(0, 5),
    K=st.integers(1, 3),
    stride=st.integers(0, 12),
    extra=st.integers(0, 20),
    seed=st.integers(0, 999),
)


@settings(max_examples=50, deadline=None)
@given(PROBLEMS, st.integers(0, 12))
def test_sums_and_gradients(given_problem, stride):
    W, b, cells, values, lengths = given_problem
    nO = b.shape[0]
    stride = min(stride, (W.shape[0] - 1) // max(nO - 1, 1))
    cells %= max(W.shape[0] - max(nO - 1, 0) * stride, 1)
    tolerance = 1e-5 if W.dtype == "float32" else 1e-12
    Y = OPS.sparse_linear(W, b, cells, values, lengths, stride)
    wide = [x.astype("float64") for x in (W, b, values)]
    expected = REFERENCE.sparse_linear(wide[0], wide[1], cells, wide[2], lengths, stride)
    assert Y.dtype == W.dtype
    assert_allclose(Y, expected, atol=10 * tolerance, rtol=tolerance)

    dY = numpy.random.default_rng(0).normal(0, 1, Y.shape).astype(W.dtype)
    dW = numpy.ones_like(W)
    assert OPS.backprop_sparse_linear(dW, dY, cells, values, lengths, stride) is dW
    expected = numpy.ones_like(wide[0])
    REFERENCE.backprop_sparse_linear(
        expected, dY.astype("float64"), cells, wide[2], lengths, stride
    )
    assert_allclose(dW, expected, atol=10 * tolerance, rtol=tolerance)


def test_strided_and_integer_arrays():
    W, b, cells, values, lengths = problem("float32", [2, 0, 3], 2, 2, 7, 6, 0)
    expected = OPS.sparse_linear(W, b, cells, values, lengths, 7)
    twice = numpy.repeat(W, 2)[::2], b[::-1][::-1], cells.astype("int64"), values[::-1][::-1]
    assert_array_equal(OPS.sparse_linear(*twice, lengths.astype("int64"), 7), expected)
    dY = numpy.ones((3, 4), "float32")[:, ::2]
    dW = OPS.backprop_sparse_linear(numpy.zeros_like(W), dY, cells, values, lengths, 7)
    strided = numpy.zeros(2 * W.size, "float32")[::2]
    OPS.backprop_sparse_linear(strided, dY, cells, values, lengths, 7)
    assert_allclose(strided, dW, rtol=1e-6)


@pytest.mark.parametrize("ops", [OPS, REFERENCE], ids=["numpy", "generic"])
def test_what_does_not_fit_raises_and_changes_nothing(ops):
    W, b, cells, values, lengths = problem("float32", [2, 0, 3], 2, 2, 7, 6, 0)
    dY = numpy.ones((3, 2), "float32")
    dW = numpy.zeros_like(W)
    outside = cells.copy()
    outside[1, 1] = 7  # in range for the first class, not for the last
    with pytest.raises(IndexError, match="cells"):
        ops.sparse_linear(W, b, outside, values, lengths, 7)
    with pytest.raises(IndexError, match="cells"):
        ops.backprop_sparse_linear(dW, dY, outside, values, lengths, 7)
    with pytest.raises((IndexError, ValueError)):
        ops.sparse_linear(W, b, cells, values, lengths + 1, 7)
    with pytest.raises((IndexError, ValueError)):
        ops.backprop_sparse_linear(dW, dY, cells, values, lengths + 1, 7)
    with pytest.raises(ValueError):
        ops.backprop_sparse_linear(dW, dY[:2], cells, values, lengths, 7)
    with pytest.raises(ValueError, match="values"):
        ops.sparse_linear(W, b, cells, values[1:], lengths, 7)
    with pytest.raises(TypeError, match="integers"):
        ops.sparse_linear(W, b, cells.astype("f"), values, lengths, 7)
    assert not dW.any()


@given(
    st.lists(st.integers(0, 2**64 - 1), max_size=20),
    st.one_of(st.integers(1, 100), st.integers(1, 2**32 - 1)),
    st.booleans(),
)
def test_cells(keys, length, masked):
    keys = numpy.array(keys, dtype="uint64")
    cells = OPS.sparse_cells(keys, length, masked=masked)
    assert cells.dtype == "uint32" and cells.shape == (len(keys), 2)
    assert_array_equal(cells, REFERENCE.sparse_cells(keys, length, masked=masked))
    assert not cells.size or cells.max() < length


@pytest.mark.parametrize("ops", [OPS, REFERENCE], ids=["numpy", "generic"])
def test_cells_of_no_table(ops):
    for length in (0, -1, 2**32):
        with pytest.raises(ValueError, match="length"):
            ops.sparse_cells(numpy.zeros(1, "uint64"), length)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=8))
def test_strings(strings):
    ids = OPS.hash_strings(strings)
    assert ids.dtype == "uint64" and ids.shape == (len(strings),)
    assert_array_equal(ids, REFERENCE.hash_strings(strings))
    assert_array_equal(OPS.hash_strings(tuple(strings)), ids)
    assert_array_equal(OPS.hash_strings(iter(strings)), ids)


@pytest.mark.parametrize("ops", [OPS, REFERENCE], ids=["numpy", "generic"])
def test_what_is_no_string(ops):
    for wrong in (b"bytes", 3, None):
        with pytest.raises(TypeError, match="strings"):
            ops.hash_strings(["a", wrong])
    with pytest.raises(UnicodeEncodeError):
        ops.hash_strings(["\ud800"])
