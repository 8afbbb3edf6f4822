"""Layers made of PyTorch modules. PyTorch is imported when one is constructed."""

from functools import partial
from typing import Any, Callable, Dict, List, Optional, Tuple

from ..model import Model
from ..registration import registry
from ..shims.pytorch import PyTorchShim
from ..types import ArgsKwargs, Padded
from ..util import (
    convert_recursive,
    is_torch_array,
    is_xp_array,
    iterate_recursive,
    torch2xp,
    xp2torch,
)
from .containers import padded_like
from .input_errors import describe


@registry.layers("PyTorchRNNWrapper.v1")
def PyTorchRNNWrapper(
    pytorch_model: Any,
    convert_inputs: Optional[Callable] = None,
    convert_outputs: Optional[Callable] = None,
) -> Model[Padded, Padded]:
    """A PyTorch module that takes (data, state) and returns (output, state), such as a GRU.

    Input and output: Padded, whose data, (time, batch, width), is all that the module gets;
    so it must not be batch_first. The state is None on the way in and dropped on the way out.
    Padding is not hidden from the module: see PyTorchLSTM for a layer that does so.
    convert_inputs, convert_outputs: as for PyTorchWrapper_v3.
    Raises TypeError if the input is no Padded or the module returns no pair.
    """
    return PyTorchWrapper(
        pytorch_model,
        convert_inputs=convert_rnn_inputs if convert_inputs is None else convert_inputs,
        convert_outputs=convert_rnn_outputs if convert_outputs is None else convert_outputs,
    )


@registry.layers("PyTorchWrapper.v1")
def PyTorchWrapper(
    pytorch_model: Any,
    convert_inputs: Optional[Callable] = None,
    convert_outputs: Optional[Callable] = None,
) -> Model[Any, Any]:
    """A PyTorch module as a layer: PyTorchWrapper_v3 with fewer arguments."""
    return PyTorchWrapper_v3(
        pytorch_model, convert_inputs=convert_inputs, convert_outputs=convert_outputs
    )


@registry.layers("PyTorchWrapper.v2")
def PyTorchWrapper_v2(
    pytorch_model: Any,
    convert_inputs: Optional[Callable] = None,
    convert_outputs: Optional[Callable] = None,
    mixed_precision: bool = False,
    grad_scaler: Optional[Any] = None,
    device: Optional[Any] = None,
) -> Model[Any, Any]:
    """A PyTorch module as a layer: PyTorchWrapper_v3 without serializers."""
    return PyTorchWrapper_v3(
        pytorch_model,
        convert_inputs=convert_inputs,
        convert_outputs=convert_outputs,
        mixed_precision=mixed_precision,
        grad_scaler=grad_scaler,
        device=device,
    )


@registry.layers("PyTorchWrapper.v3")
def PyTorchWrapper_v3(
    pytorch_model: Any,
    convert_inputs: Optional[Callable] = None,
    convert_outputs: Optional[Callable] = None,
    mixed_precision: bool = False,
    grad_scaler: Optional[Any] = None,
    device: Optional[Any] = None,
    serialize_model: Optional[Callable[[Any], bytes]] = None,
    deserialize_model: Optional[Callable[[Any, bytes, Any], Any]] = None,
) -> Model[Any, Any]:
    """A PyTorch module as a layer, to be combined with others, trained and saved with them.

    Input: an array, or several in a list or tuple (the module's positional arguments), a
    dict (its keyword arguments) or ArgsKwargs (both). Output: an array where the module
    returns a tensor, also inside tuples, lists and dicts. Arrays and tensors share memory
    on the same device, so a module that works in place changes X. What has no gradient
    (integers, arguments that are not used) gets None.
    pytorch_model: a torch.nn.Module, moved to the device; None if deserialize_model is
        going to make it.
    convert_inputs: (model, X, is_train) -> (ArgsKwargs of tensors, callback from the
        ArgsKwargs of their gradients to dX).
    convert_outputs: (model, (X, module's output), is_train) -> (Y, callback from dY to the
        ArgsKwargs for torch.autograd.backward, with grad_tensors among the keywords).
    mixed_precision, grad_scaler, device, serialize_model, deserialize_model: as for
        PyTorchShim.
    set_dropout_rate and initialize do nothing to a module. Dims nI and nO are unset.

    Raises ImportError if PyTorch is not installed, TypeError if pytorch_model is no module.
    """
    shim = PyTorchShim(
        pytorch_model,
        mixed_precision=mixed_precision,
        grad_scaler=grad_scaler,
        device=device,
        serialize_model=serialize_model,
        deserialize_model=deserialize_model,
    )
    return shim_model("pytorch", shim, convert_inputs, convert_outputs)


def shim_model(
    name: str,
    shim: PyTorchShim,
    convert_inputs: Optional[Callable],
    convert_outputs: Optional[Callable],
) -> Model[Any, Any]:
    """A layer of one shim, with the default conversions where none are given."""
    return Model(
        name,
        forward,
        attrs={
            "convert_inputs": convert_inputs or convert_pytorch_default_inputs,
            "convert_outputs": convert_outputs or convert_pytorch_default_outputs,
        },
        shims=[shim],
        dims={"nI": None, "nO": None},
    )


def forward(model: Model, X: Any, is_train: bool) -> Tuple[Any, Callable]:
    """Through the module, between the two conversions."""
    attrs = model.attrs
    Xtorch, get_dX = attrs["convert_inputs"](model, X, is_train)
    Ytorch, backprop_torch = model.shims[0](Xtorch, is_train)
    Y, get_dYtorch = attrs["convert_outputs"](model, (X, Ytorch), is_train)

    def backprop(dY: Any) -> Any:
        return get_dX(backprop_torch(get_dYtorch(dY)))

    return Y, backprop


def torch_device(model: Model) -> Any:
    """Where the module of a wrapper is."""
    shim: Any = model.shims[0]
    return shim.device


# ---- the default conversions ---------------------------------------------------------


def convert_pytorch_default_inputs(
    model: Model, X: Any, is_train: bool
) -> Tuple[ArgsKwargs, Callable[[ArgsKwargs], Any]]:
    """X as arguments of the module. See PyTorchWrapper_v3."""
    device = torch_device(model)
    if is_xp_array(X):
        return ArgsKwargs(args=(_to_torch(X, is_train, device),), kwargs={}), _first_as_xp
    converted = convert_recursive(is_xp_array, lambda x: _to_torch(x, is_train, device), X)
    if isinstance(converted, ArgsKwargs):
        return converted, _nested_as_xp
    if isinstance(converted, dict):
        return ArgsKwargs(args=(), kwargs=converted), lambda dX: _nested_as_xp(dX.kwargs)
    if isinstance(converted, (tuple, list)):
        return ArgsKwargs(args=tuple(converted), kwargs={}), lambda dX: _nested_as_xp(dX.args)
    return ArgsKwargs(args=(converted,), kwargs={}), lambda dX: _nested_as_xp(dX.args[0])


def _to_torch(array: Any, is_train: bool, device: Any) -> Any:
    return xp2torch(array, requires_grad=is_train and array.dtype.kind in "fc", device=device)


def _nested_as_xp(value: Any) -> Any:
    return convert_recursive(is_torch_array, torch2xp, value)


def _first_as_xp(dX: ArgsKwargs) -> Any:
    gradient = dX.args[0]
    return torch2xp(gradient) if is_torch_array(gradient) else gradient


def convert_pytorch_default_outputs(
    model: Model, X_Ytorch: Any, is_train: bool
) -> Tuple[Any, Callable[[Any], ArgsKwargs]]:
    """The module's output as arrays. See PyTorchWrapper_v3.

    Raises TypeError while training if there is no tensor in the output, and in the backward
    pass ValueError for a gradient of another shape or structure than the output.
    """
    Ytorch = X_Ytorch[1]
    if is_torch_array(Ytorch):
        return torch2xp(Ytorch), partial(_one_gradient, model, Ytorch)
    if is_train and not any(True for _ in iterate_recursive(is_torch_array, Ytorch)):
        raise TypeError(
            "expected the PyTorch module to return a tensor, or tensors in a tuple, list or "
            f"dict, got an object of type {type(Ytorch).__name__}: write a convert_outputs for it"
        )
    return _nested_as_xp(Ytorch), partial(_many_gradients, model, Ytorch)


def _one_gradient(model: Model, Ytorch: Any, dY: Any) -> ArgsKwargs:
    if dY is None or not Ytorch.requires_grad:
        return ArgsKwargs(args=((),), kwargs={"grad_tensors": ()})
    gradient = _gradient_like(Ytorch, dY, torch_device(model))
    return ArgsKwargs(args=((Ytorch,),), kwargs={"grad_tensors": gradient})


def _many_gradients(model: Model, Ytorch: Any, dY: Any) -> ArgsKwargs:
    tensors: List[Any] = []
    gradients: List[Any] = []
    device = torch_device(model)
    for y, dy in _pairs(Ytorch, dY, "dY"):
        if y.requires_grad:
            tensors.append(y)
            gradients.append(_gradient_like(y, dy, device))
    return ArgsKwargs(args=(tuple(tensors),), kwargs={"grad_tensors": tuple(gradients)})


def _gradient_like(y: Any, dY: Any, device: Any) -> Any:
    if not is_xp_array(dY) and not is_torch_array(dY):
        raise TypeError(
            f"expected an array of shape {tuple(y.shape)} as the output's gradient, got "
            f"{describe(dY)}"
        )
    if dY.shape != y.shape:
        raise ValueError(
            f"the gradient of the output is of shape {tuple(dY.shape)}, but the output of "
            f"shape {tuple(y.shape)}"
        )
    return xp2torch(dY, device=device)


def _pairs(Y: Any, dY: Any, place: str) -> List[Tuple[Any, Any]]:
    """Every tensor in Y that has a gradient in dY, with it. None stands for no gradient."""
    if dY is None:
        return []
    if is_torch_array(Y):
        return [(Y, dY)]
    if isinstance(Y, dict):
        items = _dict_items(Y, dY, place)
    elif isinstance(Y, (tuple, list)):
        if not isinstance(dY, (tuple, list)) or len(dY) != len(Y):
            raise ValueError(
                f"the output has {len(Y)} items where its gradient, {place}, has {describe(dY)}"
            )
        items = [(f"{place}[{i}]", *pair) for i, pair in enumerate(zip(Y, dY, strict=True))]
    else:
        return []
    return [pair for name, y, dy in items for pair in _pairs(y, dy, name)]


def _dict_items(Y: Dict[Any, Any], dY: Any, place: str) -> List[Tuple[str, Any, Any]]:
    if not isinstance(dY, dict):
        raise ValueError(f"the output is a dict where its gradient, {place}, is {describe(dY)}")
    unknown = [key for key in dY if key not in Y]
    if unknown:
        raise ValueError(f"{place} has gradients for {unknown}, the output has {list(Y)}")
    return [(f"{place}[{key!r}]", Y[key], dY.get(key)) for key in Y]


# ---- conversions for recurrent modules -----------------------------------------------


def convert_rnn_inputs(
    model: Model, Xp: Padded, is_train: bool
) -> Tuple[ArgsKwargs, Callable[[ArgsKwargs], Padded]]:
    """The data of a Padded, and None for the state that the module starts from."""
    if not isinstance(Xp, Padded):
        raise TypeError(f"expected a Padded, got {describe(Xp)}: wrap the layer in with_padded")
    data = _to_torch(Xp.data, is_train, torch_device(model))

    def get_dX(gradients: ArgsKwargs) -> Padded:
        return padded_like(Xp, torch2xp(gradients.args[0]))

    return ArgsKwargs(args=(data, None), kwargs={}), get_dX


def convert_rnn_outputs(
    model: Model, inputs_outputs: Tuple[Padded, Any], is_train: bool
) -> Tuple[Padded, Callable[[Padded], ArgsKwargs]]:
    """The first of the two things that the module returns, as a Padded like the input."""
    Xp, output = inputs_outputs
    if not isinstance(output, (tuple, list)) or len(output) != 2:
        raise TypeError(
            "expected the PyTorch module to return a pair of output and state, got "
            f"{describe(output)}"
        )
    Ytorch = output[0]

    def get_dYtorch(dYp: Padded) -> ArgsKwargs:
        return _one_gradient(model, Ytorch, dYp.data)

    return padded_like(Xp, torch2xp(Ytorch)), get_dYtorch
