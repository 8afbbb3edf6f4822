"""Which Ops is in use: by name, by context, by the hardware that is there."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from contextvars import ContextVar
from typing import Any, Dict, Iterator, Optional, Type

from .. import compat
from ..array_validation import is_array
from .ops import Ops

# A new thread starts without a value here and falls back to the CPU.
context_ops: ContextVar[Optional[Ops]] = ContextVar("context_ops", default=None)
_thread_ops = threading.local()

# Packages that register a better CPU backend when they are imported.
_CPU_EXTENSIONS = ("thinc_apple_ops", "thinc_bigendian_ops")
_CPU_PREFERENCE = ("bigendian", "apple", "numpy")

EXPLAIN = "thinc.explain_gpu(), or `python -m thinc gpu`, says what is missing and what to install."


def get_ops(name: str, **kwargs: Any) -> Ops:
    """A new Ops of that name: "numpy", "cupy", "mps", or "cpu" for the best on the CPU.

    kwargs go to its constructor. Other packages may register more, in
    `thinc.registry.ops` or under the entry point "thinc_ops". Raises ValueError for
    a name that nobody registered.
    """
    if name == "cpu":
        _import_cpu_extensions()
        found = _registered_ops()
        cls = next(found[choice] for choice in _CPU_PREFERENCE if choice in found)
        return cls(**kwargs)
    found = _registered_ops()
    if not isinstance(name, str) or name not in found:
        raise ValueError(f"Invalid backend: {name}. Available: {', '.join(sorted(found))}, cpu.")
    return found[name](**kwargs)


def _registered_ops() -> Dict[str, Type[Ops]]:
    from ..config import registry

    classes = registry.ops.get_all().values()
    return {cls.name: cls for cls in classes if hasattr(cls, "name")}


@functools.cache
def _import_cpu_extensions() -> None:
    for package in _CPU_EXTENSIONS:
        with contextlib.suppress(ImportError):
            __import__(package)


def get_array_ops(arr: Any) -> Ops:
    """A new CupyOps for a cupy array, otherwise a new NumpyOps."""
    if is_array(arr) and type(arr).__module__.partition(".")[0] == "cupy":
        from .cupy_ops import CupyOps

        return CupyOps()
    from .numpy_ops import NumpyOps

    return NumpyOps()


def get_current_ops() -> Ops:
    """The Ops of this context. The first time, that is a new one on the CPU."""
    ops = context_ops.get()
    if ops is None:
        require_cpu()
        ops = context_ops.get()
        assert ops is not None
    return ops


def set_current_ops(ops: Optional[Ops]) -> None:
    """Make ops the current one of this context (and thread). None: undecided again."""
    context_ops.set(ops)
    _thread_ops.current = ops


def contextvars_eq_thread_ops() -> bool:
    """Whether the context's and the thread's ops are of one type.

    They differ where context variables get lost, as in some notebooks.
    """
    return type(context_ops.get()) is type(getattr(_thread_ops, "current", None))


@contextlib.contextmanager
def use_ops(name: str, **kwargs: Any) -> Iterator[None]:
    """Inside the `with` block, get_ops(name, **kwargs) is the current Ops."""
    previous = get_current_ops()
    set_current_ops(get_ops(name, **kwargs))
    try:
        yield
    finally:
        set_current_ops(previous)


# ---- hardware ----------------------------------------------------------------------


def gpu_is_available() -> bool:
    """Whether there is a GPU that CuPy, or PyTorch on macOS, can use."""
    return compat.has_gpu


def require_cpu() -> bool:
    """Make a new Ops on the CPU current. Returns True."""
    set_current_ops(get_ops("cpu"))
    return True


def prefer_gpu(gpu_id: int = 0) -> bool:
    """Use the GPU if there is one. Returns whether there is."""
    if not gpu_is_available():
        return False
    return require_gpu(gpu_id)


def require_gpu(gpu_id: int = 0) -> bool:
    """Select the device and make a GPU Ops current. Returns True.

    Raises ValueError if there is no usable GPU, naming the part that is missing;
    then, and for a gpu_id that does not exist, the current Ops stays. What was found
    in detail, and what to install, thinc.explain_gpu() says.
    """
    from .cupy_ops import CupyOps
    from .mps_ops import MPSOps

    if sys.platform == "darwin":
        if not compat.has_torch:
            raise ValueError("Cannot use GPU, PyTorch is not installed")
        if not compat.has_torch_mps:
            raise ValueError("Cannot use GPU, installed PyTorch does not support MPS")
    elif not compat.has_cupy:
        raise ValueError(f"Cannot use GPU, {compat.cupy_problem}. {EXPLAIN}")
    if not gpu_is_available():
        raise ValueError(f"No GPU devices detected: {compat.cupy_gpu_problem}. {EXPLAIN}")
    if compat.has_cupy_gpu:
        set_active_gpu(gpu_id)
        set_current_ops(CupyOps(device_id=gpu_id))
    else:
        set_current_ops(MPSOps())
    return True


def set_active_gpu(gpu_id: int) -> Any:
    """Make a CUDA device current for CuPy, and for PyTorch if it sees CUDA.

    Returns the CuPy device. Raises ValueError if there is no such device.
    """
    if not compat.has_cupy_gpu:
        raise ValueError(f"No CUDA GPU devices detected: {compat.cupy_gpu_problem}. {EXPLAIN}")
    count = compat.cupy.cuda.runtime.getDeviceCount()
    if not 0 <= gpu_id < count:
        raise ValueError(f"There is no GPU {gpu_id}: {count} detected, numbered from 0. {EXPLAIN}")
    device = compat.cupy.cuda.device.Device(gpu_id)
    device.use()
    # A torch that nobody imported will be told by its first user.
    if "torch" in sys.modules and compat.has_torch_cuda_gpu:
        compat.torch.cuda.set_device(gpu_id)
    return device
