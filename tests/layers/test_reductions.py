"""reduce_first, reduce_last, reduce_max, reduce_mean and reduce_sum."""
import numpy
import pytest
from batches import as_ragged, make_list
from hypothesis import given
from numpy.testing import assert_allclose, assert_array_equal
from strategies import ragged

from thinc.api import (
    Linear,
    Ragged,
    chain,
    concatenate,
    reduce_first,
    reduce_last,
    reduce_max,
    reduce_mean,
    reduce_sum,
)
from thinc.testing import check_gradients

REDUCTIONS = {
    reduce_first: lambda rows: rows[0],
    reduce_last: lambda rows: rows[-1],
    reduce_max: lambda rows: rows.max(axis=0),
    reduce_mean: lambda rows: rows.mean(axis=0),
    reduce_sum: lambda rows: rows.sum(axis=0),
}
NEED_ROWS = (reduce_first, reduce_last, reduce_max)
every_reduction = pytest.mark.parametrize("reduce", REDUCTIONS, ids=lambda f: f.__name__)


@every_reduction
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lengths", [(2, 1, 4), (3,), (1, 1)])
def test_values_are_those_of_each_sequence(reduce, dtype, lengths):
    Xs = make_list(lengths, dtype=dtype)
    Y = reduce().predict(as_ragged(Xs))
    assert Y.dtype == dtype
    assert_allclose(Y, [REDUCTIONS[reduce](X) for X in Xs], rtol=1e-6)


@every_reduction
@given(data=ragged(min_length=1))
def test_gradients_match_central_differences(reduce, data):
    X, lengths = data
    if reduce is reduce_max:
        # Equal values would leave the maximum's gradient to chance.
        X = X + 100.0 * numpy.arange(X.shape[0])[:, None]
    check_gradients(reduce(), Ragged(X, lengths), atol=1e-6)


@pytest.mark.parametrize("reduce", [reduce_mean, reduce_sum])
def test_sequences_without_rows_give_zeros(reduce):
    X = as_ragged(make_list((0, 2, 0)))
    Y, backprop = reduce().begin_update(X)
    assert_array_equal(Y[[0, 2]], 0)
    check_gradients(reduce(), X)
    X = as_ragged(make_list((0, 0)))
    Y, backprop = reduce().begin_update(X)
    assert_array_equal(Y, numpy.zeros((2, 3)))
    assert backprop(Y).data.shape == (0, 3)


@pytest.mark.parametrize("reduce", NEED_ROWS)
def test_sequences_without_rows_are_refused_where_there_is_no_value(reduce):
    with pytest.raises(ValueError, match=f"{reduce.__name__}.*must be > 0, .*0"):
        reduce().predict(as_ragged(make_list((1, 0))))


@every_reduction
def test_empty_batch_keeps_its_width(reduce):
    X = Ragged(numpy.zeros((0, 3), dtype="float32"), numpy.zeros(0, dtype="int32"))
    Y, backprop = reduce().begin_update(X)
    assert Y.shape == (0, 3)
    dX = backprop(Y)
    assert dX.data.shape == (0, 3)
    assert len(dX) == 0
    model = chain(reduce(), Linear(2, 3)).initialize()
    assert model.predict(X).shape == (0, 2)


@every_reduction
@pytest.mark.parametrize("dtype", ["int64", "uint8", "int32"])
def test_lengths_of_any_integer_dtype(reduce, dtype):
    Xs = make_list((2, 1, 4))
    Y = reduce().predict(as_ragged(Xs, dtype=dtype))
    assert_allclose(Y, reduce().predict(as_ragged(Xs)))
    check_gradients(reduce(), as_ragged(Xs, dtype=dtype))
    strided = Ragged(numpy.concatenate(Xs), numpy.array([2, 9, 1, 9, 4, 9], dtype="int32")[::2])
    assert_allclose(reduce().predict(strided), Y)


@every_reduction
@pytest.mark.parametrize("lengths", [[2, 2], [2, 2, 4], [0]])
def test_lengths_that_do_not_sum_to_the_rows(reduce, lengths):
    X = Ragged(numpy.zeros((7, 3), dtype="float32"), numpy.array(lengths, dtype="int32"))
    error = ValueError if reduce in NEED_ROWS and 0 in lengths else IndexError
    with pytest.raises(error, match=reduce.__name__):
        reduce().predict(X)


@every_reduction
def test_negative_lengths(reduce):
    X = Ragged(numpy.zeros((1, 3), dtype="float32"), numpy.array([2, -1], dtype="int32"))
    with pytest.raises(ValueError, match="lengths must be .*-1"):
        reduce().predict(X)


@every_reduction
@pytest.mark.parametrize("trailing", [(), (2, 3)])
def test_the_gradient_has_the_trailing_shape(reduce, trailing):
    X = numpy.random.default_rng(0).normal(size=(5, *trailing))
    Y, backprop = reduce().begin_update(Ragged(X, numpy.array([2, 3])))
    assert Y.shape == (2, int(numpy.prod(trailing)))
    dX = backprop(Y)
    assert dX.dataXd.shape == X.shape
    assert_array_equal(dX.lengths, [2, 3])


def test_the_first_of_equal_maxima_gets_the_gradient():
    X = Ragged(numpy.array([[1.0], [3.0], [3.0], [0.0]]), numpy.array([3, 1]))
    _, backprop = reduce_max().begin_update(X)
    assert_array_equal(backprop(numpy.array([[5.0], [7.0]])).data, [[0], [5], [0], [7]])


@every_reduction
def test_a_gradient_of_another_shape_or_dtype_is_refused(reduce):
    _, backprop = reduce().begin_update(as_ragged(make_list((2, 1))))
    with pytest.raises(ValueError, match=r"shape \(2, 3\) and dtype float32, got float64 array"):
        backprop(numpy.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"got float32 array of shape \(3, 3\)"):
        backprop(numpy.zeros((3, 3), dtype="float32"))


@every_reduction
@pytest.mark.parametrize("X", [numpy.zeros((2, 3)), [numpy.zeros((2, 3))], None])
def test_what_is_not_ragged_is_refused(reduce, X):
    with pytest.raises(TypeError, match=f"{reduce.__name__}: expected a Ragged, got"):
        reduce().predict(X)


@every_reduction
def test_input_is_left_alone(reduce):
    X = as_ragged(make_list((2, 1)))
    before = X.data.copy()
    Y, backprop = reduce().begin_update(X)
    Y[:] = 7
    dY = numpy.ones_like(Y)
    backprop(dY).data[:] = 7
    assert_array_equal(X.data, before)
    assert_array_equal(dY, 1)


def test_side_by_side():
    model = concatenate(reduce_max(), reduce_mean())
    check_gradients(model, as_ragged(make_list((2, 1, 4))))


@every_reduction
def test_structure(reduce):
    model = reduce()
    assert model.name == reduce.__name__
    assert (model.dim_names, model.param_names, model.attrs) == ((), (), {})
