"""The wire format: msgpack, and arrays inside it. Byte-compatible with thinc 8.3.

An array is a map of five entries with keys of type bin: nd (true), type (numpy's
array-protocol string such as "<f4"), kind (empty), shape, data (the C-order buffer).
A numpy scalar is a map of nd (false), type, data; a complex number of complex, data.

Reading trusts nothing. It runs no code of the file's, allocates no more than a small
multiple of the file's size, and raises DeserializationError for anything that is not
well formed. Nothing in here knows what a Model is: see thinc.model_state.
"""

import math
import re
import struct
from typing import Any, Dict, List, Union

import msgpack
import numpy

Buffer = Union[bytes, bytearray, memoryview]

# A message has about 40 items per node, five levels deep. The limits leave room.
MAX_ITEMS = 2_000_000
MAX_DEPTH = 32
MAX_NDIM = 32

_PLAIN_DTYPE = re.compile(r"[<>|=](?:[biufc]\d{1,2}|[SU]\d{1,9}|[mM]8(?:\[\w{1,8}\])?)")
_SCALARS = {
    0xCA: struct.Struct(">f"),
    0xCB: struct.Struct(">d"),
    0xCC: struct.Struct(">B"),
    0xCD: struct.Struct(">H"),
    0xCE: struct.Struct(">I"),
    0xCF: struct.Struct(">Q"),
    0xD0: struct.Struct(">b"),
    0xD1: struct.Struct(">h"),
    0xD2: struct.Struct(">i"),
    0xD3: struct.Struct(">q"),
}
# What comes with its size: the kind, and the number of bytes the size takes.
_SIZED = {
    0xC4: ("bin", 1), 0xC5: ("bin", 2), 0xC6: ("bin", 4),
    0xD9: ("str", 1), 0xDA: ("str", 2), 0xDB: ("str", 4),
    0xDC: ("array", 2), 0xDD: ("array", 4), 0xDE: ("map", 2), 0xDF: ("map", 4),
}  # fmt: skip
_UNPACK_ERRORS = (
    msgpack.exceptions.UnpackException, ValueError, TypeError, OverflowError, RecursionError
)  # fmt: skip
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


class DeserializationError(ValueError):
    """Data that is no saved model, or does not fit the model that is to load it."""


# Single values: an attribute is saved as bytes inside the message.


def pack_value(value: Any) -> bytes:
    """A value as msgpack: plain data, numpy arrays and scalars, containers of these.

    Tuples become lists. Raises TypeError for everything that cannot be represented:
    other types, integers beyond 64 bits, lone surrogates, nesting too deep to be read.
    """
    try:
        data = msgpack.packb(value, default=_encode, use_bin_type=True)
        if len(data) > 500:  # msgpack reads a few levels less than it writes
            _check_complete(data)
    except (ValueError, OverflowError, RecursionError) as error:
        raise TypeError(f"can not serialize the value: {error!r}") from error
    return data


def unpack_value(data: Buffer) -> Any:
    """What pack_value has packed. Arrays are writable. Raises DeserializationError."""
    try:
        _check_complete(data)
        return msgpack.unpackb(
            data, raw=False, strict_map_key=False, object_pairs_hook=_decode_pairs
        )
    except DeserializationError:
        raise
    except _UNPACK_ERRORS as error:
        raise DeserializationError(f"not a valid msgpack value: {error!r}") from error


def _check_complete(data: Buffer) -> None:
    """Skip over the value without building it, so that a container that claims more items
    than there are bytes is found before memory is reserved for it."""
    unpacker = msgpack.Unpacker(max_buffer_size=max(len(data), 1), raw=True, strict_map_key=False)
    unpacker.feed(data)
    unpacker.skip()
    if unpacker.tell() != len(data):
        raise DeserializationError(f"a value ends after {unpacker.tell()} of its {len(data)} bytes")


def _encode(obj: Any) -> Dict[bytes, Any]:
    if isinstance(obj, numpy.ndarray):
        return {**array_header(obj), b"data": obj.tobytes()}
    if isinstance(obj, (numpy.bool_, numpy.number)):
        return {b"nd": False, b"type": obj.dtype.str, b"data": obj.tobytes()}
    if isinstance(obj, complex):
        return {b"complex": True, b"data": repr(obj)}
    raise TypeError(f"can not serialize '{type(obj).__name__}' object")


def array_header(array: numpy.ndarray) -> Dict[bytes, Any]:
    """The entries of an array's map that come before its data."""
    if array.dtype.names is not None:
        for field in array.dtype.descr:
            if len(field) != 2 or not _is_plain(field[1]):
                raise TypeError(f"can not serialize an array of dtype {array.dtype}")
        return {b"nd": True, b"type": array.dtype.descr, b"kind": b"V", b"shape": array.shape}
    if not _is_plain(array.dtype.str):
        raise TypeError(f"can not serialize an array of dtype {array.dtype}")
    return {b"nd": True, b"type": array.dtype.str, b"kind": b"", b"shape": array.shape}


def _is_plain(text: Any) -> bool:
    return isinstance(text, str) and _PLAIN_DTYPE.fullmatch(text) is not None


def _decode_pairs(pairs: List) -> Any:
    try:
        mapping = dict(pairs)
    except TypeError:  # a tuple was a key: msgpack has only arrays
        mapping = {_hashable(key): value for key, value in pairs}
    decoded = decode_map(mapping)
    return decoded.copy() if isinstance(decoded, numpy.ndarray) else decoded


def _hashable(key: Any) -> Any:
    return tuple(_hashable(item) for item in key) if isinstance(key, list) else key


def decode_map(mapping: Dict) -> Any:
    """The array, numpy scalar or complex number that a map stands for, or the map itself.

    An array is a view of the data, read-only if that is. Raises DeserializationError for
    a map that has all the keys, but whose dtype, shape and data do not go together.
    """
    if b"nd" in mapping and b"type" in mapping and b"data" in mapping:
        if mapping[b"nd"] is True and b"shape" in mapping:
            return _decode_array(mapping[b"type"], mapping[b"shape"], mapping[b"data"])
        if mapping[b"nd"] is False:
            return _decode_array(mapping[b"type"], [], mapping[b"data"])[()]
    if mapping.get(b"complex") is True and isinstance(mapping.get(b"data"), str):
        try:
            return complex(mapping[b"data"])
        except ValueError as error:
            raise DeserializationError(f"not a complex number: {error}") from error
    return mapping


def _decode_array(type_: Any, shape: Any, data: Any) -> numpy.ndarray:
    dtype = _decode_dtype(type_)
    if not isinstance(shape, list) or len(shape) > MAX_NDIM:
        raise DeserializationError(f"an array's shape is {_short(shape)}")
    for n in shape:
        if type(n) is not int or n < 0:
            raise DeserializationError(f"an array's shape is {_short(shape)}")
    if not isinstance(data, (bytes, memoryview)):
        raise DeserializationError(f"an array's data is of type {type(data).__name__}")
    # Python's integers do not overflow, and nothing has been allocated so far.
    if math.prod(shape) * dtype.itemsize != len(data):
        raise DeserializationError(
            f"an array of shape {tuple(shape)} and dtype {dtype} takes "
            f"{math.prod(shape) * dtype.itemsize} bytes, but has {len(data)}"
        )
    try:
        return numpy.ndarray(tuple(shape), dtype=dtype, buffer=data)
    except (ValueError, TypeError, OverflowError) as error:
        raise DeserializationError(f"not an array: {error}") from error


def _decode_dtype(type_: Any) -> numpy.dtype:
    fields = type_ if isinstance(type_, list) else [["", type_]]
    for field in fields:
        pair = isinstance(field, list) and len(field) == 2
        if not (pair and isinstance(field[0], str) and _is_plain(field[1])):
            raise DeserializationError(f"{_short(type_)} is not a plain dtype")
    try:
        dtype = numpy.dtype([(n, t) for n, t in type_] if isinstance(type_, list) else type_)
    except (TypeError, ValueError) as error:
        raise DeserializationError(f"{_short(type_)} is not a dtype: {error}") from error
    if dtype.hasobject or dtype.itemsize == 0:
        raise DeserializationError(f"{_short(type_)} is not a plain dtype")
    return dtype


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


# Messages: large, so arrays and bytes are neither copied on the way out nor in.


def message_parts(message: Any) -> List[Buffer]:
    """A value of dicts, lists, arrays, bytes and plain data as a list of buffers that make
    up the file, one after the other. Large buffers are those of the arrays themselves.

    Raises TypeError for what cannot be represented, ValueError for a buffer over 4 GiB.
    """
    writer = _Writer()
    writer.write(message)
    return writer.finish()


class _Writer:
    LARGE = 4096  # bytes; below, copying is cheaper than one more buffer

    def __init__(self) -> None:
        self._packer = msgpack.Packer(default=_encode, use_bin_type=True)
        self._parts: List[Buffer] = []
        self._small = bytearray()

    def finish(self) -> List[Buffer]:
        self._flush()
        return self._parts

    def write(self, obj: Any) -> None:
        if isinstance(obj, (bytes, bytearray, memoryview)):
            self._write_bin(obj)
        elif isinstance(obj, numpy.ndarray):
            if not obj.flags.c_contiguous:
                obj = obj.copy(order="C")
            self._write_map({**array_header(obj), b"data": _as_bytes(obj)})
        elif isinstance(obj, dict) and not self._is_small(obj):
            self._write_map(obj)
        elif isinstance(obj, (list, tuple)) and not self._is_small(obj):
            self._small += self._packer.pack_array_header(len(obj))
            for item in obj:
                self.write(item)
        else:
            self._small += self._packer.pack(obj)

    def _write_map(self, mapping: Dict) -> None:
        self._small += self._packer.pack_map_header(len(mapping))
        for key, value in mapping.items():
            self._small += self._packer.pack(key)
            self.write(value)

    def _is_small(self, container: Any) -> bool:
        """Whether the container can be packed in one go: few items, no large buffer."""
        if len(container) > 16:
            return False
        for item in container.values() if isinstance(container, dict) else container:
            if isinstance(item, numpy.ndarray):
                if item.nbytes > self.LARGE:
                    return False
            elif isinstance(item, (bytes, bytearray, memoryview)):
                if len(item) > self.LARGE:
                    return False
            elif isinstance(item, (dict, list, tuple)) and not self._is_small(item):
                return False
        return True

    def _write_bin(self, data: Buffer) -> None:
        size = len(data)
        if size < 1 << 8:
            self._small += struct.pack(">BB", 0xC4, size)
        elif size < 1 << 16:
            self._small += struct.pack(">BH", 0xC5, size)
        elif size < 1 << 32:
            self._small += struct.pack(">BI", 0xC6, size)
        else:
            raise ValueError(f"{size} bytes in one array are more than msgpack can hold (4 GiB)")
        if size < self.LARGE:
            self._small += data
        else:
            self._flush()
            self._parts.append(data)

    def _flush(self) -> None:
        if self._small:
            self._parts.append(self._small)
            self._small = bytearray()


def _as_bytes(array: numpy.ndarray) -> Buffer:
    """The buffer of a C-contiguous array, without a copy where numpy can export it."""
    if array.size == 0 or array.dtype.kind not in "biufc":
        return array.tobytes()
    return array.reshape(-1).data.cast("B")


def parse_message(data: Buffer) -> Any:
    """The value in a file. Bins and arrays are views of `data`; a bin is a memoryview.

    Raises DeserializationError if the data is not one well-formed value, has items after
    it, or exceeds the limits of this module.
    """
    reader = _Reader(data)
    value = reader.read(MAX_DEPTH)
    if reader.pos != reader.end:
        raise DeserializationError(
            f"the data goes on after the end of the message at byte {reader.pos}"
        )
    return value


class _Reader:
    """A msgpack parser that builds containers item by item, never by their claimed size."""

    def __init__(self, data: Buffer):
        self._view = memoryview(data).cast("B").toreadonly()
        self.pos = 0
        self.end = len(self._view)
        self._items_left = MAX_ITEMS

    def read(self, depth: int) -> Any:
        self._items_left -= 1
        if self._items_left < 0:
            raise self._error(f"more than {MAX_ITEMS} items")
        if self.pos >= self.end:
            raise self._error("incomplete input, another item expected")
        lead = self._view[self.pos]
        self.pos += 1
        if lead < 0x80:
            return lead
        if lead < 0x90:
            return self._read_map(lead & 0x0F, depth)
        if lead < 0xA0:
            return self._read_array(lead & 0x0F, depth)
        if lead < 0xC0:
            return self._read_str(lead & 0x1F)
        if lead >= 0xE0:
            return lead - 0x100
        if lead in _CONSTANTS:
            return _CONSTANTS[lead]
        if lead in _SCALARS:
            scalar = _SCALARS[lead]
            return scalar.unpack(self._take(scalar.size))[0]
        if lead not in _SIZED:
            raise self._error(f"unexpected type byte 0x{lead:02x}")
        kind, width = _SIZED[lead]
        size = int.from_bytes(self._take(width), "big")
        if kind == "bin":
            return self._take(size)
        if kind == "str":
            return self._read_str(size)
        return self._read_array(size, depth) if kind == "array" else self._read_map(size, depth)

    def _take(self, size: int) -> memoryview:
        start = self.pos
        stop = start + size
        if stop > self.end:
            raise self._error(f"incomplete input, {size} more bytes expected")
        self.pos = stop
        return self._view[start:stop]

    def _read_str(self, size: int) -> str:
        try:
            return str(self._take(size), "utf8")
        except UnicodeDecodeError as error:
            raise self._error(f"a string is not UTF-8: {error}") from error

    def _read_array(self, size: int, depth: int) -> List:
        depth = self._enter(depth)
        return [self.read(depth) for _ in range(size)]

    def _read_map(self, size: int, depth: int) -> Any:
        depth = self._enter(depth)
        mapping: Dict[Union[str, bytes, int], Any] = {}
        for _ in range(size):
            key = self.read(depth)
            if type(key) is memoryview:
                key = bytes(key)
            elif type(key) is not str and type(key) is not int:
                raise self._error(f"a map's key is of type {type(key).__name__}")
            if key in mapping:
                raise self._error(f"a map has the key {_short(key)} twice")
            mapping[key] = self.read(depth)
        return decode_map(mapping)

    def _enter(self, depth: int) -> int:
        if depth == 0:
            raise self._error(f"more than {MAX_DEPTH} levels of nesting")
        return depth - 1

    def _error(self, what: str) -> DeserializationError:
        return DeserializationError(f"not a saved model: {what} (at byte {self.pos})")
