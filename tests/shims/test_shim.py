import pytest

from thinc.shims import Shim


class Doubling(Shim):
    def __call__(self, inputs, is_train):
        return (2 * inputs, is_train), lambda dY: 2 * dY

    def to_bytes(self):
        return bytes(self._model)

    def from_bytes(self, data):
        self._model = list(data)
        return self


def test_arguments_are_kept_and_the_config_is_copied():
    config = {"a": 1}
    shim = Shim("model", config, "optimizer")
    config["b"] = 2
    assert (shim._model, shim.cfg, shim._optimizer) == ("model", {"a": 1}, "optimizer")
    assert Shim(None).cfg == {}


def test_predict_and_begin_update_call_the_shim():
    shim = Doubling(None)
    assert shim.predict(3) == (6, False)
    Y, backprop = shim.begin_update(3)
    assert Y == (6, True) and backprop(1) == 2


def test_a_copy_is_deep_and_has_its_own_id():
    shim = Doubling([1, [2]])
    copied = shim.copy()
    assert type(copied) is Doubling and copied._model == [1, [2]]
    assert copied._model[1] is not shim._model[1]
    assert copied.id > shim.id


@pytest.mark.parametrize("as_type", [str, lambda path: path], ids=["str", "Path"])
def test_disk_holds_the_bytes(tmp_path, as_type):
    path = tmp_path / "shim"
    Doubling([1, 2, 3]).to_disk(as_type(path))
    assert path.read_bytes() == b"\x01\x02\x03"
    assert Doubling(None).from_disk(as_type(path))._model == [1, 2, 3]


@pytest.mark.parametrize(
    "method, args",
    [
        ("__call__", (1, False)), ("predict", (1,)), ("begin_update", (1,)),
        ("finish_update", (None,)), ("to_device", ("cpu", -1)), ("to_bytes", ()),
        ("from_bytes", (b"",)),
    ],
)  # fmt: skip
def test_what_the_base_class_leaves_open_is_named(method, args):
    expected = "__call__" if method in ("predict", "begin_update") else method
    with pytest.raises(NotImplementedError, match=f"Shim does not implement {expected}"):
        getattr(Shim(None), method)(*args)


def test_use_params_of_the_base_class_does_nothing():
    with Shim(None).use_params({(1, "W"): 2}):
        pass
