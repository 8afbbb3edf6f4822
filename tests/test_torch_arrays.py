"""Conversions between numpy arrays and PyTorch tensors: what is shared, what is copied."""

import numpy
import pytest
import strategies
from frameworks import import_or_skip
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

torch = import_or_skip("torch")

from thinc import compat, util  # noqa: E402
from thinc.api import ArgsKwargs, NumpyOps, torch2xp, xp2torch  # noqa: E402

SHARED_DTYPES = [
    "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16",
    "uint32", "uint64", "bool", "complex64", "complex128",
]  # fmt: skip


def address(array):
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("dtype", SHARED_DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 4)])
def test_memory_is_shared_both_ways(dtype, shape):
    X = numpy.ones(shape, dtype=dtype)
    tensor = xp2torch(X)
    assert tuple(tensor.shape) == shape and tensor.device.type == "cpu"
    assert not X.size or tensor.data_ptr() == address(X)
    back = torch2xp(tensor)
    assert back.dtype == X.dtype and back.shape == shape
    assert not X.size or address(back) == address(X)


@given(X=strategies.arrays("float32", -10, 10))
def test_values_survive(X):
    assert_array_equal(torch2xp(xp2torch(X)), X)


@pytest.mark.parametrize("name", strategies.layouts(numpy.zeros((4, 6))))
def test_every_layout(name):
    X = strategies.layouts(numpy.arange(24.0).reshape(4, 6))[name]
    tensor = xp2torch(X)
    assert_array_equal(torch2xp(tensor), X)
    can_share = X.flags.writeable and all(stride >= 0 for stride in X.strides)
    assert (tensor.data_ptr() == address(X)) is can_share


def test_negative_strides_foreign_byte_orders_and_odd_strides_are_copied():
    X = numpy.arange(6.0).reshape(2, 3)
    packed = numpy.zeros(3, dtype=[("a", "u1"), ("b", "<f4")])
    packed["b"] = [1, 2, 3]
    for array in (X[::-1], X[:, ::-1], X.astype(">f8"), packed["b"]):
        tensor = xp2torch(array)
        assert tensor.is_contiguous()
        assert_array_equal(torch2xp(tensor), array)
        tensor.zero_()
    assert_array_equal(X, numpy.arange(6.0).reshape(2, 3))
    assert packed["b"].tolist() == [1, 2, 3]


def test_read_only_arrays_stay_what_they_are():
    X = numpy.ones(3)
    X.flags.writeable = False
    xp2torch(X).zero_()
    assert X.tolist() == [1, 1, 1]
    broadcast = numpy.broadcast_to(numpy.float32(2), (3,))
    xp2torch(broadcast).zero_()
    assert broadcast.tolist() == [2, 2, 2]


def test_gradients_can_be_recorded_of_floats():
    tensor = xp2torch(numpy.ones(2), requires_grad=True)
    assert tensor.requires_grad and tensor.is_leaf
    with pytest.raises(RuntimeError, match="floating point"):
        xp2torch(numpy.ones(2, dtype="int32"), requires_grad=True)


def test_a_tensor_passes_with_its_memory():
    tensor = torch.ones(2, requires_grad=True)
    passed = xp2torch(tensor)
    assert passed.data_ptr() == tensor.data_ptr() and passed.is_leaf and not passed.requires_grad


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu"), "meta"])
def test_the_device_can_be_given(device):
    assert xp2torch(numpy.ones(2), device=device).device == torch.device(device)


@pytest.mark.parametrize("value", [[1.0], 1.0, "text", None, (numpy.ones(2),)])
def test_what_is_no_array(value):
    with pytest.raises(TypeError, match="xp2torch expects a numpy or cupy array, got an object of"):
        xp2torch(value)
    with pytest.raises(TypeError, match="torch2xp expects a torch.Tensor, got an object of"):
        torch2xp(value)


@pytest.mark.parametrize("array", [numpy.array(["a"]), numpy.array([None])])
def test_arrays_without_numbers(array):
    with pytest.raises(TypeError, match="can't convert np.ndarray of type numpy"):
        xp2torch(array)


def test_parameters_are_detached_and_their_memory_is_shared():
    parameter = torch.nn.Parameter(torch.ones(2))
    for ops in (None, NumpyOps()):
        array = torch2xp(parameter, ops=ops)
        assert address(array) == parameter.data_ptr() and array.flags.writeable


def test_what_numpy_does_not_have_is_made_of_something_it_has():
    array = torch2xp(torch.tensor([1.5, 2.0], dtype=torch.bfloat16, requires_grad=True))
    assert array.dtype == "float32" and array.tolist() == [1.5, 2.0]
    assert torch2xp(torch.tensor([1 + 2j]).conj()).tolist() == [1 - 2j]
    assert torch2xp(torch.tensor([1 + 2j]).conj().imag).tolist() == [-2.0]
    with pytest.raises(TypeError, match="to_dense"):
        torch2xp(torch.eye(2).to_sparse())


def test_cupy_arrays_need_cupy(monkeypatch):
    from thinc.api import CupyOps

    monkeypatch.setitem(vars(compat), "has_cupy", False)
    with pytest.raises(ImportError, match="CuPy is not installed"):
        torch2xp(torch.ones(2), ops=CupyOps())


def test_predicates():
    tensor = torch.nn.Parameter(torch.ones(1))
    assert util.is_torch_array(tensor) and not util.is_torch_array(numpy.ones(1))
    for name in ("cuda", "mps", "gpu"):
        assert not getattr(util, f"is_torch_{name}_array")(tensor)


NESTED = st.recursive(
    st.integers() | st.text(max_size=2) | st.just(numpy.ones(2)),
    lambda inner: st.lists(inner, max_size=3)
    | st.lists(inner, max_size=3).map(tuple)
    | st.dictionaries(st.text(max_size=2), inner, max_size=3)
    | st.builds(
        ArgsKwargs,
        st.lists(inner, max_size=2).map(tuple),
        st.dictionaries(st.text(max_size=2), inner, max_size=2),
    ),
    max_leaves=12,
)


def same(a, b):
    if isinstance(a, numpy.ndarray):
        return isinstance(b, numpy.ndarray) and numpy.array_equal(a, b)
    if isinstance(a, ArgsKwargs):
        return isinstance(b, ArgsKwargs) and same([*a.items()], [*b.items()])
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return a == b


@given(value=NESTED)
def test_nested_values_there_and_back(value):
    tensors = util.convert_recursive(util.is_xp_array, xp2torch, value)
    assert not list(util.iterate_recursive(util.is_xp_array, tensors))
    n = len(list(util.iterate_recursive(util.is_xp_array, value)))
    assert len(list(util.iterate_recursive(util.is_torch_array, tensors))) == n
    assert same(util.convert_recursive(util.is_torch_array, torch2xp, tensors), value)
