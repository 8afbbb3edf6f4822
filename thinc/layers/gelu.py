from typing import Callable, Optional, Tuple

from ..initializers import he_normal_init
from ..model import Model
from ..registration import registry
from ..types import Floats2d
from .dense import activate, dense_layer, init, predictions_of_dense  # noqa: F401
from .row_blocks import rowwise


@registry.layers("Gelu.v1")
def Gelu(
    nO: Optional[int] = None,
    nI: Optional[int] = None,
    *,
    init_W: Optional[Callable] = None,
    init_b: Optional[Callable] = None,
    dropout: Optional[float] = None,
    normalize: bool = False,
) -> Model[Floats2d, Floats2d]:
    """Gaussian error linear units: Y = P Phi(P) with P = X W^T + b.

    Phi is the normal distribution function, computed with erf, not the tanh
    approximation. From Hendrycks and Gimpel, 'Gaussian Error Linear Units', 2016.

    Input: floats of shape (batch, nI); output (batch, nO).
    Parameters: W (nO, nI), He normal by default; b (nO,), zeros by default.
    normalize adds a LayerNorm behind the activation, dropout a Dropout at the end.
    Raises ValueError if the input's width is not nI, or its dtype not that of W.
    """
    return dense_layer(
        "gelu",
        forward,
        nO,
        nI,
        init_W=init_W,
        init_b=init_b,
        default_init_W=he_normal_init,
        dropout=dropout,
        normalize=normalize,
    )


@predictions_of_dense("gelu")
@rowwise
def forward(model: Model, X: Floats2d, is_train: bool) -> Tuple[Floats2d, Callable]:
    return activate(model, X, is_train, "gelu")
