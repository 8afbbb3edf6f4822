from typing import Any, Callable, Optional, Tuple, Type, TypeVar, Union

from ..model import Model
from ..predictions import predicted_by
from ..registration import registry
from ..types import ArrayXd, ListXd, Padded, Ragged
from .child_dims import child_dims
from .row_blocks import runs_on_rows_of_ragged
from .sequence_conversion import (
    ChooseConversion,
    Conversion,
    ListAsArray,
    PaddedAsArray,
    RaggedAsArray,
    convert_forward,
    convert_init,
    converted_prediction,
    run_converted,
)

SeqT = TypeVar("SeqT", bound=Union[Padded, Ragged, ListXd, ArrayXd])

@registry.layers("with_array.v1")
def with_array(layer: Model[ArrayXd, ArrayXd], pad: int = 0) -> Model[SeqT, SeqT]:
    """Run a layer that takes one array on batches of sequences.

    Input: an array (passed on as it is), a list or tuple of arrays, a Ragged or a Padded;
    the output is of the same kind (a list for a tuple). The layer gets the sequences of
    a list or Ragged end to end, and the data (time, batch, ...) of a Padded; in its
    output, places behind the end of a sequence are set to zero.
    pad: rows of zeros that the layer sees between the sequences of a list; what it
        writes there is dropped. Other kinds of input are not padded.
    """
    return wrapper(layer, pad, forward, init)


def wrapper(layer: Model, pad: int, forward: Callable, init: Callable) -> Model:
    """The node of with_array and of with_array2d, which has the same name."""
    return Model(
        f"with_array({layer.name})",
        forward,
        init=init,
        layers=[layer],
        attrs={"pad": pad},
        dims=child_dims(layer),
    )


def choose_conversion(X: Any) -> Optional[Type[Conversion]]:
    if isinstance(X, Ragged):
        return RaggedAsArray
    if isinstance(X, Padded):
        return PaddedAsArray
    if isinstance(X, (list, tuple)):
        return ListAsArray
    return None


@predicted_by(converted_prediction(choose_conversion))
@runs_on_rows_of_ragged
def forward(model: Model[SeqT, SeqT], X: SeqT, is_train: bool) -> Tuple[SeqT, Callable]:
    return forward_padded(choose_conversion, model, X, is_train)


def forward_padded(
    choose: ChooseConversion, model: Model, X: Any, is_train: bool
) -> Tuple[Any, Callable]:
    """convert_forward, with pad between the sequences of a list."""
    if isinstance(X, (list, tuple)) and model.attrs["pad"]:
        conversion = ListAsArray(model.ops, X, pad=model.attrs["pad"])
        return run_converted(model.layers[0], X, is_train, conversion)
    return convert_forward(choose, model, X, is_train)


def init(model: Model[SeqT, SeqT], X: Optional[SeqT] = None, Y: Optional[SeqT] = None) -> None:
    convert_init(choose_conversion, model, X, Y)
