"""CupyOps: the recurrence of an LSTM, a product and a kernel for each time step."""

from __future__ import annotations

from typing import Any, List, Tuple

from . import lstm
from .cupy_arrays import kernel_dtype, launch


class LstmKernels:
    """The part of CupyOps that runs one layer of an LSTM in one direction."""

    xp: Any
    gemm: Any
    gemm_add: Any
    add_column_sums: Any

    def _lstm_layer_forward(self, gates, Wh, h0, c0, size_at_t, backward: bool):
        dtype, xp = kernel_dtype(gates, Wh, h0, c0), self.xp
        if dtype is None or not gates.flags.c_contiguous or not gates.size:
            return lstm.layer_forward(self, gates, Wh, h0, c0, size_at_t, backward)
        width, c0 = Wh.shape[1], xp.ascontiguousarray(c0)
        H = xp.empty((gates.shape[0], width), dtype=gates.dtype)
        C = xp.empty_like(H)
        # What the initial state adds to the sums, the same for every sequence.
        from_h0 = self.gemm(h0.reshape((1, width)), Wh, trans2=True)
        for rows, previous in lstm._steps(size_at_t, backward):
            size, continuing = _sizes(rows, previous)
            a = gates[rows]
            if continuing:
                self.gemm_add(a[:continuing], H[previous], Wh, trans2=True)
            if continuing < size:
                a[continuing:] += from_h0
            launch(
                "lstm_step", dtype, a, C[rows], H[rows], C[previous], c0, size, continuing, width
            )
        return H, C

    def _lstm_layer_backward(self, dY, H, C, gates, Wh, h0, c0, size_at_t, backward: bool):
        arrays: Tuple[Any, ...] = (dY, H, C, gates, Wh, h0, c0)
        dtype, xp = kernel_dtype(*arrays), self.xp
        if dtype is None or not dY.size or not all(a.flags.c_contiguous for a in arrays):
            return lstm.layer_backward(self, dY, H, C, gates, Wh, h0, c0, size_at_t, backward)
        width = Wh.shape[1]
        d_gates = xp.empty_like(gates)
        dH, dC = dY.copy(), xp.zeros_like(dY)
        dc0, entering_sums = xp.zeros_like(c0), xp.zeros((1, gates.shape[1]), dtype=gates.dtype)
        steps: List[Any] = list(lstm._steps(size_at_t, backward))
        for rows, previous in reversed(steps):
            size, continuing = _sizes(rows, previous)
            if not size:
                continue
            da, entering = d_gates[rows], None
            if continuing < size:
                entering = xp.empty((size - continuing, width), dtype=dY.dtype)
            launch(
                "backprop_lstm_step", dtype, da, dC[previous], entering, dH[rows], dC[rows],
                gates[rows], C[rows], C[previous], c0, size, continuing, width,
            )  # fmt: skip
            if continuing:
                self.gemm_add(dH[previous], da[:continuing], Wh)
            if entering is not None:
                self.add_column_sums(entering_sums[0], da[continuing:])
                self.add_column_sums(dc0, entering)
        dh0 = self.gemm(entering_sums, Wh).reshape(h0.shape)
        return d_gates, dh0, dc0


def _sizes(rows: slice, previous: slice) -> Tuple[int, int]:
    """Rows of a step, and how many of them continue one of the step before."""
    return rows.stop - rows.start, previous.stop - previous.start
