from numpy cimport PyArray_EMPTY, PyArray_ZEROS, ndarray, npy_intp

cdef ndarray large_array(int nd, npy_intp* dims, int typenum, bint zeros)

cdef enum:
    LARGE = 1 << 14  # numbers


cdef inline ndarray new_array(int nd, npy_intp* dims, int typenum, bint zeros):
    """A C-contiguous array; if it is large, in memory that may have been another's."""
    cdef size_t size = 1
    cdef int i
    for i in range(nd):
        size *= <size_t>dims[i]
    if size >= LARGE:
        return large_array(nd, dims, typenum, zeros)
    if zeros:
        return PyArray_ZEROS(nd, dims, typenum, 0)
    return PyArray_EMPTY(nd, dims, typenum, 0)
