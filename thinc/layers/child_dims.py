"""The dims of a layer that wraps one other layer are those of the child."""
from typing import Dict, Optional

from ..model import Model


def child_dims(layer: Model) -> Dict[str, Optional[int]]:
    """All dims of the child, set or not: for the wrapper's constructor."""
    return {name: layer.maybe_get_dim(name) for name in layer.dim_names}


def copy_dims_up(model: Model) -> None:
    """Set those dims of a wrapper that it declares and its child now knows.

    Called when the child has been initialized.
    """
    layer = model.layers[0]
    for name in layer.dim_names:
        value = layer.maybe_get_dim(name)
        if value is not None and model.has_dim(name) is not False:
            model.set_dim(name, value)
