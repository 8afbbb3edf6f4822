"""Making, converting and reshaping arrays."""

from __future__ import annotations

from typing import Any, Optional, Sequence, Tuple, Union

from ..types import (
    Array1d,
    Array2d,
    Array3d,
    Array4d,
    ArrayXd,
    DTypes,
    Floats1d,
    Floats2d,
    Floats3d,
    Floats4d,
    FloatsXd,
    Ints1d,
    Ints2d,
    Ints3d,
    Ints4d,
    IntsXd,
)

AnyShape = Union[int, Sequence[int]]


class ArrayMethods:
    """The part of Ops that allocates, converts and reshapes arrays.

    The families with a digit and a letter (alloc2f, reshape3i, asarray1f ...)
    exist for type checkers: the letter decides the default dtype, the digit
    the annotated rank. Neither is checked.
    """

    xp: Any

    def alloc(self, shape: AnyShape, *, dtype: Optional[DTypes] = "float32", zeros: bool = True):
        """A new array. shape: an int or a sequence of ints.

        Filled with zeros, or left uninitialised if zeros is False.
        Raises ValueError for a negative size, TypeError for a size that is no int.
        """
        if not isinstance(shape, int):
            shape = tuple(shape)
        if zeros:
            return self.xp.zeros(shape, dtype=dtype)
        return self.xp.empty(shape, dtype=dtype)

    def reshape(self, array: ArrayXd, shape: AnyShape) -> Any:
        """array with another shape, a view where possible. One size may be -1."""
        return array.reshape(shape)

    def asarray(self, data: Any, *, dtype: Optional[DTypes] = None) -> Any:
        """data as an array of this backend, cast to dtype if it is given.

        An array of the backend is returned as it is when nothing has to change.
        Tensors on the CPU and arrays on a device are converted, sharing memory
        where their library allows it.
        """
        if not isinstance(data, self.xp.ndarray):
            if hasattr(data, "numpy"):
                data = data.numpy()
            elif hasattr(data, "get") and hasattr(data, "__cuda_array_interface__"):
                data = data.get()
        if isinstance(data, self.xp.ndarray):
            return data if dtype is None or data.dtype == dtype else data.astype(dtype)
        return self.xp.array(data) if dtype is None else self.xp.array(data, dtype=dtype)

    def as_contig(self, data: ArrayXd, dtype: Optional[DTypes] = None) -> ArrayXd:
        """data itself if it is C-contiguous and of the dtype, else such a copy."""
        if data.flags["C_CONTIGUOUS"] and (dtype is None or data.dtype == dtype):
            return data
        return self.xp.ascontiguousarray(data, dtype=dtype)

    def to_numpy(self, data: ArrayXd, *, byte_order: Optional[str] = None):
        """data as a numpy array, its values stored in byte_order if that is given.

        byte_order: as in numpy.dtype.newbyteorder (">", "<", "=", "big" ...).
        Raises ValueError for anything that is not an array of this backend.
        """
        import numpy

        if not isinstance(data, numpy.ndarray):
            raise ValueError(f"to_numpy expects a numpy array, got {type(data)}.")
        return in_byte_order(data, byte_order)

    def tile(self, X: ArrayXd, reps: Union[int, Tuple[int, ...]]) -> ArrayXd:
        """X repeated: reps times along its last axis, or as often as reps says per axis."""
        return self.xp.tile(X, reps)

    # ---- by rank and kind ------------------------------------------------

    def alloc1f(
        self, d0: int, *, dtype: Optional[DTypes] = "float32", zeros: bool = True
    ) -> Floats1d:
        """A new float32 array of shape (d0,): see alloc."""
        return self.alloc((d0,), dtype=dtype, zeros=zeros)

    def alloc2f(
        self, d0: int, d1: int, *, dtype: Optional[DTypes] = "float32", zeros: bool = True
    ) -> Floats2d:
        """A new float32 array of shape (d0, d1): see alloc."""
        return self.alloc((d0, d1), dtype=dtype, zeros=zeros)

    def alloc3f(
        self, d0: int, d1: int, d2: int, *, dtype: Optional[DTypes] = "float32", zeros: bool = True
    ) -> Floats3d:
        """A new float32 array of shape (d0, d1, d2): see alloc."""
        return self.alloc((d0, d1, d2), dtype=dtype, zeros=zeros)

    def alloc4f(
        self,
        d0: int,
        d1: int,
        d2: int,
        d3: int,
        *,
        dtype: Optional[DTypes] = "float32",
        zeros: bool = True,
    ) -> Floats4d:
        """A new float32 array of shape (d0, d1, d2, d3): see alloc."""
        return self.alloc((d0, d1, d2, d3), dtype=dtype, zeros=zeros)

    def alloc_f(
        self, shape: AnyShape, *, dtype: Optional[DTypes] = "float32", zeros: bool = True
    ) -> FloatsXd:
        """A new float32 array of any shape: see alloc."""
        return self.alloc(shape, dtype=dtype, zeros=zeros)

    def alloc1i(self, d0: int, *, dtype: Optional[DTypes] = "int32", zeros: bool = True) -> Ints1d:
        """A new int32 array of shape (d0,): see alloc."""
        return self.alloc((d0,), dtype=dtype, zeros=zeros)

    def alloc2i(
        self, d0: int, d1: int, *, dtype: Optional[DTypes] = "int32", zeros: bool = True
    ) -> Ints2d:
        """A new int32 array of shape (d0, d1): see alloc."""
        return self.alloc((d0, d1), dtype=dtype, zeros=zeros)

    def alloc3i(
        self, d0: int, d1: int, d2: int, *, dtype: Optional[DTypes] = "int32", zeros: bool = True
    ) -> Ints3d:
        """A new int32 array of shape (d0, d1, d2): see alloc."""
        return self.alloc((d0, d1, d2), dtype=dtype, zeros=zeros)

    def alloc4i(
        self,
        d0: int,
        d1: int,
        d2: int,
        d3: int,
        *,
        dtype: Optional[DTypes] = "int32",
        zeros: bool = True,
    ) -> Ints4d:
        """A new int32 array of shape (d0, d1, d2, d3): see alloc."""
        return self.alloc((d0, d1, d2, d3), dtype=dtype, zeros=zeros)

    def alloc_i(
        self, shape: AnyShape, *, dtype: Optional[DTypes] = "int32", zeros: bool = True
    ) -> IntsXd:
        """A new int32 array of any shape: see alloc."""
        return self.alloc(shape, dtype=dtype, zeros=zeros)

    def reshape1(self, array: ArrayXd, d0: int) -> Array1d:
        """An array as shape (d0,): see reshape."""
        return self.reshape(array, (d0,))

    def reshape2(self, array: ArrayXd, d0: int, d1: int) -> Array2d:
        """An array as shape (d0, d1): see reshape."""
        return self.reshape(array, (d0, d1))

    def reshape3(self, array: ArrayXd, d0: int, d1: int, d2: int) -> Array3d:
        """An array as shape (d0, d1, d2): see reshape."""
        return self.reshape(array, (d0, d1, d2))

    def reshape4(self, array: ArrayXd, d0: int, d1: int, d2: int, d3: int) -> Array4d:
        """An array as shape (d0, d1, d2, d3): see reshape."""
        return self.reshape(array, (d0, d1, d2, d3))

    def reshape1f(self, array: FloatsXd, d0: int) -> Floats1d:
        """A float array as shape (d0,): see reshape."""
        return self.reshape(array, (d0,))

    def reshape2f(self, array: FloatsXd, d0: int, d1: int) -> Floats2d:
        """A float array as shape (d0, d1): see reshape."""
        return self.reshape(array, (d0, d1))

    def reshape3f(self, array: FloatsXd, d0: int, d1: int, d2: int) -> Floats3d:
        """A float array as shape (d0, d1, d2): see reshape."""
        return self.reshape(array, (d0, d1, d2))

    def reshape4f(self, array: FloatsXd, d0: int, d1: int, d2: int, d3: int) -> Floats4d:
        """A float array as shape (d0, d1, d2, d3): see reshape."""
        return self.reshape(array, (d0, d1, d2, d3))

    def reshape_f(self, array: FloatsXd, shape: AnyShape) -> FloatsXd:
        """A float array with another shape: see reshape."""
        return self.reshape(array, shape)

    def reshape1i(self, array: IntsXd, d0: int) -> Ints1d:
        """An integer array as shape (d0,): see reshape."""
        return self.reshape(array, (d0,))

    def reshape2i(self, array: IntsXd, d0: int, d1: int) -> Ints2d:
        """An integer array as shape (d0, d1): see reshape."""
        return self.reshape(array, (d0, d1))

    def reshape3i(self, array: IntsXd, d0: int, d1: int, d2: int) -> Ints3d:
        """An integer array as shape (d0, d1, d2): see reshape."""
        return self.reshape(array, (d0, d1, d2))

    def reshape4i(self, array: IntsXd, d0: int, d1: int, d2: int, d3: int) -> Ints4d:
        """An integer array as shape (d0, d1, d2, d3): see reshape."""
        return self.reshape(array, (d0, d1, d2, d3))

    def reshape_i(self, array: IntsXd, shape: AnyShape) -> IntsXd:
        """An integer array with another shape: see reshape."""
        return self.reshape(array, shape)

    def asarray1f(self, data: Any, *, dtype: Optional[DTypes] = "float32") -> Floats1d:
        """data as a 1-d float32 array: see asarray."""
        return self.asarray(data, dtype=dtype)

    def asarray2f(self, data: Any, *, dtype: Optional[DTypes] = "float32") -> Floats2d:
        """data as a 2-d float32 array: see asarray."""
        return self.asarray(data, dtype=dtype)

    def asarray3f(self, data: Any, *, dtype: Optional[DTypes] = "float32") -> Floats3d:
        """data as a 3-d float32 array: see asarray."""
        return self.asarray(data, dtype=dtype)

    def asarray4f(self, data: Any, *, dtype: Optional[DTypes] = "float32") -> Floats4d:
        """data as a 4-d float32 array: see asarray."""
        return self.asarray(data, dtype=dtype)

    def asarray_f(self, data: Any, *, dtype: Optional[DTypes] = "float32") -> FloatsXd:
        """data as a float32 array: see asarray."""
        return self.asarray(data, dtype=dtype)

    def asarray1i(self, data: Any, *, dtype: Optional[DTypes] = "int32") -> Ints1d:
        """data as a 1-d int32 array: see asarray."""
        return self.asarray(data, dtype=dtype)

    def asarray2i(self, data: Any, *, dtype: Optional[DTypes] = "int32") -> Ints2d:
        """data as a 2-d int32 array: see asarray."""
        return self.asarray(data, dtype=dtype)

    def asarray3i(self, data: Any, *, dtype: Optional[DTypes] = "int32") -> Ints3d:
        """data as a 3-d int32 array: see asarray."""
        return self.asarray(data, dtype=dtype)

    def asarray4i(self, data: Any, *, dtype: Optional[DTypes] = "int32") -> Ints4d:
        """data as a 4-d int32 array: see asarray."""
        return self.asarray(data, dtype=dtype)

    def asarray_i(self, data: Any, *, dtype: Optional[DTypes] = "int32") -> IntsXd:
        """data as an int32 array: see asarray."""
        return self.asarray(data, dtype=dtype)


def in_byte_order(data, byte_order: Optional[str]):
    """The values of a numpy array, stored in the given byte order: a new array object."""
    if not byte_order:
        return data
    return data.astype(data.dtype.newbyteorder(byte_order), copy=False).view()
