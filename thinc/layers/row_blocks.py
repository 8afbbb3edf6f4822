"""Predictions of many rows, a block of them at a time.

Layer after layer, all rows of every layer pass through memory, and arrays of many megabytes
are fresh pages from the system each time. Of a block of rows, what one layer gives is still in
the cache when the next one takes it. Layers say by a decorator of their forward function
which rows each row of their output depends on; a network of layers that have said so gives in
blocks what it gives at once.
"""
from typing import Any, Callable, List, Optional, Sequence, Tuple, TypeVar

import numpy

from ..function_table import FunctionTable
from ..model import Model
from ..model_errors import LAYER_ERRORS
from ..types import Ragged

FuncT = TypeVar("FuncT", bound=Callable)
Reach = Callable[[Model], Optional[int]]

BLOCK_ROWS = 2048
MOST_ROWS = 2 * BLOCK_ROWS  # that are predicted at once

_REACH: FunctionTable[Reach] = FunctionTable()
_RAGGED_WRAPPERS: FunctionTable[bool] = FunctionTable()


# ---- what layers say of themselves ----------------------------------------------------


def rowwise(forward: FuncT) -> FuncT:
    """Decorator for a forward function: while predicting, row i of the output (counted on the
    first axis of arrays) depends on row i of the input only."""
    return reaches(_row_alone)(forward)


def _row_alone(model: Model) -> int:
    return 0


def reaches(rule: Reach) -> Callable[[FuncT], FuncT]:
    """Decorator for a forward function: while predicting, row i of the output depends on the
    rows i - k ... i + k of the input, k being rule(model), or on any if that is None."""

    def decorate(forward: FuncT) -> FuncT:
        _REACH[forward] = rule
        return forward

    return decorate


def runs_on_rows_of_ragged(forward: FuncT) -> FuncT:
    """Decorator for a forward function: of a Ragged, the only child gets the rows as one array."""
    _RAGGED_WRAPPERS[forward] = True
    return forward


def is_rowwise(model: Model) -> bool:
    return _REACH.get(model._func) is _row_alone


def row_reach(model: Model) -> Optional[int]:
    """How many rows before and after its own a row of the output depends on; None: unknown."""
    rule = _REACH.get(model._func)
    return None if rule is None else rule(model)


def summed_reach(model: Model) -> Optional[int]:
    """The rule of layers that follow each other."""
    return _combined(sum, model.layers)


def widest_reach(model: Model) -> Optional[int]:
    """The rule of layers side by side."""
    return _combined(max, model.layers)


def _combined(combine: Callable, layers: Sequence[Model]) -> Optional[int]:
    found = [row_reach(layer) for layer in layers]
    known = [reach for reach in found if reach is not None]
    return combine(known) if found and len(known) == len(found) else None


# ---- prediction -----------------------------------------------------------------------


def may_have_many_rows(X: Any) -> bool:
    """A quick look at the input of several layers: is predict_layers worth calling?

    A list counts by its sequences: what its layers make of it may have many rows.
    """
    kind = type(X)
    if kind is numpy.ndarray:
        return X.size > MOST_ROWS
    if kind is list:
        return len(X) >= 32
    return kind is Ragged and X.data.size > MOST_ROWS


def predict_layers(layers: Sequence[Model], X: Any) -> Any:
    """What the layers give for X, one after the other: their prediction.

    Layers that get an array or a Ragged of many rows, and depend on near rows only, are run
    together on one block of them after the other.
    """
    Y: Any = X
    position = 0
    while position < len(layers):
        run, rows = _run_on_rows(layers[position:], Y)
        joined = None if rows is None else _predict_in_blocks(run, rows)
        if joined is None:
            Y = layers[position].predict(Y)
            position += 1
        else:
            Y = Ragged(joined, Y.lengths) if isinstance(Y, Ragged) else joined
            position += len(run)
    return Y


def _run_on_rows(layers: Sequence[Model], X: Any) -> Tuple[List[Model], Any]:
    """The first of the layers, as many as can share blocks of X's rows, and these rows; or
    no rows, if that is less than two layers or there are few rows."""
    kind = type(X)
    if kind is numpy.ndarray and X.ndim and X.shape[0] > MOST_ROWS:
        run = _take_while_known(layers)
        return run, X if len(run) > 1 else None
    if kind is Ragged and type(X.data) is numpy.ndarray and X.data.shape[0] > MOST_ROWS:
        wrapped = []
        for layer in layers:
            if layer._func not in _RAGGED_WRAPPERS:
                break
            wrapped.append(layer.layers[0])
        run = _take_while_known(wrapped)
        return run, X.dataXd if len(run) > 1 else None
    return [], None


def _take_while_known(layers: Sequence[Model]) -> List[Model]:
    run = []
    for layer in layers:
        if row_reach(layer) is None:
            break
        run.append(layer)
    return run


def _predict_in_blocks(layers: Sequence[Model], X: Any) -> Any:
    """The layers' prediction for an array of many rows. None if it has to be made at once:
    they do not keep the number of rows, or fail, and an error had better speak of all rows."""
    reach = sum(row_reach(layer) or 0 for layer in layers)
    nr_row = X.shape[0]
    size = -(-nr_row // -(-nr_row // BLOCK_ROWS))
    joined = None
    for start in range(0, nr_row, size):
        stop = min(start + size, nr_row)
        first, last = max(start - reach, 0), min(stop + reach, nr_row)
        block = X[first:last]
        try:
            for layer in layers:
                block = layer.predict(block)
        except LAYER_ERRORS:
            return None
        if type(block) is not numpy.ndarray or block.shape[:1] != (last - first,):
            return None
        if joined is None:
            shape: Any = (nr_row, *block.shape[1:])
            joined = layers[0].ops.alloc(shape, dtype=block.dtype, zeros=False)
        joined[start:stop] = block[start - first : stop - first]
    return joined
