from typing import Callable, List, Tuple

from ..model import Model
from ..registration import registry
from ..types import Array2d, Padded
from .sequence_conversion import ListAsPadded


@registry.layers("list2padded.v1")
def list2padded() -> Model[List[Array2d], Padded]:
    """Put the arrays of a list side by side, time first and the longest sequence first.

    Input: a list or tuple of arrays (length, width) of one width and dtype.
    Output: a Padded with data (time, batch, width). An empty list gives (0, 0, 0).
    Raises ValueError if widths or dtypes differ, IndexError for 1-d arrays.
    """
    return Model("list2padded", forward)


def forward(
    model: Model[List[Array2d], Padded], Xs: List[Array2d], is_train: bool
) -> Tuple[Padded, Callable[[Padded], List[Array2d]]]:
    conversion = ListAsPadded(model.ops, Xs)
    return conversion.enter(Xs), conversion.leave_gradient
