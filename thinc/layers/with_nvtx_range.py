from contextlib import nullcontext
from typing import Optional, TypeVar

from ..model import Model
from ..util import use_nvtx_range
from .patched import surround

ModelT = TypeVar("ModelT", bound=Model)


def with_nvtx_range(
    layer: ModelT,
    name: Optional[str] = None,
    *,
    forward_color: int = -1,
    backprop_color: int = -1,
) -> ModelT:
    """Mark a layer's work as ranges "{name} forward" and "{name} backprop" for NVIDIA's profilers.

    layer: changed in place, and returned.
    name: the layer's own by default. Colors are those of cupy.cuda.nvtx.RangePush.
    Without CuPy the layer only does its work.
    """
    label = layer.name if name is None else name
    surround(
        layer,
        init=lambda model, X, Y: nullcontext(),
        forward=lambda model, X, is_train: use_nvtx_range(f"{label} forward", forward_color),
        backprop=lambda dY: use_nvtx_range(f"{label} backprop", backprop_color),
    )
    return layer
