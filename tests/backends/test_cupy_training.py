"""Every layer, loss and optimizer trains on CupyOps as on the CPU, and nothing waits.

On fake_cupy, so this is about our Python: which operations are called, with what, and
what the host has to know for it. What CUDA makes of it, tests/gpu find out on a device.
"""

import fake_cupy
import gpu_cases
import numpy
import pytest
from fake_cupy import STATS, no_waiting
from gpu_cases import CASES, Case, arrays_in, map_arrays, training_step, twins
from numpy.testing import assert_allclose

from thinc import api
from thinc.api import (
    SGD,
    Adam,
    CupyOps,
    RAdam,
    Relu,
    Softmax,
    chain,
    fix_random_seed,
    set_gpu_checks,
)


@pytest.fixture(autouse=True)
def cupy(monkeypatch):
    fake_cupy.install(monkeypatch)
    yield fake_cupy
    set_gpu_checks(None)


def assert_alike(found, expected, **tolerance):
    found, expected = arrays_in(found), arrays_in(expected)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert isinstance(a, fake_cupy.ndarray) and isinstance(b, numpy.ndarray)
        assert a.dtype == b.dtype and a.shape == b.shape
        assert_allclose(a.get(), b, **{"rtol": 1e-4, "atol": 1e-5, **tolerance})


@pytest.mark.parametrize("name", CASES)
def test_layer_trains_as_on_the_cpu_without_waiting(name):
    case = CASES[name]
    model, X, on_gpu, X_gpu = twins(case)
    optimizers = Adam(0.01, L2=0.01), Adam(0.01, L2=0.01)
    with no_waiting() if not case.waits else STATS_only():
        predicted = on_gpu.predict(X_gpu)
        steps = [training_step(on_gpu, X_gpu, optimizers[1]) for _ in range(3)]
    assert_alike(predicted, model.predict(X))
    for Y, dX in steps:
        expected_Y, expected_dX = training_step(model, X, optimizers[0])
        assert_alike(Y, expected_Y)
        assert_alike(dX, expected_dX)
    for node, twin in zip(model.walk(), on_gpu.walk(), strict=True):
        for parameter in node.param_names:
            found = twin.get_param(parameter).get()
            assert_allclose(found, node.get_param(parameter), rtol=1e-3, atol=1e-4)
    if case.waits:
        assert STATS.syncs, f"{name} no longer waits: take the reason out of CASES"


@pytest.mark.parametrize("name", CASES)
def test_frozen_layers_predict_as_on_the_cpu_without_waiting(name):
    case = CASES[name]
    model, X, on_gpu, X_gpu = twins(case)
    on_gpu.freeze()
    with no_waiting() if not case.waits else STATS_only():
        predicted = on_gpu.predict(X_gpu)
    assert_alike(predicted, model.freeze().predict(X))
    before = [twin.get_param(name).get() for twin in on_gpu.walk() for name in twin.param_names]
    training_step(on_gpu, X_gpu, Adam(0.1))
    on_gpu.to_cpu()
    assert all(node.is_frozen for node in on_gpu.walk())
    after = [twin.get_param(name) for twin in on_gpu.walk() for name in twin.param_names]
    for a, b in zip(after, before, strict=True):
        assert_allclose(a, b)


def STATS_only():
    from contextlib import nullcontext

    STATS.reset()
    return nullcontext()


def test_every_layer_has_a_case():
    """Layers of the public API that are not here need a reason."""
    from thinc.layers import __all__ as names

    text = "\n".join(f"{name} {case.make().name}" for name, case in CASES.items())
    import inspect

    text += inspect.getsource(gpu_cases)
    elsewhere = {
        "Dropout": "below",
        "Logistic": "another name of Sigmoid's softmax", "ReLu": "another name of Relu",
        "noop": "does nothing",
        "remap_ids": "works on lists on the host", "remap_ids_v2": "works on lists on the host",
        "strings2arrays": "works on strings on the host",
        "with_cpu": "below", "with_debug": "calls functions", "with_nvtx_range": "below",
        "with_signpost_interval": "for macOS",
        "keras_subclass": "other frameworks", "MXNetWrapper": "other frameworks",
        "PyTorchLSTM": "other frameworks", "PyTorchRNNWrapper": "other frameworks",
        "PyTorchWrapper": "other frameworks", "PyTorchWrapper_v2": "other frameworks",
        "PyTorchWrapper_v3": "other frameworks", "TensorFlowWrapper": "other frameworks",
        "TorchScriptWrapper_v1": "other frameworks", "JaxWrapper": "other frameworks",
        "with_flatten_v2": "as with_flatten, with list2array outside",
        "pytorch_to_torchscript_wrapper": "other frameworks",
    }  # fmt: skip
    missing = [name for name in names if name not in text and name not in elsewhere]
    assert not missing


# ---- optimizers ------------------------------------------------------------------------------

OPTIMIZERS = {
    "Adam": lambda: Adam(0.01),
    "Adam, L2": lambda: Adam(0.01, L2=0.1, L2_is_weight_decay=False),
    "Adam, decay, no clipping": lambda: Adam(0.01, L2=0.1, grad_clip=0.0),
    "Adam, no averages": lambda: Adam(0.01, use_averages=False),
    "Adam, schedules": lambda: Adam([0.1, 0.05, 0.01], grad_clip=[0.1, 1.0]),
    "RAdam": lambda: RAdam(0.01, L2=0.1),
    "SGD": lambda: SGD(0.1, L2=0.1),
    "SGD, clipping": lambda: SGD(0.1, grad_clip=0.05),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_optimizers_train_as_on_the_cpu_without_waiting(make):
    model, X, on_gpu, X_gpu = twins(Case(lambda: chain(Relu(5), Softmax(3)), gpu_cases.floats))
    cpu, gpu = make(), make()
    for _ in range(8):
        training_step(model, X, cpu)
        with no_waiting():
            training_step(on_gpu, X_gpu, gpu)
        cpu.step_schedules()
        gpu.step_schedules()
    for node, twin in zip(model.walk(), on_gpu.walk(), strict=True):
        for name in node.param_names:
            assert_allclose(twin.get_param(name).get(), node.get_param(name), rtol=1e-4, atol=1e-5)
            assert not twin.get_grad(name).get().any()
            assert gpu.nr_update[(twin.id, name)] == 8
            if cpu.averages is not None:
                average = gpu.averages[(twin.id, name)].get()
                assert_allclose(average, cpu.averages[(node.id, name)], rtol=1e-4, atol=1e-5)
    gpu.to_cpu()
    assert all(isinstance(array, numpy.ndarray) for array in gpu.mom1.values())
    gpu.to_gpu()
    assert all(isinstance(array, fake_cupy.ndarray) for array in gpu.mom1.values())


def test_one_parameter_alone_is_updated_as_many_are():
    ops, key = CupyOps(), (1, "W")
    start, gradient = gpu_cases.floats(), gpu_cases.floats(seed=3) * 4
    for make in OPTIMIZERS.values():
        one, many, cpu = make(), make(), make()
        W, V, U = ops.asarray(start), ops.asarray(start), start.copy()
        for _ in range(3):
            with no_waiting():
                result, zeroed = one(key, W, ops.asarray(gradient), lr_scale=1.0)
                many.update_many([(key, V, ops.asarray(gradient))])
            cpu(key, U, gradient.copy())
            assert result.data.ptr == W.data.ptr and not zeroed.get().any()
        assert_allclose(W.get(), V.get())
        assert_allclose(W.get(), U, rtol=1e-4, atol=1e-6)


def test_update_many_on_the_cpu_is_a_call_for_each():
    start, gradient = gpu_cases.floats(), gpu_cases.floats(seed=3)
    one, many = Adam(0.1), Adam(0.1)
    W, V = start.copy(), start.copy()
    one((1, "W"), W, gradient.copy())
    many.update_many([((1, "W"), V, gradient.copy())])
    assert_allclose(W, V)


def test_an_update_with_a_mistake_changes_nothing():
    ops, optimizer = CupyOps(), Adam(0.1)
    good, bad = ops.asarray(gpu_cases.floats()), ops.asarray(gpu_cases.floats())
    before = good.get()
    with pytest.raises(ValueError, match="incompatible shapes"):
        optimizer.update_many([((1, "W"), good, good.copy()), ((1, "b"), bad, bad[:2])])
    assert_allclose(good.get(), before)
    assert optimizer.nr_update[(1, "W")] == 0


# ---- losses ------------------------------------------------------------------------------------


def guesses(ops=None):
    model = Softmax(3, 6).initialize()
    model.get_param("W")[...] = gpu_cases.floats(3, 6)
    if ops is not None:
        model.to_gpu(0)
    return model.predict(gpu_cases.floats(5) if ops is None else ops.asarray(gpu_cases.floats(5)))


LOSSES = {
    "labels": (api.CategoricalCrossentropy(), lambda: [0, 2, 1, 1, 0]),
    "labels in an array": (
        api.CategoricalCrossentropy(label_smoothing=0.1),
        lambda: numpy.array([0, 2, 1, 1, 0]),
    ),
    "missing label": (api.CategoricalCrossentropy(missing_value=1), lambda: [0, 2, 1, None, 0]),
    "missing label in an array": (
        api.CategoricalCrossentropy(missing_value=7),
        lambda: numpy.array([0, 2, 7, 1, 0]),
    ),
    "names": (
        api.CategoricalCrossentropy(names=["a", "b", "c"], neg_prefix="!"),
        lambda: ["a", "!c", None, "b", "b"],
    ),
    "one-hot": (api.CategoricalCrossentropy(), lambda: numpy.eye(3, dtype="f")[[0, 2, 1, 1, 0]]),
    "L2": (api.L2Distance(), lambda: gpu_cases.floats(5, 3)),
    "cosine": (api.CosineDistance(), lambda: gpu_cases.floats(5, 3)),
    "cosine, zeros ignored": (
        api.CosineDistance(ignore_zeros=True),
        lambda: gpu_cases.floats(5, 3) * numpy.array([[1], [0], [1], [1], [0]], dtype="f"),
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_those_of_the_cpu_without_waiting(name):
    loss, truths = LOSSES[name]
    ops = CupyOps()
    there = map_arrays(ops.asarray, truths())
    G = guesses(ops)
    with no_waiting():
        gradient, value = loss(G, there)
    expected, expected_value = loss(guesses(), truths())
    assert_alike(gradient, expected)
    assert_allclose(float(value), expected_value, rtol=1e-4)


def test_sequences_have_losses_without_waiting():
    loss, ops = api.SequenceCategoricalCrossentropy(), CupyOps()
    G, labels = guesses(ops), [[0, 2], [1, 1, 0]]
    with no_waiting():
        gradients, value = loss([G[:2], G[2:]], labels)
    H = guesses()
    expected, expected_value = loss([H[:2], H[2:]], labels)
    assert_alike(gradients, expected)
    assert_allclose(float(value), expected_value, rtol=1e-4)


def test_wrong_values_that_the_host_knows_are_errors():
    loss, ops = api.CategoricalCrossentropy(), CupyOps()
    G = guesses(ops)
    with no_waiting():
        with pytest.raises(IndexError, match="Label 3 is out of range"):
            loss(G, [0, 1, 2, 3, 0])
        with pytest.raises(IndexError, match="Label 3 is out of range"):
            loss(G, ops.asarray(numpy.array([0, 1, 2, 3, 0])))
        with pytest.raises(ValueError, match="must not be negative"):
            loss(G, [0, 1, 2, -3, 0])


def test_wrong_values_that_only_the_device_knows():
    loss, ops = api.CategoricalCrossentropy(), CupyOps()
    G = guesses(ops)
    labels = ops.asarray(numpy.array([0, 1, 2, 2, 0])) + 1
    with no_waiting():
        gradient = loss.get_grad(G, labels)
        loss.get_grad(G * 2, [0, 1, 2, 2, 0])
    wrong = numpy.isnan(gradient.get()).all(axis=1)
    assert wrong.tolist() == [False, False, True, True, False]
    set_gpu_checks(True)
    with pytest.raises(IndexError, match="Label 3 is out of range"):
        loss.get_grad(G, labels)
    with pytest.raises(ValueError, match="outside the"):
        loss.get_grad(G * 2, [0, 1, 2, 2, 0])


# ---- a whole program ---------------------------------------------------------------


def test_dropout_keeps_what_it_should_and_does_not_wait():
    ops = CupyOps()
    model = api.Dropout(0.25)
    model.ops = ops
    X = ops.alloc2f(200, 10) + 1
    fix_random_seed(1)
    with no_waiting():
        Y, backprop = model.begin_update(X)
        dX = backprop(X)
    assert_allclose(Y.get(), dX.get())
    kept = (Y.get() != 0).mean()
    assert 0.7 < kept < 0.8
    fix_random_seed(1)
    assert_allclose(model.begin_update(X)[0].get(), Y.get())


def test_layers_on_the_cpu_in_a_model_on_the_gpu():
    with api.use_ops("cupy"):
        ops = api.get_current_ops()
        X = ops.asarray(gpu_cases.floats())
        mixed = chain(Relu(6), api.with_cpu(Relu(5), ops), Softmax(3)).initialize(X=X)
    inside = mixed.layers[1].layers[0]
    assert isinstance(inside.get_param("W"), numpy.ndarray)
    mixed.layers[2].get_param("W")[...] = ops.asarray(gpu_cases.floats(3, 5))
    Y, backprop = mixed.begin_update(X)
    dX = backprop(Y)
    assert isinstance(Y, fake_cupy.ndarray) and isinstance(dX, fake_cupy.ndarray)

    alone = mixed.copy()
    for node in alone.walk():
        node.ops = api.NumpyOps()
    alone.to_cpu()
    alone = chain(alone.layers[0], alone.layers[1].layers[0], alone.layers[2])
    for node in alone.walk():
        for name in node.grad_names:
            node.set_grad(name, None)
    expected, backprop = alone.begin_update(X.get())
    assert_allclose(Y.get(), expected, rtol=1e-4)
    assert_allclose(dX.get(), backprop(expected), rtol=1e-4, atol=1e-6)

    optimizers = Adam(0.1), Adam(0.1)
    mixed.finish_update(optimizers[0])
    alone.finish_update(optimizers[1])
    for layer, other in zip((mixed.layers[0], inside, mixed.layers[2]), alone.layers, strict=True):
        W = layer.get_param("W")
        W = W if layer is inside else W.get()
        assert_allclose(W, other.get_param("W"), rtol=1e-4, atol=1e-6)


def test_models_move_to_the_gpu_and_back():
    model, X, on_gpu, X_gpu = twins(CASES["tagger"])
    data = on_gpu.to_bytes()
    assert model.copy().from_bytes(data).to_bytes() == data
    training_step(on_gpu, X_gpu, Adam(0.1))
    device = on_gpu.to_gpu(0)
    assert device.id == 0
    assert all(type(node.ops) is CupyOps for node in on_gpu.walk())
    assert all(node.ops.device_id == 0 for node in on_gpu.walk())
    on_gpu.to_cpu()
    for node in on_gpu.walk():
        for name in node.param_names:
            assert isinstance(node.get_param(name), numpy.ndarray)
            assert isinstance(node.get_grad(name), numpy.ndarray)
    on_gpu.predict(X)


def test_averages_are_used_on_the_gpu():
    _, _, on_gpu, X_gpu = twins(Case(lambda: Relu(4), gpu_cases.floats))
    optimizer = Adam(0.1)
    training_step(on_gpu, X_gpu, optimizer)
    before = on_gpu.predict(X_gpu).get()
    with no_waiting(), on_gpu.use_params(optimizer.averages):
        averaged = on_gpu.predict(X_gpu)
    assert (averaged.get() != before).any()
    assert_allclose(on_gpu.predict(X_gpu).get(), before)


def test_a_training_program_waits_only_for_its_numbers():
    """Batches from the host, a loss with labels, Adam with a schedule, the loss printed."""
    rng = numpy.random.RandomState(0)
    X = rng.normal(size=(64, 8)).astype("float32")
    labels = X[:, :3].argmax(axis=1)
    model = chain(Relu(16, dropout=0.1), Softmax())
    model.initialize(X=X, Y=numpy.eye(3, dtype="f"))
    model.to_gpu(0)
    ops, loss, optimizer = CupyOps(), api.CategoricalCrossentropy(), Adam(0.05)
    values = []
    for _ in range(30):
        total = 0.0
        with no_waiting():
            batches = CupyOps().multibatch(16, X, labels, shuffle=True)
            for x, y in ops.prefetch(batches):
                guess, backprop = model.begin_update(x)
                gradient, value = loss(guess, y)
                backprop(gradient)
                model.finish_update(optimizer)
                optimizer.step_schedules()
                total += value
        values.append(float(total))
    assert values[-1] < 0.2 * values[0]
    predicted = model.predict(ops.asarray(X)).get().argmax(axis=1)
    assert (predicted == labels).mean() > 0.9


# ---- launches --------------------------------------------------------------------

# So many operations on the device does a training step take; more is a step back.
LAUNCHES = {"Relu": 9, "Maxout normalized": 14, "tagger": 74, "text classifier": 36}


@pytest.mark.parametrize("name", LAUNCHES)
def test_launches_of_a_training_step(name):
    _, _, on_gpu, X_gpu = twins(CASES[name])
    optimizer = Adam(0.01, grad_clip=0.0)
    training_step(on_gpu, X_gpu, optimizer)
    STATS.reset()
    training_step(on_gpu, X_gpu, optimizer)
    assert len(STATS.launches) <= LAUNCHES[name], "\n".join(STATS.launches)


# ---- half precision ----------------------------------------------------------------


def test_models_train_in_half_precision():
    """float16 parameters, with moments and averages in float32; as the same in float32."""
    model, X, on_gpu, X_gpu = twins(CASES["Maxout normalized"])
    for node in on_gpu.walk():
        for name in node.param_names:
            node.set_param(name, node.get_param(name).astype("float16"))
    half = X_gpu.astype("float16")
    optimizers = Adam(0.01, eps=1e-3), Adam(0.01, eps=1e-3)
    for _ in range(3):
        with no_waiting():
            Y, dX = training_step(on_gpu, half, optimizers[1])
        expected_Y, expected_dX = training_step(model, X, optimizers[0])
        assert Y.dtype == dX.dtype == "float16"
        assert_allclose(Y.get(), expected_Y, rtol=2e-2, atol=2e-2)
        assert_allclose(dX.get(), expected_dX, rtol=5e-2, atol=5e-2)
    for node in on_gpu.walk():
        for name in node.param_names:
            assert node.get_param(name).dtype == "float16"
            key = (node.id, name)
            assert optimizers[1].mom1[key].dtype == optimizers[1].averages[key].dtype == "float32"
