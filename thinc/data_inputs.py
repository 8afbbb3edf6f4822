"""Inputs that are data: nobody needs their gradient.

While a model runs on an input so marked, layers that take that very object may leave its
gradient out. `Model.begin_update(X, input_gradient=False)` marks X.
"""
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Iterator, Tuple

_DATA: ContextVar[Tuple[Any, ...]] = ContextVar("data", default=())


@contextmanager
def as_data(X: Any) -> Iterator[None]:
    """Inside the block, X is data."""
    token = _DATA.set((*_DATA.get(), X))
    try:
        yield
    finally:
        _DATA.reset(token)


def is_data(X: Any) -> bool:
    """Whether this object (not one that is equal to it) is data."""
    marked = _DATA.get()
    return bool(marked) and any(X is data for data in marked)


def no_gradient(ops: Any, X: Any) -> Any:
    """What stands for the gradient of data: zeros of X's shape that take no memory."""
    return ops.xp.broadcast_to(ops.xp.zeros((), dtype=X.dtype), X.shape)
