"""CupyOps: sequences side by side, by one kernel however many there are."""

from __future__ import annotations

from typing import Any, Sequence, Tuple

import numpy

from ..types import Padded
from .captures import refuse_if_capturing
from .cupy_arrays import contiguous, launch
from .device_facts import remember_upload


class LayoutKernels:
    """The part of CupyOps that pads lists of sequences."""

    xp: Any
    _on_host: Any

    def pad(self, seqs, round_to: int = 1):
        """As Ops.pad."""
        if len(seqs) < 2 or round_to < 1 or not alike(self.xp, seqs):
            return super().pad(seqs, round_to)  # type: ignore[misc]
        longest = -(-max(len(seq) for seq in seqs) // round_to) * round_to
        return self._side_by_side(seqs, len(seqs), longest, time_first=False)

    def insert_into(self, shape: Tuple[int, ...], Xs):
        """As Ops.insert_into."""
        fits = len(Xs) > 1 and len(shape) > 1 and len(Xs) <= shape[0] and alike(self.xp, Xs)
        if not fits or Xs[0].shape[1:] != tuple(shape[2:]) or max(map(len, Xs)) > shape[1]:
            return super().insert_into(shape, Xs)  # type: ignore[misc]
        return self._side_by_side(Xs, shape[0], shape[1], time_first=False)

    def list2padded(self, seqs):
        """As Ops.list2padded."""
        if len(seqs) < 2 or not alike(self.xp, seqs) or seqs[0].ndim != 2:
            padded = super().list2padded(seqs)  # type: ignore[misc]
            if len(seqs) == 1:
                n = len(seqs[0])
                remember_upload(padded.size_at_t, numpy.ones(n, dtype="int32"))
                remember_upload(padded.lengths, numpy.array([n], dtype="int32"))
                remember_upload(padded.indices, numpy.zeros(1, dtype="int32"))
            return padded
        order = sorted(range(len(seqs)), key=lambda i: (len(seqs[i]), i), reverse=True)
        lengths = numpy.array([len(seqs[i]) for i in order], dtype="int32")
        size_at_t = (lengths[None, :] > numpy.arange(lengths[0])[:, None]).sum(axis=1)
        ordered = [seqs[i] for i in order]
        data: Any = self._side_by_side(ordered, len(seqs), int(lengths[0]), time_first=True)
        return Padded(
            data,
            self._sent(size_at_t.astype("int32")),
            self._sent(lengths),
            self._sent(numpy.array(order, dtype="int32")),
        )

    def _sent(self, numbers: numpy.ndarray) -> Any:
        return remember_upload(self.xp.asarray(numbers), numbers)

    def _side_by_side(self, seqs: Sequence[Any], nr_seq: int, longest: int, time_first: bool):
        """Sequences of one dtype and trailing shape, zeros after each."""
        from .cuda_launch import copy_unit

        xp, first = self.xp, seqs[0]
        trailing = first.shape[1:]
        shape = (longest, nr_seq) if time_first else (nr_seq, longest)
        out = xp.empty((*shape, *trailing), dtype=first.dtype)
        if not out.size:
            return out
        seqs = [contiguous(xp, seq) for seq in seqs]  # kept until the kernel is launched
        numbers = numpy.zeros((2, nr_seq), dtype="int64")
        numbers[0, : len(seqs)] = [seq.data.ptr if seq.size else 0 for seq in seqs]
        numbers[1, : len(seqs)] = [len(seq) for seq in seqs]
        row_bytes = first.dtype.itemsize * int(numpy.prod(trailing, dtype="int64"))
        unit = copy_unit(row_bytes, out.data.ptr, *map(int, numbers[0]))
        refuse_if_capturing("where sequences lie is sent from the host")
        sent = xp.asarray(numbers)
        launch(
            "pad_rows", unit, out, sent[0], sent[1], nr_seq, longest, row_bytes // int(unit),
            int(time_first),
        )  # fmt: skip
        return out


def alike(xp: Any, seqs: Any) -> bool:
    """Whether all are arrays on the device, of one dtype and trailing shape."""
    first = seqs[0]
    if not isinstance(first, xp.ndarray) or first.ndim < 1:
        return False
    trailing, dtype = first.shape[1:], first.dtype
    return all(
        isinstance(seq, xp.ndarray)
        and seq.ndim
        and seq.shape[1:] == trailing
        and seq.dtype == dtype
        for seq in seqs
    )
