from typing import Callable, Tuple

from ..model import Model
from ..registration import registry
from ..types import Floats2d, Ragged
from .reduction import reduce_rows


@registry.layers("reduce_first.v1")
def reduce_first() -> Model[Ragged, Floats2d]:
    """Keep the first row of each sequence.

    Input: a Ragged of nSeq sequences with data of `width` columns.
    Output: a new array (nSeq, width) of the data's dtype. A sequence without rows
    is a ValueError.
    Raises ValueError for a negative length, IndexError if the lengths do not sum
    to the rows, TypeError if the input is not a Ragged.
    """
    return Model("reduce_first", forward)


def forward(
    model: Model[Ragged, Floats2d], Xr: Ragged, is_train: bool
) -> Tuple[Floats2d, Callable[[Floats2d], Ragged]]:
    ops = model.ops

    def reduce(X, lengths):
        Y, starts_ends = ops.reduce_first(X, lengths)
        return Y, lambda dY: ops.backprop_reduce_first(dY, starts_ends)

    return reduce_rows(reduce, Xr)
