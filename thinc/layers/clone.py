from typing import Any, List, TypeVar, cast

from ..model import Model
from ..registration import registry
from .chain import chain
from .noop import noop

InT = TypeVar("InT")
OutT = TypeVar("OutT")


@registry.layers("clone.v1")
def clone(orig: Model[InT, OutT], n: int) -> Model[InT, OutT]:
    """Compose a layer n times with itself: chain(orig, copy, copy, ...).

    The copies have their own parameters: equal to the original's if it was
    initialized, and drawn anew when the chain is. n = 1 gives the layer itself, n = 0 a
    noop. Raises ValueError if n is negative.
    """
    if n < 0:
        raise ValueError(f"clone expects n of at least 0, got {n}")
    if n == 0:
        return cast(Model[InT, OutT], noop())
    if n == 1:
        return orig
    copies: List[Model] = [orig.copy() for _ in range(n - 1)]
    return cast(Model[InT, OutT], chain(cast(Model[InT, Any], orig), *copies))
