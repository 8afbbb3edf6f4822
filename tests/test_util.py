import random

import numpy
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from thinc import compat, util
from thinc.backends import MPSOps, NumpyOps, Ops, set_current_ops
from thinc.model import Model
from thinc.types import ArgsKwargs, Padded, Pairs, Ragged
from thinc.util import (
    ArrayInfo,
    convert_recursive,
    copy_array,
    evaluate_model_on_arrays,
    fix_random_seed,
    get_array_module,
    get_shuffled_batches,
    get_width,
    iterate_recursive,
    make_tempfile,
    minibatch,
    partial,
    to_categorical,
    to_numpy,
    torch2xp,
    use_nvtx_range,
    xp2torch,
)

# ---- randomness --------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 7, -1, 2**32 + 5, 2**70])
def test_fix_random_seed_repeats(seed):
    def draw():
        fix_random_seed(seed)
        return random.random(), numpy.random.uniform()

    assert draw() == draw()


def test_seeds_are_reduced_to_what_numpy_takes():
    fix_random_seed(2**32 + 5)
    first = numpy.random.uniform()
    fix_random_seed(5)
    assert numpy.random.uniform() == first


# ---- batches and accuracy ----------------------------------------------------------


def test_minibatch_slices_sequences_and_lists_iterators():
    assert [list(b) for b in minibatch(range(5), 2)] == [[0, 1], [2, 3], [4]]
    assert list(minibatch(iter("abc"), 2)) == [["a", "b"], ["c"]]
    assert list(minibatch("abcdef", iter([1, 2, 9]))) == ["a", "bc", "def"]
    assert len(next(minibatch(numpy.zeros((20, 2))))) == 8
    assert list(minibatch([], 3)) == list(minibatch(iter(()), 3)) == []
    for items in ([1, 2, 3], iter([1, 2, 3])):
        with pytest.raises(ValueError, match="at least 1, got 0"):
            list(minibatch(items, 0))
    with pytest.raises(ValueError, match="ended before"):
        list(minibatch([1, 2, 3], iter([1])))


@given(n=st.integers(0, 30), size=st.integers(1, 9))
def test_shuffled_batches_visit_each_row_once(n, size):
    X = numpy.arange(n)
    batches = list(get_shuffled_batches(X, X * 10, size))
    assert [len(xs) for xs, _ in batches] == [size] * (n // size) + [n % size] * (n % size > 0)
    for xs, ys in batches:
        assert_array_equal(ys, xs * 10)
    assert sorted(x for xs, _ in batches for x in xs) == list(range(n))


def test_shuffled_batches_follow_numpys_seed_and_have_a_default_size():
    X = numpy.arange(300)
    fix_random_seed(0)
    first = [xs for xs, _ in get_shuffled_batches(X, X)]
    second = [xs for xs, _ in get_shuffled_batches(X, X)]
    fix_random_seed(0)
    assert [len(xs) for xs in first] == [128, 128, 44]
    assert_array_equal(numpy.concatenate(first), numpy.concatenate([
        xs for xs, _ in get_shuffled_batches(X, X)
    ]))  # fmt: skip
    assert (numpy.concatenate(first) != numpy.concatenate(second)).any()
    with pytest.raises(ValueError, match="300 rows, but Y has 2"):
        next(get_shuffled_batches(X, X[:2]))


@pytest.mark.parametrize("batch_size", [1, 2, 128])
def test_evaluate_model_on_arrays(batch_size):
    model = Model("identity", lambda model, X, is_train: (X, lambda dY: dY))
    scores = numpy.array([[0, 1], [1, 0], [0, 1]], dtype="float32")
    truths = numpy.array([1, 1, 1])
    one_hot = to_categorical(truths)
    assert evaluate_model_on_arrays(model, scores, truths, batch_size) == 2 / 3
    assert evaluate_model_on_arrays(model, scores, one_hot, batch_size=batch_size) == 2 / 3
    assert evaluate_model_on_arrays(model, scores[:0], truths[:0]) == 0.0
    with pytest.raises(ValueError, match="3 inputs, but 2 labels"):
        evaluate_model_on_arrays(model, scores, truths[:2])


# ---- to_categorical, get_width -----------------------------------------------------


@given(st.lists(st.integers(0, 5), min_size=1), st.floats(0, 0.7))
def test_to_categorical_rows(labels, smoothing):
    Y = to_categorical(numpy.array(labels), 6, label_smoothing=smoothing)
    assert (Y.shape, Y.dtype) == ((len(labels), 6), "float32")
    assert_allclose(Y.sum(axis=1), 1, rtol=1e-5)
    assert_array_equal(Y.argmax(axis=1), labels)
    assert_allclose(Y.max(axis=1), 1 - smoothing, rtol=1e-6)


def test_to_categorical_shapes_and_kinds():
    assert_array_equal(to_categorical(numpy.array([0, 2])), [[1, 0, 0], [0, 0, 1]])
    assert to_categorical(numpy.array([[0], [1]])).shape == (2, 1, 2)
    assert_array_equal(to_categorical(numpy.array([True, False])), [[0, 1], [1, 0]])
    assert to_categorical(numpy.zeros(0, "int32")).shape == (0, 0)
    assert to_categorical(numpy.zeros(0, "int32"), 3).shape == (0, 3)


@pytest.mark.parametrize(
    "labels, kwargs, error, message",
    [
        ([0, -1], {}, ValueError, "negative, got -1"),
        ([0, 3], {"n_classes": 3}, IndexError, "Label 3 .* 3 classes"),
        ([0.0], {}, IndexError, "float64"),
        ([0], {"label_smoothing": -0.1}, ValueError, "greater than or equal to 0"),
        ([0], {"n_classes": 0}, ValueError, "at least 1"),
        ([0], {"label_smoothing": 0.1}, ValueError, "but 1 was provided"),
        ([0, 1], {"label_smoothing": 0.5}, ValueError, "less than 0.5, but found 0.5"),
    ],
)
def test_to_categorical_says_what_is_wrong(labels, kwargs, error, message):
    with pytest.raises(error, match=message):
        to_categorical(numpy.array(labels), **kwargs)


def test_to_categorical_wants_an_array():
    with pytest.raises(ValueError, match="Only numpy and cupy arrays"):
        to_categorical([0, 1])


def test_get_width():
    X = numpy.zeros((2, 3, 4))
    assert get_width(X) == 4
    assert get_width(X, dim=0) == 2
    assert get_width(numpy.array([1, 5, 2])) == 6
    assert get_width(numpy.zeros(0, "int32")) == 0
    assert get_width(numpy.array(3)) == 0
    assert get_width([X, X[0]]) == get_width((X,)) == 4
    assert get_width([]) == get_width(()) == 0
    assert get_width(Ragged(X[0], numpy.array([1, 2]))) == 4
    ints = numpy.zeros(3, "int32")
    assert get_width(Padded(X, ints, ints, ints)) == 4
    for bad in ("text", {"a": 1}, 3, None, Pairs([1], [2])):
        with pytest.raises(ValueError, match="Cannot get width of object.*" + type(bad).__name__):
            get_width(bad)


def test_array_info():
    info = ArrayInfo.from_array(numpy.zeros((2, 3), "float32"))
    info.check_consistency(numpy.ones((2, 3), "float32"))
    with pytest.raises(ValueError, match=r"Shape mismatch in backprop. Y: \(2, 3\), dY: \(2, 2\)"):
        info.check_consistency(numpy.ones((2, 2), "float32"))
    with pytest.raises(ValueError, match="Type mismatch in backprop. Y: float32, dY: float64"):
        info.check_consistency(numpy.ones((2, 3)))


# ---- nested values -------------------------------------------------------------------


def is_int(obj):
    return isinstance(obj, int)


def test_convert_recursive():
    nested = {"a": [1, (2, "x")], 3: ArgsKwargs((4,), {"k": {5: 6}}), "r": {7}}
    assert convert_recursive(is_int, str, nested) == {
        "a": ["1", ("2", "x")],
        "3": ArgsKwargs((), {"0": "4", "k": {"5": "6"}}),
        "r": {7},
    }
    assert convert_recursive(lambda obj: isinstance(obj, list), len, [[1, 2], 3]) == 2


def test_iterate_recursive():
    nested = {"a": [1, (2, "x")], 3: ArgsKwargs((4,), {"k": {5: 6}})}
    assert list(iterate_recursive(is_int, nested)) == [1, 2, 3, 0, 4, 5, 6]


# ---- arrays ----------------------------------------------------------------------------


def test_array_modules():
    assert get_array_module(numpy.zeros(2)) is numpy
    for other in ([1], 3, numpy.float32(1)):
        with pytest.raises(ValueError, match="Only numpy and cupy arrays are supported, but found"):
            get_array_module(other)
    X = numpy.zeros(2)
    assert to_numpy(X) is X
    assert_array_equal(to_numpy([1, 2]), [1, 2])


def test_predicates_without_frameworks():
    X = numpy.zeros(2)
    assert util.is_numpy_array(X) and util.is_xp_array(X)
    others = [
        "cupy", "torch", "torch_cuda", "torch_gpu", "torch_mps",
        "tensorflow", "tensorflow_gpu", "jax", "mxnet", "mxnet_gpu",
    ]  # fmt: skip
    assert not any(getattr(util, f"is_{name}_array")(X) for name in others)


@given(strategies.arrays())
def test_copy_array(X):
    dst = numpy.zeros_like(X)
    assert copy_array(dst=dst, src=X) is None
    assert_array_equal(dst, X)


def test_copy_array_broadcasts():
    dst = numpy.zeros((2, 3))
    copy_array(dst, numpy.arange(3))
    assert_array_equal(dst, [[0, 1, 2]] * 2)


# ---- small tools -----------------------------------------------------------------------


def test_partial_keeps_the_docstring():
    def double(x, y=1):
        """Twice."""
        return 2 * x * y

    assert partial(double, y=3)(2) == 12
    assert partial(double).__doc__ == "Twice."


def test_tempfile_is_removed_even_after_an_error(tmp_path):
    import os

    with make_tempfile("w") as file:
        file.write("x")
        assert os.path.exists(file.name)
    assert not os.path.exists(file.name)
    with pytest.raises(ZeroDivisionError):
        with make_tempfile() as file:
            raise ZeroDivisionError
    assert not os.path.exists(file.name) and file.closed


def test_nvtx_ranges_are_closed_even_after_an_error(monkeypatch):
    calls = []
    nvtx = type("nvtx", (), {})()
    nvtx.RangePush = lambda message, id_color: calls.append((message, id_color))
    nvtx.RangePop = lambda: calls.append("pop")
    cuda = type("cuda", (), {"nvtx": nvtx})()
    monkeypatch.setitem(vars(compat), "has_cupy", True)
    monkeypatch.setitem(vars(compat), "cupy", type("cupy", (), {"cuda": cuda})())
    with pytest.raises(ZeroDivisionError):
        with use_nvtx_range("forward", 3):
            raise ZeroDivisionError
    assert calls == [("forward", 3), "pop"]


# ---- optional packages -----------------------------------------------------------------


def test_every_flag_of_compat_can_be_read():
    flags = [name for name in dir(compat) if name.startswith("has_")]
    assert {"has_cupy", "has_torch", "has_gpu", "has_torch_amp", "has_os_signpost"} <= set(flags)
    for name in flags:
        assert isinstance(getattr(compat, name), bool), name
    for name in ("torch", "cupy", "h5py"):
        assert (getattr(compat, name) is not None) == getattr(compat, f"has_{name}")
    assert str(compat.cupy_version) and compat.torch_version is not None
    assert util.has_cupy_gpu == compat.has_cupy_gpu
    for module in (compat, util):
        with pytest.raises(AttributeError, match="nonsense"):
            getattr(module, "nonsense")  # noqa: B009


def test_tensorflow_is_enabled_for_everyone_at_once(monkeypatch):
    modules = __import__("sys").modules
    for flag in ("tensorflow", "has_tensorflow", "has_tensorflow_gpu"):
        monkeypatch.setitem(vars(compat), flag, None if flag == "tensorflow" else False)
    monkeypatch.setitem(modules, "tensorflow", None)  # cannot be imported
    with pytest.raises(ImportError, match=r"pip install thinc\[tensorflow\]"):
        util.xp2tensorflow(numpy.zeros(2))
    monkeypatch.setitem(modules, "tensorflow", FakeFramework())
    with pytest.warns(DeprecationWarning, match="support will be removed in Thinc v9"):
        compat.enable_tensorflow()
    assert compat.has_tensorflow and compat.tensorflow is modules["tensorflow"]
    tensor = util.xp2tensorflow(numpy.ones(2))
    assert util.is_tensorflow_array(tensor)
    assert_array_equal(util.tensorflow2xp(tensor), [1, 1])


def test_tensorflow_is_imported_by_the_first_conversion(monkeypatch):
    for flag in ("tensorflow", "has_tensorflow", "has_tensorflow_gpu"):
        monkeypatch.setitem(vars(compat), flag, None if flag == "tensorflow" else False)
    monkeypatch.setitem(__import__("sys").modules, "tensorflow", FakeFramework())
    assert util.is_tensorflow_array(util.xp2tensorflow(numpy.ones(2)))
    assert compat.has_tensorflow


class FakeTensor:
    """As much of a CPU tensor of TensorFlow as a conversion takes."""

    device = "CPU:0"

    def __init__(self, array):
        self.array = array

    def numpy(self):
        return self.array


class FakeFramework:
    Tensor = FakeTensor

    def __init__(self):
        self.config = self
        self.convert_to_tensor = FakeTensor
        self.stop_gradient = lambda tensor: tensor

    def list_physical_devices(self, kind):
        return []


def test_frameworks_that_are_missing(monkeypatch):
    monkeypatch.setitem(vars(compat), "has_torch", False)
    for convert in (xp2torch, torch2xp):
        with pytest.raises(ImportError, match=r"pip install thinc\[torch\]"):
            convert(numpy.zeros(2))
    with pytest.raises(ValueError, match="Cannot get default Torch device"):
        util.get_torch_default_device()


needs_torch = pytest.mark.skipif(
    __import__("importlib.util").util.find_spec("torch") is None, reason="PyTorch is not installed"
)


@needs_torch
def test_torch_shares_memory_with_writable_arrays_only():
    X = numpy.arange(4.0)
    xp2torch(X)[0] = 9
    assert X[0] == 9
    X.flags.writeable = False
    xp2torch(X)[0] = 1
    assert X[0] == 9


@needs_torch
def test_torch_takes_every_layout_and_gives_it_back():
    for X in strategies.layouts(numpy.arange(6.0).reshape(2, 3)).values():
        tensor = xp2torch(X, requires_grad=True)
        assert tensor.requires_grad and util.is_torch_array(tensor)
        for ops in (None, NumpyOps()):
            assert_array_equal(torch2xp(tensor, ops=ops), X)
    with pytest.raises(TypeError):
        xp2torch([1.0])


@needs_torch
def test_torch_device_follows_the_current_ops():
    assert util.get_torch_default_device().type == "cpu"
    set_current_ops(MPSOps())
    assert util.get_torch_default_device().type == "mps"
    set_current_ops(Ops())
    assert util.get_torch_default_device().type == "cpu"
