"""CupyOps: the CUDA backend. Here is what differs between NumPy and CuPy.

CuPy is imported when an instance is made or the class's `xp` is asked for, and
where it is missing the instance has no array module: `xp` is None.
"""

from typing import Any, Optional

import numpy

from .. import compat
from ..registration import registry
from ..types import DeviceTypes, DTypes
from .ops import Ops
from .ops_arrays import in_byte_order

SMALLEST_NORM = 1e-12


@registry.ops("CupyOps")
class CupyOps(Ops):
    """Ops on a CUDA device. Can be constructed without CuPy; then its use fails.

    device_id is a label: thinc.api.set_active_gpu selects the device.
    """

    name = "cupy"
    xp: Any = None
    _xp2: Any = None

    def __init__(self, device_type: DeviceTypes = "gpu", device_id: int = 0, **kwargs: Any) -> None:
        super().__init__(device_type=device_type, device_id=device_id, **kwargs)
        if type(self).xp is None and compat.has_cupy:
            CupyOps.xp = compat.cupy
            CupyOps._xp2 = compat.cupyx

    def asarray(self, data: Any, dtype: Optional[DTypes] = None) -> Any:
        """data as an array on the device; CUDA tensors of other frameworks without a copy."""
        from ..interop import device_tensor_as_cupy

        if not isinstance(data, self.xp.ndarray):
            shared = device_tensor_as_cupy(data)
            if shared is None:
                return self.xp.array(data) if dtype is None else self.xp.array(data, dtype=dtype)
            data = shared
        return data if dtype is None or data.dtype == dtype else data.astype(dtype)

    def to_numpy(self, data: Any, *, byte_order: Optional[str] = None) -> Any:
        """A copy of data on the host."""
        if not isinstance(data, numpy.ndarray):
            data = data.get()
        return in_byte_order(data, byte_order)

    def gemm(self, x, y, out=None, trans1=False, trans2=False):
        """As Ops.gemm. Raises ValueError for arrays on the host."""
        for operand in (x, y):
            if isinstance(operand, numpy.ndarray):
                raise ValueError(
                    "gemm: CupyOps can't multiply numpy arrays: convert them with asarray() first."
                )
        return super().gemm(x, y, out=out, trans1=trans1, trans2=trans2)

    def scatter_add(self, table, indices, values) -> None:
        """As Ops.scatter_add, atomically. Indices are not checked: that would make
        the host wait, and those outside the table wrap around."""
        self._xp2.scatter_add(table, indices, values)

    def clip_gradient(self, gradient, threshold: float):
        """As Ops.clip_gradient; the norm never reaches the host."""
        norm = self.xp.maximum(self.norm(gradient), SMALLEST_NORM)
        gradient *= (self.xp.minimum(threshold, norm) / norm).astype(gradient.dtype)
        return gradient

    def erf(self, X):
        """The error function. X's dtype is kept: integers are truncated."""
        from cupyx.scipy import special

        return special.erf(X.astype("float64") if X.dtype.kind != "f" else X).astype(X.dtype)

    def position_encode(self, N, D, period=10000, out=None):
        """As Ops.position_encode; an `out` on the host is filled there."""
        if isinstance(out, numpy.ndarray):
            host: Any = out
            return Ops().position_encode(N, D, period=period, out=host)
        return super().position_encode(N, D, period=period, out=out)
