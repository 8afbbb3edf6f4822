"""Rows picked from tables, and the hash functions that pick them."""

from __future__ import annotations

from typing import Any, List, Sequence, Tuple, cast

from ..types import Floats1d, Floats2d, Ints1d, Ints2d
from .murmur import murmur3_of_bytes, murmur3_of_keys

HASH_WORDS = 4
_LOW_32_BITS = 0xFFFFFFFF


class TableMethods:
    """The part of Ops that embedding layers use."""

    xp: Any
    alloc: Any
    asarray: Any
    as_contig: Any
    reduce_sum: Any
    backprop_reduce_sum: Any
    _check_in_range: Any

    def gather_add(self, table: Floats2d, indices: Ints2d) -> Floats2d:
        """The sum of the table's rows that each row of indices names.

        table: (T, O). indices: integers (B, K). Returns (B, O) of the table's
        dtype: row b is the sum over k of table[indices[b, k]].
        Raises IndexError for an index outside [0, T).
        """
        self._check_table("gather_add", table, indices)
        return table[indices].sum(axis=1, dtype=table.dtype)

    def backprop_gather_add(self, table: Floats2d, dY: Floats2d, indices: Ints2d) -> Floats2d:
        """table[indices[b, k]] += dY[b], in place. Returns table.

        table: (T, O), the gradient to add to. dY: (B, O). indices: (B, K).
        Raises IndexError for an index outside [0, T).
        """
        self._check_table("backprop_gather_add", table, indices)
        if dY.shape != (indices.shape[0], table.shape[1]):
            raise ValueError(
                f"backprop_gather_add: expected dY of shape "
                f"{(indices.shape[0], table.shape[1])}, got {dY.shape}."
            )
        for column in range(indices.shape[1]):
            self.scatter_add(table, indices[:, column], dY)
        return table

    def scatter_add(self, table: Any, indices: Any, values: Any) -> None:
        """table[indices] += values in place, repeated indices adding up.

        Negative indices count from the end. Raises IndexError for others that are
        outside the table. values broadcasts. Returns None.
        """
        self.xp.add.at(table, indices, values)

    def hash_embed(self, E: Floats2d, ids: Ints1d, seed: int) -> Tuple[Floats2d, Ints2d]:
        """The sum of four rows of E for each id, chosen by four hash words.

        E: (V, O). ids: integers or floats (n,), taken modulo 2^64. Returns (Y, rows):
        Y (n, O) of E's dtype, and rows (n, 4) uint32, the words of hash modulo V.
        Svenstrup et al. (2017), arXiv:1709.03933. Raises IndexError if E has no
        rows but there are ids.
        """
        if E.shape[0] == 0 and ids.shape[0] != 0:
            raise IndexError("hash_embed: the table has no rows.")
        rows = self.hash(as_uint64(self.xp, ids), seed) % self.xp.uint32(max(E.shape[0], 1))
        return E[rows].sum(axis=1, dtype=E.dtype), rows

    def hash_embed_columns(
        self,
        tables: Sequence[Floats2d],
        columns: Sequence[int],
        seeds: Sequence[int],
        ids: Ints2d,
    ) -> Floats2d:
        """hash_embed of several columns of ids, each with a table and a seed, side by side.

        ids: integers (n, any number of columns). Returns (n, sum of the tables' widths).
        """
        embedded: List[Any] = [
            self.hash_embed(E, cast(Any, ids)[:, column], seed)[0]
            for E, column, seed in zip(tables, columns, seeds, strict=True)
        ]
        return cast(Floats2d, self.xp.concatenate(embedded, axis=1))

    # ---- linear models of hashed features ------------------------------------

    def sparse_cells(self, keys: Ints1d, length: int, *, masked: bool = False) -> Ints2d:
        """Where the weights of each feature lie: two of `length` cells.

        keys: (m,), converted to uint64. Returns (m, 2) uint32: MurmurHash3 (x86, 32
        bits) with the seeds 0 and 1, modulo length; if masked, its bits that length - 1
        has. Raises ValueError unless 0 < length < 2^32.
        """
        if not 0 < length <= _LOW_32_BITS:
            raise ValueError(f"sparse_cells: length must lie in [1, 2^32), got {length}.")
        keys = as_uint64(self.xp, self.asarray(keys))
        if keys.ndim != 1:
            raise ValueError(f"sparse_cells expects keys of shape (m,), got {keys.shape}.")
        hashes = [murmur3_of_keys(self.xp, keys, seed) for seed in (0, 1)]
        cells = self.xp.stack(hashes, axis=1)
        return cells & self.xp.uint32(length - 1) if masked else cells % self.xp.uint32(length)

    def sparse_linear(
        self,
        W: Floats1d,
        b: Floats1d,
        cells: Ints2d,
        values: Floats1d,
        lengths: Ints1d,
        stride: int,
    ) -> Floats2d:
        """Sums of weighted features: Y[r, c] = b[c] + sum of W[cells[m, k] + c stride] values[m].

        W: (n,), b: (O,). cells: integers (m, K), values: (m,) of W's dtype, lengths:
        (B,), how many of the features each row has, in order. Returns (B, O).
        Raises IndexError for cells outside W or lengths that do not sum to m.
        """
        where = self._sparse_index("sparse_linear", W, b.shape[0], cells, values, stride)
        products = W[where].sum(axis=1, dtype=W.dtype) * values[:, None]
        return self.reduce_sum(products, lengths) + b

    def sparse_linear_by_feature(
        self, W: Floats2d, b: Floats1d, cells: Ints2d, values: Floats1d, lengths: Ints1d
    ) -> Floats2d:
        """sparse_linear with the weights of all classes side by side: W is (cells, nO), and
        the weight of a feature for class c the sum of W[cells, c]."""
        if W.ndim != 2 or b.shape != W.shape[1:]:
            raise ValueError(
                "sparse_linear_by_feature: expected W (cells, outputs) and b (outputs,), "
                f"got {W.shape} and {b.shape}"
            )
        by_class = self.as_contig(cast(Any, W).T).reshape(-1)
        return self.sparse_linear(by_class, b, cells, values, lengths, W.shape[0])

    def backprop_sparse_linear(
        self,
        dW: Floats1d,
        dY: Floats2d,
        cells: Ints2d,
        values: Floats1d,
        lengths: Ints1d,
        stride: int,
    ) -> Floats1d:
        """dW[cells[m, k] + c stride] += dY[r, c] values[m], in place. Returns dW.

        dW: (n,), the gradient to add to. dY: (B, O). Others and errors as in sparse_linear.
        """
        where = self._sparse_index(
            "backprop_sparse_linear", dW, dY.shape[1], cells, values, stride
        )
        d_weights = (self.backprop_reduce_sum(dY, lengths) * values[:, None]).astype(dW.dtype)
        if d_weights.shape[0] != values.shape[0]:
            raise IndexError(
                f"backprop_sparse_linear: lengths sum to {d_weights.shape[0]}, "
                f"but there are {values.shape[0]} features."
            )
        for k in range(cells.shape[1]):
            self.scatter_add(dW, where[:, k].reshape(-1), d_weights.reshape(-1))
        return dW

    def _sparse_index(self, who: str, W, nO: int, cells, values, stride: int) -> Any:
        """Indices into W, (m, K, nO)."""
        if W.ndim != 1 or cells.ndim != 2 or values.shape != cells.shape[:1]:
            raise ValueError(
                f"{who}: expected weights (n,), cells (m, K) and values (m,), "
                f"got {W.shape}, {cells.shape} and {values.shape}."
            )
        if cells.dtype.kind not in "iu":
            raise TypeError(f"{who}: cells must be integers, got {cells.dtype}.")
        # The last class reaches furthest: if its cells lie in W, all do.
        in_range = W.shape[0] - max(nO - 1, 0) * stride
        self._check_in_range(f"{who}: cells", cells, in_range if nO else 2**32)
        return cells.astype("int64")[:, :, None] + self.xp.arange(nO, dtype="int64") * stride

    # ---- hashing -------------------------------------------------------------

    def hash_strings(self, strings: Sequence[str]) -> Ints1d:
        """An id for each string: (n,) uint64.

        It is MurmurHash3 (x86, 32 bits, seed 0) of the UTF-8 bytes, extended to 64 bits
        by its sign. Raises TypeError for what is no string, UnicodeEncodeError for one
        with lone surrogates.
        """
        ids = []
        for string in strings:
            if not isinstance(string, str):
                raise TypeError(f"hash_strings expects strings, got {type(string).__name__}.")
            h = murmur3_of_bytes(string.encode("utf8"))
            ids.append(h if h < 1 << 31 else h | _LOW_32_BITS << 32)
        return self.xp.array(ids, dtype="uint64")

    def hash(self, ids: Ints1d, seed: int) -> Ints2d:
        """MurmurHash3 (x64, 128 bits) of the eight little-endian bytes of each id.

        ids: (n,), converted to uint64. seed: in [0, 2^32). Returns (n, 4) uint32:
        the low and high halves of the two 64-bit words.
        Austin Appleby, https://github.com/aappleby/smhasher (public domain).
        """
        if not 0 <= seed <= _LOW_32_BITS:
            raise OverflowError(f"hash: the seed must lie in [0, 2^32), got {seed}.")
        u64 = self.xp.uint64
        ids = as_uint64(self.xp, self.asarray(ids))
        if ids.ndim != 1:
            raise ValueError(f"hash expects ids of shape (n,), got {ids.shape}.")
        start = u64(int(seed) ^ 8)  # the seed, mixed with the length in bytes
        k = ids * u64(0x87C37B91114253D5)
        k = ((k << u64(31)) | (k >> u64(33))) * u64(0x4CF5AD432745937F)
        h2 = self.xp.full_like(k, start)
        h1 = (k ^ start) + h2
        h2 = h2 + h1
        h1, h2 = _mix(u64, h1), _mix(u64, h2)
        h1 = h1 + h2
        h2 = h2 + h1
        low = u64(_LOW_32_BITS)
        words = [h1 & low, h1 >> u64(32), h2 & low, h2 >> u64(32)]
        return self.xp.stack(words, axis=1).astype("uint32")

    def ngrams(self, n: int, keys: Ints1d) -> Ints1d:
        """A 64-bit hash of each run of n keys: MurmurHash64A, seed 0, of its 8 n bytes.

        keys: (m,), converted to uint64. Returns (max(0, m - n + 1),) uint64, and
        nothing for n < 1. Austin Appleby, https://github.com/aappleby/smhasher.
        """
        u64 = self.xp.uint64
        keys = as_uint64(self.xp, self.asarray(keys))
        if keys.ndim != 1:
            raise ValueError(f"ngrams expects keys of shape (m,), got {keys.shape}.")
        count = keys.shape[0] - n + 1
        if n < 1 or count < 1:
            return self.alloc((0,), dtype="uint64")
        factor, shift = 0xC6A4A7935BD1E995, u64(47)
        h = self.xp.full((count,), (8 * n * factor) & 0xFFFFFFFFFFFFFFFF, dtype="uint64")
        m = u64(factor)
        for offset in range(n):
            k = keys[offset : offset + count] * m
            k = (k ^ (k >> shift)) * m
            h = (h ^ k) * m
        h = (h ^ (h >> shift)) * m
        return h ^ (h >> shift)

    def _check_table(self, who: str, table, indices) -> None:
        if table.ndim != 2 or indices.ndim != 2:
            raise ValueError(
                f"{who}: table and indices must be 2-d, got {table.shape} and {indices.shape}."
            )
        if indices.dtype.kind not in "iu":
            raise TypeError(f"{who}: indices must be integers, got {indices.dtype}.")
        self._check_in_range(f"{who}: indices", indices, table.shape[0])


def as_uint64(xp, ids) -> Any:
    """ids modulo 2^64. Floats are truncated first."""
    if ids.dtype.kind == "f":
        # A negative float has no defined conversion to an unsigned integer.
        ids = ids.astype("int64")
    return ids.astype("uint64", copy=False)


def _mix(u64, h):
    h = (h ^ (h >> u64(33))) * u64(0xFF51AFD7ED558CCD)
    h = (h ^ (h >> u64(33))) * u64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> u64(33))
