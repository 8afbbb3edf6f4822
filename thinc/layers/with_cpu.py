from typing import Any, Callable, Optional, Tuple

import numpy

from ..backends import Ops
from ..model import Model
from ..registration import registry
from ..types import Padded, Pairs, Ragged
from ..util import convert_recursive, is_cupy_array, iterate_recursive
from .child_dims import child_dims, copy_dims_up


@registry.layers("with_cpu.v1")
def with_cpu(layer: Model, ops: Ops) -> Model:
    """Run a layer on the CPU inside a model that runs on another device.

    layer: moved to the CPU, and stays there.
    ops: of the surrounding model; the layer's output arrays are made with its asarray.
    Input and output: whatever the layer takes and gives. Arrays are moved wherever they
    are: in lists, tuples, dicts, Ragged, Padded, Pairs. Other values pass. The gradient goes back
    to where the input was.
    """
    layer.to_cpu()
    return Model(
        f"with_cpu({layer.name})",
        forward,
        init=init,
        layers=[layer],
        ops=ops,
        dims=child_dims(layer),
    )


def forward(model: Model, X: Any, is_train: bool) -> Tuple[Any, Callable]:
    ops = model.ops
    Y, backprop_layer = model.layers[0](_to_host(X), is_train)
    input_on_host = not any(True for _ in iterate_recursive(_holds_device_array, X))

    def backprop(dY: Any) -> Any:
        dX = backprop_layer(_to_host(dY))
        return dX if input_on_host else _map_arrays(ops.asarray, dX)

    return _map_arrays(ops.asarray, Y), backprop


def init(model: Model, X: Optional[Any] = None, Y: Optional[Any] = None) -> None:
    model.layers[0].initialize(X=_to_host(X), Y=_to_host(Y))
    copy_dims_up(model)


def _to_host(data: Any) -> Any:
    return _map_arrays(lambda array: array.get() if is_cupy_array(array) else array, data)


def _is_array(value: Any) -> bool:
    return isinstance(value, numpy.ndarray) or is_cupy_array(value)


def _holds_device_array(value: Any) -> bool:
    if isinstance(value, (Ragged, Padded)):
        return is_cupy_array(value.data)
    if isinstance(value, Pairs):
        return _holds_device_array(value.one) or _holds_device_array(value.two)
    return is_cupy_array(value)


def _map_arrays(move: Callable[[Any], Any], data: Any) -> Any:
    """data with all its arrays moved."""

    def convert(value: Any) -> Any:
        if isinstance(value, Ragged):
            return Ragged(move(value.dataXd), move(value.lengths))
        if isinstance(value, Padded):
            order = (value.size_at_t, value.lengths, value.indices)
            return Padded(move(value.data), *map(move, order))
        if isinstance(value, Pairs):
            return Pairs(_map_arrays(move, value.one), _map_arrays(move, value.two))
        return move(value)

    def is_match(value: Any) -> bool:
        return isinstance(value, (Ragged, Padded, Pairs)) or _is_array(value)

    return convert_recursive(is_match, convert, data)
