from typing import Any, Callable, Optional, Tuple

from ..model import Model
from ..registration import registry
from .input_errors import describe

InT = Tuple[Any, ...]
OutT = Tuple[Any, ...]


@registry.layers("with_getitem.v1")
def with_getitem(idx: int, layer: Model[Any, Any]) -> Model[InT, OutT]:
    """Run a layer on one item of a tuple, and leave the others as they are.

    idx: which item; a negative one counts from the end. Input and output: tuples.
    Raises TypeError if the input is not a tuple, IndexError if it has no such item.
    """
    # No dims: thinc 8 declares none, and could not load a file that has them.
    return Model(
        f"with_getitem({layer.name})", forward, init=init, layers=[layer], attrs={"idx": idx}
    )


def forward(
    model: Model[InT, OutT], items: InT, is_train: bool
) -> Tuple[OutT, Callable[[OutT], InT]]:
    idx = model.attrs["idx"]
    Y_i, backprop_item = model.layers[0](_get(items, idx), is_train)

    def backprop(d_output: OutT) -> InT:
        return _replace(d_output, idx, backprop_item(_get(d_output, idx)))

    return _replace(items, idx, Y_i), backprop


def init(model: Model[InT, OutT], X: Optional[InT] = None, Y: Optional[OutT] = None) -> None:
    idx = model.attrs["idx"]
    model.layers[0].initialize(
        X=None if X is None else _get(X, idx), Y=None if Y is None else _get(Y, idx)
    )


def _get(items: InT, idx: int) -> Any:
    if not isinstance(items, tuple):
        raise TypeError(f"expected a tuple, got {describe(items)}")
    if not -len(items) <= idx < len(items):
        raise IndexError(f"there is no item {idx} (idx) in a tuple of {len(items)}")
    return items[idx]


def _replace(items: InT, idx: int, value: Any) -> InT:
    idx %= len(items)
    return items[:idx] + (value,) + items[idx + 1 :]
