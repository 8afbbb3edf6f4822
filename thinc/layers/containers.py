"""Sums, slices and concatenations that work alike on every batch type.

A batch is an array, a list (or tuple) of batches, a Ragged or a Padded. All
functions return new objects and leave their arguments as they are.
"""
from functools import reduce
from typing import Any, Sequence

import numpy

from ..backends import Ops
from ..backends.array_memory import add
from ..types import Padded, Ragged
from .input_errors import describe


def ragged_like(X: Ragged, data: Any) -> Ragged:
    """A Ragged with X's lengths and X's trailing shape around `data`, X's data changed."""
    return Ragged(data.reshape((data.shape[0],) + tuple(X.data_shape[1:])), X.lengths)


def padded_like(X: Padded, data: Any) -> Padded:
    """A Padded with X's sizes and order around `data`."""
    return Padded(data, X.size_at_t, X.lengths, X.indices)


def add_batches(a: Any, b: Any) -> Any:
    """a + b, element by element; a list for lists and tuples.

    Raises ValueError if kinds, lengths or shapes differ: nothing is broadcast.
    """
    if isinstance(a, (list, tuple)):
        if not isinstance(b, (list, tuple)) or len(a) != len(b):
            raise _cannot_add(a, b)
        return [add_batches(x, y) for x, y in zip(a, b, strict=True)]
    if isinstance(a, Ragged):
        if not isinstance(b, Ragged) or a.data.shape != b.data.shape:
            raise _cannot_add(a, b)
        return ragged_like(a, add(a.data, b.data))
    if isinstance(a, Padded):
        if not isinstance(b, Padded) or a.data.shape != b.data.shape:
            raise _cannot_add(a, b)
        return padded_like(a, add(a.data, b.data))
    if getattr(a, "shape", None) != getattr(b, "shape", None):
        raise _cannot_add(a, b)
    return add(a, b)


def sum_batches(batches: Sequence[Any]) -> Any:
    """Sum of all; the batch itself if there is one."""
    return reduce(add_batches, batches)


def sum_gradients(gradients: Sequence[Any]) -> Any:
    """Sum of the gradients that several layers return for one input.

    Layers whose input has no gradient return [] (strings, ids in a list) or None (ids for
    a model of another framework), which count as nothing.
    """
    present = [d for d in gradients if d is not None and not (isinstance(d, list) and not d)]
    return sum_batches(present) if present else []


def join_columns(ops: Ops, batches: Sequence[Any]) -> Any:
    """The batches side by side, as wide as all together.

    Arrays are joined on axis 1, Padded on the last. Raises ValueError if
    kinds or row counts differ, or for arrays of one dimension.
    """
    first = batches[0]
    if isinstance(first, (list, tuple)):
        _check_kinds(batches, (list, tuple))
        if any(len(batch) != len(first) for batch in batches):
            raise ValueError(f"cannot join columns: {_describe_all(batches)}")
        return [join_columns(ops, items) for items in zip(*batches, strict=True)]
    if isinstance(first, Ragged):
        # Arrays have no lengths of their own, but may stand beside a Ragged.
        datas = [batch.data if isinstance(batch, Ragged) else batch for batch in batches]
        return Ragged(join_columns(ops, datas), first.lengths)
    if isinstance(first, Padded):
        _check_kinds(batches, (Padded,))
        datas = [batch.data for batch in batches]
        return padded_like(first, _concatenate(ops, datas, -1))
    if any(getattr(batch, "ndim", 0) < 2 for batch in batches):
        raise ValueError(
            f"cannot join columns: expected arrays of at least two dimensions, "
            f"got {_describe_all(batches)}"
        )
    try:
        return _concatenate(ops, batches, 1)
    except ValueError as e:
        raise ValueError(f"cannot join columns of {_describe_all(batches)}: {e}") from e


def _concatenate(ops: Ops, arrays: Sequence[Any], axis: int) -> Any:
    first = arrays[0]
    if type(first) is not numpy.ndarray or len({array.dtype for array in arrays}) != 1:
        return ops.xp.concatenate(arrays, axis=axis)
    shape = list(first.shape)
    shape[axis] = sum(array.shape[axis] for array in arrays)
    return numpy.concatenate(arrays, axis, ops.alloc(shape, dtype=first.dtype, zeros=False))


def batch_width(batch: Any) -> int:
    """Columns of a batch, on the axis that `join_columns` joins; 0 for an empty list."""
    if isinstance(batch, (list, tuple)):
        return batch_width(batch[0]) if len(batch) else 0
    if isinstance(batch, Ragged):
        return batch.data.shape[1]
    if isinstance(batch, Padded):
        return batch.data.shape[-1]
    return batch.shape[1]


def take_columns(ops: Ops, batch: Any, start: int, stop: int) -> Any:
    """Columns start to stop of a batch, contiguous: the inverse of `join_columns`."""
    if isinstance(batch, (list, tuple)):
        return [take_columns(ops, item, start, stop) for item in batch]
    if isinstance(batch, Ragged):
        return Ragged(ops.as_contig(batch.data[:, start:stop]), batch.lengths)
    if isinstance(batch, Padded):
        return padded_like(batch, ops.as_contig(batch.data[..., start:stop]))
    return ops.as_contig(batch[:, start:stop])


def _check_kinds(batches: Sequence[Any], kinds: tuple) -> None:
    if not all(isinstance(batch, kinds) for batch in batches):
        raise ValueError(f"cannot join columns of different kinds: {_describe_all(batches)}")


def _describe_all(batches: Sequence[Any]) -> str:
    return ", ".join(_describe(batch) for batch in batches)


def _describe(batch: Any) -> str:
    if isinstance(batch, (Ragged, Padded)):
        return f"{type(batch).__name__} of {describe(batch.data)}"
    return describe(batch)


def _cannot_add(a: Any, b: Any) -> ValueError:
    return ValueError(f"cannot add two batches of different shape: {_describe_all([a, b])}")
