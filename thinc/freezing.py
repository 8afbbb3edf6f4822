"""Frozen models: parameters that no longer change, and predictions that profit from it.

A layer may say by a decorator of its forward function how it predicts once it is frozen,
with parameters in another layout. All training goes through the forward function as ever.
"""
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Dict, TypeVar

import numpy

from .predictions import PREDICTIONS

if TYPE_CHECKING:
    from .model import Model

FuncT = TypeVar("FuncT", bound=Callable)
Prediction = Callable[[Any], Any]

_MAKERS: Dict[Callable, Callable[["Model"], Prediction]] = {}


def when_frozen(make: Callable[["Model"], Prediction]) -> Callable[[FuncT], FuncT]:
    """Decorator for a forward function: make(model) gives the function from X to Y that a
    frozen model predicts with.

    make is called once the parameters can be relied upon. What it looks up by itself (layers,
    attributes) may still change, so that belongs into the function that it returns.
    """

    def decorate(forward: FuncT) -> FuncT:
        _MAKERS[forward] = make
        return forward

    return decorate


def check_can_freeze(node: "Model") -> None:
    """Raises ValueError for a node whose parameters are not all there."""
    unset = [name for name in node.param_names if not node.has_param(name)]
    if unset:
        raise ValueError(
            f"Cannot freeze model '{node.name}': parameter '{unset[0]}' has not been allocated "
            "yet. Call initialize() first."
        )


def freeze_node(node: "Model") -> None:
    """Parameters become copies that nobody can write to, gradients are forgotten."""
    if node._frozen:
        return
    for name in node.param_names:
        node.set_grad(name, None)
        node.set_param(name, _read_only_copy(node.get_param(name)))
    node._frozen = True
    make = _MAKERS.get(node._func)
    predict = PREDICTIONS.get(node._func)
    if make is not None:
        node._prediction = make(node)
    elif predict is not None:
        node._prediction = partial(predict, node)


def unfreeze_node(node: "Model") -> None:
    """Parameters become copies that can be written to."""
    if not node._frozen:
        return
    node._frozen = False
    node._prediction = None
    for name in node.param_names:
        node.set_param(name, node.get_param(name).copy())


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
