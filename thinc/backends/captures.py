"""What operations have to know while a CUDA graph is captured.

A captured graph repeats the same kernels with the same arguments. What has to differ from
one launch to the next is read from the device's memory, and nothing may come from the host.
"""

import contextlib
from contextvars import ContextVar
from typing import Any, Iterator

_dropout_step: ContextVar[Any] = ContextVar("dropout_step", default=None)
_workspace: ContextVar[Any] = ContextVar("workspace", default=None)


class NotCapturable(RuntimeError):
    """The model does something that a CUDA graph cannot repeat."""


def dropout_step() -> Any:
    """An int64[1] on the device that kernels add to their random stream, or None."""
    return _dropout_step.get()


@contextlib.contextmanager
def counting_dropout(step: Any) -> Iterator[None]:
    """Inside the block, random streams are counted on by `step`, an int64[1] on the device."""
    token = _dropout_step.set(step)
    try:
        yield
    finally:
        _dropout_step.reset(token)


@contextlib.contextmanager
def capturing(workspace: Any) -> Iterator[None]:
    """Inside the block, what a graph could not repeat raises NotCapturable.

    workspace: memory on the device for the matrix products.
    """
    token = _workspace.set(workspace)
    try:
        yield
    finally:
        _workspace.reset(token)


def capture_workspace() -> Any:
    """The memory given to capturing(); None while nothing is captured."""
    return _workspace.get()


def refuse_if_capturing(what: str) -> None:
    """Raise NotCapturable while a graph is captured."""
    if _workspace.get() is not None:
        raise NotCapturable(f"{what}, which a CUDA graph cannot repeat")
