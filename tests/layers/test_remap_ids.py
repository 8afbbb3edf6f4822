"""remap_ids (both versions) and premap_ids."""
import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from thinc.api import premap_ids, remap_ids, remap_ids_v2

TABLE = {3: 1, 5: 2, -7: 4, 2**64 - 1: 8, 2**63: 16}
INT_DTYPES = ["int8", "uint8", "int16", "int32", "uint32", "int64", "uint64"]
WITH_ARRAYS = {
    "remap_ids_v2": remap_ids_v2,
    "premap_ids": premap_ids,
}
every_version = pytest.mark.parametrize("make", WITH_ARRAYS.values(), ids=WITH_ARRAYS)


@pytest.mark.parametrize("make", [remap_ids, remap_ids_v2])
def test_strings(make):
    Y, backprop = make({"a": 1, "b": 2}, 9).begin_update(["a", "b", "zzz", "a"])
    assert_array_equal(Y, [[1], [2], [9], [1]])
    assert Y.dtype == "int32"
    assert backprop(Y) == []


@pytest.mark.parametrize("make", [remap_ids, remap_ids_v2, premap_ids])
def test_no_items(make):
    Y, backprop = make({1: 1}).begin_update([])
    assert Y.shape == (0, 1)
    assert Y.dtype == "int32"
    assert len(backprop(Y)) == 0


def test_any_hashable_and_any_iterable():
    table = {("a", 1): 2, None: 3}
    assert_array_equal(remap_ids(table).predict([None, ("a", 1), "b"]), [[3], [2], [0]])
    assert_array_equal(remap_ids({"b": 1}).predict("abc"), [[0], [1], [0]])
    assert_array_equal(remap_ids({3: 1}).predict(numpy.array([3, 4])), [[1], [0]])


def test_dtype_of_version_1():
    assert remap_ids({"a": 2**40}, 0, "int64").predict(["a"])[0, 0] == 2**40
    assert remap_ids({"a": 1}, dtype="float32").predict(["a"]).dtype == "float32"


def test_each_node_has_its_own_table():
    first, second = remap_ids(), remap_ids()
    first.attrs["mapping_table"]["a"] = 1
    assert second.attrs["mapping_table"] == {}
    assert_array_equal(first.predict(["a"]), [[1]])
    assert_array_equal(second.predict(["a"]), [[0]])


@every_version
@pytest.mark.parametrize("dtype", INT_DTYPES)
def test_arrays_of_any_integer_dtype(make, dtype):
    X = numpy.array([3, 5, 7, 3], dtype=dtype)
    Y, backprop = make({3: 1, 5: 2}, 9).begin_update(X)
    assert_array_equal(Y, [[1], [2], [9], [1]])
    assert Y.dtype == "int32"
    dX = backprop(Y)
    assert dX.dtype == dtype
    assert_array_equal(dX, numpy.zeros(4))


@every_version
def test_signs_are_not_mixed_up(make):
    model = make(TABLE)
    signed = numpy.array([-1, -7, -(2**63), 3], dtype="int64")
    assert_array_equal(model.predict(signed)[:, 0], [0, 4, 0, 1])
    unsigned = numpy.array([2**64 - 1, 2**64 - 7, 2**63, 3, 2**63 - 1], dtype="uint64")
    assert_array_equal(model.predict(unsigned)[:, 0], [8, 0, 16, 1, 0])


@every_version
@pytest.mark.parametrize("column", [0, 1, -1])
def test_column(make, column):
    X = numpy.array([[3, 5], [5, 4], [0, 3]])
    Y, backprop = make({3: 1, 5: 2}, column=column).begin_update(X)
    table = {3: 1, 5: 2}
    assert_array_equal(Y[:, 0], [table.get(x, 0) for x in X[:, column].tolist()])
    dX = backprop(Y)
    assert dX.dtype == X.dtype
    assert_array_equal(dX, numpy.zeros((3, 2)))


@every_version
@pytest.mark.parametrize("shape,column", [((0,), None), ((0, 2), 1)])
def test_no_rows(make, shape, column):
    X = numpy.zeros(shape, dtype="int64")
    Y, backprop = make({3: 1}, column=column).begin_update(X)
    assert Y.shape == (0, 1)
    assert backprop(Y).shape == shape


@every_version
@pytest.mark.parametrize(
    "X,column,error,message",
    [
        (numpy.zeros((2, 2), "i"), None, ValueError, r"the attr 'column' set.*\(2, 2\)"),
        (numpy.zeros(2, "i"), 0, IndexError, r"no column 0 .* \(2,\)"),
        (numpy.zeros((2, 2), "i"), 2, IndexError, r"no column 2 .* \(2, 2\)"),
    ],
)
def test_wrong_input_is_named(make, X, column, error, message):
    with pytest.raises(error, match=message):
        make({3: 1}, column=column).predict(X)


@given(
    table=st.dictionaries(st.integers(-(2**63), 2**64 - 1), st.integers(-(2**31), 2**31 - 1)),
    others=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5),
    default=st.integers(-(2**31), 2**31 - 1),
)
def test_premap_finds_what_a_dict_finds(table, others, default):
    model = premap_ids(table, default)
    keys = [*table, *others]
    for dtype in ("int64", "uint64"):
        info = numpy.iinfo(dtype)
        ids = [key for key in keys if info.min <= key <= info.max]
        Y = model.predict(numpy.array(ids, dtype=dtype))
        assert_array_equal(Y[:, 0], [table.get(i, default) for i in ids])


def test_premap_does_not_follow_the_dict_it_was_made_of():
    table = {3: 1}
    model = premap_ids(table)
    table[3] = 2
    assert model.predict(numpy.array([3]))[0, 0] == 1
    assert len(model.attrs["mapping_table"]) == 1
    assert 3 in model.attrs["mapping_table"]
    assert model.attrs["mapping_table"].get(4, 7) == 7


def test_copies_look_up_the_same():
    X = numpy.array([3, 5])
    for make in (remap_ids, remap_ids_v2, premap_ids):
        assert_array_equal(make(TABLE).copy().predict(X), [[1], [2]])


def test_version_2_reads_its_attrs_each_time():
    model = remap_ids_v2()
    with pytest.raises(ValueError, match="remap_ids: 'mapping_table'.*not set"):
        model.predict(["a"])
    model.attrs["mapping_table"] = {"a": 1}
    assert_array_equal(model.predict(["a", "b"]), [[1], [0]])
    model.attrs["default"] = 5
    assert_array_equal(model.predict(["a", "b"]), [[1], [5]])


@pytest.mark.parametrize("table", [{"a": 1, "ä": 2}, {3: 1, -5: 2}])
def test_tables_are_saved(table):
    for make in (remap_ids, remap_ids_v2):
        loaded = make().from_bytes(make(table, 7).to_bytes())
        assert loaded.attrs["mapping_table"] == table
        assert_array_equal(loaded.predict([*table, "?"]), [[1], [2], [7]])


def test_the_table_of_premap_is_not_saved():
    model = premap_ids({3: 1}, 4, column=0)
    loaded = premap_ids({3: 2}).from_bytes(model.to_bytes())
    assert loaded.attrs["default"] == 4
    assert loaded.attrs["column"] == 0
    assert loaded.predict(numpy.array([[3], [9]])).tolist() == [[2], [4]]


@pytest.mark.parametrize(
    "table,error,message",
    [
        ({"a": 1}, ValueError, "every key to be an int, got 'a'"),
        ({1: 1.5}, ValueError, "every value to be an int, got 1.5"),
        ({2**64: 1}, OverflowError, "every key to lie between"),
        ({1: 2**31}, OverflowError, "every value to lie between"),
        (None, TypeError, "expected mapping_table to be a dict, got None"),
    ],
)
def test_premap_refuses_tables(table, error, message):
    with pytest.raises(error, match=message):
        premap_ids(table)


@pytest.mark.parametrize(
    "X,error",
    [(numpy.zeros(2), ValueError), (["a"], ValueError), (None, TypeError), ("a", TypeError)],
)
def test_premap_refuses_what_are_no_integers(X, error):
    with pytest.raises(error, match="premap_ids: expected an array of integer ids, got"):
        premap_ids({1: 1}).predict(X)


def test_premap_takes_lists():
    model = premap_ids({3: 1, 5: 2})
    assert_array_equal(model.predict([3, 4, 5]), [[1], [0], [2]])


def test_structure():
    assert list(remap_ids({"a": 1}).attrs) == ["mapping_table", "dtype", "default"]
    assert list(remap_ids_v2({"a": 1}).attrs) == ["mapping_table", "default", "column"]
    assert list(premap_ids({1: 1}).attrs) == ["mapping_table", "default", "column"]
    assert remap_ids_v2().name == "remap_ids"


def test_items_that_cannot_be_looked_up():
    with pytest.raises(TypeError, match="remap_ids: .*unhashable"):
        remap_ids({}).predict([[1]])
