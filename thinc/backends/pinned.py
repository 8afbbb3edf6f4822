"""Batches on their way to the device, through memory that the device can read by itself.

An ordinary copy from the host goes through a buffer of CuPy's on the stream that also
computes. Here the copies have a stream of their own, so that the next batches arrive
while the device works on this one.
"""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Tuple

import numpy

from ..types import ArgsKwargs, Padded, Pairs, Ragged
from .device_facts import remember_upload


class Sent(NamedTuple):
    """A batch that is being copied. ready(): it, for use on the stream that asks."""

    batch: Any
    uploader: Uploader
    event: Any

    def ready(self) -> Any:
        """The batch. The current stream waits for the copy, the host does not."""
        self.uploader.xp.cuda.get_current_stream().wait_event(self.event)
        return self.batch


class Uploader:
    """Copies batches on a stream of its own.

    slots: how many batches may be on their way at once: so many sets of page-locked
        buffers are kept, each as large as the largest batch it has held.
    """

    def __init__(self, ops: Any, slots: int):
        self.ops = ops
        self.xp = ops.xp
        self.stream = ops.xp.cuda.Stream(non_blocking=True)
        self.slots: List[Tuple[Dict[int, Any], Any]] = [({}, None) for _ in range(slots)]
        self.next = 0

    def send(self, batch: Any) -> Sent:
        """Start to copy all numpy arrays of a batch: in lists, tuples, dicts, Ragged ..."""
        cuda = self.xp.cuda
        buffers, copied = self.slots[self.next]
        if copied is not None and not copied.done:
            copied.synchronize()  # the buffers are still being read
        # Memory that the device's work has just given back may still be in use there.
        self.stream.wait_event(cuda.get_current_stream().record())
        moved = self._move(batch, buffers, [0])
        event = self.stream.record()
        self.slots[self.next] = (buffers, event)
        self.next = (self.next + 1) % len(self.slots)
        return Sent(moved, self, event)

    def _move(self, data: Any, buffers: Dict[int, Any], count: List[int]) -> Any:
        def move(item: Any) -> Any:
            return self._move(item, buffers, count)

        if isinstance(data, numpy.ndarray) and data.dtype.kind in "fiubc":
            count[0] += 1
            return self._copy(data, buffers, count[0])
        if isinstance(data, Ragged):
            return Ragged(move(data.dataXd), move(data.lengths))
        if isinstance(data, Padded):
            return Padded(*map(move, (data.data, data.size_at_t, data.lengths, data.indices)))
        if isinstance(data, Pairs):
            return Pairs(move(data.one), move(data.two))
        if isinstance(data, ArgsKwargs):
            return ArgsKwargs(move(data.args), move(data.kwargs))
        if isinstance(data, dict):
            return {key: move(value) for key, value in data.items()}
        if isinstance(data, (list, tuple)):
            return type(data)(map(move, data)) if type(data) in (list, tuple) else data
        return data

    def _copy(self, data: numpy.ndarray, buffers: Dict[int, Any], number: int) -> Any:
        """An array on the device that the stream will fill. It belongs to the other stream."""
        array = self.xp.empty(data.shape, dtype=data.dtype)
        if data.nbytes:
            buffer = buffers.get(number)
            if buffer is None or buffer.nbytes < data.nbytes:
                from .. import compat

                buffer = buffers[number] = compat.cupyx.empty_pinned((data.nbytes,), dtype="uint8")
            pinned = buffer[: data.nbytes].view(data.dtype).reshape(data.shape)
            pinned[...] = data
            array.data.copy_from_host_async(pinned.ctypes.data, data.nbytes, self.stream)
        return remember_upload(array, data)
