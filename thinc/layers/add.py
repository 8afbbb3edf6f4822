from typing import Any, Callable, Optional, Tuple, TypeVar

from ..model import Model
from ..predictions import predicted_by
from ..registration import registry
from ..types import XY_XY_OutT
from ..util import get_width
from .containers import sum_batches, sum_gradients
from .inner_rows import inner_rows_by, middles, predict_inner_rows
from .row_blocks import reaches, widest_reach

InT = TypeVar("InT")
OutT = TypeVar("OutT")


@registry.layers("add.v1")
def add(
    layer1: Model[InT, Any], layer2: Model[InT, Any], *layers: Model[Any, Any]
) -> Model[InT, XY_XY_OutT]:
    """Sum the outputs of several layers for the same input: f, g -> f(x) + g(x).

    Outputs are arrays, lists, Ragged or Padded, all of one kind and shape.
    If the first layer is a sum made by `add`, the others are appended to it, and it
    is what is returned.
    Raises ValueError, in the forward pass, if the outputs' shapes differ.
    """
    if layer1._func is forward:
        layer1.layers.extend((layer2,) + layers)
        return layer1
    children = (layer1, layer2) + layers
    dims: dict = {"nO": None}
    if all(layer.has_dim("nI") is not False for layer in children):
        dims["nI"] = None
    return Model("add", forward, init=init, dims=dims, layers=children)


def _predict(model: Model, X: Any) -> Any:
    return sum_batches([layer.predict(X) for layer in model.layers]) if model.layers else X


def _inner_rows(model: Model, X: Any) -> Any:
    return sum_batches(middles([predict_inner_rows(layer, X) for layer in model.layers] or [X]))


@inner_rows_by(_inner_rows)
@predicted_by(_predict)
@reaches(widest_reach)
def forward(model: Model[InT, OutT], X: InT, is_train: bool) -> Tuple[OutT, Callable]:
    if not model.layers:
        return X, lambda dY: dY  # type: ignore[return-value]
    Ys, callbacks = zip(*[layer(X, is_train) for layer in model.layers], strict=True)

    def backprop(dY: OutT) -> InT:
        return sum_gradients([callback(dY) for callback in callbacks])

    return sum_batches(Ys), backprop


def init(model: Model[InT, OutT], X: Optional[InT] = None, Y: Optional[OutT] = None) -> None:
    if X is not None:
        _set_all(model, "nI", X)
    if Y is not None:
        _set_all(model, "nO", Y)
    for layer in model.layers:
        layer.initialize(X=X, Y=Y)
    for layer in model.layers:
        nO = layer.maybe_get_dim("nO")
        if nO is not None:
            model.set_dim("nO", nO)
            break


def _set_all(model: Model, dim: str, sample: Any) -> None:
    """Set the dim to the sample's width on the node and every child that declares it.

    A sample that none of them measures need not have a width.
    """
    nodes = [node for node in (model, *model.layers) if node.has_dim(dim) is not False]
    if nodes:
        width = get_width(sample)
        for node in nodes:
            node.set_dim(dim, width)
