"""What remap_ids and premap_ids share: arrays of ids come in, and ids have no gradient."""
from typing import Any, Callable, Optional

from ..backends import Ops
from .input_errors import describe


def select_ids(X: Any, column: Optional[int]) -> Any:
    """The ids of an array: the column of a 2-d array, or the 1-d array itself."""
    if column is not None:
        if X.ndim < 2 or not -X.shape[1] <= column < X.shape[1]:
            raise IndexError(f"there is no column {column} in the input, {describe(X)}")
        return X[:, column]
    if X.ndim != 1:
        raise ValueError(
            f"expected ids of shape (batch,), or the attr 'column' set, got {describe(X)}"
        )
    return X


def no_gradient(ops: Ops, X: Any) -> Callable[[Any], Any]:
    """A backprop for ids: zeros of the input's shape and dtype."""
    shape, dtype = X.shape, X.dtype
    return lambda dY: ops.alloc(shape, dtype=dtype)
