"""Large arrays lie in memory that is kept when they are freed; else they are ordinary arrays."""

import gc
import pickle
import sys
import threading
import tracemalloc

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from thinc.api import NumpyOps
from thinc.backends import array_memory

try:
    from numpy._core.multiarray import get_handler_name
except ImportError:  # NumPy 1
    from numpy.core.multiarray import get_handler_name

OPS = NumpyOps()
MEBI = 1 << 20
MOST_KEPT = 64 * MEBI


@pytest.fixture(autouse=True)
def nothing_kept():
    gc.collect()
    array_memory.release_memory()


def floats(count, value=None):
    X = OPS.alloc1f(count, zeros=value is not None)
    if value:
        X[:] = value
    return X


def test_large_arrays_are_ordinary_arrays():
    X = floats(MEBI)
    assert get_handler_name(X) == "thinc_block_cache"
    assert X.flags.owndata and X.flags.c_contiguous and X.flags.writeable and X.base is None
    assert X.ctypes.data % 64 == 0
    assert get_handler_name(numpy.empty(MEBI)) == "default_allocator"  # others' are left alone
    assert get_handler_name(floats(100)) == "default_allocator"
    X[:] = 3
    assert_array_equal(pickle.loads(pickle.dumps(X)), X)


def test_memory_is_used_again():
    X = floats(MEBI)
    place = X.ctypes.data
    del X
    assert array_memory.kept_bytes() >= 4 * MEBI
    Y = floats(MEBI - 1000)  # nearly as large
    assert Y.ctypes.data == place
    assert array_memory.kept_bytes() == 0
    assert floats(MEBI).ctypes.data != place


def test_small_arrays_do_not_take_large_blocks():
    floats(4 * MEBI)
    kept = array_memory.kept_bytes()
    X = floats(MEBI)
    assert array_memory.kept_bytes() == kept
    del X


def test_zeros_are_zeros():
    for _ in range(5):
        X = OPS.alloc2f(1000, 100)
        assert not X.any()
        X[:] = numpy.nan
        del X
        Y = OPS.alloc((70_000,), dtype="int32")
        assert not Y.any()
        Y[:] = -1
        del Y


def test_what_is_kept_is_bounded():
    for size in range(1, 200):
        floats(size * 20_000)
        assert array_memory.kept_bytes() <= MOST_KEPT
    assert array_memory.kept_bytes() > MOST_KEPT / 2
    array_memory.release_memory()
    assert array_memory.kept_bytes() == 0
    floats(10 * MEBI)  # 40 MiB: more than half of the bound goes back at once
    assert array_memory.kept_bytes() == 0
    many = [floats(17_000) for _ in range(600)]
    del many
    assert 0 < array_memory.kept_bytes() <= 300 * 80_000


def test_resizing_keeps_the_values():
    X = floats(20_000, value=5)
    X.resize(40_000, refcheck=False)
    assert_array_equal(X[:20_000], 5)
    assert_array_equal(X[20_000:], 0)
    X.resize(10, refcheck=False)
    assert_array_equal(X, [5] * 10)


def test_views_keep_the_memory():
    X = floats(MEBI, value=2)
    view = X.reshape(1024, 1024)[3:5]
    del X
    other = floats(MEBI, value=9)
    assert_array_equal(view, 2)
    del view, other


@given(sizes=st.lists(st.integers(1, 300_000), max_size=30), seed=st.integers(0, 100))
def test_arrays_never_share_memory(sizes, seed):
    rng = numpy.random.default_rng(seed)
    alive = []
    for i, size in enumerate(sizes):
        X = floats(size)
        X[:] = i
        alive.append((i, X))
        del X
        if rng.random() < 0.5:
            alive.pop(rng.integers(len(alive)))
    for i, X in alive:
        assert (X == i).all()


def test_threads():
    failures = []

    def work(number):
        rng = numpy.random.default_rng(number)
        for _ in range(300):
            X = floats(int(rng.integers(17_000, 100_000)))
            X[:] = number
            if not (X == number).all():
                failures.append(number)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_sizes_that_no_memory_has():
    for shape in ((2**62,), (2**40, 2**40), (2**31, 2**31)):
        with pytest.raises((MemoryError, ValueError)):
            OPS.alloc(shape)
    assert get_handler_name(numpy.empty(MEBI)) == "default_allocator"


def test_memory_is_traced():
    tracemalloc.start()
    try:
        X = floats(MEBI)
        assert tracemalloc.get_traced_memory()[0] >= X.nbytes
        del X
        assert tracemalloc.get_traced_memory()[0] < MEBI
    finally:
        tracemalloc.stop()


def test_the_handler_is_not_leaked():
    floats(MEBI)
    before = sys.getrefcount(numpy.dtype("float32"))
    for _ in range(2000):
        floats(20_000)
    assert abs(sys.getrefcount(numpy.dtype("float32")) - before) < 50


# ---- sums and products -----------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64"])
@pytest.mark.parametrize("name", ["add", "multiply"])
@pytest.mark.parametrize(
    "shapes",
    [
        ((300, 100), (300, 100)),
        ((300, 100), (300, 1)),
        ((300, 100), (1, 100)),
        ((300, 100), (100,)),
        ((300, 1), (300, 100)),
        ((2, 3), (2, 3)),
        ((0, 3), (0, 3)),
        ((30, 50, 20), (30, 1, 1)),
        ((30000,), ()),
    ],
)
def test_sums_and_products(name, dtype, shapes):
    rng = numpy.random.default_rng(0)
    X, Y = (rng.normal(0, 9, shape).astype(dtype) for shape in shapes)
    ufunc = getattr(numpy, name)
    ours = getattr(array_memory, name)
    for x, y in ((X, Y), (numpy.asfortranarray(X), Y), (X[::-1], Y), (X, Y.astype("float64"))):
        found = ours(x, y)
        assert found.dtype == ufunc(x, y).dtype
        assert_array_equal(found, ufunc(x, y))
        assert not numpy.shares_memory(found, X)
    if X.dtype.kind == "f" and X.itemsize > 2 and X.size > 20_000 and X.ndim == Y.ndim:
        expected = "thinc_block_cache" if X.size >= Y.size else "default_allocator"
        assert get_handler_name(ours(X, Y)) == expected


def test_sums_of_what_is_no_array():
    assert array_memory.add(2, 3) == 5
    assert array_memory.multiply([1], 2) == [1, 1]
    X = numpy.ones((300, 100), dtype="float32")
    with pytest.raises(ValueError, match="broadcast"):
        array_memory.add(X, numpy.ones((299, 100), dtype="float32"))

    class Mine(numpy.ndarray):
        pass

    assert type(array_memory.add(X.view(Mine), X)) is Mine
