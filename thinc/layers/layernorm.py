from typing import Any, Callable, Optional, Tuple

from ..model import Model
from ..predictions import predicted_by
from ..registration import registry
from ..types import FloatsXd
from ..util import get_width
from .input_errors import check_array, describe
from .row_blocks import rowwise


@registry.layers("LayerNorm.v1")
def LayerNorm(nI: Optional[int] = None) -> Model[FloatsXd, FloatsXd]:
    """Standardize each row, then scale and shift: Y = (X - mean) / sqrt(var + 1e-8) * G + b.

    From Ba, Kiros and Hinton, 'Layer Normalization', 2016. Mean and population
    variance are those of the last axis.
    Input and output: floats of shape (..., nI).
    Parameters: G (nI,), ones; b (nI,), zeros.
    Raises ValueError if the input's width is not nI.
    """
    return Model(
        "layernorm",
        forward,
        init=init,
        dims={"nI": nI, "nO": nI},
        params={"G": None, "b": None},
    )


def _predict(model: Model, X: Any) -> Any:
    return _normalized(model, X)[0]


@predicted_by(_predict)
@rowwise
def forward(model: Model, X: FloatsXd, is_train: bool) -> Tuple[FloatsXd, Callable]:
    ops = model.ops
    Y, X, mean, rstd, G = _normalized(model, X)

    def backprop(dY: FloatsXd) -> FloatsXd:
        dX, dG, db = ops.backprop_layer_norm(dY, X, mean, rstd, G)
        model.inc_grad("G", dG)
        model.inc_grad("b", db)
        return dX

    return Y, backprop


def init(model: Model, X: Optional[FloatsXd] = None, Y: Optional[FloatsXd] = None) -> None:
    sample = X if X is not None else Y
    if sample is not None:
        width = get_width(sample)
        model.set_dim("nI", width)
        model.set_dim("nO", width)
    nI = model.get_dim("nI")
    model.set_dim("nO", nI)
    model.set_param("G", model.ops.alloc1f(nI) + 1)
    model.set_param("b", model.ops.alloc1f(nI))


def _normalized(model: Model, X: Any) -> Tuple[Any, Any, Any, Any, Any]:
    """Y, the X it is made of, the mean and 1 / deviation of each row, and G."""
    ops = model.ops
    G = model.get_param("G")
    b = model.get_param("b")
    shape = getattr(X, "shape", None)
    if not shape or shape[-1] != G.shape[0]:
        X = _usable(ops, X, G)
    Y, mean, rstd = ops.layer_norm(X, G, b)
    return Y, X, mean, rstd, G


def _usable(ops, X, G):
    """No rows of unknown width as (0, nI); an error for everything else."""
    nI = G.shape[0]
    check_array(X, f"floats of shape (rows, {nI}) with nI={nI}")
    if X.shape == (0, 0):
        return ops.alloc((0, nI), dtype=G.dtype)
    if X.ndim < 2:
        raise ValueError(f"expected floats of shape (rows, {nI}) with nI={nI}, got {describe(X)}")
    raise ValueError(f"input width {X.shape[-1]} does not match nI={nI}: got {describe(X)}")
