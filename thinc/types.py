"""Data containers (Ragged, Padded, Pairs ...) and the names of array types."""

import sys
from abc import abstractmethod
from collections.abc import Container as _Container
from collections.abc import Iterator as _Iterator
from collections.abc import Sized as _Sized
from dataclasses import dataclass, field
from typing import (
    Any,
    Callable,
    Dict,
    Generic,
    Iterable,
    Iterator,
    List,
    Literal,
    Optional,
    Protocol,
    Sequence,
    Tuple,
    TypeVar,
    Union,
)

import numpy

from .array_validation import ValidatedArray
from .array_validation import validate_array as validate_array

# ---- aliases -------------------------------------------------------------------

Xp = Union["numpy", "cupy"]  # type: ignore[name-defined, valid-type]  # noqa: F821
Shape = Tuple[int, ...]
DTypes = Literal["f", "i", "float16", "float32", "float64", "int32", "int64", "uint32", "uint64"]
DTypesFloat = Literal["f", "float32", "float16", "float64"]
DTypesInt = Literal["i", "int32", "int64", "uint32", "uint64"]
DeviceTypes = Literal["cpu", "gpu", "tpu"]

Tru = Literal[True]
Fal = Literal[False]
OneAx = Union[int, Tuple[int]]
TwoAx = Tuple[int, int]
ThreeAx = Tuple[int, int, int]
FourAx = Tuple[int, int, int, int]

ArrayT = TypeVar("ArrayT")
SelfT = TypeVar("SelfT")

# The plugin thinc.mypy derives a model's type from its layers' where a function
# is declared to return Model[..., one of these].
XY_YZ_OutT = TypeVar("XY_YZ_OutT")
XY_XY_OutT = TypeVar("XY_XY_OutT")

_DecoratedT = TypeVar("_DecoratedT")
_PairT = TypeVar("_PairT")


class Decorator(Protocol):
    """A function that makes a decorator from a name, as registries do."""

    def __call__(self, name: str) -> Callable[[_DecoratedT], _DecoratedT]: ...


def get_array_module(obj: Any) -> Any:
    """cupy for cupy arrays, otherwise numpy."""
    cupy = sys.modules.get("cupy")
    if cupy is not None and isinstance(obj, getattr(cupy, "ndarray", ())):
        return cupy
    return numpy


# ---- array annotations -----------------------------------------------------------


class _Array(ValidatedArray, _Sized, _Container):
    """A numpy or cupy array: for annotations and validation, not for isinstance.

    The members are those that both libraries share.
    """

    T: Any
    base: Any
    dtype: Any
    flags: Any
    itemsize: int
    nbytes: int
    ndim: int
    shape: Any
    size: int
    strides: Tuple[int, ...]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __contains__(self, key: Any) -> bool: ...

    # Not declared one by one: what arithmetic returns depends on both operands.
    def __getattr__(self, name: str) -> Any: ...

    def __iter__(self) -> Iterator[Any]: ...  # type: ignore[empty-body]
    def __getitem__(self, key: Any) -> Any: ...
    def __setitem__(self, key: Any, value: Any) -> None: ...
    def __bool__(self) -> bool: ...  # type: ignore[empty-body]
    def __int__(self) -> int: ...  # type: ignore[empty-body]
    def __float__(self) -> float: ...  # type: ignore[empty-body]
    def __add__(self: SelfT, other: Any) -> SelfT: ...  # type: ignore[empty-body]
    def __sub__(self: SelfT, other: Any) -> SelfT: ...  # type: ignore[empty-body]
    def __mul__(self: SelfT, other: Any) -> SelfT: ...  # type: ignore[empty-body]
    def __pow__(self: SelfT, other: Any) -> SelfT: ...  # type: ignore[empty-body]
    def __matmul__(self: SelfT, other: Any) -> SelfT: ...  # type: ignore[empty-body]
    def __truediv__(self, other: Any) -> Any: ...
    def __floordiv__(self: SelfT, other: Any) -> SelfT: ...  # type: ignore[empty-body]
    def __mod__(self: SelfT, other: Any) -> SelfT: ...  # type: ignore[empty-body]
    def __radd__(self: SelfT, other: Any) -> SelfT: ...  # type: ignore[empty-body]
    def __rsub__(self: SelfT, other: Any) -> SelfT: ...  # type: ignore[empty-body]
    def __rmul__(self: SelfT, other: Any) -> SelfT: ...  # type: ignore[empty-body]
    def __rtruediv__(self, other: Any) -> Any: ...
    def __neg__(self: SelfT) -> SelfT: ...  # type: ignore[empty-body]
    def __invert__(self: SelfT) -> SelfT: ...  # type: ignore[empty-body]
    def __and__(self: SelfT, other: Any) -> SelfT: ...  # type: ignore[empty-body]
    def __or__(self: SelfT, other: Any) -> SelfT: ...  # type: ignore[empty-body]
    def __lt__(self, other: Any) -> Any: ...
    def __le__(self, other: Any) -> Any: ...
    def __gt__(self, other: Any) -> Any: ...
    def __ge__(self, other: Any) -> Any: ...


class _Floats(_Array):
    _dtype = "f"


class _Ints(_Array):
    _dtype = "i"


class _Array1d(_Array):
    _ndim = 1
    shape: Tuple[int]


class _Array2d(_Array):
    _ndim = 2
    shape: Tuple[int, int]


class _Array3d(_Array):
    _ndim = 3
    shape: Tuple[int, int, int]


class _Array4d(_Array):
    _ndim = 4
    shape: Tuple[int, int, int, int]


class Floats1d(_Array1d, _Floats):
    """A float array of shape (n,)."""


class Floats2d(_Array2d, _Floats):
    """A float array of shape (n, m)."""


class Floats3d(_Array3d, _Floats):
    """A float array with three dimensions."""


class Floats4d(_Array4d, _Floats):
    """A float array with four dimensions."""


class Ints1d(_Array1d, _Ints):
    """An integer array of shape (n,)."""


class Ints2d(_Array2d, _Ints):
    """An integer array of shape (n, m)."""


class Ints3d(_Array3d, _Ints):
    """An integer array with three dimensions."""


class Ints4d(_Array4d, _Ints):
    """An integer array with four dimensions."""


Array1d = Union[Floats1d, Ints1d]
Array2d = Union[Floats2d, Ints2d]
Array3d = Union[Floats3d, Ints3d]
Array4d = Union[Floats4d, Ints4d]
FloatsXd = Union[Floats1d, Floats2d, Floats3d, Floats4d]
IntsXd = Union[Ints1d, Ints2d, Ints3d, Ints4d]
ArrayXd = Union[FloatsXd, IntsXd]

List1d = Union[List[Floats1d], List[Ints1d]]
List2d = Union[List[Floats2d], List[Ints2d]]
List3d = Union[List[Floats3d], List[Ints3d]]
List4d = Union[List[Floats4d], List[Ints4d]]
ListXd = Union[List1d, List2d, List3d, List4d]
Slicish = Union[slice, List[int], ArrayXd]

Array1dT = TypeVar("Array1dT", bound=Array1d)
FloatsXdT = TypeVar("FloatsXdT", Floats1d, Floats2d, Floats3d, Floats4d)


# ---- iterators -------------------------------------------------------------------


class Generator(_Iterator):
    """Annotation for anything that can be iterated over."""

    @classmethod
    def __get_validators__(cls):
        yield cls.validate

    @classmethod
    def validate(cls, v: Any) -> Any:
        """v, if it is iterable. Raises TypeError if not."""
        if not hasattr(v, "__iter__") and not hasattr(v, "__next__"):
            raise TypeError(f"not a valid iterator (got {type(v)})")
        return v


@dataclass
class SizedGenerator:
    """A generator that knows its length and starts anew each time it is iterated.

    get_items: called without arguments for each iteration. length: what len() says.
    """

    get_items: Callable[[], Iterator[Any]]
    length: int

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Any]:
        yield from self.get_items()


# ---- containers ------------------------------------------------------------------


@dataclass(init=False, eq=False)
class Ragged:
    """Sequences of different lengths, one after another in one array.

    data: all rows, (sum of lengths, width). An input of another rank is reshaped;
        dataXd has its shape back.
    lengths: integers (nSeq,), the rows of each sequence.
    len() is the number of sequences; indexing selects sequences.
    """

    data: Array2d
    lengths: Ints1d
    data_shape: Tuple[int, ...] = field(init=False)
    starts_ends: Optional[Ints1d] = field(init=False, default=None)

    def __init__(self, data: ArrayXd, lengths: Ints1d) -> None:
        xp = get_array_module(data)
        rows, *trailing = data.shape
        width = 1
        for size in trailing:
            width *= size
        self.data = data.reshape((rows, width))  # type: ignore[assignment]
        self.lengths = lengths if hasattr(lengths, "shape") else xp.asarray(lengths, dtype="int32")
        self.data_shape = (-1, *trailing)
        self.starts_ends = None

    @property
    def dataXd(self) -> ArrayXd:
        """data in the shape it was given in: a view."""
        return self.data.reshape((self.data.shape[0], *self.data_shape[1:]))

    def __len__(self) -> int:
        return self.lengths.shape[0]

    def __eq__(self, other: Any) -> bool:
        if not isinstance(other, Ragged):
            return NotImplemented
        return (
            self.data_shape[1:] == other.data_shape[1:]
            and _equal(self.data, other.data)
            and _equal(self.lengths, other.lengths)
        )

    __hash__ = None  # type: ignore[assignment]

    def __getitem__(self, index: Any) -> "Ragged":
        """The selected sequences: an int, slice, list or array of ints, or a mask.

        An int or a slice of step 1 shares memory, everything else copies. Raises
        IndexError for a sequence that does not exist.
        """
        if isinstance(index, tuple):
            raise IndexError("Ragged arrays do not support 2d indexing.")
        selected = _selected_items(index, len(self))
        # On the host, which often knows the lengths of what is on a GPU.
        offsets = numpy.concatenate([[0], numpy.cumsum(_host(self.lengths), dtype="int64")])
        xp = get_array_module(self.data)
        if isinstance(selected, slice):
            rows: Any = slice(int(offsets[selected.start]), int(offsets[selected.stop]))
            lengths = self.lengths[selected]
        else:
            runs = [numpy.arange(offsets[i], offsets[i + 1]) for i in selected]
            rows = xp.asarray(numpy.concatenate([numpy.zeros(0, dtype="int64"), *runs]))
            lengths = self.lengths[xp.asarray(selected)]
        result = Ragged(self.data[rows], lengths)
        result.data_shape = self.data_shape
        return result

    def __iter__(self) -> Iterator["Ragged"]:
        for i in range(len(self)):
            yield self[i]

    def _get_starts_ends(self) -> Ints1d:
        """Offsets (nSeq + 1,) int32: sequence i has the rows offsets[i] ... offsets[i + 1]."""
        # Computed anew each time, because lengths may have been changed since.
        xp = get_array_module(self.lengths)
        offsets = xp.zeros((len(self) + 1,), dtype="int32")
        offsets[1:] = self.lengths.cumsum()
        self.starts_ends = offsets
        return offsets

    def _get_starts(self) -> Ints1d:
        return self._get_starts_ends()[:-1]

    def _get_ends(self) -> Ints1d:
        return self._get_starts_ends()[1:]


@dataclass(eq=False)
class Padded:
    """Sequences side by side, the longest first, filled up to one length.

    data: (time, batch, ...). size_at_t: (time,) int32, how many sequences are longer
    than t. lengths: (batch,) int32, decreasing. indices: (batch,) int32, the place
    of each sequence in the list that the batch was made from.
    len() is the number of sequences; indexing selects along the batch.
    """

    data: Array3d
    size_at_t: Ints1d
    lengths: Ints1d
    indices: Ints1d

    def copy(self) -> "Padded":
        """The same with copies of all arrays."""
        return Padded(
            self.data.copy(), self.size_at_t.copy(), self.lengths.copy(), self.indices.copy()
        )

    def __len__(self) -> int:
        return self.lengths.shape[0]

    def __eq__(self, other: Any) -> bool:
        if not isinstance(other, Padded):
            return NotImplemented
        return (
            _equal(self.data, other.data)
            and _equal(self.size_at_t, other.size_at_t)
            and _equal(self.lengths, other.lengths)
            and _equal(self.indices, other.indices)
        )

    __hash__ = None  # type: ignore[assignment]

    def __getitem__(self, index: Any) -> "Padded":
        """The selected sequences, still the longest first, with all time steps.

        index: an int, slice, list or array of ints, or a mask. An int or a slice of
        step 1 shares memory. Raises IndexError for a sequence that does not exist.
        """
        if isinstance(index, tuple):
            raise IndexError("Padded arrays do not support 2d indexing.")
        selected = _selected_items(index, len(self))
        xp = get_array_module(self.data)
        if not isinstance(selected, slice):
            selected = xp.asarray(numpy.sort(selected))
        lengths = self.lengths[selected]
        steps = xp.arange(self.data.shape[0])
        size_at_t = (lengths[None, :] > steps[:, None]).sum(axis=1).astype("int32")
        return Padded(self.data[:, selected], size_at_t, lengths, self.indices[selected])

    def __iter__(self) -> Iterator["Padded"]:
        for i in range(len(self)):
            yield self[i]


def _selected_items(index: Any, length: int) -> Any:
    """index into `length` items as a slice of step 1, or an array of ints >= 0 (host)."""
    if isinstance(index, slice):
        start, stop, step = index.indices(length)
        if step == 1:
            return slice(start, max(start, stop))
        return numpy.arange(start, stop, step)
    if isinstance(index, (int, numpy.integer)) and not isinstance(index, (bool, numpy.bool_)):
        i = int(index)
        if not -length <= i < length:
            raise IndexError(f"There is no sequence {i}: there are {length}.")
        i %= length
        return slice(i, i + 1)
    chosen = numpy.asarray(_host(index))
    if chosen.size == 0 and chosen.dtype.kind == "f":
        chosen = chosen.astype("int64")
    if chosen.ndim != 1 or chosen.dtype.kind not in "iub":
        raise IndexError(
            f"Sequences are selected by ints, slices, 1-d int arrays or masks, not {index!r}."
        )
    if chosen.dtype.kind == "b":
        if len(chosen) != length:
            raise IndexError(f"A mask of {len(chosen)} items can't select from {length} sequences.")
        return chosen.nonzero()[0]
    chosen = chosen.astype("int64")
    if chosen.size and (chosen.min() < -length or chosen.max() >= length):
        raise IndexError(f"An index is outside the {length} sequences: {index!r}.")
    return numpy.where(chosen < 0, chosen + length, chosen)


def _host(array: Any) -> Any:
    """A cupy array as a numpy array, everything else as it is."""
    if get_array_module(array) is numpy:
        return array
    from .backends.device_facts import facts_of

    known = facts_of(array).host
    return array.get() if known is None else known


def _equal(a: Any, b: Any) -> bool:
    return bool(get_array_module(a).array_equal(a, b))


@dataclass
class Pairs(Generic[_PairT]):
    """Two sequences that are indexed together: pairs[i] is Pairs(one[i], two[i])."""

    one: Sequence[_PairT]
    two: Sequence[_PairT]

    def __getitem__(self, index: Any) -> "Pairs[_PairT]":
        return Pairs(self.one[index], self.two[index])  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self.one)


@dataclass
class ArgsKwargs:
    """The arguments of a call: positional args and keyword kwargs."""

    args: Tuple[Any, ...]
    kwargs: Dict[str, Any]

    @classmethod
    def from_items(cls, items: Iterable[Tuple[Union[int, str], Any]]) -> "ArgsKwargs":
        """From (key, value) pairs: int keys are positional, in the order they come in."""
        args = []
        kwargs: Dict[str, Any] = {}
        for key, value in items:
            if isinstance(key, int):
                args.append(value)
            else:
                kwargs[key] = value
        return cls(args=tuple(args), kwargs=kwargs)

    def keys(self) -> Iterator[Union[int, str]]:
        """Positions from 0, then keyword names."""
        yield from range(len(self.args))
        yield from self.kwargs.keys()

    def values(self) -> Iterator[Any]:
        """The positional arguments, then those of the keywords."""
        yield from self.args
        yield from self.kwargs.values()

    def items(self) -> Iterator[Tuple[Union[int, str], Any]]:
        """Pairs of keys() and values()."""
        yield from enumerate(self.args)
        yield from self.kwargs.items()


@dataclass
class Unserializable:
    """Wraps an attribute's value that should stay out of a saved model."""

    obj: Any


Batchable = Union[Pairs, Ragged, Padded, ArrayXd, List, Tuple]
