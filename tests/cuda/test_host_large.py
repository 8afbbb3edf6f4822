"""Arrays of more than 2^31 elements: where an int would overflow.

The memory is mapped but, all but a few pages, never touched; and of the grid, which has a
thread for each element, only the last blocks run.
"""

import ctypes
import mmap
import sys

import numpy
import pytest
from host import as_slot
from numpy.testing import assert_allclose, assert_array_equal

from thinc.backends.cuda_kernels import KERNELS
from thinc.backends.cuda_launch import parameter_table, prepare
from thinc.backends.ops import Ops

OPS = Ops()
LARGE = 2**31
NO_RESERVE = 0x4000  # MAP_NORESERVE: the machine need not have so much

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="maps memory without reserving it, as Linux does"
)


def mapped(shape, dtype="float16"):
    """Zeros that take no memory until they are written."""
    count = int(numpy.prod(shape, dtype="int64"))
    size = max(count * numpy.dtype(dtype).itemsize, 1)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_RESERVE
    return numpy.frombuffer(mmap.mmap(-1, size, flags=flags), dtype, count).reshape(shape)


def run_last_blocks(kernels, name, words, arguments, blocks, only=None):
    """Run the last block of a grid of so many, or those of `only`."""
    launch = prepare(name, words, *arguments)
    slots = (ctypes.c_uint64 * len(arguments))()
    for i, (argument, value) in enumerate(
        zip(launch.kernel.arguments, launch.arguments, strict=True)
    ):
        is_array = isinstance(value, numpy.ndarray)
        slots[i] = value.ctypes.data if is_array else as_slot(argument.type, value)
    kernels.call(
        KERNELS[name],
        launch.types,
        (blocks, 1, 1),
        launch.geometry.block,
        slots,
        only=only or (blocks - 1, blocks),
    )


def test_elements(kernels):
    n = LARGE + 4096
    X, Y = mapped(n), mapped(n)
    X[-2048:] = numpy.linspace(-3, 3, 2048)
    # Eight elements a thread of 256: the last block has the last 2,048.
    arguments = (Y, X, n, 0.0, 0.0, 0.0, 0.0)
    run_last_blocks(kernels, "map_values", ("relu", "float16"), arguments, n // 2048)
    assert_array_equal(Y[-2048:], numpy.maximum(X[-2048:], 0))
    assert not Y[:100_000].any() and not Y[-10_000:-2048].any()


def test_items(kernels):
    """A thread for each: their numbers are beyond 2^31 themselves."""
    outputs, pieces = LARGE + 256, 2
    X, best = mapped((1, outputs, pieces)), mapped((1, outputs))
    X[0, -256:, 1] = numpy.arange(256)
    arguments = (best, None, X, None, 1, outputs, pieces)
    run_last_blocks(kernels, "maxout", "float16", arguments, outputs // 256)
    assert_array_equal(best[0, -256:], numpy.arange(256))


def test_bias(kernels):
    rows, cols = LARGE // 96 + 64, 96
    X, Y = mapped((rows, cols)), mapped((rows, cols))
    bias = numpy.arange(cols, dtype="float16")
    blocks = -(-rows * cols // 2048)
    arguments = (Y, None, X, bias, rows, cols, 0.0, 0.0, 0.0, 0.0)
    run_last_blocks(kernels, "add_bias", ("relu", "float16"), arguments, blocks)
    first = (blocks - 1) * 2048
    written = numpy.arange(first, rows * cols)
    assert_array_equal(Y.reshape(-1)[first:], bias[written % cols])
    assert not Y[:1000].any()


def test_rows(kernels):
    rows, cols = LARGE // 1024 + 8, 1024
    X, Y = mapped((rows, cols)), mapped((rows, cols))
    X[-8:] = numpy.random.default_rng(0).normal(size=(8, cols))
    run_last_blocks(kernels, "softmax", "float16", (Y, X, rows, cols, 1.0), rows // 8)
    expected = OPS.softmax(X[-8:].astype("float64"))
    assert_allclose(Y[-8:], expected, rtol=2e-3, atol=1e-6)
    assert not Y[:100].any()


def test_maxout(kernels):
    rows, outputs, pieces = LARGE // 3 // 256 + 1, 256, 3
    dX, dY = mapped((rows, outputs, pieces)), mapped((rows, outputs))
    which = mapped((rows, outputs), "int32")
    dY[-8:], which[-8:] = 1.5, 2
    n = rows * outputs
    blocks = -(-n * pieces // 2048)
    arguments = (dX, dY, which, n, pieces, None)
    last_two = (blocks - 2, blocks)
    run_last_blocks(kernels, "backprop_maxout", "float16", arguments, blocks, last_two)
    assert_array_equal(dX[-2:, :, 2], 1.5)
    assert not dX[-2:, :, :2].any() and not dX[:1000].any()


def test_windows(kernels):
    rows, width = LARGE // 768 + 8, 256
    X, Y = mapped((rows, width)), mapped((rows, 3 * width))
    X[-8:] = numpy.arange(8)[:, None] + 1
    blocks = -(-rows // 8)
    arguments = (Y, X, None, 0, rows, width, 1)
    run_last_blocks(kernels, "seq2col", "float16", arguments, blocks)
    assert_array_equal(Y[-1, ::width], [7, 8, 0])
    assert not Y[:1000].any()


def test_reductions(kernels):
    rows, width = LARGE // 600 + 10, 600
    X, Y = mapped((rows, width)), numpy.zeros((2, width), "float16")
    X[-5:] = numpy.arange(5)[:, None]
    offsets = numpy.array([0, rows - 5, rows])
    arguments = (Y, X, offsets, 2, rows, width)
    run_last_blocks(kernels, "reduce", ("sum", "float16"), arguments, 2)
    assert_array_equal(Y, numpy.array([[0], [10]]) + numpy.zeros(width))


def test_tables(kernels):
    rows, width = LARGE // 600 + 10, 600
    E = mapped((rows, width))
    indices = numpy.array([[rows - 1, rows - 2], [rows - 1, 0]])
    E[-1], E[-2] = 3, 0.5
    Y = numpy.zeros((2, width), "float16")
    arguments = (Y, E, indices, 2, 2, width, rows, None)
    run_last_blocks(kernels, "gather_add", ("float16", "int64"), arguments, 1)
    assert_array_equal(Y, numpy.array([[3.5], [3]]) + numpy.zeros(width))
    arguments = (E, Y, indices, 2, 2, width, rows, None)
    run_last_blocks(kernels, "scatter_add", ("float16", "int64"), arguments, 1)
    assert_array_equal(E[[-1, -2, 0], 0], [9.5, 4, 3])


def test_parameters(kernels):
    n = LARGE + 4096
    w, g = mapped(n), mapped(n)
    w[-4096:], g[-4096:] = 1, 0.5
    table, chunks = parameter_table([(w.ctypes.data, g.ctypes.data, 0, 0, 0, n)])
    rates = numpy.array([[0.5, 0.0, 0.0, 0.0, 1.0]])
    arguments = (table, rates, 1, chunks, None, 0.0)
    run_last_blocks(kernels, "sgd", "float16", arguments, chunks)
    assert_array_equal(w[-2048:], 0.75)
    assert_array_equal(w[-4096:-2048], 1)
    assert not g[-2048:].any() and g[-4096:-2048].all()
