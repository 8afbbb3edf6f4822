"""What the families of CUDA operations share: which arrays a kernel takes, and launching."""

from __future__ import annotations

from typing import Any, Callable, Optional, Sequence, Tuple

import numpy

from . import cuda_launch
from .cuda_kernels import NR_PARAMS, STORAGE

# The dtypes that arrays of floats may have for a kernel; sums are kept in the other column.
ACCUMULATORS = {dtype: "float64" if dtype == "float64" else "float32" for dtype in STORAGE}
INT32 = numpy.dtype("int32")


def launch(kernel: str, types: Any, *arguments: Any) -> None:
    """Start a kernel of cuda_kernels.KERNELS: see there for its arguments."""
    cuda_launch.launch(kernel, types, *arguments)


def kernel_dtype(*arrays: Any) -> Optional[str]:
    """The name of the dtype that all arrays have, if there are kernels for it."""
    dtype = arrays[0].dtype
    name = dtype.name
    if name not in STORAGE:
        return None
    for array in arrays[1:]:
        if array.dtype != dtype:
            return None
    return name


def contiguous(xp: Any, X: Any) -> Any:
    """X itself if its elements lie one after another, else a copy."""
    return X if X.flags.c_contiguous else xp.ascontiguousarray(X)


def is_on_device(xp: Any, *arrays: Any) -> bool:
    """Whether all of these are arrays of the device."""
    return all(isinstance(array, xp.ndarray) for array in arrays)


def padded_params(params: Sequence[float]) -> Tuple[float, ...]:
    """A formula's parameters as the kernels take them: always four."""
    return (*map(float, params), *(0.0,) * (NR_PARAMS - len(params)))


def write_result(X: Any, compute: Callable[[Any], None], xp: Any) -> Any:
    """Let compute(Y) fill X; by way of a contiguous array if X is none. Returns X.

    compute may read what was in X from Y.
    """
    Y = contiguous(xp, X)
    compute(Y)
    if Y is not X:
        X[...] = Y
    return X
