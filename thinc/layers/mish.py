from typing import Callable, Optional, Tuple

from ..initializers import glorot_uniform_init
from ..model import Model
from ..registration import registry
from ..types import Floats2d
from .dense import activate, dense_layer, init, predictions_of_dense  # noqa: F401
from .row_blocks import rowwise


@registry.layers("Mish.v1")
def Mish(
    nO: Optional[int] = None,
    nI: Optional[int] = None,
    *,
    init_W: Optional[Callable] = None,
    init_b: Optional[Callable] = None,
    dropout: Optional[float] = None,
    normalize: bool = False,
) -> Model[Floats2d, Floats2d]:
    """Mish units: Y = P tanh(log(1 + e^P)) with P = X W^T + b.

    From Misra, 'Mish: A Self Regularized Non-Monotonic Activation Function', 2019.
    Above 20, where the two agree in float32, Y = P.

    Input: floats of shape (batch, nI); output (batch, nO).
    Parameters: W (nO, nI), Glorot uniform by default; b (nO,), zeros by default.
    normalize adds a LayerNorm behind the activation, dropout a Dropout at the end.
    Raises ValueError if the input's width is not nI, or its dtype not that of W.
    """
    return dense_layer(
        "mish",
        forward,
        nO,
        nI,
        init_W=init_W,
        init_b=init_b,
        default_init_W=glorot_uniform_init,
        dropout=dropout,
        normalize=normalize,
    )


@predictions_of_dense("mish", (20.0,))
@rowwise
def forward(model: Model, X: Floats2d, is_train: bool) -> Tuple[Floats2d, Callable]:
    return activate(model, X, is_train, "mish", (20.0,))
