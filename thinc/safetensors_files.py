"""A model's weights in the safetensors format, which other programs can read, too.

Tensors are called after the place of their node, see thinc.node_paths: "layers.0.W", or
"W" in the root. Weights of a wrapped model of another framework are one tensor of bytes,
"layers.1.shims.0". The metadata has, under "thinc", as JSON what the tensors do not say:
names, dims, refs and attributes of the nodes. A file without it, from another program, is
loaded into a model that has these already.

Loading opens the file with the reference library, which maps it into memory, compares its
header with the model, and only then reads the tensors; after that the same checks are made
and the same steps are taken as for a file of to_disk.
"""

import base64
import binascii
import json
import os
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy

from . import model_state
from .files import write_file
from .model_errors import describe_node
from .node_paths import join, node_paths, parameter_names
from .serialize import DeserializationError

# The names that the format has for numpy's types.
_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "C64": "complex64", "BOOL": "bool",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
}  # fmt: skip


def _import_safetensors() -> Any:
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            "Files in this format require safetensors: pip install thinc[safetensors]"
        ) from error
    return safetensors


def to_safetensors(model: Any, path: Any) -> None:
    """See Model.to_safetensors."""
    safetensors = _import_safetensors()
    message = model_state.to_dict(model)
    tensors = {
        name: _saved_array(model, node, param)
        for name, (node, param) in parameter_names(model).items()
        if node.has_param(param)
    }
    for name, data in zip(_shim_names(model, tensors), _flat(message["shims"]), strict=True):
        tensors[name] = numpy.frombuffer(_as_bytes(name, data), dtype="u1")
    described = {
        "nodes": message["nodes"],
        "attrs": [
            {name: base64.b64encode(value).decode() for name, value in attrs.items()}
            for attrs in message["attrs"]
        ],
    }
    metadata = {"format": "np", "thinc": json.dumps(described)}
    write_file(path, [safetensors.numpy.save(tensors, metadata=metadata)])


def _saved_array(model: Any, node: Any, param: str) -> numpy.ndarray:
    array = model_state._host_array(model, node, param, node.get_param(param))
    if array.dtype.name not in _DTYPES.values():
        raise ValueError(
            f"{describe_node(model, node)}: parameter {param!r} is of dtype {array.dtype}, which "
            "safetensors cannot hold."
        )
    # The library writes the memory as it is, whatever the strides say.
    return numpy.ascontiguousarray(array).reshape(array.shape)


def _shim_names(model: Any, taken: Dict[str, Any]) -> List[str]:
    names = [
        join(path, f"shims.{i}") for path, node in node_paths(model) for i in range(len(node.shims))
    ]
    for name in names:
        if name in taken:
            raise ValueError(f"A parameter and a shim of {model.name!r} have the name {name!r}.")
    return names


def _flat(lists: List[List[Any]]) -> List[Any]:
    return [item for items in lists for item in items]


def _as_bytes(name: str, data: Any) -> bytes:
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(
            f"{name}: its to_bytes returned {type(data).__name__}, only bytes can be saved."
        )
    return bytes(data)


def from_safetensors(model: Any, path: Any) -> None:
    """See Model.from_safetensors."""
    safetensors = _import_safetensors()
    path = Path(os.fspath(path))
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, expected a safetensors file.")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            described = _description(model, file.metadata())
            params, shims = _read(model, file)
    except safetensors.SafetensorError as error:
        raise DeserializationError(f"{path} is no safetensors file: {error}") from error
    model_state.from_dict(model, {**described, "params": params, "shims": shims})


def _description(model: Any, metadata: Optional[Dict[str, str]]) -> Dict[str, List]:
    """Nodes and attributes: those of the file, else those that the model has."""
    nodes = list(model.walk())
    if metadata is None or "thinc" not in metadata:
        index = {id(node): i for i, node in enumerate(nodes)}
        described = [
            {
                "name": node.name,
                "dims": {},
                "refs": {n: index.get(id(ref)) for n, ref in node._refs.items()},
            }
            for node in nodes
        ]
        return {"nodes": described, "attrs": [{} for _ in nodes]}
    try:
        found = json.loads(metadata["thinc"])
        return {
            "nodes": list(found["nodes"]),
            "attrs": [
                {name: base64.b64decode(value, validate=True) for name, value in attrs.items()}
                for attrs in found["attrs"]
            ],
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        kind = "base64" if isinstance(error, binascii.Error) else type(error).__name__
        raise DeserializationError(f"the metadata is malformed: {kind}: {error}") from error


def _read(model: Any, file: Any) -> Tuple[List[Dict[str, Any]], List[List[bytes]]]:
    """Parameters and shims of every node, once the names, shapes and dtypes are right."""
    names = parameter_names(model)
    shim_names = _shim_names(model, names)
    present = set(file.keys())
    needed = [name for name, (node, param) in names.items() if node.has_param(param)]
    missing = [name for name in [*needed, *shim_names] if name not in present]
    unknown = sorted(present - set(names) - set(shim_names))
    if missing or unknown:
        raise DeserializationError(
            f'The file does not fit "{model.name}": {len(missing)} tensors are missing '
            f"({_some(missing)}), {len(unknown)} are unknown ({_some(unknown)})."
        )
    for name, (node, param) in names.items():
        if name in present:
            _check_header(model, node, param, name, file.get_slice(name))
    for name in shim_names:
        header = file.get_slice(name)
        if header.get_dtype() != "U8" or len(header.get_shape()) != 1:
            raise DeserializationError(f"{name}: expected bytes, a 1-d tensor of dtype U8.")
    params: List[Dict[str, Any]] = []
    shims: List[List[bytes]] = []
    for path, node in node_paths(model):
        found = {param: join(path, param) for param in node.param_names}
        params.append(
            {param: file.get_tensor(n) if n in present else None for param, n in found.items()}
        )
        shims.append(
            [file.get_tensor(join(path, f"shims.{i}")).tobytes() for i in range(len(node.shims))]
        )
    return params, shims


def _some(names: List[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return (", ".join(names[:5]) or "none") + more


def _check_header(model: Any, node: Any, param: str, name: str, header: Any) -> None:
    """Before anything is read. Of two floats either may stand for the other, see from_disk."""
    place, shape = describe_node(model, node), tuple(header.get_shape())
    dtype = _DTYPES.get(header.get_dtype())
    if dtype is None:
        raise DeserializationError(
            f"{place}: the tensor {name!r} is of dtype {header.get_dtype()}, which numpy does not "
            "have: convert it to F32."
        )
    current = node.maybe_get_param(param)
    if current is not None and tuple(current.shape) != shape:
        raise DeserializationError(
            f"{place}: the tensor {name!r} is of shape {shape}, expected {tuple(current.shape)}"
        )
