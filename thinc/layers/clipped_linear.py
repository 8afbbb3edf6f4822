from typing import Callable, Optional, Tuple

from ..initializers import glorot_uniform_init
from ..model import Model
from ..registration import registry
from ..types import Floats2d
from .dense import activate, dense_layer, init  # noqa: F401
from .row_blocks import rowwise


@registry.layers("ClippedLinear.v1")
def ClippedLinear(
    nO: Optional[int] = None,
    nI: Optional[int] = None,
    *,
    init_W: Optional[Callable] = None,
    init_b: Optional[Callable] = None,
    dropout: Optional[float] = None,
    normalize: bool = False,
    slope: float = 1.0,
    offset: float = 0.0,
    min_val: float = 0.0,
    max_val: float = 1.0,
) -> Model[Floats2d, Floats2d]:
    """A line between two bounds: Y = clip(slope P + offset, min_val, max_val), P = X W^T + b.

    Input: floats of shape (batch, nI); output (batch, nO). The gradient is `slope`
    strictly between the bounds and zero elsewhere, whatever the slope's sign.
    The four numbers are attrs, read at each call.
    Parameters: W (nO, nI), Glorot uniform by default; b (nO,), zeros by default.
    normalize adds a LayerNorm behind the activation, dropout a Dropout at the end.
    Raises ValueError if the input's width is not nI, or its dtype not that of W.
    """
    return dense_layer(
        "clipped_linear",
        forward,
        nO,
        nI,
        init_W=init_W,
        init_b=init_b,
        default_init_W=glorot_uniform_init,
        dropout=dropout,
        normalize=normalize,
        attrs={"slope": slope, "offset": offset, "min_val": min_val, "max_val": max_val},
    )


@rowwise
def forward(model: Model, X: Floats2d, is_train: bool) -> Tuple[Floats2d, Callable]:
    attrs = model.attrs
    bounds = (attrs["slope"], attrs["offset"], attrs["min_val"], attrs["max_val"])
    return activate(model, X, is_train, "clipped_linear", bounds)


@registry.layers("HardSigmoid.v1")
def HardSigmoid(
    nO: Optional[int] = None,
    nI: Optional[int] = None,
    *,
    init_W: Optional[Callable] = None,
    init_b: Optional[Callable] = None,
    dropout: Optional[float] = None,
    normalize: bool = False,
) -> Model[Floats2d, Floats2d]:
    """Hard sigmoid: Y = clip(0.2 P + 0.5, 0, 1). Arguments: see ClippedLinear."""
    return ClippedLinear(
        nO,
        nI,
        init_W=init_W,
        init_b=init_b,
        dropout=dropout,
        normalize=normalize,
        slope=0.2,
        offset=0.5,
    )


@registry.layers("HardTanh.v1")
def HardTanh(
    nO: Optional[int] = None,
    nI: Optional[int] = None,
    *,
    init_W: Optional[Callable] = None,
    init_b: Optional[Callable] = None,
    dropout: Optional[float] = None,
    normalize: bool = False,
) -> Model[Floats2d, Floats2d]:
    """Hard hyperbolic tangent: Y = clip(P, -1, 1). Arguments: see ClippedLinear."""
    return ClippedLinear(
        nO,
        nI,
        init_W=init_W,
        init_b=init_b,
        dropout=dropout,
        normalize=normalize,
        min_val=-1.0,
        max_val=1.0,
    )


@registry.layers("ReluK.v1")
def ReluK(
    nO: Optional[int] = None,
    nI: Optional[int] = None,
    *,
    init_W: Optional[Callable] = None,
    init_b: Optional[Callable] = None,
    dropout: Optional[float] = None,
    normalize: bool = False,
    k: float = 6.0,
) -> Model[Floats2d, Floats2d]:
    """Relu with a ceiling: Y = clip(P, 0, k). Other arguments: see ClippedLinear."""
    return ClippedLinear(
        nO,
        nI,
        init_W=init_W,
        init_b=init_b,
        dropout=dropout,
        normalize=normalize,
        min_val=0.0,
        max_val=k,
    )
