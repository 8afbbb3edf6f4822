"""A document by itself is predicted without the rows around it that nobody wants."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from thinc import api
from thinc.api import (
    Linear,
    Maxout,
    Model,
    Relu,
    chain,
    clone,
    concatenate,
    expand_window,
    residual,
    with_array,
    with_array2d,
)
from thinc.layers.inner_rows import TooFewRows, inner_rows_by, knows_inner_rows, predict_inner_rows
from thinc.layers.row_blocks import row_reach

WIDTH = 6
LAYERS = {
    "one window": lambda: chain(expand_window(1), Maxout(WIDTH)),
    "wide window": lambda: chain(expand_window(3), Relu(WIDTH)),
    "windows of windows": lambda: chain(expand_window(1), Relu(WIDTH), expand_window(2)),
    "residual": lambda: residual(chain(expand_window(2), Maxout(WIDTH, normalize=True))),
    "clone": lambda: clone(residual(chain(expand_window(1), Maxout(WIDTH))), 3),
    "concatenate": lambda: concatenate(expand_window(1), chain(Linear(4), expand_window(2))),
    "concatenate with itself": lambda: concatenate(api.noop(), expand_window(3)),
    "add": lambda: api.add(
        chain(expand_window(2), Linear(WIDTH)), Linear(WIDTH), residual(Relu(WIDTH))
    ),
    "no window": lambda: chain(Relu(WIDTH), Linear(WIDTH)),
    "window of none": lambda: chain(expand_window(0), Linear(WIDTH)),
}


def floats(rows, seed=0):
    return numpy.random.default_rng(seed).normal(size=(rows, WIDTH)).astype("float32")


def made(layer):
    model = layer.initialize(X=floats(9))
    for node in model.walk():
        for i, name in enumerate(node.param_names):  # zeros hide mistakes
            shape = node.get_param(name).shape
            values = numpy.random.default_rng(i).normal(size=shape)
            node.set_param(name, values.astype("float32"))
    return model


def padded_by_hand(layer, X, pad):
    zeros = numpy.zeros((pad, *X.shape[1:]), X.dtype)
    Y, _ = layer(numpy.concatenate([zeros, X, zeros]), False)
    return Y[pad : pad + len(X)]


@pytest.mark.parametrize("wrapper", [with_array, with_array2d])
@pytest.mark.parametrize("name", LAYERS)
@given(rows=st.integers(0, 12), more=st.integers(-3, 3), seed=st.integers(0, 99))
def test_a_document_by_itself(wrapper, name, rows, more, seed):
    layer = made(LAYERS[name]())
    pad = max(row_reach(layer) + more, 0)  # more or less than the layers can see
    model, X = wrapper(layer, pad=pad), floats(rows, seed)
    expected = padded_by_hand(layer, X, pad)
    for docs in ([X], (X,)):
        (Y,) = model.predict(docs)
        assert Y.shape[0] == rows
        if rows:
            assert_allclose(Y, expected, rtol=1e-4, atol=1e-4)
            assert_allclose(Y, model(docs, True)[0][0], rtol=1e-4, atol=1e-4)
            if more >= 0:  # else documents of a batch see each other
                beside = model.predict([X, floats(4), X])[0]
                assert_allclose(Y, beside, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", LAYERS)
@given(rows=st.integers(0, 20))
def test_inner_rows(name, rows):
    layer, X = made(LAYERS[name]()), floats(rows)
    reach = row_reach(layer)
    assert knows_inner_rows(layer)
    if rows < 2 * reach:
        with pytest.raises(TooFewRows):
            predict_inner_rows(layer, X)
    else:
        expected = layer(X, False)[0][reach : rows - reach]
        assert_allclose(predict_inner_rows(layer, X), expected, rtol=1e-4, atol=1e-4)


def test_unknown_layers_get_all_rows():
    seen = []

    def forward(model, X, is_train):
        seen.append(len(X))
        return X * 2, lambda dY: dY * 2

    layer = made(chain(expand_window(1), Model("mine", forward)))
    assert not knows_inner_rows(layer)
    (Y,) = with_array(layer, pad=2).predict([floats(5)])
    assert seen[-1] == 9 and len(Y) == 5
    layer.layers[1] = Model("mine", inner_rows_by(lambda model, X: X * 2)(forward))
    before = len(seen)
    (again,) = with_array(layer, pad=2).predict([floats(5)])
    assert len(seen) == before
    assert_allclose(again, Y)


def test_the_result_can_be_written_to():
    for name in LAYERS:
        model = with_array(made(LAYERS[name]()), pad=4)
        for predicted in (model.predict([floats(5)]), model.predict([floats(5), floats(3)])):
            if "window" not in name and "itself" not in name and name != "concatenate":
                predicted[0] += 1


def test_wrong_input_names_the_layer():
    model = with_array(made(LAYERS["clone"]()), pad=3)
    for bad in (
        [numpy.array(3.0)],
        [floats(5)[:, :4]],
        [floats(5).astype("int64")],
        [floats(5)[0]],
        [None],
        ["x"],
    ):
        with pytest.raises((ValueError, TypeError)) as alone:
            model.predict(bad)
        with pytest.raises((ValueError, TypeError)) as in_a_batch:
            model.predict(bad * 2)
        place = str(in_a_batch.value).partition(":")[0]
        assert str(alone.value).startswith(place)
