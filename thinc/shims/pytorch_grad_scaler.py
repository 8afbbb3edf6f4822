"""Loss scaling: gradients of float16 models, kept out of the range where they become zero."""

from typing import Any, Dict, Iterable, List, Tuple

from .. import compat
from ..interop import assert_pytorch_installed, is_torch_array


class PyTorchGradScaler:
    """Scales gradients before the backward pass and back after it.

    The scale halves (backoff_factor) in an update where a gradient was not finite, and
    doubles (growth_factor) after growth_interval updates in a row without one. From
    Micikevicius et al., 'Mixed Precision Training', 2018, section 3.2.

    enabled: if not, all methods leave everything as it is.
    init_scale: the factor to begin with.

    Raises ImportError if PyTorch is not installed.
    """

    def __init__(
        self,
        enabled: bool = False,
        init_scale: float = 2.0**16,
        backoff_factor: float = 0.5,
        growth_factor: float = 2.0,
        growth_interval: int = 2000,
    ) -> None:
        assert_pytorch_installed()
        torch = compat.torch
        self._enabled = enabled
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._growth_tracker = torch.zeros((1,), dtype=torch.int32)
        self._scale = torch.full((1,), init_scale, dtype=torch.float32)
        self._found_inf = False

    @property
    def enabled(self) -> bool:
        """Whether this scaler does anything."""
        return self._enabled

    @property
    def found_inf(self) -> bool:
        """Whether a gradient unscaled since the last update was not finite."""
        return self._found_inf

    def to_(self, device: Any) -> None:
        """Move the scale to a device: a torch.device, its name or its number."""
        self._growth_tracker = self._growth_tracker.to(device)
        self._scale = self._scale.to(device)

    def scale(self, tensors: Any, inplace: bool = False) -> Any:
        """The tensors times the scale: a tensor for a tensor, a list for an iterable.

        inplace: multiply the tensors themselves. A disabled scaler returns its argument.
        Raises ValueError for anything else, and for tensors that are not on a CUDA device.
        """
        if not self._enabled:
            return tensors
        if is_torch_array(tensors):
            return self._scale_one(tensors, inplace)
        if isinstance(tensors, str) or not isinstance(tensors, Iterable):
            raise _no_tensors(tensors)
        items = list(tensors)
        for item in items:
            if not is_torch_array(item):
                raise _no_tensors(item)
        return [self._scale_one(item, inplace) for item in items]

    def _scale_one(self, tensor: Any, inplace: bool) -> Any:
        _check_device(tensor)
        # Of no dimension, so that it decides neither the result's shape nor its dtype.
        scale = self._scale.reshape(()).to(tensor.device)
        return tensor.mul_(scale) if inplace else tensor * scale

    def unscale(self, tensors: Any) -> bool:
        """Divide a tensor, or tensors, by the scale, in place. Returns found_inf, as it is then."""
        if not self._enabled:
            return False
        torch = compat.torch
        groups: Dict[Tuple[Any, Any], List[Any]] = {}
        for tensor in [tensors] if is_torch_array(tensors) else tensors:
            groups.setdefault((tensor.device, tensor.dtype), []).append(tensor)
        inverse = self._scale.double().reciprocal().float()
        found = []
        with torch.no_grad():
            for (device, _), group in groups.items():
                is_inf = torch.zeros((1,), dtype=torch.float32, device=device)
                torch._amp_foreach_non_finite_check_and_unscale_(group, is_inf, inverse.to(device))
                found.append(is_inf)
        self._found_inf = self._found_inf or any(bool(is_inf) for is_inf in found)
        return self._found_inf

    def update(self) -> None:
        """Adapt the scale at the end of an update, and forget found_inf."""
        if not self._enabled:
            return
        torch = compat.torch
        found = torch.full_like(self._scale, float(self._found_inf))
        torch._amp_update_scale_(
            self._scale,
            self._growth_tracker,
            found,
            self._growth_factor,
            self._backoff_factor,
            self._growth_interval,
        )
        self._found_inf = False


def _no_tensors(value: Any) -> ValueError:
    return ValueError(
        "Input to gradient scaling must be a Tensor or Iterable[Tensor], got an object of type "
        f"{type(value).__name__}."
    )


def _check_device(tensor: Any) -> None:
    if not compat.has_torch_amp:
        raise ValueError("Gradient scaling is not supported, requires capable GPU and torch>=1.9.0")
    if not tensor.is_cuda:
        raise ValueError(
            "Gradient scaling is only supported for CUDA tensors. "
            "If you are using PyTorch models, you can avoid this error by disabling "
            "mixed-precision support."
        )
