from typing import Any, Callable, Optional, Tuple, Type, TypeVar, Union

from ..model import Model
from ..predictions import predicted_by
from ..registration import registry
from ..types import List2d, Padded, Ragged
from .child_dims import child_dims
from .sequence_conversion import (
    Conversion,
    PaddedAsList,
    RaggedAsList,
    convert_forward,
    convert_init,
    converted_prediction,
)

SeqT = TypeVar("SeqT", bound=Union[Padded, Ragged, List2d])

@registry.layers("with_list.v1")
def with_list(layer: Model[List2d, List2d]) -> Model[SeqT, SeqT]:
    """Run a layer that takes a list of arrays on batches of sequences.

    Input: a Ragged or a Padded; the output is of the same kind. Anything else is passed
    to the layer as it is. The sequences of a Padded come in their original order.
    """
    return Model(
        f"with_list({layer.name})",
        forward,
        init=init,
        layers=[layer],
        dims=child_dims(layer),
    )


def choose_conversion(X: Any) -> Optional[Type[Conversion]]:
    if isinstance(X, Ragged):
        return RaggedAsList
    if isinstance(X, Padded):
        return PaddedAsList
    return None


@predicted_by(converted_prediction(choose_conversion))
def forward(model: Model[SeqT, SeqT], X: SeqT, is_train: bool) -> Tuple[SeqT, Callable]:
    return convert_forward(choose_conversion, model, X, is_train)


def init(model: Model[SeqT, SeqT], X: Optional[SeqT] = None, Y: Optional[SeqT] = None) -> None:
    convert_init(choose_conversion, model, X, Y)
