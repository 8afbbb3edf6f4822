"""PyTorchShim: running, training, exchanging weights, copying, saving."""

import copy
import functools
import pickle
import threading

import numpy
import pytest
from frameworks import import_or_skip
from numpy.testing import assert_allclose, assert_array_equal

torch = import_or_skip("torch")

from thinc import compat  # noqa: E402
from thinc.api import (  # noqa: E402
    SGD,
    Adam,
    ArgsKwargs,
    Linear,
    MPSOps,
    PyTorchGradScaler,
    PyTorchShim,
    PyTorchWrapper,
    PyTorchWrapper_v3,
    Relu,
    chain,
    set_current_ops,
)
from thinc.serialize import DeserializationError  # noqa: E402
from thinc.shims.pytorch import (  # noqa: E402
    default_deserialize_torch_model,
    default_serialize_torch_model,
)

nn = torch.nn


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def arguments(*arrays, **keywords):
    return ArgsKwargs(args=tuple(map(torch.from_numpy, arrays)), kwargs=keywords)


def floats(*shape, seed=0):
    return numpy.random.default_rng(seed).normal(size=shape).astype("float32")


def weights_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def assert_same_weights(module, expected):
    state = module.state_dict()
    assert list(state) == list(expected)
    for name, value in expected.items():
        assert torch.equal(state[name], value), name


# ---- construction --------------------------------------------------------------------


def test_the_arguments_are_kept():
    module, config = nn.Linear(2, 2), {"a": 1}
    scaler = PyTorchGradScaler(True)
    shim = PyTorchShim(module, config, "optimizer", False, grad_scaler=scaler)
    assert shim._model is module and shim.cfg == config and shim.cfg is not config
    assert shim._optimizer == "optimizer" and shim._grad_scaler is scaler
    assert shim.device == torch.device("cpu")


def test_what_is_no_module_is_refused():
    with pytest.raises(TypeError, match="expects a torch.nn.Module, .*got .* of type function"):
        PyTorchShim(lambda x: x)


def test_the_device_is_that_of_the_weights_wherever_they_are():
    shim = PyTorchShim(nn.Linear(2, 2), device="meta")
    assert shim.device == torch.device("meta")
    assert PyTorchShim(None, device="meta").device == torch.device("meta")
    assert PyTorchShim(nn.ReLU(), device="meta").device == torch.device("meta")
    nested = PyTorchShim(nn.Sequential(nn.ReLU(), nn.Sequential(nn.Linear(2, 2))))
    nested._model.to("meta")
    assert nested.device == torch.device("meta")


def test_the_default_device_follows_the_current_ops():
    set_current_ops(MPSOps())
    assert PyTorchShim(None).device == torch.device("mps")


# ---- running ---------------------------------------------------------------------------


def test_predict_returns_the_modules_output_as_it_is():
    module = nn.Linear(3, 2)
    X = floats(4, 3)
    Y = PyTorchShim(module).predict(arguments(X))
    assert not Y.requires_grad
    assert torch.equal(Y, module(torch.from_numpy(X)))


def test_keyword_arguments_reach_the_module():
    class Scale(nn.Module):
        def forward(self, x, *, by):
            return x * by

    shim = PyTorchShim(Scale())
    assert shim.predict(arguments(floats(2, 2), by=0.0)).abs().max() == 0


class Modes(nn.Module):
    """Notes the mode it runs in."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 2)
        self.seen = []

    def forward(self, x):
        self.seen.append((self.training, self.inner.training, torch.is_grad_enabled()))
        if x.shape[0] == 0:
            raise IndexError("no rows")
        return self.inner(x)


@pytest.mark.parametrize("before", [True, False])
def test_predict_runs_in_evaluation_mode_and_brings_the_modes_back(before):
    module = Modes().train(before)
    module.inner.train(not before)  # parts may have modes of their own
    shim = PyTorchShim(module)
    shim.predict(arguments(floats(1, 2)))
    assert module.seen == [(False, False, False)]
    assert (module.training, module.inner.training) == (before, not before)
    with pytest.raises(IndexError, match="no rows"):
        shim.predict(arguments(floats(0, 2)))
    assert (module.training, module.inner.training) == (before, not before)


def test_training_runs_in_training_mode_even_where_gradients_are_off():
    module = Modes().eval()
    with torch.no_grad():
        Y, backprop = PyTorchShim(module).begin_update(arguments(floats(1, 2)))
    assert module.seen == [(True, True, True)] and Y.requires_grad
    assert module.training and module.inner.training


class FrozenNorm(nn.BatchNorm1d):
    """Stays in evaluation mode, as papers on fine-tuning do it."""

    def train(self, mode=True):
        self.calls = [*getattr(self, "calls", []), mode]
        return super().train(False)


def test_a_module_that_decides_about_its_mode_itself_is_asked():
    norm = FrozenNorm(2)
    module = nn.Sequential(norm, nn.Linear(2, 2))
    shim = PyTorchShim(module)
    norm.calls = []
    shim.begin_update(arguments(floats(3, 2)))
    assert norm.calls == [True] and not norm.training and module.training
    shim.predict(arguments(floats(3, 2)))
    assert norm.calls == [True, False, True] and not norm.training and module.training


def test_threads_that_predict_at_once_do_not_disturb_one_another():
    both_inside = threading.Barrier(2, timeout=20)
    other_left = threading.Event()

    class Slow(nn.Module):
        def forward(self, x):
            both_inside.wait()
            if x[0, 0] > 0:
                other_left.wait(timeout=20)
            return x if not self.training else x + 1

    module = Slow()
    shim = PyTorchShim(module)
    results = {}

    def predict(value):
        X = numpy.full((1, 1), value, dtype="f")
        results[value] = float(shim.predict(arguments(X))[0, 0])
        if value < 0:
            other_left.set()

    threads = [threading.Thread(target=predict, args=(value,)) for value in (-1.0, 1.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {-1.0: -1.0, 1.0: 1.0}
    assert module.training


def test_backprop_needs_training():
    Y, backprop = PyTorchShim(nn.Linear(2, 2))(arguments(floats(1, 2)), is_train=False)
    with pytest.raises(ValueError, match="needs a forward pass with is_train=True"):
        backprop(ArgsKwargs(args=((Y,),), kwargs={"grad_tensors": Y}))


def test_gradients_are_those_of_mathematics_and_add_up():
    module = nn.Linear(3, 2)
    shim = PyTorchShim(module)
    X, dY = floats(4, 3), floats(4, 2, seed=1)
    for _ in range(2):
        x = torch.from_numpy(X).requires_grad_()
        Y, backprop = shim.begin_update(ArgsKwargs(args=(x,), kwargs={}))
        dX = backprop(ArgsKwargs(args=((Y,),), kwargs={"grad_tensors": torch.from_numpy(dY)}))
        assert_allclose(dX.args[0], dY @ module.weight.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert_allclose(module.weight.grad, 2 * dY.T @ X, rtol=1e-5, atol=1e-6)
    assert_allclose(module.bias.grad, 2 * dY.sum(axis=0), rtol=1e-5, atol=1e-6)


def test_inputs_come_back_as_gradients_in_the_same_structure():
    class Pick(nn.Module):
        def forward(self, pair, *, table):
            return pair[0] * table["a"]

    a, unused, b, ids = (
        torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True),
        torch.full((2,), 3.0, requires_grad=True), torch.arange(2),
    )  # fmt: skip
    shim = PyTorchShim(Pick())
    inputs = ArgsKwargs(args=([a, unused],), kwargs={"table": {"a": b, "ids": ids, "name": "x"}})
    Y, backprop = shim.begin_update(inputs)
    # Any iterable of tensors will do.
    gradients = {"y": torch.ones(2)}.values()
    dX = backprop(ArgsKwargs(args=([Y],), kwargs={"grad_tensors": gradients}))
    assert_array_equal(dX.args[0][0], [3.0, 3.0])
    assert dX.args[0][1] is None
    assert_array_equal(dX.kwargs["table"]["a"], [1.0, 1.0])
    assert dX.kwargs["table"]["ids"] is None and dX.kwargs["table"]["name"] == "x"


def test_inputs_computed_from_others_have_no_gradient_and_cause_no_warning():
    x = torch.ones(2, requires_grad=True) * 2
    Y, backprop = PyTorchShim(nn.Identity()).begin_update(ArgsKwargs(args=(x,), kwargs={}))
    dX = backprop(ArgsKwargs(args=((Y,),), kwargs={"grad_tensors": torch.ones(2)}))
    assert dX.args == (None,)


def test_what_convert_functions_must_return_is_said():
    shim = PyTorchShim(nn.Linear(2, 2))
    with pytest.raises(TypeError, match="expects ArgsKwargs.* from convert_inputs, got .* Tensor"):
        shim.predict(torch.zeros(1, 2))
    Y, backprop = shim.begin_update(arguments(floats(1, 2)))
    with pytest.raises(KeyError, match="must give the backward pass the keyword grad_tensors"):
        backprop(ArgsKwargs(args=((Y,),), kwargs={}))


def test_an_input_on_another_device_is_named():
    shim = PyTorchShim(nn.Linear(2, 2))
    X = ArgsKwargs(args=(torch.zeros(1, 2, device="meta"),), kwargs={})
    for run in (shim.predict, shim.begin_update):
        with pytest.raises(ValueError, match="module is on cpu, but an input on meta: convert_in"):
            run(X)


def test_a_shim_without_a_module_says_what_to_do():
    shim = PyTorchShim(None)
    for use in (
        lambda: shim.predict(arguments(floats(1, 2))),
        lambda: shim.finish_update(Adam()),
        shim.to_bytes,
    ):
        with pytest.raises(ValueError, match="has no PyTorch module yet: load one"):
            use()


# ---- updating ----------------------------------------------------------------------------


def update(shim, X, dY, optimizer):
    Y, backprop = shim.begin_update(arguments(X))
    backprop(ArgsKwargs(args=((Y,),), kwargs={"grad_tensors": torch.from_numpy(dY)}))
    shim.finish_update(optimizer)


def test_an_update_is_that_of_the_optimizer_in_the_modules_own_memory():
    shim = PyTorchShim(nn.Linear(3, 2))
    parameter = shim._model.weight
    before, pointer = parameter.detach().clone(), parameter.data_ptr()
    X, dY = floats(4, 3), floats(4, 2, seed=1)
    update(shim, X, dY, SGD(0.5, grad_clip=0))
    expected = before.numpy() - 0.5 * (dY.T @ X)
    assert_allclose(parameter.detach(), expected, rtol=1e-5, atol=1e-6)
    assert shim._model.weight is parameter and parameter.data_ptr() == pointer
    assert parameter.requires_grad and parameter.grad.abs().max() == 0


def test_the_optimizer_may_return_new_arrays_that_go_into_the_same_memory():
    shim = PyTorchShim(nn.Linear(3, 2))
    pointers = {name: p.data_ptr() for name, p in shim._model.named_parameters()}
    seen = {}

    def optimizer(key, weights, gradient):
        seen[key] = gradient.copy()
        return numpy.ones_like(weights, dtype="float64"), gradient

    update(shim, floats(4, 3), floats(4, 2), optimizer)
    assert set(seen) == {(shim.id, "weight"), (shim.id, "bias")}
    for name, parameter in shim._model.named_parameters():
        assert parameter.dtype == torch.float32 and parameter.data_ptr() == pointers[name]
        assert (parameter == 1).all() and parameter.grad.abs().max() == 0


def test_an_optimizer_that_returns_another_shape_is_refused():
    shim = PyTorchShim(nn.Linear(3, 2))
    with pytest.raises(ValueError, match=r"'weight'\) is of shape \(2, 3\), got .* \(6,\)"):
        update(shim, floats(4, 3), floats(4, 2), lambda key, w, g: (w.reshape(-1), g))


def test_frozen_and_unused_parameters_are_left_alone():
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    module.register_parameter("unused", nn.Parameter(torch.ones(3)))
    for parameter in module[0].parameters():
        parameter.requires_grad_(False)
    before = weights_of(module)
    optimizer = Adam(0.1)
    shim = PyTorchShim(module)
    update(shim, floats(3, 2), floats(3, 2), optimizer)
    assert set(optimizer.mom1) == {(shim.id, "1.weight"), (shim.id, "1.bias")}
    after = module.state_dict()
    assert torch.equal(after["0.weight"], before["0.weight"])
    assert torch.equal(after["unused"], before["unused"])
    assert not torch.equal(after["1.weight"], before["1.weight"])


def test_shared_parameters_are_updated_once():
    module = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    module[1].weight = module[0].weight
    calls = []
    update(PyTorchShim(module), floats(3, 2), floats(3, 2),
           lambda key, w, g: (calls.append(key[1]), (w, g))[1])  # fmt: skip
    assert calls == ["0.weight"]


def test_sparse_gradients_are_made_dense():
    shim = PyTorchShim(nn.Embedding(5, 2, sparse=True))
    before = shim._model.weight.detach().clone()
    ids = numpy.array([1, 1, 3])
    update(shim, ids, numpy.ones((3, 2), dtype="f"), SGD(1.0, grad_clip=0))
    expected = before - torch.tensor([[0.0], [2.0], [0.0], [1.0], [0.0]])
    assert_allclose(shim._model.weight.detach(), expected)


@pytest.mark.parametrize("dtype", ["bfloat16", "float64", "float16"])
def test_weights_of_other_dtypes_are_updated_too(dtype):
    module = nn.Linear(2, 2).to(getattr(torch, dtype))
    shim = PyTorchShim(module)
    before = module.weight.detach().clone()
    x = torch.ones(1, 2, dtype=module.weight.dtype)
    Y, backprop = shim.begin_update(ArgsKwargs(args=(x,), kwargs={}))
    backprop(ArgsKwargs(args=((Y,),), kwargs={"grad_tensors": torch.ones_like(Y)}))
    shim.finish_update(SGD(0.5, grad_clip=0))
    assert module.weight.dtype == x.dtype
    assert_allclose(module.weight.detach().float(), (before - 0.5).float(), rtol=0.01, atol=0.01)
    assert module.weight.grad.abs().max() == 0


def test_weights_of_every_memory_layout_are_updated():
    module = nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)
    shim = PyTorchShim(module)
    assert not module.weight.is_contiguous()
    before, pointer = module.weight.detach().clone(), module.weight.data_ptr()
    for optimizer in (SGD(0.5, grad_clip=0), Adam(0.1)):
        update(shim, floats(1, 2, 4, 4), floats(1, 3, 2, 2), optimizer)
        assert not torch.equal(module.weight, before)
        assert module.weight.data_ptr() == pointer and module.weight.grad.abs().max() == 0
        before = module.weight.detach().clone()


# ---- other weights for a while --------------------------------------------------------


def test_averages_of_the_optimizer_apply_to_shims():
    shim = PyTorchShim(nn.Linear(3, 2))
    optimizer = Adam(0.1)
    for seed in range(5):
        update(shim, floats(4, 3, seed=seed), floats(4, 2, seed=seed), optimizer)
    trained = weights_of(shim._model)
    average = optimizer.averages[shim.id, "weight"].copy()
    assert numpy.abs(average - trained["weight"].numpy()).max() > 0.01
    pointer = shim._model.weight.data_ptr()
    with shim.use_params(optimizer.averages):
        assert_array_equal(shim._model.weight.detach(), average)
    assert_same_weights(shim._model, trained)
    assert shim._model.weight.data_ptr() == pointer
    assert_array_equal(optimizer.averages[shim.id, "weight"], average)


def test_weights_given_by_text_keys_may_be_a_part_and_buffers():
    shim = PyTorchShim(nn.BatchNorm1d(2))
    before = weights_of(shim._model)
    params = {f"pytorch_{shim.id}_weight": floats(2), (shim.id, "running_mean"): floats(2) + 1}
    with shim.use_params({**params, (shim.id + 1, "bias"): floats(2), "other": None}):
        assert_array_equal(shim._model.weight.detach(), floats(2))
        assert_array_equal(shim._model.running_mean, floats(2) + 1)
        assert torch.equal(shim._model.bias, before["bias"])
    assert_same_weights(shim._model, before)


def test_weights_come_back_after_an_error():
    shim = PyTorchShim(nn.Linear(2, 2))
    before = weights_of(shim._model)
    with pytest.raises(ZeroDivisionError):
        with shim.use_params({(shim.id, "weight"): numpy.zeros((2, 2), "f")}):
            raise ZeroDivisionError
    assert_same_weights(shim._model, before)
    with pytest.raises(ValueError, match=r"'weight'\) is of shape \(2, 2\), got .* \(4,\)"):
        with shim.use_params({(shim.id, "bias"): floats(2), (shim.id, "weight"): floats(4)}):
            pass
    assert_same_weights(shim._model, before)


def test_other_weights_between_the_passes_do_not_disturb_the_backward_pass():
    model = PyTorchWrapper(nn.Linear(3, 2))
    X, dY = floats(4, 3), floats(4, 2)
    Y, backprop = model.begin_update(X)
    expected = dY @ model.shims[0]._model.weight.detach().numpy()
    with model.use_params({(model.shims[0].id, "weight"): numpy.zeros((2, 3), "f")}):
        assert_allclose(model.predict(X)[0], model.predict(X)[1])
    assert_allclose(backprop(dY), expected, rtol=1e-5, atol=1e-6)


# ---- copies ------------------------------------------------------------------------------


@pytest.mark.parametrize("duplicate", [lambda model: model.copy(), copy.deepcopy])
def test_copies_have_ids_and_optimizer_states_of_their_own(duplicate):
    model = chain(PyTorchWrapper(nn.Linear(3, 2)), Linear(2, 2)).initialize(X=floats(1, 3))
    Y, backprop = model.begin_update(floats(4, 3))
    backprop(Y)
    copied = duplicate(model)
    shim, other = model.layers[0].shims[0], copied.layers[0].shims[0]
    assert shim.id != other.id
    assert_same_weights(other._model, weights_of(shim._model))
    assert shim._model.weight.grad is not None and other._model.weight.grad is None
    optimizer = Adam(0.1)
    before = weights_of(shim._model)
    Y, backprop = copied.begin_update(floats(4, 3))
    backprop(Y)
    copied.finish_update(optimizer)
    assert_same_weights(shim._model, before)
    assert (other.id, "weight") in optimizer.mom1 and (shim.id, "weight") not in optimizer.mom1
    assert_array_equal(
        copied.predict(floats(2, 3, seed=3)), copied.copy().predict(floats(2, 3, seed=3))
    )


def test_shims_and_layers_never_share_an_id():
    ids = [Linear().id, PyTorchShim(None).id, Linear().id, PyTorchShim(None).copy().id]
    assert len(set(ids)) == 4


def test_a_shim_can_be_pickled():
    shim = PyTorchShim(nn.Linear(2, 2), {"a": 1})
    loaded = pickle.loads(pickle.dumps(shim))
    assert_same_weights(loaded._model, weights_of(shim._model))
    assert torch.equal(
        loaded.predict(arguments(floats(1, 2))), shim.predict(arguments(floats(1, 2)))
    )


# ---- devices -------------------------------------------------------------------------------


def test_moving_to_a_device_that_is_not_there_or_no_device():
    shim = PyTorchShim(nn.Linear(2, 2))
    shim.to_device("cpu", -1)
    with pytest.raises(ValueError, match="Invalid device_type: tpu. Try 'cpu' or 'gpu'"):
        shim.to_device("tpu", 0)
    missing = torch.cuda.device_count()
    with pytest.raises(ValueError, match=f"to GPU {missing}: PyTorch .* can use {missing} CUDA"):
        shim.to_device("gpu", missing)
    assert shim.device == torch.device("cpu")


@pytest.mark.gpu
@pytest.mark.skipif(
    not (compat.has_cupy_gpu and compat.has_torch_cuda_gpu), reason="needs a GPU, for both"
)
def test_moving_to_a_gpu_and_back():
    model = PyTorchWrapper(nn.Linear(2, 2))
    X = floats(3, 2)
    expected = model.predict(X)
    model.to_gpu(0)
    assert model.shims[0].device == torch.device("cuda:0")
    assert_allclose(model.predict(model.ops.asarray(X)).get(), expected, rtol=1e-4, atol=1e-5)
    model.to_cpu()
    assert_allclose(model.predict(X), expected)


# ---- saving --------------------------------------------------------------------------------


def test_weights_and_config_survive():
    shim = PyTorchShim(nn.Linear(3, 2), {"width": 3})
    data = shim.to_bytes()
    other = PyTorchShim(nn.Linear(3, 2))
    assert other.from_bytes(data) is other
    assert other.cfg == {"width": 3}
    assert_same_weights(other._model, weights_of(shim._model))
    assert other.to_bytes() == data


def test_loading_keeps_the_memory_the_ids_and_the_device():
    module = nn.Linear(3, 2)
    shim = PyTorchShim(module)
    pointer, shim_id = module.weight.data_ptr(), shim.id
    shim.from_bytes(PyTorchShim(nn.Linear(3, 2)).to_bytes())
    assert shim._model is module and module.weight.data_ptr() == pointer and shim.id == shim_id
    on_meta = PyTorchShim(nn.Linear(3, 2), device="meta")
    on_meta.from_bytes(shim.to_bytes())
    assert on_meta.device == torch.device("meta")


@pytest.mark.parametrize(
    "module, message",
    [
        (lambda: nn.Linear(4, 2), r"the Linear: 'weight' is of shape \(2, 3\), expected \(2, 4\)"),
        (lambda: nn.Linear(3, 2, bias=False), "it has 1 arrays, the data 2; unknown are 'bias'"),
        (
            lambda: nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 9)),
            "it has 4 arrays, the data 2; missing are '0.weight', '0.bias'",
        ),
    ],
)
def test_weights_that_do_not_fit_change_nothing(module, message):
    data = PyTorchShim(nn.Linear(3, 2)).to_bytes()
    shim = PyTorchShim(module(), {"mine": True})
    before = weights_of(shim._model)
    with pytest.raises(DeserializationError, match=message):
        shim.from_bytes(data)
    assert_same_weights(shim._model, before)
    assert shim.cfg == {"mine": True}


def test_what_is_no_saved_shim_is_refused_in_words():
    shim = PyTorchShim(nn.Linear(2, 2))
    before = weights_of(shim._model)
    from thinc.serialize import pack_value

    whole = shim.to_bytes()
    broken = {
        b"": "not a valid msgpack",
        b"garbage": "ends after|not a valid",
        whole[:-20]: "not a valid msgpack",
        pack_value([1]): "the data holds a list, expected a map of 'config' and 'state'",
        pack_value({"config": {}}): "no bytes under 'state', there are .'config'",
        pack_value(
            {"config": {}, "state": b"PK\x03\x04 no zip"}
        ): "not weights saved by PyTorch|damaged",
        pack_value({"config": {}, "state": b"nothing"}): "damaged|not weights",
    }
    for data, message in broken.items():
        with pytest.raises(DeserializationError, match=message):
            shim.from_bytes(data)
    assert_same_weights(shim._model, before)


class Odd:
    """Something that a state_dict may hold, but no plain value."""

    def __eq__(self, other):
        return isinstance(other, Odd)

    __hash__ = None


class HoldsOdd(nn.Linear):
    def get_extra_state(self):
        return Odd()

    def set_extra_state(self, state):
        assert state == Odd()


def test_loading_runs_no_code_unless_it_is_told_to():
    data = PyTorchShim(HoldsOdd(2, 2)).to_bytes()
    shim = PyTorchShim(HoldsOdd(2, 2))
    before = shim._model.weight.detach().clone()
    with pytest.raises(DeserializationError, match="could run code .*refused.*weights_only=False"):
        shim.from_bytes(data)
    assert torch.equal(shim._model.weight, before)
    trusting = functools.partial(default_deserialize_torch_model, weights_only=False)
    trusted = PyTorchShim(HoldsOdd(2, 2), deserialize_model=trusting).from_bytes(data)
    assert not torch.equal(trusted._model.weight, before)


def test_a_module_that_translates_old_names_can_do_so():
    class Renamed(nn.Linear):
        def _load_from_state_dict(self, state_dict, prefix, *args):
            if prefix + "kernel" in state_dict:
                state_dict[prefix + "weight"] = state_dict.pop(prefix + "kernel")
            super()._load_from_state_dict(state_dict, prefix, *args)

    state = {"kernel": torch.ones(2, 2), "bias": torch.zeros(2)}
    import io

    buffer = io.BytesIO()
    torch.save(state, buffer)
    module = default_deserialize_torch_model(Renamed(2, 2), buffer.getvalue(), "cpu")
    assert torch.equal(module.weight, torch.ones(2, 2))


def test_files_of_thinc_8_3_can_be_loaded():
    # As it writes them: the map's order and its two keys are part of the format.
    module = nn.Linear(2, 1)
    state = default_serialize_torch_model(module)
    length = len(state).to_bytes(2, "big")
    data = b"\x82\xa6config\x80\xa5state\xc5" + length + state
    assert PyTorchShim(module).to_bytes() == data
    other = PyTorchShim(nn.Linear(2, 1)).from_bytes(data)
    assert_same_weights(other._model, weights_of(module))


def test_serializers_of_your_own_and_a_module_made_when_it_is_loaded():
    def save(module):
        return b"%d %d" % (module.in_features, module.out_features)

    def load(module, data, device):
        assert device == torch.device("cpu")
        return nn.Linear(*map(int, data.split())).to(device)

    saved = PyTorchWrapper_v3(nn.Linear(5, 3), serialize_model=save, deserialize_model=load)
    loaded = PyTorchWrapper_v3(None, serialize_model=save, deserialize_model=load)
    loaded.from_bytes(saved.to_bytes())
    assert loaded.predict(floats(2, 5)).shape == (2, 3)


def test_without_a_deserializer_there_has_to_be_a_module():
    data = PyTorchShim(nn.Linear(2, 2)).to_bytes()
    with pytest.raises(DeserializationError, match="no PyTorch module to load weights into"):
        PyTorchShim(None).from_bytes(data)


def test_a_model_with_wrapped_parts_is_saved_as_a_whole(tmp_path):
    def build():
        return chain(
            PyTorchWrapper(nn.Linear(3, 4)), Relu(2, 4), PyTorchWrapper(nn.BatchNorm1d(2))
        ).initialize()

    model, X = build(), floats(6, 3)
    model.begin_update(X)  # the norm's running averages change
    other = build()
    assert numpy.abs(other.predict(X) - model.predict(X)).max() > 0.01
    model.to_disk(tmp_path / "model")
    assert_array_equal(build().from_disk(tmp_path / "model").predict(X), model.predict(X))
    assert_array_equal(build().from_bytes(model.to_bytes()).predict(X), model.predict(X))
    before = other.to_bytes()
    wrong = chain(
        PyTorchWrapper(nn.Linear(3, 4)), Relu(2, 4), PyTorchWrapper(nn.BatchNorm1d(3))
    ).initialize()
    with pytest.raises(ValueError, match=r"pytorch \(layers\[2\] of .*PyTorchShim cannot be load"):
        other.from_bytes(wrong.to_bytes())
    assert other.to_bytes() == before
