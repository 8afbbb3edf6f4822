from typing import Any, Callable, Optional, Tuple, Type, TypeVar, Union

from ..model import Model
from ..predictions import predicted_by
from ..registration import registry
from ..types import ArrayXd, Ints1d, ListXd, Padded, Ragged
from .input_errors import describe, is_array
from .sequence_conversion import (
    Conversion,
    ListAsRagged,
    PaddedAsRagged,
    PairAsRagged,
    convert_forward,
    convert_init,
    converted_prediction,
)

RaggedData = Tuple[ArrayXd, Ints1d]
SeqT = TypeVar("SeqT", bound=Union[Padded, Ragged, ListXd, RaggedData])


@registry.layers("with_ragged.v1")
def with_ragged(layer: Model[Ragged, Ragged]) -> Model[SeqT, SeqT]:
    """Run a layer that takes a Ragged on batches of sequences.

    Input: a Ragged (passed on as it is), a Padded, a list of arrays, or a tuple (data,
    lengths); the output is of the same kind. Hence a tuple of two arrays is not a batch
    of two sequences; other tuples are, and so is an array of two dimensions or more,
    along its first axis. For these the output is a list.
    Raises TypeError for any other input.
    """
    # No dims: thinc 8 declares none, and could not load a file that has them.
    return Model(f"with_ragged({layer.name})", forward, init=init, layers=[layer])


def choose_conversion(X: Any) -> Optional[Type[Conversion]]:
    if isinstance(X, Ragged):
        return None
    if isinstance(X, Padded):
        return PaddedAsRagged
    if isinstance(X, tuple) and len(X) == 2:
        return PairAsRagged
    if isinstance(X, (list, tuple)) or (is_array(X) and X.ndim > 1):
        return ListAsRagged
    raise TypeError(
        f"expected a Ragged, Padded, list of arrays or tuple (data, lengths), got {describe(X)}"
    )


@predicted_by(converted_prediction(choose_conversion))
def forward(model: Model[SeqT, SeqT], X: SeqT, is_train: bool) -> Tuple[SeqT, Callable]:
    return convert_forward(choose_conversion, model, X, is_train)


def init(model: Model[SeqT, SeqT], X: Optional[SeqT] = None, Y: Optional[SeqT] = None) -> None:
    convert_init(choose_conversion, model, X, Y)
