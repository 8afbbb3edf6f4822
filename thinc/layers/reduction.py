"""What the five reductions share: a Ragged in, one row per sequence out."""
from typing import Any, Callable, Tuple

from ..types import Floats2d, Ragged
from .input_errors import describe
from .sequence_conversion import ragged_maker

# Takes the rows and the lengths; returns the reduced rows and, from their
# gradient, the gradient of the rows.
Reduce = Callable[[Any, Any], Tuple[Floats2d, Callable[[Floats2d], Floats2d]]]


def reduce_rows(reduce: Reduce, Xr: Ragged) -> Tuple[Floats2d, Callable[[Floats2d], Ragged]]:
    """Run one reduction on the rows of a Ragged: the forward pass of a layer.

    The gradient is a Ragged with the lengths and the trailing shape of the input.
    Raises TypeError if the input is not a Ragged, ValueError in backprop if the
    gradient does not have the output's shape and dtype.
    """
    if not isinstance(Xr, Ragged):
        raise TypeError(f"expected a Ragged, got {describe(Xr)}")
    Y, backprop_rows = reduce(Xr.data, Xr.lengths)
    make_gradient = ragged_maker(Xr)
    shape, dtype = Y.shape, Y.dtype

    def backprop(dY: Floats2d) -> Ragged:
        if dY.shape != shape or dY.dtype != dtype:
            raise ValueError(
                f"expected a gradient of the output's shape {shape} and dtype {dtype}, "
                f"got {describe(dY)}"
            )
        return make_gradient(backprop_rows(dY))

    return Y, backprop
