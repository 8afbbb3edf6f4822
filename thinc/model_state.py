"""A model's state as a message, and back.

The message is a dict of four lists with one item for each node of `model.walk()`: nodes
(index, name, dims, refs), attrs (each value as bytes), params (arrays or None), shims
(whatever they save). thinc.serialize turns it into bytes.
"""

from functools import singledispatch
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

import numpy

from . import serialize
from .freezing import check_not_frozen
from .model_errors import describe_node
from .serialize import DeserializationError

# Dtypes that may replace each other in a parameter: any float for a float, and so on.
_FAMILIES = {"f": "float", "i": "integer", "u": "integer", "b": "bool", "c": "complex"}


@singledispatch
def serialize_attr(_: Any, value: Any, name: str, model: Any) -> bytes:
    """The value of an attribute as bytes: msgpack, unless its type is registered.

    `@serialize_attr.register(MyType)` registers a function of the same four arguments.
    One that raises TypeError leaves the attribute out.
    """
    return serialize.pack_value(value)


@singledispatch
def deserialize_attr(_: Any, value: Any, name: str, model: Any) -> Any:
    """An attribute's value from its bytes.

    `@deserialize_attr.register(MyType)` registers a function of the same four arguments,
    chosen by the first: the value that the loading model has for the attribute so far.
    """
    return serialize.unpack_value(value)


# Saving.


def to_dict(model: Any) -> Dict[str, Any]:
    nodes = list(model.walk())
    index = {id(node): i for i, node in enumerate(nodes)}
    msg: Dict[str, List] = {"nodes": [], "attrs": [], "params": [], "shims": []}
    for i, node in enumerate(nodes):
        outside = [n for n, ref in node._refs.items() if ref is not None and id(ref) not in index]
        if outside:
            raise ValueError(f"Cannot get references: {outside}")
        msg["nodes"].append(
            {
                "index": i,
                "name": node.name,
                "dims": {name: _plain_dim(value) for name, value in node._dims.items()},
                "refs": {
                    name: None if ref is None else index[id(ref)]
                    for name, ref in node._refs.items()
                },
            }
        )
        msg["attrs"].append(_serialize_attrs(node))
        msg["params"].append({name: node.maybe_get_param(name) for name in node.param_names})
        msg["shims"].append([shim.to_bytes() for shim in node.shims])
    return msg


def _plain_dim(value: Any) -> Any:
    return int(value) if isinstance(value, numpy.integer) else value


def _serialize_attrs(node: Any) -> Dict[str, bytes]:
    attrs = {}
    for name, value in node.attrs.items():
        try:
            attrs[name] = serialize_attr(value, value, name, node)
        except TypeError:  # a function, say; the loading model keeps its own
            continue
    return attrs


def to_parts(model: Any) -> List[serialize.Buffer]:
    """The state as a list of buffers that make up the file."""
    msg = to_dict(model)
    for node, params in zip(model.walk(), msg["params"], strict=True):
        for name, value in params.items():
            if value is not None:
                params[name] = _host_array(model, node, name, value)
    return serialize.message_parts(msg)


def _host_array(model: Any, node: Any, name: str, value: Any) -> numpy.ndarray:
    """A parameter on the host, little-endian."""
    if isinstance(value, numpy.generic):
        value = numpy.asarray(value)
    if not hasattr(value, "dtype"):
        place = describe_node(model, node)
        raise TypeError(
            f"{place}: parameter {name!r} is a {type(value).__name__}, expected an array."
        )
    array = value if isinstance(value, numpy.ndarray) else node.ops.to_numpy(value)
    if array.dtype.kind not in _FAMILIES:
        place = describe_node(model, node)
        raise ValueError(
            f"{place}: parameter {name!r} is of dtype {array.dtype}, only numbers can be saved."
        )
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def to_bytes(model: Any) -> bytes:
    return b"".join(to_parts(model))


def to_disk(model: Any, path: Any) -> None:
    from .files import write_file

    write_file(path, to_parts(model))


def read_file(path: Any) -> bytes:
    from .files import read_file

    return read_file(path)


def read_file_if_there(path: Any) -> Optional[bytes]:
    from .files import read_file_if_there

    return read_file_if_there(path)


# Loading.


def from_bytes(model: Any, data: serialize.Buffer) -> None:
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"from_bytes expects bytes, got {type(data).__name__}.")
    from_dict(model, serialize.parse_message(data))


def from_dict(model: Any, msg: Any) -> None:
    for node in model.walk():
        check_not_frozen(node, "load")
    updates = _check(model, msg)
    for update in updates:
        _load_attrs(model, update)
        _load_arrays(update)
    _load_shims(model, updates)
    for update in updates:  # nothing below can fail
        node = update.node
        node.name = update.name
        node._dims.update(update.dims)
        node._refs.update(update.refs)
        node._attrs.update(update.attrs)
        for name, value in update.params.items():
            node.set_param(name, value)


class _Update(NamedTuple):
    """What is going to change in one node."""

    node: Any
    name: str
    dims: Dict[str, Any]
    refs: Dict[str, Any]
    attrs: Dict[str, Any]
    params: Dict[str, Any]
    shims: List[Any]


def _check(model: Any, msg: Any) -> List[_Update]:
    """Compare a message with a model. Raises DeserializationError if it does not fit."""
    if not isinstance(msg, dict) or "nodes" not in msg:
        raise DeserializationError(
            "Trying to read a Model that was created with an incompatible version of Thinc"
        )
    nodes = list(model.walk())
    for key in ("nodes", "attrs", "params", "shims"):
        if not isinstance(msg.get(key), (list, tuple)):
            raise DeserializationError(f"Cannot deserialize model: no list {key!r} in the data")
        if len(msg[key]) != len(nodes):
            raise DeserializationError(
                f"Cannot deserialize model: mismatched structure ({len(msg[key])} {key} in the "
                f'data, {len(nodes)} nodes in "{model.name}")'
            )
    updates = []
    for i, node in enumerate(nodes):
        info, attrs, params, shims = (msg[k][i] for k in ("nodes", "attrs", "params", "shims"))
        try:
            updates.append(_check_node(nodes, i, info, attrs, params, shims))
        except DeserializationError as error:
            raise DeserializationError(f"{describe_node(model, node)}: {error}") from error
    return updates


def _check_node(nodes, i: int, info: Any, attrs: Any, params: Any, shims: Any) -> _Update:
    node = nodes[i]
    _expect_map("description", info)
    if info.get("index", i) != i:
        raise DeserializationError(f"node {i} has the index {info['index']!r}")
    name = info.get("name")
    if not isinstance(name, str):
        raise DeserializationError(f"its name is of type {type(name).__name__}")
    _expect_map("dims", info.get("dims"))
    _expect_map("refs", info.get("refs"))
    _expect_map("attrs", attrs)
    _expect_map("params", params)
    if not isinstance(shims, (list, tuple)) or len(shims) != len(node.shims):
        n_shims = len(shims) if isinstance(shims, (list, tuple)) else "no list of"
        raise DeserializationError(f"{n_shims} shims in the data, {len(node.shims)} here")
    return _Update(
        node,
        name,
        {n: _check_dim(node, n, v) for n, v in info["dims"].items() if v is not None},
        {n: _check_ref(nodes, n, v) for n, v in info["refs"].items()},
        {n: _check_attr(n, v) for n, v in attrs.items()},
        {n: _check_param(node, n, v) for n, v in params.items()},
        [bytes(shim) if isinstance(shim, memoryview) else shim for shim in shims],
    )


def _expect_map(what: str, value: Any) -> None:
    if not isinstance(value, dict):
        raise DeserializationError(f"its {what} should be a map, not {type(value).__name__}")
    for key in value:
        if not isinstance(key, str):
            raise DeserializationError(f"a name in its {what} is of type {type(key).__name__}")


def _check_dim(node: Any, name: str, value: Any) -> Any:
    value = _plain_dim(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise DeserializationError(f"dimension {name!r} is of type {type(value).__name__}")
    if node.has_dim(name) is False:
        raise DeserializationError(f"unknown dimension {name!r}, known are {node.dim_names}")
    if node.has_dim(name) and node.get_dim(name) != value:
        raise DeserializationError(
            f"Attempt to change dimension {name!r} from {node.get_dim(name)} to {value}"
        )
    return value


def _check_ref(nodes, name: str, value: Any) -> Any:
    if value is None:
        return None
    if type(value) is not int or not 0 <= value < len(nodes):
        raise DeserializationError(f"reference {name!r} points to {value!r}, which is no node")
    return nodes[value]


def _check_attr(name: str, value: Any) -> bytes:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise DeserializationError(f"attribute {name!r} is {type(value).__name__}, not bytes")
    return bytes(value)


def _check_param(node: Any, name: str, value: Any) -> Any:
    if node.has_param(name) is False:
        raise DeserializationError(f"unknown parameter {name!r}, known are {node.param_names}")
    if value is None:
        return None
    if isinstance(value, numpy.generic) or not hasattr(value, "dtype"):
        raise DeserializationError(f"parameter {name!r} is {type(value).__name__}, not an array")
    family = _FAMILIES.get(value.dtype.kind)
    if family is None:
        raise DeserializationError(f"parameter {name!r} is of dtype {value.dtype}")
    if not node.has_param(name):
        return value
    current = node.get_param(name)
    if tuple(current.shape) != tuple(value.shape):
        raise DeserializationError(
            f"parameter {name!r} is of shape {tuple(value.shape)}, expected {tuple(current.shape)}"
        )
    expected = _FAMILIES.get(current.dtype.kind, family)
    if expected != family:
        raise DeserializationError(
            f"parameter {name!r} is of dtype {value.dtype}, expected {current.dtype}"
        )
    return value


def _load_attrs(model: Any, update: _Update) -> None:
    for name, data in update.attrs.items():
        current = update.node.attrs.get(name)
        try:
            update.attrs[name] = deserialize_attr(current, data, name, update.node)
        except Exception as error:  # a registered function may raise anything
            raise DeserializationError(
                f"{describe_node(model, update.node)}: attribute {name!r} cannot be loaded: {error}"
            ) from error


def _load_arrays(update: _Update) -> None:
    """Replace the arrays by copies for the node's device: writable and independent."""
    for name, value in update.params.items():
        if isinstance(value, numpy.ndarray):
            native = value.dtype.newbyteorder("=")
            value = numpy.array(value, dtype=native, order="C", copy=True)
            update.params[name] = update.node.ops.asarray(value)
        elif value is not None:
            update.params[name] = update.node.ops.asarray(value).copy()


def _load_shims(model: Any, updates: List[_Update]) -> None:
    """Load the shims, all or none as far as they allow it."""
    jobs = [
        (update.node, shim, data)
        for update in updates
        for shim, data in zip(update.node.shims, update.shims, strict=True)
    ]
    undo: List[Tuple[Callable, Any]] = []
    for node, shim, data in jobs:
        try:
            # Saving costs time and memory: a single shim is left to itself.
            before = shim.to_bytes() if len(jobs) > 1 else None
        except Exception:
            before = None
        try:
            shim.from_bytes(data)
        except Exception as error:
            for restore, previous in undo:
                restore(previous)
            raise DeserializationError(
                f"{describe_node(model, node)}: {type(shim).__name__} cannot be loaded: {error}"
            ) from error
        if before is not None:
            undo.append((shim.from_bytes, before))


# Asking whether loading would work.


def can_from_bytes(model: Any, data: serialize.Buffer, *, strict: bool) -> bool:
    try:
        msg = serialize.parse_message(data)
    except DeserializationError:
        return False
    return can_from_dict(model, msg, strict=strict)


def can_from_dict(model: Any, msg: Any, *, strict: bool) -> bool:
    try:
        updates = _check(model, msg)
    except DeserializationError:
        return False
    for info, update in zip(msg["nodes"], updates, strict=True):
        node = update.node
        for name, value in info["dims"].items():
            if node.has_dim(name) is False or (node.has_dim(name) and node.get_dim(name) != value):
                return False
        if strict and (node.name != update.name or _differing_attrs(node, update.attrs)):
            return False
    return True


def _differing_attrs(node: Any, saved: Dict[str, bytes]) -> bool:
    current = _serialize_attrs(node)
    return any(name in current and current[name] != data for name, data in saved.items())
