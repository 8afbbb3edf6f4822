import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from thinc.api import LayerNorm, NumpyOps, Ops, with_array
from thinc.testing import check_gradients


def normed(nI):
    model = LayerNorm(nI).initialize()
    rng = numpy.random.default_rng(0)
    model.set_param("G", rng.normal(1, 0.5, nI).astype("f"))
    model.set_param("b", rng.normal(0, 1, nI).astype("f"))
    return model


@given(B=st.integers(0, 6), nI=st.integers(2, 40), seed=st.integers(0, 9))
def test_rows_are_standardized(B, nI, seed):
    X = numpy.random.default_rng(seed).normal(3, 2, (B, nI)).astype("f")
    Y = LayerNorm(nI).initialize().predict(X)
    assert_allclose(Y.mean(axis=1), numpy.zeros(B), atol=1e-5)
    assert_allclose(Y.std(axis=1), numpy.ones(B), atol=1e-4)


def test_scaled_and_shifted():
    model = LayerNorm(2).initialize()
    model.set_param("G", numpy.array([2, 3], "f"))
    model.set_param("b", numpy.array([10, 20], "f"))
    assert_allclose(model.predict(numpy.array([[1, 3], [5, 5]], "f")), [[8, 23], [10, 20]])


@pytest.mark.parametrize("ops", [NumpyOps(), Ops()], ids=["numpy", "generic"])
@pytest.mark.parametrize("shape", [(4, 5), (1, 2), (3, 2, 4), (2, 33)])
def test_gradients_match_central_differences(ops, shape):
    model = normed(shape[-1])
    model.ops = ops
    check_gradients(model, numpy.random.default_rng(1).normal(0, 1, shape), rtol=1e-4)


def test_last_axis_of_three():
    model = normed(4)
    X = numpy.random.default_rng(1).normal(0, 1, (3, 2, 4)).astype("f")
    flat = model.predict(X.reshape(6, 4)).reshape(3, 2, 4)
    assert_allclose(model.predict(X), flat, rtol=1e-5, atol=1e-6)
    padded = NumpyOps().list2padded([X[0], X[1][:1]])
    expected = [model.predict(X[0]), model.predict(X[1][:1])]
    got = NumpyOps().padded2list(with_array(model).predict(padded))
    for a, b in zip(got, expected, strict=True):
        assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(0, 3), (0, 0)])
def test_no_rows(shape):
    Y, backprop = normed(3).begin_update(numpy.zeros(shape, "f"))
    assert Y.shape == backprop(Y).shape == (0, 3)


def test_dims():
    model = LayerNorm()
    assert model.dim_names == ("nI", "nO")
    assert model.param_names == ("G", "b")
    with pytest.raises(ValueError, match="'nI'.*unset"):
        model.initialize()
    model.initialize(Y=numpy.zeros((1, 4), "f"))
    assert (model.get_dim("nI"), model.get_dim("nO")) == (4, 4)
    assert_array_equal(model.get_param("G"), numpy.ones(4, "f"))
    with pytest.raises(ValueError, match="from 3 to 4"):
        LayerNorm(3).initialize(X=numpy.zeros((1, 4), "f"))


@pytest.mark.parametrize("width", [1, 4])
def test_width_is_checked_and_never_broadcast(width):
    with pytest.raises(ValueError, match=f"input width {width} does not match nI=3"):
        normed(3).predict(numpy.zeros((2, width), "f"))
