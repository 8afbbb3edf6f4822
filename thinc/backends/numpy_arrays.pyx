"""The methods of NumpyOps that make, convert and lay out arrays without computing anything.

Each takes the compiled path for ordinary arguments: C-contiguous arrays of one dtype and
width. Everything else, what is wrong included, goes to the generic Ops, which means the same.
"""
cimport numpy as cnp
from cpython.long cimport PyLong_AsLongAndOverflow
from cpython.ref cimport Py_INCREF
from libc.stdint cimport INT32_MAX, int32_t, int64_t
from libc.string cimport memcpy, memset
from libcpp.vector cimport vector
from numpy cimport (
    NPY_DOUBLE,
    NPY_FLOAT,
    NPY_INT32,
    NPY_INT64,
    PyArray_BYTES,
    PyArray_Check,
    PyArray_CheckExact,
    PyArray_DATA,
    PyArray_DIMS,
    PyArray_ISCARRAY_RO,
    PyArray_ITEMSIZE,
    PyArray_NDIM,
    PyArray_SIZE,
    PyArray_STRIDES,
    PyArray_TYPE,
    ndarray,
    npy_intp,
)

from .array_memory cimport new_array

import numpy

from ..types import Padded
from .ops import Ops

cnp.import_array()

cdef extern from "numpy/arrayobject.h":
    object PyArray_NewFromDescr(
        type subtype, cnp.dtype descr, int nd, npy_intp* dims, npy_intp* strides, void* data,
        int flags, object obj
    )
    int PyArray_SetBaseObject(ndarray arr, object obj) except -1

cdef enum:
    MAX_DIMS = 32

# Below this many bytes a copy keeps the GIL.
cdef int64_t RELEASE_GIL_ABOVE = 1 << 16


cdef struct Part:
    const char* data
    npy_intp rows


cdef inline bint is_plain(object X) noexcept:
    """Whether the elements are numbers of this machine, one after another in C order."""
    return (
        PyArray_CheckExact(X)
        and PyArray_ISCARRAY_RO(<ndarray>X)
        and cnp.PyTypeNum_ISNUMBER(PyArray_TYPE(<ndarray>X))
        and 1 <= PyArray_NDIM(<ndarray>X) <= MAX_DIMS
    )


cdef inline npy_intp row_bytes(ndarray X) noexcept:
    cdef npy_intp size = PyArray_ITEMSIZE(X)
    cdef int i
    for i in range(1, PyArray_NDIM(X)):
        size *= PyArray_DIMS(X)[i]
    return size


cdef inline bint same_rows(ndarray A, ndarray B) noexcept:
    """Whether A and B have one dtype and differ in the number of rows only."""
    cdef int i
    if PyArray_TYPE(A) != PyArray_TYPE(B) or PyArray_NDIM(A) != PyArray_NDIM(B):
        return False
    for i in range(1, PyArray_NDIM(A)):
        if PyArray_DIMS(A)[i] != PyArray_DIMS(B)[i]:
            return False
    return True


cdef ndarray with_rows_of(ndarray X, npy_intp n0, npy_intp n1):
    """A new array of X's dtype, shape (n0, *X.shape[1:]), or (n0, n1, ...) if n1 >= 0."""
    cdef npy_intp dims[MAX_DIMS + 1]
    cdef int first = 1 if n1 < 0 else 2
    cdef int i
    dims[0] = n0
    dims[1] = n1
    for i in range(1, PyArray_NDIM(X)):
        dims[first + i - 1] = PyArray_DIMS(X)[i]
    return new_array(first + PyArray_NDIM(X) - 1, dims, PyArray_TYPE(X), False)


cdef ndarray view_of(ndarray X, int nd, npy_intp* dims, npy_intp* strides, void* data, int flags):
    """A view of X's memory, which it keeps alive."""
    cdef cnp.dtype descr = X.dtype
    cdef ndarray view
    Py_INCREF(descr)  # the new array takes a reference, as does its base below
    view = PyArray_NewFromDescr(ndarray, descr, nd, dims, strides, data, flags, None)
    Py_INCREF(X)
    PyArray_SetBaseObject(view, X)
    return view


cdef ndarray rows_between(ndarray X, npy_intp start, npy_intp count, int axis):
    """X[start : start + count] (axis 0), or X[start, :count] (axis 1): a view."""
    cdef npy_intp dims[MAX_DIMS]
    cdef int i
    for i in range(axis, PyArray_NDIM(X)):
        dims[i - axis] = PyArray_DIMS(X)[i]
    dims[0] = count
    return view_of(
        X,
        PyArray_NDIM(X) - axis,
        dims,
        PyArray_STRIDES(X) + axis,
        <char*>PyArray_DATA(X) + start * PyArray_STRIDES(X)[0],
        cnp.PyArray_FLAGS(X) & cnp.NPY_ARRAY_WRITEABLE,
    )


cdef ndarray overlapping_rows(ndarray X, npy_intp count, npy_intp joined):
    """Row i is the rows i ... i + joined - 1 of X (rows, width), one after another: a view,
    which cannot be written to, as its rows share memory."""
    cdef npy_intp dims[2]
    dims[0] = count
    dims[1] = joined * PyArray_DIMS(X)[1]
    return view_of(X, 2, dims, PyArray_STRIDES(X), PyArray_DATA(X), 0)


cdef ndarray parts_of(tuple arrays, vector[Part]& parts, bint skip_empty):
    """The first of the arrays, if all are plain and of one row; parts: where they are.

    None if the generic code has to look at them.
    """
    cdef ndarray first = None
    cdef ndarray x
    cdef Part part
    for X in arrays:
        if not is_plain(X):
            return None
        x = X
        if skip_empty and PyArray_SIZE(x) == 0:
            continue
        if first is None:
            first = x
        elif not same_rows(first, x):
            return None
        part.data = <const char*>PyArray_DATA(x)
        part.rows = PyArray_DIMS(x)[0]
        parts.push_back(part)
    return first


cdef inline tuple as_tuple(object X):
    """The items of a list or tuple, held so that no other thread can take them away."""
    if type(X) is list or type(X) is tuple:
        return tuple(X)
    return None


cdef char* copy_bytes(char* to, const char* source, npy_intp size) noexcept nogil:
    if size > 0:
        memcpy(to, source, size)
    return to + size


cdef char* clear_bytes(char* to, npy_intp size) noexcept nogil:
    if size > 0:
        memset(to, 0, size)
    return to + size


cdef void copy_flat(char* to, vector[Part]& parts, npy_intp row, npy_intp blank) noexcept nogil:
    cdef size_t i
    for i in range(parts.size()):
        to = clear_bytes(to, blank)
        to = copy_bytes(to, parts[i].data, parts[i].rows * row)
    clear_bytes(to, blank)


cdef void copy_side_by_side(
    char* to, vector[Part]& parts, npy_intp row, npy_intp longest
) noexcept nogil:
    cdef size_t i
    for i in range(parts.size()):
        to = copy_bytes(to, parts[i].data, parts[i].rows * row)
        to = clear_bytes(to, (longest - parts[i].rows) * row)


cdef void copy_time_first(
    char* to, vector[Part]& parts, npy_intp row, npy_intp longest
) noexcept nogil:
    """parts: the longest first."""
    cdef npy_intp t
    cdef size_t i
    cdef size_t running = parts.size()
    for t in range(longest):
        while running > 0 and parts[running - 1].rows <= t:
            running -= 1
        for i in range(running):
            to = copy_bytes(to, parts[i].data + t * row, row)
        to = clear_bytes(to, (parts.size() - running) * row)


cdef void copy_one_of_batch(
    char* to, const char* data, npy_intp rows, npy_intp row, npy_intp step
) noexcept nogil:
    cdef npy_intp t
    for t in range(rows):
        to = copy_bytes(to, data + t * step, row)


cdef npy_intp rounded_up(npy_intp n, npy_intp multiple) noexcept:
    return (n + multiple - 1) // multiple * multiple


cdef npy_intp as_row_count(object n) except -2:
    """A length as an int, or -1 if it is not a plain non-negative one."""
    cdef npy_intp count
    if not isinstance(n, (int, numpy.integer)):
        return -1
    count = n
    return count if count >= 0 else -1


cdef int known_type(object dtype) except -2:
    """The type number of the names that matter, and of this machine's numbers, else -1."""
    if type(dtype) is not str:
        if isinstance(dtype, cnp.dtype) and dtype.isnative and dtype.num < cnp.NPY_OBJECT:
            return dtype.num
        return -1
    if <str>dtype == "float32" or <str>dtype == "f":
        return NPY_FLOAT
    if <str>dtype == "int32" or <str>dtype == "i":
        return NPY_INT32
    if <str>dtype == "float64" or <str>dtype == "d":
        return NPY_DOUBLE
    if <str>dtype == "int64":
        return NPY_INT64
    return -1


cdef ndarray listed_lengths(list lengths):
    """A list of ints as an int32 array; None if it is not one, or has one that is too large."""
    cdef npy_intp size = len(lengths), i
    cdef ndarray n = new_array(1, &size, NPY_INT32, False)
    cdef int overflow = 0
    cdef long value
    for i in range(size):
        if type(lengths[i]) is not int:
            return None
        value = PyLong_AsLongAndOverflow(lengths[i], &overflow)
        if overflow or value < -INT32_MAX or value > INT32_MAX:
            return None
        (<int32_t*>PyArray_DATA(n))[i] = <int32_t>value
    return n


cdef ndarray valid_lengths(object lengths, npy_intp rows, int32_t minimum):
    """lengths as int32, if they are a list of ints or contiguous int32, at least `minimum`, and
    sum to rows (unless that is -1); else None, and the generic code says what is wrong."""
    cdef ndarray n
    cdef npy_intp i
    cdef int64_t total = 0
    cdef int32_t* values
    if type(lengths) is list:
        lengths = listed_lengths(lengths)
    if not PyArray_CheckExact(lengths):
        return None
    n = lengths
    if PyArray_TYPE(n) != NPY_INT32 or PyArray_NDIM(n) != 1 or not PyArray_ISCARRAY_RO(n):
        return None
    values = <int32_t*>PyArray_DATA(n)
    for i in range(PyArray_SIZE(n)):
        if values[i] < minimum:
            return None
        total += values[i]
    return n if rows < 0 or total == rows else None


cdef ndarray valid_places(object places):
    """Row numbers as contiguous int64, if they are integers and not negative, else None."""
    cdef ndarray result
    cdef npy_intp i
    if not PyArray_CheckExact(places) or PyArray_NDIM(<ndarray>places) != 1:
        return None
    if PyArray_TYPE(<ndarray>places) != NPY_INT32 and PyArray_TYPE(<ndarray>places) != NPY_INT64:
        return None
    result = cnp.PyArray_FROM_OTF(places, NPY_INT64, cnp.NPY_ARRAY_CARRAY_RO)
    for i in range(PyArray_SIZE(result)):
        if (<int64_t*>PyArray_DATA(result))[i] < 0:
            return None
    return result


cdef ndarray spread_rows(ndarray dY, ndarray places, npy_intp rows):
    """Zeros with `rows` rows, with dY's at those places; None if one is outside."""
    cdef npy_intp dims[MAX_DIMS]
    cdef npy_intp i
    cdef npy_intp size = row_bytes(dY)
    cdef int64_t* at = <int64_t*>PyArray_DATA(places)
    cdef ndarray dX
    for i in range(PyArray_DIMS(dY)[0]):
        if at[i] >= rows:
            return None
    for i in range(1, PyArray_NDIM(dY)):
        dims[i] = PyArray_DIMS(dY)[i]
    dims[0] = rows
    dX = new_array(PyArray_NDIM(dY), dims, PyArray_TYPE(dY), True)
    for i in range(PyArray_DIMS(dY)[0]):
        copy_bytes(PyArray_BYTES(dX) + at[i] * size, PyArray_BYTES(dY) + i * size, size)
    return dX


class NumpyArrays:
    """What NumpyOps inherits before Ops."""

    # ---- layouts ------------------------------------------------------------

    def flatten(self, X, dtype=None, pad=0, ndim_if_empty=2):
        cdef vector[Part] parts
        cdef ndarray first, Y
        cdef npy_intp blank, row, rows = 0
        cdef size_t i
        cdef tuple arrays = as_tuple(X)
        cdef npy_intp padding = as_row_count(pad)
        first = None if arrays is None or padding < 0 else parts_of(arrays, parts, True)
        if first is None or (dtype is not None and first.dtype != dtype):
            return Ops.flatten(self, X, dtype, pad, ndim_if_empty)
        row = row_bytes(first)
        blank = padding * row
        for i in range(parts.size()):
            rows += parts[i].rows + padding
        Y = with_rows_of(first, rows + padding, -1)
        if rows * row < RELEASE_GIL_ABOVE:
            copy_flat(PyArray_BYTES(Y), parts, row, blank)
        else:
            with nogil:
                copy_flat(PyArray_BYTES(Y), parts, row, blank)
        return Y

    def sliding_windows(self, seq, nW, *, inner=False):
        cdef ndarray x, padded
        cdef npy_intp edge, content, window = as_row_count(nW)
        if window < 0 or not is_plain(seq) or PyArray_NDIM(<ndarray>seq) != 2:
            return Ops.sliding_windows(self, seq, nW, inner=inner)
        x = seq
        if window == 0 or PyArray_SIZE(x) == 0:
            return Ops.sliding_windows(self, seq, nW, inner=inner)
        if inner:
            return overlapping_rows(x, max(PyArray_DIMS(x)[0] - 2 * window, 0), 2 * window + 1)
        padded = with_rows_of(x, PyArray_DIMS(x)[0] + 2 * window, -1)
        edge = window * row_bytes(x)
        content = cnp.PyArray_NBYTES(x)
        memset(PyArray_BYTES(padded), 0, edge)
        memcpy(PyArray_BYTES(padded) + edge, PyArray_BYTES(x), content)
        memset(PyArray_BYTES(padded) + edge + content, 0, edge)
        return overlapping_rows(padded, PyArray_DIMS(x)[0], 2 * window + 1)

    def unflatten(self, X, lengths, pad=0):
        cdef ndarray x, n
        cdef npy_intp padding, i, count, start = 0, expected = 0
        cdef list parts = []
        n = valid_lengths(lengths, -1, 0)
        padding = as_row_count(pad)
        if n is None or padding < 0 or not is_plain(X):
            return Ops.unflatten(self, X, lengths, pad)
        x = X
        for i in range(PyArray_SIZE(n)):
            count = (<int32_t*>PyArray_DATA(n))[i]
            expected += count + padding if count else 0
        if PyArray_DIMS(x)[0] != expected and PyArray_DIMS(x)[0] != expected + padding:
            return Ops.unflatten(self, X, lengths, pad)
        for i in range(PyArray_SIZE(n)):
            count = (<int32_t*>PyArray_DATA(n))[i]
            start += padding if count else 0
            parts.append(rows_between(x, start, count, 0))
            start += count
        return parts

    def pad(self, seqs, round_to=1):
        cdef vector[Part] parts
        cdef ndarray first, Y
        cdef npy_intp row, longest = 0
        cdef size_t i
        cdef tuple arrays = as_tuple(seqs)
        cdef npy_intp multiple = as_row_count(round_to)
        first = None if arrays is None or multiple < 1 else parts_of(arrays, parts, False)
        if first is None or PyArray_NDIM(first) >= MAX_DIMS:
            return Ops.pad(self, seqs, round_to)
        for i in range(parts.size()):
            longest = max(longest, parts[i].rows)
        longest = rounded_up(longest, multiple)
        row = row_bytes(first)
        Y = with_rows_of(first, parts.size(), longest)
        if cnp.PyArray_NBYTES(Y) < RELEASE_GIL_ABOVE:
            copy_side_by_side(PyArray_BYTES(Y), parts, row, longest)
        else:
            with nogil:
                copy_side_by_side(PyArray_BYTES(Y), parts, row, longest)
        return Y

    def unpad(self, padded, lengths):
        cdef ndarray x
        cdef ndarray n = valid_lengths(lengths, -1, 0)
        cdef npy_intp i, count
        cdef list parts = []
        if n is None or not PyArray_CheckExact(padded):
            return Ops.unpad(self, padded, lengths)
        x = padded
        if not 2 <= PyArray_NDIM(x) <= MAX_DIMS or PyArray_SIZE(n) > PyArray_DIMS(x)[0]:
            return Ops.unpad(self, padded, lengths)
        for i in range(PyArray_SIZE(n)):
            count = min(<npy_intp>(<int32_t*>PyArray_DATA(n))[i], PyArray_DIMS(x)[1])
            parts.append(rows_between(x, i, count, 1))
        return parts

    def list2padded(self, seqs):
        cdef vector[Part] parts, sorted_parts
        cdef ndarray first, data, keys, lengths, indices, size_at_t
        cdef npy_intp i, t, longest, count, row
        cdef int64_t which
        cdef tuple arrays = as_tuple(seqs)
        first = None if arrays is None or len(arrays) < 2 else parts_of(arrays, parts, False)
        if first is None or not 2 <= PyArray_NDIM(first) < MAX_DIMS:
            return Ops.list2padded(self, seqs)
        count = parts.size()
        # Sorted by length, and equal ones by place.
        keys = new_array(1, &count, NPY_INT64, False)
        for i in range(count):
            (<int64_t*>PyArray_DATA(keys))[i] = parts[i].rows * count + i
        keys.sort()
        lengths = new_array(1, &count, NPY_INT32, False)
        indices = new_array(1, &count, NPY_INT32, False)
        for i in range(count):
            which = (<int64_t*>PyArray_DATA(keys))[count - 1 - i] % count
            (<int32_t*>PyArray_DATA(indices))[i] = <int32_t>which
            (<int32_t*>PyArray_DATA(lengths))[i] = <int32_t>parts[which].rows
            sorted_parts.push_back(parts[which])
        longest = sorted_parts[0].rows
        size_at_t = new_array(1, &longest, NPY_INT32, False)
        i = count
        for t in range(longest):
            while sorted_parts[i - 1].rows <= t:
                i -= 1
            (<int32_t*>PyArray_DATA(size_at_t))[t] = <int32_t>i
        row = row_bytes(first)
        data = with_rows_of(first, longest, count)
        if cnp.PyArray_NBYTES(data) < RELEASE_GIL_ABOVE:
            copy_time_first(PyArray_BYTES(data), sorted_parts, row, longest)
        else:
            with nogil:
                copy_time_first(PyArray_BYTES(data), sorted_parts, row, longest)
        return Padded(data, size_at_t, lengths, indices)

    def padded2list(self, padded):
        cdef ndarray data, lengths, order, Y
        cdef npy_intp dims[MAX_DIMS]
        cdef npy_intp place, which, row, step
        cdef int i
        cdef list parts = []
        lengths = valid_lengths(padded.lengths, -1, 0)
        if lengths is None or not is_plain(padded.data):
            return Ops.padded2list(self, padded)
        data = padded.data
        if PyArray_NDIM(data) < 2 or PyArray_SIZE(lengths) > PyArray_DIMS(data)[1]:
            return Ops.padded2list(self, padded)
        order = cnp.PyArray_FROM_OTF(
            numpy.argsort(padded.indices, kind="stable"), NPY_INT64, cnp.NPY_ARRAY_CARRAY_RO
        )
        if PyArray_NDIM(order) != 1 or PyArray_SIZE(order) > PyArray_SIZE(lengths):
            return Ops.padded2list(self, padded)
        for i in range(2, PyArray_NDIM(data)):
            dims[i - 1] = PyArray_DIMS(data)[i]
        step = row_bytes(data)
        row = step // PyArray_DIMS(data)[1] if PyArray_DIMS(data)[1] else 0
        for place in range(PyArray_SIZE(order)):
            which = (<int64_t*>PyArray_DATA(order))[place]
            dims[0] = min(<npy_intp>(<int32_t*>PyArray_DATA(lengths))[which], PyArray_DIMS(data)[0])
            Y = new_array(PyArray_NDIM(data) - 1, dims, PyArray_TYPE(data), False)
            if dims[0] * row < RELEASE_GIL_ABOVE:
                copy_one_of_batch(
                    PyArray_BYTES(Y), PyArray_BYTES(data) + which * row, dims[0], row, step
                )
            else:
                with nogil:
                    copy_one_of_batch(
                        PyArray_BYTES(Y), PyArray_BYTES(data) + which * row, dims[0], row, step
                    )
            parts.append(Y)
        return parts

    def insert_into(self, shape, Xs):
        cdef vector[Part] parts
        cdef ndarray first, out
        cdef size_t i
        cdef npy_intp row, longest
        cdef tuple arrays = as_tuple(Xs)
        first = None
        if arrays is not None and type(shape) is tuple and len(shape) == 1 + getattr(
            Xs[0] if arrays else None, "ndim", -1
        ) and shape[2:] == Xs[0].shape[1:] and shape[0] == len(arrays):
            first = parts_of(arrays, parts, False)
        if first is None or PyArray_NDIM(first) >= MAX_DIMS:
            return Ops.insert_into(self, shape, Xs)
        longest = shape[1]
        for i in range(parts.size()):
            if parts[i].rows > longest:
                return Ops.insert_into(self, shape, Xs)
        row = row_bytes(first)
        out = with_rows_of(first, parts.size(), longest)
        if cnp.PyArray_NBYTES(out) < RELEASE_GIL_ABOVE:
            copy_side_by_side(PyArray_BYTES(out), parts, row, longest)
        else:
            with nogil:
                copy_side_by_side(PyArray_BYTES(out), parts, row, longest)
        return out

    # ---- first and last rows of sequences -------------------------------------

    def reduce_first(self, X, lengths):
        cdef ndarray x, n, Y, starts_ends
        cdef npy_intp i, size, count
        cdef int32_t end = 0
        n = None if not is_plain(X) else valid_lengths(lengths, PyArray_DIMS(<ndarray>X)[0], 1)
        if n is None or PyArray_SIZE(n) == 0:
            return Ops.reduce_first(self, X, lengths)
        x = X
        count = PyArray_SIZE(n)
        size = row_bytes(x)
        Y = with_rows_of(x, count, -1)
        count += 1
        starts_ends = new_array(1, &count, NPY_INT32, False)
        for i in range(count - 1):
            (<int32_t*>PyArray_DATA(starts_ends))[i] = end
            copy_bytes(PyArray_BYTES(Y) + i * size, PyArray_BYTES(x) + end * size, size)
            end += (<int32_t*>PyArray_DATA(n))[i]
        (<int32_t*>PyArray_DATA(starts_ends))[count - 1] = end
        return Y, starts_ends

    def reduce_last(self, X, lengths):
        cdef ndarray x, n, Y, lasts
        cdef npy_intp i, size, count
        cdef int64_t last = -1
        n = None if not is_plain(X) else valid_lengths(lengths, PyArray_DIMS(<ndarray>X)[0], 1)
        if n is None or PyArray_SIZE(n) == 0:
            return Ops.reduce_last(self, X, lengths)
        x = X
        count = PyArray_SIZE(n)
        size = row_bytes(x)
        Y = with_rows_of(x, count, -1)
        lasts = new_array(1, &count, NPY_INT64, False)
        for i in range(count):
            last += (<int32_t*>PyArray_DATA(n))[i]
            (<int64_t*>PyArray_DATA(lasts))[i] = last
            copy_bytes(PyArray_BYTES(Y) + i * size, PyArray_BYTES(x) + last * size, size)
        return Y, lasts

    def backprop_reduce_first(self, d_firsts, starts_ends):
        cdef ndarray places, dX
        cdef npy_intp count
        places = valid_places(starts_ends) if is_plain(d_firsts) else None
        if places is None or PyArray_SIZE(places) < 2:
            return Ops.backprop_reduce_first(self, d_firsts, starts_ends)
        count = PyArray_SIZE(places) - 1
        dX = None
        if PyArray_DIMS(<ndarray>d_firsts)[0] == count:
            dX = spread_rows(d_firsts, places, (<int64_t*>PyArray_DATA(places))[count])
        return Ops.backprop_reduce_first(self, d_firsts, starts_ends) if dX is None else dX

    def backprop_reduce_last(self, d_lasts, lasts):
        cdef ndarray places, dX
        cdef npy_intp count
        places = valid_places(lasts) if is_plain(d_lasts) else None
        if places is None or PyArray_SIZE(places) == 0:
            return Ops.backprop_reduce_last(self, d_lasts, lasts)
        count = PyArray_SIZE(places)
        dX = None
        if PyArray_DIMS(<ndarray>d_lasts)[0] == count:
            dX = spread_rows(d_lasts, places, (<int64_t*>PyArray_DATA(places))[count - 1] + 1)
        return Ops.backprop_reduce_last(self, d_lasts, lasts) if dX is None else dX

    # ---- making and converting ---------------------------------------------------

    def alloc(self, shape, *, dtype="float32", zeros=True):
        cdef npy_intp dims[MAX_DIMS]
        cdef int typenum = known_type(dtype)
        cdef int ndim = 0
        if typenum >= 0 and type(shape) is tuple and len(<tuple>shape) <= MAX_DIMS:
            for size in <tuple>shape:
                if type(size) is not int:
                    typenum = -1
                    break
                dims[ndim] = size
                if dims[ndim] < 0:
                    typenum = -1
                    break
                ndim += 1
            if typenum >= 0:
                if zeros:
                    return new_array(ndim, dims, typenum, True)
                return new_array(ndim, dims, typenum, False)
        if zeros:
            return numpy.zeros(shape, dtype=dtype)
        return numpy.empty(shape, dtype=dtype)

    def reshape(self, array, shape):
        if PyArray_Check(array):
            return cnp.PyArray_Reshape(array, shape)
        return array.reshape(shape)

    def asarray(self, data, *, dtype=None):
        cdef int typenum
        if PyArray_Check(data):
            if dtype is None:
                return data
            typenum = known_type(dtype)
            if typenum >= 0 and PyArray_TYPE(<ndarray>data) == typenum and (
                cnp.PyArray_ISNOTSWAPPED(<ndarray>data)
            ):
                return data
        elif type(data) is list:
            return numpy.array(data) if dtype is None else numpy.array(data, dtype=dtype)
        return Ops.asarray(self, data, dtype=dtype)

    def as_contig(self, data, dtype=None):
        if dtype is None and PyArray_Check(data) and cnp.PyArray_IS_C_CONTIGUOUS(<ndarray>data):
            return data
        return Ops.as_contig(self, data, dtype)

    def to_numpy(self, data, *, byte_order=None):
        if byte_order is None and PyArray_Check(data):
            return data
        return Ops.to_numpy(self, data, byte_order=byte_order)

    def tile(self, X, reps):
        cdef ndarray x, Y
        cdef npy_intp dims[MAX_DIMS]
        cdef npy_intp row, times, r, i, rows = 1
        cdef char* to
        if type(reps) is not int or reps < 1 or not is_plain(X):
            return Ops.tile(self, X, reps)
        x = X
        times = reps
        for i in range(PyArray_NDIM(x) - 1):
            dims[i] = PyArray_DIMS(x)[i]
            rows *= dims[i]
        row = PyArray_DIMS(x)[PyArray_NDIM(x) - 1]
        dims[PyArray_NDIM(x) - 1] = row * times
        row *= PyArray_ITEMSIZE(x)
        Y = new_array(PyArray_NDIM(x), dims, PyArray_TYPE(x), False)
        to = PyArray_BYTES(Y)
        for r in range(rows):
            for i in range(times):
                to = copy_bytes(to, PyArray_BYTES(x) + r * row, row)
        return Y

    # ---- by rank and kind, through the methods above: a subclass may replace those ----

    def alloc1f(self, d0, *, dtype="float32", zeros=True):
        return self.alloc((d0,), dtype=dtype, zeros=zeros)

    def alloc2f(self, d0, d1, *, dtype="float32", zeros=True):
        return self.alloc((d0, d1), dtype=dtype, zeros=zeros)

    def alloc3f(self, d0, d1, d2, *, dtype="float32", zeros=True):
        return self.alloc((d0, d1, d2), dtype=dtype, zeros=zeros)

    def alloc4f(self, d0, d1, d2, d3, *, dtype="float32", zeros=True):
        return self.alloc((d0, d1, d2, d3), dtype=dtype, zeros=zeros)

    def alloc_f(self, shape, *, dtype="float32", zeros=True):
        return self.alloc(shape, dtype=dtype, zeros=zeros)

    def alloc1i(self, d0, *, dtype="int32", zeros=True):
        return self.alloc((d0,), dtype=dtype, zeros=zeros)

    def alloc2i(self, d0, d1, *, dtype="int32", zeros=True):
        return self.alloc((d0, d1), dtype=dtype, zeros=zeros)

    def alloc3i(self, d0, d1, d2, *, dtype="int32", zeros=True):
        return self.alloc((d0, d1, d2), dtype=dtype, zeros=zeros)

    def alloc4i(self, d0, d1, d2, d3, *, dtype="int32", zeros=True):
        return self.alloc((d0, d1, d2, d3), dtype=dtype, zeros=zeros)

    def alloc_i(self, shape, *, dtype="int32", zeros=True):
        return self.alloc(shape, dtype=dtype, zeros=zeros)

    def reshape1(self, array, d0):
        return self.reshape(array, (d0,))

    def reshape2(self, array, d0, d1):
        return self.reshape(array, (d0, d1))

    def reshape3(self, array, d0, d1, d2):
        return self.reshape(array, (d0, d1, d2))

    def reshape4(self, array, d0, d1, d2, d3):
        return self.reshape(array, (d0, d1, d2, d3))

    def reshape1f(self, array, d0):
        return self.reshape(array, (d0,))

    def reshape2f(self, array, d0, d1):
        return self.reshape(array, (d0, d1))

    def reshape3f(self, array, d0, d1, d2):
        return self.reshape(array, (d0, d1, d2))

    def reshape4f(self, array, d0, d1, d2, d3):
        return self.reshape(array, (d0, d1, d2, d3))

    def reshape_f(self, array, shape):
        return self.reshape(array, shape)

    def reshape1i(self, array, d0):
        return self.reshape(array, (d0,))

    def reshape2i(self, array, d0, d1):
        return self.reshape(array, (d0, d1))

    def reshape3i(self, array, d0, d1, d2):
        return self.reshape(array, (d0, d1, d2))

    def reshape4i(self, array, d0, d1, d2, d3):
        return self.reshape(array, (d0, d1, d2, d3))

    def reshape_i(self, array, shape):
        return self.reshape(array, shape)

    def asarray1f(self, data, *, dtype="float32"):
        return self.asarray(data, dtype=dtype)

    def asarray2f(self, data, *, dtype="float32"):
        return self.asarray(data, dtype=dtype)

    def asarray3f(self, data, *, dtype="float32"):
        return self.asarray(data, dtype=dtype)

    def asarray4f(self, data, *, dtype="float32"):
        return self.asarray(data, dtype=dtype)

    def asarray_f(self, data, *, dtype="float32"):
        return self.asarray(data, dtype=dtype)

    def asarray1i(self, data, *, dtype="int32"):
        return self.asarray(data, dtype=dtype)

    def asarray2i(self, data, *, dtype="int32"):
        return self.asarray(data, dtype=dtype)

    def asarray3i(self, data, *, dtype="int32"):
        return self.asarray(data, dtype=dtype)

    def asarray4i(self, data, *, dtype="int32"):
        return self.asarray(data, dtype=dtype)

    def asarray_i(self, data, *, dtype="int32"):
        return self.asarray(data, dtype=dtype)
