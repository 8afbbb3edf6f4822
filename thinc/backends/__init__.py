"""The backends: Ops and its implementations, and the functions that select one."""

from typing import TYPE_CHECKING

from ..late_names import late_getattr
from .allocators import (
    context_pools,
    set_gpu_allocator,
    use_cupy_for_gpu_memory,
    use_pytorch_for_gpu_memory,
    use_tensorflow_for_gpu_memory,
)
from .determinism import is_deterministic, set_deterministic
from .device_facts import set_gpu_checks
from .mps_ops import MPSOps
from .numpy_ops import NumpyOps
from .ops import Ops
from .param_server import ParamServer
from .selection import (
    context_ops,
    contextvars_eq_thread_ops,
    get_array_ops,
    get_current_ops,
    get_ops,
    gpu_is_available,
    prefer_gpu,
    require_cpu,
    require_gpu,
    set_active_gpu,
    set_current_ops,
    use_ops,
)

if TYPE_CHECKING:
    from ..compat import has_cupy
    from .cupy_ops import CupyOps

# Apple's own backend is not built in: on a Mac, the package thinc_apple_ops registers one.
AppleOps = None

__all__ = [
    "AppleOps",
    "CupyOps",
    "MPSOps",
    "NumpyOps",
    "Ops",
    "ParamServer",
    "context_ops",
    "context_pools",
    "contextvars_eq_thread_ops",
    "get_array_ops",
    "get_current_ops",
    "get_ops",
    "gpu_is_available",
    "has_cupy",
    "is_deterministic",
    "prefer_gpu",
    "require_cpu",
    "require_gpu",
    "set_active_gpu",
    "set_current_ops",
    "set_deterministic",
    "set_gpu_allocator",
    "set_gpu_checks",
    "use_cupy_for_gpu_memory",
    "use_ops",
    "use_pytorch_for_gpu_memory",
    "use_tensorflow_for_gpu_memory",
]


# Not loaded before somebody asks: modules that are of no use without a GPU.
__getattr__ = late_getattr(
    __name__, __package__, {"CupyOps": ".cupy_ops", "has_cupy": "..compat"}
)
