from typing import Callable, Tuple, cast

from ..model import Model
from ..registration import registry
from ..types import Floats2d
from .input_errors import check_array
from .row_blocks import rowwise
from .width import keeps_width


@registry.layers("softmax_activation.v1")
def softmax_activation() -> Model[Floats2d, Floats2d]:
    """Softmax over the last axis, with its true gradient: dX = Y (dY - sum(Y dY)).

    Input and output: floats of any shape. (The Softmax layer, in contrast, expects the
    gradient of the logits.) Raises TypeError if the input is no array, ValueError if
    the last axis is empty.
    """
    return Model("softmax_activation", forward)


@rowwise
@keeps_width
def forward(model: Model, X: Floats2d, is_train: bool) -> Tuple[Floats2d, Callable]:
    check_array(X, "an array of floats")
    ops = model.ops
    Y = cast(Floats2d, ops.softmax(X, inplace=False))

    def backprop(dY: Floats2d) -> Floats2d:
        return cast(Floats2d, ops.backprop_softmax(Y, dY))

    return Y, backprop
