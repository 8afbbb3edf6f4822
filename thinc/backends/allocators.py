"""GPU memory for CuPy, taken from PyTorch's or TensorFlow's pool.

Two frameworks that each keep freed memory for themselves run out of it sooner;
with these, CuPy's arrays come from the other framework's pool.
"""

from contextvars import ContextVar
from typing import Any, Callable, Dict

from .. import compat

MINIMUM_BYTES = 1024

context_pools: ContextVar[Dict[str, Any]] = ContextVar("context_pools", default={})  # noqa: B039


def set_gpu_allocator(allocator: str) -> None:
    """Route CuPy's allocations through "pytorch" or "tensorflow"."""
    if allocator == "pytorch":
        use_pytorch_for_gpu_memory()
    elif allocator == "tensorflow":
        use_tensorflow_for_gpu_memory()
    else:
        raise ValueError(
            f"Invalid 'gpu_allocator' argument: '{allocator}'. Available allocators are: "
            "'pytorch', 'tensorflow'"
        )


def use_pytorch_for_gpu_memory() -> None:
    """Let CuPy allocate from PyTorch's pool, if the current ops is CupyOps.

    Raises ImportError if PyTorch is not installed.
    """
    from ..util import assert_pytorch_installed, get_torch_default_device

    assert_pytorch_installed()
    if get_torch_default_device().type == "cuda":
        _use_pool("pytorch", _allocate_with_torch)


def use_tensorflow_for_gpu_memory() -> None:
    """Let CuPy allocate from TensorFlow's pool.

    Raises ImportError if TensorFlow has not been enabled.
    """
    from ..util import assert_tensorflow_installed

    assert_tensorflow_installed()
    _use_pool("tensorflow", _allocate_with_tensorflow)


def _use_pool(name: str, allocate: Callable[[int], Any]) -> None:
    pools = context_pools.get()
    if name not in pools:
        pools[name] = compat.cupy.cuda.MemoryPool(allocator=allocate)
    compat.cupy.cuda.set_allocator(pools[name].malloc)


def _allocate_with_torch(size_bytes: int) -> Any:
    from ..util import get_torch_default_device

    size_bytes = max(MINIMUM_BYTES, size_bytes)
    tensor = compat.torch.empty(
        (size_bytes // 4,), dtype=compat.torch.float32, device=get_torch_default_device()
    )
    return _pointer(tensor.data_ptr(), size_bytes, tensor)


def _allocate_with_tensorflow(size_bytes: int) -> Any:
    size_bytes = max(MINIMUM_BYTES, size_bytes)
    tensorflow = compat.tensorflow
    tensor = tensorflow.zeros((size_bytes // 4,), dtype=tensorflow.dtypes.float32)
    capsule = tensorflow.experimental.dlpack.to_dlpack(tensor)
    array = compat.cupy_from_dlpack(capsule)
    return _pointer(array.data.ptr, size_bytes, array)


def _pointer(address: int, size_bytes: int, owner: Any) -> Any:
    """A CuPy pointer to memory that `owner` keeps alive."""
    memory = compat.cupy.cuda.UnownedMemory(address, size_bytes, owner)
    return compat.cupy.cuda.MemoryPointer(memory, 0)
