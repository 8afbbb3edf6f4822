"""PyTorchLSTM: equal to torch.nn.LSTM on every sequence by itself, whatever its batch."""

import sys

import numpy
import pytest
from frameworks import import_or_skip
from numpy.testing import assert_allclose

torch = import_or_skip("torch")

from thinc.api import LSTM, Adam, Padded, PyTorchLSTM, Ragged, noop, registry  # noqa: E402
from thinc.testing import check_gradients  # noqa: E402


def sequences(*lengths, width=3, dtype="float32"):
    rng = numpy.random.default_rng(0)
    return [rng.normal(size=(n, width)).astype(dtype) for n in lengths]


def module_of(model):
    return model.layers[0].shims[0]._model


@pytest.mark.parametrize("bi, depth", [(False, 1), (True, 1), (False, 2), (True, 2)])
def test_each_sequence_is_computed_as_if_it_were_alone(bi, depth):
    torch.manual_seed(0)
    model = PyTorchLSTM(4, 3, bi=bi, depth=depth)
    Xs = sequences(2, 5, 1, 4)
    for X, Y in zip(Xs, model.predict(Xs), strict=True):
        expected, _ = module_of(model)(torch.from_numpy(X[:, None]))
        assert_allclose(Y, expected.detach()[:, 0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bi", [False, True])
def test_gradients_match_central_differences(bi):
    torch.manual_seed(0)
    model = PyTorchLSTM(4, 3, bi=bi, depth=2)
    module_of(model).double()
    check_gradients(model, sequences(3, 1, 4))


def test_the_parts_of_the_layer():
    model = PyTorchLSTM(4, 3, bi=True, depth=2, dropout=0.5)
    assert model.name == "with_padded(pytorch)" and model.layers[0].name == "pytorch"
    for node in model.walk():
        assert node.dim_names == ("nI", "nO")
        assert (node.get_dim("nI"), node.get_dim("nO")) == (3, 4)
    module = module_of(model)
    assert (module.input_size, module.hidden_size, module.num_layers) == (3, 2, 2)
    assert module.bidirectional and module.dropout == 0.5 and not module.batch_first
    assert registry.layers.get("PyTorchLSTM.v1") is PyTorchLSTM
    assert sys.modules["thinc.layers.lstm"].PyTorchLSTM is PyTorchLSTM


def test_every_kind_of_batch():
    model = PyTorchLSTM(4, 3)
    Xs = sequences(2, 3)
    Ys = model.predict(Xs)
    ragged = model.predict(Ragged(numpy.concatenate(Xs), numpy.array([2, 3], "i")))
    assert_allclose(ragged.data, numpy.concatenate(Ys), rtol=1e-6)
    Xp = model.ops.list2padded(Xs)
    Yp = model.predict(Xp)
    assert isinstance(Yp, Padded)
    assert Yp.data.shape == (3, 2, 4) and (Yp.data[2, 1] == 0).all()  # padding


def test_empty_batches_and_sequences():
    model = PyTorchLSTM(4, 3)
    Xs = [*sequences(2), numpy.zeros((0, 3), "f")]
    Ys, backprop = model.begin_update(Xs)
    assert [y.shape for y in Ys] == [(2, 4), (0, 4)]
    assert [x.shape for x in backprop(Ys)] == [(2, 3), (0, 3)]
    assert model.predict([]) == []
    nothing = [numpy.zeros((0, 3), "f")]
    Ys, backprop = model.begin_update(nothing)
    assert Ys[0].shape == (0, 4) and backprop(Ys)[0].shape == (0, 3)


def test_it_learns_what_comes_next():
    torch.manual_seed(0)
    rng = numpy.random.default_rng(0)
    model, optimizer = PyTorchLSTM(2, 2), Adam(0.02)
    X = numpy.eye(2, dtype="f")[rng.integers(0, 2, size=(12, 8))]
    lists = list(X)
    targets = [numpy.concatenate([numpy.zeros((1, 2), "f"), x[:-1]]) * 0.5 for x in X]
    losses = []
    for _ in range(80):
        Ys, backprop = model.begin_update(lists)
        dYs = [y - t for y, t in zip(Ys, targets, strict=True)]
        losses.append(sum(float((d**2).sum()) for d in dYs))
        backprop(dYs)
        model.finish_update(optimizer)
    assert losses[-1] < 0.3 * losses[0]


def test_weights_can_be_saved():
    torch.manual_seed(0)
    model, other = PyTorchLSTM(4, 3, bi=True), PyTorchLSTM(4, 3, bi=True)
    other.from_bytes(model.to_bytes())
    Xs = sequences(3, 2)
    for a, b in zip(model.predict(Xs), other.predict(Xs), strict=True):
        assert_allclose(a, b)


def test_no_depth_is_no_layer():
    assert PyTorchLSTM(4, 3, depth=0).name == noop().name


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"nO": 3, "bi": True}, ValueError, "expects an even nO, half for each way, got 3"),
        ({"nO": None}, TypeError, "expects an int as nO, got None"),
        ({"nO": 4, "nI": 1.5}, TypeError, "expects an int as nI, got 1.5"),
        ({"nO": 4, "depth": -1}, ValueError, "expects a depth of at least 0, got -1"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        PyTorchLSTM(**{"nI": 3, **arguments})


def test_wrong_input():
    with pytest.raises(ValueError, match=r"pytorch \(layers\[0\].* width 2 does not match nI=3"):
        PyTorchLSTM(4, 3).predict(sequences(2, width=2))


def test_it_is_the_same_function_as_the_native_lstm():
    """The weights can be carried over: gates f, i, o, c in one, i, f, c, o in the other."""
    torch.manual_seed(0)
    wrapped = PyTorchLSTM(4, 3)
    native = LSTM(4, 3).initialize()
    module = module_of(wrapped)

    def reordered(name):
        i, f, g, o = module.state_dict()[name].numpy().reshape(4, 4, -1)
        return numpy.stack([f, i, o, g]).reshape(-1)

    names = ("weight_ih_l0", "bias_ih_l0", "weight_hh_l0", "bias_hh_l0")
    native.set_param("LSTM", numpy.concatenate([reordered(name) for name in names]))
    Xp = native.ops.list2padded(sequences(3, 1, 4))
    assert_allclose(wrapped.predict(Xp).data, native.predict(Xp).data, rtol=1e-4, atol=1e-5)
