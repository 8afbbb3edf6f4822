from typing import Callable, Optional, Tuple

from ..backends.array_memory import multiply
from ..model import Model
from ..registration import registry
from ..types import Floats2d, Ragged
from ..util import get_width
from .containers import ragged_like
from .input_errors import describe
from .noop import noop
from .parametricattention import attended_rows, attention_weights, init_query

KEY_TRANSFORM_REF = "key_transform"


@registry.layers("ParametricAttention.v2")
def ParametricAttention_v2(
    *,
    key_transform: Optional[Model[Floats2d, Floats2d]] = None,
    nO: Optional[int] = None,
) -> Model[Ragged, Ragged]:
    """Weight each row by its importance in its sequence: Y = X softmax(K Q), K = transform(X).

    The softmax is taken over the rows of each sequence. key_transform maps rows of width
    nO to rows of width nO; without one, K = X, as in ParametricAttention. From Yang
    et al., 'Hierarchical Attention Networks for Document Classification', 2016, where it is
    a dense layer with tanh.
    Input and output: Ragged of width nO.
    Parameter: Q (nO,), uniform in [-0.1, 0.1).
    Raises TypeError if the input is no Ragged, ValueError if its width, or that of
    the keys, is not nO.
    """
    transform: Model = noop() if key_transform is None else key_transform
    return Model(
        "para-attn",
        forward,
        init=init,
        params={"Q": None},
        dims={"nO": nO},
        refs={KEY_TRANSFORM_REF: transform},
        layers=[transform],
    )


def forward(model: Model[Ragged, Ragged], Xr: Ragged, is_train: bool) -> Tuple[Ragged, Callable]:
    Q = model.get_param("Q")
    X = attended_rows(Xr, Q)
    K, backprop_keys = model.get_ref(KEY_TRANSFORM_REF)(X, is_train)
    if K.shape != X.shape:
        raise ValueError(
            f"expected keys of shape {X.shape} from the key_transform, got {describe(K)}"
        )
    weights, backprop_weights = attention_weights(model, Q, K, Xr.lengths)

    def backprop(dYr: Ragged) -> Ragged:
        d_weights = multiply(X, dYr.data).sum(axis=1, keepdims=True)
        dX = backprop_keys(backprop_weights(d_weights)) + multiply(dYr.data, weights)
        return ragged_like(dYr, dX)

    return ragged_like(Xr, multiply(X, weights)), backprop


def init(
    model: Model[Ragged, Ragged], X: Optional[Ragged] = None, Y: Optional[Ragged] = None
) -> None:
    """nO is the width of X and of the keys; the key_transform learns it as a sample."""
    transform = model.get_ref(KEY_TRANSFORM_REF)
    rows = None if X is None else X.dataXd
    if X is not None:
        width = get_width(X)
        if width:
            model.set_dim("nO", width)
    nO = model.get_dim("nO")
    if transform.has_dim("nO"):
        if transform.get_dim("nO") != nO:
            raise ValueError(
                f"the key_transform must give keys of width nO={nO}, "
                f"but its nO is {transform.get_dim('nO')}"
            )
    elif rows is None and transform.has_dim("nO") is None:
        rows = model.ops.alloc2f(0, nO)
    init_query(model)
    transform.initialize(X=rows, Y=rows if Y is None else Y.dataXd)
