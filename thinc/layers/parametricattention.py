from typing import Any, Callable, Optional, Tuple

from ..backends.array_memory import multiply
from ..model import Model
from ..registration import registry
from ..types import Floats1d, Floats2d, Ragged
from ..util import get_width
from .containers import ragged_like
from .input_errors import describe


@registry.layers("ParametricAttention.v1")
def ParametricAttention(nO: Optional[int] = None) -> Model[Ragged, Ragged]:
    """Weight each row by its importance in its sequence: Y = X softmax(X Q).

    The softmax is taken over the rows of each sequence. From Yang et al.,
    'Hierarchical Attention Networks for Document Classification', 2016.
    Input and output: Ragged of width nO.
    Parameter: Q (nO,), uniform in [-0.1, 0.1).
    Raises TypeError if the input is no Ragged, ValueError if its width is not nO.
    """
    return Model("para-attn", forward, init=init, params={"Q": None}, dims={"nO": nO})


def forward(model: Model[Ragged, Ragged], Xr: Ragged, is_train: bool) -> Tuple[Ragged, Callable]:
    Q = model.get_param("Q")
    X = attended_rows(Xr, Q)
    weights, backprop_weights = attention_weights(model, Q, X, Xr.lengths)

    def backprop(dYr: Ragged) -> Ragged:
        d_weights = multiply(X, dYr.data).sum(axis=1, keepdims=True)
        dX = backprop_weights(d_weights)
        dX += multiply(dYr.data, weights)
        return ragged_like(dYr, dX)

    return ragged_like(Xr, multiply(X, weights)), backprop


def init(
    model: Model[Ragged, Ragged], X: Optional[Ragged] = None, Y: Optional[Ragged] = None
) -> None:
    if X is not None:
        model.set_dim("nO", get_width(X))
    init_query(model)


def init_query(model: Model) -> None:
    """Draw Q, uniform in [-0.1, 0.1)."""
    ops = model.ops
    Q = ops.alloc1f(model.get_dim("nO"))
    Q += ops.xp.random.uniform(-0.1, 0.1, Q.shape)
    model.set_param("Q", Q)


def attended_rows(Xr: Any, Q: Floats1d) -> Floats2d:
    """The rows of a Ragged, if they are as wide as Q (or none, of unknown width)."""
    if not isinstance(Xr, Ragged):
        raise TypeError(f"expected a Ragged of width nO={Q.shape[0]}, got {describe(Xr)}")
    X: Any = Xr.data
    if X.shape[1] != Q.shape[0]:
        if X.shape != (0, 0):
            raise ValueError(f"input width {X.shape[1]} does not match nO={Q.shape[0]}")
        X = X.reshape((0, Q.shape[0]))
    return X


def attention_weights(
    model: Model, Q: Floats1d, K: Floats2d, lengths
) -> Tuple[Floats2d, Callable[[Floats2d], Floats2d]]:
    """softmax(K Q) within each sequence, shape (rows, 1), and its backprop, which gives dK.

    K: (rows, nO). The backprop adds to the gradient of Q.
    """
    ops = model.ops
    weights = ops.softmax_sequences(ops.gemm(K, Q.reshape((-1, 1))), lengths)

    def backprop(d_weights: Floats2d) -> Floats2d:
        d_scores = ops.backprop_softmax_sequences(d_weights, weights, lengths)
        model.inc_grad("Q", ops.gemm(K, d_scores, trans1=True).reshape(-1))
        return ops.gemm(d_scores, Q.reshape((1, -1)))

    return weights, backprop
