from typing import Callable, List, Optional, Tuple, TypeVar

from ..model import Model

InT = TypeVar("InT")
OutT = TypeVar("OutT")


def map_list(layer: Model[InT, OutT]) -> Model[List[InT], List[OutT]]:
    """Run a layer on each item of a list: [x, y, ...] -> [f(x), f(y), ...].

    Gradients of the layer's parameters add up over the items. The first items of the
    samples initialize the layer.
    """
    return Model("map_list", forward, layers=[layer], init=init)


def forward(
    model: Model[List[InT], List[OutT]], Xs: List[InT], is_train: bool
) -> Tuple[List[OutT], Callable]:
    layer = model.layers[0]
    results = [layer(X, is_train) for X in Xs]

    def backprop(dYs: List[OutT]) -> List[InT]:
        return [callback(dY) for (_, callback), dY in zip(results, dYs, strict=True)]

    return [Y for Y, _ in results], backprop


def init(
    model: Model[List[InT], List[OutT]],
    X: Optional[List[InT]] = None,
    Y: Optional[List[OutT]] = None,
) -> None:
    model.layers[0].initialize(X=_first(X), Y=_first(Y))


def _first(items):
    return items[0] if items is not None and len(items) else None
