from functools import partial
from typing import Any, Callable, Dict, Optional, Tuple, Union, cast

from ..initializers import uniform_init
from ..model import Model
from ..registration import registry
from ..types import Floats2d, Ints1d, Ints2d
from ..util import get_width
from .array_getitem import ints_getitem
from .chain import chain
from .dense import accumulate_grads
from .input_errors import check_array, describe
from .row_blocks import rowwise


@registry.layers("Embed.v1")
def Embed(
    nO: Optional[int] = None,
    nV: Optional[int] = None,
    *,
    column: Optional[int] = None,
    initializer: Optional[Callable] = None,
    dropout: Optional[float] = None,
) -> Model[Union[Ints1d, Ints2d], Floats2d]:
    """Look up a row of a table for each id: Y[b] = E[ids[b]].

    Input: integers of any dtype, shape (batch,), each in [0, nV); with `column`,
    shape (batch, columns), of which that column holds the ids.
    Output: floats of shape (batch, nO).
    Parameter: E (nV, nO), uniform in [-0.1, 0.1) by default.
    dropout, while training, drops whole columns, the same in all rows.
    backprop returns zeros (batch,): ids have no gradient.
    Raises IndexError for an id outside the table and for float ids, TypeError if
    the input is not an array.
    """
    attrs: Dict[str, Any] = {}
    if dropout is not None:
        attrs["dropout_rate"] = dropout
    if column is None:
        attrs["column"] = None
    model: Model = Model(
        "embed",
        forward,
        init=partial(init, initializer=uniform_init if initializer is None else initializer),
        attrs=attrs,
        dims={"nO": nO, "nV": nV},
        params={"E": None},
    )
    return model if column is None else embed_column(model, column)


def embed_column(model: Model, column: int) -> Model:
    """The embedding, fed with one column of a table of ids."""
    selected: Model = chain(ints_getitem((slice(0, None), column)), model)
    selected.attrs["column"] = column
    return selected


@rowwise
def forward(
    model: Model[Ints1d, Floats2d], ids: Ints1d, is_train: bool
) -> Tuple[Floats2d, Callable]:
    ops = model.ops
    E = model.get_param("E")
    ids = usable_ids(ops, ids)
    rows = ids.reshape((-1, 1))
    # A sum of one row each: unlike E[ids], negative ids are refused, on every device.
    Y = ops.gather_add(E, rows).reshape(ids.shape + E.shape[1:])
    mask = column_mask(model, is_train)
    if mask is not None:
        Y *= mask

    def backprop(dY: Floats2d) -> Ints1d:
        if mask is not None:
            dY = dY * mask
        accumulate_row_grad(model, "E", dY.reshape((rows.shape[0], E.shape[1])), rows)
        return cast(Ints1d, ops.alloc((ids.shape[0],), dtype="int32"))

    return Y, backprop


def init(
    model: Model[Ints1d, Floats2d],
    X: Optional[Ints1d] = None,
    Y: Optional[Floats2d] = None,
    *,
    initializer: Callable,
) -> None:
    """nO from Y; the number of rows has to be given, since ids seen are no bound."""
    if Y is not None:
        model.set_dim("nO", get_width(Y))
    nV, nO = model.get_dim("nV"), model.get_dim("nO")
    model.set_param("E", initializer(model.ops, (nV, nO)))


def usable_ids(ops, ids: Any) -> Any:
    """The ids; no ids of unknown dtype as integers; an error for what is no array of ids."""
    check_array(ids, "an array of integer ids")
    if ids.dtype.kind in "iu":
        return ids
    if ids.size == 0:
        return ops.alloc((ids.shape[0],), dtype="int32")
    raise IndexError(f"expected integer ids, got {describe(ids)}")


def column_mask(model: Model, is_train: bool) -> Any:
    """While training, and if the layer has a dropout rate: which of the nO columns stay."""
    if is_train:
        rate = model.attrs.get("dropout_rate")
        if rate:
            return model.ops.get_dropout_mask((model.get_dim("nO"),), rate)
    return None


def accumulate_row_grad(model: Model, name: str, dY: Floats2d, rows: Ints2d) -> None:
    """gradient[rows[b, k]] += dY[b], repeats included. dY: (B, O), rows: (B, K)."""
    accumulate_grads(model, (name,), lambda grad: model.ops.backprop_gather_add(grad, dY, rows))
