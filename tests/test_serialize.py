import contextlib
import errno
import os
import stat
import struct
import sys
import tracemalloc
import zipfile
from pathlib import Path, PurePosixPath

import msgpack
import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from small_models import affine, carrier, two_layers

from thinc import serialize
from thinc.model import deserialize_attr, serialize_attr
from thinc.serialize import DeserializationError
from thinc.shims import Shim
from thinc.types import Unserializable

# The annotated example of the format: model "a" with one child "b".
EXAMPLE = bytes.fromhex(
    "84 a56e6f646573 92 84 a5696e646578 00 a46e616d65 a161 a464696d73 82 a26e4f 01 a26e49 c0"
    "a472656673 82 a172 01 a173 c0 84 a5696e646578 01 a46e616d65 a162 a464696d73 80 a472656673 80"
    "a56174747273 92 81 a16b c40103 80 a6706172616d73 92 82 a157 85 c4026e64 c3"
    "c40474797065 a33c6634 c4046b696e64 c400 c4057368617065 92 01 02"
    "c40464617461 c408 0000803f000000c0 a162 c0 80 a57368696d73 92 90 90"
)


def example():
    child = carrier("b")
    model = carrier(
        "a",
        dims={"nO": 1, "nI": None},
        params={"W": numpy.array([[1, -2]], dtype="f"), "b": None},
        attrs={"k": 3},
        refs={"r": child, "s": None},
        layers=[child],
    )
    return model


def empty_example():
    child = carrier("b")
    return carrier(
        "a",
        dims={"nO": None, "nI": None},
        params={"W": None, "b": None},
        attrs={"k": 0},
        refs={"r": None, "s": None},
        layers=[child],
    )


def snapshot(model):
    """Everything that loading can change, comparable and independent of the model."""
    return [
        (
            node.name,
            dict(node._dims),
            {n: None if r is None else r.id for n, r in node._refs.items()},
            repr(node.attrs),
            {n: None if v is None else (id(v), v.tobytes(), v.shape, v.dtype.str)
             for n in node.param_names for v in [node.maybe_get_param(n)]},
            node.grad_names,
        )
        for node in model.walk()
    ]  # fmt: skip


def assert_refused(model, data, match=None):
    """Loading raises, and the model stays what it was."""
    before = snapshot(model)
    with pytest.raises(DeserializationError, match=match):
        model.from_bytes(data)
    assert snapshot(model) == before
    assert model.can_from_bytes(data) is False
    assert model.can_from_bytes(data, strict=False) is False


# The format


def test_bytes_of_the_example():
    assert len(EXAMPLE) == 164
    assert example().to_bytes() == EXAMPLE


def test_the_example_loads():
    model = empty_example().from_bytes(EXAMPLE)
    W = model.get_param("W")
    assert_array_equal(W, numpy.array([[1, -2]], dtype="f"))
    assert W.dtype == "float32" and W.flags.writeable and W.flags.aligned
    assert model.attrs == {"k": 3} and model._dims == {"nO": 1, "nI": None}
    assert model.get_ref("r") is model.layers[0] and model.has_ref("s") is None
    assert model.has_param("b") is None
    assert model.to_bytes() == EXAMPLE


def test_msgpack_reads_what_we_write():
    plain = msgpack.unpackb(two_layers().to_bytes(), strict_map_key=False)
    assert list(plain) == ["nodes", "attrs", "params", "shims"]
    assert plain["nodes"][1]["name"] == "first"
    assert plain["params"][1]["W"][b"shape"] == [4, 3]


def test_to_dict_holds_the_arrays_themselves():
    model = example()
    msg = model.to_dict()
    assert list(msg) == ["nodes", "attrs", "params", "shims"]
    assert msg["params"][0]["W"] is model.get_param("W")
    assert msg["attrs"][0] == {"k": b"\x03"}
    loaded = empty_example().from_dict(msg)
    assert_array_equal(loaded.get_param("W"), model.get_param("W"))
    assert not numpy.shares_memory(loaded.get_param("W"), model.get_param("W"))


@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 255, 256, 70_000])
def test_sizes_across_the_header_boundaries(n):
    values = {f"p{n}": numpy.arange(n, dtype="i8"), "q" * (n % 300 + 1): numpy.zeros(n, "u1")}
    model = carrier("n" * n, params=values)
    data = model.to_bytes()
    assert msgpack.unpackb(data, strict_map_key=False)["nodes"][0]["name"] == "n" * n
    other = carrier(params=dict.fromkeys(values)).from_bytes(data)
    assert other.name == "n" * n and other.to_bytes() == data
    for name, value in values.items():
        assert_array_equal(other.get_param(name), value)


def test_many_children_and_params():
    model = carrier(layers=[carrier(params={str(i): numpy.ones(1)}) for i in range(300)])
    data = model.to_bytes()
    other = carrier(layers=[carrier(params={str(i): None}) for i in range(300)])
    assert other.from_bytes(data).to_bytes() == data


@pytest.mark.parametrize(
    "array",
    [
        numpy.arange(6, dtype=">f4").reshape(2, 3),
        numpy.arange(6, dtype="f").reshape(2, 3).T,
        numpy.arange(12, dtype="f")[::-2],
        numpy.zeros((0, 4), dtype="f"),
        numpy.array(1.5),
        numpy.float32(2.5),
        numpy.arange(3, dtype="f2"),
        numpy.array([True, False]),
        numpy.arange(3, dtype="u8"),
        numpy.array([1 + 2j]),
    ],
    ids=["big_endian", "transposed", "reversed", "empty", "0d", "scalar", "f2", "b", "u8", "c"],
)
def test_arrays_of_any_layout_and_plain_dtype(array):
    data = carrier(params={"p": array}).to_bytes()
    loaded = carrier(params={"p": None}).from_bytes(data)
    value = loaded.get_param("p")
    assert_array_equal(value, array)
    assert value.shape == array.shape and value.dtype == array.dtype.newbyteorder("=")
    assert value.flags.writeable and value.flags.c_contiguous
    assert loaded.to_bytes() == data


def test_dims_that_are_numpy_integers_become_plain():
    data = carrier(dims={"nO": numpy.int64(3)}).to_bytes()
    assert data == carrier(dims={"nO": 3}).to_bytes()


@pytest.mark.parametrize("value", [[1.0], "abc", 3, object()])
def test_a_param_that_is_no_array_is_not_saved(value):
    with pytest.raises(TypeError, match=r"carrier: parameter 'p' is a \w+, expected an array"):
        carrier(params={"p": value}).to_bytes()


@pytest.mark.parametrize("dtype", ["O", "U2", "M8[s]", "f4,i4"])
def test_a_param_that_is_not_numeric_is_not_saved(dtype):
    with pytest.raises(ValueError, match="parameter 'p' is of dtype"):
        carrier(params={"p": numpy.zeros(2, dtype=dtype)}).to_bytes()


def test_a_reference_out_of_the_tree_is_not_saved():
    inner = carrier("inner", refs={"up": None, "out": carrier()})
    with pytest.raises(ValueError, match=r"Cannot get references: \['out'\]"):
        carrier(layers=[inner]).to_bytes()


def test_a_reference_out_of_the_own_subtree_is_loaded():
    def make(bind):
        one, two = carrier("one", refs={"sibling": None}), carrier("two")
        model = carrier(layers=[one, two])
        if bind:
            one._refs["sibling"] = two
        return model

    loaded = make(False).from_bytes(make(True).to_bytes())
    assert loaded.layers[0].get_ref("sibling") is loaded.layers[1]


@st.composite
def trees(draw):
    """A model whose nodes share children and refer to each other at random."""
    nodes = []
    for i in range(draw(st.integers(1, 6))):
        below = st.lists(st.sampled_from(nodes), max_size=3) if nodes else st.just([])
        params = draw(st.dictionaries(st.sampled_from("WbE"), st.none() | ARRAYS, max_size=2))
        dims = draw(st.dictionaries(st.sampled_from(["nO", "nI"]), st.none() | st.integers(0, 9)))
        nodes.append(carrier(f"n{i}", layers=draw(below), params=params, dims=dims))
    root = carrier("root", layers=nodes[-2:])
    inside = list(root.walk())
    for node in inside:
        node._refs["ref"] = draw(st.none() | st.sampled_from(inside))
    return root


ARRAYS = st.lists(st.floats(width=32, allow_nan=False), max_size=3).map(
    lambda values: numpy.array(values, dtype="f")
)


@given(trees())
def test_trees_round_trip(model):
    data = model.to_bytes()
    same = model.copy()
    assert same.can_from_bytes(data) and same.from_bytes(data).to_bytes() == data
    empty = model.copy()
    for node in empty.walk():
        for name in node.param_names:
            node.set_param(name, None)
        for name in node.ref_names:
            node.set_ref(name, None)
        for name in node.dim_names:
            node._dims[name] = None
    assert empty.from_bytes(data).to_bytes() == data


# Attributes

PLAIN = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False)
    | st.text() | st.binary()
)  # fmt: skip
NESTED = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(-99, 99), inner),
    max_leaves=10,
)


@given(NESTED)
def test_plain_attributes_round_trip(value):
    data = carrier(attrs={"a": value}).to_bytes()
    loaded = carrier().from_bytes(data)
    assert loaded.attrs == {"a": value}
    assert loaded.to_bytes() == data


def test_arrays_scalars_and_complex_numbers_in_attributes():
    attrs = {
        "array": numpy.arange(6, dtype=">i2").reshape(2, 3),
        "text": numpy.array(["ab", "c"]),
        "time": numpy.array(["2020-01-01"], dtype="M8[D]"),
        "record": numpy.array([(1, 2.0)], dtype=[("a", "<i4"), ("b", "<f8")]),
        "scalar": numpy.float32(1.5),
        "bool": numpy.bool_(True),
        "float64": numpy.float64(0.1),
        "complex": 1 - 2j,
        "nested": [{"x": numpy.zeros((0, 3))}],
    }
    data = carrier(attrs=attrs).to_bytes()
    loaded = carrier().from_bytes(data)
    for name in ("array", "text", "time", "record"):
        assert_array_equal(loaded.attrs[name], attrs[name])
        assert loaded.attrs[name].dtype == attrs[name].dtype
        assert loaded.attrs[name].flags.writeable
    for name in ("scalar", "bool", "float64", "complex"):
        assert loaded.attrs[name] == attrs[name]
    assert type(loaded.attrs["scalar"]) is numpy.float32
    assert type(loaded.attrs["float64"]) is float
    assert loaded.attrs["nested"][0]["x"].shape == (0, 3)
    assert loaded.to_bytes() == data


def test_tuple_keys_come_back_as_tuples():
    value = {(1, ("a", 2)): "x", 3: {(4,): 5}}
    assert serialize.unpack_value(serialize.pack_value(value)) == value


def nested_list(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        len, slice(1, 2), {1, 2}, Unserializable("x"), object(), 2**64, "\ud800",
        nested_list(1024), nested_list(2000), numpy.array([object()]), numpy.array([None, 1]),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_msgpack_cannot_hold_is_left_out(value):
    model = carrier(attrs={"before": 1, "odd": value, "after": 2})
    other = carrier(attrs={"odd": "my own"}).from_bytes(model.to_bytes())
    assert other.attrs == {"odd": "my own", "before": 1, "after": 2}
    with pytest.raises(TypeError):
        serialize.pack_value(value)


class Celsius:
    def __init__(self, degrees):
        self.degrees = degrees


@serialize_attr.register(Celsius)
def _(_, value, name, model):
    return f"{model.name}.{name}={value.degrees}".encode()


@deserialize_attr.register(Celsius)
def _(_, value, name, model):
    return Celsius(int(value.decode().split("=")[1]))


def test_registered_attribute_types():
    data = carrier("thermo", attrs={"t": Celsius(21)}).to_bytes()
    assert b"thermo.t=21" in data
    assert carrier(attrs={"t": Celsius(0)}).from_bytes(data).attrs["t"].degrees == 21
    with pytest.raises(DeserializationError, match="carrier: attribute 't' cannot be loaded"):
        carrier().from_bytes(data)


# Loading checks everything first


def test_truncation_at_every_byte_is_refused():
    for size in range(len(EXAMPLE)):
        assert_refused(empty_example(), EXAMPLE[:size])


def test_bytes_after_the_end_are_refused():
    assert_refused(empty_example(), EXAMPLE + b"\xc0", "goes on after the end")


def test_every_flipped_bit_loads_or_is_refused():
    loaded = 0
    for position in range(len(EXAMPLE)):
        for bit in range(8):
            data = bytearray(EXAMPLE)
            data[position] ^= 1 << bit
            model = example()
            before = snapshot(model)
            try:
                model.from_bytes(data)
            except DeserializationError:
                assert snapshot(model) == before
            else:
                loaded += 1
                assert model.get_param("W").shape == (1, 2)
                model.to_bytes()
    # Flips in names, values and weights are just other models.
    assert 0 < loaded < len(EXAMPLE) * 4


@given(st.binary(max_size=300))
def test_random_bytes_are_refused(data):
    assert_refused(empty_example(), data)


@given(NESTED)
def test_other_messages_are_refused(value):
    assert_refused(empty_example(), msgpack.packb(value))
    with pytest.raises(DeserializationError):
        empty_example().from_dict(value)
    assert empty_example().can_from_dict(value) is False


def test_only_bytes_are_taken():
    with pytest.raises(TypeError, match="from_bytes expects bytes, got str"):
        carrier().from_bytes("text")
    for kind in (bytearray, memoryview):
        assert empty_example().from_bytes(kind(EXAMPLE)).attrs["k"] == 3


def changed(path, value):
    """The example as a message, with one entry replaced or (value is Ellipsis) deleted."""
    msg = msgpack.unpackb(EXAMPLE, strict_map_key=False)
    place = msg
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return msgpack.packb(msg)


def array(data=bytes(8), type_="<f4", shape=(1, 2), **more):
    fields = {b"nd": True, b"type": type_, b"kind": b"", b"shape": shape, b"data": data}
    return {**fields, **more}


W = ("params", 0, "W")
HOSTILE = {
    "no nodes": (("nodes",), ..., "incompatible version of Thinc"),
    "no attrs": (("attrs",), ..., "no list 'attrs'"),
    "params no list": (("params",), 3, "no list 'params'"),
    "nodes a map": (("nodes",), {"x": 1}, "no list 'nodes'"),
    "too few params": (("params",), [{}], r"mismatched structure \(1 params .* 2 nodes"),
    "too many nodes": (("nodes",), [{}] * 3, "mismatched structure"),
    "node no map": (("nodes", 0), 5, "a: its description should be a map, not int"),
    "node key no str": (("nodes", 0, 7), 5, "a name in its description is of type int"),
    "wrong index": (("nodes", 1, "index"), 0, r"b \(layers\[0\] of \"a\"\): node 1 has the"),
    "name no str": (("nodes", 1, "name"), b"b", "its name is of type"),
    "no name": (("nodes", 1, "name"), ..., "its name is of type NoneType"),
    "dims no map": (("nodes", 0, "dims"), [1], "its dims should be a map"),
    "dim a list": (("nodes", 0, "dims", "nO"), [1], "dimension 'nO' is of type list"),
    "dim a bool": (("nodes", 0, "dims", "nO"), True, "dimension 'nO' is of type bool"),
    "dim unknown": (("nodes", 0, "dims", "nX"), 1, r"unknown dimension 'nX', known are \('nO'"),
    "ref out of range": (("nodes", 0, "refs", "r"), 2, "reference 'r' points to 2"),
    "ref negative": (("nodes", 0, "refs", "r"), -1, "reference 'r' points to -1"),
    "ref a str": (("nodes", 0, "refs", "r"), "x", "reference 'r' points to 'x'"),
    "attr no bytes": (("attrs", 0, "k"), 3, "attribute 'k' is int, not bytes"),
    "attr cut": (("attrs", 0, "k"), b"\x92\x01", "attribute 'k' cannot be loaded"),
    "attr empty": (("attrs", 0, "k"), b"", "attribute 'k' cannot be loaded"),
    "attr too long": (("attrs", 0, "k"), b"\x01\x02", "ends after 1 of its 2 bytes"),
    "attrs no map": (("attrs", 0), [], "its attrs should be a map"),
    "params a str": (("params", 0), "W", "its params should be a map"),
    "param unknown": (("params", 0, "X"), array(), "unknown parameter 'X', known are"),
    "unknown and unset": (("params", 0, "X"), None, "unknown parameter 'X'"),
    "param a str": (W, "1.0", "parameter 'W' is str, not an array"),
    "param bytes": (W, b"1.0", "parameter 'W' is memoryview, not an array"),
    "param a list": (W, [[1.0, 2.0]], "parameter 'W' is list, not an array"),
    "param an int": (W, 1, "parameter 'W' is int, not an array"),
    "param a map": (W, {"x": 1}, "parameter 'W' is dict, not an array"),
    "param a numpy scalar": (W, {b"nd": False, b"type": "<f4", b"data": bytes(4)}, "float32, not"),
    "object dtype": (W, array(type_="|O8"), "not a plain dtype"),
    "python dtype": (W, array(type_="O"), "not a plain dtype"),
    "void dtype": (W, array(type_="|V8", shape=(1,)), "not a plain dtype"),
    "text dtype": (W, array(type_="<U1"), "parameter 'W' is of dtype <U1"),
    "date dtype": (W, array(type_="<M8[s]", shape=(1,)), "parameter 'W' is of dtype datetime64"),
    "comma dtype": (W, array(type_="<f4,<f4", shape=(1,)), "not a plain dtype"),
    "no such size": (W, array(type_="<f3"), "not a dtype"),
    "empty item": (W, array(type_="<U0", data=b""), "not a plain dtype"),
    "dtype no str": (W, array(type_=4), "not a plain dtype"),
    "structured": (W, array(type_=[["a", "<f4"], ["b", "<f4"]], shape=(1,)), "is of dtype"),
    "nested fields": (W, array(type_=[["a", "<f4", [2]]], shape=(1,)), "not a plain dtype"),
    "field no pair": (W, array(type_=[1]), "not a plain dtype|not a saved"),
    "too little data": (W, array(data=bytes(7)), "takes 8 bytes, but has 7"),
    "too much data": (W, array(data=bytes(9)), "takes 8 bytes, but has 9"),
    "huge shape": (W, array(shape=(2**31, 2**31)), "but has 8"),
    "overflowing shape": (W, array(shape=(2**62, 4), data=b""), "but has 0"),
    "negative shape": (W, array(shape=(-1, -2)), "an array's shape is"),
    "huge and empty": (W, array(shape=(2**63 - 1, 0), data=b""), "not an array|expected"),
    "shape no list": (W, array(shape=2), "an array's shape is 2"),
    "shape of floats": (W, array(shape=(1.0, 2.0)), "an array's shape is"),
    "shape of bools": (W, array(shape=(True, 2)), "an array's shape is"),
    "many dims": (W, array(shape=(1,) * 33 + (2,)), "an array's shape is"),
    "data a str": (W, array(data="12345678"), "data is of type str"),
    "data a list": (W, array(data=[0] * 8), "data is of type list"),
    "no such complex": (W, {b"complex": True, b"data": "__import__('os')"}, "not a complex"),
    "wrong shape": (W, array(shape=(2, 1)), r"shape \(2, 1\), expected \(1, 2\)"),
    "wrong rank": (W, array(shape=(2,)), r"shape \(2,\), expected \(1, 2\)"),
    "integers": (W, array(type_="<i4"), "dtype int32, expected float32"),
    "bools": (W, array(type_="|b1", data=bytes(2)), "dtype bool, expected float32"),
    "shims no list": (("shims", 0), {}, "no list of shims in the data, 0 here"),
    "too many shims": (("shims", 1), [b"x"], r"b \(layers\[0\] of \"a\"\): 1 shims in the data"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_messages_are_refused(case):
    path, value, match = HOSTILE[case]
    assert_refused_or_cannot_decode(example(), changed(path, value), match)


def assert_refused_or_cannot_decode(model, data, match):
    """As assert_refused, but can_from_* looks at the attributes' bytes, not at their values."""
    before = snapshot(model)
    with pytest.raises(DeserializationError, match=match):
        model.from_bytes(data)
    assert snapshot(model) == before
    assert model.can_from_bytes(data) is False


def test_a_failure_in_the_last_node_changes_nothing():
    data = changed(("attrs", 1), {"bad": b"\xc1"})
    model = example()
    model.name, model.attrs["k"] = "mine", "mine"
    before = snapshot(model)
    with pytest.raises(DeserializationError, match=r"b \(layers\[0\] of \"mine\"\): attribute"):
        model.from_bytes(data)
    assert snapshot(model) == before


def test_another_float_dtype_is_accepted():
    data = changed(W, array(type_="<f8", data=struct.pack("<2d", 1.0, 2.0)))
    model = example().from_bytes(data)
    assert model.get_param("W").dtype == "float64"
    data = changed(W, array(type_=">f4", data=struct.pack(">2f", 1.0, 2.0)))
    W_big_endian = example().from_bytes(data).get_param("W")
    assert_array_equal(W_big_endian, [[1.0, 2.0]])
    assert W_big_endian.dtype.isnative


@pytest.mark.parametrize("data", [
    b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff",
    b"\xdd\x00\x0f\x00\x00" * 200 + bytes(2**20), b"\x91" * 100_000, b"\x81\xa0" * 50_000,
    b"\xc7\x01\x00\x00", b"\xd8" + bytes(17), b"\xc1",
    b"\x82\xa1a\x01\xa1a\x02", b"\x81\xca\x00\x00\x00\x00\x01", b"\x81\x90\x01", b"\xa1\xff",
])  # fmt: skip
def test_claims_beyond_the_data_are_refused_without_memory(data):
    model = carrier()
    tracemalloc.start()
    try:
        assert_refused(model, data)
        with contextlib.suppress(DeserializationError):
            serialize.unpack_value(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40 * len(data) + 2_000_000


def test_the_number_of_items_is_limited(monkeypatch):
    monkeypatch.setattr(serialize, "MAX_ITEMS", 50)
    with pytest.raises(DeserializationError, match="more than 50 items"):
        serialize.parse_message(msgpack.packb([0] * 60))


def test_a_map_with_a_key_twice_is_refused():
    with pytest.raises(DeserializationError, match="the key 'a' twice"):
        serialize.parse_message(b"\x82\xa1a\x01\xa1a\x02")


@given(NESTED)
def test_messages_round_trip_like_msgpack(value):
    data = msgpack.packb(value)
    assert b"".join(serialize.message_parts(value)) == data
    assert serialize.parse_message(data) == value


def test_loading_copies_once_and_saving_not_more():
    size = 8_000_000
    model = carrier(params={"W": numpy.ones(size // 4, dtype="f")})
    tracemalloc.start()
    try:
        data = model.to_bytes()
        assert tracemalloc.get_traced_memory()[1] < 1.1 * size
        tracemalloc.reset_peak()
        held = tracemalloc.get_traced_memory()[0]
        model.from_bytes(data)
        assert tracemalloc.get_traced_memory()[1] - held < 1.1 * size
    finally:
        tracemalloc.stop()


# Shims


class ByteShim(Shim):
    def __init__(self, state):
        super().__init__(None)
        self.state = state

    def to_bytes(self):
        return self.state

    def from_bytes(self, data):
        if data == b"bad":
            self.state = b"half loaded"
            raise RuntimeError("cannot read this")
        self.state = data
        return self


def test_shims_are_saved_and_loaded():
    def make(*states):
        return carrier(shims=[ByteShim(state) for state in states])

    data = make(b"one", b"x" * 5000, [1, "two", numpy.ones(2)]).to_bytes()
    loaded = make(b"", b"", b"").from_bytes(data)
    assert loaded.shims[0].state == b"one" and loaded.shims[1].state == b"x" * 5000
    assert loaded.shims[2].state[:2] == [1, "two"]
    assert_array_equal(loaded.shims[2].state[2], numpy.ones(2))
    assert loaded.can_from_bytes(data)
    assert_refused(make(b""), data, "3 shims in the data, 1 here")


def test_when_a_shim_fails_the_others_are_restored():
    data = carrier("new", attrs={"a": 2}, shims=[ByteShim(b"new"), ByteShim(b"bad")]).to_bytes()
    model = carrier("old", attrs={"a": 1}, shims=[ByteShim(b"old"), ByteShim(b"old")])
    with pytest.raises(DeserializationError, match="old: ByteShim cannot be loaded: cannot read"):
        model.from_bytes(data)
    assert model.name == "old" and model.attrs == {"a": 1}
    assert model.shims[0].state == b"old"


# Asking first


def test_can_from_is_strict_about_names_and_attributes():
    data = affine(2, 3).initialize().to_bytes()
    other = affine(2, 3, name="other")
    assert not other.can_from_bytes(data) and other.can_from_bytes(data, strict=False)
    model = example()
    model.attrs["k"] = 4
    assert not model.can_from_bytes(EXAMPLE) and model.can_from_bytes(EXAMPLE, strict=False)
    del model.attrs["k"]
    assert model.can_from_bytes(EXAMPLE)
    model.attrs["k"] = len
    assert model.can_from_bytes(EXAMPLE)


def test_can_from_compares_dims_and_shapes():
    data = affine(2, 3).initialize().to_bytes()
    assert affine().can_from_bytes(data) and affine(2).can_from_bytes(data)
    assert not affine(2, 4).can_from_bytes(data)
    assert not affine(2, 3).can_from_bytes(affine(2).to_bytes())
    model = affine(2, 3).initialize()
    model.set_param("W", numpy.zeros((2, 4)))
    assert not model.can_from_bytes(data, strict=False)
    assert not carrier().can_from_bytes(carrier(dims={"unset": None}).to_bytes())


# Files


def test_disk_holds_the_bytes(tmp_path):
    path = tmp_path / "model.bin"
    assert example().can_from_disk(path) is False
    assert example().can_from_disk(tmp_path) is False
    example().to_disk(path)
    assert path.read_bytes() == EXAMPLE
    example().to_disk(str(path))
    assert os.listdir(tmp_path) == ["model.bin"]
    assert empty_example().from_disk(str(path)).to_bytes() == EXAMPLE
    assert example().can_from_disk(path) and not two_layers().can_from_disk(str(path))
    with pytest.raises(FileNotFoundError):
        example().from_disk(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="absent/model"):
        example().to_disk(tmp_path / "absent" / "model")
    with pytest.raises(IsADirectoryError):
        example().to_disk(tmp_path)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.bin"
    path.write_bytes(b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        example().to_disk(path)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["model.bin"]
    model = example()
    model.set_param("b", numpy.array([object()]))
    with pytest.raises(ValueError):
        model.to_disk(path)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["model.bin"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_permissions_and_links_are_kept(tmp_path):
    path, link = tmp_path / "model.bin", tmp_path / "link"
    old_umask = os.umask(0o027)
    try:
        example().to_disk(path)
    finally:
        os.umask(old_umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o600)
    link.symlink_to(path)
    two_layers().to_disk(link)
    assert link.is_symlink() and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert two_layers().from_disk(path).name == "outer"


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="no /dev/null")
def test_devices_are_written_to(tmp_path):
    example().to_disk("/dev/null")
    assert not os.path.isfile("/dev/null")


def test_path_like_objects_are_opened_by_themselves(tmp_path):
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        example().to_disk(zipfile.Path(archive, "model.bin"))
    with zipfile.ZipFile(tmp_path / "archive.zip") as archive:
        member = zipfile.Path(archive, "model.bin")
        assert empty_example().can_from_disk(member, strict=False)
        assert empty_example().from_disk(member).to_bytes() == EXAMPLE


def test_path_subclasses_and_foreign_paths_work(tmp_path):
    class Logging(type(Path())):
        opened = []

        def open(self, mode="r", *args, **kwargs):
            self.opened.append(mode)
            return super().open(mode, *args, **kwargs)

    example().to_disk(Logging(tmp_path / "a"))
    assert Logging.opened == ["wb"]
    assert empty_example().from_disk(Logging(tmp_path / "a")).to_bytes() == EXAMPLE

    class Foreign:
        def __fspath__(self):
            return str(PurePosixPath(tmp_path) / "b")

    example().to_disk(Foreign())
    assert example().can_from_disk(Foreign())
    assert empty_example().from_disk(Foreign()).to_bytes() == EXAMPLE
