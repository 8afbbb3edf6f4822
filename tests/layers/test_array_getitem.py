import numpy
import pytest
from numpy.testing import assert_array_equal

from thinc.api import Embed, array_getitem
from thinc.layers.array_getitem import floats_getitem, ints_getitem
from thinc.testing import check_gradients

X = numpy.arange(12.0).reshape((4, 3))
INDICES = {
    "int": 1,
    "negative": -1,
    "slice": slice(1, 3),
    "step": slice(None, None, 2),
    "list": [2, 0],
    "repeated": [0, 2, 2, 2],
    "array": numpy.array([3, 3, 1]),
    "array2d": numpy.array([[3, 3], [1, 0]]),
    "mask": numpy.array([True, False, True, False]),
    "column": (slice(None), 1),
    "negative column": (slice(0, None), -1),
    "block": (slice(None), slice(0, 2)),
    "elements": ([0, 1, 0], [1, 2, 1]),
    "repeated columns": (slice(None), [0, 0, 2]),
    "rows and column": ([0, 0], 1),
    "ellipsis": (..., 0),
    "new axis": (None, 0),
    "all": (),
}


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
def test_value_and_gradient(index):
    assert_array_equal(array_getitem(index).predict(X), X[index])
    check_gradients(array_getitem(index), X)


def test_gradients_of_repeated_rows_add_up():
    Y, backprop = array_getitem([0, 2, 2]).begin_update(X)
    dX = backprop(numpy.ones_like(Y))
    assert_array_equal(dX, [[1, 1, 1], [0, 0, 0], [2, 2, 2], [0, 0, 0]])


def test_gradient_of_one_element():
    _, backprop = array_getitem((1, 2)).begin_update(X)
    dX = backprop(numpy.float64(5.0))
    assert dX[1, 2] == 5.0
    assert dX.sum() == 5.0


@pytest.mark.parametrize("index", [(slice(None), 1), slice(0, 2), (slice(None), [0, 0])])
def test_no_rows_are_indexed_as_well(index):
    none = numpy.zeros((0, 3), dtype="float32")
    Y, backprop = array_getitem(index).begin_update(none)
    assert Y.shape == none[index].shape
    dX = backprop(Y)
    assert dX.shape == (0, 3)
    assert dX.dtype == "float32"


def test_no_ids_for_an_embedding_of_a_column():
    model = Embed(4, 5, column=1).initialize()
    Y, backprop = model.begin_update(numpy.zeros((0, 2), dtype="int64"))
    assert Y.shape == (0, 4)
    assert backprop(Y).shape == (0, 2)


@pytest.mark.parametrize("index", [1, [2, 2], (slice(None), 0)])
def test_gradients_of_ids_keep_the_dtype(index):
    ids = numpy.arange(12).reshape((4, 3))
    Y, backprop = ints_getitem(index).begin_update(ids)
    dX = backprop(numpy.zeros(Y.shape, dtype="float32"))
    assert dX.dtype == ids.dtype
    assert dX.shape == ids.shape


@pytest.mark.parametrize("index", [(1, 2), ([0, 1], [1, 2]), [0, 1], 3])
def test_saved_and_loaded_it_selects_the_same(index):
    Z = numpy.arange(20.0).reshape((4, 5))
    data = array_getitem(index).to_bytes()
    other = type(index)([0, 0]) if isinstance(index, (list, tuple)) else 0
    loaded = array_getitem(other).from_bytes(data)
    assert_array_equal(loaded.predict(Z), Z[index])
    again = array_getitem(other).from_bytes(loaded.to_bytes())
    assert_array_equal(again.predict(Z), Z[index])


def test_an_index_with_a_slice_is_not_in_the_file():
    index = (slice(None), 1)
    loaded = array_getitem(index).from_bytes(array_getitem((slice(None), 0)).to_bytes())
    assert loaded.attrs["index"] == index


def test_copies_select_the_same():
    model = array_getitem((slice(0, 2), [0, 0])).copy()
    assert_array_equal(model.predict(X), X[0:2, [0, 0]])
    check_gradients(model, X)


def test_structure():
    assert array_getitem(1).name == "array-getitem"
    assert ints_getitem(1).name == "ints-getitem"
    assert floats_getitem(1).name == "floats-getitem"
    assert array_getitem((1, 2)).attrs == {"index": (1, 2)}


@pytest.mark.parametrize(
    "index,data,error,message",
    [
        (7, X, IndexError, "array-getitem: index 7 is out of bounds"),
        ((0, 0, 0), X, IndexError, "too many indices"),
        (0, [1, 2], TypeError, "expected an array, got list of length 2"),
        (0, None, TypeError, "expected an array, got None"),
    ],
)
def test_wrong_input_is_named(index, data, error, message):
    with pytest.raises(error, match=message):
        array_getitem(index).predict(data)
