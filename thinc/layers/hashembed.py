from functools import partial
from typing import Any, Callable, Dict, Optional, Sequence, Tuple, Union, cast

from ..freezing import Prediction
from ..initializers import uniform_init
from ..model import Model
from ..predictions import predicted_by
from ..registration import registry
from ..types import Floats2d, Ints1d, Ints2d
from .array_getitem import forward as take_items
from .embed import accumulate_row_grad, column_mask, embed_column
from .input_errors import check_array, describe
from .row_blocks import rowwise


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


def frozen_hash_columns(layers: Sequence[Model]) -> Optional[Prediction]:
    """One function for hash embeddings of one column each, all frozen, side by side; None if
    the layers are something else."""
    parts = [list(layer.layers) for layer in layers]
    if not parts or any(
        [node._func for node in nodes] != [take_items, forward] or not nodes[1].is_frozen
        for nodes in parts
    ):
        return None
    indices = [items.attrs["index"] for items, _ in parts]
    if any(
        not isinstance(index, tuple)
        or index[:-1] != (slice(0, None),)
        or not isinstance(index[-1], int)
        for index in indices
    ):
        return None
    return layers[0].ops.frozen_hash_embed(
        [embed.get_param("E") for _, embed in parts],
        [index[-1] for index in indices],
        [embed.attrs["seed"] for _, embed in parts],
    )
