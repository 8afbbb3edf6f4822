"""Weights of a shim as bytes, and back: names and arrays in thinc's own wire format.

What is read is checked twice: thinc.serialize makes sure that the data is well formed and
runs no code, take_weights that it fits the model that is to load it.
"""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy

from .. import serialize
from ..serialize import DeserializationError

# What numpy has no name for is stored as the bits, beside the name.
_AS_BITS = {"bfloat16": "uint16"}
_FLOATS = ("bfloat16", "float16", "float32", "float64")


class Expected(NamedTuple):
    """An array as the loading model has it."""

    name: str
    shape: Tuple[int, ...]
    dtype: Any  # numpy's, or ml_dtypes's bfloat16


def pack_weights(config: Dict, groups: Mapping[str, Sequence[Tuple[str, Any]]]) -> bytes:
    """A shim's settings and weights as bytes.

    config: plain data. groups: what each group of weights is called -> (name, numpy array)
    pairs. Raises TypeError for settings and dtypes that cannot be saved.
    """
    try:
        serialize.pack_value(config)
    except TypeError as error:
        raise TypeError(f"the shim's config cannot be saved: {error}") from error
    message: Dict[str, Any] = {"config": config}
    for group, weights in groups.items():
        message[group] = [[name, *_encode(array)] for name, array in weights]
    return b"".join(serialize.message_parts(message))


def _encode(array: numpy.ndarray) -> Tuple[str, numpy.ndarray]:
    name = array.dtype.name
    if name in _AS_BITS:
        array = array.view(_AS_BITS[name])
    return name, array.astype(array.dtype.newbyteorder("<"), copy=False)


def unpack_weights(data: Any, groups: Sequence[str]) -> Tuple[Dict, Dict[str, List]]:
    """The settings, and (name, dtype's name, array) triples for each group.

    The arrays are views of `data`. Raises DeserializationError if it is nothing that
    pack_weights has written, TypeError if it is not bytes.
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"expected bytes, got {type(data).__name__}")
    message = serialize.parse_message(data)
    if not isinstance(message, dict) or set(message) != {"config", *groups}:
        raise DeserializationError(f"expected a map of config and {', '.join(groups)}")
    if not isinstance(message["config"], dict):
        raise DeserializationError("config is no map")
    return _plain(message["config"]), {group: _check_group(message[group]) for group in groups}


def open_weights(data: Any) -> Optional[Tuple[Dict, Dict[str, List[Tuple[str, numpy.ndarray]]]]]:
    """Config and groups as they were given to pack_weights; None for data of another kind."""
    try:
        message = serialize.parse_message(data)
        groups = [key for key in message if key != "config"] if isinstance(message, dict) else []
        config, found = unpack_weights(data, groups)
        opened = {
            group: [(name, _decode(dtype, array)) for name, dtype, array in entries]
            for group, entries in found.items()
        }
        # Somebody else's data may look like ours: it has to come out as it went in.
        return (config, opened) if pack_weights(config, opened) == data else None
    except (DeserializationError, TypeError):
        return None


def _plain(value: Any) -> Any:
    """The value without views of the data."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, numpy.ndarray):
        return value.copy()
    return bytes(value) if isinstance(value, memoryview) else value


def _check_group(entries: Any) -> List[Tuple[str, str, numpy.ndarray]]:
    if not isinstance(entries, list):
        raise DeserializationError(f"weights are {type(entries).__name__}, not a list")
    for entry in entries:
        fits = isinstance(entry, list) and len(entry) == 3
        if not (fits and isinstance(entry[0], str) and isinstance(entry[1], str)):
            raise DeserializationError("a weight is no triple of name, dtype and array")
        name, dtype, array = entry
        if not isinstance(array, numpy.ndarray):
            raise DeserializationError(f"weight {name!r} is {type(array).__name__}, not an array")
        if array.dtype.name != _AS_BITS.get(dtype, dtype):
            raise DeserializationError(f"weight {name!r} is {array.dtype}, but said to be {dtype}")
    return [tuple(entry) for entry in entries]


def take_weights(
    found: Sequence[Tuple[str, str, numpy.ndarray]], expected: Sequence[Expected]
) -> List[numpy.ndarray]:
    """The arrays in the order of `expected`: new memory, in the dtypes expected.

    A float may replace one of another size, everything else has to be of the same dtype.
    Raises DeserializationError unless names, shapes and dtypes fit.
    """
    by_name = {name: (dtype, array) for name, dtype, array in found}
    wanted = [weight.name for weight in expected]
    missing = [name for name in wanted if name not in by_name]
    unknown = [name for name in by_name if name not in set(wanted)]
    if missing or unknown or len(found) != len(expected):
        raise DeserializationError(
            f"the model has {len(expected)} weights, the data {len(found)}"
            + (f"; missing: {_some(missing)}" if missing else "")
            + (f"; unknown: {_some(unknown)}" if unknown else "")
        )
    return [_take(weight, *by_name[weight.name]) for weight in expected]


def _some(names: List[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _take(weight: Expected, dtype: str, array: numpy.ndarray) -> numpy.ndarray:
    if tuple(array.shape) != tuple(weight.shape):
        raise DeserializationError(
            f"weight {weight.name!r} is of shape {tuple(array.shape)}, "
            f"expected {tuple(weight.shape)}"
        )
    expected = numpy.dtype(weight.dtype)
    if dtype != expected.name and not (dtype in _FLOATS and expected.name in _FLOATS):
        raise DeserializationError(
            f"weight {weight.name!r} is of dtype {dtype}, expected {expected.name}"
        )
    return _decode(dtype, array).astype(expected)  # always a copy, in native byte order


def _decode(dtype: str, array: numpy.ndarray) -> numpy.ndarray:
    if dtype not in _AS_BITS:
        return array
    return array.astype(array.dtype.newbyteorder("="), copy=False).view(_bits_dtype(dtype))


def _bits_dtype(name: str) -> numpy.dtype:
    import ml_dtypes  # both TensorFlow and JAX bring it

    return numpy.dtype(getattr(ml_dtypes, name))
