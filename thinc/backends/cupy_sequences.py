"""CupyOps: windows and reductions of sequences laid end to end."""

from __future__ import annotations

from typing import Any, Tuple

import numpy

from .captures import refuse_if_capturing
from .cupy_arrays import contiguous, kernel_dtype, launch, write_result
from .device_facts import NOTHING, facts_of, limits_of, remember
from .ops_sequences import _check_rows, _check_window


class SequenceKernels:
    """The part of CupyOps that works on sequences laid end to end.

    Lengths are checked on the host, which remembers those it has sent to the device or has
    seen once (device_facts); only lengths that nobody has seen make it wait.
    """

    xp: Any
    asarray: Any
    _check_lengths: Any
    _check_gradient: Any
    _check_in_range: Any

    # ---- lengths -----------------------------------------------------------------

    def _on_host(self, numbers) -> Any:
        """Lengths or indices as a numpy array or a list."""
        if not isinstance(numbers, self.xp.ndarray):
            return numbers
        host = facts_of(numbers).host
        if host is None:
            refuse_if_capturing("lengths are copied to the host")
            host = numbers.get()
            if numbers.ndim == 1 and numbers.dtype.kind in "iu":
                remember(numbers, host=host)
        return host

    def _offsets(self, lengths, counts: numpy.ndarray) -> Any:
        """Where sequences start, and the last ends: int64 (nSeq + 1,) on the device."""
        known = facts_of(lengths) if isinstance(lengths, self.xp.ndarray) else NOTHING
        if known.offsets is not None:
            return known.offsets
        offsets = self._offsets_on_device(counts)
        if isinstance(lengths, self.xp.ndarray):
            remember(lengths, offsets=offsets)
        return offsets

    def _offsets_on_device(self, counts: numpy.ndarray) -> Any:
        host = numpy.zeros(len(counts) + 1, dtype="int64")
        numpy.cumsum(counts, out=host[1:])
        refuse_if_capturing("where sequences start is sent from the host")
        return self.xp.asarray(host)

    def _windows(self, who: str, lengths, rows: int) -> Tuple[Any, int]:
        """(offsets, number of sequences); no offsets if all rows are one sequence."""
        if lengths is None:
            return None, 1
        counts = self._check_lengths(who, lengths, rows)
        return self._offsets(lengths, counts), len(counts)

    # ---- windows -------------------------------------------------------------------

    def seq2col(self, seq, nW: int, *, lengths=None):
        """As Ops.seq2col."""
        _check_window("seq2col", seq, nW)
        dtype = kernel_dtype(seq)
        if dtype is None:
            return super().seq2col(seq, nW, lengths=lengths)  # type: ignore[misc]
        rows, width = seq.shape
        offsets, nr_seq = self._windows("seq2col", lengths, rows)
        Y = self.xp.empty((rows, (2 * nW + 1) * width), dtype=seq.dtype)
        launch("seq2col", dtype, Y, contiguous(self.xp, seq), offsets, nr_seq, rows, width, nW)
        return Y

    def backprop_seq2col(self, dY, nW: int, *, lengths=None):
        """As Ops.backprop_seq2col."""
        _check_window("backprop_seq2col", dY, nW)
        dtype, pieces = kernel_dtype(dY), 2 * nW + 1
        if dtype is None or dY.shape[1] % pieces:
            return super().backprop_seq2col(dY, nW, lengths=lengths)  # type: ignore[misc]
        rows, width = dY.shape[0], dY.shape[1] // pieces
        offsets, nr_seq = self._windows("backprop_seq2col", lengths, rows)
        dX = self.xp.empty((rows, width), dtype=dY.dtype)
        dy = contiguous(self.xp, dY)
        launch("backprop_seq2col", dtype, dX, dy, offsets, nr_seq, rows, width, nW)
        return dX

    # ---- reductions ------------------------------------------------------------------

    def reduce_sum(self, X, lengths):
        """As Ops.reduce_sum."""
        if kernel_dtype(X) is None or X.ndim != 2:
            return super().reduce_sum(X, lengths)  # type: ignore[misc]
        return self._reduce("reduce_sum", "sum", X, lengths)

    def reduce_mean(self, X, lengths):
        """As Ops.reduce_mean."""
        if kernel_dtype(X) is None or X.ndim != 2:
            return super().reduce_mean(X, lengths)  # type: ignore[misc]
        return self._reduce("reduce_mean", "mean", X, lengths)

    def _reduce(self, who: str, kind: str, X, lengths):
        counts = self._check_lengths(who, lengths, X.shape[0])
        Y = self.xp.empty((len(counts), X.shape[1]), dtype=X.dtype)
        arguments = (contiguous(self.xp, X), self._offsets(lengths, counts), len(counts), *X.shape)
        launch("reduce", (kind, kernel_dtype(X)), Y, *arguments)
        return Y

    def reduce_max(self, X, lengths):
        """As Ops.reduce_max."""
        dtype = kernel_dtype(X)
        if dtype is None or X.ndim != 2:
            return super().reduce_max(X, lengths)  # type: ignore[misc]
        counts = self._check_lengths("reduce_max", lengths, X.shape[0], minimum=1)
        Y = self.xp.empty((len(counts), X.shape[1]), dtype=X.dtype)
        which = self.xp.empty(Y.shape, dtype="int32")
        arguments = (contiguous(self.xp, X), self._offsets(lengths, counts), len(counts), *X.shape)
        launch("reduce_max", dtype, Y, which, *arguments)
        # Of all sequences together; of each by itself it is known where they came from.
        longest = int(counts.max()) if len(counts) else 1
        return Y, remember(which, limits=(0, longest - 1), lengths=counts)

    def backprop_reduce_sum(self, d_sums, lengths):
        """As Ops.backprop_reduce_sum."""
        if kernel_dtype(d_sums) is None or d_sums.ndim != 2:
            return super().backprop_reduce_sum(d_sums, lengths)  # type: ignore[misc]
        counts = self._check_gradient("backprop_reduce_sum", d_sums, lengths)
        return self._spread("sum", d_sums, None, counts, self._offsets(lengths, counts))

    def backprop_reduce_mean(self, d_means, lengths):
        """As Ops.backprop_reduce_mean."""
        if kernel_dtype(d_means) is None or d_means.ndim != 2:
            return super().backprop_reduce_mean(d_means, lengths)  # type: ignore[misc]
        counts = self._check_gradient("backprop_reduce_mean", d_means, lengths)
        return self._spread("mean", d_means, None, counts, self._offsets(lengths, counts))

    def backprop_reduce_max(self, d_maxes, which, lengths):
        """As Ops.backprop_reduce_max."""
        who = "backprop_reduce_max"
        counts = self._check_gradient(who, d_maxes, lengths, minimum=1)
        if which.shape != d_maxes.shape:
            raise ValueError(f"{who}: which has shape {which.shape}, but d_maxes {d_maxes.shape}.")
        if not self._is_which_of(which, counts):
            # Looks at the values on the device, if these are to be looked at.
            self._check_rows_inside(who, which, counts)
        if kernel_dtype(d_maxes) is None or d_maxes.ndim != 2:
            return super().backprop_reduce_max(d_maxes, which, lengths)  # type: ignore[misc]
        which = self.xp.ascontiguousarray(which, dtype="int32")
        return self._spread("max", d_maxes, which, counts, self._offsets(lengths, counts))

    def _is_which_of(self, which, counts: numpy.ndarray) -> bool:
        """Whether `which` is known to be what reduce_max returned for such lengths."""
        lengths = facts_of(which).lengths
        return lengths is not None and numpy.array_equal(lengths, counts)

    def _check_rows_inside(self, who: str, which, counts: numpy.ndarray) -> None:
        from .device_facts import gpu_checks

        if gpu_checks() is False or not which.size:
            return
        limits = limits_of(which)
        if limits is not None and limits[0] >= 0 and limits[1] < counts.min():
            return
        on_device = self.xp.asarray(counts)[:, None]
        if bool(((which < 0) | (which >= on_device)).any()):
            raise IndexError(f"{who}: every entry of which must lie inside its sequence.")

    def _spread(self, kind: str, dY, which, counts: numpy.ndarray, offsets):
        rows = int(counts.sum())
        dX = self.xp.empty((rows, dY.shape[1]), dtype=dY.dtype)
        types, dy = (kind, kernel_dtype(dY)), contiguous(self.xp, dY)
        launch("spread", types, dX, dy, which, offsets, len(counts), rows, dY.shape[1])
        return dX

    def reduce_first(self, X, lengths):
        """As Ops.reduce_first."""
        counts = self._check_lengths("reduce_first", lengths, X.shape[0], minimum=1)
        if not len(counts) or kernel_dtype(X) is None or X.ndim != 2:
            Y, starts_ends = super().reduce_first(X, lengths)  # type: ignore[misc]
        else:
            Y = self._place("first", X, lengths, counts)
            starts_ends = None
        offsets = numpy.zeros(len(counts) + 1 if len(counts) else 0, dtype="int32")
        numpy.cumsum(counts, out=offsets[1:])
        if starts_ends is None:
            starts_ends = self.xp.asarray(offsets)
        return Y, remember(starts_ends, host=offsets)

    def reduce_last(self, X, lengths):
        """As Ops.reduce_last."""
        counts = self._check_lengths("reduce_last", lengths, X.shape[0], minimum=1)
        if not len(counts) or kernel_dtype(X) is None or X.ndim != 2:
            Y, lasts = super().reduce_last(X, lengths)  # type: ignore[misc]
        else:
            Y = self._place("last", X, lengths, counts)
            lasts = None
        host = numpy.cumsum(counts) - 1
        if lasts is None:
            lasts = self.xp.asarray(host)
        return Y, remember(lasts, host=host.astype(lasts.dtype))

    def _place(self, place: str, X, lengths, counts: numpy.ndarray):
        Y = self.xp.empty((len(counts), X.shape[1]), dtype=X.dtype)
        arguments = (contiguous(self.xp, X), self._offsets(lengths, counts), len(counts), *X.shape)
        launch("reduce_place", (place, kernel_dtype(X)), Y, *arguments)
        return Y

    def backprop_reduce_first(self, d_firsts, starts_ends):
        """As Ops.backprop_reduce_first."""
        offsets = numpy.asarray(self._on_host(starts_ends))
        if len(offsets) < 2 or kernel_dtype(d_firsts) is None or d_firsts.ndim != 2:
            return self._put_rows("backprop_reduce_first", d_firsts, offsets[:-1], offsets[-1:])
        _check_rows("backprop_reduce_first", d_firsts, len(offsets) - 1)
        counts = numpy.diff(offsets.astype("int64"))
        if offsets[0] != 0 or counts.min() < 1:
            return self._put_rows("backprop_reduce_first", d_firsts, offsets[:-1], offsets[-1:])
        return self._spread("first", d_firsts, None, counts, self._offsets(starts_ends, counts))

    def backprop_reduce_last(self, d_lasts, lasts):
        """As Ops.backprop_reduce_last."""
        host = numpy.asarray(self._on_host(lasts))
        _check_rows("backprop_reduce_last", d_lasts, len(host))
        counts = numpy.diff(host.astype("int64"), prepend=-1)
        if not len(host) or kernel_dtype(d_lasts) is None or d_lasts.ndim != 2 or counts.min() < 1:
            return self._put_rows("backprop_reduce_last", d_lasts, host, host[-1:] + 1)
        return self._spread("last", d_lasts, None, counts, self._offsets(lasts, counts))

    def _put_rows(self, who: str, gradient, places: numpy.ndarray, end: numpy.ndarray):
        """Zeros, with the gradient's rows at the places; end[0] rows, or none."""
        _check_rows(who, gradient, len(places))
        rows = int(end[0]) if len(end) and len(places) else 0
        dX = self.xp.zeros((rows, *gradient.shape[1:]), dtype=gradient.dtype)
        if rows:
            dX[self.xp.asarray(places)] = gradient
        return dX

    # ---- softmax over sequences -----------------------------------------------------------

    def softmax_sequences(self, Xs, lengths, *, inplace: bool = False, axis: int = -1):
        """As Ops.softmax_sequences."""
        dtype = kernel_dtype(Xs)
        if dtype is None or Xs.ndim != 2:
            return super().softmax_sequences(  # type: ignore[misc]
                Xs, lengths, inplace=inplace, axis=axis
            )
        counts = self._check_lengths("softmax_sequences", lengths, Xs.shape[0])
        shape = (self._offsets(lengths, counts), len(counts), *Xs.shape)
        if inplace:
            return write_result(
                Xs, lambda Y: launch("softmax_sequences", dtype, Y, Y, *shape), self.xp
            )
        Y = self.xp.empty(Xs.shape, dtype=Xs.dtype)
        launch("softmax_sequences", dtype, Y, contiguous(self.xp, Xs), *shape)
        return Y

    def backprop_softmax_sequences(self, dY, Y, lengths):
        """As Ops.backprop_softmax_sequences."""
        dtype = kernel_dtype(dY, Y)
        if dtype is None or Y.ndim != 2 or dY.shape != Y.shape:
            return super().backprop_softmax_sequences(dY, Y, lengths)  # type: ignore[misc]
        counts = self._check_lengths("backprop_softmax_sequences", lengths, Y.shape[0])
        dX, dy, y = (
            self.xp.empty(Y.shape, dtype=Y.dtype),
            contiguous(self.xp, dY),
            contiguous(self.xp, Y),
        )
        offsets = self._offsets(lengths, counts)
        launch("backprop_softmax_sequences", dtype, dX, dy, y, offsets, len(counts), *Y.shape)
        return dX
