from typing import Any, Callable, Optional, Sequence, Tuple, TypeVar, Union

from ..model import Model, deserialize_attr
from ..predictions import predicted_by
from ..types import ArrayXd, FloatsXd, IntsXd
from .input_errors import check_array
from .row_blocks import reaches

AxisIndex = Union[int, slice, Sequence[int], IntsXd]
Index = Union[AxisIndex, Tuple[AxisIndex, ...]]
ArrayT = TypeVar("ArrayT", bound=ArrayXd)


class TupleIndex(tuple):
    """A tuple as index attribute: one that is still a tuple when it has been saved and loaded.

    X[1, 2] is an element and X[[1, 2]] two rows, but a file knows only lists.
    """


@deserialize_attr.register(TupleIndex)
def _load_tuple(_: Any, value: bytes, name: str, model: Model) -> Any:
    loaded = deserialize_attr(None, value, name, model)
    return TupleIndex(loaded) if isinstance(loaded, list) else loaded


def array_getitem(index: Index) -> Model[ArrayT, ArrayT]:
    """Index into an array: Y = X[index].

    index: an int, a slice, a list or array of ints, a mask, or a tuple of these: whatever
        arrays can be indexed with. It is kept in attrs, and saved unless it holds a slice.
    Input: an array. Output: as numpy has it, which may be a view of the input.
    backprop gives zeros of X's shape and dtype with dY added at the indexed places.
    Raises IndexError if the index does not fit, TypeError if the input is not an array.
    """
    return _getitem("array-getitem", index)


def ints_getitem(index: Index) -> Model[IntsXd, IntsXd]:
    """array_getitem for integers."""
    return _getitem("ints-getitem", index)


def floats_getitem(index: Index) -> Model[FloatsXd, FloatsXd]:
    """array_getitem for floats."""
    return _getitem("floats-getitem", index)


def _getitem(name: str, index: Index) -> Model:
    attrs = {"index": TupleIndex(index) if isinstance(index, tuple) else index}
    return Model(name, forward, attrs=attrs)


def _reach_of_index(model: Model) -> Optional[int]:
    """0 if the index takes all rows, and something of each: X[:, 3]."""
    index = model.attrs["index"]
    if not isinstance(index, tuple) or not index or not isinstance(index[0], slice):
        return None
    return 0 if index[0] in (slice(None), slice(0, None)) else None


def _predict(model: Model, X: Any) -> Any:
    check_array(X, "an array")
    return X[model.attrs["index"]]


@predicted_by(_predict)
@reaches(_reach_of_index)
def forward(model: Model[ArrayT, ArrayT], X: ArrayT, is_train: bool) -> Tuple[ArrayT, Callable]:
    check_array(X, "an array")
    ops = model.ops
    index = model.attrs["index"]
    shape, dtype = X.shape, X.dtype

    def backprop(dY: ArrayT) -> ArrayT:
        dX = ops.alloc(shape, dtype=dtype)
        if _may_repeat(index):
            places = ops.xp.arange(dX.size).reshape(shape)[index]
            ops.scatter_add(dX.reshape(-1), places.reshape(-1), dY.astype(dtype).reshape(-1))
        else:
            dX[index] = dY
        return dX

    return X[index], backprop


def _may_repeat(index: Any) -> bool:
    """Whether an index may select an element twice: if it has lists or arrays of ints."""
    if isinstance(index, tuple):
        return any(_may_repeat(part) for part in index)
    if isinstance(index, list):
        return True
    return getattr(index, "ndim", 0) > 0 and index.dtype.kind != "b"
