"""Sums of table rows, compiled, against the generic Ops, at every instruction-set level."""

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
    "float32": {"rtol": 2e-6, "atol": 5e-6},
    "float64": {"rtol": 1e-14, "atol": 1e-14},
}

every_dtype = pytest.mark.parametrize("dtype", strategies.FLOAT_DTYPES)
every_index_dtype = pytest.mark.parametrize("index_dtype", ["uint32", "int32", "int64"])
seeds = st.integers(0, 2**32 - 1)
widths = st.sampled_from([0, 1, 3, 8, 15, 16, 17, 32, 63, 96, 130])


@pytest.fixture(params=cpu_kernels.available_levels(), autouse=True, scope="module")
def level(request):
    with cpu_kernels.use_level(request.param):
        yield request.param


def table_and_indices(rows, width, B, K, seed, dtype):
    rng = numpy.random.default_rng(seed)
    table = rng.normal(size=(rows, width)).astype(dtype)
    return table, rng.integers(0, rows, size=(B, K)), rng.normal(size=(B, width)).astype(dtype)


@every_dtype
@every_index_dtype
@given(
    rows=st.integers(1, 9),
    width=widths,
    B=st.integers(0, 7),
    K=st.integers(0, 9),
    layout=st.sampled_from(["contiguous", "fortran", "every second", "backwards", "read-only"]),
    seed=seeds,
)
def test_gather_add(dtype, index_dtype, rows, width, B, K, layout, seed):
    table, indices, _ = table_and_indices(rows, width, B, K, seed, dtype)
    indices = indices.astype(index_dtype)
    expected = REFERENCE.gather_add(table.astype("float64"), indices)
    Y = OPS.gather_add(strategies.layouts(table)[layout], indices)
    assert Y.dtype == dtype
    assert_allclose(Y, expected, **TOLERANCE[dtype])


@every_dtype
@every_index_dtype
@given(
    rows=st.integers(1, 9),
    width=widths,
    B=st.integers(0, 7),
    K=st.integers(0, 9),
    layout=st.sampled_from(["contiguous", "fortran", "every second", "backwards", "read-only"]),
    seed=seeds,
)
def test_backprop_gather_add(dtype, index_dtype, rows, width, B, K, layout, seed):
    table, indices, dY = table_and_indices(rows, width, B, K, seed, dtype)
    indices = indices.astype(index_dtype)
    expected = table.astype("float64")
    REFERENCE.backprop_gather_add(expected, dY.astype("float64"), indices)
    returned = OPS.backprop_gather_add(table, strategies.layouts(dY)[layout], indices)
    assert returned is table
    assert_allclose(table, expected, **TOLERANCE[dtype])


@every_dtype
def test_backprop_gather_add_counts_repeated_rows(dtype):
    table = numpy.zeros((3, 5), dtype=dtype)
    dY = numpy.ones((2, 5), dtype=dtype)
    OPS.backprop_gather_add(table, dY, numpy.array([[1, 1, 1, 2], [1, 2, 2, 1]], dtype="uint32"))
    assert_array_equal(table, numpy.array([[0.0], [5.0], [3.0]]) * numpy.ones(5))


@every_dtype
@pytest.mark.parametrize("index", [10, -1, 2**31 - 1])
@pytest.mark.parametrize("place", [0, 1999, 3999])
def test_an_index_outside_the_table_is_an_error(dtype, index, place):
    table = numpy.ones((10, 8), dtype=dtype)
    indices = numpy.zeros((1000, 4), dtype="int32")
    indices.reshape(-1)[place] = index
    with pytest.raises(IndexError, match="gather_add"):
        OPS.gather_add(table, indices)
    with pytest.raises(IndexError, match="gather_add"):
        OPS.backprop_gather_add(table, numpy.ones((1000, 8), dtype=dtype), indices)
    assert_array_equal(table, 1)


@every_dtype
@pytest.mark.parametrize("value", [numpy.nan, numpy.inf])
def test_nan_and_infinity_pass_through(dtype, value):
    table = numpy.ones((3, 17), dtype=dtype)
    table[1, 4] = value
    Y = OPS.gather_add(table, numpy.array([[0, 2], [1, 2]], dtype="uint32"))
    expected = numpy.full((2, 17), 2.0)
    expected[1, 4] = value
    assert_array_equal(Y, expected)


@every_dtype
@given(rows=st.integers(1, 300), width=widths, n=st.integers(0, 70), seed=seeds)
def test_hash_embed(dtype, rows, width, n, seed):
    rng = numpy.random.default_rng(seed)
    E = rng.normal(size=(rows, width)).astype(dtype)
    ids = rng.integers(0, 2**64, size=n, dtype="uint64")
    expected, expected_rows = REFERENCE.hash_embed(E.astype("float64"), ids, seed)
    Y, chosen = OPS.hash_embed(E, ids, seed)
    assert Y.dtype == dtype
    assert chosen.dtype == "uint32"
    assert_array_equal(chosen, expected_rows)
    assert_allclose(Y, expected, **TOLERANCE[dtype])


@every_dtype
@pytest.mark.parametrize("index_dtype", ["int8", "uint8", "int32", "int64", "uint32", "uint64"])
@given(rows=st.integers(1, 9), width=widths, B=st.integers(0, 40), seed=seeds)
def test_scatter_add(dtype, index_dtype, rows, width, B, seed):
    table, indices, values = table_and_indices(rows, width, B, 1, seed, dtype)
    indices = indices[:, 0]
    if index_dtype[0] == "i":
        indices = indices - rows * (numpy.arange(B) % 2)  # every second from the end
    indices = indices.astype(index_dtype)
    expected = table.astype("float64")
    REFERENCE.scatter_add(expected, indices, values)
    assert OPS.scatter_add(table, indices, values) is None
    assert_allclose(table, expected, rtol=2e-5, atol=2e-5)


@every_dtype
@pytest.mark.parametrize(
    ("index_dtype", "wrong"),
    [
        ("int32", 7),
        ("int32", -8),
        ("int32", 2**31 - 1),
        ("int32", -(2**31)),
        ("int64", 7),
        ("int64", -8),
        ("int64", 2**32),
        ("int64", -(2**63)),
        ("int64", 2**63 - 1),
        ("uint32", 7),
        ("uint64", 2**63),
        ("uint64", 2**64 - 1),
    ],
)
def test_scatter_add_refuses_rows_outside_the_table(dtype, index_dtype, wrong):
    table = numpy.zeros((7, 16), dtype=dtype)
    indices = numpy.array([0, 6, wrong], dtype=index_dtype)
    with pytest.raises(IndexError):
        OPS.scatter_add(table, indices, numpy.ones((3, 16), dtype=dtype))
    assert_array_equal(table, 0)


def test_scatter_add_names_what_is_no_array():
    with pytest.raises(TypeError, match="indices"):
        OPS.scatter_add(numpy.zeros((3, 2)), [0, 1], numpy.ones((2, 2)))
