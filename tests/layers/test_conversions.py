"""list2array, list2ragged, list2padded, ragged2list and padded2list."""
import numpy
import pytest
from batches import as_padded, as_ragged, assert_same, make_list
from hypothesis import given
from numpy.testing import assert_array_equal
from strategies import sequences

from thinc.api import (
    Padded,
    Ragged,
    chain,
    list2array,
    list2padded,
    list2ragged,
    padded2list,
    ragged2list,
)
from thinc.testing import check_gradients

CONVERSIONS = {
    "list2array": (list2array, list),
    "list2ragged": (list2ragged, list),
    "list2padded": (list2padded, list),
    "ragged2list": (ragged2list, as_ragged),
    "padded2list": (padded2list, as_padded),
}


@pytest.mark.parametrize("name", CONVERSIONS)
@pytest.mark.parametrize("lengths", [(2, 0, 4, 1, 4), (3,), (1, 1), (0, 0)])
def test_gradients(name, lengths):
    make, kind = CONVERSIONS[name]
    check_gradients(make(), kind(make_list(lengths)))


@pytest.mark.parametrize("name", CONVERSIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint64"])
@pytest.mark.parametrize("lengths", [(2, 0, 3), (0, 0)])
def test_dtype_is_kept_both_ways(name, dtype, lengths):
    make, kind = CONVERSIONS[name]
    X = kind([numpy.ones((n, 3), dtype=dtype) for n in lengths])
    Y, backprop = make().begin_update(X)
    assert_same(backprop(Y), X)
    Y = Y[0] if isinstance(Y, list) else getattr(Y, "data", Y)
    assert numpy.asarray(Y).dtype == dtype


@pytest.mark.parametrize("name", CONVERSIONS)
def test_empty_batch(name):
    make, kind = CONVERSIONS[name]
    Y, backprop = make().begin_update(kind([]))
    if name == "list2array":
        assert Y.shape == (0, 0)
        assert Y.dtype == "float32"
    else:
        assert len(Y) == 0
    assert len(backprop(Y)) == 0


@given(Xs=sequences())
def test_there_and_back_again(Xs):
    for model in (chain(list2ragged(), ragged2list()), chain(list2padded(), padded2list())):
        Y, backprop = model.begin_update(Xs)
        assert_same(Y, list(Xs))
        assert_same(backprop(Y), list(Xs))


def test_list2array_puts_rows_end_to_end_in_new_memory():
    Xs = [numpy.ones((2, 3)), numpy.zeros((0, 3)), numpy.full((1, 3), 2.0)]
    Y, backprop = list2array().begin_update(Xs)
    assert_array_equal(Y[:, 0], [1, 1, 2])
    Y[:] = 9
    assert Xs[0][0, 0] == 1
    assert [dx.shape for dx in backprop(Y)] == [(2, 3), (0, 3), (1, 3)]


def test_list2ragged_counts_rows_in_int32():
    Y = list2ragged().predict(make_list((2, 0, 1)))
    assert_array_equal(Y.lengths, [2, 0, 1])
    assert Y.lengths.dtype == "int32"


@pytest.mark.parametrize("trailing", [(), (2, 3)])
def test_list2ragged_gives_gradients_in_the_shape_of_the_items(trailing):
    Xs = [numpy.ones((n, *trailing)) for n in (2, 0, 1)]
    Y, backprop = list2ragged().begin_update(Xs)
    assert Y.dataXd.shape == (3, *trailing)
    # A gradient that has gone through a layer for 2-d data.
    flat = Ragged(Y.data, Y.lengths)
    assert [dx.shape for dx in backprop(flat)] == [x.shape for x in Xs]


@pytest.mark.parametrize("trailing", [(), (2, 3)])
def test_ragged2list_keeps_the_trailing_shape(trailing):
    X = Ragged(numpy.ones((5, *trailing)), numpy.array([2, 3]))
    Y, backprop = ragged2list().begin_update(X)
    assert [y.shape for y in Y] == [(2, *trailing), (3, *trailing)]
    assert backprop(Y).dataXd.shape == (5, *trailing)


def test_list2padded_puts_the_longest_first():
    Y = list2padded().predict([numpy.full((n, 1), n) for n in (1, 3, 2)])
    assert_array_equal(Y.size_at_t, [3, 2, 1])
    assert_array_equal(Y.lengths, [3, 2, 1])
    assert_array_equal(Y.indices, [1, 2, 0])
    assert_array_equal(Y.data[:, :, 0], [[3, 2, 1], [3, 2, 0], [3, 0, 0]])


def test_padded2list_gives_gradients_in_the_columns_of_the_input():
    # Equal lengths, in an order that list2padded would not choose.
    data = numpy.arange(12.0).reshape((2, 3, 2))
    order = [numpy.array(values, dtype="int32") for values in ([3, 3], [2, 2, 2], [0, 1, 2])]
    Y, backprop = padded2list().begin_update(Padded(data, *order))
    assert_array_equal(backprop(Y).data, data)


def test_tuples_are_lists():
    Xs = make_list((2, 1))
    assert_same(list2array().predict(tuple(Xs)), numpy.concatenate(Xs))
    assert len(list2ragged().predict(tuple(Xs))) == 2
    assert len(list2padded().predict(tuple(Xs))) == 2


def test_an_array_is_a_list_of_its_rows():
    assert_array_equal(list2array().predict(numpy.ones((2, 3))), numpy.ones(6))


@pytest.mark.parametrize(
    "make,X,error,message",
    [
        (list2array, [numpy.ones((1, 2)), numpy.ones((1, 3))], ValueError, "list2array: "),
        (list2array, as_ragged(make_list()), ValueError, "list2array: "),
        (list2ragged, as_ragged(make_list()), ValueError, "list2ragged: "),
        (list2ragged, [1, 2], TypeError, "expected a list of arrays, got list of length 2"),
        (list2padded, [numpy.ones(3)], IndexError, r"\(length, width\), got \(3,\)"),
        (list2padded, [numpy.ones((2, 3)), numpy.ones((1, 2))], ValueError, "same shape"),
        (list2padded, [numpy.ones((2, 3)), numpy.ones((1, 3), "f")], ValueError, "float32"),
        (ragged2list, numpy.ones((2, 3)), TypeError, "expected a Ragged, got float64 array"),
        (padded2list, [], TypeError, "expected a Padded, got list of length 0"),
    ],
)
def test_wrong_input_is_named(make, X, error, message):
    with pytest.raises(error, match=message):
        make().predict(X)


def test_lengths_must_fit_the_rows():
    X = Ragged(numpy.zeros((3, 2)), numpy.array([2, 2]))
    with pytest.raises(ValueError, match="need 4.*has 3"):
        ragged2list().predict(X)
    _, backprop = list2array().begin_update(make_list((2, 1)))
    with pytest.raises(ValueError, match="need 3.*has 4"):
        backprop(numpy.zeros((4, 3)))
