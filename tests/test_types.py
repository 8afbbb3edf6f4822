import copy
import dataclasses
import pickle
from typing import List, Union

import numpy
import pytest
import strategies
from confection.validation import validate_type
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from thinc import types
from thinc.backends import Ops
from thinc.types import (
    ArgsKwargs,
    Floats1d,
    Floats2d,
    Floats3d,
    FloatsXd,
    Generator,
    Ints1d,
    Ints4d,
    Padded,
    Pairs,
    Ragged,
    SizedGenerator,
    Unserializable,
    validate_array,
)


def i32(*values):
    return numpy.array(values, dtype="int32")


# ---- annotations ---------------------------------------------------------------------


def test_arrays_are_no_instances_and_annotations_cannot_be_made():
    assert not isinstance(numpy.zeros((2, 2)), Floats2d)
    with pytest.raises(TypeError):
        Floats2d()


@pytest.mark.parametrize("kind, dtype", [("Floats", "float32"), ("Ints", "int64")])
@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_every_array_class_checks_rank_and_dtype(kind, dtype, ndim):
    cls = getattr(types, f"{kind}{ndim}d")
    good = numpy.zeros((1,) * ndim, dtype=dtype)
    assert validate_type(good, cls) is None
    assert validate_type(good[None], cls) is not None
    for bad_dtype in ("float64", "float16", "int8", "bool"):
        assert validate_type(good.astype(bad_dtype), cls) is not None
    assert validate_type(good.tolist(), cls) is not None


@pytest.mark.parametrize("cls", [Floats1d, Floats2d, Floats3d, Ints4d])
def test_both_hooks_run_the_same_check(cls):
    (old,) = cls.__get_validators__()
    schema = cls.__get_pydantic_core_schema__(cls, None)
    assert (schema["type"], schema["function"]["type"]) == ("function-plain", "no-info")
    for check in (old, schema["function"]["function"]):
        with pytest.raises(ValueError, match="wrong array dimensions"):
            check(numpy.zeros((1,) * 5, "float32"))


def test_unions_of_arrays_check_something():
    assert validate_type(numpy.zeros((2, 2), "float32"), FloatsXd) is None
    assert validate_type(numpy.zeros((2, 2)), FloatsXd) is not None
    assert validate_type(numpy.zeros(2, "int32"), types.IntsXd) is None
    assert validate_type(numpy.zeros(2, "int32"), types.ArrayXd) is None
    assert validate_type("no", types.ArrayXd) is not None
    assert validate_type(slice(3), types.Slicish) is None
    assert validate_type([numpy.zeros(2, "float32")], types.List1d) is None
    assert validate_type([numpy.zeros(2)], List[Union[Floats1d, Ints1d]]) is not None


def test_validate_array_names_all_problems():
    X = numpy.zeros((2, 2))
    assert validate_array(X) is X
    assert validate_array(X, ndim=2) is X
    message = (
        r"wrong array dimensions \(expected 1, got 2\), "
        r"wrong array data type \(expected float32, got float64\)"
    )
    with pytest.raises(ValueError, match=message):
        validate_array(X, ndim=1, dtype="f")
    with pytest.raises(ValueError, match="int32/int64/uint32/uint64"):
        validate_array(X, dtype="i")
    with pytest.raises(ValueError, match="not a valid numpy or cupy array"):
        validate_array([1])


# ---- iterators -----------------------------------------------------------------------


def test_generator_annotation():
    items = iter([])
    assert Generator.validate(items) is items
    with pytest.raises(TypeError, match="not a valid iterator"):
        Generator.validate(1)
    assert list(Generator.__get_validators__()) == [Generator.validate]
    assert not isinstance(items, Generator)


def test_sized_generator_starts_anew():
    generator = SizedGenerator(lambda: iter([1, 2]), 2)
    assert len(generator) == 2
    assert list(generator) == list(generator) == [1, 2]
    with pytest.raises(TypeError):
        next(generator)


# ---- Ragged --------------------------------------------------------------------------


@pytest.fixture
def ragged():
    return Ragged(numpy.arange(12.0).reshape(6, 2), i32(1, 0, 3, 2))


def as_lists(ragged):
    return [part.tolist() for part in numpy.split(ragged.dataXd, numpy.cumsum(ragged.lengths)[:-1])]


INDICES = [
    slice(None),
    slice(1, 3),
    slice(None, 2),
    slice(-2, None),
    slice(None, None, 2),
    slice(None, None, -1),
    slice(3, 1, -1),
    [2, 0],
    [0, 1],
    [1],
    [-1, 1],
    [2, 2],
    numpy.array([3, 1]),
    numpy.array([3], dtype="uint64"),
]


@pytest.mark.parametrize("index", INDICES, ids=str)
@pytest.mark.parametrize("shape", [(6,), (6, 2), (6, 2, 1)])
def test_ragged_indexing_is_list_indexing(index, shape):
    data = numpy.arange(float(numpy.prod(shape))).reshape(shape)
    ragged = Ragged(data, i32(1, 0, 3, 2))
    parts = as_lists(ragged)
    chosen = parts[index] if isinstance(index, slice) else [parts[i] for i in index]
    result = ragged[index]
    assert isinstance(result, Ragged)
    assert result.data_shape == ragged.data_shape
    assert result.lengths.dtype == ragged.lengths.dtype
    assert result.lengths.tolist() == [len(part) for part in chosen]
    assert as_lists(result) == chosen


@pytest.mark.parametrize("i", [0, 1, 3, -1, -4, numpy.int64(2), numpy.int32(-2)])
def test_ragged_of_one_sequence(ragged, i):
    assert as_lists(ragged[i]) == [as_lists(ragged)[i]]
    assert ragged[i].lengths.shape == (1,)


def test_ragged_mask(ragged):
    mask = numpy.array([True, False, True, False])
    assert as_lists(ragged[mask]) == [as_lists(ragged)[0], as_lists(ragged)[2]]
    assert as_lists(ragged[mask.tolist()]) == as_lists(ragged[mask])
    with pytest.raises(IndexError, match="mask of 2"):
        ragged[mask[:2]]


@pytest.mark.parametrize("index", [4, -5, [4], [-5], [[0]], [0.5], "x", None, 1.0])
def test_ragged_bad_index(ragged, index):
    with pytest.raises(IndexError):
        ragged[index]


def test_ragged_refuses_two_indices(ragged):
    with pytest.raises(IndexError, match="do not support 2d indexing"):
        ragged[0, 1]


@pytest.mark.parametrize("nothing", [slice(0, 0), [], slice(3, 1), numpy.zeros(0, "int64")])
def test_ragged_of_no_sequences_keeps_its_width(ragged, nothing):
    empty = ragged[nothing]
    assert len(empty) == 0
    assert empty.data.shape == empty.dataXd.shape == (0, 2)
    assert as_lists(Ragged(ragged.data, i32(6))[0:1])


def test_ragged_slices_share_memory(ragged):
    assert numpy.shares_memory(ragged[1:3].data, ragged.data)
    assert numpy.shares_memory(ragged.data, ragged.dataXd)


@pytest.mark.parametrize("shape", [(0,), (0, 5), (3, 0), (0, 2, 3), (2, 3, 4)])
def test_ragged_keeps_every_shape(shape):
    ragged = Ragged(numpy.zeros(shape, "float32"), i32(shape[0]))
    assert ragged.data.ndim == 2 and ragged.data.shape[0] == shape[0]
    assert ragged.dataXd.shape == shape
    assert ragged[0].dataXd.shape == shape


def test_ragged_iteration_and_offsets(ragged):
    assert len(ragged) == len(list(ragged)) == 4
    assert_array_equal(ragged._get_starts_ends(), [0, 1, 1, 4, 6])
    assert ragged._get_starts_ends().dtype == "int32"
    assert_array_equal(ragged._get_starts(), [0, 1, 1, 4])
    assert_array_equal(ragged._get_ends(), [1, 1, 4, 6])


def test_ragged_offsets_follow_new_lengths(ragged):
    assert as_lists(ragged[0]) == [[[0, 1]]]
    ragged.lengths = i32(2, 4)
    assert as_lists(ragged[0]) == [[[0, 1], [2, 3]]]
    ragged.lengths[:] = [3, 3]
    assert len(ragged[0].data) == 3


def test_ragged_equality(ragged):
    same = copy.deepcopy(ragged)
    assert ragged == same and not ragged != same
    same.data[0, 0] += 1
    assert ragged != same
    assert ragged != Ragged(ragged.data, i32(1, 0, 2, 3))
    assert ragged != Ragged(ragged.data.reshape(6, 2, 1), ragged.lengths)
    assert ragged != "something else"
    with pytest.raises(TypeError):
        hash(ragged)


def test_ragged_replace_pickle_and_lists(ragged):
    doubled = dataclasses.replace(ragged, data=ragged.data * 2)
    assert_array_equal(doubled.data, ragged.data * 2)
    assert pickle.loads(pickle.dumps(ragged)) == ragged
    assert len(Ragged(ragged.data, [4, 2])) == 2


@given(data=strategies.ragged(), index=st.data())
def test_ragged_concatenation_of_its_items(data, index):
    ragged = Ragged(*data)
    chosen = index.draw(st.lists(st.integers(0, max(len(ragged) - 1, 0)), max_size=5))
    if len(ragged) == 0:
        chosen = []
    rows = [ragged[i].data for i in chosen]
    assert_array_equal(ragged[chosen].data, numpy.concatenate([ragged.data[:0], *rows]))


# ---- Padded --------------------------------------------------------------------------


@pytest.fixture
def padded():
    seqs = [numpy.full((n, 2), n, dtype="float32") for n in (2, 4, 1, 3)]
    return Ops().list2padded(seqs)


def check_consistent(padded):
    steps = numpy.arange(padded.data.shape[0])
    expected = (padded.lengths[None, :] > steps[:, None]).sum(axis=1)
    assert_array_equal(padded.size_at_t, expected)
    assert padded.size_at_t.dtype == "int32"
    assert (numpy.diff(padded.lengths) <= 0).all()
    assert padded.data.shape[1] == len(padded) == len(padded.indices)


@pytest.mark.parametrize(
    "index, lengths",
    [
        (0, [4]),
        (-1, [1]),
        (numpy.int64(2), [2]),
        (slice(1, 3), [3, 2]),
        (slice(None, None, -1), [4, 3, 2, 1]),
        ([3, 0], [4, 1]),
        (numpy.array([2, 1]), [3, 2]),
        ([], []),
        (numpy.array([True, False, False, True]), [4, 1]),
    ],
    ids=str,
)
def test_padded_indexing(padded, index, lengths):
    part = padded[index]
    check_consistent(part)
    assert part.lengths.tolist() == lengths
    assert part.data.shape[0] == 4
    for column, n in enumerate(lengths):
        assert (part.data[:n, column] == n).all()
        assert padded.indices[padded.lengths == n] == part.indices[column]


@pytest.mark.parametrize("index", [4, -5, [4], (0, 1)])
def test_padded_bad_index(padded, index):
    with pytest.raises(IndexError):
        padded[index]


def test_padded_iteration_ends(padded):
    assert [list(part.lengths) for part in padded] == [[4], [3], [2], [1]]


def test_padded_copy_and_equality(padded):
    same = padded.copy()
    assert same == padded and not numpy.shares_memory(same.data, padded.data)
    same.data += 1
    assert same != padded
    assert padded != 3


# ---- the small ones ------------------------------------------------------------------


def test_pairs():
    pairs = Pairs([1, 2, 3], ["a", "b", "c"])
    assert len(pairs) == 3
    assert pairs[1:] == Pairs([2, 3], ["b", "c"])
    assert [pair.one for pair in pairs] == [1, 2, 3]
    assert validate_type(pairs, Pairs[int]) is None


def test_args_kwargs():
    both = ArgsKwargs((1, 2), {"a": 3})
    assert list(both.keys()) == [0, 1, "a"]
    assert list(both.values()) == [1, 2, 3]
    assert ArgsKwargs.from_items(both.items()) == both
    assert ArgsKwargs.from_items([(7, "x"), ("k", "y"), (0, "z")]) == ArgsKwargs(
        ("x", "z"), {"k": "y"}
    )


def test_containers_validate_field_by_field(ragged, padded):
    assert validate_type(padded, Padded) is None
    assert validate_type(ragged, Ragged) is not None
    ragged.data = ragged.data.astype("float32")
    assert validate_type(ragged, Ragged) is None
    assert validate_type(ragged, types.Batchable) is None
    assert Unserializable(3).obj == 3


def test_lenient_array_module():
    assert types.get_array_module([1]) is numpy
