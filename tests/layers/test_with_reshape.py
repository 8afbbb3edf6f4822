import numpy
import pytest
from numpy.testing import assert_allclose

from thinc.api import Linear, Relu, chain, with_reshape
from thinc.testing import check_gradients


@pytest.mark.parametrize("shape", [(5, 4), (2, 3, 4), (1, 1, 4), (2, 3, 2, 4)])
@pytest.mark.parametrize("make", [lambda: Linear(4, 4), lambda: chain(Relu(5, 4), Linear(2))])
def test_rows_of_any_rank(shape, make):
    X = numpy.random.default_rng(0).normal(size=shape).astype("float32")
    model = with_reshape(make()).initialize(X=X)
    Y = model.predict(X)
    assert_allclose(
        Y.reshape((-1, Y.shape[-1])), model.layers[0].predict(X.reshape((-1, 4))), rtol=1e-6
    )
    assert Y.shape[:-1] == shape[:-1]
    check_gradients(model, X)


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4)])
def test_no_rows(shape):
    Y, backprop = with_reshape(Linear(2, 4).initialize()).begin_update(numpy.zeros(shape, "f"))
    assert Y.shape == (*shape[:-1], 2)
    assert backprop(Y).shape == shape


def test_dims_are_those_of_the_layer_once_it_knows_them():
    model = with_reshape(Linear(2))
    assert model.name == "with_reshape(linear)"
    assert model.dim_names == ("nO", "nI")
    assert model.has_dim("nO") is None
    model.initialize(X=numpy.zeros((2, 3, 4), "f"))
    assert (model.get_dim("nO"), model.get_dim("nI")) == (2, 4)
    model = with_reshape(Linear()).initialize(
        X=numpy.zeros((2, 3, 4), "f"), Y=numpy.zeros((2, 3, 7), "f")
    )
    assert model.get_dim("nO") == 7


def test_without_samples_the_layer_is_initialized_once():
    calls = []
    layer = Linear(2, 4, init_W=lambda ops, shape: calls.append(shape) or ops.alloc(shape))
    with_reshape(layer).initialize()
    assert calls == [(2, 4)]


@pytest.mark.parametrize(
    "X,error,message",
    [
        (numpy.zeros(4, "f"), ValueError, r"\(\.\.\., nI\), got float32 array of shape \(4,\)"),
        ([1], TypeError, "expected an array of shape"),
    ],
)
def test_wrong_input_is_named(X, error, message):
    with pytest.raises(error, match=message):
        with_reshape(Linear(2, 4).initialize()).predict(X)
