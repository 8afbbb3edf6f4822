from typing import Callable, List, Tuple, cast

from ..model import Model
from ..registration import registry
from ..types import ArrayXd, ListXd, Ragged
from .sequence_conversion import ListAsRagged


@registry.layers("list2ragged.v1")
def list2ragged() -> Model[ListXd, Ragged]:
    """Put the arrays of a list end to end, with their lengths.

    Input: a list or tuple of arrays that agree in all axes but the first.
    Output: a Ragged, lengths int32. backprop gives a list of arrays shaped like the input's.
    Raises ValueError if the arrays differ in width, or are no arrays.
    """
    return Model("list2ragged", forward)


def forward(
    model: Model[ListXd, Ragged], Xs: ListXd, is_train: bool
) -> Tuple[Ragged, Callable[[Ragged], ListXd]]:
    conversion = ListAsRagged(model.ops, cast(List[ArrayXd], Xs))
    return conversion.enter(Xs), conversion.leave_gradient
