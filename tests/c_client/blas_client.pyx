# cython: boundscheck=False
"""Calls every function of thinc.backends.cblas and thinc.backends.linalg from C."""
from cython cimport floating
from libc.stdint cimport int32_t

from thinc.backends.cblas cimport (
    CBlas, daxpy, dgemm, dscal, saxpy, set_daxpy, set_dgemm, set_dscal, set_saxpy, set_sgemm,
    set_sscal, sgemm, sscal,
)
from thinc.backends.linalg cimport Mat, Vec, VecVec
from thinc.backends.numpy_ops cimport float2d_t


def gemm(CBlas cblas, bint transA, bint transB, int M, int N, int K, double alpha,
         const floating[::1] A, int lda, const floating[::1] B, int ldb, double beta,
         floating[::1] C, int ldc):
    with nogil:
        if floating is float:
            sgemm(cblas)(transA, transB, M, N, K, <float>alpha, &A[0], lda, &B[0], ldb,
                         <float>beta, &C[0], ldc)
        else:
            dgemm(cblas)(transA, transB, M, N, K, alpha, &A[0], lda, &B[0], ldb, beta, &C[0], ldc)


def axpy(CBlas cblas, int N, double alpha, const floating[::1] X, int first_x, int incX,
         floating[::1] Y, int first_y, int incY):
    with nogil:
        if floating is float:
            saxpy(cblas)(N, <float>alpha, &X[first_x], incX, &Y[first_y], incY)
        else:
            daxpy(cblas)(N, alpha, &X[first_x], incX, &Y[first_y], incY)


def scal(CBlas cblas, int N, double alpha, floating[::1] X, int first, int incX):
    with nogil:
        if floating is float:
            sscal(cblas)(N, <float>alpha, &X[first], incX)
        else:
            dscal(cblas)(N, alpha, &X[first], incX)


# ---- replacements that leave a mark --------------------------------------------


cdef void marking_saxpy(int N, float alpha, const float* X, int incX, float* Y, int incY) noexcept nogil:
    Y[0] = 1


cdef void marking_daxpy(int N, double alpha, const double* X, int incX, double* Y, int incY) noexcept nogil:
    Y[0] = 2


cdef void marking_sgemm(bint transA, bint transB, int M, int N, int K, float alpha, const float* A,
                        int lda, const float* B, int ldb, float beta, float* C, int ldc) noexcept nogil:
    C[0] = 3


cdef void marking_dgemm(bint transA, bint transB, int M, int N, int K, double alpha, const double* A,
                        int lda, const double* B, int ldb, double beta, double* C, int ldc) noexcept nogil:
    C[0] = 4


cdef void marking_sscal(int N, float alpha, float* X, int incX) noexcept nogil:
    X[0] = 5


cdef void marking_dscal(int N, double alpha, double* X, int incX) noexcept nogil:
    X[0] = 6


def replace_all(CBlas cblas):
    with nogil:
        set_saxpy(cblas, marking_saxpy)
        set_daxpy(cblas, marking_daxpy)
        set_sgemm(cblas, marking_sgemm)
        set_dgemm(cblas, marking_dgemm)
        set_sscal(cblas, marking_sscal)
        set_dscal(cblas, marking_dscal)


def marks(CBlas cblas):
    """What is left of 0 + 1, 0 + 1 * 1 and 1 * 1 by each function, in the order above."""
    cdef float s[3]
    cdef double d[3]
    cdef float one_s = 1
    cdef double one_d = 1
    s[:] = [0, 0, 1]
    d[:] = [0, 0, 1]
    with nogil:
        saxpy(cblas)(1, 1, &one_s, 1, &s[0], 1)
        daxpy(cblas)(1, 1, &one_d, 1, &d[0], 1)
        sgemm(cblas)(0, 0, 1, 1, 1, 1, &one_s, 1, &one_s, 1, 0, &s[1], 1)
        dgemm(cblas)(0, 0, 1, 1, 1, 1, &one_d, 1, &one_d, 1, 0, &d[1], 1)
        sscal(cblas)(1, 1, &s[2], 1)
        dscal(cblas)(1, 1, &d[2], 1)
    return [s[0], d[0], s[1], d[1], s[2], d[2]]


# ---- for timing ------------------------------------------------------------------


def repeat_sgemm(CBlas cblas, bint transB, const float[:, ::1] A, const float[:, ::1] B,
                 float[:, ::1] C, int times):
    cdef int M = C.shape[0], N = C.shape[1], K = A.shape[1], ldb = B.shape[1]
    with nogil:
        for _ in range(times):
            sgemm(cblas)(False, transB, M, N, K, 1.0, &A[0, 0], K, &B[0, 0], ldb, 0.0, &C[0, 0], N)


def repeat_saxpy(CBlas cblas, const float[::1] X, float[::1] Y, int times):
    cdef int N = X.shape[0]
    with nogil:
        for _ in range(times):
            saxpy(cblas)(N, 1.0, &X[0], 1, &Y[0], 1)


# ---- linalg, inlined here ----------------------------------------------------------


def arg_max(const float[::1] scores):
    cdef int best
    with nogil:
        best = Vec.arg_max(&scores[0], scores.shape[0])
    return best


def every_vec(float[::1] x, float[::1] out, float k):
    """Calls all of Vec. Returns [max, sum, norm, mean, variance] of x as it was."""
    cdef int32_t n = x.shape[0]
    cdef float[5] numbers
    with nogil:
        numbers[0] = Vec.max(&x[0], n)
        numbers[1] = Vec.sum(&x[0], n)
        numbers[2] = Vec.norm(&x[0], n)
        numbers[3] = Vec.mean(&x[0], n)
        numbers[4] = Vec.variance(&x[0], n)
        Vec.add(&out[0], &x[0], k, n)
        Vec.mul(&out[0], &out[0], k, n)
        Vec.div(&out[0], &out[0], k, n)
        Vec.pow(&out[0], &out[0], 1, n)
        Vec.exp(&x[0], &x[0], n)
        Vec.add_i(&x[0], 0, n)
        Vec.mul_i(&x[0], 1, n)
        Vec.pow_i(&x[0], 1, n)
        Vec.div_i(&x[0], 1, n)
        Vec.reciprocal_i(&x[0], n)
        Vec.reciprocal_i(&x[0], n)
    return list(numbers)


def every_vecvec(float[::1] x, const float[::1] y, float scale):
    """x + scale * y, through every function of VecVec that adds up to it, and x . y."""
    cdef int32_t n = x.shape[0]
    cdef float product
    with nogil:
        product = VecVec.dot(&x[0], &y[0], n)
        VecVec.add(&x[0], &x[0], &y[0], scale, n)
        VecVec.add_i(&x[0], &y[0], scale, n)
        VecVec.batch_add_i(&x[0], &y[0], -scale, n, 1)
        VecVec.add_pow(&x[0], &x[0], &y[0], 1, n)
        VecVec.add_pow_i(&x[0], &y[0], 1, n)
        VecVec.add_i(&x[0], &y[0], -2, n)
    return product


def column_mean_and_variance(float2d_t X, float[::1] mean, float[::1] variance, float eps):
    with nogil:
        Mat.mean_row(&mean[0], &X[0, 0], X.shape[0], X.shape[1])
        Mat.var_row(&variance[0], &X[0, 0], &mean[0], X.shape[0], X.shape[1], eps)
