from contextlib import nullcontext
from typing import Any, Callable, Optional, TypeVar

from ..model import Model
from .patched import surround

ModelT = TypeVar("ModelT", bound=Model)


def do_nothing(*args: Any) -> None:
    """The default of with_debug's callbacks."""


def with_debug(
    layer: ModelT,
    name: Optional[str] = None,
    *,
    on_init: Callable[[Model, Any, Any], None] = do_nothing,
    on_forward: Callable[[Model, Any, bool], None] = do_nothing,
    on_backprop: Callable[[Any], None] = do_nothing,
) -> ModelT:
    """Have functions called just before a layer is initialized, runs, or runs backwards.

    layer: changed in place, and returned. Its name stays, since files depend on it: the
        argument `name` is accepted for compatibility and has no effect.
    on_init(model, X, Y), on_forward(model, X, is_train), on_backprop(dY): what they return
        is ignored; what they raise goes to the caller.
    """

    def calling(callback: Callable) -> Callable:
        def enter(*args: Any):
            callback(*args)
            return nullcontext()

        return enter

    surround(
        layer, init=calling(on_init), forward=calling(on_forward), backprop=calling(on_backprop)
    )
    return layer
