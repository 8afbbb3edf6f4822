"""Softmax, Softmax_v2, MultiSoftmax, and the activations without parameters."""
import numpy
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from thinc.api import (
    Logistic,
    MultiSoftmax,
    Softmax,
    Softmax_v2,
    sigmoid_activation,
    softmax_activation,
)
from thinc.testing import check_gradients

RNG = numpy.random.default_rng(0)
X = RNG.normal(0, 2, (5, 3)).astype("f")


def with_weights(model):
    rng = numpy.random.default_rng(1)
    model.initialize()
    for name in model.param_names:
        model.set_param(name, rng.normal(0, 1, model.get_param(name).shape).astype("f"))
    return model


def softmax(P):
    E = numpy.exp(P - P.max(axis=-1, keepdims=True))
    return E / E.sum(axis=-1, keepdims=True)


def logits(model, X=X):
    return X @ model.get_param("W").T + model.get_param("b")


@pytest.mark.parametrize("layer", [Softmax, Softmax_v2])
def test_probabilities(layer):
    model = with_weights(layer(4, 3))
    assert model.name == "softmax"
    assert model.attrs == {"softmax_normalize": True, "softmax_temperature": 1.0}
    Y = model.predict(X)
    assert_allclose(Y, softmax(logits(model)), rtol=1e-5)
    assert_allclose(Y.sum(axis=1), numpy.ones(5), rtol=1e-6)
    assert_array_equal(layer(4, 3).initialize().predict(X), numpy.full((5, 4), 0.25))


@pytest.mark.parametrize("layer", [Softmax, Softmax_v2])
def test_gradients_of_the_logits(layer):
    check_gradients(with_weights(layer(4, 3)), X, loss="softmax_crossentropy")


def test_temperature():
    model = with_weights(Softmax_v2(4, 3, temperature=2.5))
    assert_allclose(model.predict(X), softmax(logits(model) / 2.5), rtol=1e-5)
    check_gradients(model, X, loss="softmax_crossentropy")
    model.attrs["softmax_temperature"] = 0.5
    assert_allclose(model.predict(X), softmax(logits(model) / 0.5), rtol=1e-5)


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_temperature_must_be_positive(temperature):
    with pytest.raises(ValueError, match=f"must be positive, got {temperature}"):
        Softmax_v2(temperature=temperature)
    model = with_weights(Softmax_v2(4, 3))
    model.attrs["softmax_temperature"] = temperature
    with pytest.raises(ValueError, match=f"must be positive, got {temperature}"):
        model.predict(X)


def test_raw_logits_in_prediction_only():
    model = with_weights(Softmax_v2(4, 3, normalize_outputs=False, temperature=3.0))
    Y, backprop = model(X, is_train=False)
    assert_allclose(Y, logits(model), rtol=1e-5)
    with pytest.raises(ValueError, match="raw logits"):
        backprop(Y)
    Y, backprop = model(X, is_train=True)
    assert_allclose(Y, softmax(logits(model) / 3), rtol=1e-5)


@pytest.mark.parametrize(
    "dY, came",
    [
        (numpy.zeros((4, 4), "f"), r"\(4, 4\)"),
        (numpy.zeros((5, 1), "f"), r"\(5, 1\)"),
        (numpy.zeros((5, 4), "d"), "float64"),
        (None, "None"),
    ],
)
def test_gradient_must_be_of_the_output_kind(dY, came):
    _, backprop = with_weights(Softmax(4, 3)).begin_update(X)
    with pytest.raises(ValueError, match=rf"float32 of shape \(5, 4\), got .*{came}"):
        backprop(dY)


@pytest.mark.parametrize("layer", [Softmax, Softmax_v2])
def test_samples_are_checked(layer):
    with pytest.raises(ValueError, match="from 2 to 3"):
        layer(4, 2).initialize(X=X)
    with pytest.raises(ValueError, match="from 4 to 7"):
        layer(4, 3).initialize(X=X, Y=numpy.zeros((5, 7), "f"))
    assert layer().initialize(X=X, Y=numpy.array([0, 2])).get_dim("nO") == 3


@pytest.mark.parametrize("nOs", [(2, 3), (1,), (2, 1, 4)])
def test_multisoftmax_normalizes_each_block(nOs):
    model = with_weights(MultiSoftmax(nOs, 3))
    Y = model.predict(X)
    assert Y.shape == (5, sum(nOs))
    start = 0
    for nO in nOs:
        block = slice(start, start + nO)
        assert_allclose(Y[:, block], softmax(logits(model)[:, block]), rtol=1e-5)
        start += nO

    def crossentropies(Y):
        target = numpy.random.default_rng(3).uniform(0.1, 1, Y.shape)
        for start, nO in zip(numpy.cumsum((0, *nOs)), nOs, strict=False):
            target[:, start : start + nO] /= target[:, start : start + nO].sum(1, keepdims=True)
        return -(target * numpy.log(Y)).sum(), Y - target

    check_gradients(model, X, loss=crossentropies)


def test_multisoftmax_dims():
    model = MultiSoftmax((2, 3))
    assert model.get_dim("nO") == 5
    model.initialize(X=X)
    assert not model.get_param("W").any()
    with pytest.raises(ValueError, match="from 5 to 4"):
        model.initialize(Y=numpy.zeros((5, 4), "f"))


@pytest.mark.parametrize("layer", [sigmoid_activation, Logistic])
@pytest.mark.parametrize("shape", [(4,), (4, 3), (2, 3, 4), (0, 3)])
def test_sigmoid_activation(layer, shape):
    X = numpy.random.default_rng(0).normal(0, 2, shape).astype("f")
    model = layer().initialize()
    assert_allclose(model.predict(X), 1 / (1 + numpy.exp(-X)), rtol=1e-5)
    check_gradients(model, X)


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 4), (0, 3)])
def test_softmax_activation(shape):
    X = numpy.random.default_rng(0).normal(0, 2, shape).astype("f")
    model = softmax_activation().initialize()
    Y = model.predict(X)
    assert_allclose(Y, softmax(X), rtol=1e-5)
    check_gradients(model, X)


def test_names():
    assert sigmoid_activation().name == "sigmoid_activation"
    assert softmax_activation().name == "softmax_activation"
    assert Logistic().name == "logistic"


@pytest.mark.parametrize("layer", [sigmoid_activation, softmax_activation, Logistic])
def test_only_arrays(layer):
    with pytest.raises(TypeError, match="expected an array of floats, got list of length 1"):
        layer().predict([X])
