"""Dtypes, layouts, memory, mistakes and the report, on the device."""

import numpy
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import thinc
from thinc import compat
from thinc.api import (
    CupyOps,
    NumpyOps,
    Ops,
    Relu,
    prefer_gpu,
    require_gpu,
    set_gpu_allocator,
    set_gpu_checks,
)
from thinc.backends import get_current_ops

from .conftest import FAKE

# float16: eleven bits, computed in float32; the rest are a few ulp of the CPU's.
RTOL = {"float16": 2e-3, "float32": 2e-5, "float64": 1e-10}
ACTIVATIONS = (
    "sigmoid relu relu_k clipped_linear hard_sigmoid hard_tanh swish hard_swish "
    "hard_swish_mobilenet dish gelu gelu_approx mish softmax"
).split()  # fmt: skip
only_real = pytest.mark.skipif(FAKE, reason="of the device itself")


def values(dtype, shape=(37, 65)):
    return numpy.random.RandomState(0).uniform(-8, 8, shape).astype(dtype)


@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_in_every_dtype_and_layout(name, dtype, device):
    X = values(dtype)
    expected = getattr(Ops(), name)(X.astype("float64")).astype(dtype)
    x = device.ops.asarray(X)
    layouts = {
        "contiguous": (x, expected),
        "transposed": (device.ops.asarray(numpy.ascontiguousarray(X.T)).T, expected),
        "backwards": (x[::-1], expected[::-1]),
    }
    if name != "softmax":
        layouts["every second"] = (x[:, ::2], expected[:, ::2])
    for layout, (given, wanted) in layouts.items():
        found = getattr(device.ops, name)(given)
        assert found.dtype == dtype, layout
        atol = 1e-3 if dtype == "float16" else 1e-6
        assert_allclose(found.get(), wanted, rtol=RTOL[dtype], atol=atol, err_msg=layout)
    assert getattr(device.ops, name)(x, inplace=True) is x


@only_real
def test_bfloat16_where_cupy_has_it(device):
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    try:
        X = device.ops.asarray(values("float32")).astype(ml_dtypes.bfloat16)
    except (TypeError, ValueError):
        pytest.skip("this CuPy has no bfloat16")
    wide = X.astype("float32").get()
    for name in ("relu", "gelu", "softmax", "mish"):
        found = getattr(device.ops, name)(X)
        assert found.dtype == X.dtype
        expected = getattr(Ops(), name)(wide)
        assert_allclose(found.astype("float32").get(), expected, rtol=1e-2, atol=1e-2)
    product = device.ops.gemm(X, X, trans2=True)
    assert product.dtype == X.dtype
    assert_allclose(product.astype("float32").get(), wide @ wide.T, rtol=2e-2, atol=2.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("trans1, trans2", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_products_of_any_layout(trans1, trans2, dtype, device):
    ops, rng = device.ops, numpy.random.RandomState(0)
    for M, N, K in ((1, 1, 1), (5, 3, 7), (64, 96, 33), (1, 300, 96), (0, 3, 2), (3, 2, 0)):
        a = rng.normal(size=(K, M) if trans1 else (M, K)).astype(dtype)
        b = rng.normal(size=(N, K) if trans2 else (K, N)).astype(dtype)
        expected = (a.T if trans1 else a) @ (b.T if trans2 else b)
        flags = {"trans1": bool(trans1), "trans2": bool(trans2)}
        wide = numpy.zeros((a.shape[0], a.shape[1] * 2), dtype=dtype)
        wide[:, ::2] = a
        for x in (ops.asarray(a), ops.asarray(wide)[:, ::2], ops.asarray(a.T.copy()).T):
            assert_allclose(
                ops.gemm(x, ops.asarray(b), **flags).get(), expected, rtol=1e-4, atol=1e-4
            )
            out = ops.alloc2f(M, N, dtype=dtype) + 1
            ops.gemm_add(out, x, ops.asarray(b), **flags)
            assert_allclose(out.get(), expected + 1, rtol=1e-4, atol=1e-4)


def test_many_lengths_and_empty_sequences(device):
    rng = numpy.random.RandomState(0)
    for lengths in ([0, 3, 0, 0, 50, 1], [1] * 1000, [5000], [], [0, 0]):
        n = numpy.array(lengths, dtype="int32")
        X = rng.normal(size=(int(n.sum()), 33)).astype("float32")
        x, m = device.ops.asarray(X), device.ops.asarray(n)
        with device.no_waiting():
            found = [
                device.ops.reduce_sum(x, m),
                device.ops.reduce_mean(x, m),
                device.ops.seq2col(x, 2, lengths=m),
                device.ops.softmax_sequences(x, m),
            ]
        cpu = NumpyOps()
        expected = [
            cpu.reduce_sum(X, n),
            cpu.reduce_mean(X, n),
            cpu.seq2col(X, 2, lengths=n),
            cpu.softmax_sequences(X, n),
        ]
        for a, b in zip(found, expected, strict=True):
            assert_allclose(a.get(), b, rtol=1e-4, atol=1e-4)


@only_real
@pytest.mark.slow
def test_more_than_two_thousand_million_elements(device):
    xp = compat.cupy
    free, _ = xp.cuda.runtime.memGetInfo()
    n = 2**31 + 4096
    if free < 3 * n * 2 + 2**30:
        pytest.skip(f"needs 14 GiB of device memory, {free / 2**30:.1f} are free")
    X = xp.zeros((n // 4096, 4096), dtype="float16")
    X[-1] = 3.0
    X[0] = -1.0
    Y = device.ops.relu(X)
    assert float(Y[-1].min()) == 3.0 and float(Y[0].max()) == 0.0
    del Y
    assert_allclose(device.ops.softmax(X)[-1].get(), 1 / 4096, rtol=1e-2)


def test_mistakes_are_the_cpus(device):
    ops = device.ops
    table, X = ops.alloc2f(5, 3), ops.alloc2f(6, 4)
    with pytest.raises(IndexError, match="gather_add: indices"):
        ops.gather_add(table, ops.asarray(numpy.array([[7]])))
    with pytest.raises(IndexError, match="must sum up"):
        ops.reduce_sum(X, ops.asarray1i([1, 2]))
    with pytest.raises(ValueError, match="inner sizes differ"):
        ops.gemm(X, X)
    with pytest.raises(ValueError, match="numpy arrays"):
        ops.gemm(numpy.zeros((2, 2)), X)
    with pytest.raises(ValueError, match="expected .* nI=4"):
        model = Relu(2, 4).initialize()
        model.to_gpu(0)
        model.predict(ops.alloc1f(4))


def test_unchecked_indices_are_never_followed(device):
    set_gpu_checks(False)
    ops = device.ops
    table = ops.asarray(values("float32", (5, 40)))
    bad = ops.xp.asarray(numpy.array([[0, 2**31 - 1], [-7, 1], [5, -1]], dtype="int32"))
    found = ops.gather_add(table, bad).get()
    assert_allclose(found[:2], table.get()[:2], rtol=1e-6)
    assert_array_equal(found[2], 0)
    before = table.get()
    ops.backprop_gather_add(table, ops.alloc2f(3, 40) + 1, bad)
    after = table.get()
    assert_allclose(after[:2], before[:2] + 1, rtol=1e-5)
    assert_array_equal(after[2:], before[2:])
    dX = ops.backprop_maxout(ops.alloc2f(1, 2) + 1, ops.xp.asarray(numpy.array([[9, -1]], "i")), 3)
    assert not dX.get().any()


def test_prefetched_batches_are_whole(device):
    batches = [values("float32", (1000, 50)) + i for i in range(12)]
    model = Relu(50, 50).initialize()
    model.to_gpu(0)
    for i, X in enumerate(device.ops.prefetch(iter(batches), ahead=3)):
        model.predict(X)
        assert_array_equal(X.get(), batches[i])


@only_real
def test_memory_from_pytorch(device):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    require_gpu(0)
    try:
        set_gpu_allocator("pytorch")
        before = torch.cuda.memory_allocated()
        X = get_current_ops().alloc2f(1024, 1024)
        assert torch.cuda.memory_allocated() >= before + X.nbytes
        assert_array_equal(X.get(), 0)
        tensor = thinc.api.xp2torch(X)
        assert tensor.data_ptr() == X.data.ptr
        assert thinc.api.torch2xp(tensor + 1).data.mem is not None
    finally:
        set_gpu_allocator("cupy")


@only_real
def test_selection(device):
    assert prefer_gpu()
    assert isinstance(get_current_ops(), CupyOps)
    count = compat.cupy.cuda.runtime.getDeviceCount()
    with pytest.raises(ValueError, match=f"There is no GPU {count}.*explain_gpu"):
        require_gpu(count)


@only_real
def test_the_report_finds_nothing_missing(device):
    report = thinc.explain_gpu()
    assert report.ok, str(report)
    text = str(report)
    assert "results agree with the CPU's" in text
    for part in ("NVIDIA driver", "CuPy", "cuBLAS", "NVRTC", "compute capability"):
        assert part in text
