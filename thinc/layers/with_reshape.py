from typing import Any, Callable, Optional, Tuple, TypeVar

from ..model import Model
from ..registration import registry
from ..types import Array3d, Array4d
from .child_dims import copy_dims_up
from .input_errors import check_array, describe

InT = TypeVar("InT", Array3d, Array4d)


@registry.layers("with_reshape.v1")
def with_reshape(layer: Model) -> Model[InT, InT]:
    """Run a layer that takes 2-d arrays on arrays of more dimensions.

    Input: an array (..., nI) of at least two dimensions. The layer gets all rows as
    (rows, nI) and gives (rows, nO). Output: an array (..., nO).
    Raises TypeError for any other input, ValueError for an array of one dimension.
    """
    return Model(
        f"with_reshape({layer.name})",
        forward,
        init=init,
        layers=[layer],
        dims={"nO": None, "nI": None},
    )


def forward(model: Model[InT, InT], X: InT, is_train: bool) -> Tuple[InT, Callable[[InT], InT]]:
    rows = _as_rows(X)
    shape: Tuple[int, ...] = X.shape
    Y, backprop_layer = model.layers[0](rows, is_train)

    def backprop(dY: InT) -> InT:
        return backprop_layer(_as_rows(dY)).reshape(shape)

    return Y.reshape((*shape[:-1], Y.shape[-1])), backprop


def init(model: Model[InT, InT], X: Optional[InT] = None, Y: Optional[InT] = None) -> None:
    model.layers[0].initialize(
        X=None if X is None else _as_rows(X), Y=None if Y is None else _as_rows(Y)
    )
    copy_dims_up(model)


def _as_rows(X: Any) -> Any:
    check_array(X, "an array of shape (..., nI)")
    if X.ndim < 2:
        raise ValueError(f"expected an array of shape (..., nI), got {describe(X)}")
    n_rows = 1
    for size in X.shape[:-1]:
        n_rows *= size
    return X.reshape((n_rows, X.shape[-1]))
