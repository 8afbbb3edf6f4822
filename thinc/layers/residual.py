from typing import Any, Callable, Optional, Tuple, TypeVar

from ..model import Model
from ..predictions import predicted_by
from ..registration import registry
from .containers import add_batches
from .inner_rows import inner_rows_by, middle, predict_inner_rows
from .row_blocks import reaches, summed_reach

InT = TypeVar("InT")


@registry.layers("residual.v1")
def residual(layer: Model[InT, InT]) -> Model[InT, InT]:
    """Add a layer's input to its output: f -> x + f(x).

    From He et al., 'Deep Residual Learning for Image Recognition', 2015.
    Input and output: arrays, lists, Ragged or Padded (a tuple gives a list), of
    the same shape. Raises ValueError if the layer changes the shape.
    """
    return Model(
        f"residual({layer.name})",
        forward,
        init=init,
        layers=[layer],
        dims={"nO": layer.maybe_get_dim("nO"), "nI": layer.maybe_get_dim("nI")},
    )


def _predict(model: Model, X: Any) -> Any:
    return add_batches(X, model.layers[0].predict(X))


def _inner_rows(model: Model, X: Any) -> Any:
    Y = predict_inner_rows(model.layers[0], X)
    return add_batches(middle(X, Y.shape[0]), Y)


@inner_rows_by(_inner_rows)
@predicted_by(_predict)
@reaches(summed_reach)
def forward(model: Model[InT, InT], X: InT, is_train: bool) -> Tuple[InT, Callable]:
    Y, callback = model.layers[0](X, is_train)

    def backprop(dY: InT) -> InT:
        return add_batches(dY, callback(dY))

    return add_batches(X, Y), backprop


def init(model: Model[InT, InT], X: Optional[InT] = None, Y: Optional[InT] = None) -> None:
    layer = model.layers[0]
    layer.initialize(X=X, Y=Y if layer.has_dim("nO") is None else None)
    for dim in ("nO", "nI"):
        width = layer.maybe_get_dim(dim)
        if width is not None:
            model.set_dim(dim, width)
