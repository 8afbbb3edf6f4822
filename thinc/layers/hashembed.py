from functools import partial
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union, cast

from ..initializers import uniform_init
from ..model import Model
from ..predictions import predicted_by
from ..registration import registry
from ..types import Floats2d, Ints1d, Ints2d
from .array_getitem import TupleIndex
from .array_getitem import forward as take_items
from .chain import forward as run_chain
from .embed import accumulate_row_grad, column_mask, embed_column
from .input_errors import check_array, describe
from .row_blocks import rowwise

ALL_ROWS = slice(0, None)


@registry.layers("HashEmbed.v1")
def HashEmbed(
    nO: int,
    nV: int,
    *,
    seed: Optional[int] = None,
    column: Optional[int] = None,
    initializer: Optional[Callable] = None,
    dropout: Optional[float] = None,
) -> Model[Union[Ints1d, Ints2d], Floats2d]:
    """An embedding for any id in a table of fixed size: each id is the sum of four rows.

    The rows are the four words of the id's 128-bit MurmurHash3 (x64), modulo nV;
    ids that share one row will rarely share all four. From Svenstrup, Hansen and
    Winther, 'Hash Embeddings for Efficient Word Representations', 2017.
    Input: ids of shape (batch,), taken as uint64 (negative ones wrap); with `column`,
    shape (batch, columns), of which that column holds the ids.
    Output: floats of shape (batch, nO).
    Parameter: E (nV, nO), uniform in [-0.1, 0.1) by default.
    seed: 0 to 2**32 - 1; None takes the layer's id. It is saved with the model.
    dropout, while training, drops whole columns, the same in all rows.
    backprop returns zeros of the input's shape: ids have no gradient.
    Raises ValueError if the ids are not one-dimensional, OverflowError for a seed
    out of range, TypeError if the input is not an array.
    """
    attrs: Dict[str, Any] = {"column": column, "seed": seed}
    if dropout is not None:
        attrs["dropout_rate"] = dropout
    model: Model = Model(
        "hashembed",
        forward,
        init=partial(init, initializer=uniform_init if initializer is None else initializer),
        dims={"nO": nO, "nV": nV, "nI": None},
        params={"E": None},
        attrs=attrs,
    )
    if seed is None:
        model.attrs["seed"] = model.id
    return model if column is None else embed_column(model, column)


def _predict(model: Model, ids: Any) -> Floats2d:
    return model.ops.hash_embed(model.get_param("E"), _usable(ids), model.attrs["seed"])[0]


@predicted_by(_predict)
@rowwise
def forward(
    model: Model[Ints1d, Floats2d], ids: Ints1d, is_train: bool
) -> Tuple[Floats2d, Callable]:
    ops = model.ops
    E = model.get_param("E")
    ids = _usable(ids)
    Y, rows = ops.hash_embed(E, ids, model.attrs["seed"])
    mask = column_mask(model, is_train)
    if mask is not None:
        Y *= mask
    shape = ids.shape

    def backprop(dY: Floats2d) -> Ints1d:
        if mask is not None:
            dY = dY * mask
        accumulate_row_grad(model, "E", dY, rows)
        return cast(Ints1d, ops.alloc(shape, dtype="int32"))

    return Y, backprop


def init(
    model: Model[Ints1d, Floats2d],
    X: Optional[Ints1d] = None,
    Y: Optional[Floats2d] = None,
    *,
    initializer: Callable,
) -> None:
    model.set_param("E", initializer(model.ops, (model.get_dim("nV"), model.get_dim("nO"))))


def _usable(ids: Any) -> Any:
    check_array(ids, "an array of ids of shape (batch,)")
    if ids.ndim == 1:
        return ids
    if ids.size == 0:
        return ids.reshape(-1)
    raise ValueError(
        f"expected ids of shape (batch,), got {describe(ids)}: choose one with `column`"
    )


def hash_columns(layers: Sequence[Model]) -> Optional[Tuple[List, List, List]]:
    """The tables, columns and seeds of layers that are all hash embeddings of one column; None
    if one is something else."""
    tables, columns, seeds = [], [], []
    for layer in layers:
        nodes = layer.layers
        if len(nodes) != 2 or layer._func is not run_chain or nodes[1]._func is not forward:
            return None
        index = nodes[0].attrs.get("index")
        if nodes[0]._func is not take_items or type(index) is not TupleIndex or len(index) != 2:
            return None
        if index[0] != ALL_ROWS or type(index[1]) is not int:
            return None
        tables.append(nodes[1].get_param("E"))
        columns.append(index[1])
        seeds.append(nodes[1].attrs["seed"])
    return tables, columns, seeds
