import numpy
import pytest
from batches import as_ragged, make_list
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from strategies import floats2d, ragged

from thinc.api import Linear, Ragged, chain, expand_window, with_array
from thinc.testing import check_gradients

ROWS = numpy.array([[1, 2], [3, 4], [5, 6]], dtype="float32")


def test_an_array_is_one_sequence():
    Y = expand_window(1).predict(ROWS)
    assert_array_equal(Y, [[0, 0, 1, 2, 3, 4], [1, 2, 3, 4, 5, 6], [3, 4, 5, 6, 0, 0]])


def test_windows_end_with_the_sequence():
    X = Ragged(ROWS, numpy.array([1, 2], dtype="int32"))
    Y = expand_window().predict(X)
    assert_array_equal(Y.data, [[0, 0, 1, 2, 0, 0], [0, 0, 3, 4, 5, 6], [3, 4, 5, 6, 0, 0]])
    assert Y.lengths is X.lengths


def by_hand(X, k):
    padded = numpy.concatenate([numpy.zeros((k, X.shape[1])), X, numpy.zeros((k, X.shape[1]))])
    return numpy.concatenate([padded[i : i + len(X)] for i in range(2 * k + 1)], axis=1)


@given(data=ragged(), k=st.integers(0, 4))
def test_values_and_gradients(data, k):
    X, lengths = data
    Y = expand_window(k).predict(Ragged(X, lengths))
    parts = numpy.split(X, numpy.cumsum(lengths)[:-1]) if len(lengths) else [X]
    assert_array_equal(Y.data, numpy.concatenate([by_hand(part, k) for part in parts]))
    check_gradients(expand_window(k), Ragged(X, lengths))


@given(X=floats2d(), k=st.integers(0, 3))
def test_gradients_of_an_array(X, k):
    assert_array_equal(expand_window(k).predict(X), by_hand(X, k))
    check_gradients(expand_window(k), X)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", "uint64"])
def test_dtype_is_kept(dtype):
    X = ROWS.astype(dtype)
    Y, backprop = expand_window(1).begin_update(X)
    assert Y.dtype == dtype
    assert_array_equal(Y[1], [1, 2, 3, 4, 5, 6])
    assert backprop(Y).dtype == dtype
    Y = expand_window(1).predict(Ragged(X, numpy.array([1, 2])))
    assert Y.data.dtype == dtype


@pytest.mark.parametrize("X", [numpy.zeros((0, 3), "f"), as_ragged([])])
def test_empty_batch_keeps_its_width(X):
    model = chain(expand_window(2), with_array(Linear(4, 15))).initialize()
    Y, backprop = model.begin_update(X)
    dX = backprop(Y)
    assert rows_of(Y).shape == (0, 4)
    assert rows_of(dX).shape == (0, 3)


def rows_of(X):
    return X.data if isinstance(X, Ragged) else X


@pytest.mark.parametrize("dtype", ["int64", "uint16"])
def test_lengths_of_any_integer_dtype(dtype):
    Xs = make_list()
    Y = expand_window(1).predict(as_ragged(Xs, dtype=dtype))
    assert_array_equal(Y.data, expand_window(1).predict(as_ragged(Xs)).data)
    check_gradients(expand_window(1), as_ragged(Xs, dtype=dtype))


def test_any_memory_layout():
    X = numpy.asfortranarray(ROWS)
    Y, backprop = expand_window(1).begin_update(X)
    assert_array_equal(Y, expand_window(1).predict(ROWS))
    assert_array_equal(backprop(numpy.asfortranarray(Y)), backprop(Y))
    wide = numpy.repeat(ROWS, 2, axis=1)[:, ::2]
    assert_array_equal(expand_window(1).predict(wide), Y)


@pytest.mark.parametrize("trailing", [(), (2, 3)])
def test_the_gradient_has_the_trailing_shape(trailing):
    X = Ragged(numpy.ones((5, *trailing)), numpy.array([2, 3]))
    Y, backprop = expand_window(1).begin_update(X)
    assert Y.data.shape == (5, 3 * int(numpy.prod(trailing)))
    assert backprop(Y).dataXd.shape == (5, *trailing)


def test_the_window_can_be_changed():
    model = expand_window(1)
    model.attrs["window_size"] = 0
    assert_array_equal(model.predict(ROWS), ROWS)


@pytest.mark.parametrize(
    "X,error,message",
    [
        ([ROWS], TypeError, "expected a 2-d array or a Ragged, got list of length 1"),
        (None, TypeError, "got None"),
        (numpy.zeros(3, "f"), ValueError, r"2-d array.*\(3,\)"),
        (Ragged(ROWS, numpy.array([1, 1], "i")), IndexError, "sum up to the number of rows"),
        (Ragged(ROWS, numpy.array([4, -1], "i")), ValueError, "lengths must be .*-1"),
    ],
)
def test_wrong_input_is_named(X, error, message):
    with pytest.raises(error, match=message):
        expand_window(1).predict(X)
