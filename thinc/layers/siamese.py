from typing import Any, Callable, Optional, Tuple, TypeVar

from ..model import Model
from ..predictions import predicted_by
from ..registration import registry
from ..types import ArrayXd
from ..util import get_width
from .input_errors import describe

LayerT = TypeVar("LayerT")
InT = Tuple[LayerT, LayerT]


@registry.layers("siamese.v1")
def siamese(
    layer: Model[LayerT, Any], similarity: Model[Tuple[Any, Any], ArrayXd]
) -> Model[Tuple[LayerT, LayerT], ArrayXd]:
    """Encode two inputs with one layer, then compare the encodings: f, s -> s(f(a), f(b)).

    Input: a pair; output: that of `similarity`, which takes a pair of encodings.
    backprop returns a pair of gradients. Raises ValueError if the input is no pair.
    """
    return Model(
        f"siamese({layer.name}, {similarity.name})",
        forward,
        init=init,
        layers=[layer, similarity],
        dims={"nI": layer.maybe_get_dim("nI"), "nO": similarity.maybe_get_dim("nO")},
    )


def _predict(model: Model, X: Any) -> Any:
    _check_pair(X)
    layer, similarity = model.layers
    return similarity.predict((layer.predict(X[0]), layer.predict(X[1])))


@predicted_by(_predict)
def forward(model: Model, X: InT, is_train: bool) -> Tuple[ArrayXd, Callable]:
    _check_pair(X)
    layer, similarity = model.layers
    encoded1, backprop1 = layer(X[0], is_train)
    encoded2, backprop2 = layer(X[1], is_train)
    Y, backprop_similarity = similarity((encoded1, encoded2), is_train)

    def backprop(dY: ArrayXd) -> InT:
        d_encoded1, d_encoded2 = backprop_similarity(dY)
        return backprop1(d_encoded1), backprop2(d_encoded2)

    return Y, backprop


def init(model: Model, X: Optional[InT] = None, Y: Optional[ArrayXd] = None) -> None:
    layer, similarity = model.layers
    if X is None:
        layer.initialize()
        similarity.initialize(Y=Y)
    else:
        if layer.has_dim("nI") is not False:
            layer.set_dim("nI", get_width(X[1]))
        layer.initialize(X=X[0])
        similarity.initialize(X=(layer.predict(X[0]), layer.predict(X[1])), Y=Y)
    for dim, child in (("nI", layer), ("nO", similarity)):
        width = child.maybe_get_dim(dim)
        if width is not None:
            model.set_dim(dim, width)


def _check_pair(X: Any) -> None:
    if not isinstance(X, (tuple, list)) or len(X) != 2:
        raise ValueError(f"expected a pair of inputs, got {describe(X)}")
