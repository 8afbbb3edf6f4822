from typing import Callable, Optional, Tuple

from ..initializers import glorot_uniform_init
from ..model import Model
from ..registration import registry
from ..types import Floats2d
from .dense import affine, dense_layer, init, predictions_of_dense  # noqa: F401
from .row_blocks import rowwise


@registry.layers("Linear.v1")
def Linear(
    nO: Optional[int] = None,
    nI: Optional[int] = None,
    *,
    init_W: Optional[Callable] = None,
    init_b: Optional[Callable] = None,
) -> Model[Floats2d, Floats2d]:
    """Multiply by a weight matrix and add a bias: Y = X W^T + b.

    Input: floats of shape (batch, nI); output (batch, nO).
    Parameters: W (nO, nI), Glorot uniform by default; b (nO,), zeros by default.
    Raises ValueError if the input's width is not nI, or its dtype not that of W.
    """
    return dense_layer(
        "linear",
        forward,
        nO,
        nI,
        init_W=init_W,
        init_b=init_b,
        default_init_W=glorot_uniform_init,
    )


@predictions_of_dense()
@rowwise
def forward(model: Model, X: Floats2d, is_train: bool) -> Tuple[Floats2d, Callable]:
    return affine(model, X, is_train)
