# What compiled code asks of the arrays it is given, and how it makes and reads them.
cimport numpy as cnp
from libc.stdint cimport int32_t, uint32_t
from numpy cimport (
    NPY_DOUBLE,
    NPY_FLOAT,
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


cdef inline bint is_float(ndarray X) noexcept:
    cdef int t = PyArray_TYPE(X)
    return t == NPY_FLOAT or t == NPY_DOUBLE


cdef inline ndarray floats(object X):
    """X if it is a C-contiguous float32 or float64 array, else a contiguous copy of such
    an array, else None."""
    if not cnp.PyArray_Check(X) or not is_float(X):
        return None
    if cnp.PyArray_ISCARRAY_RO(X):
        return X
    return cnp.PyArray_FROM_OTF(
        X, PyArray_TYPE(X), cnp.NPY_ARRAY_CARRAY_RO | cnp.NPY_ARRAY_ENSUREARRAY
    )


cdef inline ndarray floats_like(object X, ndarray other, int ndim):
    """floats(X) if it has other's dtype and `ndim` dimensions, else None."""
    cdef ndarray result = floats(X)
    if (
        result is None
        or PyArray_TYPE(result) != PyArray_TYPE(other)
        or PyArray_NDIM(result) != ndim
    ):
        return None
    return result


cdef inline ndarray writable_floats(object X):
    """X if a kernel can write into it as it is, else None."""
    if cnp.PyArray_Check(X) and is_float(X) and cnp.PyArray_ISCARRAY(X):
        return X
    return None


cdef inline ndarray empty1(npy_intp a, int typenum):
    return new_array(1, &a, typenum, False)


cdef inline ndarray empty2(npy_intp a, npy_intp b, int typenum):
    cdef npy_intp dims[2]
    dims[0] = a
    dims[1] = b
    return new_array(2, dims, typenum, False)


cdef inline ndarray empty3(npy_intp a, npy_intp b, npy_intp c, int typenum):
    cdef npy_intp dims[3]
    dims[0] = a
    dims[1] = b
    dims[2] = c
    return new_array(3, dims, typenum, False)


cdef inline ndarray empty_like(ndarray X):
    return new_array(PyArray_NDIM(X), PyArray_DIMS(X), PyArray_TYPE(X), False)


cdef inline bint same_shape(ndarray A, ndarray B) noexcept:
    cdef int i
    if PyArray_NDIM(A) != PyArray_NDIM(B):
        return False
    for i in range(PyArray_NDIM(A)):
        if PyArray_DIMS(A)[i] != PyArray_DIMS(B)[i]:
            return False
    return True


cdef inline bint may_overlap(ndarray A, ndarray B) noexcept:
    """Whether the memory from A's first to its last element meets that of B."""
    cdef size_t a_start, a_end, b_start, b_end
    memory_extent(A, &a_start, &a_end)
    memory_extent(B, &b_start, &b_end)
    return a_start < b_end and b_start < a_end


cdef inline void memory_extent(ndarray X, size_t* start, size_t* end) noexcept:
    cdef int i
    cdef npy_intp reach
    start[0] = <size_t>PyArray_DATA(X)
    end[0] = start[0]
    if PyArray_SIZE(X) == 0:
        return
    for i in range(PyArray_NDIM(X)):
        reach = (PyArray_DIMS(X)[i] - 1) * PyArray_STRIDES(X)[i]
        if reach < 0:
            start[0] += reach
        else:
            end[0] += reach
    end[0] += cnp.PyArray_ITEMSIZE(X)


cdef inline float* f32(ndarray X) noexcept nogil:
    return <float*>PyArray_DATA(X)


cdef inline double* f64(ndarray X) noexcept nogil:
    return <double*>PyArray_DATA(X)


cdef inline int32_t* i32(ndarray X) noexcept nogil:
    return <int32_t*>PyArray_DATA(X)


cdef inline uint32_t* u32(ndarray X) noexcept nogil:
    return <uint32_t*>PyArray_DATA(X)


cdef inline bint takes_strides(ndarray X) noexcept:
    """Whether a kernel may read X element by element through its strides."""
    return cnp.PyArray_ISALIGNED(X) and cnp.PyArray_ISNOTSWAPPED(X)


cdef inline ndarray rows_of(object X, ndarray like):
    """X as a matrix of like's dtype whose rows are contiguous, or None."""
    cdef ndarray x
    if not cnp.PyArray_Check(X):
        return None
    x = X
    if PyArray_NDIM(x) != 2 or PyArray_TYPE(x) != PyArray_TYPE(like):
        return None
    if takes_strides(x) and PyArray_STRIDES(x)[1] == cnp.PyArray_ITEMSIZE(x) and (
        PyArray_STRIDES(x)[0] >= 0
    ):
        return x
    return floats(x)
