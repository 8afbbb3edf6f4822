from typing import Any, Callable, Tuple, TypeVar, Union, cast

import numpy

from ..model import Model
from ..predictions import predicted_by
from ..registration import registry
from ..types import Floats2d, Ragged
from .inner_rows import TooFewRows, inner_rows_by
from .input_errors import describe, is_array
from .row_blocks import reaches
from .sequence_conversion import ragged_maker

InT = TypeVar("InT", bound=Union[Floats2d, Ragged])


@registry.layers("expand_window.v1")
def expand_window(window_size: int = 1) -> Model[InT, InT]:
    """Join each row with its neighbours: row i becomes rows i - k ... i + k, side by side.

    k is window_size, kept in attrs. Rows outside the sequence count as zeros.
    Input: an array (rows, width), which is one sequence, or a Ragged of sequences; its
    data counts as 2-d. Output: the same kind, (2 k + 1) width columns, the input's dtype;
    an array may be a view that cannot be written to, as its rows share memory.
    Raises TypeError for another kind of input, ValueError for an array that is not 2-d,
    IndexError if a Ragged's lengths do not sum to its rows.
    """
    return Model("expand_window", forward, attrs={"window_size": window_size})


def _predict(model: Model, X: Any) -> Any:
    if type(X) is numpy.ndarray:
        return model.ops.sliding_windows(cast(Floats2d, X), model.attrs["window_size"])
    return forward(model, X, False)[0]


def _inner_rows(model: Model, X: Any) -> Any:
    window_size = model.attrs["window_size"]
    if X.shape[0] < 2 * window_size:
        raise TooFewRows(f"no row of {X.shape[0]} has {window_size} on each side")
    return model.ops.sliding_windows(X, window_size, inner=True)


@inner_rows_by(_inner_rows)
@predicted_by(_predict)
@reaches(lambda model: model.attrs["window_size"])
def forward(model: Model[InT, InT], X: InT, is_train: bool) -> Tuple[InT, Callable[[InT], InT]]:
    window_size = model.attrs["window_size"]
    if isinstance(X, Ragged):
        return _expand_ragged(model.ops, X, window_size)
    if not is_array(X):
        raise TypeError(f"expected a 2-d array or a Ragged, got {describe(X)}")
    return _expand_array(model.ops, X, window_size)


def _expand_array(ops, X: Any, window_size: int) -> Tuple[Any, Callable]:
    def backprop(dY: Any) -> Any:
        return ops.backprop_seq2col(dY, window_size)

    return ops.sliding_windows(X, window_size), backprop


def _expand_ragged(ops, Xr: Ragged, window_size: int) -> Tuple[Any, Callable]:
    lengths = Xr.lengths
    make_gradient = ragged_maker(Xr)

    def backprop(dYr: Ragged) -> Ragged:
        return make_gradient(ops.backprop_seq2col(dYr.data, window_size, lengths=lengths))

    return Ragged(ops.seq2col(Xr.data, window_size, lengths=lengths), lengths), backprop
