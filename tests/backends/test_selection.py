import contextvars
import subprocess
import sys
import threading

import catalogue
import numpy
import pytest

from thinc import compat
from thinc.backends import (
    CupyOps,
    MPSOps,
    NumpyOps,
    Ops,
    allocators,
    context_ops,
    contextvars_eq_thread_ops,
    get_array_ops,
    get_current_ops,
    get_ops,
    prefer_gpu,
    require_cpu,
    require_gpu,
    set_active_gpu,
    set_current_ops,
    set_gpu_allocator,
    use_ops,
    use_pytorch_for_gpu_memory,
    use_tensorflow_for_gpu_memory,
)
from thinc.config import registry

without_gpu = pytest.mark.skipif(compat.has_gpu, reason="there is a GPU here")


def test_get_ops_by_name():
    assert type(get_ops("numpy")) is NumpyOps
    assert type(get_ops("mps")) is MPSOps
    assert type(get_ops("cupy", device_id=2)) is CupyOps
    assert get_ops("cupy", device_id=2).device_id == 2
    assert isinstance(get_ops("cpu"), NumpyOps)
    assert get_ops("numpy") is not get_ops("numpy")


@pytest.mark.parametrize("name", ["", None, "NumpyOps", "nonsense", NumpyOps()])
def test_unknown_backend_is_named(name):
    with pytest.raises(ValueError, match="Invalid backend: .*numpy"):
        get_ops(name)


def test_registered_names():
    names = set(registry.ops.get_all())
    assert {"NumpyOps", "CupyOps", "MPSOps"} <= names
    assert registry.ops.get("CupyOps") is CupyOps


def test_third_party_backend_needs_only_to_register():
    class Mine(Ops):
        name = "mine"

    registry.ops("Mine.test", func=Mine)
    registry.ops("broken.test", func=lambda: None)
    try:
        with use_ops("mine"):
            assert type(get_current_ops()) is Mine
    finally:
        for name in ("Mine.test", "broken.test"):
            del catalogue.REGISTRY[("thinc", "ops", name)]


def test_constructors():
    for ops, device in ((Ops(), ("cpu", -1)), (NumpyOps(), ("cpu", -1)), (CupyOps(), ("gpu", 0))):
        assert (ops.device_type, ops.device_id) == device
    assert Ops(numpy).device_type is numpy
    with pytest.raises(TypeError):
        NumpyOps(nonsense=1)
    CupyOps(nonsense=1)


def test_current_ops_stay_until_changed():
    ops = get_current_ops()
    assert isinstance(ops, NumpyOps)
    assert get_current_ops() is ops
    mine = Ops()
    set_current_ops(mine)
    assert get_current_ops() is mine
    assert require_cpu() is True
    assert get_current_ops() is not mine


def test_use_ops_restores_the_same_object_after_an_error():
    before = get_current_ops()
    with pytest.raises(ZeroDivisionError):
        with use_ops("cupy") as nothing:
            assert nothing is None
            assert type(get_current_ops()) is CupyOps
            raise ZeroDivisionError
    assert get_current_ops() is before
    with pytest.raises(ValueError):
        with use_ops("nonsense"):
            pass
    assert get_current_ops() is before


def in_thread(function):
    result = []
    thread = threading.Thread(target=lambda: result.append(function()))
    thread.start()
    thread.join()
    return result[0]


def test_new_thread_starts_on_the_cpu():
    set_current_ops(get_ops("cupy"))
    assert type(in_thread(get_current_ops)) is not CupyOps
    assert in_thread(contextvars_eq_thread_ops) is True
    context = contextvars.copy_context()
    assert type(in_thread(lambda: context.run(get_current_ops))) is CupyOps
    assert in_thread(lambda: context.run(contextvars_eq_thread_ops)) is False


def test_change_inside_a_context_is_invisible_outside():
    before = get_current_ops()
    contextvars.copy_context().run(set_current_ops, Ops())
    assert context_ops.get() is before


def test_get_array_ops():
    assert type(get_array_ops(numpy.zeros(2))) is NumpyOps
    assert type(get_array_ops([1])) is NumpyOps


@without_gpu
def test_without_a_gpu_the_cpu_stays():
    before = get_current_ops()
    assert prefer_gpu() is False
    with pytest.raises(ValueError, match="Cannot use GPU|No GPU devices detected"):
        require_gpu()
    with pytest.raises(ValueError, match="No CUDA GPU devices detected: "):
        set_active_gpu(0)
    assert get_current_ops() is before


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS looks for PyTorch's Metal backend")
def test_require_gpu_names_the_missing_part(monkeypatch):
    monkeypatch.setitem(vars(compat), "has_cupy", False)
    for problem in ("CuPy is not installed", "import cupy failed: ImportError: libcuda.so.1"):
        monkeypatch.setitem(vars(compat), "cupy_problem", problem)
        with pytest.raises(ValueError, match="thinc.explain_gpu") as error:
            require_gpu()
        assert str(error.value).startswith(f"Cannot use GPU, {problem}. ")
    monkeypatch.setitem(vars(compat), "has_cupy", True)
    monkeypatch.setitem(vars(compat), "has_gpu", False)
    for problem in ("CUDA is not usable (driver)", "there is no CUDA device"):
        monkeypatch.setitem(vars(compat), "cupy_gpu_problem", problem)
        with pytest.raises(ValueError, match="python -m thinc gpu") as error:
            require_gpu()
        assert str(error.value).startswith(f"No GPU devices detected: {problem}. ")


class FakeCuda:
    """As much of CuPy as selecting one of two devices takes."""

    class CUDARuntimeError(Exception):
        pass

    def __init__(self, count):
        self.current = None
        self.count = count
        self.cuda = self.runtime = self.device = self

    def getDeviceCount(self):
        if self.count is None:
            raise self.CUDARuntimeError("no driver")
        return self.count

    def Device(self, gpu_id):
        device = type("Device", (), {"id": gpu_id})()
        device.use = lambda: setattr(self, "current", gpu_id)
        return device


@pytest.fixture
def two_gpus(monkeypatch):
    cupy = FakeCuda(2)
    for name, value in {
        "cupy": cupy,
        "has_cupy": True,
        "has_cupy_gpu": True,
        "has_gpu": True,
        "has_torch_cuda_gpu": False,
    }.items():
        monkeypatch.setitem(vars(compat), name, value)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(CupyOps, "xp", numpy)
    return cupy


def test_require_gpu_selects_the_device_it_was_asked_for(two_gpus):
    assert require_gpu(1) is True
    assert two_gpus.current == 1
    assert type(get_current_ops()) is CupyOps
    assert get_current_ops().device_id == 1
    assert set_active_gpu(0).id == 0


def test_require_gpu_of_an_unknown_device_changes_nothing(two_gpus):
    before = get_current_ops()
    for gpu_id in (2, -1):
        with pytest.raises(ValueError, match=f"no GPU {gpu_id}: 2 detected"):
            require_gpu(gpu_id)
    assert get_current_ops() is before
    assert two_gpus.current is None


@pytest.mark.parametrize("count, problem", [(None, "no driver"), (0, "no CUDA device"), (1, "")])
def test_what_is_missing_for_cuda(monkeypatch, count, problem):
    monkeypatch.setitem(vars(compat), "cupy", FakeCuda(count))
    found = compat._find_cupy_gpu()
    assert found["has_cupy_gpu"] is (problem == "")
    assert problem in found["cupy_gpu_problem"]


def test_gpu_allocators_say_what_is_missing(monkeypatch):
    with pytest.raises(ValueError, match="'nonsense'. Available allocators are: 'pytorch'"):
        set_gpu_allocator("nonsense")
    monkeypatch.setitem(vars(compat), "has_torch", False)
    monkeypatch.setitem(vars(compat), "tensorflow", None)
    monkeypatch.setitem(sys.modules, "tensorflow", None)  # cannot be imported
    for use in (use_pytorch_for_gpu_memory, lambda: set_gpu_allocator("pytorch")):
        with pytest.raises(ImportError, match="PyTorch support requires torch"):
            use()
    for use in (use_tensorflow_for_gpu_memory, lambda: set_gpu_allocator("tensorflow")):
        with pytest.raises(ImportError, match=r"pip install thinc\[tensorflow\]"):
            use()


def test_pool_is_made_once_and_its_memory_has_the_size_asked_for(monkeypatch):
    made = []

    class Pool:
        def __init__(self, allocator):
            made.append(self)
            self.malloc = allocator

    class Tensor:
        def data_ptr(self):
            return 4096

    cuda = type("cuda", (), {})()
    cuda.MemoryPool = Pool
    cuda.set_allocator = lambda malloc: setattr(cuda, "allocator", malloc)
    cuda.UnownedMemory = lambda address, size, owner: (address, size, owner)
    cuda.MemoryPointer = lambda memory, offset: (memory, offset)
    torch = type("torch", (), {"float32": "float32"})()
    sizes = []
    torch.empty = lambda shape, dtype, device: sizes.append(shape[0]) or Tensor()
    monkeypatch.setitem(vars(compat), "cupy", type("cupy", (), {"cuda": cuda})())
    monkeypatch.setitem(vars(compat), "torch", torch)
    monkeypatch.setattr("thinc.util.get_torch_default_device", lambda: "cuda:0")

    def use_twice():
        allocators.context_pools.set({})
        allocators._use_pool("pytorch", allocators._allocate_with_torch)
        allocators._use_pool("pytorch", allocators._allocate_with_torch)
        return allocators.context_pools.get()["pytorch"]

    assert contextvars.copy_context().run(use_twice) is made[0]
    assert len(made) == 1
    memory, offset = cuda.allocator(10)
    assert (memory[:2], offset) == ((4096, 1024), 0)
    assert cuda.allocator(4000)[0][1] == 4000
    assert sizes == [256, 1000]


def test_importing_the_backends_loads_no_other_framework():
    code = (
        "import sys, thinc.backends, thinc.util; "
        "print(*({'torch', 'tensorflow', 'jax', 'cupy', 'scipy', 'mxnet'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
