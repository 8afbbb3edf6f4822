from typing import Callable, Tuple

from ..model import Model
from ..registration import registry
from ..types import Floats2d, Ragged
from .reduction import reduce_rows


@registry.layers("reduce_max.v1")
def reduce_max() -> Model[Ragged, Floats2d]:
    """Maximum of each column over each sequence.

    Input: a Ragged of nSeq sequences with data of `width` columns.
    Output: a new array (nSeq, width) of the data's dtype. The gradient
    goes to the first row that has the maximum. A sequence without rows is a ValueError.
    Raises ValueError for a negative length, IndexError if the lengths do not sum
    to the rows, TypeError if the input is not a Ragged.
    """
    return Model("reduce_max", forward)


def forward(
    model: Model[Ragged, Floats2d], Xr: Ragged, is_train: bool
) -> Tuple[Floats2d, Callable[[Floats2d], Ragged]]:
    ops = model.ops

    def reduce(X, lengths):
        Y, which = ops.reduce_max(X, lengths)
        return Y, lambda dY: ops.backprop_reduce_max(dY, which, lengths)

    return reduce_rows(reduce, Xr)
