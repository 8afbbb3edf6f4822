import numpy
import pytest
from batches import KINDS, assert_same, make_list
from numpy.testing import assert_array_equal

from thinc.api import Dropout, Linear, Model, NumpyOps, noop, with_array, with_cpu
from thinc.testing import check_gradients
from thinc.types import Pairs


def test_the_layer_works_as_alone():
    X = numpy.concatenate(make_list())
    model = with_cpu(Linear(2), NumpyOps()).initialize(X=X)
    assert_array_equal(model.predict(X), model.layers[0].predict(X))
    check_gradients(model, X)


def test_the_layer_runs_in_the_mode_it_is_asked_for():
    X = numpy.ones((4, 50), dtype="float32")
    model = with_cpu(Dropout(0.5), NumpyOps())
    assert_array_equal(model.predict(X), X)
    assert (model(X, is_train=True)[0] == 0).any()


@pytest.mark.parametrize("kind", KINDS)
def test_containers_keep_their_kind(kind):
    X = KINDS[kind](make_list())
    model = with_cpu(noop(), NumpyOps())
    Y, backprop = model.begin_update(X)
    assert_same(Y, X)
    assert_same(backprop(Y), X)


def test_other_values_pass():
    X = ["a", None, 3, {"key": numpy.ones(2)}, numpy.zeros(2), Pairs(numpy.ones(1), numpy.ones(2))]
    Y = with_cpu(noop(), NumpyOps()).predict(X)
    assert Y[:3] == ["a", None, 3]
    assert_array_equal(Y[3]["key"], [1, 1])
    assert isinstance(Y[5], Pairs)


def test_output_arrays_are_made_by_the_given_ops():
    class OtherOps(NumpyOps):
        def asarray(self, data, dtype=None):
            return super().asarray(data, dtype=dtype) + 100

    ops = OtherOps()
    model = with_cpu(noop(), ops)
    assert model.ops is ops
    assert type(model.layers[0].ops) is NumpyOps
    X = make_list((1, 2))
    Y, backprop = model.begin_update(X)
    assert_same(Y, [x + 100 for x in X])
    # The input was on the host, so its gradient stays there.
    assert_same(backprop(X), X)


def test_dims_follow_the_layer():
    model = with_cpu(with_array(Linear(4)), NumpyOps())
    assert model.name == "with_cpu(with_array(linear))"
    assert model.dim_names == ("nO", "nI")
    model.initialize(X=make_list())
    assert (model.get_dim("nO"), model.get_dim("nI")) == (4, 3)


def test_samples_reach_the_layer():
    seen = []
    layer = Model(
        "noting",
        lambda model, X, is_train: (X, lambda dY: dY),
        init=lambda model, X, Y: seen.append((X, Y)),
    )
    with_cpu(layer, NumpyOps()).initialize(X=["a"], Y=None)
    assert seen == [(["a"], None)]


def test_empty_batch():
    Y, backprop = with_cpu(noop(), NumpyOps()).begin_update([])
    assert Y == []
    assert backprop(Y) == []
