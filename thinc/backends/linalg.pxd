# cython: cdivision=True
# Small loops over C arrays of floats: no checks, no GIL.
#
# Lengths count elements and are at least 0; no pointer may be NULL unless its length is 0.
# f_i works in place on its first argument; f reads x and writes output, which may be x.
#
# An ABI that published packages rely on: the order of the methods is the order of the
# types' tables, so new ones go to the end.
from cymem.cymem cimport Pool
from libc.math cimport NAN, expf, powf, sqrtf
from libc.stdint cimport int32_t
from libc.string cimport memmove

ctypedef float weight_t


cdef class Matrix:
    cdef readonly Pool mem
    cdef weight_t* data
    cdef readonly int32_t nr_row
    cdef readonly int32_t nr_col


cdef class Vec:
    # Index of the largest score, the first of equals; but the last of two, which
    # published models were trained with. -1 if there are none. A NaN is larger than
    # nothing: at index 0 it stays the largest, of two the result is 1.
    @staticmethod
    cdef inline int arg_max(const weight_t* scores, const int n_classes) noexcept nogil:
        cdef int i, best = 0
        if n_classes == 2:
            return 0 if scores[0] > scores[1] else 1
        if n_classes <= 0:
            return -1
        for i in range(1, n_classes):
            if scores[i] > scores[best]:
                best = i
        return best

    # 0 for an empty array.
    @staticmethod
    cdef inline weight_t max(const weight_t* x, int32_t nr) noexcept nogil:
        cdef int32_t i
        cdef weight_t best
        if nr <= 0:
            return 0
        best = x[0]
        for i in range(1, nr):
            if x[i] > best:
                best = x[i]
        return best

    @staticmethod
    cdef inline weight_t sum(const weight_t* x, int32_t nr) noexcept nogil:
        cdef int32_t i
        cdef weight_t total = 0
        for i in range(nr):
            total += x[i]
        return total

    # Euclidean.
    @staticmethod
    cdef inline weight_t norm(const weight_t* x, int32_t nr) noexcept nogil:
        cdef int32_t i
        cdef weight_t squares = 0
        for i in range(nr):
            squares += x[i] * x[i]
        return sqrtf(squares)

    # x + inc
    @staticmethod
    cdef inline void add(weight_t* output, const weight_t* x, weight_t inc, int32_t nr) noexcept nogil:
        memmove(output, x, sizeof(weight_t) * nr)
        Vec.add_i(output, inc, nr)

    @staticmethod
    cdef inline void add_i(weight_t* x, weight_t inc, int32_t nr) noexcept nogil:
        cdef int32_t i
        for i in range(nr):
            x[i] += inc

    # x * scal
    @staticmethod
    cdef inline void mul(weight_t* output, const weight_t* x, weight_t scal, int32_t nr) noexcept nogil:
        memmove(output, x, sizeof(weight_t) * nr)
        Vec.mul_i(output, scal, nr)

    @staticmethod
    cdef inline void mul_i(weight_t* x, weight_t scal, int32_t nr) noexcept nogil:
        cdef int32_t i
        for i in range(nr):
            x[i] *= scal

    # x ** scal
    @staticmethod
    cdef inline void pow(weight_t* output, const weight_t* x, weight_t scal, int32_t nr) noexcept nogil:
        memmove(output, x, sizeof(weight_t) * nr)
        Vec.pow_i(output, scal, nr)

    @staticmethod
    cdef inline void pow_i(weight_t* x, weight_t scal, int32_t nr) noexcept nogil:
        cdef int32_t i
        for i in range(nr):
            x[i] = powf(x[i], scal)

    # x / scal
    @staticmethod
    cdef inline void div(weight_t* output, const weight_t* x, weight_t scal, int32_t nr) noexcept nogil:
        memmove(output, x, sizeof(weight_t) * nr)
        Vec.div_i(output, scal, nr)

    @staticmethod
    cdef inline void div_i(weight_t* x, weight_t scal, int32_t nr) noexcept nogil:
        cdef int32_t i
        for i in range(nr):
            x[i] /= scal

    # e ** x
    @staticmethod
    cdef inline void exp(weight_t* output, const weight_t* x, int32_t nr) noexcept nogil:
        memmove(output, x, sizeof(weight_t) * nr)
        Vec.exp_i(output, nr)

    @staticmethod
    cdef inline void exp_i(weight_t* x, int32_t nr) noexcept nogil:
        cdef int32_t i
        for i in range(nr):
            x[i] = expf(x[i])

    # 1 / x
    @staticmethod
    cdef inline void reciprocal_i(weight_t* x, int32_t nr) noexcept nogil:
        cdef int32_t i
        for i in range(nr):
            x[i] = 1 / x[i]

    # NaN for an empty array.
    @staticmethod
    cdef inline weight_t mean(const weight_t* x, int32_t nr) noexcept nogil:
        return Vec.sum(x, nr) / nr

    # Of the whole population: the mean squared distance from the mean, by Welford's
    # recurrence (Technometrics 4, 1962), in double. NaN for an empty array.
    @staticmethod
    cdef inline weight_t variance(const weight_t* x, int32_t nr) noexcept nogil:
        cdef int32_t i
        cdef double mean = 0, squares = 0, distance
        if nr <= 0:
            return NAN
        for i in range(nr):
            distance = x[i] - mean
            mean += distance / (i + 1)
            squares += distance * (x[i] - mean)
        return <weight_t>(squares / nr)


cdef class VecVec:
    # x + scale * y
    @staticmethod
    cdef inline void add(
        weight_t* output, const weight_t* x, const weight_t* y, weight_t scale, int32_t nr
    ) noexcept nogil:
        memmove(output, x, sizeof(weight_t) * nr)
        VecVec.add_i(output, y, scale, nr)

    @staticmethod
    cdef inline void add_i(weight_t* x, const weight_t* y, weight_t scale, int32_t nr) noexcept nogil:
        cdef int32_t i
        for i in range(nr):
            x[i] += y[i] * scale

    # The same for each of nr_batch rows of y, one after the other.
    @staticmethod
    cdef inline void batch_add_i(
        weight_t* x, const weight_t* y, weight_t scale, int32_t nr, int32_t nr_batch
    ) noexcept nogil:
        cdef int32_t b
        for b in range(nr_batch):
            VecVec.add_i(x, y + <size_t>b * nr, scale, nr)

    # x + y ** power
    @staticmethod
    cdef inline void add_pow(
        weight_t* output, const weight_t* x, const weight_t* y, weight_t power, int32_t nr
    ) noexcept nogil:
        memmove(output, x, sizeof(weight_t) * nr)
        VecVec.add_pow_i(output, y, power, nr)

    @staticmethod
    cdef inline void add_pow_i(
        weight_t* x, const weight_t* y, weight_t power, int32_t nr
    ) noexcept nogil:
        cdef int32_t i
        for i in range(nr):
            x[i] += powf(y[i], power)

    # x * y
    @staticmethod
    cdef inline void mul(
        weight_t* output, const weight_t* x, const weight_t* y, int32_t nr
    ) noexcept nogil:
        memmove(output, x, sizeof(weight_t) * nr)
        VecVec.mul_i(output, y, nr)

    @staticmethod
    cdef inline void mul_i(weight_t* x, const weight_t* y, int32_t nr) noexcept nogil:
        cdef int32_t i
        for i in range(nr):
            x[i] *= y[i]

    @staticmethod
    cdef inline weight_t dot(const weight_t* x, const weight_t* y, int32_t nr) noexcept nogil:
        cdef int32_t i
        cdef weight_t total = 0
        for i in range(nr):
            total += x[i] * y[i]
        return total

    # Index of the largest score among those whose is_valid is not 0, the first of
    # equals; -1 if there is none.
    @staticmethod
    cdef inline int arg_max_if_true(
        const weight_t* scores, const int* is_valid, const int n_classes
    ) noexcept nogil:
        cdef int i, best = -1
        for i in range(n_classes):
            if is_valid[i] and (best < 0 or scores[i] > scores[best]):
                best = i
        return best

    # The same among those whose cost is 0.
    @staticmethod
    cdef inline int arg_max_if_zero(
        const weight_t* scores, const weight_t* costs, const int n_classes
    ) noexcept nogil:
        cdef int i, best = -1
        for i in range(n_classes):
            if costs[i] == 0 and (best < 0 or scores[i] > scores[best]):
                best = i
        return best


cdef class Mat:
    # Ex[c]: mean of column c. NaN if there are no rows.
    @staticmethod
    cdef inline void mean_row(
        weight_t* Ex, const weight_t* mat, int32_t nr_row, int32_t nr_col
    ) noexcept nogil:
        cdef int32_t r
        if nr_col <= 0:
            return
        for r in range(nr_col):
            Ex[r] = 0
        for r in range(nr_row):
            VecVec.add_i(Ex, mat + <size_t>r * nr_col, 1, nr_col)
        Vec.div_i(Ex, nr_row, nr_col)

    # Vx[c]: variance of column c around its mean Ex[c], plus eps. The rounding error of
    # Ex is taken out (Chan, Golub and LeVeque, "Algorithms for computing the sample
    # variance", 1983). Vx is left alone if the matrix is empty.
    @staticmethod
    cdef inline void var_row(
        weight_t* Vx, const weight_t* mat, const weight_t* Ex, int32_t nr_row, int32_t nr_col,
        weight_t eps
    ) noexcept nogil:
        cdef int32_t r, c
        cdef weight_t distance, distances, squares
        if nr_row <= 0 or nr_col <= 0:
            return
        for c in range(nr_col):
            distances = 0
            squares = 0
            for r in range(nr_row):
                distance = mat[<size_t>r * nr_col + c] - Ex[c]
                distances += distance
                squares += distance * distance
            Vx[c] = (squares - distances * distances / nr_row) / nr_row + eps
