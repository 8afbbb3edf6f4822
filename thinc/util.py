"""Helpers without a better home, and by tradition the names of several other modules."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass
from typing import Any, Callable, Iterator, Optional, Tuple, Union

import numpy

from . import compat
from .backends.selection import gpu_is_available as gpu_is_available
from .backends.selection import prefer_gpu as prefer_gpu
from .backends.selection import require_cpu as require_cpu
from .backends.selection import require_gpu as require_gpu
from .backends.selection import set_active_gpu as set_active_gpu
from .data_validation import DATA_VALIDATION as DATA_VALIDATION
from .data_validation import DataValidationError as DataValidationError
from .data_validation import data_validation as data_validation
from .data_validation import validate_fwd_input_output as validate_fwd_input_output
from .interop import assert_jax_installed as assert_jax_installed
from .interop import assert_mxnet_installed as assert_mxnet_installed
from .interop import assert_pytorch_installed as assert_pytorch_installed
from .interop import assert_tensorflow_installed as assert_tensorflow_installed
from .interop import copy_array as copy_array
from .interop import get_array_module as get_array_module
from .interop import get_jax_default_device as get_jax_default_device
from .interop import get_torch_default_device as get_torch_default_device
from .interop import is_cupy_array as is_cupy_array
from .interop import is_jax_array as is_jax_array
from .interop import is_mxnet_array as is_mxnet_array
from .interop import is_mxnet_gpu_array as is_mxnet_gpu_array
from .interop import is_numpy_array as is_numpy_array
from .interop import is_tensorflow_array as is_tensorflow_array
from .interop import is_tensorflow_gpu_array as is_tensorflow_gpu_array
from .interop import is_torch_array as is_torch_array
from .interop import is_torch_cuda_array as is_torch_cuda_array
from .interop import is_torch_gpu_array as is_torch_gpu_array
from .interop import is_torch_mps_array as is_torch_mps_array
from .interop import is_xp_array as is_xp_array
from .interop import jax2xp as jax2xp
from .interop import mxnet2xp as mxnet2xp
from .interop import tensorflow2xp as tensorflow2xp
from .interop import to_numpy as to_numpy
from .interop import torch2xp as torch2xp
from .interop import xp2jax as xp2jax
from .interop import xp2mxnet as xp2mxnet
from .interop import xp2tensorflow as xp2tensorflow
from .interop import xp2torch as xp2torch
from .types import ArgsKwargs, FloatsXd, IntsXd, Padded, Ragged

BATCH_SIZE = 128


def __getattr__(name: str) -> Any:
    # Flags such as util.has_cupy_gpu, looked up when they are asked for.
    if name.startswith("has_"):
        return getattr(compat, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# ---- randomness --------------------------------------------------------------------


def fix_random_seed(seed: int = 0) -> None:
    """Seed every random generator in use: Python's, numpy's, PyTorch's and CuPy's.

    Seeds out of a generator's range are reduced to it.
    """
    import random

    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    if compat.has_torch:
        compat.torch.manual_seed(seed % (2**64 - 1))
    if compat.has_cupy_gpu:
        compat.cupy.random.seed(seed % 2**32)
        if compat.has_torch_cuda_gpu:
            compat.torch.cuda.manual_seed_all(seed % (2**64 - 1))
            compat.torch.backends.cudnn.deterministic = True
            compat.torch.backends.cudnn.benchmark = False


# ---- data ----------------------------------------------------------------------------


def minibatch(items: Any, size: Union[int, Iterator[int]] = 8) -> Iterator[Any]:
    """Consecutive batches of items: slices of a sequence, lists from an iterator.

    size: an int, or an iterator of ints that are used in turn. Raises ValueError for
    a size below 1.
    """
    sizes = iter(lambda: size, None) if isinstance(size, (int, numpy.integer)) else iter(size)
    if hasattr(items, "__len__") and hasattr(items, "__getitem__"):
        start = 0
        while start < len(items):
            stop = start + _batch_size(sizes)
            yield items[start:stop]
            start = stop
        return
    iterator = iter(items)
    while True:
        count = _batch_size(sizes)
        batch = [item for _, item in zip(range(count), iterator, strict=False)]
        if not batch:
            return
        yield batch


def _batch_size(sizes: Iterator[Any]) -> int:
    try:
        size = int(next(sizes))
    except StopIteration:
        raise ValueError("The batch sizes ended before the data did.") from None
    if size < 1:
        raise ValueError(f"A batch size must be at least 1, got {size}.")
    return size


def get_shuffled_batches(
    X: Any, Y: Any, batch_size: Union[int, Iterator[int]] = BATCH_SIZE
) -> Iterator[Tuple[Any, Any]]:
    """Batches (X[rows], Y[rows]) that visit all rows once, in a random order.

    X, Y: arrays with equally many rows. The order comes from numpy's global
    generator and is new on every call. The last batch may be smaller.
    Raises ValueError if X and Y differ in length.
    """
    if len(X) != len(Y):
        raise ValueError(f"X has {len(X)} rows, but Y has {len(Y)}.")
    order = numpy.arange(len(X), dtype="int32")
    numpy.random.shuffle(order)
    for rows in minibatch(order, batch_size):
        yield X[rows], Y[rows]


def evaluate_model_on_arrays(
    model: Any, inputs: Any, labels: Any, batch_size: int = BATCH_SIZE
) -> float:
    """The share of rows whose highest score is at the right class: between 0 and 1.

    labels: one-hot rows (n, classes), or class indices (n,). No rows give 0.0.
    Raises ValueError if inputs and labels differ in length.
    """
    if len(inputs) != len(labels):
        raise ValueError(f"There are {len(inputs)} inputs, but {len(labels)} labels.")
    correct = 0.0
    for rows in minibatch(range(len(inputs)), batch_size):
        batch = slice(rows[0], rows[-1] + 1)
        guesses = model.predict(inputs[batch]).argmax(axis=1)
        truths = labels[batch]
        truths = truths.argmax(axis=1) if truths.ndim > 1 else truths
        correct += float((guesses == truths).sum())
    return correct / len(inputs) if len(inputs) else 0.0


def to_categorical(
    Y: IntsXd, n_classes: Optional[int] = None, *, label_smoothing: float = 0.0
) -> FloatsXd:
    """Labels as one-hot rows: float32 of shape Y.shape + (n_classes,).

    Y: integer (or bool) labels of any shape. n_classes: by default the highest label
    plus one. label_smoothing: so much is taken from the label's class and shared by
    the others. Szegedy et al. (2015), arXiv:1512.00567.
    Raises ValueError for n_classes or label_smoothing out of range and for negative
    labels, IndexError for labels >= n_classes and labels that are no integers.
    """
    xp = get_array_module(Y)
    if Y.dtype.kind not in "iub":
        raise IndexError(f"Labels must be integers, got {Y.dtype}.")
    labels = Y.astype("int64")
    if n_classes is None:
        n_classes = int(labels.max()) + 1 if labels.size else 0
    _check_smoothing(label_smoothing, n_classes, labels.size)
    if labels.size and int(labels.min()) < 0:
        raise ValueError(f"Labels must not be negative, got {int(labels.min())}.")
    if labels.size and int(labels.max()) >= n_classes:
        raise IndexError(f"Label {int(labels.max())} is out of range for {n_classes} classes.")
    others = label_smoothing / (n_classes - 1) if label_smoothing else 0.0
    rows = xp.full((labels.size, n_classes), others, dtype="float32")
    rows[xp.arange(labels.size), labels.ravel()] = 1.0 - label_smoothing
    return rows.reshape((*Y.shape, n_classes))


def _check_smoothing(smoothing: float, n_classes: int, n_labels: int) -> None:
    if smoothing < 0.0:
        raise ValueError("Label-smoothing parameter has to be greater than or equal to 0")
    if smoothing == 0.0 and n_classes < 1 and n_labels:
        raise ValueError("n_classes should be at least 1")
    if smoothing > 0.0 and n_classes <= 1:
        raise ValueError(
            "n_classes should be greater than 1 when label smoothing is enabled,"
            f"but {n_classes} was provided."
        )
    if n_classes > 1 and smoothing >= (n_classes - 1) / n_classes:
        raise ValueError(
            f"For {n_classes} classes label_smoothing parameter has to be less than "
            f"{(n_classes - 1) / n_classes}, but found {smoothing}."
        )


def get_width(X: Any, *, dim: int = -1) -> int:
    """How many features X has.

    Arrays: the size along dim; a 1-d array holds labels, hence its maximum plus one
    (0 if empty). Ragged and Padded: of their data. Lists and tuples: of the first
    item, 0 if empty. Raises ValueError for anything else.
    """
    if isinstance(X, (Ragged, Padded)):
        return get_width(X.data, dim=dim)
    if hasattr(X, "shape") and hasattr(X, "ndim"):
        if X.ndim == 0:
            return 0
        if X.ndim == 1:
            return int(X.max()) + 1 if X.shape[0] else 0
        return X.shape[dim]
    if isinstance(X, (list, tuple)):
        return get_width(X[0], dim=dim) if X else 0
    raise ValueError(
        "Cannot get width of object: has neither shape nor __getitem__: it is no array, "
        f"Ragged, Padded, list or tuple but {type(X)}."
    )


@dataclass
class ArrayInfo:
    """Shape and dtype of an array, to compare another with."""

    shape: Tuple[int, ...]
    dtype: Any

    @classmethod
    def from_array(cls, arr: Any) -> ArrayInfo:
        return cls(shape=arr.shape, dtype=arr.dtype)

    def check_consistency(self, arr: Any) -> None:
        """Raise ValueError if arr has another shape or dtype."""
        if arr.shape != self.shape:
            raise ValueError(f"Shape mismatch in backprop. Y: {self.shape}, dY: {arr.shape}")
        if arr.dtype != self.dtype:
            raise ValueError(f"Type mismatch in backprop. Y: {self.dtype}, dY: {arr.dtype}")


# ---- nested values -------------------------------------------------------------------


def convert_recursive(
    is_match: Callable[[Any], bool], convert_item: Callable[[Any], Any], obj: Any
) -> Any:
    """obj with every value that matches replaced by convert_item(value).

    Lists, tuples, dicts (keys too) and ArgsKwargs are rebuilt; what matches is not
    searched further, and everything else is returned as it is.
    """
    if is_match(obj):
        return convert_item(obj)
    convert = functools.partial(convert_recursive, is_match, convert_item)
    if isinstance(obj, ArgsKwargs):
        return ArgsKwargs.from_items([(convert(key), convert(value)) for key, value in obj.items()])
    if isinstance(obj, dict):
        return {convert(key): convert(value) for key, value in obj.items()}
    if isinstance(obj, list):
        return [convert(item) for item in obj]
    if isinstance(obj, tuple):
        return tuple(convert(item) for item in obj)
    return obj


def iterate_recursive(is_match: Callable[[Any], bool], obj: Any) -> Iterator[Any]:
    """The values that convert_recursive would convert, in its order."""
    if is_match(obj):
        yield obj
    elif isinstance(obj, (ArgsKwargs, dict)):
        for key, value in obj.items():
            yield from iterate_recursive(is_match, key)
            yield from iterate_recursive(is_match, value)
    elif isinstance(obj, (list, tuple)):
        for item in obj:
            yield from iterate_recursive(is_match, item)


# ---- small tools -----------------------------------------------------------------------


def partial(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[..., Any]:
    """functools.partial that keeps the function's docstring."""
    bound = functools.partial(func, *args, **kwargs)
    bound.__doc__ = func.__doc__
    return bound


@contextlib.contextmanager
def make_tempfile(mode: str = "r") -> Iterator[Any]:
    """An open temporary file with a name; closed and removed at the end of the block."""
    import os
    import tempfile

    file = tempfile.NamedTemporaryFile(mode=mode, delete=False)
    try:
        yield file
    finally:
        file.close()
        os.remove(file.name)


@contextlib.contextmanager
def use_nvtx_range(message: str, id_color: int = -1) -> Iterator[None]:
    """Mark the block as a range for NVIDIA's profilers. Does nothing without CuPy."""
    if not compat.has_cupy:
        yield
        return
    compat.cupy.cuda.nvtx.RangePush(message, id_color)
    try:
        yield
    finally:
        compat.cupy.cuda.nvtx.RangePop()
