from typing import Any, Callable, Optional, Tuple, TypeVar

from ..model import Model
from ..predictions import predicted_by
from ..registration import registry
from .containers import sum_gradients

InT = TypeVar("InT")


@registry.layers("tuplify.v1")
def tuplify(
    layer1: Model[InT, Any], layer2: Model[InT, Any], *layers: Model[Any, Any]
) -> Model[InT, Tuple]:
    """Give each layer the same input, and return the tuple of their outputs.

    backprop takes one gradient for each layer, and returns the sum of what they return.
    Raises ValueError if the number of gradients is not that of the layers.
    """
    children = (layer1, layer2) + layers
    return Model(
        "tuple({})".format(", ".join(layer.name for layer in children)),
        forward,
        init=init,
        layers=children,
        dims={"nI": None},
    )


def _predict(model: Model, X: Any) -> Tuple:
    return tuple(layer.predict(X) for layer in model.layers)


@predicted_by(_predict)
def forward(model: Model[InT, Tuple], X: InT, is_train: bool) -> Tuple[Tuple, Callable]:
    Ys, callbacks = zip(*[layer(X, is_train) for layer in model.layers], strict=True)

    def backprop(dYs: Tuple) -> InT:
        if len(dYs) != len(callbacks):
            raise ValueError(
                f"{model.name}: expected {len(callbacks)} gradients, one for each layer, "
                f"got {len(dYs)}"
            )
        return sum_gradients([callback(dY) for callback, dY in zip(callbacks, dYs, strict=True)])

    return Ys, backprop


def init(model: Model[InT, Tuple], X: Optional[InT] = None, Y: Optional[Tuple] = None) -> None:
    for i, layer in enumerate(model.layers):
        takes_Y = Y is not None and layer.has_dim("nO") is None
        layer.initialize(X=X, Y=Y[i] if Y is not None and takes_Y else None)
    nI = model.layers[0].maybe_get_dim("nI")
    if nI is not None:
        model.set_dim("nI", nI)
