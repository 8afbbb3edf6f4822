from typing import Callable, Tuple, cast

from ..model import Model
from ..registration import registry
from ..types import FloatsXdT
from .input_errors import check_array
from .row_blocks import rowwise
from .width import keeps_width


@registry.layers("sigmoid_activation.v1")
def sigmoid_activation() -> Model[FloatsXdT, FloatsXdT]:
    """Y = 1 / (1 + e^-X), element by element, X clipped to +-20.

    Input and output: floats of any shape. Raises TypeError if the input is no array.
    """
    return Model("sigmoid_activation", forward)


@rowwise
@keeps_width
def forward(model: Model, X: FloatsXdT, is_train: bool) -> Tuple[FloatsXdT, Callable]:
    check_array(X, "an array of floats")
    ops = model.ops
    Y = cast(FloatsXdT, ops.sigmoid(X, inplace=False))

    def backprop(dY: FloatsXdT) -> FloatsXdT:
        return cast(FloatsXdT, ops.backprop_sigmoid(dY, Y, inplace=False))

    return Y, backprop
