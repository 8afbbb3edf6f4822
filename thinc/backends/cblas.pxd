# C functions for linear algebra, for other Cython modules: call them without the GIL.
#
#     from thinc.backends.cblas cimport CBlas, sgemm
#
#     cdef CBlas cblas = ops.cblas()
#     with nogil:
#         sgemm(cblas)(False, True, M, N, K, 1.0, A, lda, B, ldb, 0.0, C, ldc)
#
# The types and functions below are an ABI that published, already compiled packages
# rely on: names, arguments and the size of CBlas must stay as they are.

# Y[i * incY] += alpha * X[i * incX] for 0 <= i < N. Nothing happens for N <= 0 or alpha == 0.
ctypedef void (*saxpy_ptr)(int N, float alpha, const float* X, int incX, float* Y, int incY) noexcept nogil
ctypedef void (*daxpy_ptr)(int N, double alpha, const double* X, int incX, double* Y, int incY) noexcept nogil

# X[i * incX] *= alpha for 0 <= i < N.
ctypedef void (*sscal_ptr)(int N, float alpha, float* X, int incX) noexcept nogil
ctypedef void (*dscal_ptr)(int N, double alpha, double* X, int incX) noexcept nogil

# C (M, N) = alpha * op(A) (M, K) @ op(B) (K, N) + beta * C. All matrices are row-major with
# unit column stride; lda, ldb, ldc are the row strides of the stored (not transposed)
# matrices. transA: A is stored (K, M); transB: B is stored (N, K). With beta == 0, C is not
# read. C must overlap neither A nor B.
ctypedef void (*sgemm_ptr)(bint transA, bint transB, int M, int N, int K, float alpha,
                           const float* A, int lda, const float* B, int ldb, float beta,
                           float* C, int ldc) noexcept nogil
ctypedef void (*dgemm_ptr)(bint transA, bint transB, int M, int N, int K, double alpha,
                           const double* A, int lda, const double* B, int ldb, double beta,
                           double* C, int ldc) noexcept nogil

cdef struct BlasTable


cdef class CBlas:
    cdef BlasTable* table
    cdef void* reserved


cdef saxpy_ptr saxpy(CBlas cblas) noexcept nogil
cdef daxpy_ptr daxpy(CBlas cblas) noexcept nogil
cdef sgemm_ptr sgemm(CBlas cblas) noexcept nogil
cdef dgemm_ptr dgemm(CBlas cblas) noexcept nogil
cdef sscal_ptr sscal(CBlas cblas) noexcept nogil
cdef dscal_ptr dscal(CBlas cblas) noexcept nogil

# Replace a function in this one CBlas. Not synchronised: call them before sharing it.
cdef void set_saxpy(CBlas cblas, saxpy_ptr f) noexcept nogil
cdef void set_daxpy(CBlas cblas, daxpy_ptr f) noexcept nogil
cdef void set_sgemm(CBlas cblas, sgemm_ptr f) noexcept nogil
cdef void set_dgemm(CBlas cblas, dgemm_ptr f) noexcept nogil
cdef void set_sscal(CBlas cblas, sscal_ptr f) noexcept nogil
cdef void set_dscal(CBlas cblas, dscal_ptr f) noexcept nogil
