"""Vec, VecVec and Mat: inlined into a compiled client, and through the types' tables."""

import ctypes
import math

import numpy
import pytest
from c_client import compiled
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from thinc.backends.linalg import Mat, Matrix, Vec, VecVec

FLOATS = ctypes.POINTER(ctypes.c_float)
INTS = ctypes.POINTER(ctypes.c_int)
NUMBER, LENGTH = ctypes.c_float, ctypes.c_int32
X, Y, OUT = FLOATS, FLOATS, FLOATS
# In the order of the tables: published clients rely on it. Name, result, arguments.
TABLES = {
    Vec: [
        ("arg_max", ctypes.c_int, [X, LENGTH]),
        ("max", NUMBER, [X, LENGTH]),
        ("sum", NUMBER, [X, LENGTH]),
        ("norm", NUMBER, [X, LENGTH]),
        ("add", None, [OUT, X, NUMBER, LENGTH]),
        ("add_i", None, [X, NUMBER, LENGTH]),
        ("mul", None, [OUT, X, NUMBER, LENGTH]),
        ("mul_i", None, [X, NUMBER, LENGTH]),
        ("pow", None, [OUT, X, NUMBER, LENGTH]),
        ("pow_i", None, [X, NUMBER, LENGTH]),
        ("div", None, [OUT, X, NUMBER, LENGTH]),
        ("div_i", None, [X, NUMBER, LENGTH]),
        ("exp", None, [OUT, X, LENGTH]),
        ("exp_i", None, [X, LENGTH]),
        ("reciprocal_i", None, [X, LENGTH]),
        ("mean", NUMBER, [X, LENGTH]),
        ("variance", NUMBER, [X, LENGTH]),
    ],
    VecVec: [
        ("add", None, [OUT, X, Y, NUMBER, LENGTH]),
        ("add_i", None, [X, Y, NUMBER, LENGTH]),
        ("batch_add_i", None, [X, Y, NUMBER, LENGTH, LENGTH]),
        ("add_pow", None, [OUT, X, Y, NUMBER, LENGTH]),
        ("add_pow_i", None, [X, Y, NUMBER, LENGTH]),
        ("mul", None, [OUT, X, Y, LENGTH]),
        ("mul_i", None, [X, Y, LENGTH]),
        ("dot", NUMBER, [X, Y, LENGTH]),
        ("arg_max_if_true", ctypes.c_int, [X, INTS, LENGTH]),
        ("arg_max_if_zero", ctypes.c_int, [X, Y, LENGTH]),
    ],
    Mat: [
        ("mean_row", None, [OUT, X, LENGTH, LENGTH]),
        ("var_row", None, [OUT, X, Y, LENGTH, LENGTH, NUMBER]),
    ],
}
numbers = st.floats(-8, 8, width=32)
arrays = st.lists(numbers, min_size=0, max_size=40).map(lambda x: numpy.array(x, dtype="f"))


@pytest.fixture(scope="module")
def client():
    return compiled("blas_client")


def functions(cls):
    """name -> the function in the type's table, as machine code that a client would call."""
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = ctypes.cast(get(vars(cls)["__pyx_vtable__"], None), ctypes.POINTER(ctypes.c_void_p))
    return {
        name: ctypes.CFUNCTYPE(result, *arguments)(table[i])
        for i, (name, result, arguments) in enumerate(TABLES[cls])
    }


VEC, VECVEC, MAT = functions(Vec), functions(VecVec), functions(Mat)


def call(function, *arguments):
    """Call a C function; arrays go as pointers to their first element."""
    keep = [pointer(a) if isinstance(a, numpy.ndarray) else a for a in arguments]
    return function(*keep)


def pointer(array):
    return array.ctypes.data_as(INTS if array.dtype == "int32" else FLOATS)


def assert_close(found, expected):
    assert_allclose(found, expected, rtol=2e-6, atol=1e-5)


def test_types_have_the_sizes_that_compiled_clients_expect():
    sizes = {cls: cls.__basicsize__ for cls in (Matrix, Vec, VecVec, Mat)}
    assert sizes == {Matrix: 40, Vec: 24, VecVec: 24, Mat: 24}
    for cls in sizes:
        assert ("__pyx_vtable__" in vars(cls)) == (cls is not Matrix)


def test_matrix_is_empty_and_read_only():
    matrix = Matrix()
    assert (matrix.mem, matrix.nr_row, matrix.nr_col) == (None, 0, 0)
    with pytest.raises(AttributeError):
        matrix.nr_row = 3


# ---- the largest ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([], -1),
        ([3], 0),
        ([1, 2], 1),
        ([2, 1], 0),
        ([2, 2], 1),  # of two, the last of equals
        ([5, math.nan], 1),
        ([math.nan, 5], 1),
        ([1, 4, 4, 2], 1),  # of more, the first
        ([math.nan, 9, 9], 0),
        ([1, math.nan, 9], 2),
        ([-math.inf] * 3, 0),
        ([-3, -2, -1], 2),
    ],
)
def test_arg_max(scores, best, client):
    array = numpy.array(scores, dtype="f")
    assert call(VEC["arg_max"], array, len(array)) == best
    if len(array):
        assert client.arg_max(array) == best


@given(x=arrays, data=st.data())
def test_arg_max_among_some(x, data):
    n = len(x)
    chosen = numpy.array(data.draw(st.lists(st.sampled_from([0, 1, -2]), min_size=n, max_size=n)))
    best = max((i for i in range(n) if chosen[i]), key=lambda i: (x[i], -i), default=-1)
    costs = numpy.where(chosen, 0, 0.5).astype("f")
    assert call(VECVEC["arg_max_if_true"], x, chosen.astype("int32"), n) == best
    assert call(VECVEC["arg_max_if_zero"], x, costs, n) == best


# ---- one array -----------------------------------------------------------------------


@given(x=arrays)
def test_sums_over_an_array(x):
    wide = x.astype("d")
    assert call(VEC["max"], x, len(x)) == (x.max() if len(x) else 0)
    assert_close(call(VEC["sum"], x, len(x)), wide.sum())
    assert_close(call(VEC["norm"], x, len(x)), numpy.sqrt((wide**2).sum()))
    if len(x):
        assert_close(call(VEC["mean"], x, len(x)), wide.mean())
        assert_close(call(VEC["variance"], x, len(x)), wide.var())


def test_nothing_has_no_mean_and_no_variance():
    assert math.isnan(VEC["mean"](None, 0))
    assert math.isnan(VEC["variance"](None, 0))


def test_variance_of_numbers_far_from_zero():
    x = numpy.array([4e6, 4e6 + 1, 4e6 + 2], dtype="f")
    assert call(VEC["variance"], x, 3) == pytest.approx(2 / 3, rel=1e-6)


@given(x=arrays, k=numbers)
def test_each_element_with_a_number(x, k):
    n = len(x)
    k = numpy.float32(k or 1)
    positive = numpy.abs(x) + 1
    for name, start, arguments, expected in [
        ("add", x, [k], x.astype("d") + k),
        ("mul", x, [k], x.astype("d") * k),
        ("div", x, [k], x.astype("d") / k),
        ("pow", positive, [k], positive.astype("d") ** k),
        ("exp", x, [], numpy.exp(x.astype("d"))),
    ]:
        before, out, changed = start.copy(), numpy.full_like(start, 7), start.copy()
        arguments = [float(a) for a in arguments]
        call(VEC[name], out, start, *arguments, n)
        call(VEC[f"{name}_i"], changed, *arguments, n)
        assert_allclose(out, expected, rtol=2e-6, atol=1e-5, err_msg=name)
        assert_array_equal(out, changed)
        assert_array_equal(start, before)
    call(VEC["reciprocal_i"], positive, n)
    assert_close(positive, 1 / (numpy.abs(x.astype("d")) + 1))


# ---- two arrays ----------------------------------------------------------------------


@given(x=arrays, scale=numbers, seed=st.integers(0, 2**32 - 1))
def test_two_arrays(x, scale, seed):
    n = len(x)
    y = numpy.random.default_rng(seed).uniform(0.5, 2, size=n).astype("f")
    x64, y64 = x.astype("d"), y.astype("d")
    assert_close(call(VECVEC["dot"], x, y, n), x64 @ y64)
    for name, arguments, expected in [
        ("add", [scale], x64 + numpy.float32(scale) * y64),
        ("add_pow", [scale], x64 + y64 ** numpy.float32(scale)),
        ("mul", [], x64 * y64),
    ]:
        before, out, changed = x.copy(), numpy.full_like(x, 7), x.copy()
        call(VECVEC[name], out, x, y, *arguments, n)
        call(VECVEC[f"{name}_i"], changed, y, *arguments, n)
        assert_allclose(out, expected, rtol=3e-6, atol=2e-5, err_msg=name)
        assert_array_equal(out, changed)
        assert_array_equal(x, before)


@given(rows=st.integers(0, 5), columns=st.integers(1, 9), seed=st.integers(0, 2**32 - 1))
def test_batch_add_adds_each_row(rows, columns, seed):
    rng = numpy.random.default_rng(seed)
    x = rng.normal(size=columns).astype("f")
    Y = rng.normal(size=(rows, columns)).astype("f")
    expected = x + 0.5 * Y.astype("d").sum(axis=0)
    call(VECVEC["batch_add_i"], x, Y, 0.5, columns, rows)
    assert_close(x, expected)


# ---- matrices ------------------------------------------------------------------------


@given(rows=st.integers(1, 9), columns=st.integers(1, 9), seed=st.integers(0, 2**32 - 1))
def test_columns_of_a_matrix(rows, columns, seed, client):
    matrix = numpy.random.default_rng(seed).normal(3, 1, size=(rows, columns)).astype("f")
    mean, variance = (numpy.full(columns, numpy.nan, dtype="f") for _ in range(2))
    call(MAT["mean_row"], mean, matrix, rows, columns)
    assert_close(mean, matrix.astype("d").mean(axis=0))
    call(MAT["var_row"], variance, matrix, mean, rows, columns, 0.25)
    assert_close(variance, matrix.astype("d").var(axis=0) + 0.25)
    inlined = [numpy.zeros(columns, dtype="f") for _ in range(2)]
    client.column_mean_and_variance(matrix, *inlined, 0.25)
    assert_allclose(inlined, [mean, variance], rtol=1e-6)


def test_variance_corrects_the_rounding_of_the_mean():
    matrix = numpy.array([[1.0], [3.0]], dtype="f")
    slightly_off = numpy.array([2.5], dtype="f")
    variance = numpy.zeros(1, dtype="f")
    call(MAT["var_row"], variance, matrix, slightly_off, 2, 1, 0.0)
    assert variance[0] == 1.0


def test_an_empty_matrix_has_no_mean_and_leaves_the_variance_alone():
    mean, variance = numpy.zeros(2, dtype="f"), numpy.full(2, 5, dtype="f")
    call(MAT["mean_row"], mean, numpy.zeros((0, 2), dtype="f"), 0, 2)
    assert numpy.isnan(mean).all()
    call(MAT["var_row"], variance, numpy.zeros((0, 2), dtype="f"), mean, 0, 2, 0.0)
    call(MAT["var_row"], variance, numpy.zeros((2, 0), dtype="f"), mean, 2, 0, 0.0)
    assert_array_equal(variance, [5, 5])


# ---- inlined into a client -------------------------------------------------------------


def test_a_client_can_call_every_function_without_the_gil(client):
    x = numpy.array([1.5, -0.5, 2.0], dtype="f")
    before, out = x.copy(), numpy.zeros(3, dtype="f")
    found = client.every_vec(x, out, 2.0)
    wide = before.astype("d")
    assert_close(found, [2, wide.sum(), numpy.sqrt(wide @ wide), wide.mean(), wide.var()])
    assert_close(out, wide + 2)  # (x + 2) * 2 / 2
    assert_close(x, numpy.exp(wide))
    x, y = before.copy(), numpy.array([3.0, 1.0, 0.5], dtype="f")
    assert_close(client.every_vecvec(x, y, 0.5), wide @ y)
    assert_close(x, wide + 0.5 * y)
