"""CupyOps: the CUDA backend.

CuPy is imported when an instance is made or the class's `xp` is asked for, and
where it is missing the instance has no array module: `xp` is None. Each family of
operations has a file of its own, cupy_*.py; the kernels are in cuda/.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import Any, Deque, Iterable, Iterator, Optional

import numpy

from .. import compat
from ..registration import registry
from ..types import DeviceTypes, DTypes
from .captures import refuse_if_capturing
from .cupy_elementwise import ElementwiseKernels
from .cupy_layouts import LayoutKernels
from .cupy_lstm import LstmKernels
from .cupy_products import ProductKernels
from .cupy_rows import RowKernels
from .cupy_sequences import SequenceKernels
from .cupy_tables import TableKernels
from .cupy_training import TrainingKernels
from .device_facts import facts_of, gpu_checks, inherit_limits, limits_of, remember_upload
from .ops import Ops
from .ops_arrays import in_byte_order


@registry.ops("CupyOps")
class CupyOps(
    ElementwiseKernels,
    RowKernels,
    ProductKernels,
    SequenceKernels,
    LayoutKernels,
    TableKernels,
    TrainingKernels,
    LstmKernels,
    Ops,
):
    """Ops on a CUDA device. Can be constructed without CuPy; then its use fails.

    device_id is a label: thinc.api.set_active_gpu selects the device.

    The arrays of floats that kernels take are float16, bfloat16, float32 and float64; sums
    are kept in float32, of float64 in float64. Other dtypes, and what has no kernel, are
    computed by the generic Ops on CuPy's arrays. No operation waits for the device, except
    to check arrays whose content or limits the host does not know: see set_gpu_checks.
    """

    name = "cupy"
    xp: Any = None
    _xp2: Any = None

    def __init__(self, device_type: DeviceTypes = "gpu", device_id: int = 0, **kwargs: Any) -> None:
        super().__init__(device_type=device_type, device_id=device_id, **kwargs)
        self._tables = {}
        if type(self).xp is None and compat.has_cupy:
            CupyOps.xp = compat.cupy
            CupyOps._xp2 = compat.cupyx

    def __getstate__(self) -> dict:
        # The tables are addresses on this process's device.
        return {**self.__dict__, "_tables": {}}

    # ---- between host and device --------------------------------------------------

    def asarray(self, data: Any, dtype: Optional[DTypes] = None) -> Any:
        """data as an array on the device; CUDA tensors of other frameworks without a copy.

        Copying from the host does not wait. Of small arrays of integers the host remembers
        what it has sent, see device_facts.
        """
        from ..interop import device_tensor_as_cupy

        xp = self.xp
        if isinstance(data, xp.ndarray):
            if dtype is None or data.dtype == dtype:
                return data
            return self._converted(data, dtype)
        shared = device_tensor_as_cupy(data)
        if shared is not None:
            return shared if dtype is None or shared.dtype == dtype else shared.astype(dtype)
        if hasattr(data, "numpy") and not isinstance(data, numpy.ndarray):
            # A tensor on the CPU, of which PyTorch's may have to be detached.
            data = (data.detach() if hasattr(data, "detach") else data).numpy()
        if not _holds_device_arrays(data, xp):
            refuse_if_capturing("an array is sent from the host")
        if not isinstance(data, numpy.ndarray) and not _holds_device_arrays(data, xp):
            data = numpy.array(data, dtype=dtype)
        if not isinstance(data, numpy.ndarray):
            return xp.array(data) if dtype is None else xp.array(data, dtype=dtype)
        if dtype is not None and data.dtype != dtype:
            data = data.astype(dtype)
        return remember_upload(xp.array(data), data)

    def _converted(self, data: Any, dtype: Any) -> Any:
        """data.astype(dtype), of which as much is known as of data."""
        result = data.astype(dtype)
        limits = limits_of(data)
        if data.dtype.kind not in "iu" or result.dtype.kind not in "iu" or limits is None:
            return result
        bounds = numpy.iinfo(result.dtype)
        if limits[0] < bounds.min or limits[1] > bounds.max:
            return result
        host = facts_of(data).host
        return inherit_limits(result, data) if host is None else remember_upload(result, host)

    def to_numpy(self, data: Any, *, byte_order: Optional[str] = None) -> Any:
        """A copy of data on the host, once the device has finished it."""
        if not isinstance(data, numpy.ndarray):
            refuse_if_capturing("an array is copied to the host")
            data = data.get()
        return in_byte_order(data, byte_order)

    def _take(self, sequence, indices):
        batch = super()._take(sequence, indices)
        if isinstance(batch, self.xp.ndarray) and isinstance(sequence, self.xp.ndarray):
            return inherit_limits(batch, sequence)
        return batch

    def prefetch(self, batches: Iterable[Any], *, ahead: int = 2) -> Iterator[Any]:
        """As Ops.prefetch: copies from page-locked memory, while the device computes."""
        from .pinned import Uploader

        if ahead < 1:
            raise ValueError(f"prefetch: ahead must be at least 1, got {ahead}.")
        uploader = Uploader(self, ahead + 1)
        waiting: Deque[Any] = deque()
        source = iter(batches)
        for batch in itertools.islice(source, ahead):
            waiting.append(uploader.send(batch))
        while waiting:
            moved = waiting.popleft()
            for batch in itertools.islice(source, 1):
                waiting.append(uploader.send(batch))
            yield moved.ready()

    # ---- checks -----------------------------------------------------------------------

    def _check_in_range(self, what: str, indices, limit: int) -> None:
        """IndexError unless all indices lie in [0, limit), as far as set_gpu_checks says."""
        if not indices.size:
            return
        limits = limits_of(indices)
        if limits is not None and limits[0] >= 0 and limits[1] < limit:
            return
        if gpu_checks() is not False:
            # The limits of what an array is a part of need not be its own.
            super()._check_in_range(what, indices, limit)


def _holds_device_arrays(data: Any, xp: Any) -> bool:
    return isinstance(data, (list, tuple)) and any(
        isinstance(item, xp.ndarray) or _holds_device_arrays(item, xp) for item in data
    )
