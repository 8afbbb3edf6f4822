"""Compiled methods that lay out arrays, and those that make them, against the generic Ops."""

import sys

import numpy
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from thinc.backends import NumpyOps, Ops
from thinc.types import Padded

OPS = NumpyOps()
REFERENCE = Ops()
DTYPES = ["float32", "float64", "float16", "int32", "int64", "uint8", "bool", "complex64", "object"]

dtypes = st.sampled_from(DTYPES)
seeds = st.integers(0, 2**32 - 1)
trailing_shapes = st.sampled_from([(), (0,), (1,), (3,), (17,), (2, 3)])
layout_names = st.sampled_from(["all contiguous", "some strided"])
few = settings(max_examples=40)


def assert_same(found, expected):
    """One value of a result, or a nest of them, down to dtype and shape."""
    if isinstance(expected, Padded):
        found = [getattr(found, name) for name in ("data", "size_at_t", "lengths", "indices")]
        expected = [getattr(expected, name) for name in ("data", "size_at_t", "lengths", "indices")]
    if isinstance(expected, (list, tuple)):
        assert type(found) is type(expected)
        assert len(found) == len(expected)
        for mine, other in zip(found, expected, strict=True):
            assert_same(mine, other)
        return
    assert type(found) is type(expected)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert_array_equal(found, expected)


def assert_same_outcome(method, *args, **kwargs):
    """NumpyOps gives what Ops gives, be it an exception."""
    try:
        expected = getattr(REFERENCE, method)(*args, **kwargs)
    except Exception as error:  # noqa: BLE001
        with pytest.raises(type(error)):
            getattr(OPS, method)(*args, **kwargs)
        return None
    found = getattr(OPS, method)(*args, **kwargs)
    assert_same(found, expected)
    return found


def numbers(shape, dtype, rng):
    return (rng.normal(size=shape) * 50).astype(dtype)


@st.composite
def sequences(draw, min_size=0):
    rng = numpy.random.default_rng(draw(seeds))
    dtype, width = draw(dtypes), draw(trailing_shapes)
    layout = draw(layout_names)
    found = []
    for n in draw(st.lists(st.integers(0, 6), min_size=min_size, max_size=6)):
        X = numbers((n, *width), dtype, rng)
        if layout == "some strided" and X.ndim > 1 and rng.random() < 0.5:
            X = strategies.layouts(X)["every second"]
        found.append(X)
    return found if draw(st.booleans()) else tuple(found)


@few
@given(Xs=sequences(), pad=st.integers(0, 3), dtype=st.sampled_from([None, "float32", "int32"]))
def test_flatten(Xs, pad, dtype):
    if dtype and any(X.dtype.kind in "cO" for X in Xs):
        dtype = None
    flat = assert_same_outcome("flatten", Xs, dtype=dtype, pad=pad)
    if flat is not None:
        assert not any(numpy.shares_memory(flat, X) for X in Xs)


@few
@given(Xs=sequences(), pad=st.integers(0, 2), layout=st.booleans())
def test_unflatten(Xs, pad, layout):
    flat = REFERENCE.flatten(list(Xs), pad=pad)
    if layout and flat.ndim > 1:
        flat = numpy.asfortranarray(flat)
    lengths = numpy.array([len(X) for X in Xs], dtype="int32")
    parts = assert_same_outcome("unflatten", flat, lengths, pad=pad)
    for part in parts or ():
        assert part.size == 0 or numpy.shares_memory(part, flat)
    assert_same_outcome("unflatten", flat, lengths.tolist(), pad=pad)
    assert_same_outcome("unflatten", flat, lengths + 1, pad=pad)
    assert_same_outcome("unflatten", flat, lengths - 1, pad=pad)


@pytest.mark.parametrize(
    "lengths", [[2, True], [2.0, 1], [2**40, 1], [-(2**70), 3], [numpy.int64(2), 1], [4, -1], ["3"]]
)
def test_unflatten_by_a_list_of_unusual_lengths(lengths):
    assert_same_outcome("unflatten", numpy.ones((3, 2), dtype="float32"), lengths)


def test_views_keep_their_base_alive_and_its_write_protection():
    lengths = numpy.array([2, 3], dtype="int32")
    X = numpy.arange(10.0).reshape(5, 2).copy()
    before = sys.getrefcount(X), sys.getrefcount(X.dtype)
    parts = OPS.unflatten(X, lengths)
    assert all(part.base is X for part in parts)
    parts[1][0, 0] = 77
    assert X[2, 0] == 77
    del parts
    assert (sys.getrefcount(X), sys.getrefcount(X.dtype)) == before
    for _ in range(2000):  # a reference too few or too many would show
        OPS.unflatten(X, lengths)
    assert abs(sys.getrefcount(X.dtype) - before[1]) < 100
    X.flags.writeable = False
    assert not OPS.unflatten(X, lengths)[0].flags.writeable


@few
@given(Xs=sequences(), round_to=st.integers(0, 5))
def test_pad(Xs, round_to):
    assert_same_outcome("pad", Xs, round_to=round_to)
    assert_same_outcome("pad", [*Xs, numpy.zeros((2, 5), "float32")], round_to=round_to)


@few
@given(Xs=sequences(), lower=st.integers(-3, 3))
def test_unpad(Xs, lower):
    padded = REFERENCE.pad(Xs) if len(Xs) else numpy.zeros((0, 3, 2))
    lengths = numpy.array([len(X) for X in Xs], dtype="int32")
    parts = assert_same_outcome("unpad", padded, lengths)
    for part in parts:
        assert part.size == 0 or numpy.shares_memory(part, padded)
    # Numbers beyond the ends mean what they mean in a slice.
    assert_same_outcome("unpad", padded, lengths + lower)
    assert_same_outcome("unpad", padded, [*lengths, 1])


@few
@given(Xs=sequences())
def test_list2padded_and_padded2list(Xs):
    padded = assert_same_outcome("list2padded", Xs)
    if padded is None:
        return
    restored = assert_same_outcome("padded2list", padded)
    for X, Y in zip(Xs, restored, strict=True):
        assert_array_equal(X, Y)
        assert not numpy.shares_memory(Y, padded.data) or len(Xs) == 1
    for part in (padded[::2], padded[:0], padded[:1]):
        if padded.data.ndim > 1:
            assert_same_outcome("padded2list", part)


def test_padded_with_lengths_beyond_its_data():
    data = numpy.arange(12, dtype="float32").reshape(3, 2, 2)
    i = numpy.arange(2, dtype="int32")
    padded = Padded(data, numpy.full(3, 2, dtype="int32"), numpy.array([7, 2], dtype="int32"), i)
    assert_same_outcome("padded2list", padded)


@few
@given(Xs=sequences(min_size=1), more=st.integers(-1, 2), longer=st.integers(-1, 3))
def test_insert_into(Xs, more, longer):
    if Xs[0].ndim < 1:
        return
    longest = max(len(X) for X in Xs)
    shape = (max(0, len(Xs) + more), max(0, longest + longer), *Xs[0].shape[1:])
    assert_same_outcome("insert_into", shape, Xs)


@few
@given(
    lengths=strategies.lengths(0, 5),
    width=trailing_shapes,
    dtype=dtypes,
    strided=st.booleans(),
    length_dtype=st.sampled_from(["int32", "int64", "uint8"]),
    seed=seeds,
)
def test_first_and_last_rows(lengths, width, dtype, strided, length_dtype, seed):
    X = numbers((int(lengths.sum()), *width), dtype, numpy.random.default_rng(seed))
    if strided and X.ndim > 1:
        X = strategies.layouts(X)["backwards"]
    lengths = lengths.astype(length_dtype)
    for name in ("first", "last"):
        result = assert_same_outcome(f"reduce_{name}", X, lengths)
        assert_same_outcome(f"reduce_{name}", X, lengths + 1)
        if result is None:
            continue
        Y, places = result
        assert not numpy.shares_memory(Y, X) or not len(lengths)
        assert_same_outcome(f"backprop_reduce_{name}", Y, places)
        assert_same_outcome(f"backprop_reduce_{name}", Y, places.astype("int64"))
        assert_same_outcome(f"backprop_reduce_{name}", Y[:-1], places)
        if len(places) > 2:  # places out of order, from the end, and outside
            assert_same_outcome(f"backprop_reduce_{name}", Y, places[::-1].copy())
            assert_same_outcome(f"backprop_reduce_{name}", Y, places - 2)


# ---- making and converting ---------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "f", "int32", "i", "d", "int64", "uint8", None, "no"])
@pytest.mark.parametrize(
    "shape", [(), 3, (3,), (2, 0), [2, 3], (2, 3, 4, 5), (-1,), (2.0,), ("a",), (numpy.int64(2), 3)]
)
def test_alloc(dtype, shape):
    assert_same_outcome("alloc", shape, dtype=dtype)
    if dtype != "no" and numpy.shape(shape) != (1,):
        empty = OPS.alloc(shape, dtype=dtype, zeros=False)
        assert empty.shape == REFERENCE.alloc(shape, dtype=dtype).shape
        assert empty.dtype == REFERENCE.alloc(shape, dtype=dtype).dtype


class Recording(NumpyOps):
    """Says which of the general methods were called."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def alloc(self, shape, **options):
        self.calls.append(("alloc", shape, options))
        return super().alloc(shape, **options)

    def reshape(self, array, shape):
        self.calls.append(("reshape", shape, {}))
        return super().reshape(array, shape)

    def asarray(self, data, **options):
        self.calls.append(("asarray", None, options))
        return super().asarray(data, **options)


@pytest.mark.parametrize("kind", ["f", "i"])
@pytest.mark.parametrize("shape", [(24,), (4, 6), (2, 3, 4), (2, 3, 2, 2)])
def test_families_go_through_the_general_methods(kind, shape):
    """A subclass that replaces alloc, reshape or asarray has replaced the family."""
    dtype = {"f": "float32", "i": "int32"}[kind]
    rank = len(shape)
    ops = Recording()
    Y = getattr(ops, f"alloc{rank}{kind}")(*shape)
    assert_same(Y, numpy.zeros(shape, dtype))
    assert_same(getattr(ops, f"alloc_{kind}")(shape), Y)
    assert_same(getattr(ops, f"alloc{rank}{kind}")(*shape, dtype="int64"), Y.astype("int64"))
    assert getattr(ops, f"alloc{rank}{kind}")(*shape, zeros=False).shape == shape
    options = {"dtype": dtype, "zeros": True}
    assert ops.calls[:2] == [("alloc", shape, options)] * 2

    flat = numpy.arange(24, dtype=dtype)
    ops = Recording()
    for name in (f"reshape{rank}", f"reshape{rank}{kind}"):
        Y = getattr(ops, name)(flat, *shape)
        assert_same(Y, flat.reshape(shape))
        assert numpy.shares_memory(Y, flat)
    assert_same(getattr(ops, f"reshape_{kind}")(flat, shape), Y)
    assert ops.calls == [("reshape", shape, {})] * 3

    ops = Recording()
    for name in (f"asarray{rank}{kind}", f"asarray_{kind}"):
        assert getattr(ops, name)(Y) is Y
        assert_same(getattr(ops, name)(Y.tolist()), Y)
        assert_same(getattr(ops, name)(Y.astype("float64")), Y)
        assert_same(getattr(ops, name)(Y, dtype="int64"), Y.astype("int64"))
    assert ops.calls[0] == ("asarray", None, {"dtype": dtype})
    assert len(ops.calls) == 8


def test_reshape():
    X = numpy.arange(12)
    for shape in (12, -1, (3, 4), (3, -1), [2, 6], (5, 2), (-1, -1), "ab"):
        assert_same_outcome("reshape", X, shape)


class Matrix(numpy.ndarray):
    pass


@pytest.mark.parametrize(
    "data",
    [
        [1, 2],
        [],
        [[1.0], [2.0]],
        [[1], [2, 3]],
        (1, 2),
        3.5,
        range(3),
        numpy.arange(4),
        numpy.arange(4).astype(">f4"),
        numpy.arange(4, dtype="float32")[::2],
        numpy.arange(4, dtype="float32").view(Matrix),
        "text",
        None,
    ],
    ids=repr,
)
@pytest.mark.parametrize("dtype", [None, "float32", "f", "int64", ">f4", numpy.float32, "no"])
def test_asarray(data, dtype):
    found = assert_same_outcome("asarray", data, dtype=dtype)
    if isinstance(data, numpy.ndarray) and found is not None:
        assert (found is data) == (REFERENCE.asarray(data, dtype=dtype) is data)


@few
@given(dtype=dtypes, width=trailing_shapes, layout=st.integers(0, 4), seed=seeds)
def test_as_contig_and_to_numpy_and_tile(dtype, width, layout, seed):
    X = numbers((4, *width), dtype, numpy.random.default_rng(seed))
    X = list(strategies.layouts(X).values())[layout] if X.ndim > 1 else X
    for wanted in (None, dtype, "object"):
        Y = assert_same_outcome("as_contig", X, wanted)
        assert (Y is X) == (REFERENCE.as_contig(X, wanted) is X)
        assert Y.flags["C_CONTIGUOUS"]
    assert OPS.to_numpy(X) is X
    assert_same_outcome("to_numpy", X, byte_order=">")
    for reps in (0, 1, 3, -1, (2, 2), True, 2.0):
        Y = assert_same_outcome("tile", X, reps)
        assert Y is None or not numpy.shares_memory(X, Y) or not Y.size
    assert_same_outcome("to_numpy", [1])
