"""CBlas: pointers to C functions for linear algebra, for Cython code without the GIL.

The functions are declared and documented in cblas.pxd; Python sees an opaque object.
"""
from libc.stdlib cimport calloc, free

from .cpu_kernels cimport kernels


cdef struct BlasTable:
    saxpy_ptr saxpy
    daxpy_ptr daxpy
    sgemm_ptr sgemm
    dgemm_ptr dgemm
    sscal_ptr sscal
    dscal_ptr dscal


cdef class CBlas:
    """The C functions of a backend. Get one from ops.cblas().

    A new one holds our own kernels, the ones behind NumpyOps: they release no GIL and
    take none, so any number of threads may call them. Cannot be pickled or copied.
    """

    __slots__ = ()

    # Not in __init__, which a subclass may forget to call.
    def __cinit__(self, *args, **kwargs):
        self.table = <BlasTable*>calloc(1, sizeof(BlasTable))
        if self.table is NULL:
            raise MemoryError("CBlas: no memory for its table of functions")
        self.table.saxpy = kernel_saxpy
        self.table.daxpy = kernel_daxpy
        self.table.sgemm = kernel_sgemm
        self.table.dgemm = kernel_dgemm
        self.table.sscal = kernel_sscal
        self.table.dscal = kernel_dscal

    def __dealloc__(self):
        free(self.table)

    def __reduce__(self):
        raise TypeError(
            f"A {type(self).__name__} holds addresses of this process: it cannot be pickled "
            "or copied. Call ops.cblas() where it is needed."
        )


# ---- the kernels ------------------------------------------------------------


cdef void kernel_saxpy(int N, float alpha, const float* X, int incX, float* Y, int incY) noexcept nogil:
    kernels().f32.axpy(N, alpha, X, incX, Y, incY)


cdef void kernel_daxpy(int N, double alpha, const double* X, int incX, double* Y, int incY) noexcept nogil:
    kernels().f64.axpy(N, alpha, X, incX, Y, incY)


cdef void kernel_sscal(int N, float alpha, float* X, int incX) noexcept nogil:
    kernels().f32.scale(N, alpha, X, incX)


cdef void kernel_dscal(int N, double alpha, double* X, int incX) noexcept nogil:
    kernels().f64.scale(N, alpha, X, incX)


cdef void kernel_sgemm(
    bint transA, bint transB, int M, int N, int K, float alpha, const float* A, int lda,
    const float* B, int ldb, float beta, float* C, int ldc
) noexcept nogil:
    if M > 0 and N > 0:
        kernels().f32.gemm(
            C, ldc,
            A, 1 if transA else lda, lda if transA else 1,
            B, 1 if transB else ldb, ldb if transB else 1,
            M, N, max(K, 0), alpha, beta,
        )


cdef void kernel_dgemm(
    bint transA, bint transB, int M, int N, int K, double alpha, const double* A, int lda,
    const double* B, int ldb, double beta, double* C, int ldc
) noexcept nogil:
    if M > 0 and N > 0:
        kernels().f64.gemm(
            C, ldc,
            A, 1 if transA else lda, lda if transA else 1,
            B, 1 if transB else ldb, ldb if transB else 1,
            M, N, max(K, 0), alpha, beta,
        )


# ---- what clients call ------------------------------------------------------


cdef saxpy_ptr saxpy(CBlas cblas) noexcept nogil:
    return cblas.table.saxpy


cdef daxpy_ptr daxpy(CBlas cblas) noexcept nogil:
    return cblas.table.daxpy


cdef sgemm_ptr sgemm(CBlas cblas) noexcept nogil:
    return cblas.table.sgemm


cdef dgemm_ptr dgemm(CBlas cblas) noexcept nogil:
    return cblas.table.dgemm


cdef sscal_ptr sscal(CBlas cblas) noexcept nogil:
    return cblas.table.sscal


cdef dscal_ptr dscal(CBlas cblas) noexcept nogil:
    return cblas.table.dscal


cdef void set_saxpy(CBlas cblas, saxpy_ptr f) noexcept nogil:
    cblas.table.saxpy = f


cdef void set_daxpy(CBlas cblas, daxpy_ptr f) noexcept nogil:
    cblas.table.daxpy = f


cdef void set_sgemm(CBlas cblas, sgemm_ptr f) noexcept nogil:
    cblas.table.sgemm = f


cdef void set_dgemm(CBlas cblas, dgemm_ptr f) noexcept nogil:
    cblas.table.dgemm = f


cdef void set_sscal(CBlas cblas, sscal_ptr f) noexcept nogil:
    cblas.table.sscal = f


cdef void set_dscal(CBlas cblas, dscal_ptr f) noexcept nogil:
    cblas.table.dscal = f
