from typing import Callable, List, Optional, Sequence, Tuple, TypeVar

from ..model import Model
from ..registration import registry
from .nested_list import cut, flatten_nested

InT = TypeVar("InT")
OutT = TypeVar("OutT")
NestedIn = Sequence[Sequence[InT]]
NestedOut = Sequence[Sequence[OutT]]


@registry.layers("with_flatten.v2")
def with_flatten_v2(layer: Model[List[InT], List[OutT]]) -> Model[NestedIn, NestedOut]:
    """Run a layer on all inner items of a list of lists at once.

    The layer gets one list of items and gives a list with an entry for each. Output: a
    list of lists, nested like the input. An empty list gives an empty list, and the layer
    does not run. backprop takes and returns lists of lists.
    """
    # No dims: thinc 8 declares none, and could not load a file that has them.
    return Model(f"with_flatten({layer.name})", forward, layers=[layer], init=init)


def forward(
    model: Model[NestedIn, NestedOut], Xnest: NestedIn, is_train: bool
) -> Tuple[NestedOut, Callable[[NestedOut], NestedIn]]:
    if len(Xnest) == 0:
        return [], lambda dYnest: []
    lengths = [len(inner) for inner in Xnest]
    Ys, backprop_layer = model.layers[0](flatten_nested(Xnest), is_train)

    def backprop(dYnest: NestedOut) -> NestedIn:
        return cut(backprop_layer(flatten_nested(dYnest)), lengths)

    return cut(Ys, lengths), backprop


def init(
    model: Model[NestedIn, NestedOut],
    X: Optional[NestedIn] = None,
    Y: Optional[NestedOut] = None,
) -> None:
    model.layers[0].initialize(
        X=None if X is None else flatten_nested(X),
        Y=None if Y is None else flatten_nested(Y),
    )
