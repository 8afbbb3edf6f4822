"""GPU memory for CuPy: from its own pool, or from PyTorch's or TensorFlow's.

Two frameworks that each keep freed memory for themselves run out of it sooner. With
these, CuPy takes its memory from the other framework. It keeps what it has freed, so
that allocating stays as fast as without, and gives it back when memory runs short.
"""

from contextvars import ContextVar
from typing import Any, Callable, Dict

from .. import compat

MINIMUM_BYTES = 1024

context_pools: ContextVar[Dict[str, Any]] = ContextVar("context_pools", default={})  # noqa: B039


def set_gpu_allocator(allocator: str) -> None:
    """Where CuPy takes GPU memory from: "pytorch", "tensorflow", or "cupy" for its own pool.

    Arrays that exist stay where they are. Raises ValueError for another name, ImportError
    for a framework that is not installed.
    """
    if allocator == "pytorch":
        use_pytorch_for_gpu_memory()
    elif allocator == "tensorflow":
        use_tensorflow_for_gpu_memory()
    elif allocator == "cupy":
        use_cupy_for_gpu_memory()
    else:
        raise ValueError(
            f"Invalid 'gpu_allocator' argument: '{allocator}'. Available allocators are: "
            "'pytorch', 'tensorflow', 'cupy'"
        )


def use_cupy_for_gpu_memory() -> None:
    """Let CuPy allocate from its own pool, as it does at first.

    Raises ImportError if CuPy is not installed.
    """
    if not compat.has_cupy:
        raise ImportError(f"GPU support requires CuPy, but {compat.cupy_problem}.")
    compat.cupy.cuda.set_allocator(compat.cupy.get_default_memory_pool().malloc)


def use_pytorch_for_gpu_memory() -> None:
    """Let CuPy allocate from PyTorch's pool, if the current ops is CupyOps.

    PyTorch's memory belongs to the stream that was current for it, CuPy's to CuPy's: both
    are the default stream, unless the program says otherwise; then it has to synchronize.
    Raises ImportError if PyTorch is not installed.
    """
    from ..util import assert_pytorch_installed, get_torch_default_device

    assert_pytorch_installed()
    if get_torch_default_device().type == "cuda":
        _use_pool("pytorch", _allocate_with_torch)


def use_tensorflow_for_gpu_memory() -> None:
    """Let CuPy allocate from TensorFlow's pool.

    Raises ImportError if TensorFlow is not installed.
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
    shape, torch = (-(-size_bytes // 4),), compat.torch
    device = get_torch_default_device()
    try:
        tensor = torch.empty(shape, dtype=torch.float32, device=device)
    except torch.cuda.OutOfMemoryError:
        # What CuPy's pool has freed and kept goes back to PyTorch, and then we try again.
        context_pools.get()["pytorch"].free_all_blocks()
        tensor = torch.empty(shape, dtype=torch.float32, device=device)
    return _pointer(tensor.data_ptr(), size_bytes, tensor)


def _allocate_with_tensorflow(size_bytes: int) -> Any:
    size_bytes = max(MINIMUM_BYTES, size_bytes)
    tensorflow = compat.tensorflow
    tensor = tensorflow.zeros((-(-size_bytes // 4),), dtype=tensorflow.dtypes.float32)
    capsule = tensorflow.experimental.dlpack.to_dlpack(tensor)
    array = compat.cupy_from_dlpack(capsule)
    return _pointer(array.data.ptr, size_bytes, array)


def _pointer(address: int, size_bytes: int, owner: Any) -> Any:
    """A CuPy pointer to memory that `owner` keeps alive."""
    memory = compat.cupy.cuda.UnownedMemory(address, size_bytes, owner)
    return compat.cupy.cuda.MemoryPointer(memory, 0)
