"""CupyOps: softmax, layer normalization and maxout, each row by itself."""

from __future__ import annotations

from typing import Any

from .cuda_geometry import parts_of
from .cupy_arrays import ACCUMULATORS, contiguous, kernel_dtype, launch, write_result
from .cupy_elementwise import UNIT_INTERVAL
from .device_facts import remember
from .ops_activations import _check_same_shape, _check_width


def is_last_axis(axis: Any, X: Any) -> bool:
    """Whether axis is the last one of X, and that one is not empty."""
    return X.ndim > 0 and axis in (-1, X.ndim - 1) and X.shape[-1] > 0


class RowKernels:
    """The part of CupyOps that normalizes rows, or takes their largest pieces."""

    xp: Any
    _check_in_range: Any

    def softmax(self, x, *, inplace: bool = False, axis=-1, temperature: float = 1.0):
        """As Ops.softmax."""
        dtype = kernel_dtype(x)
        if dtype is None or not is_last_axis(axis, x) or temperature == 0:
            Y = super().softmax(  # type: ignore[misc]
                x, inplace=inplace, axis=axis, temperature=temperature
            )
            return remember(Y, limits=UNIT_INTERVAL)
        cols = x.shape[-1]
        rows, factor = x.size // cols, 1.0 / temperature
        if inplace:
            write_result(x, lambda y: launch("softmax", dtype, y, y, rows, cols, factor), self.xp)
            return remember(x, limits=UNIT_INTERVAL)
        x = contiguous(self.xp, x)
        Y = self.xp.empty(x.shape, dtype=x.dtype)
        launch("softmax", dtype, Y, x, rows, cols, factor)
        return remember(Y, limits=UNIT_INTERVAL)

    def backprop_softmax(self, Y, dY, *, axis=-1, temperature: float = 1.0):
        """As Ops.backprop_softmax."""
        dtype = kernel_dtype(Y, dY)
        _check_same_shape("backprop_softmax", dY, Y)
        if dtype is None or not is_last_axis(axis, Y) or temperature == 0:
            return super().backprop_softmax(  # type: ignore[misc]
                Y, dY, axis=axis, temperature=temperature
            )
        y, dy, cols = contiguous(self.xp, Y), contiguous(self.xp, dY), Y.shape[-1]
        dX = self.xp.empty(y.shape, dtype=y.dtype)
        launch("backprop_softmax", dtype, dX, y, dy, y.size // cols, cols, 1.0 / temperature)
        return dX

    def layer_norm(self, X, G, b):
        """As Ops.layer_norm; mean and rstd of float16 and bfloat16 rows are float32."""
        _check_width("layer_norm", X, G, b)
        dtype, cols = kernel_dtype(X, G, b), X.shape[-1]
        if dtype is None or X.size == 0:
            return super().layer_norm(X, G, b)  # type: ignore[misc]
        xp, x = self.xp, contiguous(self.xp, X)
        Y = xp.empty(x.shape, dtype=x.dtype)
        mean = xp.empty(x.shape[:-1], dtype=ACCUMULATORS[dtype])
        rstd = xp.empty(x.shape[:-1], dtype=ACCUMULATORS[dtype])
        G, b = contiguous(xp, G), contiguous(xp, b)
        launch("layer_norm", dtype, Y, mean, rstd, x, G, b, x.size // cols, cols)
        return Y, mean, rstd

    def backprop_layer_norm(self, dY, X, mean, rstd, G):
        """As Ops.backprop_layer_norm."""
        _check_same_shape("backprop_layer_norm", dY, X)
        _check_width("backprop_layer_norm", X, G)
        dtype = kernel_dtype(dY, X, G)
        of_rows = mean.shape == rstd.shape == X.shape[:-1]
        if dtype is None or X.size == 0 or not of_rows:
            return super().backprop_layer_norm(dY, X, mean, rstd, G)  # type: ignore[misc]
        xp, cols, sums = self.xp, X.shape[-1], ACCUMULATORS[dtype]
        rows = X.size // cols
        parts = parts_of(rows)
        mean, rstd = (
            xp.ascontiguousarray(mean, dtype=sums),
            xp.ascontiguousarray(rstd, dtype=sums),
        )
        dy, x, G = contiguous(xp, dY), contiguous(xp, X), contiguous(xp, G)
        dX = xp.empty(x.shape, dtype=x.dtype)
        partials = xp.empty((parts, 2, cols), dtype=sums)
        launch("backprop_layer_norm", dtype, dX, partials, dy, x, mean, rstd, G, rows, cols, parts)
        dG_db = xp.empty((2, cols), dtype=x.dtype)
        launch("sum_partials", dtype, dG_db, partials, parts, 2 * cols, 0)
        return dX, dG_db[0], dG_db[1]

    def maxout(self, X):
        """As Ops.maxout."""
        dtype = kernel_dtype(X)
        if dtype is None or X.ndim != 3 or X.shape[2] == 0:
            best, which = super().maxout(X)  # type: ignore[misc]
            return best, remember(which, limits=(0, X.shape[2] - 1))
        return self._maxout(dtype, contiguous(self.xp, X), None)

    def _maxout(self, dtype: str, X, bias):
        """maxout of X + bias: X (B, O, P) contiguous, bias (O, P) or None."""
        B, nO, nP = X.shape
        best = self.xp.empty((B, nO), dtype=X.dtype)
        which = self.xp.empty((B, nO), dtype="int32")
        launch("maxout", dtype, best, which, X, bias, B, nO, nP)
        return best, remember(which, limits=(0, nP - 1))

    def backprop_maxout(self, dY, which, P: int):
        """As Ops.backprop_maxout."""
        _check_same_shape("backprop_maxout", dY, which, names=("dY", "which"))
        self._check_in_range("backprop_maxout: which", which, P)
        dtype = kernel_dtype(dY)
        if dtype is None or dY.ndim != 2 or P < 1:
            return super().backprop_maxout(dY, which, P)  # type: ignore[misc]
        xp, dy = self.xp, contiguous(self.xp, dY)
        which = xp.ascontiguousarray(which, dtype="int32")
        dX = xp.empty((*dy.shape, P), dtype=dy.dtype)
        launch("backprop_maxout", dtype, dX, dy, which, dy.size, P, None)
        return dX
