"""The dense layers: the formula, its gradients, and what their constructor promises."""
import math
import pickle

import numpy
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from thinc.api import (
    ClippedLinear,
    Dish,
    Gelu,
    HardSigmoid,
    HardSwish,
    HardSwishMobilenet,
    HardTanh,
    Linear,
    Maxout,
    Mish,
    NumpyOps,
    Ops,
    Relu,
    ReluK,
    Sigmoid,
    Swish,
    fix_random_seed,
)
from thinc.initializers import glorot_uniform_init, he_normal_init
from thinc.layers.dense import accumulate_bias_grad, accumulate_weight_grad
from thinc.testing import check_gradients


def logistic(P):
    return 1 / (1 + numpy.exp(-P))


def normal_cdf(P):
    return 0.5 * (1 + numpy.vectorize(math.erf)(P / math.sqrt(2)))


# Layer: (name of the model, activation as a textbook has it)
FORMULAS = {
    Linear: ("linear", lambda P: P),
    Relu: ("relu", lambda P: numpy.maximum(P, 0)),
    Mish: ("mish", lambda P: P * numpy.tanh(numpy.log1p(numpy.exp(P)))),
    Gelu: ("gelu", lambda P: P * normal_cdf(P)),
    Swish: ("swish", lambda P: P * logistic(P)),
    Dish: ("dish", lambda P: 0.5 * P * (P / numpy.sqrt(1 + P * P) + 1)),
    HardSwish: ("hardswish", lambda P: P * numpy.clip(0.2 * P + 0.5, 0, 1)),
    HardSwishMobilenet: ("hardswishmobilenet", lambda P: P * numpy.clip(P + 3, 0, 6) / 6),
    ClippedLinear: ("clipped_linear", lambda P: numpy.clip(P, 0, 1)),
    HardSigmoid: ("clipped_linear", lambda P: numpy.clip(0.2 * P + 0.5, 0, 1)),
    HardTanh: ("clipped_linear", lambda P: numpy.clip(P, -1, 1)),
    ReluK: ("clipped_linear", lambda P: numpy.clip(P, 0, 6)),
    Sigmoid: ("sigmoid", logistic),
}
LAYERS = list(FORMULAS)
WITH_OPTIONS = [layer for layer in LAYERS if layer not in (Linear, Sigmoid)]
by_name = {"ids": lambda layer: layer.__name__}


def model_with_weights(layer, nO=4, nI=3, **options):
    model = layer(nO, nI, **options).initialize()
    rng = numpy.random.default_rng(1)
    for node in model.walk():
        for name in node.param_names:
            shape = node.get_param(name).shape
            node.set_param(name, rng.normal(0, 1, shape).astype("f"))
    return model


def rows(n=5, nI=3, dtype="float32"):
    return numpy.random.default_rng(2).normal(0, 1.5, (n, nI)).astype(dtype)


@pytest.mark.parametrize("layer", LAYERS, **by_name)
def test_output_is_the_formula(layer):
    name, formula = FORMULAS[layer]
    model = model_with_weights(layer)
    assert model.name == name
    X = rows()
    P = X.astype("d") @ model.get_param("W").T.astype("d") + model.get_param("b")
    Y = model.predict(X)
    assert Y.dtype == "float32"
    assert_allclose(Y, formula(P), rtol=2e-5, atol=2e-6)
    assert_array_equal(model.begin_update(X)[0], Y)


@pytest.mark.parametrize("layer", LAYERS, **by_name)
@pytest.mark.parametrize("ops", [NumpyOps(), Ops()], ids=["numpy", "generic"])
def test_gradients_match_central_differences(layer, ops):
    model = model_with_weights(layer)
    model.ops = ops
    check_gradients(model, rows())


@pytest.mark.parametrize("layer", WITH_OPTIONS, **by_name)
def test_gradients_with_normalize_and_dropout(layer):
    check_gradients(model_with_weights(layer, normalize=True, dropout=0.3), rows(), rtol=1e-4)


@pytest.mark.parametrize("layer", LAYERS, **by_name)
def test_widths_come_from_samples(layer):
    model = layer().initialize(X=numpy.zeros((2, 3), "f"), Y=numpy.zeros((2, 4), "f"))
    assert model.get_dim("nI") == 3
    assert model.get_dim("nO") == 4
    assert model.get_param("W").shape == (4, 3)
    assert model.get_param("b").shape == (4,)
    assert not model.get_param("b").any()


@pytest.mark.parametrize("layer", LAYERS, **by_name)
def test_missing_and_contradicting_widths(layer):
    with pytest.raises(ValueError, match="'nO'.*unset"):
        layer(nI=3).initialize()
    with pytest.raises(ValueError, match="'nI'.*unset"):
        layer(nO=3).initialize()
    with pytest.raises(ValueError, match="'nI'.* from 5 to 3"):
        layer(4, 5).initialize(X=numpy.zeros((2, 3), "f"))
    with pytest.raises(ValueError, match="'nO'.* from 5 to 4"):
        layer(5, 3).initialize(Y=numpy.zeros((2, 4), "f"))
    with pytest.raises(KeyError, match="'W'.*not been allocated"):
        layer(2, 3).predict(numpy.zeros((1, 3), "f"))


@pytest.mark.parametrize("layer", LAYERS, **by_name)
@pytest.mark.parametrize("shape", [(0, 3), (0, 0)])
def test_no_rows(layer, shape):
    model = model_with_weights(layer)
    Y, backprop = model.begin_update(numpy.zeros(shape, "f"))
    assert Y.shape == (0, 4)
    assert backprop(Y).shape == (0, 3)
    assert not model.get_grad("W").any()
    assert model.get_grad("W").shape == (4, 3)
    assert model.get_grad("b").shape == (4,)


@pytest.mark.parametrize("layer", WITH_OPTIONS, **by_name)
def test_options_build_a_chain(layer):
    name = FORMULAS[layer][0]
    assert layer(4, 3, dropout=0.0).name == f"{name}>>dropout"
    assert layer(4, 3, normalize=True).name == f"{name}>>layernorm"
    both = layer(4, 3, normalize=True, dropout=0.2)
    assert [node.name for node in both.walk()] == [
        f"{name}>>layernorm>>dropout",
        f"{name}>>layernorm",
        "dropout",
        name,
        "layernorm",
    ]
    assert both.layers[1].attrs["dropout_rate"] == 0.2
    both.initialize()
    assert both.get_dim("nO") == 4, "dropout has no width of its own, but keeps that of its input"
    assert both.get_dim("nI") == 3


@pytest.mark.parametrize("layer", LAYERS, **by_name)
def test_initializers_are_used(layer):
    def sevens(ops, shape):
        return ops.alloc_f(shape) + 7

    def eights(ops, shape):
        return ops.alloc_f(shape) + 8

    model = layer(4, 3, init_W=sevens, init_b=eights).initialize()
    assert_array_equal(model.get_param("W"), numpy.full((4, 3), 7, "f"))
    assert_array_equal(model.get_param("b"), numpy.full((4,), 8, "f"))


@pytest.mark.parametrize("layer", [Linear, Relu, Mish, ClippedLinear, HardTanh], **by_name)
def test_glorot_is_the_default(layer):
    fix_random_seed(3)
    expected = glorot_uniform_init(Ops(), (4, 3))
    fix_random_seed(3)
    assert_array_equal(layer(4, 3).initialize().get_param("W"), expected)


@pytest.mark.parametrize("layer", [Gelu, Swish, Dish, HardSwish, HardSwishMobilenet], **by_name)
def test_he_is_the_default(layer):
    fix_random_seed(3)
    expected = he_normal_init(Ops(), (4, 3))
    fix_random_seed(3)
    assert_array_equal(layer(4, 3).initialize().get_param("W"), expected)


def test_sigmoid_starts_at_one_half():
    assert_array_equal(Sigmoid(2, 3).initialize().predict(rows(1)), [[0.5, 0.5]])


@pytest.mark.parametrize("layer", LAYERS, **by_name)
def test_nothing_given_is_changed(layer):
    model = model_with_weights(layer)
    X, dY = rows(), rows(nI=4)
    X_before, dY_before = X.copy(), dY.copy()
    Y, backprop = model.begin_update(X)
    Y_before = Y.copy()
    backprop(dY)
    assert_array_equal(X, X_before)
    assert_array_equal(dY, dY_before)
    assert_array_equal(Y, Y_before)


@pytest.mark.parametrize("layer", [*LAYERS, Maxout], **by_name)
def test_gradients_add_up_in_place(layer):
    model = model_with_weights(layer)
    Y, backprop = model.begin_update(rows())
    dY = numpy.ones_like(Y)
    backprop(dY)
    buffers = {name: model.get_grad(name) for name in ("W", "b")}
    once = {name: grad.copy() for name, grad in buffers.items()}
    backprop(dY)
    for name, grad in buffers.items():
        assert model.get_grad(name) is grad
        assert grad.shape == model.get_param(name).shape
        assert_allclose(grad, 2 * once[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layer", [Relu, Maxout], **by_name)
def test_gradients_add_up_in_a_buffer_of_another_layout(layer):
    plain, strided = model_with_weights(layer), model_with_weights(layer)
    grad = numpy.zeros((*plain.get_param("W").shape, 2), "f")[..., 0]
    strided.set_grad("W", grad)
    for model in (plain, strided):
        Y, backprop = model.begin_update(rows())
        backprop(numpy.ones_like(Y))
    assert strided.get_grad("W") is grad
    assert_allclose(grad, plain.get_grad("W"), rtol=1e-6, atol=1e-6)


class Proxy:
    """Gradients that are sent elsewhere."""

    def __init__(self):
        self.grads = {}
        self.params = {}

    def get_param(self, id, name):
        return self.params[id, name]

    def set_param(self, id, name, value):
        self.params[id, name] = value

    def set_grad(self, id, name, value):
        raise AssertionError("a layer adds to gradients, it does not set them")

    def inc_grad(self, id, name, value):
        self.grads[name] = self.grads.get(name, 0) + value


@pytest.mark.parametrize("layer", [Linear, Relu, Maxout], **by_name)
def test_gradients_go_to_the_proxy(layer):
    plain, model = model_with_weights(layer), model_with_weights(layer)
    proxy = Proxy()
    for name in model.param_names:
        proxy.params[model.id, name] = model.get_param(name)
    model._params.proxy = proxy
    for node in (plain, model):
        Y, backprop = node.begin_update(rows())
        backprop(numpy.ones_like(Y))
        backprop(numpy.ones_like(Y))
    for name in ("W", "b"):
        assert not model.has_grad(name)
        assert_allclose(proxy.grads[name], plain.get_grad(name), rtol=1e-5, atol=1e-5)


def test_accumulators():
    model = Linear(2, 3).initialize()
    dY = numpy.array([[1.0, 2.0], [3.0, 4.0]], "f")
    X = numpy.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]], "f")
    for times in (1, 2, 3):
        accumulate_weight_grad(model, "W", dY, X)
        accumulate_bias_grad(model, "b", dY)
        assert_array_equal(model.get_grad("W"), times * numpy.array([[1, 3, 4], [2, 4, 6]]))
        assert_array_equal(model.get_grad("b"), times * numpy.array([4, 6]))


def test_relu_by_hand():
    model = Relu(2, 2).initialize()
    model.set_param("W", numpy.array([[1, 2], [-1, 0]], "f"))
    model.set_param("b", numpy.array([1, 0], "f"))
    Y, backprop = model.begin_update(numpy.array([[1, 1], [-1, 0]], "f"))
    assert_array_equal(Y, [[4, 0], [0, 1]])
    assert_array_equal(backprop(numpy.array([[1, 10], [100, 1000]], "f")), [[1, 2], [-1000, 0]])
    assert_array_equal(model.get_grad("W"), [[1, 1], [-1000, 0]])
    assert_array_equal(model.get_grad("b"), [1, 1000])


@pytest.mark.parametrize("slope", [-2.0, 0.0, 0.5])
def test_clipped_linear_of_any_slope(slope):
    model = model_with_weights(ClippedLinear, slope=slope, offset=0.2, min_val=-1.0, max_val=1.5)
    assert list(model.attrs) == ["slope", "offset", "min_val", "max_val"]
    X = rows()
    P = X @ model.get_param("W").T + model.get_param("b")
    assert_allclose(model.predict(X), numpy.clip(slope * P + 0.2, -1, 1.5), rtol=1e-5, atol=1e-6)
    check_gradients(model, X)


def test_clipped_linear_reads_its_attrs_at_each_call():
    model = model_with_weights(ReluK, k=2.0)
    assert model.predict(10 * rows(20)).max() == 2.0
    model.attrs["max_val"] = 3.0
    assert model.predict(10 * rows(20)).max() == 3.0


@pytest.mark.parametrize("layer", LAYERS, **by_name)
def test_pickle(layer):
    model = model_with_weights(layer)
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.predict(rows()), model.predict(rows()))
    again.initialize()


@pytest.mark.parametrize("layer", LAYERS, **by_name)
def test_layer_modules_hold_forward_and_init(layer):
    import importlib

    module = importlib.import_module(layer.__module__)
    model = layer(2, 3)
    assert model._func is module.forward
    assert callable(module.init)


def test_float64_all_the_way():
    model = Linear(4, 3).initialize()
    for name in model.param_names:
        model.set_param(name, model.get_param(name).astype("d"))
    Y, backprop = model.begin_update(rows(dtype="float64"))
    assert Y.dtype == backprop(Y).dtype == model.get_grad("W").dtype == "float64"


@pytest.mark.parametrize(
    "layer", [Maxout, Relu, Sigmoid, Gelu, Mish, Swish, Dish, HardSwish, ClippedLinear]
)
def test_a_prediction_has_a_gradient_all_the_same(layer):
    X = numpy.random.default_rng(0).normal(size=(5, 4)).astype("f")
    model = layer(3, 4).initialize()
    dY = numpy.random.default_rng(1).normal(size=(5, 3)).astype("f")
    found = []
    for is_train in (True, False):
        Y, backprop = model(X, is_train)
        dX = backprop(dY)
        found.append([Y, dX, *(model.get_grad(name).copy() for name in model.grad_names)])
        for name in model.grad_names:
            model.set_grad(name, numpy.zeros_like(model.get_param(name)))
    for trained, predicted in zip(*found, strict=True):
        assert_allclose(predicted, trained, rtol=1e-5, atol=1e-6)
