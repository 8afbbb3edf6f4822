"""Patching a layer in place, so that something surrounds each phase of its work."""
from functools import wraps
from typing import Any, Callable, ContextManager

from ..model import Model


def surround(
    layer: Model,
    *,
    init: Callable[[Model, Any, Any], ContextManager],
    forward: Callable[[Model, Any, bool], ContextManager],
    backprop: Callable[[Any], ContextManager],
) -> None:
    """Run each phase of a layer inside a context.

    init(model, X, Y), forward(model, X, is_train) and backprop(dY) make the contexts. The
    layer itself is changed; its name, dims, params and signature stay as they are.
    """
    layer_forward, layer_init = layer._func, layer.init

    # The forward function keeps its signature, which data validation reads.
    @wraps(layer_forward)
    def surrounded_forward(model: Model, X: Any, is_train: bool):
        with forward(model, X, is_train):
            Y, layer_backprop = layer_forward(model, X, is_train=is_train)

        def surrounded_backprop(dY: Any) -> Any:
            with backprop(dY):
                return layer_backprop(dY)

        return Y, surrounded_backprop

    def surrounded_init(model: Model, X: Any = None, Y: Any = None) -> None:
        with init(model, X, Y):
            if layer_init is not None:
                layer_init(model, X=X, Y=Y)

    layer.replace_callbacks(surrounded_forward, init=surrounded_init)
