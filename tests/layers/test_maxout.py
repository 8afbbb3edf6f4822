import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from thinc.api import Maxout, NumpyOps, Ops
from thinc.testing import check_gradients


def maxout(nO, nI, nP, **options):
    model = Maxout(nO, nI, nP, **options).initialize()
    rng = numpy.random.default_rng(0)
    for name in ("W", "b"):
        model.set_param(name, rng.normal(0, 1, model.get_param(name).shape).astype("f"))
    return model


@given(
    B=st.integers(0, 5), nO=st.integers(1, 5), nI=st.integers(1, 5), nP=st.integers(1, 4)
)
def test_output_is_the_largest_piece(B, nO, nI, nP):
    model = maxout(nO, nI, nP)
    X = numpy.random.default_rng(B).normal(0, 1, (B, nI)).astype("f")
    P = numpy.einsum("bi,opi->bop", X, model.get_param("W")) + model.get_param("b")
    assert_allclose(model.predict(X), P.max(axis=2), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ops", [NumpyOps(), Ops()], ids=["numpy", "generic"])
@pytest.mark.parametrize("shape", [(4, 3, 2), (1, 1, 1), (5, 17, 3)])
def test_gradients_match_central_differences(ops, shape):
    nO, nI, nP = shape
    model = maxout(nO, nI, nP)
    model.ops = ops
    check_gradients(model, numpy.random.default_rng(1).normal(0, 1, (4, nI)))


def test_the_lowest_piece_wins_a_tie():
    model = Maxout(1, 1, 3).initialize()
    model.set_param("W", numpy.zeros((1, 3, 1), "f"))
    Y, backprop = model.begin_update(numpy.ones((1, 1), "f"))
    backprop(numpy.ones((1, 1), "f"))
    assert_array_equal(model.get_grad("b"), [[1, 0, 0]])


@pytest.mark.parametrize("shape", [(0, 3), (0, 0)])
def test_no_rows(shape):
    model = maxout(4, 3, 2)
    Y, backprop = model.begin_update(numpy.zeros(shape, "f"))
    assert Y.shape == (0, 4)
    assert backprop(Y).shape == (0, 3)
    assert not model.get_grad("W").any()
    assert not model.get_grad("b").any()


def test_dims_and_params():
    model = Maxout(dropout=0.1, normalize=True)
    assert model.name == "maxout>>layernorm>>dropout"
    model.initialize(X=numpy.zeros((1, 3), "f"), Y=numpy.zeros((1, 4), "f"))
    core = model.layers[0].layers[0]
    assert core.dim_names == ("nO", "nI", "nP")
    assert core.get_param("W").shape == (4, 3, 3)
    assert core.get_param("b").shape == (4, 3)
    bound = (6 / (4 + 3)) ** 0.5
    assert 0 < abs(core.get_param("W")).max() <= bound


def test_number_of_pieces_is_needed():
    with pytest.raises(ValueError, match="'nP'.*unset"):
        Maxout(2, 3, None).initialize()
    with pytest.raises(KeyError, match="not been allocated"):
        Maxout(2, 3).predict(numpy.zeros((1, 3), "f"))
