from typing import Callable, Optional, Tuple, cast

from ..model import Model
from ..registration import registry
from ..types import Floats2d, Ints2d


@registry.layers("uniqued.v1")
def uniqued(layer: Model[Ints2d, Floats2d], *, column: int = 0) -> Model[Ints2d, Floats2d]:
    """Run a layer once for each different key, and repeat its output as keys repeat.

    Worth it where the layer is costly and keys repeat often, as words in a text.
    Input: integers of shape (batch, columns), whose `column` holds the keys; rows of equal
    keys must be equal in the columns that the layer reads.
    Output: what the layer gives, an array of `batch` rows.
    backprop shares the layer's gradient of a key's row evenly among the key's rows.
    Raises IndexError if the input has no such column.
    """
    return Model(
        f"uniqued({layer.name})",
        forward,
        init=init,
        layers=[layer],
        dims={"nO": None, "nI": None},
        attrs={"column": column},
    )


def forward(
    model: Model[Ints2d, Floats2d], X: Ints2d, is_train: bool
) -> Tuple[Floats2d, Callable]:
    layer = model.layers[0]
    ops = model.ops
    keys = X[:, model.attrs["column"]]
    if keys.shape[0] < 2:
        return layer(X, is_train)
    _, first, inverse, counts = ops.xp.unique(
        keys, return_index=True, return_inverse=True, return_counts=True
    )
    Y_unique, backprop_unique = layer(X[first], is_train)

    def backprop(dY: Floats2d) -> Ints2d:
        dY_unique = ops.alloc((first.shape[0],) + dY.shape[1:], dtype=dY.dtype)
        ops.scatter_add(dY_unique, inverse, dY)
        dX_unique = backprop_unique(dY_unique)
        share = counts.reshape((-1,) + (1,) * (dX_unique.ndim - 1))
        return cast(Ints2d, (dX_unique / share).astype(dX_unique.dtype)[inverse])

    return Y_unique[inverse], backprop


def init(
    model: Model[Ints2d, Floats2d], X: Optional[Ints2d] = None, Y: Optional[Floats2d] = None
) -> None:
    layer = model.layers[0]
    layer.initialize(X=X, Y=Y)
    for dim in ("nI", "nO"):
        width = layer.maybe_get_dim(dim)
        if width is not None:
            model.set_dim(dim, width)
