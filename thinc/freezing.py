"""Frozen models: parameters that no longer change, and predictions that profit from it.

A layer may say by a decorator of its forward function how it predicts once it is frozen,
with parameters in another layout. All training goes through the forward function as ever.
"""
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Iterable, List, Optional, Sequence, TypeVar

import numpy

from .function_table import FunctionTable
from .predictions import PREDICTIONS

if TYPE_CHECKING:
    from .model import Model

FuncT = TypeVar("FuncT", bound=Callable)
Prediction = Callable[[Any], Any]

Maker = Callable[["Model"], Optional[Prediction]]

_MAKERS: FunctionTable[Maker] = FunctionTable()


def when_frozen(make: Maker) -> Callable[[FuncT], FuncT]:
    """Decorator for a forward function: make(model) gives the function from X to Y that a
    frozen model predicts with, or None if that is nothing special.

    make is called once the parameters can be relied upon. What it looks up by itself (layers,
    attributes) may still change, so that belongs into the function that it returns.
    """

    def decorate(forward: FuncT) -> FuncT:
        _MAKERS[forward] = make
        return forward

    return decorate


class Watch:
    """Notices when frozen nodes are no longer as they were: other layers, another forward
    function, another value of some attributes, no longer frozen or frozen anew."""

    def __init__(self, nodes: Sequence["Model"], attrs: Sequence[str] = ()):
        self._nodes = list(nodes)
        self._attrs = [(node.attrs, name) for node in nodes for name in attrs if name in node.attrs]
        self._before = self._state()

    def nothing_changed(self) -> bool:
        return self._state() == self._before

    def _state(self) -> List[Any]:
        state: List[Any] = [attrs.get(name) for attrs, name in self._attrs]
        for node in self._nodes:
            state += (node._func, node._frozen, *node._layers)
        return state


def freeze(nodes: Iterable["Model"]) -> None:
    """Freeze the nodes, children before parents, or none of them.

    Raises ValueError for a node whose parameters are not all there.
    """
    nodes = list(nodes)
    new = [node for node in nodes if not node.is_frozen]
    for node in new:
        _check_can_freeze(node)
    try:
        for node in new:
            _protect(node)
        for node in nodes:
            # What an older one has prepared may have been for layers that have been thawed since.
            if node._prediction is None or node.layers:
                _prepare(node)
    except BaseException:  # no memory
        unfreeze(new)
        raise


def unfreeze(nodes: Iterable["Model"]) -> None:
    """Parameters become copies that can be written to."""
    for node in nodes:
        if node.is_frozen:
            copies = {name: node.get_param(name).copy() for name in node.param_names}
            node._frozen = None
            node._prediction = None
            for name, value in copies.items():
                node.set_param(name, value)


def _check_can_freeze(node: "Model") -> None:
    unset = [name for name in node.param_names if not node.has_param(name)]
    if unset:
        raise ValueError(
            f"Cannot freeze model '{node.name}': parameter '{unset[0]}' has not been allocated "
            "yet. Call initialize() first."
        )


def _protect(node: "Model") -> None:
    copies = {name: _read_only_copy(node.get_param(name)) for name in node.param_names}
    for name, value in copies.items():
        node.set_param(name, value)
        node.set_grad(name, None)
    node._frozen = object()


def _prepare(node: "Model") -> None:
    make = _MAKERS.get(node._func)
    predict = PREDICTIONS.get(node._func)
    node._prediction = None if make is None else make(node)
    if node._prediction is None and predict is not None:
        node._prediction = partial(predict, node)


def check_not_frozen(node: "Model", what: str) -> None:
    """Raises ValueError for a frozen node. `what` continues 'Cannot ...'."""
    if node._frozen:
        raise ValueError(f"Cannot {what} model '{node.name}': it is frozen. Call unfreeze() first.")


def keep_weights(key: Any, weights: Any, gradient: Any) -> Any:
    """An optimizer that changes nothing: models of other frameworks then drop their gradients."""
    return weights, gradient


def _read_only_copy(array: Any) -> Any:
    copied = array.copy()
    if isinstance(copied, numpy.ndarray):
        copied.flags.writeable = False
        return copied.view()  # whose flag, other than the owner's, cannot be set again
    return copied
