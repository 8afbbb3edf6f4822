from typing import Any, Callable, Tuple, TypeVar

from ..backends.array_memory import multiply
from ..model import Model
from ..predictions import predicted_by
from ..registration import registry
from ..types import Padded, Ragged
from .containers import padded_like, ragged_like
from .input_errors import describe, is_array
from .row_blocks import rowwise
from .width import keeps_width

InT = TypeVar("InT")


@registry.layers("Dropout.v1")
def Dropout(rate: float = 0.0) -> Model[InT, InT]:
    """While training, set each element to zero with probability `rate`, scale the others up.

    From Srivastava et al., 'Dropout', 2014. Elements that stay are divided by
    (1 - rate), so expectations do not change; prediction returns its input.
    Input: array, list or tuple of arrays, Ragged or Padded; the output is of the same
    kind (a list for a tuple). The mask is drawn from the ops' random generator.
    The rate can be changed through attrs["dropout_rate"] or `set_dropout_rate`;
    attrs["is_enabled"] = False switches the layer off.
    Raises TypeError for any other input.
    """
    return Model("dropout", forward, attrs={"dropout_rate": rate, "is_enabled": True})


@predicted_by(lambda model, X: X)
@rowwise
@keeps_width
def forward(model: Model, X: InT, is_train: bool) -> Tuple[InT, Callable]:
    if not is_train:
        return X, _identity
    attrs = model.attrs
    rate = attrs["dropout_rate"]
    if rate == 0 or not attrs["is_enabled"]:
        return X, _identity
    return _dropped(model.ops, X, rate)


def _dropped(ops, X: Any, rate: float) -> Tuple[Any, Callable]:
    if isinstance(X, Ragged):
        data, backprop_data = _dropped(ops, X.data, rate)
        return ragged_like(X, data), lambda dY: ragged_like(dY, backprop_data(dY.data))
    if isinstance(X, Padded):
        data, backprop_data = _dropped(ops, X.data, rate)
        return padded_like(X, data), lambda dY: padded_like(dY, backprop_data(dY.data))
    if isinstance(X, (list, tuple)):
        pairs = [_dropped(ops, item, rate) for item in X]
        return (
            [Y for Y, _ in pairs],
            lambda dYs: [backprop(dY) for (_, backprop), dY in zip(pairs, dYs, strict=True)],
        )
    if not is_array(X):
        raise TypeError(f"expected an array, a list, Ragged or Padded, got {describe(X)}")
    mask = ops.get_dropout_mask(X.shape, rate)
    return multiply(X, mask), lambda dY: multiply(dY, mask)


def _identity(dY: InT) -> InT:
    return dY
