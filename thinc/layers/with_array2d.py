from typing import Any, Callable, Optional, Tuple, Type, TypeVar, Union

from ..model import Model
from ..predictions import predicted_by
from ..registration import registry
from ..types import Array2d, List2d, Padded, Ragged
from .sequence_conversion import (
    Conversion,
    ListAsArray,
    PaddedAsArray2d,
    RaggedAsArray2d,
    convert_init,
    converted_prediction,
)
from .with_array import forward_padded, wrapper

SeqT = TypeVar("SeqT", bound=Union[Padded, Ragged, List2d, Array2d])

@registry.layers("with_array2d.v1")
def with_array2d(layer: Model[Array2d, Array2d], pad: int = 0) -> Model[SeqT, SeqT]:
    """Run a layer that takes one 2-d array on batches of sequences.

    As with_array, but the layer gets 2-d data of every Ragged, and the data of a Padded
    as (time * batch, width), which dense layers need. An array is passed on as it is.
    """
    return wrapper(layer, pad, forward, init)


def choose_conversion(X: Any) -> Optional[Type[Conversion]]:
    if isinstance(X, Ragged):
        return RaggedAsArray2d
    if isinstance(X, Padded):
        return PaddedAsArray2d
    if isinstance(X, (list, tuple)):
        return ListAsArray
    return None


@predicted_by(converted_prediction(choose_conversion))
def forward(model: Model[SeqT, SeqT], X: SeqT, is_train: bool) -> Tuple[SeqT, Callable]:
    return forward_padded(choose_conversion, model, X, is_train)


def init(model: Model[SeqT, SeqT], X: Optional[SeqT] = None, Y: Optional[SeqT] = None) -> None:
    convert_init(choose_conversion, model, X, Y)
