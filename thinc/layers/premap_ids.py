from typing import Any, Callable, Dict, Mapping, Optional, Tuple, Union

import numpy

from ..model import Model
from ..registration import registry
from ..types import Ints1d, Ints2d
from ..util import get_array_module
from .id_column import no_gradient, select_ids
from .input_errors import describe, is_array

InT = Union[Ints1d, Ints2d]
INT64 = numpy.iinfo("int64")
UINT64 = numpy.iinfo("uint64")
INT32 = numpy.iinfo("int32")


@registry.layers("premap_ids.v1")
def premap_ids(
    mapping_table: Mapping[int, int], default: int = 0, *, column: Optional[int] = None
) -> Model[InT, Ints2d]:
    """Look up a number for each id in a fixed table, all ids of a batch at once.

    mapping_table: from id (a 64-bit integer, with or without sign) to number (32 bits). It
        is copied, and not saved with the model: a new model has to be given it again.
    Input: integers of any dtype, (batch,); with column, (batch, columns), of which that
    column holds the ids; or a list of ints. Output: int32 (batch, 1), default for an
    id that is not in the table. backprop returns zeros like the input.
    Raises ValueError for other keys, values or input, OverflowError for keys or values out
    of range, TypeError without a table, IndexError if there is no such column.
    """
    return Model(
        "premap_ids",
        forward,
        attrs={"mapping_table": IdTable(mapping_table), "default": default, "column": column},
    )


def forward(model: Model[InT, Ints2d], X: InT, is_train: bool) -> Tuple[Ints2d, Callable]:
    attrs = model.attrs
    ids = X if is_array(X) else _list_as_ids(model, X)
    if ids.dtype.kind not in "iu":
        raise ValueError(f"expected an array of integer ids, got {describe(X)}")
    values = attrs["mapping_table"].lookup(select_ids(ids, attrs["column"]), attrs["default"])
    return values.reshape((values.shape[0], 1)), no_gradient(model.ops, ids)


def _list_as_ids(model: Model, X: Any) -> Any:
    if not isinstance(X, (list, tuple)):
        raise TypeError(f"expected an array of integer ids, got {describe(X)}")
    if len(X) == 0:
        return model.ops.alloc1i(0)
    # A list of ints of 64 bits with both signs has no integer dtype: numpy makes floats of it.
    return model.ops.asarray(X)


class IdTable:
    """An immutable table from 64-bit integers to 32-bit ones, for arrays of keys.

    Keys lie sorted in two arrays: those that fit int64, and unsigned ones above.
    """

    def __init__(self, entries: Mapping[int, int]):
        if not hasattr(entries, "items"):
            raise TypeError(
                f"premap_ids: expected mapping_table to be a dict, got {describe(entries)}"
            )
        table: Dict[int, int] = {}
        for key, value in entries.items():
            table[_checked_int("key", key, INT64.min, UINT64.max)] = _checked_int(
                "value", value, INT32.min, INT32.max
            )
        self._entries = table
        signed = sorted(key for key in table if key <= INT64.max)
        unsigned = sorted(key for key in table if key > INT64.max)
        self._signed = self._sorted_part(signed, "int64")
        self._unsigned = self._sorted_part(unsigned, "uint64")

    def _sorted_part(self, keys: list, dtype: str) -> Tuple[Any, Any]:
        values = [self._entries[key] for key in keys]
        return numpy.array(keys, dtype=dtype), numpy.array(values, dtype="int32")

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: int) -> bool:
        return key in self._entries

    def get(self, key: int, default: Optional[int] = None) -> Optional[int]:
        """The value of one key."""
        return self._entries.get(key, default)

    def lookup(self, ids: Ints1d, default: int) -> Ints1d:
        """The values of an array of ids, of any integer dtype: int32, on the ids' device."""
        xp = get_array_module(ids)
        values = xp.full(ids.shape, default, dtype="int32")
        if ids.dtype == numpy.uint64:
            # Where the ids are too large for int64, the cast makes them negative: others' keys.
            fits = ids <= INT64.max
            _fill_found(xp, values, *self._signed, ids.astype("int64"), fits)
            _fill_found(xp, values, *self._unsigned, ids, ~fits)
        else:
            _fill_found(xp, values, *self._signed, ids.astype("int64"), True)
        return values


def _fill_found(xp: Any, out: Any, keys: Any, values: Any, ids: Any, eligible: Any) -> None:
    """out[b] = values[k] wherever ids[b] == keys[k], as far as ids[b] is eligible."""
    if not len(keys):
        return
    keys, values = xp.asarray(keys), xp.asarray(values)
    places = xp.minimum(xp.searchsorted(keys, ids), len(keys) - 1)
    found = (keys[places] == ids) & eligible
    out[...] = xp.where(found, values[places], out)


def _checked_int(what: str, number: Any, low: int, high: int) -> int:
    if not isinstance(number, (int, numpy.integer)):
        raise ValueError(f"premap_ids: expected every {what} to be an int, got {number!r}")
    if not low <= number <= high:
        raise OverflowError(
            f"premap_ids: expected every {what} to lie between {low} and {high}, got {number}"
        )
    return int(number)
