"""Matrix products inside of CUDA graphs.

CuPy calls no cuBLAS while a stream is capturing (cupy/cupy issue 6290), but cuBLAS allows
it. So a product that is captured calls the library itself, the same one that CuPy has
loaded, with CuPy's handle: https://docs.nvidia.com/cuda/cublas/#cuda-graphs-support.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
from typing import Any, Tuple

from .. import compat

# Of cublas_api.h and library_types.h: dtype -> (storage, arithmetic, type of alpha and beta).
TYPES = {
    "float16": (2, 68, ctypes.c_float),
    "bfloat16": (14, 68, ctypes.c_float),
    "float32": (0, 68, ctypes.c_float),
    "float64": (1, 70, ctypes.c_double),
}
NORMAL, TRANSPOSED = 0, 1
DEFAULT_ALGORITHM = -1
# What NVIDIA recommends for Hopper; without one of our own, a capture would allocate.
WORKSPACE_BYTES = 32 << 20
LARGEST_SIZE = 2**31 - 1


def product(out: Any, x: Any, y: Any, trans1: bool, trans2: bool, beta: float, space: Any) -> None:
    """out = op(x) op(y) + beta out, on the current stream, which is capturing.

    All three of one dtype of TYPES, and not empty; out C-contiguous, x and y too, or
    transposed. space: memory for cuBLAS to work in, WORKSPACE_BYTES of it.
    Raises ValueError for sizes of more than 31 bits, RuntimeError if cuBLAS fails.
    """
    M, N = out.shape
    K = x.shape[0] if trans1 else x.shape[1]
    if max(M, N, K) > LARGEST_SIZE:
        raise ValueError(f"cuBLAS multiplies sizes of up to 31 bits, got {(M, N, K)}.")
    # cuBLAS stores columns one after another. Read so, our out is its own transpose, which
    # is op(y)^T op(x)^T.
    first, first_stride = as_columns(y, trans2)
    second, second_stride = as_columns(x, trans1)
    _multiply(
        out.dtype.name, first, second, (N, M, K), y.data.ptr, first_stride, x.data.ptr,
        second_stride, beta, out.data.ptr, N, space,
    )  # fmt: skip


def as_columns(X: Any, transpose: bool) -> Tuple[int, int]:
    """How cuBLAS has to read op(X)^T, and the elements from one column to the next."""
    if X.flags.c_contiguous:
        return (TRANSPOSED if transpose else NORMAL), X.shape[1]
    return (NORMAL if transpose else TRANSPOSED), X.shape[0]


def _multiply(
    dtype: str,
    op_a: int,
    op_b: int,
    sizes: Tuple[int, int, int],
    a: int,
    lda: int,
    b: int,
    ldb: int,
    beta: float,
    c: int,
    ldc: int,
    space: Any,
) -> None:
    """cublasGemmEx with alpha 1, of addresses."""
    library, handle = _library(), ctypes.c_void_p(compat.cupy.cuda.device.get_cublas_handle())
    storage, arithmetic, number = TYPES[dtype]
    stream = ctypes.c_void_p(compat.cupy.cuda.get_current_stream().ptr)
    # Setting the stream takes the workspace away; so does CuPy's next call, hence no harm.
    _check("SetStream", library.cublasSetStream_v2(handle, stream))
    workspace = (ctypes.c_void_p(space.data.ptr), ctypes.c_size_t(space.nbytes))
    _check("SetWorkspace", library.cublasSetWorkspace_v2(handle, *workspace))
    status = library.cublasGemmEx(
        handle, op_a, op_b, *sizes, ctypes.byref(number(1.0)),
        ctypes.c_void_p(a), storage, lda, ctypes.c_void_p(b), storage, ldb,
        ctypes.byref(number(beta)), ctypes.c_void_p(c), storage, ldc, arithmetic,
        DEFAULT_ALGORITHM,
    )  # fmt: skip
    _check("GemmEx", status)


def _check(function: str, status: int) -> None:
    if status:
        raise RuntimeError(f"cublas{function} failed with status {status}")


@functools.cache
def _library() -> Any:
    """The cuBLAS that CuPy uses: what its extension module is linked with is found in it."""
    return ctypes.CDLL(importlib.import_module("cupy_backends.cuda.libs.cublas").__file__)
