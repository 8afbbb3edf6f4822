"""Predictions for one sequence between rows of zeros, of which nobody wants the outer rows.

Windows look at rows beside their own, so a sequence gets rows of zeros around it, as many as
all layers together can see. Of what a layer makes of those, the next one needs a row less on
each side: of three words with four rows on each side, the last layer needs three rows of
eleven. Layers say by a decorator of their forward function how they make the inner rows only.
"""
from typing import Any, Callable, Optional, Sequence, TypeVar

from ..function_table import FunctionTable
from ..model import Model
from ..model_errors import LAYER_ERRORS
from .row_blocks import is_rowwise

FuncT = TypeVar("FuncT", bound=Callable)
InnerRows = Callable[[Model, Any], Any]

_INNER_ROWS: FunctionTable[InnerRows] = FunctionTable()


class TooFewRows(ValueError):
    """All rows of an array are outer rows to a layer."""


def inner_rows_by(compute: InnerRows) -> Callable[[FuncT], FuncT]:
    """Decorator for a forward function: compute(model, X) is the model's prediction without
    the rows at either end for which it would look beyond X."""

    def decorate(forward: FuncT) -> FuncT:
        _INNER_ROWS[forward] = compute
        return forward

    return decorate


def predict_inner_rows(model: Model, X: Any) -> Any:
    """The model's prediction for the array X without the rows at either end for which it
    would look beyond X. knows_inner_rows(model) must be true.

    Raises TooFewRows if there are not twice as many as the layers look at on one side.
    """
    compute = _INNER_ROWS.get(model._func)
    return model.predict(X) if compute is None else compute(model, X)


def knows_inner_rows(model: Model) -> bool:
    """Whether all layers of the model have said what they look at."""
    nodes = [model]
    while nodes:
        node = nodes.pop()
        if node._func in _INNER_ROWS:
            nodes += node.layers
        elif not is_rowwise(node):
            return False
    return True


def predict_padded(model: Model, padded: Any, pad: int) -> Optional[Any]:
    """The model's prediction for `padded` (an array) without the first and the last `pad` rows,
    if knows_inner_rows(model). None if it has to be made otherwise: the layers look further
    than `pad` rows, or fail, as the error had better be raised where it names its place."""
    try:
        Y = predict_inner_rows(model, padded)
    except LAYER_ERRORS:
        return None
    wanted = padded.shape[0] - 2 * pad
    left = Y.shape[0] - wanted
    return None if left < 0 else middle(Y, wanted)


def middle(X: Any, rows: int) -> Any:
    """So many rows in the middle of X."""
    start = (X.shape[0] - rows) // 2
    return X[start : start + rows] if start else X


def middles(Xs: Sequence[Any]) -> Sequence[Any]:
    """The middle of each array, as many rows as the shortest has."""
    fewest = min(X.shape[0] for X in Xs)
    return [middle(X, fewest) for X in Xs]
