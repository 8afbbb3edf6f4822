from typing import Callable, Optional, Tuple

from ..model import Model
from ..registration import registry
from ..types import Floats1d, Floats2d
from ..util import get_width
from .input_errors import check_array, describe


@registry.layers("CauchySimilarity.v1")
def CauchySimilarity(
    nI: Optional[int] = None,
) -> Model[Tuple[Floats2d, Floats2d], Floats1d]:
    """How alike two vectors are: Y = 1 / (1 + sum over i of W_i (A_i - B_i)^2).

    One for equal vectors, towards zero with distance: the shape of Cauchy's distribution.
    Input: two float arrays of shape (batch, nI); output: (batch,).
    Parameter: W (nI,), ones.
    Raises ValueError if the input is no pair, or shapes differ from each other or nI.
    """
    return Model(
        "cauchy_similarity",
        forward,
        init=init,
        dims={"nI": nI, "nO": 1},
        params={"W": None},
    )


def forward(
    model: Model, X1_X2: Tuple[Floats2d, Floats2d], is_train: bool
) -> Tuple[Floats1d, Callable]:
    W = model.get_param("W")
    X1, X2 = _pair(X1_X2)
    if X1.ndim != 2 or X1.shape != X2.shape or X1.shape[1] != W.shape[0]:
        raise ValueError(
            f"expected two arrays of shape (rows, {W.shape[0]}) with nI={W.shape[0]}, "
            f"got {describe(X1)} and {describe(X2)}"
        )
    diff = X1 - X2
    Y = 1.0 / (1.0 + (W * diff * diff).sum(axis=1))

    def backprop(dY: Floats1d) -> Tuple[Floats2d, Floats2d]:
        slope = (-dY * Y * Y).reshape((-1, 1))
        model.inc_grad("W", (slope * diff * diff).sum(axis=0))
        dX1 = 2.0 * slope * W * diff
        return dX1, -dX1

    return Y, backprop


def init(
    model: Model,
    X: Optional[Tuple[Floats2d, Floats2d]] = None,
    Y: Optional[Floats1d] = None,
) -> None:
    if X is not None:
        model.set_dim("nI", get_width(X[0]))
    model.set_param("W", model.ops.alloc1f(model.get_dim("nI")) + 1)


def _pair(pair) -> Tuple[Floats2d, Floats2d]:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise ValueError(f"expected a pair of arrays, got {describe(pair)}")
    for X in pair:
        check_array(X, "a pair of arrays")
    return pair[0], pair[1]
