from typing import Callable, Optional, Tuple

from ..initializers import he_normal_init
from ..model import Model
from ..registration import registry
from ..types import Floats2d
from .dense import activate, dense_layer, init, predictions_of_dense  # noqa: F401
from .row_blocks import rowwise


@registry.layers("HardSwishMobilenet.v1")
def HardSwishMobilenet(
    nO: Optional[int] = None,
    nI: Optional[int] = None,
    *,
    init_W: Optional[Callable] = None,
    init_b: Optional[Callable] = None,
    dropout: Optional[float] = None,
    normalize: bool = False,
) -> Model[Floats2d, Floats2d]:
    """Hard swish as in MobileNetV3: Y = P clip(P + 3, 0, 6) / 6 with P = X W^T + b.

    From Howard et al., 'Searching for MobileNetV3', 2019.

    Input: floats of shape (batch, nI); output (batch, nO).
    Parameters: W (nO, nI), He normal by default; b (nO,), zeros by default.
    normalize adds a LayerNorm behind the activation, dropout a Dropout at the end.
    Raises ValueError if the input's width is not nI, or its dtype not that of W.
    """
    return dense_layer(
        "hardswishmobilenet",
        forward,
        nO,
        nI,
        init_W=init_W,
        init_b=init_b,
        default_init_W=he_normal_init,
        dropout=dropout,
        normalize=normalize,
    )


@predictions_of_dense("hard_swish_mobilenet")
@rowwise
def forward(model: Model, X: Floats2d, is_train: bool) -> Tuple[Floats2d, Callable]:
    return activate(model, X, is_train, "hard_swish_mobilenet")
