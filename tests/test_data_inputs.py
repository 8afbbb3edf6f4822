"""Training on data whose gradient nobody needs: begin_update(X, input_gradient=False)."""

import numpy
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from thinc import api
from thinc.api import NumpyOps, Ops, Ragged, chain, concatenate, residual, with_array
from thinc.data_inputs import as_data, is_data

WIDTH = 5
DENSE = ["ClippedLinear", "Dish", "Gelu", "HardSigmoid", "HardSwish", "HardSwishMobilenet"]
DENSE += ["HardTanh", "Linear", "Maxout", "Mish", "Relu", "ReluK", "Sigmoid", "Softmax", "Swish"]


def floats(rows=7, seed=0):
    return numpy.random.default_rng(seed).normal(size=(rows, WIDTH)).astype("float32")


def gradients(model):
    return {
        f"{i} {node.name}.{name}": node.get_grad(name)
        for i, node in enumerate(model.walk())
        for name in node.grad_names
    }


def train(model, X, **options):
    """The output, the input's gradient and those of the parameters."""
    for node in model.walk():
        for name in node.param_names:
            node.set_grad(name, None)
    Y, backprop = model.begin_update(X, **options)
    return Y, backprop(Y), gradients(model)


def assert_same_training(model, X):
    """But for the input's gradient. Returns it, as it usually is."""
    Y, dX, expected = train(model, X)
    Y2, nothing, found = train(model, X, input_gradient=False)
    assert nothing is None
    assert not is_data(X)
    assert found.keys() == expected.keys() and found
    for name in found:
        assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6, err_msg=name)
    return dX


NETWORKS = {
    **{name: (lambda name=name: getattr(api, name)(4)) for name in DENSE},
    "several": lambda: chain(api.Relu(WIDTH), api.Maxout(WIDTH), api.Softmax(3)),
    "dropout in front": lambda: chain(api.Dropout(0.0), api.Relu(4)),
    "side by side": lambda: concatenate(api.Relu(4), chain(api.Mish(3), api.Linear(2))),
    "added": lambda: api.add(api.Relu(WIDTH), api.Linear(WIDTH)),
    "residual": lambda: chain(residual(api.Maxout(WIDTH)), residual(api.Relu(WIDTH))),
    "window": lambda: chain(api.expand_window(1), api.Maxout(WIDTH)),
    "no dense layer": lambda: chain(api.LayerNorm(), api.Linear(3)),
}


@pytest.mark.parametrize("rows", [0, 1, 7, 40])
@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_get_the_same_gradients(name, rows):
    model = NETWORKS[name]().initialize(X=floats(3))
    dX = assert_same_training(model, floats(rows))
    assert dX.shape == (rows, WIDTH)


@pytest.mark.parametrize("kind", ["list", "tuple", "ragged", "padded"])
def test_batches_of_sequences(kind):
    Xs = [floats(3), floats(0), floats(5, seed=1)]
    ops = NumpyOps()
    X = {
        "list": Xs,
        "tuple": tuple(Xs),
        "ragged": Ragged(ops.flatten(Xs), ops.asarray1i([3, 0, 5])),
        "padded": ops.list2padded([Xs[0], Xs[2]]),
    }[kind]
    wrap = api.with_array2d if kind == "padded" else with_array
    model = chain(wrap(chain(api.Relu(WIDTH), api.Linear(4))), wrap(api.Maxout(3)))
    model.initialize(X=Xs)
    assert type(assert_same_training(model, X)) is (list if kind == "tuple" else type(X))


class Counting(NumpyOps):
    """Counts the products that a step makes."""

    def __init__(self):
        super().__init__()
        self.gradients = []

    def gemm(self, *args, **kwargs):
        self.gradients.append("gemm")
        return super().gemm(*args, **kwargs)

    def backprop_affine_maxout(self, *args, input_gradient=True):
        self.gradients.append(f"maxout {input_gradient}")
        return super().backprop_affine_maxout(*args, input_gradient=input_gradient)


@pytest.mark.parametrize("kind", ["array", "list"])
def test_the_first_layer_leaves_its_gradient_out(kind):
    for first, usual, saved in [
        (api.Relu, ["gemm", "gemm"], ["gemm"]),
        (api.Maxout, ["gemm", "maxout True"], ["gemm", "maxout False"]),
    ]:
        ops = Counting()
        model = chain(first(WIDTH), api.Linear(3))
        X = floats()
        if kind == "list":
            model, X = with_array(model), [floats(), floats()]
        model.initialize(X=X)
        for node in model.walk():
            node.ops = ops
        train(model, X)  # the first makes the gradients
        for options, expected in (({}, usual), ({"input_gradient": False}, saved)):
            Y, backprop = model.begin_update(X, **options)
            del ops.gradients[:]
            backprop(Y)
            assert ops.gradients == expected


def test_equal_inputs_are_not_the_same_input():
    X = floats()
    with as_data(X):
        assert is_data(X)
        assert not is_data(X.copy())
        with as_data(X[:3]):
            assert is_data(X)
    assert not is_data(X)


def test_an_error_leaves_nothing_behind():
    model = chain(api.Relu(3), api.Linear(2)).initialize(X=floats())
    bad = numpy.zeros((2, 9), dtype="float32")
    with pytest.raises(ValueError, match="input width 9 does not match nI=5"):
        model.begin_update(bad, input_gradient=False)
    assert not is_data(bad)


def test_an_input_can_be_data_in_one_thread_and_not_in_another():
    import threading

    X, seen = floats(), []
    with as_data(X):
        thread = threading.Thread(target=lambda: seen.append(is_data(X)))
        thread.start()
        thread.join()
    assert seen == [False]


@pytest.mark.parametrize("ops", [NumpyOps(), Ops()], ids=["numpy", "generic"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows,pieces", [(0, 3), (3, 2), (200, 3), (50, 1)])
def test_maxout_without_the_gradient_of_its_input(ops, dtype, rows, pieces):
    rng = numpy.random.default_rng(0)
    X, dY = (rng.normal(size=(rows, n)).astype(dtype) for n in (WIDTH, 4))
    W = rng.normal(size=(4, pieces, WIDTH)).astype(dtype)
    which = rng.integers(0, pieces, (rows, 4)).astype("int32")
    results = []
    for wanted in (True, False):
        dW, db = numpy.zeros_like(W), numpy.zeros((4, pieces), dtype)
        dX = ops.backprop_affine_maxout(dY, which, X, W, dW, db, input_gradient=wanted)
        assert (dX is not None) == wanted
        results.append((dW, db))
    for found, expected in zip(*results, strict=True):
        assert_array_equal(found, expected)


