from typing import Any, Callable, List, Optional, Sequence, Tuple, TypeVar

from ..freezing import Prediction, when_frozen
from ..model import Model
from ..model_errors import LAYER_ERRORS
from ..predictions import predicted_by
from ..registration import registry
from ..types import XY_YZ_OutT
from .inner_rows import inner_rows_by, predict_inner_rows
from .row_blocks import may_have_many_rows, predict_layers, reaches, summed_reach
from .width import measured_width, stack_width

InT = TypeVar("InT")
OutT = TypeVar("OutT")
MidT = TypeVar("MidT")

# Functions of two frozen layers that give them as one, or None: see embedded_maxout.Pair.
FUSIONS: List[Callable[[Model, Model], Any]] = []


@registry.layers("chain.v1")
def chain_no_types(*layer: Model) -> Model:
    """`chain` for configs, which pass the layers through `*`. TypeError for fewer than two."""
    return chain(*layer)


def chain(
    layer1: Model[InT, MidT], layer2: Model[MidT, Any], *layers: Model[Any, Any]
) -> Model[InT, XY_YZ_OutT]:
    """Compose layers: the output of each is the input of the next. f, g -> g(f(x)).

    Input: what the first layer takes; output: what the last one gives.
    initialize passes the sample X through the layers, so that each can read its
    widths off; the sample Y goes to every layer whose nO is declared but unset.
    """
    children = (layer1, layer2) + layers
    dims = {"nO": children[-1].maybe_get_dim("nO")}
    if layer1.has_dim("nI") is not False:
        dims["nI"] = layer1.maybe_get_dim("nI")
    return Model(
        ">>".join(layer.name for layer in children),
        forward,
        init=init,
        dims=dims,
        layers=children,
    )


def _predict(model: Model, X: Any) -> Any:
    return predict_in_turn(model.layers, X)


def predict_in_turn(layers: Sequence[Model], X: Any) -> Any:
    """What the layers give for X, one after the other."""
    if may_have_many_rows(X):
        return predict_layers(layers, X)
    for layer in layers:
        X = layer.predict(X)
    return X


def _frozen(model: Model) -> Optional[Prediction]:
    layers = list(model.layers)
    for position, neighbours in enumerate(zip(layers, layers[1:], strict=False)):
        for fuse in FUSIONS:
            pair = fuse(*neighbours)
            if pair is not None:
                return _fused(model, position, pair)
    return None


def _fused(model: Model, position: int, pair: Any) -> Prediction:
    """The chain's prediction with two layers as one, at a position."""
    before = list(model.layers)
    behind = before[position + 2 :]

    def predict(X: Any) -> Any:
        if model.layers != before or not pair.watch.nothing_changed():
            return _predict(model, X)
        for layer in before[:position]:
            X = layer.predict(X)
        try:
            Y = pair.predict(X)
        except LAYER_ERRORS:  # by itself, each layer says that it is the one
            return predict_in_turn(before[position:], X)
        return predict_in_turn(behind, Y)

    return predict


def _inner_rows(model: Model, X: Any) -> Any:
    for layer in model.layers:
        X = predict_inner_rows(layer, X)
    return X


@when_frozen(_frozen)
@inner_rows_by(_inner_rows)
@predicted_by(_predict)
@reaches(summed_reach)
def forward(model: Model[InT, OutT], X: InT, is_train: bool) -> Tuple[OutT, Callable]:
    if not is_train and may_have_many_rows(X):
        # Hardly anybody asks for a gradient: layers then run once more.
        return predict_layers(model.layers, X), lambda dY: _run_all(model, X, False)[1](dY)
    return _run_all(model, X, is_train)


def _run_all(model: Model[InT, OutT], X: InT, is_train: bool) -> Tuple[OutT, Callable]:
    Y: Any = X
    callbacks = []
    for layer in model.layers:
        Y, callback = layer(Y, is_train)
        callbacks.append(callback)

    def backprop(dY: OutT) -> InT:
        dX: Any = dY
        for callback in reversed(callbacks):
            dX = callback(dX)
        return dX

    return Y, backprop


def init(model: Model[InT, OutT], X: Optional[InT] = None, Y: Optional[OutT] = None) -> None:
    current: Any = X
    for layer in model.layers:
        if layer.has_dim("nO") is None:
            layer.initialize(X=current, Y=Y)
        else:
            layer.initialize(X=current)
        if current is not None:
            current = layer.predict(current)
    if not model.layers:
        return
    nI = model.layers[0].maybe_get_dim("nI")
    if nI is not None and model.has_dim("nI") is not False:
        model.set_dim("nI", nI)
    if model.has_dim("nO") is None:
        nO = None if current is None else measured_width(current)
        model.set_dim("nO", stack_width(model.layers) if nO is None else nO)
