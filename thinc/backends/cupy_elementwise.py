"""CupyOps: activations, dropout masks, running averages."""

from __future__ import annotations

from typing import Any

import numpy

from .captures import dropout_step
from .cupy_arrays import contiguous, kernel_dtype, launch, padded_params, write_result
from .device_facts import remember
from .ops_activations import _check_same_shape

UNIT_INTERVAL = (0.0, 1.0)


class ElementwiseKernels:
    """The part of CupyOps where each element of the result has its own formula."""

    xp: Any

    def _map(self, formula, X, params, inplace: bool):
        dtype = kernel_dtype(X)
        if dtype is None:
            return super()._map(formula, X, params, inplace)  # type: ignore[misc]
        types, params = (formula.name, dtype), padded_params(params)
        if inplace:
            return write_result(
                X, lambda Y: launch("map_values", types, Y, Y, Y.size, *params), self.xp
            )
        x = contiguous(self.xp, X)
        Y = self.xp.empty(x.shape, dtype=x.dtype)
        launch("map_values", types, Y, x, x.size, *params)
        return Y

    def _map_slope(self, formula, dY, Z, params, inplace: bool):
        _check_same_shape(f"backprop_{formula.name}", dY, Z)
        dtype = kernel_dtype(dY, Z)
        if dtype is None:
            return super()._map_slope(formula, dY, Z, params, inplace)  # type: ignore[misc]
        types, params, z = (formula.name, dtype), padded_params(params), contiguous(self.xp, Z)
        if inplace:
            return write_result(
                dY, lambda dX: launch("map_slopes", types, dX, dX, z, dX.size, *params), self.xp
            )
        dy = contiguous(self.xp, dY)
        dX = self.xp.empty(dy.shape, dtype=dy.dtype)
        launch("map_slopes", types, dX, dy, z, dy.size, *params)
        return dX

    def sigmoid(self, X, *, inplace: bool = False):
        """As Ops.sigmoid."""
        return remember(super().sigmoid(X, inplace=inplace), limits=UNIT_INTERVAL)  # type: ignore[misc]

    def backprop_relu(self, dY, Y, inplace: bool = False):
        """As Ops.backprop_relu."""
        from .formulas import RELU

        if kernel_dtype(dY, Y) is None:
            return super().backprop_relu(dY, Y, inplace)  # type: ignore[misc]
        return self._map_slope(RELU, dY, Y, (), inplace)

    def erf(self, X):
        """The error function. X's dtype is kept: integers are truncated."""
        from cupyx.scipy import special

        if X.dtype.kind != "f":
            return special.erf(X.astype("float64")).astype(X.dtype)
        return special.erf(X)

    def get_dropout_mask(self, shape, drop):
        """As Ops.get_dropout_mask, but for which random numbers are drawn.

        They come from a Philox generator (Salmon et al., 2011) on the device, whose seed is
        the next of numpy's global generator: so fix_random_seed decides, and nothing waits.
        """
        if drop is None or drop <= 0 or drop >= 1:
            return super().get_dropout_mask(shape, drop)  # type: ignore[misc]
        mask = self.xp.empty(shape, dtype="float32")
        launch("dropout_mask", (), mask, mask.size, float(drop), next_seed(), 0, dropout_step())
        return mask

    def update_averages(self, ema, weights, t: int, max_decay: float = 0.9999) -> None:
        """As Ops.update_averages."""
        dtype = kernel_dtype(weights)
        whole = ema.dtype == "float32" and ema.flags.c_contiguous and weights.flags.c_contiguous
        if dtype is None or not whole or ema.shape != weights.shape:
            super().update_averages(ema, weights, t, max_decay)  # type: ignore[misc]
            return
        decay = min((1.0 + t) / (10.0 + t), max_decay)
        launch("update_averages", dtype, ema, weights, ema.size, 1.0 - decay)


def next_seed() -> int:
    """63 random bits of numpy's global generator."""
    return int.from_bytes(numpy.random.bytes(8), "little") >> 1
