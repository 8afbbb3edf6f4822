from typing import Any, Callable, Optional, Sequence, Tuple

from ..freezing import Prediction, when_frozen
from ..model import Model
from ..registration import registry
from ..types import Floats2d
from ..util import get_width
from .dense import affine, frozen_dense
from .row_blocks import rowwise


@registry.layers("MultiSoftmax.v1")
def MultiSoftmax(nOs: Sequence[int], nI: Optional[int] = None) -> Model[Floats2d, Floats2d]:
    """Several classifications at once: softmax over consecutive blocks of X W^T + b.

    nOs: how many classes each block has.
    Input: floats of shape (batch, nI); output (batch, sum(nOs)), each block of a row
    sums to one. Parameters: W (sum(nOs), nI) and b (sum(nOs),), zeros.
    backprop expects the gradient of the logits, as Softmax does.
    Raises ValueError if the input's width is not nI, or its dtype not that of W.
    """
    return Model(
        "multisoftmax",
        forward,
        init=init,
        dims={"nO": sum(nOs), "nI": nI},
        attrs={"nOs": nOs},
        params={"W": None, "b": None},
    )


def _frozen(model: Model) -> Prediction:
    logits = frozen_dense(model)
    return lambda X: _softmax_blocks(model, logits(X))


@when_frozen(_frozen)
@rowwise
def forward(model: Model, X: Floats2d, is_train: bool) -> Tuple[Floats2d, Callable]:
    Y, backprop = affine(model, X, is_train)
    return _softmax_blocks(model, Y), backprop


def _softmax_blocks(model: Model, Y: Any) -> Any:
    """The softmax of each block of columns, in place."""
    start = 0
    for nO in model.attrs["nOs"]:
        stop = start + nO
        Y[:, start:stop] = model.ops.softmax(Y[:, start:stop])
        start = stop
    return Y


def init(model: Model, X: Optional[Floats2d] = None, Y: Optional[Floats2d] = None) -> None:
    if X is not None:
        model.set_dim("nI", get_width(X))
    if Y is not None:
        model.set_dim("nO", get_width(Y))
    nO, nI = model.get_dim("nO"), model.get_dim("nI")
    model.set_param("W", model.ops.alloc2f(nO, nI))
    model.set_param("b", model.ops.alloc1f(nO))
