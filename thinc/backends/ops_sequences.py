"""Sequences of different lengths: layouts, windows and reductions."""

from __future__ import annotations

from typing import Any, List, Optional, Sequence, Tuple, Union

import numpy

from ..types import ArrayXd, Floats2d, Ints1d, Ints2d, Padded

Lengths = Union[Ints1d, Sequence[int]]


class SequenceMethods:
    """The part of Ops that works on sequences laid end to end, or side by side.

    lengths: integers of shape (nSeq,), in rows. Where X has the sequences one
    after another, they must sum to X's rows. Negative lengths raise ValueError,
    a wrong sum raises IndexError.
    """

    xp: Any
    alloc: Any
    as_contig: Any
    _check_in_range: Any

    # ---- layouts ---------------------------------------------------------

    def flatten(
        self,
        X: Sequence[ArrayXd],
        dtype: Optional[Any] = None,
        pad: int = 0,
        ndim_if_empty: int = 2,
    ) -> ArrayXd:
        """The arrays of X, concatenated along their first axis: a new array.

        pad: that many rows of zeros go before every array that has rows, and
            after the last. dtype: cast the result. Without any array the result
            has ndim_if_empty axes of size 0.
        Raises ValueError if the trailing shapes differ or X holds no arrays.
        """
        if X is None or len(X) == 0:
            return self.alloc((0,) * ndim_if_empty, dtype=dtype or "float32")
        if not hasattr(X[0], "shape"):
            raise ValueError(f"flatten expects a sequence of arrays, got one of {type(X[0])}.")
        full = [x for x in X if x.size != 0]
        pad = int(pad) if isinstance(pad, (int, numpy.integer)) else _no_int("pad", pad)
        if not full:
            # Arrays of width zero have rows all the same.
            full, pad = list(X), 0
        if pad >= 1:
            blank = self.xp.zeros((pad, *full[0].shape[1:]), dtype=full[0].dtype)
            full = [part for x in full for part in (blank, x)] + [blank]
        flat = self.xp.concatenate(full)
        return flat if dtype is None else flat.astype(dtype, copy=False)

    def unflatten(self, X: ArrayXd, lengths: Lengths, pad: int = 0) -> List[Any]:
        """The inverse of flatten: views of X, one for each length.

        pad: as given to flatten. Raises ValueError for negative lengths, and if
        they do not add up to the rows of X.
        """
        counts = [int(n) for n in self._on_host(lengths)]
        if any(n < 0 for n in counts):
            raise ValueError(f"unflatten: lengths must be >= 0, got {min(counts)}.")
        expected = sum(n + pad for n in counts if n > 0)
        if X.shape[0] not in (expected, expected + pad):
            raise ValueError(
                f"unflatten: lengths must sum up to the number of rows: they need {expected} "
                f"(pad={pad}), but X has {X.shape[0]}."
            )
        parts = []
        start = 0
        for n in counts:
            start += pad if n > 0 else 0
            parts.append(X[start : start + n])
            start += n
        return parts

    def pad(self, seqs: Sequence[ArrayXd], round_to: int = 1) -> ArrayXd:
        """Sequences side by side, filled up with zeros: (nSeq, longest, ...).

        seqs: arrays of one dtype and trailing shape. The length is rounded up to
        a multiple of round_to. Raises ValueError if the arrays differ, if there
        are none, or if round_to < 1.
        """
        if round_to < 1:
            raise ValueError(f"Rounding for padding must at least be 1, got {round_to}.")
        if len(seqs) == 0:
            raise ValueError("pad: cannot pad an empty list of sequences.")
        first = seqs[0]
        for seq in seqs:
            if seq.ndim != first.ndim or seq.shape[1:] != first.shape[1:]:
                raise ValueError(
                    "pad: all sequences must have the same number of dimensions and the same "
                    f"shape after the first, got {first.shape} and {seq.shape}."
                )
            if seq.dtype != first.dtype:
                raise ValueError(
                    f"pad: all sequences must have one dtype, got {first.dtype} and {seq.dtype}."
                )
        longest = max(len(seq) for seq in seqs)
        longest = -(-longest // round_to) * round_to
        padded = self.xp.zeros((len(seqs), longest, *first.shape[1:]), dtype=first.dtype)
        for row, seq in zip(padded, seqs, strict=True):
            row[: len(seq)] = seq
        return padded

    def unpad(self, padded: ArrayXd, lengths: Lengths) -> List[Any]:
        """padded[i, :lengths[i]] for each length: views."""
        return [padded[i, : int(n)] for i, n in enumerate(self._on_host(lengths))]

    def list2padded(self, seqs: Sequence[Any]) -> Padded:
        """Sequences as a Padded: time first, the longest sequences first.

        seqs: arrays (length, width) of one width. Of equally long ones the later
        comes first. The inverse is padded2list.
        """
        if len(seqs) == 0:
            none = [self.xp.zeros((0,), dtype="int32") for _ in range(3)]
            return Padded(self.xp.zeros((0, 0, 0), dtype="float32"), *none)
        for seq in seqs:
            if seq.ndim < 2:
                raise IndexError(
                    f"list2padded: sequences must have shape (length, width), got {seq.shape}."
                )
        order = sorted(range(len(seqs)), key=lambda i: (len(seqs[i]), i), reverse=True)
        lengths = numpy.array([len(seqs[i]) for i in order], dtype="int32")
        if len(seqs) == 1:
            data = seqs[0].reshape((len(seqs[0]), 1, *seqs[0].shape[1:]))
        else:
            batch_first = self.pad([seqs[i] for i in order])
            data = self.as_contig(self.xp.swapaxes(batch_first, 0, 1))
        size_at_t = (lengths[None, :] > numpy.arange(lengths[0])[:, None]).sum(axis=1)
        return Padded(
            data,
            self.xp.asarray(size_at_t.astype("int32")),
            self.xp.asarray(lengths),
            self.xp.asarray(numpy.array(order, dtype="int32")),
        )

    def padded2list(self, padded: Padded) -> List[Any]:
        """The sequences of a Padded, in their original order."""
        # By rank, because a part of a batch keeps the indices it had in the whole.
        order = numpy.argsort(self._on_host(padded.indices), kind="stable")
        lengths = self._on_host(padded.lengths)
        batch_first = self.as_contig(self.xp.swapaxes(padded.data, 0, 1))
        return [batch_first[i, : int(lengths[i])] for i in order]

    def insert_into(self, shape: Tuple[int, ...], Xs: Sequence[ArrayXd]) -> ArrayXd:
        """Zeros of the shape, with out[i, :len(Xs[i])] = Xs[i]; dtype of the first."""
        out = self.xp.zeros(shape, dtype=Xs[0].dtype)
        for i, X in enumerate(Xs):
            if len(X) > out.shape[1]:
                raise ValueError(
                    f"insert_into: Xs[{i}] has {len(X)} rows, but the shape {shape} leaves "
                    f"room for {out.shape[1]}."
                )
            out[i, : len(X)] = X
        return out

    # ---- windows -----------------------------------------------------------

    def seq2col(self, seq: Floats2d, nW: int, *, lengths: Optional[Ints1d] = None) -> Floats2d:
        """Each row together with its nW neighbours on both sides.

        seq: (T, I). Returns (T, (2 nW + 1) I): row t holds rows t - nW ... t + nW,
        with zeros in place of rows that are not in t's sequence.
        lengths: without, all rows are one sequence.
        """
        _check_window("seq2col", seq, nW)
        T, nI = seq.shape
        first, end = self._sequence_bounds("seq2col", lengths, T)
        Y = self.xp.zeros((T, 2 * nW + 1, nI), dtype=seq.dtype)
        for shift in range(-nW, nW + 1):
            rows = self._rows_with_neighbour(T, shift, first, end)
            Y[rows, shift + nW] = seq[rows + shift]
        return Y.reshape((T, (2 * nW + 1) * nI))

    def sliding_windows(self, seq: Floats2d, nW: int, *, inner: bool = False) -> Floats2d:
        """seq2col of one sequence, to be read only: rows of the result may share memory.

        seq: (T, I). Returns (T, (2 nW + 1) I), perhaps a view that cannot be written to. The
        products with it (affine, gemm, ...) take such a view without copying it.
        inner: only the windows that lie within the sequence, T - 2 nW of them; then the view
            may be one of seq.
        """
        windows = self.seq2col(seq, nW)
        return windows[nW : max(windows.shape[0] - nW, nW)] if inner else windows

    def backprop_seq2col(
        self, dY: Floats2d, nW: int, *, lengths: Optional[Ints1d] = None
    ) -> Floats2d:
        """Gradient of seq2col: dY is (T, (2 nW + 1) I), the result (T, I).

        Raises ValueError if dY's width is not a multiple of 2 nW + 1.
        """
        _check_window("backprop_seq2col", dY, nW)
        T, width = dY.shape
        if width % (2 * nW + 1):
            raise ValueError(
                f"backprop_seq2col: the width {width} is not a multiple of 2 nW + 1 = {2 * nW + 1}."
            )
        nI = width // (2 * nW + 1)
        first, end = self._sequence_bounds("backprop_seq2col", lengths, T)
        blocks = dY.reshape((T, 2 * nW + 1, nI))
        dX = self.xp.zeros((T, nI), dtype=dY.dtype)
        for shift in range(-nW, nW + 1):
            rows = self._rows_with_neighbour(T, shift, first, end)
            dX[rows + shift] += blocks[rows, shift + nW]
        return dX

    def _sequence_bounds(self, who: str, lengths, T: int):
        """For each row, where its sequence starts and ends (on the host)."""
        if lengths is None:
            return numpy.zeros(T, dtype="int64"), numpy.full(T, T)
        counts = self._check_lengths(who, lengths, T)
        ends = numpy.cumsum(counts)
        return numpy.repeat(ends - counts, counts), numpy.repeat(ends, counts)

    def _rows_with_neighbour(self, T: int, shift: int, first, end):
        rows = numpy.arange(T)
        rows = rows[(rows + shift >= first) & (rows + shift < end)]
        return self.xp.asarray(rows)

    # ---- reductions ----------------------------------------------------------

    def reduce_sum(self, X: Floats2d, lengths: Ints1d) -> Floats2d:
        """Sum of each sequence's rows.

        X: (T, O), sequences one after another. Returns (nSeq, O) of X's dtype; a
        sequence without rows gives zeros.
        """
        Y = self.xp.zeros((len(lengths), X.shape[1]), dtype=X.dtype)
        for b, rows in enumerate(self._sequences("reduce_sum", X, lengths)):
            Y[b] = rows.sum(axis=0)
        return Y

    def backprop_reduce_sum(self, d_sums: Floats2d, lengths: Ints1d) -> Floats2d:
        """Each sequence's row of d_sums (nSeq, O), repeated for its rows: (T, O)."""
        counts = self._check_gradient("backprop_reduce_sum", d_sums, lengths)
        return d_sums[self._sequence_of_row(counts)]

    def reduce_mean(self, X: Floats2d, lengths: Ints1d) -> Floats2d:
        """Mean of each sequence's rows: as reduce_sum."""
        Y = self.xp.zeros((len(lengths), X.shape[1]), dtype=X.dtype)
        for b, rows in enumerate(self._sequences("reduce_mean", X, lengths)):
            if len(rows):
                # In double precision the sum of large numbers stays finite.
                Y[b] = rows.mean(axis=0, dtype="float64")
        return Y

    def backprop_reduce_mean(self, d_means: Floats2d, lengths: Ints1d) -> Floats2d:
        """As backprop_reduce_sum, divided by the sequence's length."""
        counts = self._check_gradient("backprop_reduce_mean", d_means, lengths)
        shares = self.xp.asarray(numpy.maximum(counts, 1).astype(d_means.dtype))
        return (d_means / shares[:, None])[self._sequence_of_row(counts)]

    def reduce_max(self, X: Floats2d, lengths: Ints1d) -> Tuple[Floats2d, Ints2d]:
        """Maximum of each sequence's rows, per column.

        X: (T, O). Returns (Y, which), both (nSeq, O): which is int32, the row
        inside the sequence where the maximum is first attained. The first NaN
        wins. Raises ValueError for a sequence without rows.
        """
        shape = (len(lengths), X.shape[1])
        Y = self.xp.zeros(shape, dtype=X.dtype)
        which = self.xp.zeros(shape, dtype="int32")
        for b, rows in enumerate(self._sequences("reduce_max", X, lengths, minimum=1)):
            which[b] = rows.argmax(axis=0)
            Y[b] = rows.max(axis=0)
        return Y, which

    def backprop_reduce_max(self, d_maxes: Floats2d, which: Ints2d, lengths: Ints1d) -> Floats2d:
        """Zeros (T, O), with each gradient at the row its maximum came from.

        d_maxes, which: (nSeq, O). Raises IndexError for a row outside its sequence.
        """
        who = "backprop_reduce_max"
        counts = self._check_gradient(who, d_maxes, lengths, minimum=1)
        if which.shape != d_maxes.shape:
            raise ValueError(f"{who}: which has shape {which.shape}, but d_maxes {d_maxes.shape}.")
        limits = self.xp.asarray(counts)[:, None]
        if bool(((which < 0) | (which >= limits)).any()):
            raise IndexError(f"{who}: every entry of which must lie inside its sequence.")
        dX = self.xp.zeros((int(counts.sum()), d_maxes.shape[1]), dtype=d_maxes.dtype)
        starts = self.xp.asarray(numpy.cumsum(counts) - counts)
        dX[starts[:, None] + which, self.xp.arange(d_maxes.shape[1])[None, :]] = d_maxes
        return dX

    def reduce_first(self, X: Floats2d, lengths: Ints1d) -> Tuple[Floats2d, Ints1d]:
        """The first row of each sequence, and where sequences start.

        X: (T, ...). Returns (Y, starts_ends): Y (nSeq, ...), and int32 offsets
        [0, end of the first sequence, ...] of shape (nSeq + 1,), empty if there is
        no sequence. Raises ValueError for a sequence without rows.
        """
        counts = self._check_lengths("reduce_first", lengths, X.shape[0], minimum=1)
        if not len(counts):
            return X[:0], self.xp.zeros((0,), dtype="int32")
        offsets = numpy.concatenate([[0], numpy.cumsum(counts)]).astype("int32")
        starts_ends = self.xp.asarray(offsets)
        return X[starts_ends[:-1]], starts_ends

    def backprop_reduce_first(self, d_firsts: Floats2d, starts_ends: Ints1d) -> Floats2d:
        """Zeros, with the gradients at each sequence's first row.

        starts_ends: the offsets that reduce_first returned.
        """
        if len(starts_ends) < 2:
            _check_rows("backprop_reduce_first", d_firsts, 0)
            return self.xp.zeros((0, *d_firsts.shape[1:]), dtype=d_firsts.dtype)
        _check_rows("backprop_reduce_first", d_firsts, len(starts_ends) - 1)
        dX = self.xp.zeros((int(starts_ends[-1]), *d_firsts.shape[1:]), dtype=d_firsts.dtype)
        dX[starts_ends[:-1]] = d_firsts
        return dX

    def reduce_last(self, X: Floats2d, lengths: Ints1d) -> Tuple[Floats2d, Ints1d]:
        """The last row of each sequence, and the index of that row.

        X: (T, ...). Returns (Y, lasts): Y (nSeq, ...), lasts int64 of shape (nSeq,).
        Raises ValueError for a sequence without rows.
        """
        counts = self._check_lengths("reduce_last", lengths, X.shape[0], minimum=1)
        if not len(counts):
            return X[:0], self.xp.zeros((0,), dtype="int32")
        lasts = self.xp.asarray(numpy.cumsum(counts) - 1)
        return X[lasts], lasts

    def backprop_reduce_last(self, d_lasts: Floats2d, lasts: Ints1d) -> Floats2d:
        """Zeros, with the gradients at each sequence's last row.

        lasts: the indices that reduce_last returned.
        """
        _check_rows("backprop_reduce_last", d_lasts, len(lasts))
        if not len(lasts):
            return self.xp.zeros((0, *d_lasts.shape[1:]), dtype=d_lasts.dtype)
        dX = self.xp.zeros((int(lasts[-1]) + 1, *d_lasts.shape[1:]), dtype=d_lasts.dtype)
        dX[lasts] = d_lasts
        return dX

    def softmax_sequences(
        self, Xs: Floats2d, lengths: Ints1d, *, inplace: bool = False, axis: int = -1
    ) -> Floats2d:
        """Softmax over the rows of each sequence, for each column by itself.

        Xs: (T, O). axis is accepted for compatibility and has no effect.
        Returns a new array, or Xs itself if inplace.
        """
        if Xs.ndim >= 3:
            raise NotImplementedError(
                f"softmax_sequences expects a 2-d array, got shape {Xs.shape}."
            )
        Y = Xs if inplace else self.xp.empty_like(Xs, dtype=_float_dtype(Xs))
        start = 0
        for rows in self._sequences("softmax_sequences", Xs, lengths):
            if len(rows):
                scores = self.xp.exp(rows - rows.max(axis=0))
                Y[start : start + len(rows)] = scores / scores.sum(axis=0)
            start += len(rows)
        return Y

    def backprop_softmax_sequences(self, dY: Floats2d, Y: Floats2d, lengths: Ints1d) -> Floats2d:
        """Gradient of softmax_sequences at its value Y: a new array.

        Y * dY - Y * s, s being each sequence's column sums of Y * dY.
        """
        if dY.shape != Y.shape:
            raise ValueError(
                f"backprop_softmax_sequences: dY has shape {dY.shape}, but Y {Y.shape}."
            )
        dX = Y * dY
        sums = self.reduce_sum(dX, lengths)
        return dX - Y * self.backprop_reduce_sum(sums, lengths)

    # ---- checks and helpers --------------------------------------------------

    def _on_host(self, numbers) -> Any:
        """Lengths or indices as a numpy array or a list."""
        return numbers.get() if hasattr(numbers, "get") else numbers

    def _check_lengths(self, who: str, lengths, rows: Optional[int], minimum: int = 0):
        """lengths as a numpy int64 array, once they are known to fit."""
        counts = numpy.asarray(self._on_host(lengths))
        if counts.size == 0:
            counts = counts.reshape((0,)).astype("int64")
        if counts.ndim != 1 or counts.dtype.kind not in "iu":
            raise ValueError(
                f"{who}: lengths must be a 1-d array of integers, got {counts.dtype} of shape "
                f"{counts.shape}."
            )
        counts = counts.astype("int64")
        if counts.size and counts.min() < minimum:
            bound = f">= {minimum}" if minimum == 0 else "> 0"
            raise ValueError(
                f"{who}: all sequence lengths must be {bound}, got {int(counts.min())}."
            )
        if rows is not None and counts.sum() != rows:
            raise IndexError(
                f"{who}: lengths must sum up to the number of rows ({rows}), "
                f"but their sum is {int(counts.sum())}."
            )
        return counts

    def _check_gradient(self, who: str, dY, lengths, minimum: int = 0):
        counts = self._check_lengths(who, lengths, None, minimum)
        _check_rows(who, dY, len(counts))
        return counts

    def _sequences(self, who: str, X, lengths, minimum: int = 0) -> List[Any]:
        """The rows of each sequence: views of X."""
        counts = self._check_lengths(who, lengths, X.shape[0], minimum)
        ends = numpy.cumsum(counts)
        return [X[end - n : end] for n, end in zip(counts.tolist(), ends.tolist(), strict=True)]

    def _sequence_of_row(self, counts):
        return self.xp.asarray(numpy.repeat(numpy.arange(len(counts)), counts))


def _check_rows(who: str, gradient, expected: int) -> None:
    if gradient.shape[0] != expected:
        raise ValueError(
            f"{who}: the gradient has {gradient.shape[0]} rows, but there are {expected} sequences."
        )


def _check_window(who: str, X, nW: int) -> None:
    if not hasattr(X, "ndim"):
        raise TypeError(f"{who} expects a 2-d array, got {type(X).__name__}.")
    if X.ndim != 2:
        raise ValueError(f"{who} expects a 2-d array, got shape {X.shape}.")
    if not hasattr(nW, "__index__"):
        raise TypeError(f"{who}: the window nW must be an int, got {nW!r}.")
    if nW < 0:
        raise ValueError(f"{who}: the window nW must be >= 0, got {nW}.")


def _no_int(name: str, value) -> int:
    raise TypeError(f"flatten: {name} must be an int, got {value!r}.")


def _float_dtype(X):
    return X.dtype if X.dtype.kind == "f" else "float64"
