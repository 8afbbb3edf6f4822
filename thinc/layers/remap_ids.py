from typing import Any, Callable, Dict, Hashable, Optional, Sequence, Tuple, Union

from ..model import Model
from ..registration import registry
from ..types import DTypes, Ints1d, Ints2d
from .id_column import no_gradient, select_ids
from .input_errors import is_array

InT = Union[Sequence[Hashable], Ints1d, Ints2d]


@registry.layers("remap_ids.v1")
def remap_ids(
    mapping_table: Dict[Any, int] = {}, default: int = 0, dtype: DTypes = "i"
) -> Model[Sequence[Hashable], Ints2d]:
    """Look up a number for each item: Y[b, 0] = mapping_table.get(X[b], default).

    Input: any iterable of hashable items. Output: integers of the dtype, (items, 1).
    The table is copied into attrs, and saved with the model. backprop returns [].
    Raises TypeError for items that cannot be looked up.
    """
    attrs = {"mapping_table": dict(mapping_table), "dtype": dtype, "default": default}
    return Model("remap_ids", forward, attrs=attrs)


def forward(
    model: Model[Sequence[Hashable], Ints2d], inputs: Sequence[Hashable], is_train: bool
) -> Tuple[Ints2d, Callable]:
    attrs = model.attrs
    table, default = attrs["mapping_table"], attrs["default"]
    values = [table.get(item, default) for item in _host_items(inputs)]
    Y = model.ops.asarray(values, dtype=attrs["dtype"]).reshape((len(values), 1))
    return Y, _no_items


@registry.layers("remap_ids.v2")
def remap_ids_v2(
    mapping_table: Optional[Union[Dict[int, int], Dict[str, int]]] = None,
    default: int = 0,
    *,
    column: Optional[int] = None,
) -> Model[InT, Ints2d]:
    """Look up a number for each id: Y[b, 0] = mapping_table.get(X[b], default).

    Input: integers (batch,); with column, (batch, columns), of which that column holds the
    ids; or a sequence of hashable items. Output: int32 (batch, 1).
    mapping_table, default and column are attrs and may be changed; they are saved with the
    model. The table may be set later: ValueError if there is none when the layer runs.
    backprop returns zeros like the input if that is an array, else [].
    Raises ValueError for a 2-d array without column, IndexError if there is no such column.
    """
    return Model(
        "remap_ids",
        forward_v2,
        attrs={"mapping_table": mapping_table, "default": default, "column": column},
    )


def forward_v2(
    model: Model[InT, Ints2d], inputs: InT, is_train: bool
) -> Tuple[Ints2d, Callable]:
    attrs = model.attrs
    table, default = attrs["mapping_table"], attrs["default"]
    if table is None:
        raise ValueError("'mapping_table' (an attr) is not set: expected a dict from id to number")
    if is_array(inputs):
        items, backprop = select_ids(inputs, attrs["column"]), no_gradient(model.ops, inputs)
    else:
        items, backprop = inputs, _no_items
    values = [table.get(item, default) for item in _host_items(items)]
    return model.ops.asarray2i(values).reshape((len(values), 1)), backprop


def _host_items(items: Any) -> Any:
    """What to look up: for an array of one dimension, its elements as Python numbers."""
    if is_array(items) and items.ndim == 1:
        return items.tolist()
    return items


def _no_items(dY: Any) -> list:
    return []
