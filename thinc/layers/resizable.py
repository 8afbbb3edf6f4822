from typing import Any, Callable, Dict, Optional, Tuple, TypeVar

from ..model import Model
from ..registration import registry
from .row_blocks import reaches, summed_reach

InT = TypeVar("InT")
OutT = TypeVar("OutT")


@registry.layers("resizable.v1")
def resizable(
    layer: Model[InT, OutT], resize_layer: Callable[[Model[InT, OutT], int], Model[InT, OutT]]
) -> Model[InT, OutT]:
    """A layer whose output can be made wider later, by `resize_model`.

    resize_layer: takes the layer and the new nO, returns the layer to put in its place;
    for layers whose parameters have outputs on their first axis, `resize_linear_weighted`.
    """
    return Model(
        f"resizable({layer.name})",
        forward,
        init=init,
        layers=[layer],
        attrs={"resize_layer": resize_layer},
        dims={name: layer.maybe_get_dim(name) for name in layer.dim_names},
    )


@reaches(summed_reach)
def forward(model: Model[InT, OutT], X: InT, is_train: bool) -> Tuple[OutT, Callable]:
    return model.layers[0](X, is_train)


def init(model: Model[InT, OutT], X: Optional[InT] = None, Y: Optional[OutT] = None) -> None:
    model.layers[0].initialize(X=X, Y=Y)
    _refresh_dims(model)


def resize_model(model: Model[InT, OutT], new_nO: int) -> Model[InT, OutT]:
    """Give a `resizable` layer another output width, in place. Returns the model."""
    model.layers[0] = model.attrs["resize_layer"](model.layers[0], new_nO)
    _refresh_dims(model)
    return model


def resize_linear_weighted(
    layer: Model, new_nO: int, *, fill_defaults: Optional[Dict[str, Any]] = None
) -> Model:
    """The layer with nO = new_nO: old rows of its parameters kept, new rows filled.

    layer: a layer without children, whose parameters have nO as first axis, or begin with
    the first output's numbers (SparseLinear's do). If it has none yet, nO is set on the
    layer itself; otherwise a new layer is returned.
    fill_defaults: the value of new rows, by parameter name; 0 where not named.
    Raises ValueError if new_nO is smaller than nO, or the layer has children, refs or
    shims.
    """
    if layer.layers or layer.ref_names or layer.shims:
        raise ValueError(
            f"cannot resize {layer.name!r}: expected a layer without children, refs and shims"
        )
    nO = layer.maybe_get_dim("nO")
    if nO == new_nO:
        return layer
    if nO is None or (layer.has_dim("nI") is None):
        layer.set_dim("nO", new_nO, force=True)
        return layer
    if new_nO < nO:
        raise ValueError(f"cannot shrink {layer.name!r} from nO={nO} to {new_nO}")
    dims = {name: layer.maybe_get_dim(name) for name in layer.dim_names}
    dims["nO"] = new_nO
    larger: Model = Model(
        layer.name,
        layer._func,
        dims=dims,
        params=dict.fromkeys(layer.param_names),
        init=layer.init,
        attrs=layer.attrs,
        ops=layer.ops,
    )
    larger.initialize()
    for name in layer.param_names:
        if layer.has_param(name):
            values = larger.get_param(name)
            kept = layer.get_param(name)
            values[: len(kept)] = kept
            values[len(kept) :] = (fill_defaults or {}).get(name, 0.0)
    return larger


def _refresh_dims(model: Model) -> None:
    """Make the node's dims those of its layer, which may just have learnt or changed them."""
    layer = model.layers[0]
    for name in model.dim_names:
        width = layer.maybe_get_dim(name)
        if width is not None:
            model.set_dim(name, width, force=True)
