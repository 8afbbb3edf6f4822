from typing import Any, Callable, Optional, Tuple, Type, TypeVar, Union

from ..model import Model
from ..predictions import predicted_by
from ..registration import registry
from ..types import Array3d, Ints1d, List2d, Padded, Ragged
from .child_dims import child_dims
from .input_errors import describe, is_array
from .sequence_conversion import (
    ArrayAsPadded,
    Conversion,
    FieldsAsPadded,
    ListAsPadded,
    RaggedAsPadded,
    convert_forward,
    convert_init,
    converted_prediction,
)

PaddedData = Tuple[Array3d, Ints1d, Ints1d, Ints1d]
SeqT = TypeVar("SeqT", bound=Union[Padded, Ragged, List2d, Array3d, PaddedData])


@registry.layers("with_padded.v1")
def with_padded(layer: Model[Padded, Padded]) -> Model[SeqT, SeqT]:
    """Run a layer that takes a Padded on batches of sequences.

    Input: a Padded (passed on as it is), a Ragged, a list of arrays, an array (time,
    batch, ...) of equally long sequences, or a tuple of the four arrays of a Padded; the
    output is of the same kind. Other tuples count as lists, None as an empty one.
    Raises IndexError for a 1-d array, TypeError for any other input.
    """
    return Model(
        f"with_padded({layer.name})",
        forward,
        init=init,
        layers=[layer],
        dims=child_dims(layer),
    )


def choose_conversion(X: Any) -> Optional[Type[Conversion]]:
    if isinstance(X, Padded):
        return None
    if isinstance(X, Ragged):
        return RaggedAsPadded
    if is_array(X):
        return ArrayAsPadded
    if isinstance(X, tuple) and len(X) == 4 and all(is_array(field) for field in X):
        return FieldsAsPadded
    if X is None or isinstance(X, (list, tuple)):
        return ListAsPadded
    raise TypeError(
        f"expected a Padded, Ragged, list of arrays, array (time, batch, ...) or a tuple of "
        f"the four arrays of a Padded, got {describe(X)}"
    )


@predicted_by(converted_prediction(choose_conversion))
def forward(model: Model[SeqT, SeqT], X: SeqT, is_train: bool) -> Tuple[SeqT, Callable]:
    return convert_forward(choose_conversion, model, X, is_train)


def init(model: Model[SeqT, SeqT], X: Optional[SeqT] = None, Y: Optional[SeqT] = None) -> None:
    convert_init(choose_conversion, model, X, Y)
