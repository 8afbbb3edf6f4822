from typing import Any, Callable, Optional, Tuple

from ..backends import Ops
from ..model import Model
from ..registration import registry
from ..types import Padded
from .containers import batch_width, join_columns, padded_like, take_columns
from .input_errors import describe


@registry.layers("bidirectional.v1")
def bidirectional(
    l2r: Model[Padded, Padded], r2l: Optional[Model[Padded, Padded]] = None
) -> Model[Padded, Padded]:
    """Run one layer from left to right and another from right to left, join their outputs.

    Each sequence is reversed within its own length for r2l, and its output is turned
    back; padding stays at the end. From Schuster and Paliwal, 'Bidirectional Recurrent
    Neural Networks', 1997.
    Input: Padded; output: Padded, as wide as both layers together, l2r first.
    Without r2l, it is a copy of l2r.
    Raises TypeError if the input is no Padded.
    """
    if r2l is None:
        r2l = l2r.copy()
    return Model(f"bi{l2r.name}", forward, layers=[l2r, r2l], init=init)


def forward(model: Model[Padded, Padded], X: Padded, is_train: bool) -> Tuple[Padded, Callable]:
    if not isinstance(X, Padded):
        raise TypeError(f"expected a Padded, got {describe(X)}")
    ops = model.ops
    l2r, r2l = model.layers
    order = _reversal(ops, X)
    Y_l2r, backprop_l2r = l2r(X, is_train)
    Y_r2l, backprop_r2l = r2l(_reordered(X, order), is_train)
    middle = batch_width(Y_l2r)

    def backprop(dY: Padded) -> Padded:
        dX = backprop_l2r(take_columns(ops, dY, 0, middle))
        dY_r2l = _reordered(take_columns(ops, dY, middle, batch_width(dY)), order)
        dX_r2l = _reordered(backprop_r2l(dY_r2l), order)
        return padded_like(dX, dX.data + dX_r2l.data)

    return join_columns(ops, [Y_l2r, _reordered(Y_r2l, order)]), backprop


def init(
    model: Model[Padded, Padded], X: Optional[Padded] = None, Y: Optional[Padded] = None
) -> None:
    l2r, r2l = model.layers
    ops = model.ops
    X_r2l = None if X is None else _reordered(X, _reversal(ops, X))
    if Y is None:
        l2r.initialize(X=X)
        r2l.initialize(X=X_r2l)
        return
    width = batch_width(Y)
    middle = _share_of_l2r(l2r, r2l, width)
    Y_r2l = take_columns(ops, Y, middle, width)
    if isinstance(Y, Padded):
        Y_r2l = _reordered(Y_r2l, _reversal(ops, Y))
    l2r.initialize(X=X, Y=take_columns(ops, Y, 0, middle))
    r2l.initialize(X=X_r2l, Y=Y_r2l)


def _share_of_l2r(l2r: Model, r2l: Model, width: int) -> int:
    """How many of the output's columns are l2r's: what is known, or half of them."""
    nO = l2r.maybe_get_dim("nO")
    if nO is not None:
        return nO
    nO = r2l.maybe_get_dim("nO")
    if nO is not None:
        return width - nO
    if width % 2:
        raise ValueError(f"cannot split an output width of {width} between two equal layers")
    return width // 2


def _reversal(ops: Ops, X: Padded) -> Any:
    """An index (steps, columns) that reverses each sequence of X within its length.

    It is its own inverse. Padding keeps its place.
    """
    xp = ops.xp
    steps = xp.arange(X.data.shape[0]).reshape((-1, 1))
    lengths = X.lengths.reshape((1, -1))
    columns = xp.arange(X.data.shape[1]).reshape((1, -1))
    return xp.where(steps < lengths, lengths - 1 - steps, steps), columns


def _reordered(X: Padded, order: Any) -> Padded:
    return padded_like(X, X.data[order])
