"""Cutting sequences of data into batches."""

from __future__ import annotations

from typing import Any, Iterable, Iterator, List, Sequence, Union

import numpy

from ..types import SizedGenerator

Sizes = Union[int, Iterator[int], Sequence[int]]


class BatchMethods:
    """The part of Ops that yields minibatches."""

    xp: Any
    as_contig: Any
    asarray: Any

    def minibatch(
        self, size: Sizes, sequence: Any, *, shuffle: bool = False, buffer: int = 1
    ) -> SizedGenerator:
        """Batches of sequence: a list, tuple, array, Ragged, Padded or Pairs.

        size: rows per batch, an int, or a sequence or iterator of ints whose
            items are used in turn. The last batch may be shorter.
        shuffle: every iteration visits the items in a new order.
        buffer: how many batches are made before the first of them is yielded.
        Returns a SizedGenerator: its len() is the number of batches, and it may
        be iterated again (with the same sizes). Batches of arrays are copies.

        Raises ValueError for a sequence without length, for a size below 1 and
        for sizes that end before the sequence does.
        """
        groups = self._batch_indices(size, [sequence], shuffle)
        return SizedGenerator(
            lambda: _buffered((self._take(sequence, i) for i in groups()), buffer), len(groups)
        )

    def multibatch(
        self, size: Sizes, sequence: Any, *others: Any, shuffle: bool = False, buffer: int = 1
    ) -> SizedGenerator:
        """Batches of several sequences in step: each item is a list of batches.

        The first sequence decides the number of items; the others may be longer,
        and raise IndexError when they turn out shorter. Otherwise as minibatch.
        """
        sequences = [sequence, *others]
        groups = self._batch_indices(size, sequences, shuffle)
        return SizedGenerator(
            lambda: _buffered(([self._take(s, i) for s in sequences] for i in groups()), buffer),
            len(groups),
        )

    def prefetch(self, batches: Iterable[Any], *, ahead: int = 2) -> Iterator[Any]:
        """The batches, one after another, with all numpy arrays in them moved to the device.

        batches: arrays, Ragged, Padded, Pairs, or lists, tuples and dicts of these.
        ahead: how many batches are on their way while one is used. They are copied by way
            of page-locked memory, on a stream of their own, while the device computes.
        On the CPU the batches come as they are. Raises ValueError for ahead below 1.
        """
        if ahead < 1:
            raise ValueError(f"prefetch: ahead must be at least 1, got {ahead}.")
        yield from batches

    def _batch_indices(self, size, sequences, shuffle: bool) -> _BatchIndices:
        for sequence in sequences:
            if not hasattr(sequence, "__len__"):
                raise ValueError(
                    f"Can't make batches of {type(sequence)}: it has no length. "
                    "Convert it to a list or array first."
                )
        length = len(sequences[0])
        return _BatchIndices(_batch_sizes(size, length), length, shuffle)

    def _take(self, sequence, indices):
        if isinstance(sequence, list):
            return [sequence[i] for i in indices.tolist()]
        if isinstance(sequence, tuple):
            return tuple(sequence[i] for i in indices.tolist())
        if type(sequence) is numpy.ndarray and self.xp is numpy:
            return sequence.take(indices, axis=0)  # half the time of sequence[indices]
        batch = sequence[indices]
        if isinstance(batch, self.xp.ndarray):
            return self.as_contig(batch)
        if isinstance(batch, numpy.ndarray) or hasattr(batch, "__cuda_array_interface__"):
            return self.as_contig(self.asarray(batch))
        return batch


class _BatchIndices:
    """Called: an iterator over the index array of each batch."""

    def __init__(self, sizes: List[int], length: int, shuffle: bool):
        self.sizes = sizes
        self.shuffle = shuffle
        self.order = numpy.arange(length)

    def __len__(self) -> int:
        return len(self.sizes)

    def __call__(self):
        if self.shuffle:
            numpy.random.shuffle(self.order)
        start = 0
        for size in self.sizes:
            yield self.order[start : start + size]
            start += size


def _batch_sizes(size: Sizes, length: int) -> List[int]:
    """As many sizes as are needed to cover length items."""
    if isinstance(size, (int, numpy.integer)):
        size = int(size)
        if size < 1:
            raise ValueError(f"A batch size must be at least 1, got {size}.")
        return [size] * -(-length // size)
    if isinstance(size, (str, bytes, dict)) or not hasattr(size, "__iter__"):
        raise TypeError(f"A batch size is an int or an iterable of ints, got {type(size)}.")
    source = iter(size)
    sizes: List[int] = []
    covered = 0
    while covered < length:
        try:
            next_size = int(next(source))
        except StopIteration:
            raise ValueError(f"The batch sizes ended after {covered} of {length} items.") from None
        if next_size < 1:
            raise ValueError(f"A batch size must be at least 1, got {next_size}.")
        sizes.append(next_size)
        covered += next_size
    return sizes


def _buffered(batches, buffer: int):
    if buffer <= 1:
        yield from batches
        return
    waiting: List[Any] = []
    for batch in batches:
        waiting.append(batch)
        if len(waiting) >= buffer:
            yield from waiting
            waiting = []
    yield from waiting
