"""Matrix products, compiled, against float64 products of NumPy, at every instruction-set level."""

import numpy
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from thinc.backends import NumpyOps, Ops, cpu_kernels
from thinc.backends.formulas import FORMULAS

OPS = NumpyOps()
REFERENCE = Ops()
LAYOUTS = ["contiguous", "fortran", "every second", "backwards", "read-only"]
PARAMS = {"clipped_linear": (0.5, 0.1, -0.4, 0.8), "mish": (3.0,)}

every_dtype = pytest.mark.parametrize("dtype", strategies.FLOAT_DTYPES)
every_transpose = pytest.mark.parametrize("trans1", [False, True])
every_activation = pytest.mark.parametrize("name", sorted(FORMULAS))
seeds = st.integers(0, 2**32 - 1)
sizes = st.one_of(st.integers(0, 70), st.integers(0, 9))
layout_names = st.sampled_from([*LAYOUTS, "rows apart", "columns backwards"])
BIG = [(257, 300, 129), (1, 1000, 301), (301, 1, 257), (130, 513, 1), (65, 17, 1025)]


@pytest.fixture(params=cpu_kernels.available_levels(), autouse=True, scope="module")
def level(request):
    with cpu_kernels.use_level(request.param):
        yield request.param


def normal(shape, dtype, seed):
    return numpy.random.default_rng(seed).normal(size=shape).astype(dtype)


def laid_out(X, layout):
    if layout == "rows apart":
        wide = numpy.full((X.shape[0], X.shape[1] + 3), numpy.nan, dtype=X.dtype)
        wide[:, 1:-2] = X
        return wide[:, 1:-2]
    if layout == "columns backwards":
        return numpy.ascontiguousarray(X[:, ::-1])[:, ::-1]
    return strategies.layouts(X)[layout]


def in_double(*arrays):
    return [X.astype("float64") for X in arrays]


def assert_product(found, A, B, added=0.0):
    """found = A @ B + added, to a rounding error that grows with the inner size."""
    A64, B64 = in_double(A, B)
    allowed = (numpy.abs(A64) @ numpy.abs(B64) + numpy.abs(added)) * (
        numpy.finfo(found.dtype).eps * (2 + numpy.sqrt(A.shape[1]))
    )
    assert found.dtype == A.dtype
    assert found.shape == (A.shape[0], B.shape[1])
    assert (numpy.abs(found - (A64 @ B64 + added)) <= allowed).all()


def close(dtype):
    return {"rtol": 3e-5, "atol": 3e-5} if dtype == "float32" else {"rtol": 1e-11, "atol": 1e-12}


# ---- gemm and gemm_add -------------------------------------------------------


@every_dtype
@every_transpose
@pytest.mark.parametrize("trans2", [False, True])
@given(M=sizes, N=sizes, K=sizes, layout1=layout_names, layout2=layout_names, seed=seeds)
def test_gemm(dtype, trans1, trans2, M, N, K, layout1, layout2, seed):
    A, B = normal((M, K), dtype, seed), normal((K, N), dtype, seed + 1)
    x = laid_out(A.T if trans1 else A, layout1)
    y = laid_out(B.T if trans2 else B, layout2)
    Y = OPS.gemm(x, y, trans1=trans1, trans2=trans2)
    assert_product(Y, A, B)
    assert Y.flags["C_CONTIGUOUS"]
    out = numpy.full((M, N), numpy.nan, dtype=dtype)
    assert OPS.gemm(x, y, out=out, trans1=trans1, trans2=trans2) is out
    assert_array_equal(out, Y)
    start = normal((M, N), dtype, seed + 2)
    total = start.copy()
    assert OPS.gemm_add(total, x, y, trans1=trans1, trans2=trans2) is total
    assert_product(total, A, B, start)


@every_dtype
@every_transpose
@pytest.mark.parametrize("trans2", [False, True])
@pytest.mark.parametrize(("M", "N", "K"), BIG)
def test_big_products(dtype, trans1, trans2, M, N, K):
    A, B = normal((M, K), dtype, 0), normal((K, N), dtype, 1)
    x = numpy.ascontiguousarray(A.T) if trans1 else A
    y = numpy.ascontiguousarray(B.T) if trans2 else B
    assert_product(OPS.gemm(x, y, trans1=trans1, trans2=trans2), A, B)
    start = normal((M, N), dtype, 2)
    total = start.copy()
    OPS.gemm_add(total, x, y, trans1=trans1, trans2=trans2)
    assert_product(total, A, B, start)


@every_dtype
@given(M=sizes, N=sizes, K=sizes, layout=layout_names, seed=seeds)
def test_an_output_of_any_layout_is_filled(dtype, M, N, K, layout, seed):
    A, B = normal((M, K), dtype, seed), normal((K, N), dtype, seed + 1)
    out = laid_out(numpy.full((M, N), numpy.nan, dtype=dtype), layout)
    if layout == "read-only":
        with pytest.raises(ValueError, match="read-only"):
            OPS.gemm(A, B, out=out)
        return
    base = out.base if out.base is not None else out
    untouched = numpy.ones(base.shape, dtype=bool)
    if layout in ("rows apart", "every second") and base.ndim == 2:
        columns = slice(1, -2) if layout == "rows apart" else slice(None, None, 2)
        untouched[:, columns] = False
        around = base[untouched].copy()
    else:
        around = None
    assert OPS.gemm(A, B, out=out) is out
    assert_product(out, A, B)
    if around is not None:
        assert_array_equal(base[untouched], around)
    total = laid_out(numpy.ones((M, N), dtype=dtype), layout)
    assert OPS.gemm_add(total, A, B) is total
    assert_product(total, A, B, 1.0)


@every_dtype
@pytest.mark.parametrize(
    "shape", [(7, 5), (5, 8), (7, 9), (6, 8), (8, 7), (56,), (7, 8, 1), (0, 8), ()]
)
def test_an_output_of_the_wrong_shape_is_refused(dtype, shape):
    A, B = normal((7, 30), dtype, 0), normal((30, 8), dtype, 1)
    # The output lies between guards, which a write past its ends would change.
    size = int(numpy.prod(shape))
    buffer = numpy.full(size + 2000, 5, dtype=dtype)
    out = buffer[1000 : 1000 + size].reshape(shape)
    with pytest.raises(ValueError, match="out"):
        OPS.gemm(A, B, out=out)
    with pytest.raises(ValueError, match="out"):
        OPS.gemm_add(out, A, B)
    assert_array_equal(buffer, 5)


@every_dtype
@pytest.mark.parametrize("other", ["float16", "float32", "float64", "int32", "int64", "complex64"])
def test_an_output_of_another_dtype_is_refused(dtype, other):
    if other == dtype:
        return
    A, B = normal((7, 30), dtype, 0), normal((30, 8), dtype, 1)
    buffer = numpy.full((21, 8), 5, dtype=other)
    out = buffer[7:14]
    with pytest.raises(ValueError, match="out"):
        OPS.gemm(A, B, out=out)
    with pytest.raises(ValueError, match="out"):
        OPS.gemm_add(out, A, B)
    assert_array_equal(buffer, 5)


@every_dtype
@pytest.mark.parametrize("size", [1, 5, 16, 40, 70])
def test_the_output_may_overlap_an_operand(dtype, size):
    for place in (0, 1):
        for shift in (0, 1, size):
            buffer = normal(size * size + size, dtype, 0)
            operands = [normal((size, size), dtype, 1), normal((size, size), dtype, 2)]
            operands[place] = buffer[: size * size].reshape((size, size))
            out = buffer[shift : shift + size * size].reshape((size, size))
            A, B = operands[0].copy(), operands[1].copy()
            OPS.gemm(*operands, out=out)
            assert_product(out, A, B)
            operands[place][...] = (A, B)[place]
            start = out.copy()
            OPS.gemm_add(out, *operands)
            assert_product(out, A, B, start)


@every_dtype
@pytest.mark.parametrize("value", [numpy.nan, numpy.inf, -numpy.inf])
@given(
    M=st.integers(1, 40),
    N=st.integers(1, 40),
    K=st.integers(1, 40),
    second=st.booleans(),
    seed=seeds,
)
def test_nan_and_infinity_reach_their_row_or_column_only(dtype, value, M, N, K, second, seed):
    A, B = (numpy.abs(normal(s, dtype, seed)) + 1 for s in ((M, K), (K, N)))
    row, column, inner = seed % M, seed % N, seed % K
    (B if second else A)[(inner, column) if second else (row, inner)] = value
    expected = numpy.zeros((M, N), dtype=bool)
    expected[(slice(None), column) if second else row] = True
    for Y in (OPS.gemm(A, B), OPS.affine(A, numpy.ascontiguousarray(B.T), numpy.zeros(N, dtype))):
        assert_array_equal(Y[expected], numpy.full(expected.sum(), value))
        assert numpy.isfinite(Y[~expected]).all()


@every_dtype
@pytest.mark.parametrize(("M", "N"), [(0, 0), (3, 0), (0, 4), (3, 4), (70, 33)])
def test_an_empty_inner_size_gives_zeros(dtype, M, N):
    A, B = numpy.empty((M, 0), dtype=dtype), numpy.empty((0, N), dtype=dtype)
    out = numpy.full((M, N), numpy.nan, dtype=dtype)
    assert_array_equal(OPS.gemm(A, B), numpy.zeros((M, N)))
    assert_array_equal(OPS.gemm(A, B, out=out), numpy.zeros((M, N)))
    assert_array_equal(OPS.gemm_add(out + 2, A, B), numpy.full((M, N), 2))
    b = normal(N, dtype, 0)
    W = numpy.empty((N, 0), dtype=dtype)
    assert_array_equal(OPS.affine(A, W, b), numpy.tile(b, (M, 1)))
    assert_array_equal(
        OPS.affine_activation("relu", A, W, b)[0], numpy.tile(numpy.maximum(b, 0), (M, 1))
    )


@pytest.mark.parametrize("bad", [None, [[1.0, 2.0]], 3.0, "text"])
def test_operands_that_are_no_arrays_are_refused(bad):
    X = numpy.ones((2, 2), dtype="float32")
    b = numpy.ones(2, dtype="float32")
    for x, y in ((bad, X), (X, bad)):
        with pytest.raises(TypeError, match="expected two numpy arrays, got"):
            OPS.gemm(x, y)
        with pytest.raises(TypeError, match="gemm_add: expected"):
            OPS.gemm_add(X.copy(), x, y)
    with pytest.raises(TypeError, match="gemm_add: expected"):
        OPS.gemm_add(bad, X, X)
    with pytest.raises(TypeError, match="Expected a numpy array, got"):
        OPS.affine(bad, X, b)
    with pytest.raises(TypeError, match="Expected a numpy array, got"):
        OPS.affine_activation("relu", bad, X, b)
    with pytest.raises(TypeError, match="Expected a numpy array, got"):
        OPS.affine_maxout(bad, X[None], b[None])


@pytest.mark.parametrize("other", ["int32", "int64", "bool", "float16", "float64", "complex64"])
def test_operands_of_other_dtypes_are_refused(other):
    X = numpy.ones((2, 2), dtype="float32")
    bad = numpy.ones((2, 2), dtype=other)
    for x, y in ((bad, X), (X, bad)):
        with pytest.raises(ValueError, match=f"both operands must be float32.*{other}"):
            OPS.gemm(x, y)
    if bad.dtype.kind != "f":
        with pytest.raises(ValueError, match=f"Expected an array of floats.*{other}"):
            OPS.affine(bad, X, numpy.ones(2, dtype="float32"))
        with pytest.raises(ValueError, match=f"Expected an array of floats.*{other}"):
            OPS.affine_maxout(bad, X[None], numpy.ones((1, 2), dtype="float32"))


@every_dtype
def test_sizes_that_do_not_fit_are_refused(dtype):
    A, B = numpy.ones((3, 4), dtype=dtype), numpy.ones((5, 6), dtype=dtype)
    with pytest.raises(ValueError, match="inner sizes differ, 4 and 5"):
        OPS.gemm(A, B)
    with pytest.raises(ValueError, match="inner sizes differ, 3 and 6"):
        OPS.gemm(A, B, trans1=True, trans2=True)
    with pytest.raises(ValueError, match="inner sizes differ"):
        OPS.gemm_add(numpy.ones((3, 6), dtype=dtype), A, B)
    with pytest.raises(ValueError, match="2-dimensional"):
        OPS.gemm(A[0], A.T)
    with pytest.raises(ValueError, match="input width 4 does not match W"):
        OPS.affine(A, B, numpy.ones(5, dtype=dtype))
    with pytest.raises(ValueError, match="b of shape"):
        OPS.affine(A, A, numpy.ones(4, dtype=dtype))
    with pytest.raises(ValueError, match="2-dimensional"):
        OPS.affine(A[0], A, numpy.ones(3, dtype=dtype))


# ---- affine ------------------------------------------------------------------


@every_dtype
@given(M=sizes, N=sizes, K=sizes, layout1=layout_names, layout2=layout_names, seed=seeds)
def test_affine(dtype, M, N, K, layout1, layout2, seed):
    X, W = normal((M, K), dtype, seed), normal((N, K), dtype, seed + 1)
    b = normal(N, dtype, seed + 2)
    given_b = strategies.layouts(b)[layout2 if layout2 in LAYOUTS else "backwards"]
    Y = OPS.affine(laid_out(X, layout1), laid_out(W, layout2), given_b)
    assert_product(Y, X, W.T, b)


@every_dtype
@pytest.mark.parametrize(("M", "N", "K"), BIG)
def test_big_affine(dtype, M, N, K):
    X, W, b = normal((M, K), dtype, 0), normal((N, K), dtype, 1), normal(N, dtype, 2)
    assert_product(OPS.affine(X, W, b), X, W.T, b)
    Y, P = OPS.affine_activation("gelu", X, W, b)
    assert_product(P, X, W.T, b)
    assert_allclose(Y, OPS.gelu(P), **close(dtype))


@every_dtype
@every_activation
@pytest.mark.parametrize("defaults", [True, False])
@settings(max_examples=8)
@given(M=sizes, N=sizes, K=sizes, layout=layout_names, seed=seeds)
def test_affine_activation(dtype, name, defaults, M, N, K, layout, seed):
    X, b = normal((M, K), dtype, seed), normal(N, dtype, seed + 2)
    W = normal((N, K), dtype, seed + 1) / numpy.sqrt(max(K, 1)).astype(dtype)
    params = () if defaults else PARAMS.get(name, ())
    Y, P = OPS.affine_activation(name, laid_out(X, layout), laid_out(W, layout), b, params)
    wanted, pre_activation = REFERENCE.affine_activation(name, *in_double(X, W, b), params)
    assert Y.dtype == dtype
    assert_allclose(Y, wanted, **close(dtype))
    if pre_activation is None:
        assert P is None
    else:
        assert_allclose(P, pre_activation, **close(dtype))


@every_dtype
@every_activation
@pytest.mark.parametrize("defaults", [True, False])
@settings(max_examples=8)
@given(M=sizes, N=sizes, layout1=layout_names, layout2=layout_names, seed=seeds)
def test_backprop_activation(dtype, name, defaults, M, N, layout1, layout2, seed):
    dY, Z = normal((M, N), dtype, seed), normal((M, N), dtype, seed + 1) * 3
    params = () if defaults else PARAMS.get(name, ())
    given_dY, given_Z = laid_out(dY, layout1), laid_out(Z, layout2)
    dP = OPS.backprop_activation(name, given_dY, given_Z, params)
    assert dP.dtype == dtype
    wanted = REFERENCE.backprop_activation(name, *in_double(dY, Z), params)
    # A float32 swish slope may be off by 1.3e-6; the others by less.
    assert_allclose(dP, wanted, **close(dtype))
    assert not numpy.shares_memory(dP, given_dY)
    assert_array_equal(given_dY, dY)
    assert_array_equal(given_Z, Z)


def test_an_unknown_activation_is_a_key_error():
    X = numpy.ones((2, 2), dtype="float32")
    with pytest.raises(KeyError, match="No activation named 'rleu'"):
        OPS.affine_activation("rleu", X, X, X[0])
    with pytest.raises(KeyError, match="No activation named 'rleu'"):
        OPS.backprop_activation("rleu", X, X)


@every_dtype
@given(B=sizes, O=st.integers(0, 20), P=st.integers(1, 7), K=sizes, layout=layout_names, seed=seeds)
def test_affine_maxout(dtype, B, O, P, K, layout, seed):
    X, W = normal((B, K), dtype, seed), normal((O, P, K), dtype, seed + 1)
    b = normal((O, P), dtype, seed + 2)
    W_given = strategies.layouts(W)[layout if layout in LAYOUTS else "backwards"]
    best, which = OPS.affine_maxout(laid_out(X, layout), W_given, laid_out(b, layout))
    X64, W64, b64 = in_double(X, W, b)
    pieces = (X64 @ W64.reshape((O * P, K)).T).reshape((B, O, P)) + b64
    assert best.dtype == dtype
    assert which.dtype == "int32"
    assert best.shape == which.shape == (B, O)
    assert_allclose(best, pieces.max(axis=2), **close(dtype))
    # Two pieces may be equal but for rounding; the chosen one is as large as the largest.
    chosen = numpy.take_along_axis(pieces, which[:, :, None].astype("int64"), axis=2)[:, :, 0]
    assert_allclose(chosen, pieces.max(axis=2), **close(dtype))


@every_dtype
@pytest.mark.parametrize("ops", [OPS, REFERENCE], ids=["numpy", "generic"])
@given(B=sizes, O=st.integers(0, 20), P=st.integers(1, 4), K=sizes, layout=layout_names, seed=seeds)
def test_predictions_are_what_training_computes(ops, dtype, B, O, P, K, layout, seed):
    X, W = laid_out(normal((B, K), dtype, seed), layout), normal((O, P, K), dtype, seed + 1)
    b = normal((O, P), dtype, seed + 2)
    best = ops.affine_maximum(X, W, b)
    assert best.dtype == dtype
    assert_array_equal(best, ops.affine_maxout(X, W, b)[0])
    for name in FORMULAS:
        Y, _ = ops.affine_activation(name, X, W[:, 0], b[:, 0])
        assert_allclose(ops.affine_value(name, X, W[:, 0], b[:, 0]), Y, **close(dtype))


@every_dtype
def test_affine_maxout_with_ties_takes_the_first_and_keeps_nan(dtype):
    X = numpy.ones((37, 5), dtype=dtype)
    X[3, 2] = numpy.nan
    W, b = numpy.ones((9, 3, 5), dtype=dtype), numpy.zeros((9, 3), dtype=dtype)
    b[:, 0] = -1
    best, which = OPS.affine_maxout(X, W, b)
    bad = numpy.arange(37) == 3
    assert_array_equal(best[~bad], 5)
    assert_array_equal(which[~bad], 1)
    assert numpy.isnan(best[bad]).all()
    assert_array_equal(which[bad], 0)


@every_dtype
@given(
    B=st.one_of(sizes, st.integers(120, 140)),
    O=st.integers(0, 20),
    P=st.integers(1, 5),
    K=sizes,
    layout=layout_names,
    seed=seeds,
)
def test_backprop_affine_maxout(dtype, B, O, P, K, layout, seed):
    X, W = normal((B, K), dtype, seed), normal((O, P, K), dtype, seed + 1)
    dY, which = normal((B, O), dtype, seed + 2), seeded_integers((B, O), P, seed)
    dW, db = normal((O, P, K), dtype, seed + 3), normal((O, P), dtype, seed + 4)
    dP = numpy.where(which[:, :, None] == numpy.arange(P), dY.astype("d")[:, :, None], 0.0)
    expected_dX = numpy.einsum("bop,opk->bk", dP, W.astype("d"))
    expected_dW = dW + numpy.einsum("bop,bk->opk", dP, X.astype("d"))
    expected_db = db + dP.sum(axis=0)
    dX = OPS.backprop_affine_maxout(laid_out(dY, layout), which, laid_out(X, layout), W, dW, db)
    assert dX.dtype == dtype and dX.shape == (B, K)
    assert_allclose(dX, expected_dX, **close(dtype))
    assert_allclose(dW, expected_dW, **close(dtype))
    assert_allclose(db, expected_db, **close(dtype))


def seeded_integers(shape, below, seed):
    return numpy.random.default_rng(seed).integers(0, below, shape).astype("int32")


@every_dtype
@pytest.mark.parametrize("ops", [OPS, REFERENCE], ids=["numpy", "generic"])
@pytest.mark.parametrize("B", [3, 40])
def test_backprop_affine_maxout_refuses_what_does_not_fit(dtype, ops, B):
    X, W, dY = normal((B, 5), dtype, 0), normal((2, 3, 5), dtype, 1), normal((B, 2), dtype, 2)
    which = numpy.zeros((B, 2), "int32")
    dW, db = numpy.zeros((2, 3, 5), dtype), numpy.zeros((2, 3), dtype)
    for wrong in (3, -1):
        which[1, 1] = wrong
        with pytest.raises(IndexError, match=r"3 pieces|range|\[0, 3\)"):
            ops.backprop_affine_maxout(dY, which, X, W, dW, db)
    which[1, 1] = 0
    short = [(dY[1:], which, X), (dY, which[1:], X), (dY, which, X[1:])]
    narrow = [(dY[:, 1:], which, X), (dY, which[:, 1:], X), (dY, which, X[:, 1:])]
    for bad in short + narrow:
        with pytest.raises((ValueError, IndexError)):
            ops.backprop_affine_maxout(*bad, W, dW, db)
    assert not dW.any() and not db.any()


# ---- column sums -------------------------------------------------------------


@every_dtype
@given(B=sizes, O=sizes, layout=layout_names, strided=st.booleans(), seed=seeds)
def test_add_column_sums(dtype, B, O, layout, strided, seed):
    X, start = normal((B, O), dtype, seed), normal(O, dtype, seed + 1)
    out = strategies.layouts(start)["every second" if strided else "contiguous"]
    assert OPS.add_column_sums(out, laid_out(X, layout)) is out
    assert_allclose(out, start.astype("float64") + X.astype("float64").sum(axis=0), **close(dtype))


@every_dtype
def test_add_column_sums_of_many_rows_and_of_nan(dtype):
    X = normal((5001, 37), dtype, 0)
    out = OPS.add_column_sums(numpy.zeros(37, dtype=dtype), X)
    assert_allclose(out, X.sum(axis=0, dtype="float64"), rtol=1e-4, atol=1e-3)
    X[4000, 20] = numpy.nan
    out = OPS.add_column_sums(numpy.zeros(37, dtype=dtype), X)
    assert_array_equal(numpy.isnan(out), numpy.arange(37) == 20)


@every_dtype
@pytest.mark.parametrize("shape", [(3,), (5,), (4, 1), (0,)])
def test_column_sums_of_another_width_are_refused(dtype, shape):
    buffer = numpy.full(100, 5, dtype=dtype)
    size = int(numpy.prod(shape))
    with pytest.raises(ValueError, match="add_column_sums"):
        OPS.add_column_sums(buffer[50 : 50 + size].reshape(shape), numpy.ones((2, 4), dtype=dtype))
    assert_array_equal(buffer, 5)
