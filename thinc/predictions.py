"""Predictions that prepare no backward pass.

A forward function prepares its callback even where nobody will ask for it. A layer may say
by a decorator how it predicts without: `model.predict` then does so, and so do the layers
below. Most of the time of a small network on a short document is spent between kernels.
"""
from typing import TYPE_CHECKING, Any, Callable, TypeVar

from .function_table import FunctionTable

if TYPE_CHECKING:
    from .model import Model

FuncT = TypeVar("FuncT", bound=Callable)
Predict = Callable[["Model", Any], Any]

PREDICTIONS: FunctionTable[Predict] = FunctionTable()  # of forward functions


def predicted_by(predict: Predict) -> Callable[[FuncT], FuncT]:
    """Decorator for a forward function: predict(model, X) is its output without is_train."""

    def decorate(forward: FuncT) -> FuncT:
        PREDICTIONS[forward] = predict
        return forward

    return decorate
