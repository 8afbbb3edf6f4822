import numpy
import pytest
from numpy.testing import assert_allclose

from thinc.api import Linear, with_getitem
from thinc.testing import check_gradients


def floats(*shape):
    return numpy.random.default_rng(sum(shape)).normal(size=shape).astype("float32")


@pytest.mark.parametrize("idx", [0, 1, 2, -1, -3])
def test_only_one_item_changes(idx):
    X = (floats(2, 3), floats(4, 3), floats(5, 3))
    model = with_getitem(idx, Linear(2, 3)).initialize(X=X)
    Y = model.predict(X)
    assert isinstance(Y, tuple)
    assert len(Y) == 3
    for i, (x, y) in enumerate(zip(X, Y, strict=False)):
        if i == idx % 3:
            assert_allclose(y, model.layers[0].predict(x))
        else:
            assert y is x
    check_gradients(model, X)


def test_samples():
    X = (floats(2, 3), "text")
    model = with_getitem(0, Linear()).initialize(X=X, Y=(floats(2, 5), None))
    assert (model.layers[0].get_dim("nI"), model.layers[0].get_dim("nO")) == (3, 5)


def test_no_rows():
    Y, backprop = with_getitem(1, Linear(2, 3).initialize()).begin_update(("a", floats(0, 3)))
    assert Y[1].shape == (0, 2)
    assert backprop(Y)[1].shape == (0, 3)


@pytest.mark.parametrize(
    "X,error,message",
    [
        ([1, 2], TypeError, "expected a tuple, got list of length 2"),
        ((1, 2), IndexError, r"no item 2 \(idx\) in a tuple of 2"),
        ((), IndexError, "in a tuple of 0"),
    ],
)
def test_wrong_input_is_named(X, error, message):
    with pytest.raises(error, match=message):
        with_getitem(2, Linear(2, 3)).predict(X)


def test_structure():
    model = with_getitem(1, Linear(2, 3))
    assert model.name == "with_getitem(linear)"
    assert model.attrs == {"idx": 1}
    # As in thinc 8, whose loader refuses dims that it does not know.
    assert model.dim_names == ()
