"""Wrong input to a model: the error names the layer's place, what it expected and what came."""
import numpy
import pytest
from numpy.testing import assert_array_equal

from thinc.api import Linear, Maxout, Mish, Relu, Softmax, chain, residual

X = numpy.ones((2, 3), "f")
BAD = {
    "width": (numpy.ones((2, 5), "f"), ValueError, "input width 5 does not match nI=3"),
    "ints": (numpy.ones((2, 3), "int64"), ValueError, r"int64 array of shape \(2, 3\)"),
    "rank": (numpy.ones(3, "f"), ValueError, r"nI=3, got float32 array of shape \(3,\)"),
    "None": (None, TypeError, "nI=3, got None"),
    "list": ([[1.0, 2.0, 3.0]], TypeError, "nI=3, got list of length 1"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("layer", [Linear, Relu, Mish, Maxout, Softmax])
def test_the_error_says_what_and_where(layer, case):
    bad, error, words = BAD[case]
    inner = layer(3, 3)
    model = chain(inner, Linear(2, 3)).initialize(X=X)
    before = inner.get_param("W").copy()
    for call in (model.predict, model.begin_update):
        with pytest.raises(error, match=words) as info:
            call(bad)
        assert inner.name in str(info.value)
        assert "layers[0]" in str(info.value)
    assert_array_equal(inner.get_param("W"), before)
    assert not inner.grad_names


def test_empty_batch():
    model = chain(Relu(4, 3), residual(Relu(4, 4)), Softmax(2, 4)).initialize(X=X)
    Y, backprop = model.begin_update(X[:0])
    assert Y.shape == (0, 2)
    assert backprop(Y).shape == (0, 3)


def test_second_initialize_with_other_data():
    model = chain(Relu(4), Softmax(2)).initialize(X=X)
    with pytest.raises(ValueError, match="from 3 to 5"):
        model.initialize(X=numpy.ones((2, 5), "f"))
    assert model.predict(X).shape == (2, 2)
