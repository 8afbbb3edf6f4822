"""Layers made of TorchScript programs, which are saved with their code."""

import numpy
import pytest
from frameworks import import_or_skip
from numpy.testing import assert_allclose, assert_array_equal

torch = import_or_skip("torch")

from thinc.api import (  # noqa: E402
    Adam,
    Linear,
    Model,
    PyTorchGradScaler,
    PyTorchWrapper,
    PyTorchWrapper_v2,
    Shim,
    TorchScriptShim,
    TorchScriptWrapper_v1,
    chain,
    pytorch_to_torchscript_wrapper,
)
from thinc.serialize import DeserializationError, pack_value  # noqa: E402

# PyTorch 2.13 says that torch.jit has successors.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")


class Branches(torch.nn.Module):
    """What tracing would lose: a decision about the data."""

    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if bool(x.sum() > 0):
            return self.inner(x)
        return -self.inner(x)


def X():
    return numpy.random.default_rng(0).normal(size=(4, 3)).astype("f")


@pytest.fixture
def wrapped():
    torch.manual_seed(0)
    return PyTorchWrapper(Branches())


def test_a_script_computes_and_learns_as_the_module_does(wrapped):
    script = pytorch_to_torchscript_wrapper(wrapped)
    assert script.name == "pytorch_script" and type(script.shims[0]) is TorchScriptShim
    assert script.dim_names == ("nI", "nO")
    for data in (X(), -X()):
        assert_array_equal(script.predict(data), wrapped.predict(data))
    Y, backprop = script.begin_update(X())
    assert_allclose(backprop(Y), wrapped.begin_update(X())[1](Y), rtol=1e-6)
    before = script.predict(X())
    optimizer = Adam(0.1)
    script.finish_update(optimizer)
    assert set(optimizer.averages) == {
        (script.shims[0].id, "inner.weight"), (script.shims[0].id, "inner.bias")
    }  # fmt: skip
    after = script.predict(X())
    assert numpy.abs(after - before).max() > 0.01
    # The weights are the same memory as the module's.
    assert_array_equal(wrapped.predict(X()), after)
    with script.use_params({(script.shims[0].id, "inner.weight"): numpy.zeros((2, 3), "f")}):
        assert numpy.abs(script.predict(X()) - after).max() > 0.01
    assert_array_equal(script.predict(X()), after)


def test_dropout_follows_the_mode():
    script = pytorch_to_torchscript_wrapper(PyTorchWrapper(torch.nn.Dropout(0.5)))
    ones = numpy.ones((30, 30), "f")
    assert_array_equal(script.predict(ones), ones)
    Y, _ = script.begin_update(ones)
    assert set(numpy.unique(Y)) == {0.0, 2.0}
    assert_array_equal(script.predict(ones), ones)


def test_the_program_is_saved_and_loaded_into_an_empty_layer(wrapped, tmp_path):
    script = pytorch_to_torchscript_wrapper(wrapped)
    script.shims[0].cfg = {"a": 1}
    data = script.to_bytes()
    empty = TorchScriptWrapper_v1()
    assert empty.from_bytes(data) is empty
    assert empty.shims[0].cfg == {"a": 1}
    for x in (X(), -X()):
        assert_array_equal(empty.predict(x), wrapped.predict(x))
    assert empty.to_bytes() == TorchScriptWrapper_v1().from_bytes(empty.to_bytes()).to_bytes()
    script.to_disk(tmp_path / "script")
    assert_array_equal(
        TorchScriptWrapper_v1().from_disk(tmp_path / "script").predict(X()), wrapped.predict(X())
    )


def test_a_script_can_be_copied(wrapped):
    script = pytorch_to_torchscript_wrapper(wrapped)
    copied = script.copy()
    assert copied.shims[0].id != script.shims[0].id
    Y, backprop = copied.begin_update(X())
    backprop(Y)
    copied.finish_update(Adam(0.1))
    assert_array_equal(script.predict(X()), wrapped.predict(X()))
    assert numpy.abs(copied.predict(X()) - script.predict(X())).max() > 0.01


def test_settings_of_the_wrapper_are_passed_on():
    def inputs(model, X, is_train):
        raise NotImplementedError

    scaler = PyTorchGradScaler(True)
    wrapped = PyTorchWrapper_v2(
        torch.nn.Linear(1, 1), convert_inputs=inputs, mixed_precision=True, grad_scaler=scaler
    )
    script = pytorch_to_torchscript_wrapper(wrapped)
    assert script.attrs == wrapped.attrs
    shim = script.shims[0]
    assert shim._grad_scaler is scaler and shim._mixed_precision
    assert shim.device == wrapped.shims[0].device


def test_what_is_no_script():
    with pytest.raises(ValueError, match="must be initialized with ScriptModule or None .*Linear"):
        TorchScriptShim(torch.nn.Linear(1, 1))


def test_what_is_no_wrapper():
    with pytest.raises(ValueError, match='"linear" has no shim'):
        pytorch_to_torchscript_wrapper(Linear(1, 1))
    other = Model("other", lambda model, X, is_train: (X, None), shims=[Shim(None)])
    with pytest.raises(ValueError, match="Expected PyTorchShim when converting .* got a Shim"):
        pytorch_to_torchscript_wrapper(other)
    with pytest.raises(ValueError, match="does not wrap a PyTorch module"):
        pytorch_to_torchscript_wrapper(PyTorchWrapper(None))


def test_an_empty_layer_says_what_to_do():
    model = TorchScriptWrapper_v1()
    for use in (lambda: model.predict(X()), model.to_bytes):
        with pytest.raises(ValueError, match="TorchScriptShim has no PyTorch module yet"):
            use()


@pytest.mark.parametrize(
    "data, message",
    [
        (pack_value({"config": {}, "state": b""}), "no bytes under 'model', there are"),
        (pack_value({"config": {}, "model": b"nonsense"}), "not a TorchScript program"),
    ],
)
def test_what_is_no_saved_script_changes_nothing(wrapped, data, message):
    shim = pytorch_to_torchscript_wrapper(wrapped).shims[0]
    program = shim._model
    with pytest.raises(DeserializationError, match=message):
        shim.from_bytes(data)
    assert shim._model is program


def test_scripts_and_native_layers_in_one_model(wrapped):
    model = chain(Linear(3, 3), pytorch_to_torchscript_wrapper(wrapped)).initialize()
    other = chain(Linear(3, 3), TorchScriptWrapper_v1()).initialize()
    other.from_bytes(model.to_bytes())
    assert_array_equal(model.predict(X()), other.predict(X()))
