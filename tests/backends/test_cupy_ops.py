"""CupyOps without a device: numpy stands in for CuPy where arrays are computed.

What needs a real device is marked `gpu` and runs where there is one.
"""

import numpy
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from thinc import compat
from thinc.backends import CupyOps, Ops


class OnNumpy(CupyOps):
    xp = numpy
    _xp2 = type("cupyx", (), {"scatter_add": staticmethod(numpy.add.at)})


class OnDevice:
    """As much of a CuPy array as bringing it to the host takes."""

    def __init__(self, data):
        self.data = numpy.asarray(data)

    def get(self):
        return self.data


def test_can_be_made_without_cupy():
    ops = CupyOps(device_id=3)
    assert (ops.name, ops.device_type, ops.device_id) == ("cupy", "gpu", 3)
    assert (ops.xp is None) == (not compat.has_cupy)


def test_gemm_refuses_arrays_on_the_host():
    X = numpy.ones((2, 2), dtype="float32")
    with pytest.raises(ValueError, match="can't multiply numpy arrays"):
        CupyOps().gemm(X, X)


def test_to_numpy_brings_arrays_to_the_host():
    ops = OnNumpy()
    assert_array_equal(ops.to_numpy(OnDevice([1, 2])), [1, 2])
    big = ops.to_numpy(OnDevice([1, 2]), byte_order=">")
    assert big.dtype.byteorder == ">" and big.tolist() == [1, 2]
    with pytest.raises(AttributeError):
        ops.to_numpy([1])


def test_asarray():
    ops = OnNumpy()
    X = numpy.ones(2)
    assert ops.asarray(X) is X
    assert ops.asarray(X, "float32").dtype == "float32"
    assert ops.asarray([1, 2], dtype="int32").dtype == "int32"
    assert ops.asarray([1.5]).dtype == "float64"


@pytest.mark.parametrize("threshold", [0.0, 1.0, 5.0, 9.0])
def test_clip_gradient(threshold):
    gradient = numpy.array([3.0, 4.0])
    assert OnNumpy().clip_gradient(gradient, threshold) is gradient
    assert_allclose(gradient, numpy.array([3.0, 4.0]) * min(1, threshold / 5))
    assert_array_equal(OnNumpy().clip_gradient(numpy.zeros(2), threshold), [0, 0])


def test_scatter_add():
    table = numpy.zeros((2, 1))
    assert OnNumpy().scatter_add(table, numpy.array([0, 0]), numpy.ones((2, 1))) is None
    assert_array_equal(table, [[2], [0]])


def test_position_encode_fills_an_array_on_the_host():
    out = numpy.zeros((2, 4), dtype="float32")
    assert OnNumpy().position_encode(2, 4, out=out) is out
    assert_allclose(out, Ops().position_encode(2, 4))
    with pytest.raises(ValueError, match="float32"):
        OnNumpy().position_encode(2, 4, out=numpy.zeros((2, 4)))


@pytest.mark.gpu
@pytest.mark.skipif(not compat.has_cupy_gpu, reason="there is no CUDA device")
def test_results_agree_with_the_generic_ops_on_the_device():
    ops, reference = CupyOps(), Ops()
    X = numpy.random.RandomState(0).normal(size=(6, 4)).astype("float32")
    lengths = numpy.array([1, 2, 3], dtype="int32")
    x, n = ops.asarray(X), ops.asarray(lengths)
    for name in ("relu", "gelu", "mish", "swish", "dish", "softmax", "erf"):
        found = ops.to_numpy(getattr(ops, name)(x))
        assert_allclose(found, getattr(reference, name)(X), rtol=1e-5, atol=1e-6)
    for name in ("reduce_sum", "reduce_mean"):
        found = ops.to_numpy(getattr(ops, name)(x, n))
        assert_allclose(found, getattr(reference, name)(X, lengths), rtol=1e-5, atol=1e-6)
    assert_allclose(ops.to_numpy(ops.gemm(x, x, trans2=True)), X @ X.T, rtol=1e-4, atol=1e-5)
    ids = numpy.arange(5, dtype="uint64")
    assert_array_equal(ops.to_numpy(ops.hash(ops.asarray(ids), 1)), reference.hash(ids, 1))
