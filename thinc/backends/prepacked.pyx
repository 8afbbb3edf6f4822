"""Parameters that no longer change, laid out once and for all as predictions read them.

Each class is a function from X to Y, made from a frozen layer's parameters. Arguments that
its compiled path does not take go to the method of the ops that means the same.
"""
cimport numpy as cnp
from libc.stdint cimport int64_t, uint32_t, uint64_t
from numpy cimport (
    NPY_FLOAT,
    NPY_UINT8,
    NPY_UINT32,
    NPY_UINT64,
    PyArray_DATA,
    PyArray_DIMS,
    PyArray_NDIM,
    PyArray_STRIDES,
    PyArray_TYPE,
    ndarray,
)

from .cpu_kernels cimport ACTIVATION_COUNT, Activation, KernelTable, kernels
from .typed_arrays cimport empty1, empty2, f32, f64, is_float, rows_of, u32

cnp.import_array()

cdef enum:
    CACHE_LINE = 64
    FEWEST_ROWS = 3  # from which on prepacked weights are used


cdef class Prepacked:
    """Memory that begins on a cache line."""
    cdef ndarray memory
    cdef void* data

    @staticmethod
    cdef Prepacked of_size(int64_t nr_byte):
        cdef Prepacked made = Prepacked.__new__(Prepacked)
        cdef size_t address
        made.memory = empty1(nr_byte + CACHE_LINE, NPY_UINT8)
        address = <size_t>PyArray_DATA(made.memory)
        made.data = <void*>((address + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE)
        return made


cdef Prepacked prepack(const KernelTable* k, ndarray w, int64_t O, int64_t P, int64_t K, bint windows):
    """The weights (O, P, K) as the kernels' prepack lays them out."""
    cdef Prepacked packed
    cdef bint done
    if PyArray_TYPE(w) == NPY_FLOAT:
        packed = Prepacked.of_size(sizeof(float) * k.f32.prepacked_size(O, P, K, windows))
        done = k.f32.prepack(<float*>packed.data, f32(w), O, P, K, windows)
    else:
        packed = Prepacked.of_size(sizeof(double) * k.f64.prepacked_size(O, P, K, windows))
        done = k.f64.prepack(<double*>packed.data, f64(w), O, P, K, windows)
    if not done:
        raise MemoryError("no memory to prepare weights in")
    return packed


cdef class PrepackedAffine:
    """X -> f(X W^T + b), f being an activation's number and params its parameters."""
    cdef const KernelTable* k  # the layout is that of one instruction-set level
    cdef object otherwise
    cdef Activation f
    cdef ndarray w, bias
    cdef float p32[4]
    cdef double p64[4]
    cdef Prepacked packed

    def __init__(self, int f, W, b, params, otherwise):
        """W: (O, K), b: (O,) of one dtype, float32 or float64, contiguous. otherwise: X -> Y."""
        cdef int i
        if not 0 <= f < ACTIVATION_COUNT or len(params) > 4:
            raise ValueError(f"no activation {f} with {len(params)} parameters")
        self.k = kernels()
        self.otherwise = otherwise
        self.f = <Activation>f
        self.w = W
        self.bias = b
        check_weights(self.w, 2)
        check_bias(self.w, self.bias, 1)
        for i in range(4):
            self.p32[i] = params[i] if i < len(params) else 0
            self.p64[i] = params[i] if i < len(params) else 0

    def __call__(self, X):
        cdef ndarray Y
        cdef ndarray x = rows_of(X, self.w)
        cdef int64_t N = PyArray_DIMS(self.w)[0], K = PyArray_DIMS(self.w)[1]
        cdef int64_t M, ldx
        cdef const KernelTable* k = self.k
        cdef void* packed = NULL
        if x is None or PyArray_DIMS(x)[1] != K:
            return self.otherwise(X)
        M = PyArray_DIMS(x)[0]
        if M >= FEWEST_ROWS:
            if self.packed is None:
                self.packed = prepack(self.k, self.w, N, 1, K, False)
            packed = self.packed.data
        ldx = PyArray_STRIDES(x)[0] // cnp.PyArray_ITEMSIZE(x)
        Y = empty2(M, N, PyArray_TYPE(x))
        if PyArray_TYPE(x) == NPY_FLOAT:
            with nogil:
                k.f32.affine(self.f, self.p32, f32(Y), NULL, f32(x), ldx, f32(self.w),
                             f32(self.bias), <float*>packed, M, N, K)
        else:
            with nogil:
                k.f64.affine(self.f, self.p64, f64(Y), NULL, f64(x), ldx, f64(self.w),
                             f64(self.bias), <double*>packed, M, N, K)
        return Y


cdef class PrepackedMaxout:
    """X -> the largest piece of X W^T + b."""
    cdef const KernelTable* k
    cdef object otherwise
    cdef ndarray w, bias
    cdef Prepacked packed, windows

    def __init__(self, W, b, otherwise):
        """W: (O, P, K), b: (O, P) of one dtype, float32 or float64, contiguous, P > 0."""
        self.k = kernels()
        self.otherwise = otherwise
        self.w = W
        self.bias = b
        check_weights(self.w, 3)
        check_bias(self.w, self.bias, 2)
        if PyArray_DIMS(self.w)[1] == 0:
            raise ValueError("maxout of no pieces")

    def __call__(self, X):
        cdef ndarray Y
        cdef ndarray x = rows_of(X, self.w)
        cdef int64_t O = PyArray_DIMS(self.w)[0], P = PyArray_DIMS(self.w)[1], K = PyArray_DIMS(self.w)[2]
        cdef int64_t M, ldx
        cdef const KernelTable* k = self.k
        cdef void* packed = NULL
        cdef void* windows = NULL
        if x is None or PyArray_DIMS(x)[1] != K:
            return self.otherwise(X)
        M = PyArray_DIMS(x)[0]
        ldx = PyArray_STRIDES(x)[0] // cnp.PyArray_ITEMSIZE(x)
        if M >= FEWEST_ROWS:
            if self.packed is None:
                self.packed = prepack(self.k, self.w, O, P, K, False)
            packed = self.packed.data
            if 0 < 3 * ldx == K:
                if self.windows is None:
                    self.windows = prepack(self.k, self.w, O, P, K, True)
                windows = self.windows.data
        Y = empty2(M, O, PyArray_TYPE(x))
        if PyArray_TYPE(x) == NPY_FLOAT:
            with nogil:
                k.f32.affine_maxout(f32(Y), NULL, f32(x), ldx, f32(self.w), f32(self.bias),
                                    <float*>packed, <float*>windows, M, O, P, K)
        else:
            with nogil:
                k.f64.affine_maxout(f64(Y), NULL, f64(x), ldx, f64(self.w), f64(self.bias),
                                    <double*>packed, <double*>windows, M, O, P, K)
        return Y


cdef class EmbeddedMaxout:
    """ids (n, columns) -> maxout of the hash embeddings of some columns, side by side.

    Each row of the tables has met its part of the weights beforehand: what is left to do for
    an id is to add rows up.
    """
    cdef const KernelTable* k
    cdef object otherwise
    cdef ndarray products, bias
    cdef tuple columns, seeds, sizes
    cdef int64_t nr_column, O, P

    def __init__(self, products, bias, sizes, columns, seeds, otherwise):
        """products: (sum of sizes, pieces, O), bias: (pieces, O) of one dtype, float32 or
        float64, contiguous. sizes: the rows of each table, all positive. columns: of ids."""
        self.k = kernels()
        self.otherwise = otherwise
        self.products = products
        self.bias = bias
        check_weights(self.products, 3)
        check_weights(self.bias, 2)
        self.sizes = tuple(sizes)
        self.columns = tuple(columns)
        self.seeds = tuple(seeds)
        self.P = PyArray_DIMS(self.products)[1]
        self.O = PyArray_DIMS(self.products)[2]
        if (
            PyArray_TYPE(self.products) != PyArray_TYPE(self.bias)
            or PyArray_DIMS(self.bias)[0] != self.P
            or PyArray_DIMS(self.bias)[1] != self.O
            or self.P == 0
            or not len(self.sizes) == len(self.columns) == len(self.seeds) > 0
            or min(self.sizes) <= 0
            or min(self.columns) < 0
            or sum(self.sizes) != PyArray_DIMS(self.products)[0]
            or sum(self.sizes) >= 1 << 32
        ):
            raise ValueError("products, bias, sizes, columns and seeds do not belong together")
        self.nr_column = max(self.columns) + 1

    def __call__(self, ids):
        cdef ndarray x, keys, hashed, rows, Y
        cdef int64_t n, i, j, column, ldx, t, K = 4 * len(self.sizes)
        cdef uint32_t seed, size, offset = 0
        cdef uint64_t* key
        cdef const uint64_t* source
        cdef uint32_t* row
        cdef uint32_t* four
        cdef bint done
        cdef const KernelTable* k = self.k
        if not cnp.PyArray_Check(ids):
            return self.otherwise(ids)
        x = ids
        if (
            PyArray_NDIM(x) != 2
            or PyArray_TYPE(x) != NPY_UINT64
            or not cnp.PyArray_ISCARRAY_RO(x)
            or PyArray_DIMS(x)[1] < self.nr_column
        ):
            return self.otherwise(ids)
        n = PyArray_DIMS(x)[0]
        ldx = PyArray_DIMS(x)[1]
        keys = empty1(n, NPY_UINT64)
        hashed = empty2(n, 4, NPY_UINT32)
        rows = empty2(n, K, NPY_UINT32)
        Y = empty2(n, self.O, PyArray_TYPE(self.products))
        key = <uint64_t*>PyArray_DATA(keys)
        four = u32(hashed)
        for t in range(len(self.sizes)):
            column = self.columns[t]
            seed = self.seeds[t]
            size = self.sizes[t]
            source = <const uint64_t*>PyArray_DATA(x) + column
            row = u32(rows) + 4 * t
            with nogil:
                for i in range(n):
                    key[i] = source[i * ldx]
                k.hash_rows(four, key, n, seed, size)
                for i in range(n):
                    for j in range(4):
                        row[i * K + j] = four[4 * i + j] + offset
            offset += size
        if PyArray_TYPE(Y) == NPY_FLOAT:
            with nogil:
                done = k.f32.gather_maxout(f32(Y), f32(self.products), u32(rows), f32(self.bias), n, K,
                                           self.O, self.P)
        else:
            with nogil:
                done = k.f64.gather_maxout(f64(Y), f64(self.products), u32(rows), f64(self.bias), n, K,
                                           self.O, self.P)
        if not done:
            raise MemoryError("no memory for the sums of one row")
        return Y


cdef int check_weights(ndarray w, int ndim) except -1:
    if not is_float(w) or PyArray_NDIM(w) != ndim or not cnp.PyArray_ISCARRAY_RO(w):
        raise ValueError(f"expected contiguous floats of {ndim} dimensions")
    return 0


cdef int check_bias(ndarray w, ndarray bias, int ndim) except -1:
    cdef int i
    check_weights(bias, ndim)
    if PyArray_TYPE(w) != PyArray_TYPE(bias):
        raise ValueError("expected weights and bias of one dtype")
    for i in range(ndim):
        if PyArray_DIMS(w)[i] != PyArray_DIMS(bias)[i]:
            raise ValueError("expected a bias for each of the weights' outputs")
    return 0
