"""Batches of any kind, taken apart into their arrays (or tensors) and put together again."""

from typing import Any, Callable, Iterator, List

from .types import ArgsKwargs, Padded, Pairs, Ragged

Test = Callable[[Any], bool]


def map_leaves(is_leaf: Test, function: Callable[[Any], Any], value: Any) -> Any:
    """value with every leaf replaced by function(leaf).

    Entered are lists, tuples, dicts, ArgsKwargs and Pairs. Of a Ragged or Padded, the data
    is a leaf, the lengths and indices are not.
    """
    if is_leaf(value):
        return function(value)
    if isinstance(value, Ragged):
        # The shape from before it was made two-dimensional, with the data's present rows.
        data = map_leaves(is_leaf, function, value.data)
        return Ragged(data.reshape((data.shape[0], *value.data_shape[1:])), value.lengths)
    if isinstance(value, Padded):
        data = map_leaves(is_leaf, function, value.data)
        return Padded(data, value.size_at_t, value.lengths, value.indices)
    if isinstance(value, Pairs):
        return Pairs(
            map_leaves(is_leaf, function, value.one), map_leaves(is_leaf, function, value.two)
        )
    if isinstance(value, ArgsKwargs):
        items = [(key, map_leaves(is_leaf, function, item)) for key, item in value.items()]
        return ArgsKwargs.from_items(items)
    if isinstance(value, dict):
        return {key: map_leaves(is_leaf, function, item) for key, item in value.items()}
    if isinstance(value, list):
        return [map_leaves(is_leaf, function, item) for item in value]
    if isinstance(value, tuple):
        return tuple(map_leaves(is_leaf, function, item) for item in value)
    return value


def leaves(is_leaf: Test, value: Any) -> List[Any]:
    """The leaves, in the order in which map_leaves meets them."""
    found: List[Any] = []

    def note(leaf: Any) -> Any:
        found.append(leaf)
        return leaf

    map_leaves(is_leaf, note, value)
    return found


def matching(is_leaf: Test, X: Any, dX: Any) -> Iterator[Any]:
    """For each leaf of X, in order, what dX has in its place; None where it has nothing.

    A backward pass may return a list for a tuple, and [] or None where no gradient is.
    """
    if is_leaf(X):
        yield dX
    elif isinstance(X, (Ragged, Padded)):
        yield from matching(is_leaf, X.data, getattr(dX, "data", None))
    elif isinstance(X, Pairs):
        yield from matching(is_leaf, X.one, getattr(dX, "one", None))
        yield from matching(is_leaf, X.two, getattr(dX, "two", None))
    elif isinstance(X, ArgsKwargs):
        found = dict(dX.items()) if isinstance(dX, ArgsKwargs) else {}
        for key, item in X.items():
            yield from matching(is_leaf, item, found.get(key))
    elif isinstance(X, dict):
        for key, item in X.items():
            yield from matching(is_leaf, item, dX.get(key) if isinstance(dX, dict) else None)
    elif isinstance(X, (list, tuple)):
        has_all = isinstance(dX, (list, tuple)) and len(dX) == len(X)
        for i, item in enumerate(X):
            yield from matching(is_leaf, item, dX[i] if has_all else None)
