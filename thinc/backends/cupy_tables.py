"""CupyOps: rows picked from tables, and the hash functions that pick them."""

from __future__ import annotations

from typing import Any

from .cupy_arrays import INDEX_DTYPES, contiguous, kernel_dtype, launch
from .determinism import is_deterministic
from .device_facts import limits_of, remember
from .ops_tables import _LOW_32_BITS, HASH_WORDS, as_uint64


class TableKernels:
    """The part of CupyOps that embedding layers use."""

    xp: Any
    _xp2: Any
    alloc: Any
    asarray: Any
    _check_table: Any
    _check_in_range: Any

    def gather_add(self, table, indices):
        """As Ops.gather_add. Where indices are not checked, wrong ones count as absent."""
        self._check_table("gather_add", table, indices)
        dtype = kernel_dtype(table)
        if dtype is None:
            return super().gather_add(table, indices)  # type: ignore[misc]
        xp, (B, K), (nr_row, width) = self.xp, indices.shape, table.shape
        indices = self._usable_indices(indices)
        Y = (
            xp.empty((B, width), dtype=table.dtype)
            if K
            else xp.zeros((B, width), dtype=table.dtype)
        )
        types = (dtype, indices.dtype.name)
        if K:
            table = contiguous(xp, table)
            launch("gather_add", types, Y, table, indices, B, K, width, nr_row, None)
        return Y

    def backprop_gather_add(self, table, dY, indices):
        """As Ops.backprop_gather_add."""
        self._check_table("backprop_gather_add", table, indices)
        if dY.shape != (indices.shape[0], table.shape[1]):
            raise ValueError(
                f"backprop_gather_add: expected dY of shape "
                f"{(indices.shape[0], table.shape[1])}, got {dY.shape}."
            )
        dtype = kernel_dtype(table, dY)
        if dtype is None or not table.flags.c_contiguous:
            return super().backprop_gather_add(table, dY, indices)  # type: ignore[misc]
        self._add_to_rows(dtype, table, contiguous(self.xp, dY), self._usable_indices(indices))
        return table

    def scatter_add(self, table, indices, values) -> None:
        """As Ops.scatter_add: with atomic additions, unless set_deterministic was called.

        Indices that nobody knows on the host are not checked, and wrong ones count as absent,
        or, where the table is no matrix of rows to add to, wrap around.
        """
        shape: Any = getattr(indices, "shape", None)
        dtype = kernel_dtype(table, values) if hasattr(values, "dtype") else None
        if shape is not None and indices.dtype.kind in "iu":
            limits = limits_of(indices)
            nr_row = table.shape[0]
            if limits is not None and (limits[0] < -nr_row or limits[1] >= nr_row):
                bad = limits[0] if limits[0] < -nr_row else limits[1]
                raise IndexError(f"scatter_add: index {bad} is outside the table of {nr_row} rows.")
        is_matrix = table.ndim == 2 and values_fit(values, shape, table.shape[1:])
        is_vector = table.ndim == 1 and is_deterministic() and values_fit(values, shape, ())
        if (
            dtype is None
            or not (is_matrix or is_vector)
            or not table.flags.c_contiguous
            or indices.dtype.kind not in "iu"
        ):
            self._scatter_anything(table, indices, values)
            return
        width = table.shape[1] if is_matrix else 1
        indices = self._from_the_end(self._usable_indices(indices), table.shape[0])
        self._add_to_rows(
            dtype,
            table.reshape((table.shape[0], width)),
            contiguous(self.xp, values).reshape((shape[0], width)),
            indices.reshape((shape[0], 1)),
        )

    def _scatter_anything(self, table, indices, values) -> None:
        """scatter_add of CuPy, which has no atomic addition of int64 but of uint64."""
        if table.dtype == "int64":
            values = self.xp.asarray(values).astype("int64").view("uint64")
            table = table.view("uint64")
        self._xp2.scatter_add(table, indices, values)

    def _from_the_end(self, indices, nr_row: int):
        """Negative indices count from the end."""
        limits = limits_of(indices)
        if indices.dtype.kind == "u" or (limits is not None and limits[0] >= 0):
            return indices
        return self.xp.where(indices < 0, indices + indices.dtype.type(nr_row), indices)

    def _usable_indices(self, indices):
        if indices.dtype.name not in INDEX_DTYPES:
            indices = indices.astype("int32")
        return contiguous(self.xp, indices)

    def _add_to_rows(self, dtype: str, table, dY, indices) -> None:
        """table[indices[b, k]] += dY[b]. All arrays are contiguous."""
        types = (dtype, indices.dtype.name)
        (B, K), (nr_row, width) = indices.shape, table.shape
        if not is_deterministic():
            launch("scatter_add", types, table, dY, indices, B, K, width, nr_row, None)
        elif B * K:
            flat = indices.reshape(-1)
            order = self.xp.argsort(flat)  # CuPy's is stable
            arguments = (flat[order], order.astype("int64", copy=False), B * K, K, width, nr_row)
            launch("scatter_add_sorted", types, table, dY, *arguments, None)

    def hash_embed(self, E, ids, seed: int):
        """As Ops.hash_embed, in one kernel."""
        dtype = kernel_dtype(E)
        if dtype is None or E.ndim != 2 or not 0 < E.shape[0] <= _LOW_32_BITS or ids.ndim != 1:
            return super().hash_embed(E, ids, seed)  # type: ignore[misc]
        _check_seed("hash_embed", seed)
        xp, (nr_row, width), n = self.xp, E.shape, ids.shape[0]
        keys = contiguous(xp, as_uint64(xp, ids))
        Y = xp.empty((n, width), dtype=E.dtype)
        rows = xp.empty((n, HASH_WORDS), dtype="uint32")
        launch("hash_embed", dtype, Y, rows, contiguous(xp, E), keys, n, width, nr_row, int(seed))
        return Y, remember(rows, limits=(0, nr_row - 1))

    def sparse_cells(self, keys, length: int, *, masked: bool = False):
        """As Ops.sparse_cells; the cells are known to lie in the table."""
        cells = super().sparse_cells(keys, length, masked=masked)  # type: ignore[misc]
        return remember(cells, limits=(0, length - 1))

    def hash(self, ids, seed: int):
        """As Ops.hash."""
        _check_seed("hash", seed)
        keys = self._keys("hash", ids)
        out = self.xp.empty((keys.shape[0], HASH_WORDS), dtype="uint32")
        launch("hash_ids", (), out, keys, keys.shape[0], int(seed))
        return out

    def ngrams(self, n: int, keys):
        """As Ops.ngrams."""
        keys = self._keys("ngrams", keys)
        count = keys.shape[0] - n + 1
        if n < 1 or count < 1:
            return self.alloc((0,), dtype="uint64")
        out = self.xp.empty((count,), dtype="uint64")
        launch("ngrams", (), out, keys, count, n)
        return out

    def _keys(self, who: str, ids):
        keys = as_uint64(self.xp, self.asarray(ids))
        if keys.ndim != 1:
            raise ValueError(f"{who} expects ids of shape (n,), got {keys.shape}.")
        return contiguous(self.xp, keys)


def values_fit(values: Any, shape: Any, row: tuple) -> bool:
    """Whether there is one index, in one dimension, for each row of the values."""
    return shape is not None and len(shape) == 1 and values.shape == (*shape, *row)


def _check_seed(who: str, seed: int) -> None:
    if not 0 <= seed <= _LOW_32_BITS:
        raise OverflowError(f"{who}: the seed must lie in [0, 2^32), got {seed}.")
