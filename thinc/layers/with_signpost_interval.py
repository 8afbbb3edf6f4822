from typing import Any, Optional, TypeVar

from .. import compat
from ..model import Model
from .patched import surround

ModelT = TypeVar("ModelT", bound=Model)


def with_signpost_interval(
    layer: ModelT, signposter: Any, name: Optional[str] = None
) -> ModelT:
    """Mark a layer's work as intervals for macOS's Instruments.

    The intervals are "{name} init", "{name} forward" and "{name} backprop".
    layer: changed in place, and returned.
    signposter: an os_signpost.Signposter. name: the layer's own by default.
    Raises ValueError if the package os_signpost is not installed.
    """
    if not compat.has_os_signpost:
        raise ValueError(
            "with_signpost_interval needs the package os_signpost, which is only available on "
            "macOS. Install it with: pip install os_signpost"
        )
    label = layer.name if name is None else name
    surround(
        layer,
        init=lambda model, X, Y: signposter.use_interval(f"{label} init"),
        forward=lambda model, X, is_train: signposter.use_interval(f"{label} forward"),
        backprop=lambda dY: signposter.use_interval(f"{label} backprop"),
    )
    return layer
