"""The real rows of a Padded, without its padding: what recurrent layers compute on."""

from typing import Any, Callable, Tuple

import numpy

from ..model import Model
from ..types import Floats2d, Floats3d, Padded
from .containers import padded_like
from .input_errors import describe


class Packing:
    """The way between (time, batch, width) and the real rows alone, step by step.

    Columns are sorted by decreasing length, so the real rows of step t are the
    first size_at_t[t].
    """

    def __init__(self, ops: Any, Xp: Padded):
        self.steps, self.batch = Xp.data.shape[:2]
        sizes = Xp.size_at_t
        if sizes.shape != (self.steps,) or Xp.lengths.shape != (self.batch,):
            raise ValueError(
                f"expected size_at_t of shape ({self.steps},) and lengths of shape "
                f"({self.batch},), as data of shape {Xp.data.shape} has steps and sequences, "
                f"got {sizes.shape} and {Xp.lengths.shape}"
            )
        # On the host, which knows the sizes of what is on a GPU, too.
        real = numpy.arange(self.batch) < ops._on_host(sizes).reshape((-1, 1))
        rows = numpy.flatnonzero(real)
        self.size = rows.shape[0]
        total = int(ops._on_host(Xp.lengths).sum())
        if total != self.size:
            raise ValueError(f"lengths sum to {total}, but size_at_t to {self.size}")
        self.is_full = self.size == self.steps * self.batch
        self.rows = None if self.is_full else ops.asarray(rows)
        self.ops = ops

    def pack(self, data: Any) -> Any:
        """The real rows: (size, width)."""
        flat = data.reshape((self.steps * self.batch, data.shape[2]))
        return self.ops.as_contig(flat) if self.is_full else flat[self.rows]

    def unpack(self, rows: Floats2d) -> Floats3d:
        """(steps, batch, width), with zeros where nothing is real."""
        shape = (self.steps, self.batch, rows.shape[1])
        if self.is_full:
            return rows.reshape(shape)
        data = self.ops.alloc((self.steps * self.batch, rows.shape[1]), dtype=rows.dtype)
        data[self.rows] = rows
        return data.reshape(shape)


def empty_output(model: Model, Xp: Padded, nO: int) -> Tuple[Padded, Callable]:
    """The result without any time step: nothing to compute, nothing to learn."""
    shape = Xp.data.shape

    def backprop(dYp: Padded) -> Padded:
        return padded_like(dYp, model.ops.alloc(shape, dtype=dYp.data.dtype))

    return padded_like(Xp, model.ops.alloc(shape[:2] + (nO,), dtype=Xp.data.dtype)), backprop


def check_even(nO: int) -> None:
    if nO % 2:
        raise ValueError(f"a bidirectional LSTM expects an even nO, half for each way, got {nO}")


def check_input(Xp: Any, nI: int) -> None:
    if not isinstance(Xp, Padded):
        raise TypeError(f"expected a Padded of width nI={nI}, got {describe(Xp)}")
    data = Xp.data
    if data.ndim != 3:
        raise ValueError(f"expected data of shape (steps, batch, {nI}), got {describe(data)}")
    if data.shape[2] != nI and data.shape[0] * data.shape[1]:
        raise ValueError(f"input width {data.shape[2]} does not match nI={nI}")
