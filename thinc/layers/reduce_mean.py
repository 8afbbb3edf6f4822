from typing import Callable, Tuple

from ..model import Model
from ..registration import registry
from ..types import Floats2d, Ragged
from .reduction import reduce_rows


@registry.layers("reduce_mean.v1")
def reduce_mean() -> Model[Ragged, Floats2d]:
    """Mean of each column over each sequence.

    Input: a Ragged of nSeq sequences with data of `width` columns.
    Output: a new array (nSeq, width) of the data's dtype. A sequence without
    rows gives zeros.
    Raises ValueError for a negative length, IndexError if the lengths do not sum
    to the rows, TypeError if the input is not a Ragged.
    """
    return Model("reduce_mean", forward)


def forward(
    model: Model[Ragged, Floats2d], Xr: Ragged, is_train: bool
) -> Tuple[Floats2d, Callable[[Floats2d], Ragged]]:
    ops = model.ops

    def reduce(X, lengths):
        Y = ops.reduce_mean(X, lengths)
        return Y, lambda dY: ops.backprop_reduce_mean(dY, lengths)

    return reduce_rows(reduce, Xr)
