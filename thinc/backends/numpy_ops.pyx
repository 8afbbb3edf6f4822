"""NumpyOps: the CPU backend. Checks and dispatch; the loops are in cpu/*.hpp.

Each method takes the compiled path for float32 and float64 arrays (copied first if
they are strided) and hands everything else to the generic Ops, which means the same.
Kernels run without the GIL once the work is worth releasing it.
"""
cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_GetPointer
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.math cimport cos, pow, sin, sqrt
from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint32_t, uint64_t
from numpy cimport (
    NPY_DOUBLE,
    NPY_FLOAT,
    NPY_INT32,
    NPY_UINT32,
    NPY_UINT64,
    PyArray_DATA,
    PyArray_DIMS,
    PyArray_NDIM,
    PyArray_SIZE,
    PyArray_STRIDES,
    PyArray_TYPE,
    ndarray,
    npy_intp,
)

from .array_memory cimport new_array
from .cblas cimport CBlas
from .cpu_kernels cimport (
    ERF,
    IDENTITY,
    RELU,
    SIGMOID_SLOPE,
    SQUARED_SECH,
    TANH_SLOPE,
    Activation,
    Function,
    KernelTable,
    kernels,
)
from .typed_arrays cimport (
    empty1,
    empty2,
    empty3,
    empty_like,
    f32,
    f64,
    floats,
    floats_like,
    i32,
    is_float,
    may_overlap,
    rows_of,
    same_shape,
    takes_strides,
    u32,
    writable_floats,
)

cdef extern from "thinc/hash.hpp" namespace "thinc" nogil:
    uint32_t murmur3_x86_32(const unsigned char* bytes, uint64_t nr_bytes, uint32_t seed) noexcept


import numpy

from ..registration import registry
from . import lstm
from .formulas import FORMULAS
from .numpy_arrays import NumpyArrays
from .ops import Ops
from .ops_training import TINY
from .prepacked import EmbeddedMaxout, PrepackedAffine, PrepackedMaxout

cnp.import_array()

# Below this many multiplications (or elements) a call keeps the GIL: releasing it costs
# more than other threads could use.
cdef int64_t RELEASE_GIL_ABOVE = 20000

cdef double SMALLEST_NORM = TINY

# Products of tables with weights are kept if they fit an outer cache, and for tables of so
# many columns each: adding up rows of narrower ones takes longer than their products.
MOST_PRODUCT_BYTES = 32 << 20
NARROWEST_TABLES = 32

# Name of an activation -> its place in Kernels.values and Kernels.slopes.
ACTIVATIONS = {name: position for position, name in enumerate(FORMULAS)}


# ---- activations ------------------------------------------------------------


cdef ndarray apply_values(int which, object X, bint inplace, tuple params):
    """f(X) for a float array in any layout; None if X is for the generic code."""
    cdef ndarray x = floats(X)
    cdef ndarray y
    cdef float p32[4]
    cdef double p64[4]
    cdef int64_t n
    if x is None:
        return None
    if inplace:
        if writable_floats(X) is None:
            return None  # strided or read-only: the generic code stores or refuses
        y = x
    else:
        y = empty_like(x)
    n = PyArray_SIZE(x)
    fill_params(params, p32, p64)
    cdef const KernelTable* k = kernels()
    if PyArray_TYPE(x) == NPY_FLOAT:
        if n < RELEASE_GIL_ABOVE:
            k.f32.values[which](f32(y), f32(x), n, p32)
        else:
            with nogil:
                k.f32.values[which](f32(y), f32(x), n, p32)
    else:
        with nogil:
            k.f64.values[which](f64(y), f64(x), n, p64)
    return y


cdef ndarray apply_slopes(int which, object dY, object Z, bint inplace, tuple params):
    """dY * f'(Z), or None if the arguments are for the generic code."""
    cdef ndarray z = floats(Z)
    cdef ndarray dy = floats(dY)
    cdef ndarray dx
    cdef float p32[4]
    cdef double p64[4]
    cdef int64_t n
    if z is None or dy is None or PyArray_TYPE(z) != PyArray_TYPE(dy):
        return None
    if not same_shape(z, dy):
        return None  # the generic code raises
    if inplace:
        if writable_floats(dY) is None:
            return None
        dx = dy
    else:
        dx = empty_like(dy)
    n = PyArray_SIZE(dy)
    fill_params(params, p32, p64)
    cdef const KernelTable* k = kernels()
    if PyArray_TYPE(dy) == NPY_FLOAT:
        if n < RELEASE_GIL_ABOVE:
            k.f32.slopes[which](f32(dx), f32(dy), f32(z), n, p32)
        else:
            with nogil:
                k.f32.slopes[which](f32(dx), f32(dy), f32(z), n, p32)
    else:
        with nogil:
            k.f64.slopes[which](f64(dx), f64(dy), f64(z), n, p64)
    return dx


cdef ndarray apply_function(Function which, object X, bint inplace):
    """f(X) for a float array in any layout; None if X is for the generic code."""
    cdef ndarray x = floats(X)
    cdef ndarray y
    if x is None or (inplace and writable_floats(X) is None):
        return None
    y = x if inplace else empty_like(x)
    cdef int64_t n = PyArray_SIZE(x)
    cdef const KernelTable* k = kernels()
    if PyArray_TYPE(x) == NPY_FLOAT:
        if n < RELEASE_GIL_ABOVE:
            k.f32.functions[<int>which](f32(y), f32(x), n)
        else:
            with nogil:
                k.f32.functions[<int>which](f32(y), f32(x), n)
    else:
        with nogil:
            k.f64.functions[<int>which](f64(y), f64(x), n)
    return y


cdef bint are_plain(object W, object b, int ndim):
    """Whether W and b are contiguous floats of one dtype, W of so many dimensions."""
    return floats(W) is W and floats(b) is b and W.ndim == ndim and W.dtype == b.dtype


cdef object unknown_activation(name):
    return KeyError(f"No activation named {name!r}. Known: {', '.join(sorted(ACTIVATIONS))}")


cdef inline int fill_params(tuple params, float* p32, double* p64) except -1:
    cdef Py_ssize_t i
    if params is None:
        return 0
    if len(params) > 4:
        raise ValueError(f"An activation takes at most 4 parameters, got {params}")
    for i in range(len(params)):
        p64[i] = params[i]
        p32[i] = <float>p64[i]
    return 0


# ---- matrix products --------------------------------------------------------


cdef int check_product(str what, ndarray x, ndarray y, bint trans1, bint trans2) except -1:
    if PyArray_NDIM(x) != 2 or PyArray_NDIM(y) != 2:
        raise ValueError(
            f"{what} multiplies matrices: expected two 2-dimensional arrays, got shapes "
            f"{numpy.shape(x)} and {numpy.shape(y)}"
        )
    cdef npy_intp inner1 = PyArray_DIMS(x)[0 if trans1 else 1]
    cdef npy_intp inner2 = PyArray_DIMS(y)[1 if trans2 else 0]
    if inner1 != inner2:
        raise ValueError(
            f"{what}: inner sizes differ, {inner1} and {inner2} (shapes {numpy.shape(x)}"
            f"{' transposed' if trans1 else ''} and {numpy.shape(y)}"
            f"{' transposed' if trans2 else ''})"
        )
    return 0


cdef int check_output(object out, npy_intp M, npy_intp N, object dtype) except -1:
    cdef ndarray c
    if cnp.PyArray_Check(out):
        c = out
        if (
            PyArray_NDIM(c) == 2
            and PyArray_DIMS(c)[0] == M
            and PyArray_DIMS(c)[1] == N
            and c.dtype == dtype
        ):
            if not cnp.PyArray_ISWRITEABLE(c):
                raise ValueError("gemm: out is read-only")
            return 0
    raise ValueError(
        f"gemm: out must be a {dtype} array of shape {(M, N)}, got "
        f"{getattr(out, 'dtype', type(out).__name__)} {getattr(out, 'shape', '')}"
    )


cdef int multiply(ndarray out, ndarray x, ndarray y, bint trans1, bint trans2, double beta) except -1:
    """out = op1(x) @ op2(y) + beta * out. Checked before: shapes, dtypes, no overlap;
    out is C-contiguous."""
    cdef npy_intp item = cnp.PyArray_ITEMSIZE(x)
    cdef int64_t M = PyArray_DIMS(out)[0]
    cdef int64_t N = PyArray_DIMS(out)[1]
    cdef int64_t K = PyArray_DIMS(x)[0 if trans1 else 1]
    cdef int64_t rsa = PyArray_STRIDES(x)[1 if trans1 else 0] // item
    cdef int64_t csa = PyArray_STRIDES(x)[0 if trans1 else 1] // item
    cdef int64_t rsb = PyArray_STRIDES(y)[1 if trans2 else 0] // item
    cdef int64_t csb = PyArray_STRIDES(y)[0 if trans2 else 1] // item
    cdef const KernelTable* k = kernels()
    cdef int64_t work = M * N * K
    if PyArray_TYPE(x) == NPY_FLOAT:
        if work < RELEASE_GIL_ABOVE:
            k.f32.gemm(f32(out), N, f32(x), rsa, csa, f32(y), rsb, csb, M, N, K, 1.0, <float>beta)
        else:
            with nogil:
                k.f32.gemm(f32(out), N, f32(x), rsa, csa, f32(y), rsb, csb, M, N, K, 1.0, <float>beta)
    else:
        with nogil:
            k.f64.gemm(f64(out), N, f64(x), rsa, csa, f64(y), rsb, csb, M, N, K, 1.0, beta)
    return 0


cdef inline int64_t window_size(object nW) except -2:
    """nW, or -1 if it is no int or larger than any sequence: generic code then says so."""
    return <int64_t>nW if isinstance(nW, (int, numpy.integer)) and 0 <= nW <= INT32_MAX else -1


cdef str affine_mismatch(object X, object W, object b):
    """What is wrong with the arguments of affine, or None if generic code can handle them."""
    for name, value in (("X", X), ("W", W), ("b", b)):
        if not cnp.PyArray_Check(value):
            return None
    if X.ndim != 2:
        return f"expected a 2-dimensional array (batch, width), got shape {X.shape}"
    if W.ndim != 2 or X.shape[1] != W.shape[1]:
        return f"input width {X.shape[1]} does not match W of shape {W.shape} (nO, nI)"
    if b.shape != (W.shape[0],):
        return f"b of shape {b.shape} does not match W of shape {W.shape}: expected ({W.shape[0]},)"
    return None


cdef object raise_affine_errors(object X, object W, object b):
    if not cnp.PyArray_Check(X):
        raise TypeError(f"Expected a numpy array, got {type(X).__name__}")
    message = affine_mismatch(X, W, b)
    if message is not None:
        raise ValueError(message)
    if X.dtype.kind != "f":
        raise ValueError(
            f"Expected an array of floats (float32 or float64), got {X.dtype}: "
            "convert it first, for example with ops.asarray_f(X)"
        )


@registry.ops("NumpyOps")
class NumpyOps(NumpyArrays, Ops):
    """Arrays are NumPy's, kernels our own, chosen for the machine's instruction set.

    use_blis: False sends matrix products of any dtype to numpy.dot. The name is kept
    for compatibility; BLIS is not used.
    """

    name = "numpy"
    xp = numpy

    def __init__(self, device_type="cpu", device_id=-1, *, use_blis=True):
        self.device_type = device_type
        self.device_id = device_id
        self.use_blis = use_blis

    # ---- matrix products ----------------------------------------------------

    def cblas(self):
        return CBlas.__new__(CBlas)  # its __init__ has nothing to do

    def gemm(self, x, y, out=None, trans1=False, trans2=False):
        cdef ndarray a, b, c
        if not (cnp.PyArray_Check(x) and cnp.PyArray_Check(y)):
            raise TypeError(
                f"gemm: expected two numpy arrays, got {type(x).__name__} and {type(y).__name__}"
            )
        a = x
        b = y
        check_product("gemm", a, b, trans1, trans2)
        cdef npy_intp M = PyArray_DIMS(a)[1 if trans1 else 0]
        cdef npy_intp N = PyArray_DIMS(b)[0 if trans2 else 1]
        cdef bint alike = PyArray_TYPE(a) == PyArray_TYPE(b) and is_float(a)
        if not alike and self.use_blis:
            raise ValueError(
                f"gemm: both operands must be float32 or both float64, got {x.dtype} and {y.dtype}"
            )
        if out is not None:
            check_output(out, M, N, a.dtype if alike else numpy.result_type(x, y))
        if not alike or not takes_strides(a) or not takes_strides(b):
            result = numpy.dot(x.T if trans1 else x, y.T if trans2 else y)
            if out is None:
                return result
            out[...] = result
            return out
        if out is not None and cnp.PyArray_ISCARRAY(out) and not (
            may_overlap(out, a) or may_overlap(out, b)
        ):
            multiply(out, a, b, trans1, trans2, 0.0)
            return out
        c = empty2(M, N, PyArray_TYPE(a))
        multiply(c, a, b, trans1, trans2, 0.0)
        if out is None:
            return c
        out[...] = c
        return out

    def gemm_add(self, out, x, y, trans1=False, trans2=False):
        cdef ndarray a, b, c
        if not (cnp.PyArray_Check(x) and cnp.PyArray_Check(y) and cnp.PyArray_Check(out)):
            raise TypeError("gemm_add: expected three numpy arrays")
        a = x
        b = y
        c = out
        check_product("gemm_add", a, b, trans1, trans2)
        if PyArray_NDIM(c) != 2 or (
            PyArray_DIMS(c)[0] != PyArray_DIMS(a)[1 if trans1 else 0]
            or PyArray_DIMS(c)[1] != PyArray_DIMS(b)[0 if trans2 else 1]
        ):
            raise ValueError(
                f"gemm_add: out of shape {out.shape} does not fit the product of {x.shape} "
                f"and {y.shape}"
            )
        if (
            PyArray_TYPE(a) != PyArray_TYPE(b)
            or PyArray_TYPE(a) != PyArray_TYPE(c)
            or not is_float(a)
            or not cnp.PyArray_ISCARRAY(c)
            or not takes_strides(a)
            or not takes_strides(b)
            or may_overlap(c, a)
            or may_overlap(c, b)
        ):
            return Ops.gemm_add(self, out, x, y, trans1, trans2)
        multiply(c, a, b, trans1, trans2, 1.0)
        return out

    def affine(self, X, W, b):
        return affine(self, IDENTITY, X, W, b, None, False)[0]

    def affine_activation(self, name, X, W, b, params=()):
        which = ACTIVATIONS.get(name)
        if which is None:
            raise unknown_activation(name)
        formula = FORMULAS[name]
        # Where the slope is a function of Y, P need not be kept.
        return affine(
            self, which, X, W, b, params or formula.defaults, formula.slope_of == "X"
        )

    def backprop_activation(self, name, dY, Z, params=()):
        which = ACTIVATIONS.get(name)
        if which is None:
            raise unknown_activation(name)
        params = params or FORMULAS[name].defaults
        dP = apply_slopes(which, dY, Z, False, params)
        return Ops.backprop_activation(self, name, dY, Z, params) if dP is None else dP

    def affine_value(self, name, X, W, b, params=()):
        which = ACTIVATIONS.get(name)
        if which is None:
            raise unknown_activation(name)
        return affine(self, which, X, W, b, params or FORMULAS[name].defaults, False)[0]

    def affine_maxout(self, X, W, b):
        return affine_maxout(self, X, W, b, True)

    def affine_maximum(self, X, W, b):
        return affine_maxout(self, X, W, b, False)[0]

    def frozen_affine(self, W, b, activation=None, params=()):
        otherwise = Ops.frozen_affine(self, W, b, activation, params)
        which = IDENTITY if activation is None else ACTIVATIONS.get(activation)
        if which is None:
            raise unknown_activation(activation)
        if activation is not None:
            params = params or FORMULAS[activation].defaults
        if not are_plain(W, b, 2) or b.shape != W.shape[:1]:
            return otherwise
        return PrepackedAffine(which, W, b, params, otherwise)

    def frozen_maximum(self, W, b):
        otherwise = Ops.frozen_maximum(self, W, b)
        if not are_plain(W, b, 3) or b.shape != W.shape[:2] or W.shape[1] == 0:
            return otherwise
        return PrepackedMaxout(W, b, otherwise)

    def frozen_embedded_maximum(self, tables, columns, seeds, W, b):
        cdef int64_t start = 0
        if not are_plain(W, b, 3) or b.shape != W.shape[:2] or W.shape[1] == 0 or not tables:
            return None
        if not all(are_plain(E, W, 2) and E.shape[0] > 0 for E in tables):
            return None
        sizes = [E.shape[0] for E in tables]
        nO, nP, nI = W.shape
        rows = sum(sizes)
        if (
            sum([E.shape[1] for E in tables]) != nI
            or min(columns) < 0
            or not all(0 <= seed < 1 << 32 for seed in seeds)
            or nI < NARROWEST_TABLES * len(tables)
            or rows * nO * nP * W.itemsize > MOST_PRODUCT_BYTES
        ):
            return None
        by_piece = numpy.ascontiguousarray(W.transpose((1, 0, 2))).reshape((nP * nO, nI))
        products = numpy.empty((rows, nP * nO), dtype=W.dtype)
        at = 0
        for E in tables:
            part = by_piece[:, start : start + E.shape[1]]
            self.gemm(E, part, trans2=True, out=products[at : at + E.shape[0]])
            at += E.shape[0]
            start += E.shape[1]
        layer = self.frozen_maximum(W, b)
        return EmbeddedMaxout(
            products.reshape((rows, nP, nO)),
            numpy.ascontiguousarray(b.T),
            sizes,
            columns,
            seeds,
            lambda ids: layer(self.hash_embed_columns(tables, columns, seeds, ids)),
        )

    def backprop_affine_maxout(self, dY, which, X, W, dW, db, *, input_gradient=True):
        cdef ndarray x, w, dy, chosen
        cdef ndarray dX = None
        cdef float* dX32 = NULL
        cdef double* dX64 = NULL
        cdef ndarray w_grad = writable_floats(dW)
        cdef ndarray b_grad = writable_floats(db)
        cdef int64_t B, O, P, K, ldx, bad
        cdef const KernelTable* k = kernels()
        w = floats(W)
        if (
            w is None
            or PyArray_NDIM(w) != 3
            or PyArray_DIMS(w)[1] < 2  # nothing to choose from: matrix products
            or w_grad is None
            or b_grad is None
            or not cnp.PyArray_Check(which)
            or PyArray_TYPE(w_grad) != PyArray_TYPE(w)
            or PyArray_TYPE(b_grad) != PyArray_TYPE(w)
        ):
            return Ops.backprop_affine_maxout(
                self, dY, which, X, W, dW, db, input_gradient=input_gradient
            )
        x = rows_of(X, w)
        dy = floats_like(dY, w, 2)
        B = 0 if x is None else PyArray_DIMS(x)[0]
        O = PyArray_DIMS(w)[0]
        P = PyArray_DIMS(w)[1]
        K = PyArray_DIMS(w)[2]
        if (
            x is None
            or dy is None
            or PyArray_DIMS(x)[1] != K
            or not same_shape(w_grad, w)
            or db.shape != W.shape[:2]
            or dY.shape != (B, O)
            or which.shape != (B, O)
        ):
            return Ops.backprop_affine_maxout(
                self, dY, which, X, W, dW, db, input_gradient=input_gradient
            )
        chosen = as_int32(which)
        bad = k.find_out_of_range(u32(chosen), PyArray_SIZE(chosen), <uint32_t>P)
        if bad >= 0:
            raise IndexError(
                f"backprop_affine_maxout: which[{bad // O}, {bad % O}] is {which.reshape(-1)[bad]}, "
                f"outside the {P} pieces"
            )
        if input_gradient:
            dX = empty2(B, K, PyArray_TYPE(x))
        ldx = PyArray_STRIDES(x)[0] // cnp.PyArray_ITEMSIZE(x)
        if PyArray_TYPE(x) == NPY_FLOAT:
            if dX is not None:
                dX32 = f32(dX)
            with nogil:
                k.f32.backprop_affine_maxout(dX32, f32(w_grad), f32(b_grad), f32(dy), i32(chosen), f32(x),
                                             ldx, f32(w), B, O, P, K)
        else:
            if dX is not None:
                dX64 = f64(dX)
            with nogil:
                k.f64.backprop_affine_maxout(dX64, f64(w_grad), f64(b_grad), f64(dy), i32(chosen), f64(x),
                                             ldx, f64(w), B, O, P, K)
        return dX

    def add_column_sums(self, out, X):
        cdef ndarray x = floats(X)
        cdef const KernelTable* k = kernels()
        if (
            x is None
            or PyArray_NDIM(x) != 2
            or writable_floats(out) is None
            or PyArray_TYPE(out) != PyArray_TYPE(x)
            or PyArray_NDIM(out) != 1
            or PyArray_DIMS(out)[0] != PyArray_DIMS(x)[1]
        ):
            return Ops.add_column_sums(self, out, X)
        cdef int64_t rows = PyArray_DIMS(x)[0]
        cdef int64_t cols = PyArray_DIMS(x)[1]
        if PyArray_TYPE(x) == NPY_FLOAT:
            k.f32.add_column_sums(f32(out), f32(x), rows, cols)
        else:
            k.f64.add_column_sums(f64(out), f64(x), rows, cols)
        return out

    # ---- activations --------------------------------------------------------

    def _map(self, formula, X, params, inplace):
        which = ACTIVATIONS.get(formula.name)
        Y = None if which is None else apply_values(which, X, inplace, params)
        return Ops._map(self, formula, X, params, inplace) if Y is None else Y

    def _map_slope(self, formula, dY, Z, params, inplace):
        which = ACTIVATIONS.get(formula.name)
        dX = None if which is None else apply_slopes(which, dY, Z, inplace, params)
        return Ops._map_slope(self, formula, dY, Z, params, inplace) if dX is None else dX

    def backprop_relu(self, dY, Y, inplace=False):
        dX = apply_slopes(RELU, dY, Y, inplace, ())
        return Ops.backprop_relu(self, dY, Y, inplace) if dX is None else dX

    def erf(self, X):
        Y = apply_function(ERF, X, False)
        return Ops.erf(self, X) if Y is None else Y

    def sechsq(self, X):
        Y = apply_function(SQUARED_SECH, X, False)
        return Ops.sechsq(self, X) if Y is None else Y

    def dsigmoid(self, Y, *, inplace=False):
        dX = apply_function(SIGMOID_SLOPE, Y, inplace)
        return Ops.dsigmoid(self, Y, inplace=inplace) if dX is None else dX

    def dtanh(self, Y, *, inplace=False):
        dX = apply_function(TANH_SLOPE, Y, inplace)
        return Ops.dtanh(self, Y, inplace=inplace) if dX is None else dX

    # ---- rows ---------------------------------------------------------------

    def softmax(self, x, *, inplace=False, axis=-1, temperature=1.0):
        cdef ndarray X = floats(x)
        cdef ndarray Y
        cdef const KernelTable* k = kernels()
        if (
            X is None
            or PyArray_NDIM(X) == 0
            or (axis != -1 and axis != PyArray_NDIM(X) - 1)
            or PyArray_DIMS(X)[PyArray_NDIM(X) - 1] == 0
            or (inplace and writable_floats(x) is None)
            or temperature == 0
        ):
            return Ops.softmax(self, x, inplace=inplace, axis=axis, temperature=temperature)
        cdef int64_t cols = PyArray_DIMS(X)[PyArray_NDIM(X) - 1]
        cdef int64_t rows = PyArray_SIZE(X) // cols
        cdef double inverse = 1.0 / temperature
        Y = X if inplace else empty_like(X)
        if PyArray_TYPE(X) == NPY_FLOAT:
            with nogil:
                k.f32.softmax(f32(Y), f32(X), rows, cols, <float>inverse)
        else:
            with nogil:
                k.f64.softmax(f64(Y), f64(X), rows, cols, inverse)
        return Y

    def backprop_softmax(self, Y, dY, *, axis=-1, temperature=1.0):
        cdef ndarray y = floats(Y)
        cdef ndarray dy = floats(dY)
        cdef ndarray dX
        cdef const KernelTable* k = kernels()
        if (
            y is None
            or dy is None
            or PyArray_TYPE(y) != PyArray_TYPE(dy)
            or PyArray_NDIM(y) == 0
            or not same_shape(y, dy)
            or (axis != -1 and axis != PyArray_NDIM(y) - 1)
            or PyArray_DIMS(y)[PyArray_NDIM(y) - 1] == 0
            or temperature == 0
        ):
            return Ops.backprop_softmax(self, Y, dY, axis=axis, temperature=temperature)
        cdef int64_t cols = PyArray_DIMS(y)[PyArray_NDIM(y) - 1]
        cdef int64_t rows = PyArray_SIZE(y) // cols
        cdef double inverse = 1.0 / temperature
        dX = empty_like(y)
        if PyArray_TYPE(y) == NPY_FLOAT:
            with nogil:
                k.f32.backprop_softmax(f32(dX), f32(y), f32(dy), rows, cols, <float>inverse)
        else:
            with nogil:
                k.f64.backprop_softmax(f64(dX), f64(y), f64(dy), rows, cols, inverse)
        return dX

    def layer_norm(self, X, G, b):
        cdef ndarray x = floats(X)
        cdef ndarray g, bias, Y, mean, rstd
        cdef const KernelTable* k = kernels()
        if x is None or PyArray_NDIM(x) == 0:
            return Ops.layer_norm(self, X, G, b)
        cdef int nd = PyArray_NDIM(x)
        cdef int64_t cols = PyArray_DIMS(x)[nd - 1]
        g = floats_like(G, x, 1)
        bias = floats_like(b, x, 1)
        if g is None or bias is None or PyArray_DIMS(g)[0] != cols or PyArray_DIMS(bias)[0] != cols or cols == 0:
            return Ops.layer_norm(self, X, G, b)
        cdef int64_t rows = PyArray_SIZE(x) // cols
        Y = empty_like(x)
        mean = new_array(nd - 1, PyArray_DIMS(x), PyArray_TYPE(x), False)
        rstd = new_array(nd - 1, PyArray_DIMS(x), PyArray_TYPE(x), False)
        if PyArray_TYPE(x) == NPY_FLOAT:
            with nogil:
                k.f32.layer_norm(f32(Y), f32(mean), f32(rstd), f32(x), f32(g), f32(bias), rows, cols)
        else:
            with nogil:
                k.f64.layer_norm(f64(Y), f64(mean), f64(rstd), f64(x), f64(g), f64(bias), rows, cols)
        return Y, mean, rstd

    def backprop_layer_norm(self, dY, X, mean, rstd, G):
        cdef ndarray x = floats(X)
        cdef ndarray dy = floats(dY)
        cdef ndarray m, r, g, dX, dG, db
        cdef const KernelTable* k = kernels()
        if x is None or dy is None or PyArray_NDIM(x) == 0 or PyArray_TYPE(x) != PyArray_TYPE(dy) or (
            not same_shape(x, dy)
        ):
            return Ops.backprop_layer_norm(self, dY, X, mean, rstd, G)
        cdef int64_t cols = PyArray_DIMS(x)[PyArray_NDIM(x) - 1]
        cdef int64_t rows = PyArray_SIZE(x) // cols if cols else 0
        m = floats_like(mean, x, PyArray_NDIM(x) - 1)
        r = floats_like(rstd, x, PyArray_NDIM(x) - 1)
        g = floats_like(G, x, 1)
        if (
            m is None or r is None or g is None or cols == 0
            or PyArray_SIZE(m) != rows or PyArray_SIZE(r) != rows or PyArray_DIMS(g)[0] != cols
        ):
            return Ops.backprop_layer_norm(self, dY, X, mean, rstd, G)
        dX = empty_like(x)
        dG = numpy.zeros(cols, dtype=x.dtype)
        db = numpy.zeros(cols, dtype=x.dtype)
        if PyArray_TYPE(x) == NPY_FLOAT:
            with nogil:
                k.f32.backprop_layer_norm(f32(dX), f32(dG), f32(db), f32(dy), f32(x), f32(m),
                                          f32(r), f32(g), rows, cols)
        else:
            with nogil:
                k.f64.backprop_layer_norm(f64(dX), f64(dG), f64(db), f64(dy), f64(x), f64(m),
                                          f64(r), f64(g), rows, cols)
        return dX, dG, db

    def maxout(self, X):
        cdef ndarray x = floats(X)
        cdef ndarray best, which
        cdef const KernelTable* k = kernels()
        if x is None or PyArray_NDIM(x) != 3 or PyArray_DIMS(x)[2] == 0:
            return Ops.maxout(self, X)
        cdef int64_t rows = PyArray_DIMS(x)[0] * PyArray_DIMS(x)[1]
        cdef int64_t pieces = PyArray_DIMS(x)[2]
        best = empty2(PyArray_DIMS(x)[0], PyArray_DIMS(x)[1], PyArray_TYPE(x))
        which = empty2(PyArray_DIMS(x)[0], PyArray_DIMS(x)[1], NPY_INT32)
        if PyArray_TYPE(x) == NPY_FLOAT:
            with nogil:
                k.f32.maxout(f32(best), i32(which), f32(x), rows, pieces)
        else:
            with nogil:
                k.f64.maxout(f64(best), i32(which), f64(x), rows, pieces)
        return best, which

    def backprop_maxout(self, dY, which, P):
        cdef ndarray dy = floats(dY)
        cdef ndarray w, dX
        cdef const KernelTable* k = kernels()
        cdef int64_t pieces = P
        cdef int64_t bad
        if dy is None or PyArray_NDIM(dy) != 2 or pieces < 1 or not cnp.PyArray_Check(which) or (
            not same_shape(dy, which)
        ):
            return Ops.backprop_maxout(self, dY, which, P)
        w = as_int32(which)
        cdef int64_t rows = PyArray_SIZE(dy)
        dX = empty3(PyArray_DIMS(dy)[0], PyArray_DIMS(dy)[1], pieces, PyArray_TYPE(dy))
        if PyArray_TYPE(dy) == NPY_FLOAT:
            with nogil:
                bad = k.f32.backprop_maxout(f32(dX), f32(dy), i32(w), rows, pieces)
        else:
            with nogil:
                bad = k.f64.backprop_maxout(f64(dX), f64(dy), i32(w), rows, pieces)
        if bad >= 0:
            raise IndexError(
                f"backprop_maxout: which[{numpy.unravel_index(bad, dY.shape)}] is "
                f"{which.reshape(-1)[bad]}, outside the {pieces} pieces"
            )
        return dX

    # ---- sequences ----------------------------------------------------------

    def reduce_sum(self, X, lengths):
        return reduce_rows(self, "reduce_sum", X, lengths)

    def reduce_mean(self, X, lengths):
        return reduce_rows(self, "reduce_mean", X, lengths)

    def reduce_max(self, X, lengths):
        cdef ndarray x = floats(X)
        cdef ndarray n, Y, which
        cdef const KernelTable* k = kernels()
        if x is None or PyArray_NDIM(x) != 2:
            return Ops.reduce_max(self, X, lengths)
        n = checked_lengths("reduce_max", lengths, PyArray_DIMS(x)[0], 1)
        cdef int64_t B = PyArray_SIZE(n)
        cdef int64_t O = PyArray_DIMS(x)[1]
        Y = empty2(B, O, PyArray_TYPE(x))
        which = empty2(B, O, NPY_INT32)
        if PyArray_TYPE(x) == NPY_FLOAT:
            with nogil:
                k.f32.reduce_max(f32(Y), i32(which), f32(x), i32(n), B, O)
        else:
            with nogil:
                k.f64.reduce_max(f64(Y), i32(which), f64(x), i32(n), B, O)
        return Y, which

    def backprop_reduce_sum(self, d_sums, lengths):
        return backprop_reduce_rows(self, "backprop_reduce_sum", d_sums, lengths)

    def backprop_reduce_mean(self, d_means, lengths):
        return backprop_reduce_rows(self, "backprop_reduce_mean", d_means, lengths)

    def backprop_reduce_max(self, d_maxes, which, lengths):
        cdef ndarray dy = floats(d_maxes)
        cdef ndarray n, w, dX
        cdef const KernelTable* k = kernels()
        cdef int64_t bad
        if dy is None or PyArray_NDIM(dy) != 2 or not cnp.PyArray_Check(which):
            return Ops.backprop_reduce_max(self, d_maxes, which, lengths)
        n = checked_lengths("backprop_reduce_max", lengths, -1, 1)
        cdef int64_t B = PyArray_SIZE(n)
        cdef int64_t O = PyArray_DIMS(dy)[1]
        if not same_shape(dy, which) or PyArray_DIMS(dy)[0] != B:
            raise ValueError(
                f"backprop_reduce_max: gradient of shape {d_maxes.shape}, which of shape "
                f"{which.shape} and {B} lengths do not belong together"
            )
        w = as_int32(which)
        dX = empty2(total(n), O, PyArray_TYPE(dy))
        if PyArray_TYPE(dy) == NPY_FLOAT:
            with nogil:
                bad = k.f32.backprop_reduce_max(f32(dX), f32(dy), i32(w), i32(n), B, O)
        else:
            with nogil:
                bad = k.f64.backprop_reduce_max(f64(dX), f64(dy), i32(w), i32(n), B, O)
        if bad >= 0:
            raise IndexError(
                f"backprop_reduce_max: which is {which.reshape(-1)[bad]} in sequence {bad // O}, "
                f"which has {n[bad // O]} rows"
            )
        return dX

    def seq2col(self, seq, nW, *, lengths=None):
        cdef ndarray x = floats(seq)
        cdef ndarray n, Y
        cdef const KernelTable* k = kernels()
        cdef int64_t window = window_size(nW)
        if x is None or PyArray_NDIM(x) != 2 or window < 0:
            return Ops.seq2col(self, seq, nW, lengths=lengths)
        n = window_lengths("seq2col", lengths, PyArray_DIMS(x)[0])
        cdef int64_t B = PyArray_SIZE(n)
        cdef int64_t I = PyArray_DIMS(x)[1]
        Y = empty2(PyArray_DIMS(x)[0], (2 * window + 1) * I, PyArray_TYPE(x))
        if PyArray_TYPE(x) == NPY_FLOAT:
            with nogil:
                k.f32.seq2col(f32(Y), f32(x), i32(n), B, I, window)
        else:
            with nogil:
                k.f64.seq2col(f64(Y), f64(x), i32(n), B, I, window)
        return Y

    def backprop_seq2col(self, dY, nW, *, lengths=None):
        cdef ndarray dy = floats(dY)
        cdef ndarray n, dX
        cdef const KernelTable* k = kernels()
        cdef int64_t window = window_size(nW)
        if dy is None or PyArray_NDIM(dy) != 2 or window < 0 or PyArray_DIMS(dy)[1] % (2 * window + 1):
            return Ops.backprop_seq2col(self, dY, nW, lengths=lengths)
        n = window_lengths("backprop_seq2col", lengths, PyArray_DIMS(dy)[0])
        cdef int64_t B = PyArray_SIZE(n)
        cdef int64_t I = PyArray_DIMS(dy)[1] // (2 * window + 1)
        dX = empty2(PyArray_DIMS(dy)[0], I, PyArray_TYPE(dy))
        if PyArray_TYPE(dy) == NPY_FLOAT:
            with nogil:
                k.f32.backprop_seq2col(f32(dX), f32(dy), i32(n), B, I, window)
        else:
            with nogil:
                k.f64.backprop_seq2col(f64(dX), f64(dy), i32(n), B, I, window)
        return dX

    def softmax_sequences(self, Xs, lengths, *, inplace=False, axis=-1):
        cdef ndarray x = floats(Xs)
        cdef ndarray n, Y
        cdef const KernelTable* k = kernels()
        if x is None or PyArray_NDIM(x) != 2 or (inplace and writable_floats(Xs) is None):
            return Ops.softmax_sequences(self, Xs, lengths, inplace=inplace, axis=axis)
        n = checked_lengths("softmax_sequences", lengths, PyArray_DIMS(x)[0], 0)
        cdef int64_t B = PyArray_SIZE(n)
        cdef int64_t O = PyArray_DIMS(x)[1]
        Y = x if inplace else empty_like(x)
        if PyArray_TYPE(x) == NPY_FLOAT:
            with nogil:
                k.f32.softmax_sequences(f32(Y), f32(x), i32(n), B, O)
        else:
            with nogil:
                k.f64.softmax_sequences(f64(Y), f64(x), i32(n), B, O)
        return Y

    def backprop_softmax_sequences(self, dY, Y, lengths):
        cdef ndarray y = floats(Y)
        cdef ndarray dy, n, dX
        cdef const KernelTable* k = kernels()
        if y is None or PyArray_NDIM(y) != 2:
            return Ops.backprop_softmax_sequences(self, dY, Y, lengths)
        dy = floats_like(dY, y, 2)
        if dy is None or not same_shape(dy, y):
            return Ops.backprop_softmax_sequences(self, dY, Y, lengths)
        n = checked_lengths("backprop_softmax_sequences", lengths, PyArray_DIMS(y)[0], 0)
        cdef int64_t B = PyArray_SIZE(n)
        cdef int64_t O = PyArray_DIMS(y)[1]
        dX = empty_like(y)
        if PyArray_TYPE(y) == NPY_FLOAT:
            with nogil:
                k.f32.backprop_softmax_sequences(f32(dX), f32(dy), f32(y), i32(n), B, O)
        else:
            with nogil:
                k.f64.backprop_softmax_sequences(f64(dX), f64(dy), f64(y), i32(n), B, O)
        return dX

    # ---- tables -------------------------------------------------------------

    def gather_add(self, table, indices):
        cdef ndarray t = floats(table)
        cdef ndarray rows, Y
        cdef const KernelTable* k = kernels()
        if t is None or PyArray_NDIM(t) != 2 or not cnp.PyArray_Check(indices) or indices.ndim != 2:
            return Ops.gather_add(self, table, indices)
        rows = checked_rows("gather_add", indices, PyArray_DIMS(t)[0])
        if rows is None:
            return Ops.gather_add(self, table, indices)
        cdef int64_t B = PyArray_DIMS(rows)[0]
        cdef int64_t K = PyArray_DIMS(rows)[1]
        cdef int64_t O = PyArray_DIMS(t)[1]
        Y = empty2(B, O, PyArray_TYPE(t))
        if PyArray_TYPE(t) == NPY_FLOAT:
            with nogil:
                k.f32.gather_add(f32(Y), O, f32(t), u32(rows), B, K, O)
        else:
            with nogil:
                k.f64.gather_add(f64(Y), O, f64(t), u32(rows), B, K, O)
        return Y

    def backprop_gather_add(self, table, dY, indices):
        cdef ndarray dy = floats(dY)
        cdef ndarray rows
        if (
            dy is None
            or writable_floats(table) is None
            or PyArray_TYPE(table) != PyArray_TYPE(dy)
            or PyArray_NDIM(table) != 2
            or PyArray_NDIM(dy) != 2
            or not cnp.PyArray_Check(indices)
            or indices.ndim != 2
            or PyArray_DIMS(table)[1] != PyArray_DIMS(dy)[1]
            or PyArray_DIMS(indices)[0] != PyArray_DIMS(dy)[0]
        ):
            return Ops.backprop_gather_add(self, table, dY, indices)
        rows = checked_rows("backprop_gather_add", indices, PyArray_DIMS(table)[0])
        if rows is None:
            return Ops.backprop_gather_add(self, table, dY, indices)
        add_to_rows(table, dy, rows, PyArray_DIMS(rows)[1])
        return table

    def scatter_add(self, table, indices, values):
        cdef ndarray v, rows
        if not (
            cnp.PyArray_Check(table) and cnp.PyArray_Check(indices) and cnp.PyArray_Check(values)
        ):
            raise_no_array("scatter_add", dict(table=table, indices=indices, values=values))
        v = floats(values)
        if (
            v is None
            or writable_floats(table) is None
            or PyArray_TYPE(table) != PyArray_TYPE(v)
            or PyArray_NDIM(table) != 2
            or PyArray_NDIM(v) != 2
            or PyArray_NDIM(indices) != 1
            or not cnp.PyTypeNum_ISINTEGER(PyArray_TYPE(indices))
            or PyArray_DIMS(table)[1] != PyArray_DIMS(v)[1]
            or PyArray_DIMS(indices)[0] != PyArray_DIMS(v)[0]
            or may_overlap(table, v)
        ):
            return Ops.scatter_add(self, table, indices, values)
        rows = rows_from_the_end("scatter_add", indices, PyArray_DIMS(table)[0])
        if rows is None:
            return Ops.scatter_add(self, table, indices, values)
        add_to_rows(table, v, rows, 1)

    # ---- linear models of hashed features -------------------------------------

    def sparse_cells(self, keys, length, *, masked=False):
        cdef ndarray ids, out
        cdef const KernelTable* k = kernels()
        cdef bint mask = masked
        cdef uint32_t count
        if not 0 < length < (1 << 32):
            return Ops.sparse_cells(self, keys, length, masked=masked)  # raises ValueError
        ids = as_uint64("sparse_cells", keys)
        count = length
        out = empty2(PyArray_SIZE(ids), 2, NPY_UINT32)
        with nogil:
            k.sparse_cells(u32(out), <uint64_t*>PyArray_DATA(ids), PyArray_SIZE(ids), count, mask)
        return out

    def sparse_linear(self, W, b, cells, values, lengths, stride):
        cdef ndarray w = floats(W)
        cdef ndarray bias, v, rows, n, Y
        cdef const KernelTable* k = kernels()
        cdef int64_t step = stride
        if w is None or PyArray_NDIM(w) != 1 or not cnp.PyArray_Check(cells) or cells.ndim != 2:
            return Ops.sparse_linear(self, W, b, cells, values, lengths, stride)
        bias = floats_like(b, w, 1)
        v = floats_like(values, w, 1)
        if bias is None or v is None or PyArray_SIZE(v) != PyArray_DIMS(cells)[0] or step < 0:
            return Ops.sparse_linear(self, W, b, cells, values, lengths, stride)
        cdef int64_t O = PyArray_SIZE(bias)
        rows = checked_cells("sparse_linear", cells, PyArray_SIZE(w), O, step)
        if rows is None:
            return Ops.sparse_linear(self, W, b, cells, values, lengths, stride)
        n = checked_lengths("sparse_linear", lengths, PyArray_SIZE(v), 0)
        cdef int64_t B = PyArray_SIZE(n)
        cdef int64_t K = PyArray_DIMS(rows)[1]
        Y = empty2(B, O, PyArray_TYPE(w))
        if PyArray_TYPE(w) == NPY_FLOAT:
            with nogil:
                k.f32.sparse_linear(f32(Y), f32(w), f32(bias), u32(rows), f32(v), i32(n), B, O, K, step)
        else:
            with nogil:
                k.f64.sparse_linear(f64(Y), f64(w), f64(bias), u32(rows), f64(v), i32(n), B, O, K, step)
        return Y

    def sparse_linear_by_feature(self, W, b, cells, values, lengths):
        cdef ndarray w = floats(W)
        cdef ndarray bias, v, rows, n, Y
        cdef const KernelTable* k = kernels()
        if w is None or PyArray_NDIM(w) != 2 or not cnp.PyArray_Check(cells) or cells.ndim != 2:
            return Ops.sparse_linear_by_feature(self, W, b, cells, values, lengths)
        bias = floats_like(b, w, 1)
        v = floats_like(values, w, 1)
        if (
            bias is None
            or v is None
            or PyArray_SIZE(v) != PyArray_DIMS(cells)[0]
            or PyArray_SIZE(bias) != PyArray_DIMS(w)[1]
        ):
            return Ops.sparse_linear_by_feature(self, W, b, cells, values, lengths)
        rows = checked_rows("sparse_linear_by_feature cells", cells, PyArray_DIMS(w)[0])
        if rows is None:
            return Ops.sparse_linear_by_feature(self, W, b, cells, values, lengths)
        n = checked_lengths("sparse_linear_by_feature", lengths, PyArray_SIZE(v), 0)
        cdef int64_t B = PyArray_SIZE(n)
        cdef int64_t O = PyArray_SIZE(bias)
        cdef int64_t K = PyArray_DIMS(rows)[1]
        Y = empty2(B, O, PyArray_TYPE(w))
        if PyArray_TYPE(w) == NPY_FLOAT:
            with nogil:
                k.f32.sparse_linear_by_feature(f32(Y), f32(w), f32(bias), u32(rows), f32(v), i32(n), B, O, K)
        else:
            with nogil:
                k.f64.sparse_linear_by_feature(f64(Y), f64(w), f64(bias), u32(rows), f64(v), i32(n), B, O, K)
        return Y

    def backprop_sparse_linear(self, dW, dY, cells, values, lengths, stride):
        cdef ndarray w = writable_floats(dW)
        cdef ndarray dy, v, rows, n
        cdef const KernelTable* k = kernels()
        cdef int64_t step = stride
        if w is None or PyArray_NDIM(w) != 1 or not cnp.PyArray_Check(cells) or cells.ndim != 2:
            return Ops.backprop_sparse_linear(self, dW, dY, cells, values, lengths, stride)
        dy = floats_like(dY, w, 2)
        v = floats_like(values, w, 1)
        if dy is None or v is None or PyArray_SIZE(v) != PyArray_DIMS(cells)[0] or step < 0:
            return Ops.backprop_sparse_linear(self, dW, dY, cells, values, lengths, stride)
        cdef int64_t O = PyArray_DIMS(dy)[1]
        rows = checked_cells("backprop_sparse_linear", cells, PyArray_SIZE(w), O, step)
        if rows is None:
            return Ops.backprop_sparse_linear(self, dW, dY, cells, values, lengths, stride)
        n = checked_lengths("backprop_sparse_linear", lengths, PyArray_SIZE(v), 0)
        cdef int64_t B = PyArray_SIZE(n)
        cdef int64_t K = PyArray_DIMS(rows)[1]
        if B != PyArray_DIMS(dy)[0]:
            raise ValueError(
                f"backprop_sparse_linear: dY has {PyArray_DIMS(dy)[0]} rows, but there are {B} lengths"
            )
        if PyArray_TYPE(w) == NPY_FLOAT:
            with nogil:
                k.f32.backprop_sparse_linear(f32(w), f32(dy), u32(rows), f32(v), i32(n), B, O, K, step)
        else:
            with nogil:
                k.f64.backprop_sparse_linear(f64(w), f64(dy), u32(rows), f64(v), i32(n), B, O, K, step)
        return dW

    # ---- hashing ------------------------------------------------------------

    def hash_strings(self, strings):
        cdef Py_ssize_t size, i = 0
        cdef const char* utf8
        cdef ndarray out
        cdef uint64_t* ids
        if not isinstance(strings, (list, tuple)):
            strings = list(strings)
        out = empty1(len(strings), NPY_UINT64)
        ids = <uint64_t*>PyArray_DATA(out)
        for string in strings:
            if not isinstance(string, str):
                raise TypeError(f"hash_strings expects strings, got {type(string).__name__}.")
            utf8 = PyUnicode_AsUTF8AndSize(string, &size)
            ids[i] = <uint64_t><int64_t><int32_t>murmur3_x86_32(<const unsigned char*>utf8, size, 0)
            i += 1
        return out

    def hash(self, ids, seed):
        cdef ndarray keys = as_uint64("hash", ids)
        cdef ndarray out
        cdef uint32_t s = seed
        cdef int64_t n = PyArray_SIZE(keys)
        cdef const KernelTable* k = kernels()
        out = empty2(n, 4, NPY_UINT32)
        with nogil:
            k.hash_ids(u32(out), <uint64_t*>PyArray_DATA(keys), n, s)
        return out

    def ngrams(self, n, keys):
        cdef ndarray source = as_uint64("ngrams", keys)
        cdef int64_t order = n
        cdef int64_t count = PyArray_SIZE(source)
        cdef ndarray out
        cdef const KernelTable* k = kernels()
        if order < 1 or order > count:
            return numpy.zeros(0, dtype="uint64")
        out = empty1(count - order + 1, NPY_UINT64)
        with nogil:
            k.ngrams(<uint64_t*>PyArray_DATA(out), <uint64_t*>PyArray_DATA(source), count, order)
        return out

    def hash_embed(self, E, ids, seed):
        cdef ndarray table = floats(E)
        cdef ndarray keys, rows, Y
        cdef uint32_t s
        cdef uint32_t nr_row
        cdef const KernelTable* k = kernels()
        if table is None or PyArray_NDIM(table) != 2 or not 0 < PyArray_DIMS(table)[0] < (1 << 32):
            return Ops.hash_embed(self, E, ids, seed)
        keys = as_uint64("hash_embed", ids)
        s = seed
        nr_row = <uint32_t>PyArray_DIMS(table)[0]
        cdef int64_t n = PyArray_SIZE(keys)
        cdef int64_t O = PyArray_DIMS(table)[1]
        rows = empty2(n, 4, NPY_UINT32)
        Y = empty2(n, O, PyArray_TYPE(table))
        if PyArray_TYPE(table) == NPY_FLOAT:
            with nogil:
                k.hash_rows(u32(rows), <uint64_t*>PyArray_DATA(keys), n, s, nr_row)
                k.f32.gather_add(f32(Y), O, f32(table), u32(rows), n, 4, O)
        else:
            with nogil:
                k.hash_rows(u32(rows), <uint64_t*>PyArray_DATA(keys), n, s, nr_row)
                k.f64.gather_add(f64(Y), O, f64(table), u32(rows), n, 4, O)
        return Y, rows

    def hash_embed_columns(self, tables, columns, seeds, ids):
        cdef ndarray x, table, keys, rows, Y
        cdef int64_t n, O, i, column, offset = 0, width = 0, nr_column
        cdef uint64_t* key
        cdef const uint64_t* source
        cdef uint32_t seed
        cdef const KernelTable* k = kernels()
        if not cnp.PyArray_Check(ids) or not len(tables) == len(columns) == len(seeds) > 0:
            return Ops.hash_embed_columns(self, tables, columns, seeds, ids)
        x = ids
        if PyArray_NDIM(x) != 2 or PyArray_TYPE(x) != NPY_UINT64 or not cnp.PyArray_ISCARRAY_RO(x):
            return Ops.hash_embed_columns(self, tables, columns, seeds, ids)
        n = PyArray_DIMS(x)[0]
        nr_column = PyArray_DIMS(x)[1]
        table = floats(tables[0])
        for E, index in zip(tables, columns):
            if table is None or floats_like(E, table, 2) is not E or not 0 <= index < nr_column:
                return Ops.hash_embed_columns(self, tables, columns, seeds, ids)
            if not 0 < PyArray_DIMS(<ndarray>E)[0] < (1 << 32):
                return Ops.hash_embed_columns(self, tables, columns, seeds, ids)
            width += PyArray_DIMS(<ndarray>E)[1]
        keys = empty1(n, NPY_UINT64)
        rows = empty2(n, 4, NPY_UINT32)
        Y = empty2(n, width, PyArray_TYPE(table))
        key = <uint64_t*>PyArray_DATA(keys)
        for E, index, s in zip(tables, columns, seeds):
            table = E
            column = index
            seed = s
            source = <const uint64_t*>PyArray_DATA(x) + column
            O = PyArray_DIMS(table)[1]
            with nogil:
                for i in range(n):
                    key[i] = source[i * nr_column]
                k.hash_rows(u32(rows), key, n, seed, <uint32_t>PyArray_DIMS(table)[0])
                if PyArray_TYPE(table) == NPY_FLOAT:
                    k.f32.gather_add(f32(Y) + offset, width, f32(table), u32(rows), n, 4, O)
                else:
                    k.f64.gather_add(f64(Y) + offset, width, f64(table), u32(rows), n, 4, O)
            offset += O
        return Y

    # ---- LSTM: one layer, one direction (thinc.backends.lstm stacks them) -----

    def _lstm_layer_forward(self, gates, Wh, h0, c0, size_at_t, backward):
        cdef ndarray g = writable_floats(gates)
        cdef ndarray w, h, c, n, H, C
        cdef const KernelTable* k = kernels()
        cdef bint reverse = backward
        if g is None or PyArray_NDIM(g) != 2:
            return lstm.layer_forward(self, gates, Wh, h0, c0, size_at_t, backward)
        w = floats_like(Wh, g, 2)
        h = floats_like(h0, g, 1)
        c = floats_like(c0, g, 1)
        if w is None or h is None or c is None:
            return lstm.layer_forward(self, gates, Wh, h0, c0, size_at_t, backward)
        n = as_int32(size_at_t)
        cdef int64_t width = PyArray_DIMS(w)[1]
        cdef int64_t steps = PyArray_SIZE(n)
        H = empty2(PyArray_DIMS(g)[0], width, PyArray_TYPE(g))
        C = empty2(PyArray_DIMS(g)[0], width, PyArray_TYPE(g))
        if PyArray_TYPE(g) == NPY_FLOAT:
            with nogil:
                k.f32.lstm_forward(f32(H), f32(C), f32(g), f32(w), f32(h), f32(c), i32(n), steps,
                                   width, reverse)
        else:
            with nogil:
                k.f64.lstm_forward(f64(H), f64(C), f64(g), f64(w), f64(h), f64(c), i32(n), steps,
                                   width, reverse)
        return H, C

    def _lstm_layer_backward(self, dY, H, C, gates, Wh, h0, c0, size_at_t, backward):
        cdef ndarray dy = floats(dY)
        cdef ndarray y, cells, g, w, h, c, n, d_gates, dh0, dc0
        cdef const KernelTable* k = kernels()
        cdef bint reverse = backward
        if dy is None or PyArray_NDIM(dy) != 2:
            return lstm.layer_backward(self, dY, H, C, gates, Wh, h0, c0, size_at_t, backward)
        y = floats_like(H, dy, 2)
        cells = floats_like(C, dy, 2)
        g = floats_like(gates, dy, 2)
        w = floats_like(Wh, dy, 2)
        h = floats_like(h0, dy, 1)
        c = floats_like(c0, dy, 1)
        if y is None or cells is None or g is None or w is None or h is None or c is None:
            return lstm.layer_backward(self, dY, H, C, gates, Wh, h0, c0, size_at_t, backward)
        n = as_int32(size_at_t)
        cdef int64_t width = PyArray_DIMS(w)[1]
        cdef int64_t steps = PyArray_SIZE(n)
        d_gates = empty_like(g)
        dh0 = empty1(width, PyArray_TYPE(dy))
        dc0 = empty1(width, PyArray_TYPE(dy))
        if PyArray_TYPE(dy) == NPY_FLOAT:
            with nogil:
                k.f32.backprop_lstm(f32(d_gates), f32(dh0), f32(dc0), f32(dy), f32(y), f32(cells),
                                    f32(g), f32(w), f32(h), f32(c), i32(n), steps, width, reverse)
        else:
            with nogil:
                k.f64.backprop_lstm(f64(d_gates), f64(dh0), f64(dc0), f64(dy), f64(y), f64(cells),
                                    f64(g), f64(w), f64(h), f64(c), i32(n), steps, width, reverse)
        return d_gates, dh0, dc0

    # ---- training -----------------------------------------------------------

    def get_dropout_mask(self, shape, drop):
        cdef ndarray mask
        cdef int64_t n
        cdef double rate
        cdef MersenneTwister* generator
        cdef const KernelTable* k = kernels()
        if drop is None or drop <= 0 or drop >= 1:
            return Ops.get_dropout_mask(self, shape, drop)
        source = numpy.random.mtrand._rand._bit_generator
        if type(source) is not numpy.random.MT19937:
            return Ops.get_dropout_mask(self, shape, drop)
        generator = <MersenneTwister*>(
            <BitGenerator*>PyCapsule_GetPointer(source.capsule, "BitGenerator")
        ).state
        mask = self.alloc(shape, dtype="float32", zeros=False)
        n = PyArray_SIZE(mask)
        rate = drop
        with source.lock:
            with nogil:
                k.dropout_mask(f32(mask), n, rate, generator.key, &generator.pos)
        return mask

    def norm(self, X):
        cdef ndarray x = floats(X)
        cdef const KernelTable* k = kernels()
        cdef double squares
        cdef int64_t n
        if x is None:
            return Ops.norm(self, X)
        n = PyArray_SIZE(x)
        if PyArray_TYPE(x) == NPY_FLOAT:
            if n < RELEASE_GIL_ABOVE:
                squares = k.f32.sum_of_squares(f32(x), n)
            else:
                with nogil:
                    squares = k.f32.sum_of_squares(f32(x), n)
        else:
            with nogil:
                squares = k.f64.sum_of_squares(f64(x), n)
        return sqrt(squares)

    def clip_gradient(self, gradient, threshold):
        cdef ndarray g = writable_floats(gradient)
        cdef const KernelTable* k = kernels()
        cdef double norm, factor, limit
        cdef int64_t n
        if g is None:
            return Ops.clip_gradient(self, gradient, threshold)
        limit = threshold
        n = PyArray_SIZE(g)
        if PyArray_TYPE(g) == NPY_FLOAT:
            with nogil:
                norm = sqrt(k.f32.quick_sum_of_squares(f32(g), n))
                if norm >= limit:
                    factor = limit / max(norm, SMALLEST_NORM)
                    k.f32.scale_from_end(f32(g), n, <float>factor)
        else:
            with nogil:
                norm = sqrt(k.f64.quick_sum_of_squares(f64(g), n))
                if norm >= limit:
                    factor = limit / max(norm, SMALLEST_NORM)
                    k.f64.scale_from_end(f64(g), n, factor)
        return gradient

    def update_averages(self, ema, weights, t, max_decay=0.9999):
        cdef ndarray averages = writable_floats(ema)
        cdef ndarray w
        cdef const KernelTable* k = kernels()
        cdef double steps = t, limit = max_decay
        w = None if averages is None else floats_like(weights, averages, PyArray_NDIM(averages))
        if w is None or not same_shape(w, averages) or (w is not averages and may_overlap(w, averages)):
            return Ops.update_averages(self, ema, weights, t, max_decay)
        cdef int64_t n = PyArray_SIZE(w)
        cdef double rate = 1.0 - min((1.0 + steps) / (10.0 + steps), limit)
        if PyArray_TYPE(w) == NPY_FLOAT:
            with nogil:
                k.f32.update_averages(f32(averages), f32(w), n, <float>rate)
        else:
            with nogil:
                k.f64.update_averages(f64(averages), f64(w), n, rate)

    def logloss(self, y_true, y_pred):
        cdef ndarray y = floats(y_true)
        cdef ndarray p, losses
        cdef const KernelTable* k = kernels()
        p = None if y is None else floats_like(y_pred, y, PyArray_NDIM(y))
        if p is None or not same_shape(y, p):
            return Ops.logloss(self, y_true, y_pred)
        losses = empty_like(y)
        cdef int64_t n = PyArray_SIZE(y)
        if PyArray_TYPE(y) == NPY_FLOAT:
            with nogil:
                k.f32.logloss(f32(losses), f32(y), f32(p), n)
        else:
            with nogil:
                k.f64.logloss(f64(losses), f64(y), f64(p), n)
        return losses

    def position_encode(self, N, D, period=10000, out=None):
        cdef ndarray waves
        cdef int64_t rows, columns
        if out is not None or N < 0 or D < 1:
            return Ops.position_encode(self, N, D, period, out)
        rows = N
        columns = D
        cdef double base = period
        waves = empty2(rows, columns, NPY_FLOAT)
        with nogil:
            encode_positions(f32(waves), rows, columns, base)
        return waves

    def adam(self, weights, gradient, mom1, mom2, beta1, beta2, eps, learn_rate, mod_rate=1.0):
        arrays = (weights, gradient, mom1, mom2)
        if (
            weights is gradient or weights is mom1 or weights is mom2
            or gradient is mom1 or gradient is mom2 or mom1 is mom2
        ):  # the kernel reads all four before it writes
            return Ops.adam(self, weights, gradient, mom1, mom2, beta1, beta2, eps, learn_rate)
        for array in (gradient, mom1, mom2):
            if not cnp.PyArray_Check(array) or not cnp.PyArray_Check(weights) or not (
                same_shape(weights, array)
            ):
                raise ValueError(
                    f"adam: arrays have incompatible shapes: {[numpy.shape(a) for a in arrays]}"
                )
        if type(self).adam_step is not ADAM_STEP or not adam_update(
            weights, gradient, mom1, mom2, None, learn_rate, beta1, beta2, eps, 1.0, 0.0, 0.0, 0.0
        ):
            self.adam_step(weights, gradient, mom1, mom2, None, learn_rate=learn_rate, beta1=beta1,
                           beta2=beta2, eps=eps)
        return arrays

    def adam_step(self, weights, gradient, mom1, mom2, averages=None, *, learn_rate, beta1, beta2,
                  eps, gradient_scale=1.0, l2=0.0, decay=0.0, ema_rate=0.0):
        if not adam_update(weights, gradient, mom1, mom2, averages, learn_rate, beta1, beta2, eps,
                           gradient_scale, l2, decay, ema_rate):
            Ops.adam_step(self, weights, gradient, mom1, mom2, averages, learn_rate=learn_rate,
                          beta1=beta1, beta2=beta2, eps=eps, gradient_scale=gradient_scale, l2=l2,
                          decay=decay, ema_rate=ema_rate)

    def sgd_step(self, weights, gradient, averages=None, *, learn_rate, gradient_scale=1.0, l2=0.0,
                 decay=0.0, ema_rate=0.0):
        cdef ndarray w = writable_floats(weights)
        cdef ndarray g, ema
        cdef const KernelTable* k = kernels()
        cdef double lr = learn_rate, scale = gradient_scale
        cdef double l2_rate = l2, decay_rate = decay, ema_step = ema_rate
        cdef float* ema32 = NULL
        cdef double* ema64 = NULL
        g = writable_like(gradient, w)
        ema = writable_like(averages, w)
        if w is None or g is None or (averages is not None and ema is None):
            Ops.sgd_step(self, weights, gradient, averages, learn_rate=learn_rate,
                         gradient_scale=gradient_scale, l2=l2, decay=decay, ema_rate=ema_rate)
            return
        cdef int64_t n = PyArray_SIZE(w)
        if PyArray_TYPE(w) == NPY_FLOAT:
            if ema is not None:
                ema32 = f32(ema)
            with nogil:
                k.f32.sgd_step(f32(w), f32(g), ema32, n, <float>lr, <float>scale, <float>l2_rate,
                               <float>decay_rate, <float>ema_step)
        else:
            if ema is not None:
                ema64 = f64(ema)
            with nogil:
                k.f64.sgd_step(f64(w), f64(g), ema64, n, lr, scale, l2_rate, decay_rate, ema_step)


# ---- shared by the methods --------------------------------------------------

cdef void encode_positions(float* waves, int64_t N, int64_t D, double period) noexcept nogil:
    """Column by column, so that each rate is computed once."""
    cdef int64_t p, j
    cdef int64_t pairs = D // 2
    cdef double rate = 1.0
    for j in range(0, 2 * pairs, 2):
        rate = pow(period, -2.0 * j / D)
        for p in range(N):
            waves[p * D + j] = <float>sin(p * rate)
            waves[p * D + j + 1] = <float>cos(p * rate)
    if D % 2:  # the last pair's sine once more
        for p in range(N):
            waves[p * D + D - 1] = <float>sin(p * rate)


# NumPy's public bitgen_t, of which only the first member is needed, and the state of
# its MT19937, whose layout it has kept since 1.17 (tests compare with NumPy's draws).
cdef struct BitGenerator:
    void* state

cdef struct MersenneTwister:
    uint32_t key[624]
    int pos


cdef inline ndarray writable_like(object X, ndarray w):
    """X if it is writable, contiguous, and has w's dtype and size, else None."""
    cdef ndarray x
    if X is None or w is None:
        return None
    x = writable_floats(X)
    if x is None or PyArray_TYPE(x) != PyArray_TYPE(w) or PyArray_SIZE(x) != PyArray_SIZE(w):
        return None
    return x


# As a subclass may have its own, adam asks whether this is the one it would call.
cdef object ADAM_STEP = NumpyOps.adam_step


cdef bint adam_update(
    object weights, object gradient, object mom1, object mom2, object averages, double learn_rate,
    double beta1, double beta2, double eps, double scale, double l2, double decay, double ema_rate
) except -1:
    """Adam's whole update, in place; False, and nothing done, if the generic code has to do it."""
    cdef ndarray w = writable_floats(weights)
    cdef ndarray g = writable_like(gradient, w)
    cdef ndarray m = writable_like(mom1, w)
    cdef ndarray v = writable_like(mom2, w)
    cdef ndarray ema = writable_like(averages, w)
    cdef const KernelTable* k = kernels()
    cdef double rest1 = 1.0 - beta1, rest2 = 1.0 - beta2
    cdef float* ema32 = NULL
    cdef double* ema64 = NULL
    if w is None or g is None or m is None or v is None or (averages is not None and ema is None):
        return False
    cdef int64_t n = PyArray_SIZE(w)
    if PyArray_TYPE(w) == NPY_FLOAT:
        if ema is not None:
            ema32 = f32(ema)
        with nogil:
            k.f32.adam_step(f32(w), f32(g), f32(m), f32(v), ema32, n, <float>rest1, <float>rest2,
                            <float>eps, <float>learn_rate, <float>scale, <float>l2,
                            <float>decay, <float>ema_rate)
    else:
        if ema is not None:
            ema64 = f64(ema)
        with nogil:
            k.f64.adam_step(f64(w), f64(g), f64(m), f64(v), ema64, n, rest1, rest2, eps, learn_rate,
                            scale, l2, decay, ema_rate)
    return True


cdef tuple affine(object self, int f, object X, object W, object b, tuple params, bint keep):
    """Y = f(P), P = X W^T + b, and P if keep."""
    cdef ndarray x, w, bias, Y, P
    cdef int64_t M, N, K, ldx
    cdef float p32[4]
    cdef double p64[4]
    cdef float* pre32 = NULL
    cdef double* pre64 = NULL
    cdef const KernelTable* k = kernels()
    w = floats(W)
    x = None
    bias = None
    if w is not None and PyArray_NDIM(w) == 2:
        x = rows_of(X, w)
        bias = floats_like(b, w, 1)
    if (
        x is None
        or bias is None
        or PyArray_DIMS(x)[1] != PyArray_DIMS(w)[1]
        or PyArray_DIMS(bias)[0] != PyArray_DIMS(w)[0]
    ):
        raise_affine_errors(X, W, b)
        if f == IDENTITY:
            return Ops.affine(self, X, W, b), None
        name = next(name for name, which in ACTIVATIONS.items() if which == f)
        return Ops.affine_activation(self, name, X, W, b, params)
    M = PyArray_DIMS(x)[0]
    K = PyArray_DIMS(x)[1]
    N = PyArray_DIMS(w)[0]
    ldx = PyArray_STRIDES(x)[0] // cnp.PyArray_ITEMSIZE(x)
    Y = empty2(M, N, PyArray_TYPE(x))
    P = None
    fill_params(params, p32, p64)
    if keep:
        P = empty2(M, N, PyArray_TYPE(x))
    if PyArray_TYPE(x) == NPY_FLOAT:
        if keep:
            pre32 = f32(P)
        if M * N * K < RELEASE_GIL_ABOVE:
            k.f32.affine(<Activation>f, p32, f32(Y), pre32, f32(x), ldx, f32(w), f32(bias), NULL, M, N, K)
        else:
            with nogil:
                k.f32.affine(<Activation>f, p32, f32(Y), pre32, f32(x), ldx, f32(w), f32(bias), NULL, M, N, K)
    else:
        if keep:
            pre64 = f64(P)
        with nogil:
            k.f64.affine(<Activation>f, p64, f64(Y), pre64, f64(x), ldx, f64(w), f64(bias), NULL, M, N, K)
    return Y, P


cdef tuple affine_maxout(object self, object X, object W, object b, bint keep):
    """The maxima, and if keep which pieces they are."""
    cdef ndarray x, w, bias, best, which
    cdef int64_t B, O, P, K, ldx
    cdef int32_t* chosen = NULL
    cdef const KernelTable* k = kernels()
    w = floats(W)
    if w is None or PyArray_NDIM(w) != 3 or PyArray_DIMS(w)[1] == 0:
        return Ops.affine_maxout(self, X, W, b)
    x = rows_of(X, w)
    bias = floats_like(b, w, 2)
    if (
        x is None
        or bias is None
        or PyArray_DIMS(x)[1] != PyArray_DIMS(w)[2]
        or PyArray_DIMS(bias)[0] != PyArray_DIMS(w)[0]
        or PyArray_DIMS(bias)[1] != PyArray_DIMS(w)[1]
    ):
        raise_affine_errors(X, W.reshape((-1, W.shape[2])), b.reshape((-1,)))
        return Ops.affine_maxout(self, X, W, b)
    B = PyArray_DIMS(x)[0]
    O = PyArray_DIMS(w)[0]
    P = PyArray_DIMS(w)[1]
    K = PyArray_DIMS(w)[2]
    best = empty2(B, O, PyArray_TYPE(x))
    which = None
    if keep:
        which = empty2(B, O, NPY_INT32)
        chosen = i32(which)
    ldx = PyArray_STRIDES(x)[0] // cnp.PyArray_ITEMSIZE(x)
    if PyArray_TYPE(x) == NPY_FLOAT:
        with nogil:
            k.f32.affine_maxout(f32(best), chosen, f32(x), ldx, f32(w), f32(bias), NULL, NULL, B, O, P, K)
    else:
        with nogil:
            k.f64.affine_maxout(f64(best), chosen, f64(x), ldx, f64(w), f64(bias), NULL, NULL, B, O, P, K)
    return best, which


cdef ndarray as_int32(object X):
    """An integer array as contiguous int32. Values beyond 32 bits become -1, which every
    check refuses."""
    cdef ndarray x = X
    if PyArray_TYPE(x) == NPY_INT32 and cnp.PyArray_ISCARRAY_RO(x):
        return x
    if x.dtype.kind not in "iu":
        raise ValueError(f"Expected an array of integers, got {x.dtype}")
    if x.dtype.itemsize > 4 or x.dtype.kind == "u":
        X = numpy.where(X > 2147483647, -1, X)
    return numpy.ascontiguousarray(X, dtype="int32")


cdef int64_t total(ndarray lengths) noexcept:
    cdef int64_t i, result = 0
    cdef int32_t* n = i32(lengths)
    for i in range(PyArray_SIZE(lengths)):
        result += n[i]
    return result


cdef ndarray checked_lengths(str what, object lengths, int64_t rows, int minimum):
    """lengths as contiguous int32, each at least `minimum`, summing to `rows` (not
    checked if that is -1)."""
    cdef ndarray n
    cdef int64_t i
    if not cnp.PyArray_Check(lengths):
        lengths = numpy.asarray(lengths, dtype=None if len(lengths) else "int32")
    if lengths.ndim != 1:
        raise ValueError(f"{what}: lengths must be 1-dimensional, got shape {lengths.shape}")
    n = as_int32(lengths)
    for i in range(PyArray_SIZE(n)):
        if i32(n)[i] < minimum:
            raise ValueError(
                f"{what}: all sequence lengths must be {'> 0' if minimum else '>= 0'}, "
                f"lengths[{i}] is {lengths[i]}"
            )
    if rows >= 0 and total(n) != rows:
        raise IndexError(
            f"{what}: lengths must sum up to the number of rows: they sum to {total(n)}, "
            f"but there are {rows} rows"
        )
    return n


cdef ndarray window_lengths(str what, object lengths, int64_t rows):
    if lengths is None:
        return numpy.asarray([rows] if rows else [], dtype="int32")
    return checked_lengths(what, lengths, rows, 0)


cdef ndarray checked_rows(str what, object indices, npy_intp nr_row):
    """Indices into a table as contiguous uint32, all in range; None if they are no integers."""
    cdef ndarray rows = indices
    cdef int64_t bad
    cdef int typenum = PyArray_TYPE(rows)
    cdef const KernelTable* k = kernels()
    if rows.dtype.kind not in "iu":
        return None
    if nr_row >= (1 << 31):
        return None
    if (typenum == NPY_INT32 or typenum == NPY_UINT32) and cnp.PyArray_ISCARRAY_RO(rows):
        pass  # a negative int32 reads as at least 2**31, which is out of range
    else:
        # 64-bit values that do not fit must not wrap into range
        rows = numpy.ascontiguousarray(
            numpy.where((indices < 0) | (indices >= nr_row), 0xFFFFFFFF, indices), dtype="uint32"
        )
    bad = k.find_out_of_range(u32(rows), PyArray_SIZE(rows), <uint32_t>nr_row)
    if bad >= 0:
        raise IndexError(
            f"{what}: index {indices.reshape(-1)[bad]} at position {bad} is outside the table of "
            f"{nr_row} rows"
        )
    return rows


cdef ndarray checked_cells(str what, object cells, int64_t size, int64_t O, int64_t stride):
    """Cells as contiguous uint32 that lie in a table of `size` weights for each of O classes."""
    # The last class reaches furthest.
    cdef int64_t limit = size - (O - 1) * stride if O else size
    return checked_rows(what + " cells", cells, limit if limit > 0 else 0)


cdef int raise_no_array(str what, dict arguments) except -1:
    for name, value in arguments.items():
        if not cnp.PyArray_Check(value):
            raise TypeError(
                f"{what}: expected {name} to be a numpy array, got {type(value).__name__}"
            )
    return 0


ctypedef fused index_type:
    int32_t
    int64_t


cdef bint count_from_the_end(
    uint32_t* rows, const index_type* indices, int64_t n, int64_t nr_row
) noexcept nogil:
    """rows = indices, with nr_row added to negative ones; whether all are rows then."""
    cdef int64_t i, row
    cdef int64_t outside = 0
    for i in range(n):
        row = indices[i]
        row += nr_row if row < 0 else 0
        outside |= row | (nr_row - 1 - row)  # negative if one of them is
        rows[i] = <uint32_t>row
    return outside >= 0


cdef ndarray rows_from_the_end(str what, object indices, npy_intp nr_row):
    """Indices into a table as contiguous uint32. Negative ones count from the end, as
    everywhere in NumPy. None if the table has too many rows for that."""
    cdef ndarray given = indices
    cdef int64_t n = PyArray_SIZE(given)
    cdef ndarray rows
    cdef bint inside
    if nr_row >= (1 << 31):
        return None
    if PyArray_TYPE(given) != NPY_INT32 or not cnp.PyArray_ISCARRAY_RO(given):
        if indices.dtype.kind == "u" and cnp.PyArray_ITEMSIZE(given) == 8:
            # What is too large must not become negative.
            given = numpy.minimum(indices, numpy.uint64(1 << 31))
        given = numpy.ascontiguousarray(given, dtype="int64")
    rows = empty1(n, NPY_UINT32)
    with nogil:
        if PyArray_TYPE(given) == NPY_INT32:
            inside = count_from_the_end(u32(rows), i32(given), n, nr_row)
        else:
            inside = count_from_the_end(u32(rows), <int64_t*>PyArray_DATA(given), n, nr_row)
    if not inside:
        for index in indices.tolist():
            if not -nr_row <= index < nr_row:
                raise IndexError(f"{what}: index {index} is outside the table of {nr_row} rows")
    return rows


cdef int add_to_rows(ndarray table, ndarray values, ndarray rows, int64_t K) except -1:
    cdef int64_t B = PyArray_DIMS(values)[0]
    cdef int64_t O = PyArray_DIMS(values)[1]
    cdef const KernelTable* k = kernels()
    if PyArray_TYPE(table) == NPY_FLOAT:
        with nogil:
            k.f32.backprop_gather_add(f32(table), f32(values), u32(rows), B, K, O)
    else:
        with nogil:
            k.f64.backprop_gather_add(f64(table), f64(values), u32(rows), B, K, O)
    return 0


cdef ndarray as_uint64(str what, object ids):
    """ids as contiguous uint64: negative integers wrap, floats truncate."""
    cdef ndarray keys
    if not cnp.PyArray_Check(ids):
        if isinstance(ids, (str, bytes)) or not hasattr(ids, "__len__"):
            raise TypeError(f"{what}: expected an array of ids, got {type(ids).__name__}")
        ids = numpy.asarray(ids, dtype="uint64")
    keys = ids
    if PyArray_NDIM(keys) != 1:
        raise ValueError(f"{what}: expected a 1-dimensional array of ids, got shape {ids.shape}")
    if keys.dtype.kind not in "iufb":
        raise TypeError(f"{what}: ids must be numbers, got {keys.dtype}")
    if PyArray_TYPE(keys) == NPY_UINT64 and cnp.PyArray_ISCARRAY_RO(keys):
        return keys
    return numpy.ascontiguousarray(ids).astype("uint64")


cdef object reduce_rows(object self, str what, object X, object lengths):
    cdef ndarray x = floats(X)
    cdef ndarray n, Y
    cdef bint mean = what == "reduce_mean"
    cdef const KernelTable* k = kernels()
    if x is None or PyArray_NDIM(x) != 2:
        return Ops.reduce_mean(self, X, lengths) if mean else Ops.reduce_sum(self, X, lengths)
    n = checked_lengths(what, lengths, PyArray_DIMS(x)[0], 0)
    cdef int64_t B = PyArray_SIZE(n)
    cdef int64_t O = PyArray_DIMS(x)[1]
    Y = empty2(B, O, PyArray_TYPE(x))
    if PyArray_TYPE(x) == NPY_FLOAT:
        with nogil:
            if mean:
                k.f32.reduce_mean(f32(Y), f32(x), i32(n), B, O)
            else:
                k.f32.reduce_sum(f32(Y), f32(x), i32(n), B, O)
    else:
        with nogil:
            if mean:
                k.f64.reduce_mean(f64(Y), f64(x), i32(n), B, O)
            else:
                k.f64.reduce_sum(f64(Y), f64(x), i32(n), B, O)
    return Y


cdef object backprop_reduce_rows(object self, str what, object dY, object lengths):
    cdef ndarray dy = floats(dY)
    cdef ndarray n, dX
    cdef bint mean = what == "backprop_reduce_mean"
    cdef const KernelTable* k = kernels()
    if dy is None or PyArray_NDIM(dy) != 2:
        if mean:
            return Ops.backprop_reduce_mean(self, dY, lengths)
        return Ops.backprop_reduce_sum(self, dY, lengths)
    n = checked_lengths(what, lengths, -1, 0)
    cdef int64_t B = PyArray_SIZE(n)
    cdef int64_t O = PyArray_DIMS(dy)[1]
    if PyArray_DIMS(dy)[0] != B:
        raise ValueError(f"{what}: {B} lengths for a gradient of shape {dY.shape}")
    dX = empty2(total(n), O, PyArray_TYPE(dy))
    if PyArray_TYPE(dy) == NPY_FLOAT:
        with nogil:
            if mean:
                k.f32.backprop_reduce_mean(f32(dX), f32(dy), i32(n), B, O)
            else:
                k.f32.backprop_reduce_sum(f32(dX), f32(dy), i32(n), B, O)
    else:
        with nogil:
            if mean:
                k.f64.backprop_reduce_mean(f64(dX), f64(dy), i32(n), B, O)
            else:
                k.f64.backprop_reduce_sum(f64(dX), f64(dy), i32(n), B, O)
    return dX
