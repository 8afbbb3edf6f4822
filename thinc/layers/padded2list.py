from typing import Callable, List, Tuple

from ..model import Model
from ..registration import registry
from ..types import Array2d, Padded
from .input_errors import describe
from .sequence_conversion import PaddedAsList


@registry.layers("padded2list.v1")
def padded2list() -> Model[Padded, List[Array2d]]:
    """The sequences of a Padded as a list of arrays, in their original order.

    Output: one array (length, width) for each sequence, without the padding. backprop
    gives a Padded with the sequences in the input's columns.
    Raises TypeError if the input is not a Padded.
    """
    return Model("padded2list", forward)


def forward(
    model: Model[Padded, List[Array2d]], Xp: Padded, is_train: bool
) -> Tuple[List[Array2d], Callable[[List[Array2d]], Padded]]:
    if not isinstance(Xp, Padded):
        raise TypeError(f"expected a Padded, got {describe(Xp)}")
    conversion = PaddedAsList(model.ops, Xp)
    return conversion.enter(Xp), conversion.leave_gradient
