"""Files in the safetensors format: what is in them, and that loading them is safe."""

import json
import os
import struct
import subprocess
import sys

import numpy
import pytest
from frameworks import import_or_skip
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from small_models import affine

safetensors = import_or_skip("safetensors")
import_or_skip("safetensors.numpy")

from thinc.api import (  # noqa: E402
    HashEmbed,
    LayerNorm,
    Linear,
    Maxout,
    Model,
    Relu,
    Shim,
    chain,
    clone,
    concatenate,
    residual,
)
from thinc.serialize import DeserializationError  # noqa: E402

X = numpy.random.default_rng(0).normal(size=(5, 4)).astype("f")


def network(seed=0):
    numpy.random.seed(seed)
    shared = Relu(4)
    return chain(shared, residual(Maxout(4, nP=2, normalize=True)), shared, Linear(3))


def trained(seed=0):
    return network(seed).initialize(X, numpy.zeros((5, 3), "f"))


def save(model, tmp_path):
    path = tmp_path / "model.safetensors"
    model.to_safetensors(path)
    return path


def tensors(path):
    return safetensors.numpy.load_file(path)


def metadata(path):
    with safetensors.safe_open(path, framework="numpy") as file:
        return file.metadata()


# ---- what is in a file -----------------------------------------------------------


def test_names_are_the_places_of_the_nodes(tmp_path):
    model = trained()
    found = tensors(save(model, tmp_path))
    assert set(found) == {
        "layers.0.W",
        "layers.0.b",
        "layers.1.layers.0.layers.0.W",
        "layers.1.layers.0.layers.0.b",
        "layers.1.layers.0.layers.1.G",
        "layers.1.layers.0.layers.1.b",
        "layers.3.W",
        "layers.3.b",
    }
    assert_array_equal(found["layers.3.W"], model.layers[3].get_param("W"))
    single = tensors(save(Linear(2, 3).initialize(), tmp_path))
    assert set(single) == {"W", "b"}


def test_names_do_not_depend_on_names_of_layers_or_ids(tmp_path):
    one, two = trained(), trained()
    two.layers[0].name = "another"
    assert set(tensors(save(one, tmp_path))) == set(tensors(save(two, tmp_path)))


def test_a_node_in_several_places_is_saved_once(tmp_path):
    shared = affine(4, 4).initialize()
    model = chain(affine(4, 4).initialize(), chain(shared, shared), shared)
    # Breadth first: the place in the outer chain comes first.
    names = set(tensors(save(model, tmp_path)))
    assert names == {"layers.0.W", "layers.0.b", "layers.2.W", "layers.2.b"}


def test_the_metadata_is_json_with_what_tensors_do_not_say(tmp_path):
    model = trained()
    found = metadata(save(model, tmp_path))
    assert found["format"] == "np"
    described = json.loads(found["thinc"])
    assert [node["name"] for node in described["nodes"]] == [node.name for node in model.walk()]
    assert described["nodes"][1]["dims"] == {"nO": 4, "nI": 4}


@pytest.mark.parametrize("layout", ["F order", "reversed", "big-endian", "scalar-like", "empty"])
def test_every_layout_is_saved_as_it_reads(layout, tmp_path):
    base = numpy.arange(12, dtype="f").reshape(3, 4)
    value = {
        "F order": numpy.asfortranarray(base),
        "reversed": base[::-1, ::2],
        "big-endian": base.astype(">f4"),
        "scalar-like": numpy.array(3.0, dtype="f"),
        "empty": base[:0],
    }[layout]
    model = Model("any", lambda model, X, is_train: X, params={"W": value})
    path = save(model, tmp_path)
    assert_array_equal(tensors(path)["W"], value)
    assert tensors(path)["W"].shape == value.shape
    other = Model("any", lambda model, X, is_train: X, params={"W": numpy.zeros_like(value)})
    assert_array_equal(other.from_safetensors(path).get_param("W"), value)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u4", "u8", "?"])
def test_dtypes_round_trip(dtype, tmp_path):
    value = numpy.array([0, 1, 1], dtype=dtype)
    model = Model("any", lambda model, X, is_train: X, params={"W": value})
    other = Model("any", lambda model, X, is_train: X, params={"W": None})
    loaded = other.from_safetensors(save(model, tmp_path)).get_param("W")
    assert loaded.dtype == dtype and loaded.flags.writeable
    assert_array_equal(loaded, value)


def test_dtypes_that_the_format_lacks(tmp_path):
    model = Model("any", lambda model, X, is_train: X, params={"W": numpy.zeros(2, "c16")})
    with pytest.raises(ValueError, match="any: parameter 'W' is of dtype complex128, which safe"):
        save(model, tmp_path)
    assert os.listdir(tmp_path) == []


# ---- round trips -----------------------------------------------------------------


@pytest.mark.parametrize("as_type", [str, lambda path: path], ids=["str", "Path"])
def test_round_trip(tmp_path, as_type):
    model, other = trained(), trained(seed=1)
    path = as_type(save(model, tmp_path))
    assert not numpy.allclose(other.predict(X), model.predict(X))
    assert other.from_safetensors(path) is other
    assert_array_equal(other.predict(X), model.predict(X))
    assert other.to_bytes() == model.to_bytes()


def test_a_model_that_was_not_initialized_takes_everything(tmp_path):
    model, other = trained(), network(seed=1)
    other.from_safetensors(save(model, tmp_path))
    assert other.layers[3].get_dim("nI") == 4 and other.layers[0] is other.layers[2]
    assert other.to_bytes() == model.to_bytes()


def test_attributes_and_references_are_kept(tmp_path):
    def make(rate):
        inner = affine(2, 2).initialize()
        return Model(
            "outer", lambda model, X, is_train: X, layers=[inner], attrs={"rate": rate, "f": len},
            refs={"inner": None},
        )  # fmt: skip

    model, other = make({"a": [0.5, None]}), make(1)
    model.set_ref("inner", model.layers[0])
    other.from_safetensors(save(model, tmp_path))
    assert other.attrs["rate"] == {"a": [0.5, None]} and other.attrs["f"] is len
    assert other.get_ref("inner") is other.layers[0]


def test_unallocated_parameters_stay_out(tmp_path):
    model = chain(affine(3, 4).initialize(), affine())
    path = save(model, tmp_path)
    assert set(tensors(path)) == {"layers.0.W", "layers.0.b"}
    other = chain(affine(3, 4).initialize(), affine()).from_safetensors(path)
    assert other.layers[1].has_param("W") is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: clone(Relu(4, dropout=0.1, normalize=True), 3),
        lambda: concatenate(Relu(2), LayerNorm(), Maxout(3)),
    ],
)
def test_round_trips_of_combinators(make, tmp_path):
    model = make().initialize(X)
    other = make().from_safetensors(save(model, tmp_path))
    assert_array_equal(other.predict(X), model.predict(X))


def test_integer_tables_and_seeds(tmp_path):
    ids = numpy.array([[1], [7]], dtype="uint64")
    model = HashEmbed(4, 10, seed=3, column=0).initialize(ids)
    other = HashEmbed(4, 10, seed=5, column=0).initialize(ids)
    other.from_safetensors(save(model, tmp_path))
    assert_array_equal(other.predict(ids), model.predict(ids))


class Text(Shim):
    """A shim whose weights are a string; rejects what it was not meant to load."""

    def to_bytes(self):
        return self._model.encode()

    def from_bytes(self, data):
        assert isinstance(data, bytes)
        if not data.startswith(b"text"):
            raise ValueError("no text")
        self._model = data.decode()
        return self


def with_shims(*texts):
    return chain(
        affine(3, 4).initialize(),
        Model("wrap", lambda model, X, is_train: X, shims=[Text(text) for text in texts]),
    )


def test_shims_are_tensors_of_bytes(tmp_path):
    path = save(with_shims("text a", "text"), tmp_path)
    assert tensors(path)["layers.1.shims.0"].tobytes() == b"text a"
    other = with_shims("text x", "text y").from_safetensors(path)
    assert [shim._model for shim in other.layers[1].shims] == ["text a", "text"]


def test_a_shim_that_cannot_be_saved_yet_can_be_loaded(tmp_path):
    class Late(Text):
        def to_bytes(self):
            if self._model is None:
                raise ValueError("empty as yet")
            return super().to_bytes()

    def make(text):
        return Model("wrap", lambda model, X, is_train: X, shims=[Late(text)])

    path = save(make("text a"), tmp_path)
    assert make(None).from_safetensors(path).shims[0]._model == "text a"
    foreign(path, {"shims.0.params.W": X}, ["shims.0"])
    with pytest.raises(DeserializationError, match=r"unknown \(shims.0.params.W\). shims.0: empty"):
        make(None).from_safetensors(path)


def test_data_of_a_shim_that_only_looks_like_ours_stays_as_it_is(tmp_path):
    class Raw(Shim):
        def to_bytes(self):
            return self._model

        def from_bytes(self, data):
            self._model = data
            return self

    # The same map in a longer notation: taken apart and packed again it would be shorter.
    for data in (b"\xde\x00\x01\xa6config\x80", b"\x81\xa6config\x80", b"", b"\xff"):
        model, other = (
            Model("wrap", lambda model, X, is_train: X, shims=[Raw(content)])
            for content in (data, b"other")
        )
        path = save(model, tmp_path)
        if data == b"\x81\xa6config\x80":
            assert tensors(path) == {}
            other.shims[0]._model = data
        assert other.from_safetensors(path).shims[0]._model == data


def test_a_shim_that_fails_leaves_everything_as_it_was(tmp_path):
    path = save(with_shims("text a", "rubbish"), tmp_path)
    other = with_shims("text x", "text y")
    before = other.to_bytes()
    with pytest.raises(DeserializationError, match=r"wrap \(layers\[1\] of .*Text cannot be loade"):
        other.from_safetensors(path)
    assert other.to_bytes() == before


def test_a_shim_that_returns_no_bytes_is_an_error(tmp_path):
    class Pair(Text):
        def to_bytes(self):
            return ("a", "b")

    model = Model("wrap", lambda model, X, is_train: X, shims=[Pair("text")])
    with pytest.raises(TypeError, match="shims.0: its to_bytes returned tuple"):
        save(model, tmp_path)


def test_names_that_collide_are_refused(tmp_path):
    inner = affine(2, 2).initialize()
    model = Model(
        "outer", lambda model, X, is_train: X, layers=[inner],
        params={"layers.0.W": numpy.zeros(2, "f")},
    )  # fmt: skip
    with pytest.raises(ValueError, match="Two parameters of 'outer' have the name 'layers.0.W'"):
        save(model, tmp_path)
    shimmed = Model(
        "outer", lambda model, X, is_train: X, shims=[Text("text")],
        params={"shims.0": numpy.zeros(2, "f")},
    )  # fmt: skip
    with pytest.raises(ValueError, match="are called 'shims.0'"):
        save(shimmed, tmp_path)


# ---- files of other programs -----------------------------------------------------


def foreign(path, changes, drop=(), **kwargs):
    """The tensors of a file, changed, without our metadata."""
    content = {**tensors(path), **changes}
    content = {name: value for name, value in content.items() if name not in drop}
    safetensors.numpy.save_file(content, path, **kwargs)


def test_a_file_without_our_metadata(tmp_path):
    model, other = trained(), trained(seed=1)
    path = save(model, tmp_path)
    foreign(path, {}, metadata={"format": "pt"})
    other.from_safetensors(path)
    assert other.to_bytes() == model.to_bytes()


REFUSED = {
    "missing": (({}, ["layers.3.b"]), r"1 tensors are missing \(layers.3.b\), 0 are unknown"),
    "extra": (({"layers.9.b": X}, []), r"0 tensors are missing \(none\), 1 are unknown \(layers.9"),
    "shape": (
        ({"layers.3.W": X[:3, :3].copy()}, []),
        r"linear \(layers\[3\] of .*'layers.3.W' is of shape \(3, 3\), expected \(3, 4\)",
    ),
    "dtype": (
        ({"layers.3.W": numpy.zeros((3, 4), "i4")}, []),
        r"linear \(layers\[3\] of .*'W' is of dtype int32, expected float32",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("ours", [True, False])
def test_a_file_that_does_not_fit_changes_nothing(case, ours, tmp_path):
    (changes, drop), message = REFUSED[case]
    path = save(trained(), tmp_path)
    foreign(path, changes, drop, metadata=metadata(path) if ours else None)
    model = trained(seed=1)
    before = model.to_bytes()
    with pytest.raises(DeserializationError, match=message):
        model.from_safetensors(path)
    assert model.to_bytes() == before


def test_a_float_may_stand_for_another(tmp_path):
    path = save(trained(), tmp_path)
    double = numpy.ones((3, 4))
    foreign(path, {"layers.3.W": double})
    model = trained(seed=1).from_safetensors(path)
    assert_array_equal(model.layers[3].get_param("W"), double)


def test_dtypes_that_numpy_lacks(tmp_path):
    path = tmp_path / "bf16"
    header = json.dumps({"W": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(12))
    model = Linear(2, 3).initialize()
    model.set_param("b", None)
    with pytest.raises(DeserializationError, match="'W' is of dtype BF16, which numpy does not"):
        model.from_safetensors(path)


def test_shims_have_to_be_bytes(tmp_path):
    path = save(with_shims("text"), tmp_path)
    foreign(path, {"layers.1.shims.0": X})
    with pytest.raises(DeserializationError, match="shims.0: expected bytes, a 1-d tensor of dtyp"):
        with_shims("text").from_safetensors(path)


# ---- hostile and damaged files ---------------------------------------------------


METADATA = [
    "",
    "[",
    "[]",
    "{}",
    "3",
    '{"nodes": 1, "attrs": []}',
    '{"nodes": [], "attrs": []}',
    '{"nodes": [{}], "attrs": [{}]}',
    '{"nodes": [1], "attrs": [1]}',
    '{"nodes": [{"name": "x", "dims": {}, "refs": {}}], "attrs": [{"a": "\u00e9"}]}',
    '{"nodes": [{"name": "x", "dims": {}, "refs": {}}], "attrs": [{"a": 3}]}',
    '{"nodes": [{"name": "x", "dims": {}, "refs": {}}], "attrs": [{"a": "AAAA"}]}',
    '{"nodes": [{"name": "x", "dims": {"nO": 7}, "refs": {}}], "attrs": [{}]}',
    '{"nodes": [{"name": "x", "dims": {}, "refs": {"r": 9}}], "attrs": [{}]}',
    "[" * 100_000,
]


@pytest.mark.parametrize("text", METADATA, ids=range(len(METADATA)))
def test_malformed_metadata(text, tmp_path):
    model = Linear(2, 3).initialize()
    path = save(model, tmp_path)
    foreign(path, {"W": numpy.ones((2, 3), "f")}, metadata={"thinc": text})
    before = model.to_bytes()
    with pytest.raises(DeserializationError):
        model.from_safetensors(path)
    assert model.to_bytes() == before


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    path = save(trained(), folder)
    return path.read_bytes(), folder / "damaged", trained(seed=1)


@given(data=st.data())
def test_damaged_files_are_rejected_or_loaded_whole(saved, data):
    content, path, model = saved
    if data.draw(st.booleans()):
        damaged = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        place = data.draw(st.integers(0, len(content) - 1))
        damaged = bytearray(content)
        damaged[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(damaged)
    before = model.to_bytes()
    try:
        model.from_safetensors(path)
    except DeserializationError:
        assert model.to_bytes() == before
    model.from_bytes(before)


@pytest.mark.parametrize("n", [0, 7, 8, 100, -1])
def test_truncated_files(n, saved):
    content, path, model = saved
    path.write_bytes(content[:n])
    with pytest.raises(DeserializationError, match="damaged is no safetensors file: .*header"):
        model.from_safetensors(path)


def test_files_that_are_not_there(tmp_path):
    model = trained()
    with pytest.raises(FileNotFoundError, match="nothing"):
        model.from_safetensors(tmp_path / "nothing")
    with pytest.raises(IsADirectoryError, match="is a folder, expected a safetensors file"):
        model.from_safetensors(tmp_path)
    with pytest.raises(FileNotFoundError):
        model.to_safetensors(tmp_path / "no folder" / "model")


def test_a_failed_save_keeps_the_old_file(tmp_path, monkeypatch):
    path = save(trained(), tmp_path)
    before = path.read_bytes()

    def fail(*args):
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="the disk is full"):
        trained(seed=1).to_safetensors(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == [path.name]


def test_nothing_is_read_before_the_header_fits(tmp_path, monkeypatch):
    path = save(trained(), tmp_path)
    read = []

    class Watched:
        def __init__(self, *args, **kwargs):
            self.file = real(*args, **kwargs)

        def __enter__(self):
            self.file.__enter__()
            return self

        def __exit__(self, *error):
            return self.file.__exit__(*error)

        def get_tensor(self, name):
            read.append(name)
            return self.file.get_tensor(name)

        def __getattr__(self, name):
            return getattr(self.file, name)

    real = safetensors.safe_open
    monkeypatch.setattr(safetensors, "safe_open", Watched)
    model = trained(seed=1)
    model.layers[3].set_param("W", numpy.zeros((9, 9), "f"))
    with pytest.raises(DeserializationError, match="expected"):
        model.from_safetensors(path)
    assert read == []
    trained(seed=1).from_safetensors(path)
    assert len(read) == 8


# ---- without the library ---------------------------------------------------------


def test_without_the_library_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    for use in (trained().to_safetensors, trained().from_safetensors):
        with pytest.raises(ImportError, match=r"pip install thinc\[safetensors\]"):
            use(tmp_path / "model")


def test_the_api_does_not_import_it():
    code = "import sys, thinc.api; print('safetensors' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
