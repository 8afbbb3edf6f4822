"""PyTorchShim: a torch.nn.Module as part of a Model."""

from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from .. import compat, serialize
from ..interop import (
    assert_pytorch_installed,
    get_torch_default_device,
    is_torch_array,
    torch2xp,
    xp2torch,
)
from ..serialize import DeserializationError
from ..types import ArgsKwargs
from ..util import convert_recursive, iterate_recursive
from .pytorch_grad_scaler import PyTorchGradScaler
from .shim import Shim
from .torch_modes import EvaluationMode, set_mode
from .torch_state import (
    DeserializeModel,
    SerializeModel,
    default_deserialize_torch_model,
    default_serialize_torch_model,
)

__all__ = [
    "PyTorchShim",
    "default_deserialize_torch_model",
    "default_serialize_torch_model",
]


class PyTorchShim(Shim):
    """A torch.nn.Module as part of a Model.

    model: the module, or None if deserialize_model makes one when weights are loaded. It
        is moved to the device.
    config: settings that are saved with the weights, in `cfg`.
    mixed_precision: run the module under torch.amp.autocast: in float16 on CUDA devices,
        with gradients scaled by grad_scaler, elsewhere in bfloat16, which needs no scaling:
        then grad_scaler is not used.
    grad_scaler: a PyTorchGradScaler made with enabled=True; None for a new one.
    device: a torch.device or its name; None for that of the current Ops.
    serialize_model: from the module to bytes; None for its state_dict.
    deserialize_model: from (module or None, bytes, device) to the module to use from then
        on; None for loading a state_dict into the module.

    Several threads may predict at once. Training meanwhile, or in several threads, needs
    a lock, because a module's mode is one for all.

    Raises ImportError if PyTorch is not installed, TypeError if model is no torch.nn.Module.
    """

    def __init__(
        self,
        model: Any,
        config: Optional[Dict[str, Any]] = None,
        optimizer: Any = None,
        mixed_precision: bool = False,
        grad_scaler: Optional[PyTorchGradScaler] = None,
        device: Any = None,
        serialize_model: Optional[SerializeModel] = None,
        deserialize_model: Optional[DeserializeModel] = None,
    ):
        assert_pytorch_installed()
        torch = compat.torch
        if model is not None and not isinstance(model, torch.nn.Module):
            raise TypeError(
                f"{type(self).__name__} expects a torch.nn.Module, or None for one that is made "
                f"when weights are loaded, got an object of type {type(model).__name__}."
            )
        super().__init__(model, config, optimizer)
        self._device = get_torch_default_device() if device is None else torch.device(device)
        if model is not None:
            model.to(self._device)
        self._mixed_precision = mixed_precision
        self._has_own_scaler = grad_scaler is None
        self._grad_scaler = PyTorchGradScaler() if grad_scaler is None else grad_scaler
        self._prepare_scaler(self._device)
        self._serialize_model = serialize_model or default_serialize_torch_model
        self._deserialize_model = deserialize_model or default_deserialize_torch_model
        self._evaluation = EvaluationMode()
        _share_memory_pool()

    def _prepare_scaler(self, device: Any) -> None:
        """Have a scaler that suits the device."""
        wanted = self._mixed_precision and device.type == "cuda"
        if self._has_own_scaler and self._grad_scaler.enabled is not wanted:
            self._grad_scaler = PyTorchGradScaler(wanted)
        if self._grad_scaler.enabled:
            self._grad_scaler.to_(device)

    def _active_scaler(self) -> Optional[PyTorchGradScaler]:
        """The scaler, if gradients are to be scaled: see mixed_precision."""
        if not self._grad_scaler.enabled:
            return None
        if self._mixed_precision and self.device.type != "cuda":
            return None
        return self._grad_scaler

    @property
    def device(self) -> Any:
        """The torch.device of the module's first parameter; without one, where it belongs."""
        parameter = None if self._model is None else _first_parameter(self._model)
        return self._device if parameter is None else parameter.device

    # Running.

    def __call__(
        self, inputs: ArgsKwargs, is_train: bool
    ) -> Tuple[Any, Callable[[ArgsKwargs], ArgsKwargs]]:
        """Run the module. Returns its output, as it is, and the callback: see begin_update.

        Without is_train, the callback raises ValueError.
        """
        if is_train:
            return self.begin_update(inputs)
        return self.predict(inputs), _refuse

    def predict(self, inputs: ArgsKwargs) -> Any:
        """The module's output in evaluation mode, without recording gradients."""
        module = self._module_for(inputs)
        self._evaluation.enter(module)
        try:
            with compat.torch.no_grad():
                return self._run(module, inputs)
        finally:
            self._evaluation.leave()

    def begin_update(self, inputs: ArgsKwargs) -> Tuple[Any, Callable[[ArgsKwargs], ArgsKwargs]]:
        """Run the module in training mode.

        Returns its output and a callback. That takes the arguments of torch.autograd.backward,
        grad_tensors among them, adds to the parameters' gradients, and returns the inputs
        with each tensor replaced by its gradient, or None if it has none.
        """
        module = self._module_for(inputs)
        set_mode(module, True)
        torch = compat.torch
        if torch.is_grad_enabled():
            output = self._run(module, inputs)
        else:
            with torch.enable_grad():
                output = self._run(module, inputs)

        def backprop(grads: ArgsKwargs) -> ArgsKwargs:
            if "grad_tensors" not in grads.kwargs:
                raise KeyError(
                    "convert_outputs must give the backward pass the keyword grad_tensors, got "
                    f"{list(grads.kwargs)}."
                )
            scaler = self._active_scaler()
            kwargs = grads.kwargs
            if scaler is not None:
                kwargs = {**kwargs, "grad_tensors": scaler.scale(kwargs["grad_tensors"])}
            if not _is_empty(grads.args):
                torch.autograd.backward(*grads.args, **kwargs)
            # Those of the parameters stay scaled until finish_update, and so can be summed.
            if scaler is not None:
                dX = [x.grad for x in _tensors(inputs) if _has_grad(x)]
                if scaler.unscale(dX):
                    for gradient in dX:
                        gradient.zero_()
            return _gradients(inputs)

        return output, backprop

    def _run(self, module: Any, inputs: ArgsKwargs) -> Any:
        try:
            if not self._mixed_precision:
                return module(*inputs.args, **inputs.kwargs)
            with self._autocast():
                return module(*inputs.args, **inputs.kwargs)
        except RuntimeError as error:
            self._explain_device(inputs, error)
            raise

    def _autocast(self) -> Any:
        torch = compat.torch
        device_type = self.device.type
        # float16 without a scaler loses small gradients; bfloat16 has float32's range.
        dtype = torch.float16 if device_type == "cuda" else torch.bfloat16
        return torch.amp.autocast(device_type, dtype=dtype)

    def _explain_device(self, inputs: ArgsKwargs, error: RuntimeError) -> None:
        """Raise a ValueError if the reason is that an input is on another device."""
        here = self.device
        for tensor in _tensors(inputs):
            if tensor.device != here and "device" in str(error):
                raise ValueError(
                    f"the PyTorch module is on {here}, but an input on {tensor.device}: "
                    "convert_inputs has to put tensors on model.shims[0].device"
                ) from error

    def _require_model(self) -> Any:
        if self._model is None:
            raise ValueError(
                f"{type(self).__name__} has no PyTorch module yet: load one with from_bytes or "
                "from_disk first."
            )
        return self._model

    def _module_for(self, inputs: Any) -> Any:
        if not isinstance(inputs, ArgsKwargs):
            raise TypeError(
                f"{type(self).__name__} expects ArgsKwargs, the arguments of the PyTorch module, "
                f"from convert_inputs, got an object of type {type(inputs).__name__}."
            )
        return self._require_model()

    # Updating.

    def finish_update(self, optimizer: Any) -> None:
        """Update the parameters that have a gradient, and zero the gradients.

        optimizer: called as optimizer((id, name), parameter, gradient) with arrays that
            share the module's memory where they can; bfloat16 ones are float32 copies.
        If the grad scaler has found a gradient that is not finite, nothing is updated.
        """
        named = [
            (name, parameter)
            for name, parameter in self._require_model().named_parameters()
            if parameter.requires_grad and parameter.grad is not None
        ]
        for _, parameter in named:
            if parameter.grad.layout is not compat.torch.strided:
                parameter.grad = parameter.grad.to_dense()
        scaler = self._active_scaler()
        if scaler is None or not scaler.unscale([parameter.grad for _, parameter in named]):
            for name, parameter in named:
                key = (self.id, name)
                array, _ = optimizer(key, torch2xp(parameter.data), torch2xp(parameter.grad))
                _store(key, parameter, array)
        for _, parameter in named:
            parameter.grad.zero_()
        if scaler is not None:
            scaler.update()

    @contextmanager
    def use_params(self, params: Dict[Any, Any]) -> Iterator[None]:
        """Use other weights inside the block, such as the averages of an optimizer.

        params: arrays by (id, name), as in Optimizer.averages, or by "pytorch_{id}_{name}".
            Weights that are not in it stay, keys that are not ours do not matter.
        Whatever happens in the block, the weights come back. Raises ValueError, and changes
        nothing, if an array has another shape than the weight.
        """
        swaps = self._matching(params) if params and self._model is not None else []
        before = [tensor.clone() for tensor, _ in swaps]
        try:
            for tensor, value in swaps:
                tensor.copy_(value)
            yield
        finally:
            for (tensor, _), value in zip(swaps, before, strict=True):
                tensor.copy_(value)

    def _matching(self, params: Dict[Any, Any]) -> List[Tuple[Any, Any]]:
        """(weight, tensor to use) for every weight in params, the buffers included."""
        found = []
        for named in (self._model.named_parameters(), self._model.named_buffers()):
            for name, tensor in named:
                value = params.get((self.id, name))
                if value is None:
                    value = params.get(f"pytorch_{self.id}_{name}")
                if value is not None:
                    found.append((tensor.data, _fitting((self.id, name), tensor, value)))
        return found

    # Copying, moving, saving.

    def to_device(self, device_type: str, device_id: int) -> None:
        """Move the module and its gradients: ("cpu", any number) or ("gpu", number).

        Raises ValueError for another type, and if PyTorch cannot use such a GPU.
        """
        torch = compat.torch
        if device_type == "cpu":
            device = torch.device("cpu")
        elif device_type == "gpu":
            if not 0 <= device_id < torch.cuda.device_count():
                raise ValueError(
                    f"Cannot move a PyTorch module to GPU {device_id}: PyTorch {torch.__version__} "
                    f"can use {torch.cuda.device_count()} CUDA devices, numbered from 0."
                )
            device = torch.device(f"cuda:{device_id}")
        else:
            raise ValueError(f"Invalid device_type: {device_type}. Try 'cpu' or 'gpu'")
        if self._model is not None:
            self._model.to(device)
        self._device = device
        self._prepare_scaler(device)

    def to_bytes(self) -> bytes:
        """The config and what serialize_model returns, as msgpack."""
        state = self._serialize_model(self._require_model())
        return serialize.pack_value({"config": self.cfg, "state": state})

    def from_bytes(self, data: bytes) -> "PyTorchShim":
        """Load what to_bytes returned, on the device where the module is. Returns self.

        Raises DeserializationError (a ValueError) if the data cannot be read or does not
        fit; then nothing has changed. Errors of a deserialize_model of yours pass through.
        """
        config, state = unpack_state(data, "state")
        device = self.device
        self._model = self._deserialize_model(self._model, state, device)
        self.cfg = config
        self._prepare_scaler(device)
        return self


def unpack_state(data: bytes, key: str) -> Tuple[Dict[str, Any], bytes]:
    """The config and the weights, or the program, that a shim has saved under `key`."""
    message = serialize.unpack_value(data)
    if not isinstance(message, dict):
        raise DeserializationError(
            f"not saved by a PyTorch shim: the data holds a {type(message).__name__}, "
            f"expected a map of 'config' and {key!r}"
        )
    for name, kind in (("config", dict), (key, bytes)):
        if not isinstance(message.get(name), kind):
            raise DeserializationError(
                f"not saved by a PyTorch shim of this kind: no {kind.__name__} under {name!r}, "
                f"there are {sorted(map(str, message))}"
            )
    return message["config"], message[key]


def _first_parameter(module: Any) -> Any:
    """next(module.parameters()), or None, only faster: it is needed in every call."""
    for parameter in module._parameters.values():
        if parameter is not None:
            return parameter
    for child in module._modules.values():
        found = None if child is None else _first_parameter(child)
        if found is not None:
            return found
    return None


def _refuse(grads: Any) -> Any:
    raise ValueError("PyTorch: backprop needs a forward pass with is_train=True")


def _is_empty(args: Tuple[Any, ...]) -> bool:
    """Whether these arguments of torch.autograd.backward name no tensor."""
    return bool(args) and isinstance(args[0], (tuple, list)) and not args[0]


def _tensors(inputs: ArgsKwargs) -> List[Any]:
    return list(iterate_recursive(is_torch_array, inputs))


def _has_grad(tensor: Any) -> bool:
    # Asking a tensor that cannot have one makes torch warn.
    return (tensor.is_leaf or tensor.retains_grad) and tensor.grad is not None


def _gradient(tensor: Any) -> Any:
    return tensor.grad if _has_grad(tensor) else None


def _gradients(inputs: ArgsKwargs) -> ArgsKwargs:
    args = inputs.args
    if len(args) == 1 and not inputs.kwargs and is_torch_array(args[0]):  # as nearly always
        return ArgsKwargs((_gradient(args[0]),), {})
    return convert_recursive(is_torch_array, _gradient, inputs)


def _fitting(key: Any, tensor: Any, array: Any) -> Any:
    """An array as a tensor that can take a weight's place. Raises ValueError if it can't."""
    value = xp2torch(array, device=tensor.device)
    if value.shape != tensor.shape:
        raise ValueError(
            f"The PyTorch weight {key} is of shape {tuple(tensor.shape)}, got an array of shape "
            f"{tuple(value.shape)}."
        )
    return value


def _store(key: Any, parameter: Any, array: Any) -> None:
    """What an optimizer returned, in a parameter. Most change its memory themselves."""
    value = _fitting(key, parameter, array)
    same_memory = value.data_ptr() == parameter.data_ptr() and value.dtype == parameter.dtype
    if not same_memory or value.stride() != parameter.stride():
        parameter.data.copy_(value)


def _share_memory_pool() -> None:
    """On a GPU, let CuPy take its memory from PyTorch's pool."""
    from ..backends import CupyOps, context_pools, get_current_ops, set_gpu_allocator

    if isinstance(get_current_ops(), CupyOps) and "pytorch" not in context_pools.get():
        set_gpu_allocator("pytorch")
        compat.cupy.get_default_memory_pool().free_all_blocks()
