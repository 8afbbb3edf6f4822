from typing import Any, Callable, List, Optional, Sequence, Tuple, TypeVar

from ..model import Model
from ..registration import registry
from ..types import ArrayXd, ListXd
from .nested_list import cut, flatten_nested

InT = TypeVar("InT")


@registry.layers("with_flatten.v1")
def with_flatten(layer: Model[Sequence[InT], ArrayXd]) -> Model[Sequence[Sequence[InT]], ListXd]:
    """Run a layer on all inner items of a list of lists at once.

    The layer gets one list of items and gives an array with a row for each. Output: a list
    of arrays, the rows of each inner list: views. An empty list gives an empty list, and
    the layer does not run.
    backprop takes a list of arrays; what the layer returns is cut in the same way.
    """
    # No dims: thinc 8 declares none, and could not load a file that has them.
    return Model(f"with_flatten({layer.name})", forward, layers=[layer], init=init)


def forward(
    model: Model[Sequence[Sequence[InT]], ListXd], Xnest: Sequence[Sequence[InT]], is_train: bool
) -> Tuple[ListXd, Callable[[ListXd], List[Any]]]:
    if len(Xnest) == 0:
        return [], lambda dYs: []
    ops = model.ops
    lengths = [len(inner) for inner in Xnest]
    Y, backprop_layer = model.layers[0](flatten_nested(Xnest), is_train)

    def backprop(dYs: ListXd) -> List[Any]:
        return cut(backprop_layer(ops.flatten(dYs)), lengths)

    return cut(Y, lengths), backprop


def init(
    model: Model[Sequence[Sequence[InT]], ListXd],
    X: Optional[Sequence[Sequence[InT]]] = None,
    Y: Optional[ListXd] = None,
) -> None:
    model.layers[0].initialize(
        X=None if X is None else flatten_nested(X),
        Y=None if Y is None else model.ops.flatten(Y),
    )
