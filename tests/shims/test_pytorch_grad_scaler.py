"""Scaling of gradients, and training in mixed precision."""

import numpy
import pytest
from frameworks import import_or_skip
from numpy.testing import assert_allclose, assert_array_equal

torch = import_or_skip("torch")

from thinc.api import SGD, Adam, PyTorchGradScaler, PyTorchWrapper_v2  # noqa: E402
from thinc.shims import pytorch_grad_scaler  # noqa: E402


@pytest.fixture
def anywhere(monkeypatch):
    """Scaling for tensors on the CPU, too: what is computed is the same everywhere."""
    monkeypatch.setattr(pytorch_grad_scaler, "_check_device", lambda tensor: None)


def test_a_disabled_scaler_leaves_everything_alone():
    scaler = PyTorchGradScaler()
    assert not scaler.enabled and scaler.scale("anything") == "anything"
    tensor = torch.tensor([float("inf")])
    assert scaler.unscale([tensor]) is False and not scaler.found_inf
    scaler.update()
    assert scaler._scale == 2.0**16


@pytest.mark.parametrize("value", ["bogus", 42, [1.0], ["a"], None])
def test_only_tensors_are_scaled(anywhere, value):
    with pytest.raises(ValueError, match="must be a Tensor or Iterable.Tensor., got an object of"):
        PyTorchGradScaler(True).scale(value)


def test_what_cannot_be_scaled_here_is_said(monkeypatch):
    scaler, tensor = PyTorchGradScaler(True), torch.ones(1)
    monkeypatch.setitem(vars(pytorch_grad_scaler.compat), "has_torch_amp", False)
    for value in (tensor, [tensor]):
        with pytest.raises(ValueError, match="not supported.*1.9.0"):
            scaler.scale(value)
    monkeypatch.setitem(vars(pytorch_grad_scaler.compat), "has_torch_amp", True)
    for value in (tensor, [tensor]):
        with pytest.raises(ValueError, match="Gradient scaling is only supported for CUDA tensors"):
            scaler.scale(value)
    assert scaler.scale([]) == []


@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16"])
def test_scale_keeps_shapes_and_dtypes(anywhere, dtype):
    scaler = PyTorchGradScaler(True, init_scale=8.0)
    tensor = torch.tensor([[1.0, 2.0]], dtype=getattr(torch, dtype))
    scaled = scaler.scale(tensor)
    assert scaled.dtype == tensor.dtype and scaled.tolist() == [[8.0, 16.0]]
    assert tensor.tolist() == [[1.0, 2.0]]
    both = scaler.scale(iter((tensor, tensor[0, 0])))
    assert [t.tolist() for t in both] == [[[8.0, 16.0]], 8.0]
    assert scaler.scale(tensor, inplace=True) is tensor and tensor.tolist() == [[8.0, 16.0]]


def test_unscale_finds_what_is_not_finite_until_the_next_update():
    scaler = PyTorchGradScaler(True, init_scale=4.0)
    good, bad = torch.tensor([8.0]), torch.tensor([[1.0, float("nan")]], dtype=torch.float64)
    assert scaler.unscale(good) is False and good.tolist() == [2.0]
    assert scaler.unscale([good, bad]) is True and good.tolist() == [0.5]
    assert scaler.unscale([good]) is True and scaler.found_inf
    scaler.update()
    assert not scaler.found_inf and scaler._scale.tolist() == [2.0]


def test_the_scale_grows_after_enough_good_updates():
    scaler = PyTorchGradScaler(
        True, init_scale=4.0, growth_factor=3.0, backoff_factor=0.25, growth_interval=2
    )
    scales = []
    for value in (1.0, 1.0, 1.0, float("inf"), 1.0, 1.0):
        scaler.unscale([torch.tensor([value])])
        scaler.update()
        scales.append(float(scaler._scale))
    assert scales == [4.0, 12.0, 12.0, 3.0, 3.0, 9.0]


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_moving(device):
    scaler = PyTorchGradScaler(True)
    scaler.to_(device)
    assert scaler._scale.device.type == scaler._growth_tracker.device.type == "cpu"


# ---- in a shim -----------------------------------------------------------------------


def wrapped(scaler, module=None):
    torch.manual_seed(0)
    return PyTorchWrapper_v2(module or torch.nn.Linear(3, 2), grad_scaler=scaler)


def data():
    rng = numpy.random.default_rng(0)
    return rng.normal(size=(4, 3)).astype("f"), rng.normal(size=(4, 2)).astype("f")


def test_scaling_changes_neither_results_nor_the_callers_gradient(anywhere):
    X, dY = data()
    models = [wrapped(None), wrapped(PyTorchGradScaler(True))]
    for _ in range(3):  # gradients of three passes are added up
        results = []
        for model in models:
            given = dY.copy()
            Y, backprop = model.begin_update(X)
            results.append(backprop(given))
            assert_array_equal(given, dY)
        assert_allclose(*results, rtol=1e-5, atol=1e-6)
    for model in models:
        model.finish_update(SGD(0.1, grad_clip=0))
    plain, scaled = (model.shims[0]._model for model in models)
    assert_allclose(plain.weight.detach(), scaled.weight.detach(), rtol=1e-5, atol=1e-6)
    assert scaled.weight.grad.abs().max() == 0


def test_an_overflow_skips_the_update_and_halves_the_scale(anywhere):
    X, dY = data()
    scaler = PyTorchGradScaler(True, init_scale=2.0**126)
    model = wrapped(scaler)
    before = model.shims[0]._model.weight.detach().clone()
    optimizer = Adam(0.1)
    Y, backprop = model.begin_update(X)
    dX = backprop(1000 * dY)
    assert_array_equal(dX, numpy.zeros_like(X))
    assert scaler.found_inf
    model.finish_update(optimizer)
    assert torch.equal(model.shims[0]._model.weight, before) and not optimizer.mom1
    assert model.shims[0]._model.weight.grad.abs().max() == 0
    assert not scaler.found_inf and float(scaler._scale) == 2.0**125


def test_mixed_precision_on_the_cpu_computes_in_bfloat16_and_needs_no_scaler():
    seen = []

    class Noting(torch.nn.Linear):
        def forward(self, x):
            y = super().forward(x)
            seen.append(y.dtype)
            return y

    torch.manual_seed(0)
    model = PyTorchWrapper_v2(Noting(3, 2), mixed_precision=True)
    assert not model.shims[0]._grad_scaler.enabled
    X, dY = data()
    exact = torch.nn.functional.linear(torch.from_numpy(X), *model.shims[0]._model.parameters())
    Y, backprop = model.begin_update(X)
    dX = backprop(dY)
    assert Y.dtype == dX.dtype == "float32" and model.predict(X).dtype == "float32"
    assert seen == [torch.bfloat16] * 2
    assert_allclose(Y, exact.detach(), rtol=0.02, atol=0.02)
    assert numpy.abs(Y - exact.detach().numpy()).max() > 1e-4  # it was really rounded
    weight = model.shims[0]._model.weight
    assert weight.dtype == weight.grad.dtype == torch.float32
    assert_allclose(weight.grad, dY.T @ X, rtol=0.02, atol=0.02)


def test_training_in_mixed_precision_learns():
    X, _ = data()
    target = X[:, :2] * 2 - 1
    torch.manual_seed(0)
    model = PyTorchWrapper_v2(torch.nn.Linear(3, 2), mixed_precision=True)
    optimizer = Adam(0.05)
    losses = []
    for _ in range(200):
        Y, backprop = model.begin_update(X)
        losses.append(float(((Y - target) ** 2).sum()))
        backprop(2 * (Y - target))
        model.finish_update(optimizer)
    assert losses[-1] < 0.01 * losses[0]


def test_a_scaler_of_yours_rests_where_bfloat16_is_used():
    """As configs for GPUs have one: they run on a CPU, too."""
    scaler = PyTorchGradScaler(True)
    model = PyTorchWrapper_v2(torch.nn.Linear(3, 2), mixed_precision=True, grad_scaler=scaler)
    X, dY = data()
    before = model.shims[0]._model.weight.detach().clone()
    Y, backprop = model.begin_update(X)
    assert backprop(dY).shape == X.shape
    model.finish_update(Adam(0.1))
    assert not torch.equal(model.shims[0]._model.weight, before)
    assert float(scaler._scale) == 2.0**16 and int(scaler._growth_tracker) == 0


def test_a_scaler_without_mixed_precision_is_for_cuda_only():
    Y, backprop = wrapped(PyTorchGradScaler(True)).begin_update(data()[0])
    with pytest.raises(ValueError, match="[Gg]radient scaling is"):
        backprop(data()[1])
