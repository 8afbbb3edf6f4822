from functools import partial
from typing import Callable, Optional, Tuple

from ..data_inputs import is_data, no_gradient
from ..freezing import Prediction, when_frozen
from ..initializers import glorot_uniform_init, zero_init
from ..model import Model
from ..predictions import predicted_by
from ..registration import registry
from ..types import Floats2d
from ..util import get_width
from .dense import accumulate_grads, checked_rows, with_options
from .input_errors import usable_rows
from .row_blocks import rowwise


@registry.layers("Maxout.v1")
def Maxout(
    nO: Optional[int] = None,
    nI: Optional[int] = None,
    nP: Optional[int] = 3,
    *,
    init_W: Optional[Callable] = None,
    init_b: Optional[Callable] = None,
    dropout: Optional[float] = None,
    normalize: bool = False,
) -> Model[Floats2d, Floats2d]:
    """The largest of nP linear pieces: Y[b, o] = max over p of (W[o, p] . X[b] + b[o, p]).

    From Goodfellow et al., 'Maxout Networks', 2013. The lowest piece wins a tie.
    Input: floats of shape (batch, nI); output (batch, nO).
    Parameters: W (nO, nP, nI), Glorot uniform by default, whose scale is that of
    the first two axes, sqrt(6 / (nO + nP)), kept so that seeds reproduce older
    releases; b (nO, nP), zeros by default.
    normalize adds a LayerNorm behind the maximum, dropout a Dropout at the end.
    Raises ValueError if the input's width is not nI, or its dtype not that of W.
    """
    model: Model = Model(
        "maxout",
        forward,
        init=partial(
            init,
            init_W=glorot_uniform_init if init_W is None else init_W,
            init_b=zero_init if init_b is None else init_b,
        ),
        dims={"nO": nO, "nI": nI, "nP": nP},
        params={"W": None, "b": None},
    )
    return with_options(model, nO, dropout=dropout, normalize=normalize)


def _predict(model: Model, X: Floats2d) -> Floats2d:
    ops = model.ops
    W = model.get_param("W")
    b = model.get_param("b")
    try:
        return ops.affine_maximum(X, W, b)
    except (TypeError, ValueError, AttributeError, IndexError) as e:
        return ops.affine_maximum(usable_rows(ops, X, W, e), W, b)


def _frozen(model: Model) -> Prediction:
    ops, W = model.ops, model.get_param("W")
    return checked_rows(ops, W, ops.frozen_maximum(W, model.get_param("b")))


@predicted_by(_predict)
@when_frozen(_frozen)
@rowwise
def forward(model: Model, X: Floats2d, is_train: bool) -> Tuple[Floats2d, Callable]:
    ops = model.ops
    W = model.get_param("W")
    b = model.get_param("b")
    compute: Callable = ops.affine_maxout if is_train else ops.affine_maximum
    try:
        result = compute(X, W, b)
    except (TypeError, ValueError, AttributeError, IndexError) as e:
        X = usable_rows(ops, X, W, e)
        result = compute(X, W, b)
    Y, which = result if is_train else (result, None)
    on_data = is_train and is_data(X)

    def backprop(dY: Floats2d) -> Floats2d:
        # A prediction has not kept the choice; hardly anybody asks for its gradient.
        chosen = ops.affine_maxout(X, W, b)[1] if which is None else which
        dX = accumulate_grads(
            model,
            ("W", "b"),
            lambda dW, db: ops.backprop_affine_maxout(
                dY, chosen, X, W, dW, db, input_gradient=not on_data
            ),
        )
        return no_gradient(ops, X) if on_data else dX

    return Y, backprop


def init(
    model: Model,
    X: Optional[Floats2d] = None,
    Y: Optional[Floats2d] = None,
    *,
    init_W: Callable,
    init_b: Callable,
) -> None:
    if X is not None:
        model.set_dim("nI", get_width(X))
    if Y is not None:
        model.set_dim("nO", get_width(Y))
    nO, nP, nI = model.get_dim("nO"), model.get_dim("nP"), model.get_dim("nI")
    model.set_param("W", init_W(model.ops, (nO, nP, nI)))
    model.set_param("b", init_b(model.ops, (nO, nP)))
