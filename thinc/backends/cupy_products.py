"""CupyOps: matrix products by cuBLAS, with a kernel for what follows them."""

from __future__ import annotations

from typing import Any

import numpy

from .. import compat
from .captured_blas import product
from .captures import NotCapturable, capture_workspace
from .cuda_geometry import parts_of
from .cupy_arrays import ACCUMULATORS, contiguous, kernel_dtype, launch, padded_params
from .formulas import FORMULAS
from .ops_products import _check_output, _operands

BLAS_DTYPES = ("float32", "float64")


class ProductKernels:
    """The part of CupyOps that multiplies matrices.

    float16 is multiplied with sums in float32. bfloat16 is widened to float32 first, since
    not every CuPy multiplies it.
    """

    xp: Any
    maxout: Any
    _maxout: Any

    def gemm(self, x, y, out=None, trans1=False, trans2=False):
        """As Ops.gemm. Raises ValueError for arrays on the host."""
        for operand in (x, y):
            if isinstance(operand, numpy.ndarray):
                raise ValueError(
                    "gemm: CupyOps can't multiply numpy arrays: convert them with asarray() first."
                )
        space = capture_workspace()
        if space is not None:
            return self._captured_gemm(space, x, y, out, trans1, trans2)
        if x.dtype.name == "bfloat16" and y.dtype == x.dtype:
            product = self.gemm(x.astype("float32"), y.astype("float32"), None, trans1, trans2)
            if out is None:
                return product.astype(x.dtype)
            _check_output(out, *_operands(x, y, trans1, trans2))
            out[...] = product
            return out
        return super().gemm(x, y, out=out, trans1=trans1, trans2=trans2)  # type: ignore[misc]

    def _captured_gemm(self, space, x, y, out, trans1, trans2):
        a, b = _operands(x, y, trans1, trans2)
        shape = (a.shape[0], b.shape[1])
        if out is not None:
            _check_output(out, a, b)
        if kernel_dtype(x, y) is None:
            raise NotCapturable(f"{x.dtype} is multiplied by {y.dtype}, which cuBLAS cannot do")
        whole = out if out is not None and out.flags.c_contiguous else None
        target = self.xp.empty(shape, dtype=x.dtype) if whole is None else whole
        if 0 in (*shape, a.shape[1]):
            target.fill(0)
        else:
            x, y = _readable(self.xp, x), _readable(self.xp, y)
            product(target, x, y, trans1, trans2, 0.0, space)
        if out is not None and out is not target:
            out[...] = target
            return out
        return target

    def gemm_add(self, out, x, y, trans1=False, trans2=False):
        """As Ops.gemm_add, added within the product."""
        a, b = _operands(x, y, trans1, trans2)
        _check_output(out, a, b)
        if (
            kernel_dtype(out, x, y) not in BLAS_DTYPES
            or 0 in a.shape
            or 0 in b.shape
            or not all(array.flags.c_contiguous or array.flags.f_contiguous for array in (x, y))
            or not out.flags.c_contiguous
            or any(out.data.mem is array.data.mem for array in (x, y))
        ):
            if out.dtype.name == "bfloat16" or capture_workspace() is not None:
                out += self.gemm(x, y, None, trans1, trans2)
                return out
            return super().gemm_add(out, x, y, trans1, trans2)  # type: ignore[misc]
        space = capture_workspace()
        if space is not None:
            product(out, x, y, trans1, trans2, 1.0, space)
            return out
        transposed = ("T" if trans1 else "N", "T" if trans2 else "N")
        compat.cublas.gemm(*transposed, x, y, out=out, alpha=1.0, beta=1.0)
        return out

    def add_column_sums(self, out, X):
        """As Ops.add_column_sums; the order of additions is always the same."""
        dtype = kernel_dtype(out, X)
        if (
            dtype is None
            or X.ndim != 2
            or out.shape != X.shape[1:]
            or X.size == 0
            or not out.flags.c_contiguous
        ):
            return super().add_column_sums(out, X)  # type: ignore[misc]
        rows, cols = X.shape
        parts = parts_of(rows)
        partials = self.xp.empty((parts, cols), dtype=ACCUMULATORS[dtype])
        launch("column_partials", dtype, partials, contiguous(self.xp, X), rows, cols, parts)
        launch("sum_partials", dtype, out, partials, parts, cols, 1)
        return out

    def affine_activation(self, name: str, X, W, b, params=()):
        """As Ops.affine_activation: the product, then one kernel for bias and activation."""
        formula = FORMULAS[name]
        dtype = kernel_dtype(X, W, b)
        if dtype is None or W.ndim != 2 or b.shape != W.shape[:1]:
            return super().affine_activation(name, X, W, b, params)  # type: ignore[misc]
        P = self.gemm(X, W, trans2=True)
        keeps_P = formula.slope_of == "X"
        Y = self.xp.empty(P.shape, dtype=P.dtype) if keeps_P else P
        kept, values = (P if keeps_P else None), padded_params(params or formula.defaults)
        b = contiguous(self.xp, b)
        launch("add_bias", (name, dtype), Y, kept, P, b, *P.shape, *values)
        return Y, kept

    def affine_maxout(self, X, W, b):
        """As Ops.affine_maxout: the product, then one kernel for bias and maximum."""
        dtype = kernel_dtype(X, W, b)
        if dtype is None or W.ndim != 3 or b.shape != W.shape[:2] or W.shape[1] == 0:
            return super().affine_maxout(X, W, b)  # type: ignore[misc]
        nO, nP, nI = W.shape
        P = self.gemm(X, W.reshape((nO * nP, nI)), trans2=True)
        return self._maxout(dtype, P.reshape((X.shape[0], nO, nP)), contiguous(self.xp, b))


def _readable(xp: Any, X: Any) -> Any:
    """X as cuBLAS can read it: rows or columns one after another."""
    return X if X.flags.c_contiguous or X.flags.f_contiguous else xp.ascontiguousarray(X)
