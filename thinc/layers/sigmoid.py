from typing import Callable, Optional, Tuple

from ..initializers import zero_init
from ..model import Model
from ..registration import registry
from ..types import Floats2d
from .dense import activate, dense_layer, init, predictions_of_dense  # noqa: F401
from .row_blocks import rowwise


@registry.layers("Sigmoid.v1")
def Sigmoid(
    nO: Optional[int] = None,
    nI: Optional[int] = None,
    *,
    init_W: Optional[Callable] = None,
    init_b: Optional[Callable] = None,
) -> Model[Floats2d, Floats2d]:
    """Independent probabilities: Y = 1 / (1 + e^-P) with P = X W^T + b, P clipped to +-20.

    Input: floats of shape (batch, nI); output (batch, nO).
    Parameters: W (nO, nI) and b (nO,), both zeros by default.
    Raises ValueError if the input's width is not nI, or its dtype not that of W.
    """
    return dense_layer(
        "sigmoid",
        forward,
        nO,
        nI,
        init_W=init_W,
        init_b=init_b,
        default_init_W=zero_init,
    )


@predictions_of_dense("sigmoid")
@rowwise
def forward(model: Model, X: Floats2d, is_train: bool) -> Tuple[Floats2d, Callable]:
    return activate(model, X, is_train, "sigmoid")
