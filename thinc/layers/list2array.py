from typing import Callable, List, Tuple

from ..model import Model
from ..registration import registry
from ..types import Array2d
from .sequence_conversion import ListAsArray


@registry.layers("list2array.v1")
def list2array() -> Model[List[Array2d], Array2d]:
    """Put the arrays of a list end to end.

    Input: a list or tuple of arrays that agree in all axes but the first.
    Output: a new array with all rows. An empty list gives (0, 0) floats.
    Raises ValueError if the arrays differ in width, or are no arrays.
    """
    return Model("list2array", forward)


def forward(
    model: Model[List[Array2d], Array2d], Xs: List[Array2d], is_train: bool
) -> Tuple[Array2d, Callable[[Array2d], List[Array2d]]]:
    conversion = ListAsArray(model.ops, Xs)
    return conversion.enter(Xs), conversion.leave_gradient
