"""Which layers give rows as wide as those they take.

A chain that ends in such layers (dropout, an activation) is as wide as the
last layer before them, which is how it knows nO without sample data.
"""
from typing import Any, Callable, Optional, Sequence, TypeVar

from ..model import Model
from ..types import Padded, Ragged
from ..util import get_width

FuncT = TypeVar("FuncT", bound=Callable)
_KEEPS_WIDTH: set = set()


def keeps_width(forward: FuncT) -> FuncT:
    """Decorator for a layer's forward function: the output is as wide as the input."""
    _KEEPS_WIDTH.add(forward)
    return forward


def stack_width(layers: Sequence[Model]) -> Optional[int]:
    """nO of the last layer, or of the one before if the last keeps the width, and so on."""
    for layer in reversed(layers):
        nO = layer.maybe_get_dim("nO")
        if nO is not None or layer._func not in _KEEPS_WIDTH:
            return nO
    return None


def measured_width(Y: Any) -> Optional[int]:
    """Width of a layer's output, or None if it has none.

    A one-dimensional float output (one score a row) has no width; the class-id
    rule of `get_width` (largest id + 1) is for integers.
    """
    if not isinstance(Y, (Ragged, Padded)):
        item = Y[0] if isinstance(Y, (list, tuple)) and len(Y) else Y
        if getattr(item, "ndim", None) == 1 and item.dtype.kind == "f":
            return None
    try:
        return get_width(Y)
    except ValueError:
        return None
