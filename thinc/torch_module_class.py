"""ThincModule, the torch.nn.Module behind as_torch_module. Needs PyTorch to be imported."""

from typing import Any, Callable, Dict, List, Tuple

import numpy
import torch
from torch.autograd.function import once_differentiable

from .interop import is_torch_array, is_xp_array, torch2xp, xp2torch
from .model import Model
from .model_errors import describe_node
from .nested_tensors import leaves, map_leaves, matching
from .shims.pytorch import PyTorchShim


class ThincModule(torch.nn.Module):
    """A Model as a torch.nn.Module. See thinc.api.as_torch_module."""

    def __init__(self, model: Model):
        super().__init__()
        self.model = model
        self._links: List[_Link] = []
        paths = {id(node): path for node, path in _paths(model)}
        for node in model.walk():
            place = _submodule(self, paths[id(node)])
            for name in node.param_names:
                self._add_param(place, node, name)
            for i, shim in enumerate(node.shims):
                _add_shim(model, node, _submodule(place, ["shims"]), str(i), shim)

    def _add_param(self, place: torch.nn.Module, node: Model, name: str) -> None:
        if not node.has_param(name):
            raise ValueError(
                f"as_torch_module: {describe_node(self.model, node)} has no value for the "
                f"parameter {name!r}: initialize the model first"
            )
        tensor = _share(node, name)
        if tensor.is_floating_point() or tensor.is_complex():
            tensor = torch.nn.Parameter(tensor)
            place.register_parameter(name, tensor)
        else:
            place.register_buffer(name, tensor)
        self._links.append(_Link(node, name, place))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The Model's output for one argument, or for ArgsKwargs if there are several."""
        if len(args) == 1 and not kwargs:
            X = args[0]
        else:
            from .types import ArgsKwargs

            X = ArgsKwargs(args=args, kwargs=kwargs)
        for link in self._links:
            link.synchronize()
        inputs = leaves(is_torch_array, X)
        params = [link.tensor for link in self._links]
        call = _Call(self.model, X, self.training, self._links)
        outputs = _Run.apply(call, *inputs, *params)
        tensors = iter(outputs)
        return map_leaves(is_xp_array, lambda _: next(tensors), call.Y)

    def _apply(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        # What to(), double() and the like do: the Model follows.
        result = super()._apply(fn, *args, **kwargs)
        for link in self._links:
            link.synchronize()
        self._follow_device()
        return result

    def _follow_device(self) -> None:
        from .backends import CupyOps, NumpyOps

        devices = {link.tensor.device for link in self._links}
        if len(devices) != 1:
            return
        on_gpu = devices.pop().type == "cuda"
        for node in self.model.walk():
            if on_gpu and not isinstance(node.ops, CupyOps):
                node.ops = CupyOps()
            elif not on_gpu and isinstance(node.ops, CupyOps):
                node.ops = NumpyOps()

    def __deepcopy__(self, memo: Dict[int, Any]) -> "ThincModule":
        copied = _rebuild(self.model.copy(), self._settings())
        memo[id(self)] = copied
        return copied

    def __reduce__(self) -> Any:
        return _rebuild, (self.model, self._settings())

    def _settings(self) -> Tuple[bool, List[str]]:
        frozen = [name for name, p in self.named_parameters() if not p.requires_grad]
        return self.training, frozen


def _rebuild(model: Model, settings: Tuple[bool, List[str]]) -> ThincModule:
    module = ThincModule(model)
    training, frozen = settings
    module.train(training)
    for name in frozen:
        module.get_parameter(name).requires_grad_(False)
    return module


# ---- parameters --------------------------------------------------------------------


def _paths(model: Model) -> List[Tuple[Model, List[str]]]:
    """Each node with the way to it: ["layers", "0", "layers", "1"]."""
    found: List[Tuple[Model, List[str]]] = [(model, [])]
    seen = {id(model)}
    for node, path in found:
        for i, child in enumerate(node.layers):
            if id(child) not in seen:
                seen.add(id(child))
                found.append((child, [*path, "layers", str(i)]))
    return found


def _submodule(module: torch.nn.Module, path: List[str]) -> torch.nn.Module:
    """The module at the end of the path, made of empty ones where there are none."""
    for name in path:
        if name not in module._modules:
            module._modules[name] = torch.nn.Module()
        child = module._modules[name]
        assert child is not None
        module = child
    return module


def _add_shim(model: Model, node: Model, place: torch.nn.Module, name: str, shim: Any) -> None:
    if not isinstance(shim, PyTorchShim):
        raise ValueError(
            f"as_torch_module: {describe_node(model, node)} wraps a model of another framework "
            f"({type(shim).__name__}), whose parameters PyTorch cannot see"
        )
    place._modules[name] = shim._require_model()


def _share(node: Model, name: str) -> torch.Tensor:
    """A parameter's array as a tensor on its device."""
    array = node.get_param(name)
    if isinstance(array, numpy.ndarray) and not array.flags.writeable:
        node.set_param(name, array.copy())
        array = node.get_param(name)
    device = "cpu" if isinstance(array, numpy.ndarray) else f"cuda:{array.device.id}"
    return xp2torch(array, device=torch.device(device))


class _Link:
    """One array in two places: a parameter of a node, and a tensor of a torch module."""

    def __init__(self, node: Model, name: str, place: torch.nn.Module):
        self.node, self.name, self.place = node, name, place
        self._note()

    @property
    def tensor(self) -> torch.Tensor:
        tensors = self.place._parameters
        found = tensors[self.name] if self.name in tensors else self.place._buffers[self.name]
        assert found is not None
        return found

    def _note(self) -> None:
        tensor = self.tensor
        self._array = self.node.get_param(self.name)
        self._pointer, self._version = tensor.data_ptr(), tensor._version

    def synchronize(self) -> None:
        """Have both see the same memory again, if one side has exchanged it.

        Layers may keep what they derive from a parameter until it is set anew, so they
        are also told when PyTorch has changed the values in place.
        """
        tensor = self.tensor
        if self.node.get_param(self.name) is not self._array:
            tensor.data = _share(self.node, self.name)
        elif tensor.data_ptr() != self._pointer:
            self.node.set_param(self.name, torch2xp(tensor))
        elif tensor._version != self._version:
            self.node.set_param(self.name, self._array.view())
        else:
            return
        self._note()


# ---- running -----------------------------------------------------------------------


class _Call:
    """One call of a Model, on its way through autograd."""

    Y: Any
    backprop: Callable

    def __init__(self, model: Model, X: Any, is_train: bool, links: List[_Link]):
        self.model, self.X, self.is_train, self.links = model, X, is_train, links


class _Run(torch.autograd.Function):
    """From the tensors of a batch, and the parameters, to the tensors of the output."""

    @staticmethod
    def forward(ctx: Any, call: _Call, *tensors: torch.Tensor) -> Tuple[torch.Tensor, ...]:
        X = map_leaves(is_torch_array, torch2xp, call.X)
        inputs = leaves(is_xp_array, X)
        call.Y, call.backprop = call.model(X, call.is_train)
        device = _device_of(call, tensors)
        outputs = []
        for array in leaves(is_xp_array, call.Y):
            # autograd would not know that the output is a view of the input.
            if any(_overlap(array, x) for x in inputs):
                array = array.copy()
            outputs.append(xp2torch(array, device=device))
        ctx.call = call
        ctx.mark_non_differentiable(*[y for y in outputs if not _can_have_gradient(y)])
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> Tuple[Any, ...]:
        call = ctx.call
        arrays = iter([torch2xp(gradient.contiguous()) for gradient in gradients])
        dY = map_leaves(is_xp_array, lambda _: next(arrays), call.Y)
        with _OwnGradients(call.links) as own:
            dX = call.backprop(dY)
            found = own.take()
        inputs = leaves(is_torch_array, call.X)
        in_place = matching(is_torch_array, call.X, dX)
        d_inputs = [_input_gradient(x, dx) for x, dx in zip(inputs, in_place, strict=True)]
        d_params = [
            None if array is None else xp2torch(array, device=link.tensor.device)
            for link, array in zip(call.links, found, strict=True)
        ]
        return (None, *d_inputs, *d_params)


def _device_of(call: _Call, tensors: Tuple[torch.Tensor, ...]) -> torch.device:
    return tensors[0].device if tensors else torch.device("cpu")


def _can_have_gradient(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _overlap(a: Any, b: Any) -> bool:
    if isinstance(a, numpy.ndarray) and isinstance(b, numpy.ndarray):
        return numpy.may_share_memory(a, b)
    return False


def _input_gradient(x: torch.Tensor, dx: Any) -> Any:
    if dx is None or not x.requires_grad or not is_xp_array(dx):
        return None
    return xp2torch(dx, device=x.device).reshape(x.shape)


class _OwnGradients:
    """Inside the block the nodes collect gradients from zero; those so far come back."""

    def __init__(self, links: List[_Link]):
        self.links = links
        self.before: List[Any] = []

    def __enter__(self) -> "_OwnGradients":
        for link in self.links:
            self.before.append(link.node.maybe_get_grad(link.name))
            link.node.set_grad(link.name, None)
        return self

    def take(self) -> List[Any]:
        return [link.node.maybe_get_grad(link.name) for link in self.links]

    def __exit__(self, *error: Any) -> None:
        for link, gradient in zip(self.links, self.before, strict=True):
            link.node.set_grad(link.name, gradient)
