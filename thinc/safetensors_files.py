"""A model's weights in the safetensors format, which other programs can read, too.

Tensors are called after the place of their node, see thinc.node_paths: "layers.0.W", or
"W" in the root. Weights of a wrapped model of JAX or Keras are tensors, too,
"layers.1.shims.0.params.hidden/W"; those of other shims are one tensor of the bytes that the
shim saves, "layers.1.shims.0". The metadata has, under "thinc", as JSON what the tensors do
not say: names, dims, refs and attributes of the nodes, and the configs of shims. A file
without it, from another program, is loaded into a model that has these already.

Loading opens the file with the reference library, which maps it into memory, compares its
header with the model, and only then reads the tensors; after that the same checks are made
and the same steps are taken as for a file of to_disk.
"""

import base64
import json
import os
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy

from . import model_state
from .files import write_file
from .model_errors import describe_node
from .node_paths import join, node_paths, parameter_names
from .serialize import DeserializationError, pack_value, unpack_value
from .shims.weights import open_weights, pack_weights

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
    configs = {}
    for (base, _), data in zip(_shims(model), _flat(message["shims"]), strict=True):
        form = _shim_form(base, _as_bytes(base, data))
        configs[base] = form.config
        for name, array in form.tensors.items():
            if name in tensors:
                raise ValueError(f"A parameter and a shim of {model.name!r} are called {name!r}.")
            tensors[name] = numpy.ascontiguousarray(array).reshape(array.shape)
    described = {
        "nodes": message["nodes"],
        "attrs": [{k: _to_text(v) for k, v in attrs.items()} for attrs in message["attrs"]],
        "shims": {base: _to_text(pack_value(config)) for base, config in configs.items()},
    }
    metadata = {"format": "np", "thinc": json.dumps(described)}
    write_file(path, [safetensors.numpy.save(tensors, metadata=metadata)])


def _to_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _from_text(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _saved_array(model: Any, node: Any, param: str) -> numpy.ndarray:
    array = model_state._host_array(model, node, param, node.get_param(param))
    if array.dtype.name not in _DTYPES.values():
        raise ValueError(
            f"{describe_node(model, node)}: parameter {param!r} is of dtype {array.dtype}, which "
            "safetensors cannot hold."
        )
    # The library writes the memory as it is, whatever the strides say.
    return numpy.ascontiguousarray(array).reshape(array.shape)


def _shims(model: Any) -> List[Tuple[str, Any]]:
    """("layers.1.shims.0", shim) for every shim, in the order in which they are saved."""
    return [
        (join(path, f"shims.{i}"), shim)
        for path, node in node_paths(model)
        for i, shim in enumerate(node.shims)
    ]


class _ShimForm(NamedTuple):
    """What a shim has saved as tensors, and how to make bytes of such tensors again."""

    config: Any  # None if it is one tensor of bytes
    groups: Dict[str, List[str]]  # group -> names of its weights
    tensors: Dict[str, numpy.ndarray]

    def to_bytes(self, base: str, config: Any, tensors: Dict[str, numpy.ndarray]) -> bytes:
        if self.config is None:
            return tensors[base].tobytes()
        weights = {
            group: [(name, tensors[f"{base}.{group}.{name}"]) for name in names]
            for group, names in self.groups.items()
        }
        return pack_weights(self.config if config is None else config, weights)


def _shim_form(base: str, data: bytes) -> _ShimForm:
    opened = open_weights(data)
    if opened is None:
        return _ShimForm(None, {}, {base: numpy.frombuffer(data, dtype="u1")})
    config, groups = opened
    tensors = {f"{base}.{g}.{name}": array for g, pairs in groups.items() for name, array in pairs}
    return _ShimForm(
        config, {g: [name for name, _ in pairs] for g, pairs in groups.items()}, tensors
    )


def _current_form(base: str, shim: Any) -> Tuple[_ShimForm, str]:
    """How the loading model's shim saves itself, and the reason if it cannot, yet."""
    try:
        return _shim_form(base, _as_bytes(base, shim.to_bytes())), ""
    except Exception as error:  # a shim that is empty before it is loaded
        empty = numpy.zeros(0, dtype="u1")
        return _ShimForm(None, {}, {base: empty}), f" {base}: {error}"


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
            described, configs = _description(model, file.metadata())
            params, shims = _read(model, file, configs)
    except safetensors.SafetensorError as error:
        raise DeserializationError(f"{path} is no safetensors file: {error}") from error
    model_state.from_dict(model, {**described, "params": params, "shims": shims})


def _description(
    model: Any, metadata: Optional[Dict[str, str]]
) -> Tuple[Dict[str, List], Dict[str, Any]]:
    """Nodes and attributes, and configs of shims: those of the file, else the model's own."""
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
        return {"nodes": described, "attrs": [{} for _ in nodes]}, {}
    try:
        found = json.loads(metadata["thinc"])
        attrs = [{k: _from_text(v) for k, v in attrs.items()} for attrs in found["attrs"]]
        configs = {
            base: unpack_value(_from_text(text)) for base, text in found.get("shims", {}).items()
        }
        if any(not isinstance(config, (dict, type(None))) for config in configs.values()):
            raise TypeError("a shim's config is no map")
        return {"nodes": list(found["nodes"]), "attrs": attrs}, configs
    except DeserializationError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DeserializationError(f"the metadata is malformed: {error!r}") from error


def _read(
    model: Any, file: Any, configs: Dict[str, Any]
) -> Tuple[List[Dict[str, Any]], List[List[bytes]]]:
    """Parameters and shims of every node, once the names, shapes and dtypes are right."""
    names = parameter_names(model)
    forms = {base: _current_form(base, shim) for base, shim in _shims(model)}
    shim_tensors = {n: array for form, _ in forms.values() for n, array in form.tensors.items()}
    present = set(file.keys())
    needed = [name for name, (node, param) in names.items() if node.has_param(param)]
    missing = [name for name in [*needed, *shim_tensors] if name not in present]
    unknown = sorted(present - set(names) - set(shim_tensors))
    if missing or unknown:
        raise DeserializationError(
            f'The file does not fit "{model.name}": {len(missing)} tensors are missing '
            f"({_some(missing)}), {len(unknown)} are unknown ({_some(unknown)})."
            + "".join(reason for _, reason in forms.values())
        )
    for name, (node, param) in names.items():
        if name in present:
            _check_header(model, node, param, name, file.get_slice(name))
    for form, _ in forms.values():
        for name, array in form.tensors.items():
            _check_shim_header(name, array, form.config is None, file.get_slice(name))
    params: List[Dict[str, Any]] = []
    shims: List[List[bytes]] = []
    for path, node in node_paths(model):
        found = {param: join(path, param) for param in node.param_names}
        params.append(
            {param: file.get_tensor(n) if n in present else None for param, n in found.items()}
        )
        shims.append([])
        for i in range(len(node.shims)):
            base = join(path, f"shims.{i}")
            form = forms[base][0]
            tensors = {name: file.get_tensor(name) for name in form.tensors}
            shims[-1].append(form.to_bytes(base, configs.get(base), tensors))
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


def _check_shim_header(name: str, current: numpy.ndarray, is_bytes: bool, header: Any) -> None:
    """Dtypes are compared by the shim itself."""
    shape = tuple(header.get_shape())
    if is_bytes:
        if header.get_dtype() != "U8" or len(shape) != 1:
            raise DeserializationError(f"{name}: expected bytes, a 1-d tensor of dtype U8.")
    elif shape != current.shape:
        raise DeserializationError(f"{name}: it is of shape {shape}, expected {current.shape}.")
