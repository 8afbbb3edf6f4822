"""The C functions of CBlas, called from a compiled client, against float64 products."""

import copy
import pickle
import re
import threading

import numpy
import pytest
from c_client import compiled
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from thinc.api import NumpyOps, Ops
from thinc.backends import cblas, cpu_kernels
from thinc.backends.cblas import CBlas

DTYPES = ["float32", "float64"]
NAN = numpy.nan
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
GETTERS = ["saxpy", "daxpy", "sgemm", "dgemm", "sscal", "dscal"]
OBJECT = "struct __pyx_obj_5thinc_8backends_5cblas_CBlas *"


@pytest.fixture(scope="module")
def client():
    return compiled("blas_client")


# ---- what compiled packages check when they are imported ---------------------------


def test_cblas_has_the_size_and_kind_that_compiled_clients_expect():
    assert CBlas.__basicsize__ == 32
    assert CBlas.__itemsize__ == 0
    assert "__pyx_vtable__" not in vars(CBlas)
    assert CBlas.__dictoffset__ == CBlas.__weakrefoffset__ == 0
    assert not CBlas.__flags__ & (1 << 14)  # not tracked by the garbage collector
    assert tuple(CBlas.__slots__) == ()


def test_functions_are_exported_under_the_exact_signatures():
    expected = {}
    for name in GETTERS:
        pointer = f"__pyx_t_5thinc_8backends_5cblas_{name}_ptr"
        expected[name] = f"{pointer} ({OBJECT})"
        expected[f"set_{name}"] = f"void ({OBJECT}, {pointer})"
    found = {
        name: re.search('"(.*)"', repr(capsule)).group(1)
        for name, capsule in cblas.__pyx_capi__.items()
    }
    assert found == expected


# ---- the object ---------------------------------------------------------------------


def test_numpy_ops_give_a_new_object_each_time():
    ops = NumpyOps()
    assert type(ops.cblas()) is CBlas
    assert ops.cblas() is not ops.cblas()


def test_ops_without_c_functions_say_so():
    with pytest.raises(NotImplementedError, match="Ops does not provide C BLAS functions"):
        Ops().cblas()


@pytest.mark.parametrize("use", [pickle.dumps, copy.copy, copy.deepcopy])
def test_cannot_be_pickled_or_copied(use):
    with pytest.raises(TypeError, match="CBlas.*cannot be pickled or copied.*ops.cblas()"):
        use(CBlas())


def test_works_however_it_was_made(client):
    class Forgetful(CBlas):
        def __init__(self, argument):
            pass

    for made in (CBlas.__new__(CBlas), Forgetful(3), CBlas()):
        assert client.marks(made) == [1, 1, 1, 1, 1, 1]


def test_functions_are_replaced_in_one_object_only(client):
    mine, other = CBlas(), CBlas()
    client.replace_all(mine)
    assert client.marks(mine) == [1, 2, 3, 4, 5, 6]
    assert client.marks(other) == [1, 1, 1, 1, 1, 1]


def test_objects_are_freed(client):
    resource = pytest.importorskip("resource", reason="measures memory as Unix does")

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    for _ in range(1000):
        CBlas()
    before = peak()
    for _ in range(300_000):  # 14 MB if the tables stayed
        CBlas()
    assert peak() - before < 5000


# ---- products -----------------------------------------------------------------------


@every_dtype
@pytest.mark.parametrize("level", cpu_kernels.available_levels())
@given(data=st.data())
def test_gemm_is_the_product_in_any_layout(client, dtype, level, data):
    size = st.one_of(st.integers(0, 12), st.integers(0, 70))
    M, N, K = data.draw(size), data.draw(size), data.draw(size)
    transA, transB = data.draw(st.booleans()), data.draw(st.booleans())
    alpha, beta = data.draw(st.sampled_from([1, 0, -0.5])), data.draw(st.sampled_from([0, 1, 2.5]))
    extra = [data.draw(st.integers(0, 5)) for _ in range(3)]
    rng = numpy.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))

    def stored(rows, columns, extra):
        """A matrix with NaN between its rows: nothing may be read there."""
        X = numpy.full((rows, columns + extra), NAN, dtype=dtype)
        X[:, :columns] = rng.normal(size=(rows, columns))
        return X

    A = stored(*((K, M) if transA else (M, K)), extra[0])
    B = stored(*((N, K) if transB else (K, N)), extra[1])
    C = stored(M, N, extra[2])
    a, b, c = A[:, : M if transA else K], B[:, : K if transB else N], C[:, :N]
    a64, b64 = (a.T if transA else a).astype("d"), (b.T if transB else b).astype("d")
    expected = alpha * (a64 @ b64) + beta * c.astype("d")
    bound = abs(alpha) * (abs(a64) @ abs(b64)) + abs(beta * c.astype("d"))
    if beta == 0:
        c[:] = NAN
    out = numpy.append(C.ravel(), numpy.array(-7, dtype=dtype))  # never empty; a guard
    with cpu_kernels.use_level(level):
        client.gemm(
            CBlas(), transA, transB, M, N, K, alpha, flat(A), A.shape[1], flat(B), B.shape[1],
            beta, out, C.shape[1],
        )
    assert out[-1] == -7
    found = out[:-1].reshape(C.shape)
    assert_array_equal(found[:, N:], C[:, N:])
    error = abs(found[:, :N] - expected)
    assert (error <= bound * numpy.finfo(dtype).eps * (3 + numpy.sqrt(K))).all()


def flat(X):
    return X.ravel() if X.size else numpy.zeros(1, dtype=X.dtype)


@every_dtype
@pytest.mark.parametrize(
    ("M", "N", "K", "expected"),
    [(-1, 2, 2, 5), (2, -1, 2, 5), (0, 2, 2, 5), (2, 2, -3, 10), (2, 2, 0, 10)],
)
def test_gemm_of_no_rows_does_nothing_and_of_no_depth_scales(client, dtype, M, N, K, expected):
    X = numpy.full(4, NAN, dtype=dtype)
    C = numpy.full(4, 5, dtype=dtype)
    client.gemm(CBlas(), False, False, M, N, K, 1, X, 2, X, 2, 2, C, 2)
    assert_array_equal(C, numpy.full(4, expected, dtype=dtype))


def test_what_a_parser_asks_for(client):
    """States by hidden width, times classes by hidden width, as spaCy's parser does."""
    rng = numpy.random.default_rng(0)
    for states in range(1, 9):
        for classes in (2, 50, 83, 100):
            A = rng.normal(size=(states, 64)).astype("f")
            W = rng.normal(size=(classes, 64)).astype("f")
            C = numpy.full((states, classes), NAN, dtype="f")
            client.repeat_sgemm(CBlas(), True, A, W, C, 1)
            assert_allclose(C, A.astype("d") @ W.T.astype("d"), rtol=1e-4, atol=1e-5)


def test_many_threads_get_the_same_product(client):
    rng = numpy.random.default_rng(0)
    shapes = [(3, 70, 64), (40, 33, 129), (200, 150, 100), (1, 1000, 17)]
    cases = [
        (rng.normal(size=(M, K)).astype("f"), rng.normal(size=(K, N)).astype("f"))
        for M, N, K in shapes
    ]
    shared = CBlas()

    def product(A, B, times):
        C = numpy.full((len(A), B.shape[1]), NAN, dtype="f")
        client.repeat_sgemm(shared, False, A, B, C, times)
        return C

    expected = [product(A, B, 1) for A, B in cases]
    wrong = []

    def work(seed):
        for i in numpy.random.default_rng(seed).integers(len(cases), size=30):
            if not numpy.array_equal(product(*cases[i], 3), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# ---- vectors ------------------------------------------------------------------------


@every_dtype
@pytest.mark.parametrize("level", cpu_kernels.available_levels())
@given(data=st.data())
def test_axpy_and_scal_follow_the_strides(client, dtype, level, data):
    N = data.draw(st.integers(0, 200))
    alpha = data.draw(st.sampled_from([1.0, -0.5, 0.0, 3.0]))
    rng = numpy.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))

    def strided():
        step = data.draw(st.sampled_from([1, 1, 2, 3, -1, -2]))
        X = rng.normal(size=N * abs(step) + 1).astype(dtype)
        first = 0 if step > 0 else max(N - 1, 0) * -step
        index = first + step * numpy.arange(N)
        return X, first, step, index

    X, first_x, inc_x, at_x = strided()
    Y, first_y, inc_y, at_y = strided()
    expected = Y.astype("d")
    expected[at_y] += alpha * X[at_x].astype("d")
    scaled = X.copy()
    scaled[at_x] *= X.dtype.type(alpha)
    untouched = numpy.setdiff1d(numpy.arange(Y.size), at_y)
    before = Y.copy()
    with cpu_kernels.use_level(level):
        client.axpy(CBlas(), N, alpha, X, first_x, inc_x, Y, first_y, inc_y)
        client.scal(CBlas(), N, alpha, X, first_x, inc_x)
    assert_allclose(Y, expected, rtol=4 * numpy.finfo(dtype).eps, atol=8 * numpy.finfo(dtype).eps)
    assert_array_equal(Y[untouched], before[untouched])
    assert_array_equal(X, scaled)


@every_dtype
@pytest.mark.parametrize("N", [0, -1, -100])
def test_vectors_without_elements_are_left_alone(client, dtype, N):
    X, Y = numpy.full(3, 2, dtype=dtype), numpy.full(3, 5, dtype=dtype)
    client.axpy(CBlas(), N, 1, X, 0, 1, Y, 0, 1)
    client.scal(CBlas(), N, 9, X, 0, 1)
    assert_array_equal(X, numpy.full(3, 2, dtype=dtype))
    assert_array_equal(Y, numpy.full(3, 5, dtype=dtype))


@every_dtype
def test_axpy_with_alpha_zero_does_not_read(client, dtype):
    Y = numpy.ones(20, dtype=dtype)
    client.axpy(CBlas(), 20, 0, numpy.full(20, NAN, dtype=dtype), 0, 1, Y, 0, 1)
    assert_array_equal(Y, numpy.ones(20, dtype=dtype))
