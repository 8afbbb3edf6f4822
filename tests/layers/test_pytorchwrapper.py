"""Layers made of PyTorch modules: conversions, gradients, training, configs."""

import numpy
import pytest
from frameworks import import_or_skip
from numpy.testing import assert_allclose, assert_array_equal

torch = import_or_skip("torch")

import strategies  # noqa: E402
from hypothesis import given  # noqa: E402

from thinc.api import (  # noqa: E402
    Adam,
    ArgsKwargs,
    Config,
    Linear,
    Padded,
    PyTorchRNNWrapper,
    PyTorchShim,
    PyTorchWrapper,
    PyTorchWrapper_v2,
    PyTorchWrapper_v3,
    Ragged,
    Relu,
    Softmax,
    chain,
    concatenate,
    registry,
    with_array,
    with_padded,
)
from thinc.layers.pytorchwrapper import (  # noqa: E402
    convert_pytorch_default_inputs,
    convert_pytorch_default_outputs,
    convert_rnn_inputs,
    convert_rnn_outputs,
    forward,
)
from thinc.testing import check_gradients  # noqa: E402

nn = torch.nn


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def floats(*shape, seed=0, dtype="float32"):
    return numpy.random.default_rng(seed).normal(size=shape).astype(dtype)


def test_a_frozen_module_keeps_its_weights_and_passes_gradients_on():
    frozen = PyTorchWrapper(nn.Linear(3, 4)).initialize().freeze()
    model = chain(frozen, Softmax(2, 4)).initialize()
    module = frozen.shims[0]._model
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    for _ in range(2):
        Y, backprop = model.begin_update(floats(5, 3))
        dX = backprop(Y - numpy.eye(2, dtype="f")[0])
        assert model.layers[1].grad_names
        model.finish_update(Adam(0.1))
    for name, parameter in module.named_parameters():
        assert torch.equal(parameter, before[name])
        assert not parameter.grad.any()
    assert dX.shape == (5, 3) and dX.any()
    assert model.predict(floats(5, 3)).std() > 0
    frozen.unfreeze()
    Y, backprop = model.begin_update(floats(5, 3))
    backprop(Y - numpy.eye(2, dtype="f")[0])
    model.finish_update(Adam(0.1))
    assert not torch.equal(module.weight, before["weight"])


class Call(nn.Module):
    """A module around a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args, **kwargs):
        return self.function(*args, **kwargs)


# ---- the layer -------------------------------------------------------------------------


@pytest.mark.parametrize("make", [PyTorchWrapper, PyTorchWrapper_v2, PyTorchWrapper_v3])
def test_the_parts_of_the_layer(make):
    module = nn.Linear(3, 2)
    model = make(module)
    assert model.name == "pytorch" and model._func is forward
    assert model.dim_names == ("nI", "nO") and model.has_dim("nO") is None
    assert model.attrs == {
        "convert_inputs": convert_pytorch_default_inputs,
        "convert_outputs": convert_pytorch_default_outputs,
    }
    (shim,) = model.shims
    assert type(shim) is PyTorchShim and shim._model is module
    assert model.initialize(X=floats(2, 3), Y=floats(2, 2)) is model
    with pytest.raises(ValueError, match="value unset"):
        model.get_dim("nO")


def test_the_arguments_reach_the_shim():
    model = PyTorchWrapper_v3(
        nn.Linear(1, 1), mixed_precision=True, device="cpu", serialize_model=str,
        deserialize_model=len,
    )  # fmt: skip
    shim = model.shims[0]
    assert shim._mixed_precision and shim._serialize_model is str
    assert shim._deserialize_model is len


@pytest.mark.parametrize(
    "name", ["PyTorchWrapper.v1", "PyTorchWrapper.v2", "PyTorchWrapper.v3", "PyTorchRNNWrapper.v1"]
)
def test_configs_make_the_layers(name):
    @registry.layers("a_torch_module.v1")
    def make(width: int):
        return nn.GRU(width, width) if "RNN" in name else nn.Linear(width, width)

    config = Config().from_str(
        f"""
        [model]
        @layers = "{name}"

        [model.pytorch_model]
        @layers = "a_torch_module.v1"
        width = 3
        """
    )
    model = registry.resolve(config)["model"]
    assert model.name == "pytorch" and model.shims[0]._model(torch.zeros(2, 3)) is not None


def test_gradients_match_central_differences():
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    check_gradients(PyTorchWrapper(module), floats(5, 3))
    model = chain(Linear(3, 3), PyTorchWrapper(module), Linear(2, 2)).initialize()
    check_gradients(model, floats(5, 3))


@given(X=strategies.arrays("float32", -10, 10))
def test_arrays_of_every_shape_pass(X):
    model = PyTorchWrapper(Call(lambda x: 2 * x))
    Y, backprop = model.begin_update(X)
    assert_array_equal(Y, 2 * X)
    assert_array_equal(backprop(X), 2 * X)
    assert_array_equal(model.predict(X), 2 * X)


@pytest.mark.parametrize("name", strategies.layouts(numpy.zeros((2, 3))))
def test_arrays_of_every_layout_pass(name):
    X = strategies.layouts(floats(4, 3))[name]
    given_X = X.copy()
    module = nn.Linear(X.shape[-1], 2)
    model = PyTorchWrapper(module)
    Y, backprop = model.begin_update(X)
    assert_allclose(Y, X @ module.weight.detach().numpy().T + module.bias.detach().numpy(),
                    rtol=1e-5, atol=1e-6)  # fmt: skip
    dY = strategies.layouts(floats(*Y.shape, seed=1)).get(name)
    dY = dY if dY is not None and dY.shape == Y.shape else floats(*Y.shape, seed=1)
    assert_allclose(backprop(dY), dY @ module.weight.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert_array_equal(X, given_X)


def test_no_copies_are_made_on_the_way():
    pointers = []

    def view(x):
        pointers.append(x.data_ptr())
        return x.view_as(x)

    model = PyTorchWrapper(Call(view))
    X, dY = floats(3, 2), floats(3, 2, seed=1)
    Y, backprop = model.begin_update(X)
    address = X.__array_interface__["data"][0]
    assert pointers == [address] and Y.__array_interface__["data"][0] == address
    assert backprop(dY).__array_interface__["data"][0] == dY.__array_interface__["data"][0]
    assert model.predict(X).__array_interface__["data"][0] == address


def test_a_module_that_works_in_place_changes_writable_input_only():
    model = PyTorchWrapper(nn.ReLU(inplace=True))
    X = -numpy.ones((2, 2), dtype="f")
    X.flags.writeable = False
    assert_array_equal(model.predict(X), numpy.zeros((2, 2)))
    assert_array_equal(X, -numpy.ones((2, 2)))
    X = X.copy()
    model.predict(X)
    assert_array_equal(X, numpy.zeros((2, 2)))


# ---- inputs ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "X, n_args, keywords, kind",
    [
        (floats(2, 3), 1, [], numpy.ndarray),
        ([floats(2), floats(3)], 2, [], tuple),
        ((floats(2), floats(3)), 2, [], tuple),
        ({"a": floats(2), "b": floats(3)}, 0, ["a", "b"], dict),
        (ArgsKwargs((floats(2), floats(3)), {"c": floats(1)}), 2, ["c"], ArgsKwargs),
    ],
)
@pytest.mark.parametrize("is_train", [True, False])
def test_inputs_become_arguments(X, n_args, keywords, kind, is_train):
    model = PyTorchWrapper(nn.Linear(1, 1))
    arguments, get_dX = convert_pytorch_default_inputs(model, X, is_train)
    assert isinstance(arguments, ArgsKwargs)
    assert len(arguments.args) == n_args and list(arguments.kwargs) == keywords
    assert all(value.requires_grad is is_train for value in arguments.values())
    dX = get_dX(arguments)
    assert type(dX) is kind


def test_nested_inputs_are_converted_and_other_values_pass():
    seen = {}

    def note(a, b, *, options):
        seen.update(a=a, b=b, options=options)
        return a[0] + options["x"]

    model = PyTorchWrapper(Call(note))
    X = ArgsKwargs(([floats(2), "text"], None), {"options": {"x": floats(2), "n": 3}})
    Y, backprop = model.begin_update(X)
    assert torch.is_tensor(seen["a"][0]) and seen["a"][1] == "text" and seen["b"] is None
    assert seen["options"]["n"] == 3
    dX = backprop(numpy.ones(2, "f"))
    assert_array_equal(dX.args[0][0], [1, 1])
    assert_array_equal(dX.kwargs["options"]["x"], [1, 1])


def test_ragged_input_is_passed_on_to_modules_that_know_it():
    lengths = numpy.array([1, 2])
    model = PyTorchWrapper(Call(lambda ragged: torch.from_numpy(ragged.data * 2)))
    assert_array_equal(model.predict(Ragged(floats(3, 2), lengths)), 2 * floats(3, 2))


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "bool"])
def test_integers_can_be_input_while_training(dtype):
    ids = numpy.array([1, 0, 1], dtype=dtype)
    module = Call(lambda x: table(x.long()))
    table = module.table = nn.Embedding(3, 2)
    model = PyTorchWrapper(module)
    Y, backprop = model.begin_update(ids)
    assert Y.shape == (3, 2)
    assert backprop(numpy.ones((3, 2), "f")) is None
    assert_array_equal(table.weight.grad, [[1, 1], [2, 2], [0, 0]])


def test_integers_beside_floats():
    model = PyTorchWrapper(Call(lambda ids, x: x * ids))
    Y, backprop = model.begin_update((numpy.array([1, 2]), floats(2)))
    d_ids, dx = backprop(numpy.ones(2, "f"))
    assert d_ids is None
    assert_array_equal(dx, [1, 2])


def test_layers_without_an_input_gradient_fit_into_combinators():
    ids = numpy.array([1, 0, 2])
    embeddings = [PyTorchWrapper(nn.Embedding(3, width)) for width in (2, 4)]
    side_by_side = concatenate(*embeddings)
    Y, backprop = side_by_side.begin_update(ids)
    backprop(Y)
    assert side_by_side.layers[0].shims[0]._model.weight.grad is not None
    lists = with_array(PyTorchWrapper(nn.Embedding(3, 2)))
    Ys, backprop = lists.begin_update([ids, ids[:1]])
    assert [y.shape for y in Ys] == [(3, 2), (1, 2)]
    backprop(Ys)
    assert lists.layers[0].shims[0]._model.weight.grad is not None


def test_an_array_given_twice_has_two_gradients():
    X = floats(2)
    Y, backprop = PyTorchWrapper(Call(lambda a, b: a + 3 * b)).begin_update((X, X))
    da, db = backprop(numpy.ones(2, "f"))
    assert_array_equal(da, [1, 1])
    assert_array_equal(db, [3, 3])


# ---- outputs ---------------------------------------------------------------------------


def test_tuples_and_lists_of_outputs():
    for kind in (tuple, list):
        module = Call(lambda x, kind=kind: kind([2 * x, 3 * x]))
        model = PyTorchWrapper(module)
        Y, backprop = model.begin_update(floats(2))
        assert type(Y) is kind
        assert_array_equal(backprop((numpy.ones(2, "f"), numpy.ones(2, "f"))), [5, 5])
        Y, backprop = model.begin_update(floats(2))
        assert_array_equal(backprop([numpy.ones(2, "f"), None]), [2, 2])


def test_dicts_and_nested_outputs():
    model = PyTorchWrapper(
        Call(lambda x: {"last": 2 * x, "all": (x, [3 * x, 4 * x]), "n": 5, "none": None})
    )
    Y, backprop = model.begin_update(floats(2))
    assert Y["n"] == 5 and Y["none"] is None
    assert_array_equal(Y["all"][1][1], 4 * floats(2))
    one = numpy.ones(2, "f")
    assert_array_equal(backprop({"last": one, "all": (None, [one, one])}), [9, 9])
    Y, backprop = model.begin_update(floats(2))
    assert_array_equal(backprop({"all": (one, None)}), [1, 1])


def test_outputs_without_gradient_are_skipped():
    model = PyTorchWrapper(Call(lambda x: (2 * x, x.argmax(), x.detach())))
    Y, backprop = model.begin_update(floats(2))
    assert_array_equal(backprop((numpy.ones(2, "f"), Y[1], numpy.ones(2, "f"))), [2, 2])
    Y, backprop = model.begin_update(floats(2))
    assert backprop((None, None, None)) is None


def test_a_frozen_module_without_float_input_has_nothing_to_do_backwards():
    module = nn.Embedding(3, 2).requires_grad_(False)
    Y, backprop = PyTorchWrapper(module).begin_update(numpy.array([1]))
    assert backprop(Y) is None and module.weight.grad is None


def test_bfloat16_outputs_become_float32():
    model = PyTorchWrapper(Call(lambda x: (2 * x).bfloat16()))
    Y, backprop = model.begin_update(numpy.ones(2, "f"))
    assert Y.dtype == "float32" and Y.tolist() == [2, 2]
    assert_array_equal(backprop(Y), [4, 4])


@pytest.mark.parametrize(
    "dY, error, message",
    [
        (numpy.ones(3, "f"), ValueError, r"gradient .* \(3,\), but the output .* \(2,\)"),
        ("nonsense", TypeError, r"expected an array of shape \(2,\) as the output's gradient, got"),
    ],
)
def test_gradients_that_do_not_fit_the_output(dY, error, message):
    model = PyTorchWrapper(Call(lambda x: x * 2))
    with pytest.raises(error, match=message):
        model.begin_update(floats(2))[1](dY)


@pytest.mark.parametrize(
    "dY, message",
    [
        ([floats(2)], "the output has 2 items where its gradient, dY, has list of length 1"),
        (floats(2), "the output has 2 items where its gradient, dY, has float32 array"),
        ((None, {"b": floats(2)}), r"dY\[1\] has gradients for \['b'\], the output has \['a'\]"),
        ((None, floats(2)), r"the output is a dict where its gradient, dY\[1\], is float32 array"),
    ],
)
def test_gradients_of_another_structure_than_the_output(dY, message):
    model = PyTorchWrapper(Call(lambda x: (x * 2, {"a": x})))
    with pytest.raises(ValueError, match=message):
        model.begin_update(floats(2))[1](dY)


def test_an_output_without_tensors_is_refused_while_training():
    class Result:
        pass

    model = chain(Linear(2, 2), PyTorchWrapper(Call(lambda x: Result()))).initialize()
    with pytest.raises(TypeError, match=r"pytorch \(layers\[1\] of .*got an object of type Result: "
                                        "write a convert_outputs"):  # fmt: skip
        model.begin_update(floats(1, 2))
    assert isinstance(model.predict(floats(1, 2)), Result)


def test_conversions_of_your_own():
    def inputs(model, X, is_train):
        tensor = torch.tensor(X, dtype=torch.float32, requires_grad=is_train)
        return ArgsKwargs((tensor,), {}), lambda dX: dX.args[0].tolist()

    def outputs(model, X_Y, is_train):
        X, Y = X_Y
        assert X == [1, 2]
        return Y.tolist(), lambda dY: ArgsKwargs((Y,), {"grad_tensors": torch.tensor(dY)})

    model = PyTorchWrapper(Call(lambda x: 3 * x), inputs, outputs)
    Y, backprop = model.begin_update([1, 2])
    assert Y == [3, 6] and backprop([1.0, 0.0]) == [3.0, 0.0]


# ---- training ---------------------------------------------------------------------------


def test_native_and_wrapped_layers_train_together_under_one_optimizer():
    rng = numpy.random.default_rng(0)
    X = rng.normal(size=(200, 8)).astype("f")
    labels = (X[:, 0] * X[:, 1] > 0).astype(int)
    Y = numpy.eye(2, dtype="f")[labels]
    model = chain(
        Relu(16), PyTorchWrapper(nn.Sequential(nn.Linear(16, 16), nn.ReLU())), Softmax()
    )
    model.initialize(X=X[:2], Y=Y[:2])
    optimizer = Adam(0.02)
    for _ in range(60):
        guesses, backprop = model.begin_update(X)
        backprop((guesses - Y) / len(X))
        model.finish_update(optimizer)
    assert (model.predict(X).argmax(1) == labels).mean() > 0.95
    with model.use_params(optimizer.averages):
        assert (model.predict(X).argmax(1) == labels).mean() > 0.9
    # Every weight of both kinds has a moment of its own.
    assert len(optimizer.mom1) == 6


def test_a_wrapped_network_trains_as_it_does_in_pytorch():
    def build():
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).double()

    from thinc.api import SGD

    X, target = floats(16, 4, dtype="float64"), floats(16, 2, seed=1, dtype="float64")
    theirs, model = build(), PyTorchWrapper(build())
    optimizer, sgd = torch.optim.SGD(theirs.parameters(), 0.1), SGD(0.1, grad_clip=0)
    for _ in range(20):
        optimizer.zero_grad()
        ((theirs(torch.from_numpy(X)) - torch.from_numpy(target)) ** 2).sum().backward()
        optimizer.step()
        Y, backprop = model.begin_update(X)
        backprop(2 * (Y - target))
        model.finish_update(sgd)
    for a, b in zip(theirs.parameters(), model.shims[0]._model.parameters(), strict=True):
        assert_allclose(a.detach(), b.detach(), rtol=1e-9)


def test_dropout_is_active_while_training_only():
    model = PyTorchWrapper(nn.Dropout(0.5))
    X = numpy.ones((50, 50), "f")
    Y, backprop = model.begin_update(X)
    assert set(numpy.unique(Y)) == {0.0, 2.0}
    assert_array_equal(backprop(X), Y)
    assert_array_equal(model.predict(X), X)


# ---- recurrent modules -------------------------------------------------------------------


def padded():
    return Padded(
        floats(3, 2, 4), numpy.array([2, 2, 1], "i"), numpy.array([3, 2], "i"),
        numpy.array([1, 0], "i"),
    )  # fmt: skip


def test_rnn_conversions():
    model = PyTorchRNNWrapper(nn.GRU(4, 4))
    Xp = padded()
    arguments, get_dX = convert_rnn_inputs(model, Xp, True)
    data, state = arguments.args
    assert state is None and arguments.kwargs == {} and data.requires_grad
    assert data.data_ptr() == Xp.data.__array_interface__["data"][0]
    dX = get_dX(arguments)
    assert isinstance(dX, Padded) and dX.lengths is Xp.lengths and dX.indices is Xp.indices
    Y = torch.ones(3, 2, 5, requires_grad=True)
    Yp, get_dY = convert_rnn_outputs(model, (Xp, (Y, None)), True)
    assert Yp.data.shape == (3, 2, 5) and Yp.size_at_t is Xp.size_at_t
    back = get_dY(Yp)
    assert back.args == ((Y,),) and torch.equal(back.kwargs["grad_tensors"], Y)


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
def test_rnns_run_on_sequences_and_have_the_right_gradients(kind):
    model = with_padded(PyTorchRNNWrapper(kind(4, 3).double()))
    check_gradients(model, [floats(3, 4), floats(2, 4, seed=1)])


def test_rnn_input_and_output_of_the_wrong_kind():
    with pytest.raises(TypeError, match="expected a Padded, got float32 array of shape .*with_pad"):
        PyTorchRNNWrapper(nn.GRU(4, 4)).predict(floats(3, 2, 4))
    with pytest.raises(TypeError, match="return a pair of output and state, got Tensor"):
        PyTorchRNNWrapper(Call(lambda x, state: x)).predict(padded())
