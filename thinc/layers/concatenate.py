from typing import Any, Callable, List, Optional, Tuple, TypeVar

from ..model import Model
from ..model_errors import LAYER_ERRORS
from ..predictions import predicted_by
from ..registration import registry
from ..types import XY_XY_OutT
from ..util import get_width
from .containers import batch_width, join_columns, sum_gradients, take_columns
from .hashembed import hash_columns
from .inner_rows import inner_rows_by, middles, predict_inner_rows
from .noop import noop
from .row_blocks import reaches, widest_reach

InT = TypeVar("InT")
OutT = TypeVar("OutT")


@registry.layers("concatenate.v1")
def concatenate(*layers: Model[Any, Any]) -> Model[Any, XY_XY_OutT]:
    """Join the outputs of several layers for the same input: f, g -> [f(x), g(x)].

    Outputs are arrays (joined on axis 1), lists of arrays, Ragged, or Padded
    (joined on the last axis), with equal rows. One layer is returned as it is, none
    gives a noop. If the first layer is itself a concatenation, the others are
    appended to it, and it is what is returned.
    Raises ValueError, in the forward pass, if kinds or row counts differ.
    """
    if not layers:
        return noop()
    first, *others = layers
    if not others:
        return first
    if first._func is forward:
        first.layers.extend(others)
        return first
    dims: dict = {"nO": None}
    if all(layer.has_dim("nI") is not False for layer in layers):
        dims["nI"] = None
    return Model(
        "|".join(layer.name for layer in layers),
        forward,
        init=init,
        dims=dims,
        layers=layers,
    )


def _predict(model: Model, X: Any) -> Any:
    layers = model.layers
    found = hash_columns(layers)
    if found is not None:
        try:
            return model.ops.hash_embed_columns(*found, X)
        except LAYER_ERRORS:  # one by one, the layers say which of them it is
            pass
    return join_columns(model.ops, [layer.predict(X) for layer in layers])


def _inner_rows(model: Model, X: Any) -> Any:
    Ys = middles([predict_inner_rows(layer, X) for layer in model.layers])
    return join_columns(model.ops, Ys)


@inner_rows_by(_inner_rows)
@predicted_by(_predict)
@reaches(widest_reach)
def forward(model: Model[InT, OutT], X: InT, is_train: bool) -> Tuple[OutT, Callable]:
    ops = model.ops
    Ys, callbacks = zip(*[layer(X, is_train) for layer in model.layers], strict=True)
    stops = _cumulative([batch_width(Y) for Y in Ys])

    def backprop(dY: OutT) -> InT:
        start = 0
        gradients = []
        for callback, stop in zip(callbacks, stops, strict=True):
            gradients.append(callback(take_columns(ops, dY, start, stop)))
            start = stop
        return sum_gradients(gradients)

    return join_columns(ops, Ys), backprop


def init(model: Model[InT, OutT], X: Optional[InT] = None, Y: Optional[OutT] = None) -> None:
    measured = [node for node in (model, *model.layers) if node.has_dim("nI") is not False]
    if X is not None and measured:  # what no layer measures need not have a width
        width = get_width(X)
        for node in measured:
            node.set_dim("nI", width)
    # As in a chain, Y may be the output of a later layer: a single child that does not
    # know its width takes Y's. Of several, none can be told.
    unset = [layer for layer in model.layers if _needs_width(layer)]
    for layer in model.layers:
        layer.initialize(X=X, Y=Y if unset == [layer] else None)
    widths = [layer.maybe_get_dim("nO") for layer in model.layers]
    if None not in widths:
        model.set_dim("nO", sum(width or 0 for width in widths))


def _needs_width(layer: Model) -> bool:
    """Whether anything in the layer has an open nO. A combinator's own may be open while
    all that it consists of know theirs."""
    return any(node.has_dim("nO") is None for node in layer.walk() if not node.layers)


def _cumulative(widths: List[int]) -> List[int]:
    total = 0
    sums = []
    for width in widths:
        total += width
        sums.append(total)
    return sums
