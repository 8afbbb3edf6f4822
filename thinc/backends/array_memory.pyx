"""Where the large arrays of NumpyOps lie: in memory that is kept when they are freed.

They are ordinary NumPy arrays that own their memory. NumPy takes and frees it through a
handler of ours (NEP 49), which is in force only while we make an array.
"""
cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint8_t
from libc.string cimport strcpy
from numpy cimport (
    NPY_DOUBLE,
    NPY_FLOAT,
    PyArray_CheckExact,
    PyArray_DIMS,
    PyArray_EMPTY,
    PyArray_ISCARRAY_RO,
    PyArray_NDIM,
    PyArray_SIZE,
    PyArray_TYPE,
    PyArray_ZEROS,
    ndarray,
    npy_intp,
)

cdef extern from "numpy/arrayobject.h":
    ctypedef struct PyDataMemAllocator:
        void* ctx
        void* (*malloc)(void* ctx, size_t size) noexcept nogil
        void* (*calloc)(void* ctx, size_t count, size_t size) noexcept nogil
        void* (*realloc)(void* ctx, void* data, size_t size) noexcept nogil
        void (*free)(void* ctx, void* data, size_t size) noexcept nogil
    ctypedef struct PyDataMem_Handler:
        char name[127]
        uint8_t version
        PyDataMemAllocator allocator
    object PyDataMem_SetHandler(object handler)

cdef extern from "block_cache.hpp" namespace "thinc" nogil:
    cdef cppclass BlockCache:
        @staticmethod
        BlockCache& shared()
        void* allocate(size_t size, bint zeroed)
        void release(void* data)
        void* reallocate(void* data, size_t size)
        size_t kept_bytes()
        void clear()

import numpy

cnp.import_array()


cdef void* allocate(void* ctx, size_t size) noexcept nogil:
    return BlockCache.shared().allocate(size, False)


cdef void* allocate_zeros(void* ctx, size_t count, size_t size) noexcept nogil:
    if size != 0 and count > <size_t>-1 / size:
        return NULL
    return BlockCache.shared().allocate(count * size, True)


cdef void* reallocate(void* ctx, void* data, size_t size) noexcept nogil:
    return BlockCache.shared().reallocate(data, size)


cdef void release(void* ctx, void* data, size_t size) noexcept nogil:
    BlockCache.shared().release(data)


cdef PyDataMem_Handler HANDLER
strcpy(HANDLER.name, b"thinc_block_cache")
HANDLER.version = 1
HANDLER.allocator = PyDataMemAllocator(NULL, allocate, allocate_zeros, reallocate, release)
cdef object HANDLER_CAPSULE = PyCapsule_New(&HANDLER, b"mem_handler", NULL)


cdef ndarray large_array(int nd, npy_intp* dims, int typenum, bint zeros):
    cdef object before = PyDataMem_SetHandler(HANDLER_CAPSULE)
    try:
        if zeros:
            return PyArray_ZEROS(nd, dims, typenum, 0)
        return PyArray_EMPTY(nd, dims, typenum, 0)
    finally:
        PyDataMem_SetHandler(before)


cdef inline bint fits(ndarray X, ndarray Y):
    """Whether Y can be broadcast to X."""
    cdef int i
    if PyArray_NDIM(Y) != PyArray_NDIM(X):
        return False
    for i in range(PyArray_NDIM(X)):
        if PyArray_DIMS(Y)[i] != PyArray_DIMS(X)[i] and PyArray_DIMS(Y)[i] != 1:
            return False
    return True


cdef ndarray memory_for_result(X, Y):
    """An array for the sum or product of X and Y, if they are large arrays of one float dtype,
    and Y has X's shape, or 1 in places; else None."""
    cdef ndarray x, y
    if not PyArray_CheckExact(X) or not PyArray_CheckExact(Y):
        return None
    x = X
    y = Y
    if (
        PyArray_SIZE(x) < LARGE
        or PyArray_TYPE(x) != PyArray_TYPE(y)
        or (PyArray_TYPE(x) != NPY_FLOAT and PyArray_TYPE(x) != NPY_DOUBLE)
        or not PyArray_ISCARRAY_RO(x)
        or not fits(x, y)
    ):
        return None
    return large_array(PyArray_NDIM(x), PyArray_DIMS(x), PyArray_TYPE(x), False)


def add(X, Y):
    """X + Y, for arrays of any kind; in memory that may have been another array's."""
    out = memory_for_result(X, Y)
    return X + Y if out is None else numpy.add(X, Y, out)


def multiply(X, Y):
    """X * Y, for arrays of any kind; in memory that may have been another array's."""
    out = memory_for_result(X, Y)
    return X * Y if out is None else numpy.multiply(X, Y, out)


def kept_bytes():
    """The bytes of memory that are kept for arrays to come: 64 MiB at most."""
    return BlockCache.shared().kept_bytes()


def release_memory():
    """Give the memory that is kept for arrays to come back to the system."""
    BlockCache.shared().clear()
