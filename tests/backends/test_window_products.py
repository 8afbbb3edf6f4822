"""Maxout over windows of a sequence, whose rows overlap in memory and share products, at every
instruction-set level."""

import numpy
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided
from numpy.testing import assert_allclose, assert_array_equal

from thinc.api import Maxout, NumpyOps, Ops, chain, expand_window
from thinc.backends import cpu_kernels

OPS = NumpyOps()
REFERENCE = Ops()

every_dtype = pytest.mark.parametrize("dtype", strategies.FLOAT_DTYPES)
seeds = st.integers(0, 2**32 - 1)
# Products are shared from 64 rows on, and made in blocks of whole tiles.
row_counts = st.one_of(st.integers(0, 200), st.sampled_from([63, 64, 65, 84, 85, 112, 113, 1000]))


@pytest.fixture(params=cpu_kernels.available_levels(), autouse=True, scope="module")
def level(request):
    with cpu_kernels.use_level(request.param):
        yield request.param


def normal(shape, dtype, seed=0):
    return numpy.random.default_rng(seed).normal(size=shape).astype(dtype)


def parameters(dtype, outputs=7, pieces=3, width=5, seed=1):
    W = normal((outputs, pieces, 3 * width), dtype, seed)
    return W, normal((outputs, pieces), dtype, seed + 1)


# ---- the windows -------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", "uint64"])
@given(
    rows=st.integers(0, 9),
    width=st.integers(0, 5),
    nW=st.integers(0, 12),
    layout=st.sampled_from(["contiguous", "fortran", "every second", "backwards", "read-only"]),
)
def test_sliding_windows_are_those_of_seq2col(dtype, rows, width, nW, layout):
    X = strategies.layouts(numpy.arange(rows * width).reshape((rows, width)).astype(dtype))[layout]
    windows = OPS.sliding_windows(X, nW)
    assert windows.dtype == dtype
    assert_array_equal(windows, REFERENCE.seq2col(X, nW))
    assert_array_equal(windows, REFERENCE.sliding_windows(X, nW))


def test_windows_share_memory_and_cannot_be_written_to():
    X = numpy.ones((50, 4), dtype="float32")
    windows = OPS.sliding_windows(X, 1)
    with pytest.raises(ValueError, match="read-only"):
        windows[3] = 0
    X[:] = 7
    assert windows.max() == 1  # the sequence was copied, once
    assert windows.strides == (16, 4)


@pytest.mark.parametrize("ops", [OPS, REFERENCE], ids=["numpy", "generic"])
@pytest.mark.parametrize("nW", [-1, 0.5, 1.0, "1", None])
def test_a_window_has_to_be_a_count(ops, nW):
    X = numpy.ones((3, 6), dtype="float32")
    for method in (ops.sliding_windows, ops.seq2col, ops.backprop_seq2col):
        with pytest.raises(ValueError if nW == -1 else TypeError, match="the window nW must be"):
            method(X, nW)
        with pytest.raises(ValueError, match="2-d"):
            method(X[0], 1)
        with pytest.raises(TypeError, match="2-d array, got list"):
            method([[1.0]], 1)


@pytest.mark.parametrize("nW", [2**60, 2**62, 2**63, 2**100])
def test_a_window_larger_than_memory(nW):
    X = numpy.ones((4, 8), dtype="float32")  # 8 (2 nW + 1) may wrap to 8
    for method in (OPS.sliding_windows, OPS.seq2col, OPS.backprop_seq2col):
        with pytest.raises((MemoryError, ValueError, OverflowError)):
            method(X, nW)


# ---- their products ----------------------------------------------------------


@every_dtype
@given(
    rows=row_counts,
    width=st.one_of(st.integers(1, 20), st.sampled_from([96, 129, 400])),
    outputs=st.one_of(st.integers(0, 20), st.just(100)),
    pieces=st.integers(1, 4),
    seed=seeds,
)
def test_maxout_of_windows(dtype, rows, width, outputs, pieces, seed):
    X = normal((rows, width), dtype, seed)
    W, b = parameters(dtype, outputs, pieces, width, seed + 1)
    windows = OPS.sliding_windows(X, 1)
    best, which = OPS.affine_maxout(windows, W, b)
    exact = windows.astype("d") @ W.astype("d").reshape((-1, 3 * width)).T
    exact = exact.reshape((rows, outputs, pieces)) + b
    # Each row meets each part of the weights.
    row_sizes = numpy.abs(windows.astype("d")).reshape((rows, 3, width)).sum(axis=1)
    weight_sizes = numpy.abs(W.astype("d")).reshape((-1, 3, width)).sum(axis=1)
    size = (row_sizes @ weight_sizes.T).reshape(exact.shape) + numpy.abs(b)
    allowed = size.max(axis=2) * numpy.finfo(dtype).eps * (2 + numpy.sqrt(3 * width))
    assert best.dtype == dtype and which.dtype == "int32"
    assert (numpy.abs(best - exact.max(axis=2)) <= allowed).all()
    chosen = numpy.take_along_axis(exact, which[:, :, None].astype("int64"), axis=2)[:, :, 0]
    assert (numpy.abs(chosen - exact.max(axis=2)) <= 2 * allowed).all()
    assert_array_equal(OPS.affine_maximum(windows, W, b), best)


@every_dtype
def test_rounding_errors_are_those_of_the_direct_product(dtype):
    X = normal((1000, 96), dtype)
    W, b = parameters(dtype, 96, 3, 96)
    wide = OPS.seq2col(X, 1).astype("longdouble")
    exact = REFERENCE.affine_maximum(wide, W.astype("longdouble"), b)

    def error(rows):
        return numpy.sqrt(numpy.mean((OPS.affine_maximum(rows, W, b) - exact) ** 2))

    assert error(OPS.sliding_windows(X, 1)) <= 1.15 * error(OPS.seq2col(X, 1))


@every_dtype
def test_a_window_depends_on_its_own_rows_only(dtype):
    X = normal((101, 9), dtype)
    W, b = parameters(dtype, width=9)
    before = OPS.affine_maximum(OPS.sliding_windows(X, 1), W, b)
    for changed in (0, 1, 50, 51, 100):
        other = X.copy()
        other[changed] *= 1e6
        after = OPS.affine_maximum(OPS.sliding_windows(other, 1), W, b)
        near = numpy.abs(numpy.arange(101) - changed) <= 1
        assert_array_equal(after[~near], before[~near])
        assert (after[near] != before[near]).any(axis=1).all()


@every_dtype
@pytest.mark.parametrize("bad", [numpy.inf, -numpy.inf, numpy.nan, "huge"])
@given(rows=st.sampled_from([64, 65, 130, 300]), seed=seeds)
def test_numbers_that_are_not_finite_give_what_the_direct_product_gives(dtype, bad, rows, seed):
    X = normal((rows, 6), dtype, seed)
    W, b = parameters(dtype, width=6)
    rng = numpy.random.default_rng(seed)
    for _ in range(3):
        value = numpy.finfo(dtype).max / 1.5 if bad == "huge" else bad
        X[rng.integers(rows), rng.integers(6)] = value
    X[10] = X[12] = value  # their difference would be NaN
    with numpy.errstate(all="ignore"):
        found = OPS.affine_maxout(OPS.sliding_windows(X, 1), W, b)
        expected = OPS.affine_maxout(OPS.seq2col(X, 1), W, b)
    finite = numpy.isfinite(expected[0])
    assert_array_equal(found[0][~finite], expected[0][~finite])
    assert_array_equal(found[1][~finite], expected[1][~finite])
    scale = numpy.finfo(dtype).max if bad == "huge" else 1
    close = 1e-4 if dtype == "float32" else 1e-12
    assert_allclose(found[0][finite] / scale, expected[0][finite] / scale, rtol=close, atol=close)


@every_dtype
def test_what_lies_behind_the_last_window_does_not_matter(dtype):
    memory = numpy.full((200, 5), numpy.nan, dtype=dtype)
    memory[:103] = normal((103, 5), dtype)
    windows = as_strided(memory, (101, 15), memory.strides)
    W, b = parameters(dtype)
    assert_allclose(
        OPS.affine_maximum(windows, W, b), OPS.affine_maximum(windows.copy(), W, b), rtol=1e-4
    )


@every_dtype
def test_ties_take_the_first_piece(dtype):
    X = normal((90, 5), dtype)
    W, b = parameters(dtype)
    W[:, 2], b[:, 2] = W[:, 1], b[:, 1]
    best, which = OPS.affine_maxout(OPS.sliding_windows(X, 1), W, b)
    assert set(which.ravel()) == {0, 1}


@every_dtype
@pytest.mark.parametrize("nW", [1, 2])
@given(rows=st.integers(0, 100), seed=seeds)
def test_every_product_takes_overlapping_rows(dtype, nW, rows, seed):
    X = normal((rows, 4), dtype, seed)
    width = (2 * nW + 1) * 4
    windows, copied = OPS.sliding_windows(X, nW), OPS.seq2col(X, nW)
    W, b = normal((7, 3, width), dtype, seed), normal((7, 3), dtype, seed)
    dY = normal((rows, 7), dtype, seed)
    close = {"rtol": 1e-4, "atol": 1e-4} if dtype == "float32" else {"rtol": 1e-10, "atol": 1e-12}
    found, expected = (
        (OPS.gemm(A, W[:, 0], trans2=True), OPS.gemm(dY, A, trans1=True)) for A in (windows, copied)
    )
    assert_allclose(found[0], expected[0], **close)
    assert_allclose(found[1], expected[1], **close)
    for name in ("relu", "mish"):
        found, expected = (
            OPS.affine_activation(name, A, W[:, 0], b[:, 0])[0] for A in (windows, copied)
        )
        assert_allclose(found, expected, **close)
    which = numpy.random.default_rng(seed).integers(0, 3, (rows, 7)).astype("int32")
    results = []
    for A in (windows, copied):
        dW, db = numpy.zeros_like(W), numpy.zeros_like(b)
        results.append((OPS.backprop_affine_maxout(dY, which, A, W, dW, db), dW, db))
    for found, expected in zip(*results, strict=True):
        assert_allclose(found, expected, **close)


def test_a_row_that_is_repeated_by_a_stride_of_zero():
    row = normal((1, 9), "float32")
    W, b = parameters("float32", width=3)
    X = numpy.broadcast_to(row, (80, 9))
    assert_allclose(OPS.affine_maximum(X, W, b), OPS.affine_maximum(X.copy(), W, b), rtol=1e-5)
    nothing = numpy.zeros((80, 0), dtype="float32")
    assert_array_equal(OPS.affine_maximum(nothing, W[:, :, :0], b), [b.max(axis=1)] * 80)


# ---- the layers --------------------------------------------------------------


def test_gradients_of_an_encoder_of_windows():
    """Against central differences, with enough rows to share products."""
    X = normal((71, 4), "float64")
    model = chain(expand_window(1), Maxout(5, 12, nP=3)).initialize()
    node = model.layers[1]
    node.set_param("W", normal((5, 3, 12), "float64", 1))
    node.set_param("b", normal((5, 3), "float64", 2))
    dY = normal((71, 5), "float64", 3)
    _, backprop = model.begin_update(X)
    dX = backprop(dY)

    def slope(array, index, step=1e-6):
        value = array[index]
        sums = []
        for moved in (value + step, value - step):
            array[index] = moved
            sums.append((model.predict(X) * dY).sum())
        array[index] = value
        return (sums[0] - sums[1]) / (2 * step)

    W, dW = node.get_param("W"), node.get_grad("W")
    for index in [(0, 0), (1, 2), (35, 3), (69, 1), (70, 3)]:
        assert_allclose(dX[index], slope(X, index), rtol=1e-6, atol=1e-8)
    for index in [(0, 0, 0), (2, 1, 5), (4, 2, 11)]:
        assert_allclose(dW[index], slope(W, index), rtol=1e-6, atol=1e-8)
