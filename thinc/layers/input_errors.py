"""What a layer says about an input it cannot use.

The kernels refuse wrong input anyway; these functions turn the refusal into
words (what was expected, what came), so the hot path pays nothing for them.
The model adds the layer's place as the error passes.
"""
from typing import Any

import numpy


def is_array(value: Any) -> bool:
    """Whether this is a numpy or cupy array (not a list, Ragged, tensor...)."""
    # First of all for speed: the attribute of an array is a dict that would be made for it.
    return (
        type(value) is numpy.ndarray
        or hasattr(value, "__array_interface__")
        or hasattr(value, "__cuda_array_interface__")
    )


def describe(value: Any) -> str:
    """A value in a few words: 'int64 array of shape (4, 3)', 'list of length 2', 'None'."""
    if value is None:
        return "None"
    if is_array(value):
        return f"{value.dtype} array of shape {tuple(value.shape)}"
    kind = type(value).__name__
    try:
        return f"{kind} of length {len(value)}"
    except TypeError:
        return kind


def check_array(X: Any, expected: str) -> None:
    """Raise a TypeError unless X is an array. `expected` continues 'expected ...'."""
    if not is_array(X):
        raise TypeError(f"expected {expected}, got {describe(X)}")


def usable_rows(ops, X: Any, W: Any, error: Exception) -> Any:
    """X for another try with weights W, or the reason why it cannot be used.

    Called when a product of X and W, whose last axis is the input width nI, has
    failed with `error`. No rows of unknown width, as an empty list or Ragged
    gives them, are a legitimate batch: returns (0, nI) zeros.
    Raises TypeError if X is not an array, ValueError for its rank, width or
    dtype, and `error` itself if X is not to blame.
    """
    nI = W.shape[-1]
    expected = f"floats of shape (rows, {nI}) with nI={nI}"
    check_array(X, expected)
    if X.shape == (0, 0):
        return ops.alloc((0, nI), dtype=W.dtype)
    if X.ndim != 2:
        raise ValueError(f"expected {expected}, got {describe(X)}")
    if X.dtype.kind != "f":
        raise ValueError(f"expected {expected}, got {describe(X)}: convert it to {W.dtype}")
    if X.shape[1] != nI:
        raise ValueError(f"input width {X.shape[1]} does not match nI={nI}: got {describe(X)}")
    if X.dtype != W.dtype:
        raise ValueError(f"expected {W.dtype}, the weights' dtype, got {describe(X)}")
    raise error
