"""What the families of CUDA operations share: which arrays a kernel takes, and launching."""

from __future__ import annotations

import functools
from typing import Any, Callable, Optional, Sequence, Tuple

# Said here again, and not taken from cuda_kernels.STORAGE, INDICES and NR_PARAMS, because
# these are only imported when the first kernel is launched. A test compares them.
# dtypes of arrays of floats that kernels take -> the dtype that sums of them are kept in.
ACCUMULATORS = {
    "float16": "float32",
    "bfloat16": "float32",
    "float32": "float32",
    "float64": "float64",
}
INDEX_DTYPES = ("int32", "uint32", "int64", "uint64")
NR_PARAMS = 4


@functools.cache
def _launcher() -> Callable[..., None]:
    from .cuda_launch import launch

    return launch


def launch(kernel: str, types: Any, *arguments: Any) -> None:
    """Start a kernel of cuda_kernels.KERNELS: see there for its arguments."""
    _launcher()(kernel, types, *arguments)


def kernel_dtype(*arrays: Any) -> Optional[str]:
    """The name of the dtype that all arrays have, if there are kernels for it."""
    dtype = arrays[0].dtype
    name = dtype.name
    if name not in ACCUMULATORS:
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
