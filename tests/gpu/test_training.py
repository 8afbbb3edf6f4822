"""Optimizers, losses and whole programs on the device."""

from contextlib import nullcontext

import gpu_cases
import numpy
import pytest
from gpu_cases import CASES, map_arrays, training_step, twins
from numpy.testing import assert_allclose, assert_array_equal

from thinc import api
from thinc.api import (
    SGD,
    Adam,
    CupyOps,
    Embed,
    RAdam,
    Relu,
    Softmax,
    chain,
    fix_random_seed,
    set_deterministic,
)
from thinc.cuda_graphs import CapturedPredict, CapturedUpdate, NotCapturable

from .conftest import FAKE, LOOSE, TOLERANCE

OPTIMIZERS = {
    "Adam": lambda: Adam(0.01),
    "Adam, L2": lambda: Adam(0.01, L2=0.1, L2_is_weight_decay=False),
    "Adam, decay, no clipping": lambda: Adam(0.01, L2=0.1, grad_clip=0.0),
    "Adam, schedules": lambda: Adam([0.1, 0.05, 0.01], grad_clip=[0.1, 1.0]),
    "RAdam": lambda: RAdam(0.01, L2=0.1),
    "SGD": lambda: SGD(0.1, L2=0.1),
    "SGD, clipping": lambda: SGD(0.1, grad_clip=0.05),
}
SHAPES = [(3, 4), (1,), (5000,), (2, 3, 5), (2048,), (2049,), (70, 100)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_all_parameters_at_once(make, dtype, device):
    rng = numpy.random.RandomState(0)
    cpu, gpu = make(), make()
    weights = [rng.normal(size=shape).astype(dtype) for shape in SHAPES]
    on_gpu = [device.ops.asarray(W) for W in weights]
    for _ in range(8):
        gradients = [rng.normal(size=shape).astype(dtype) for shape in SHAPES]
        sent = [device.ops.asarray(g) for g in gradients]
        keys = [(i, "W") for i in range(len(SHAPES))]
        with device.no_waiting():
            gpu.update_many(list(zip(keys, on_gpu, sent, strict=True)))
        for key, W, g in zip(keys, weights, gradients, strict=True):
            cpu(key, W, g)
        assert not any(g.get().any() for g in sent)
        cpu.step_schedules()
        gpu.step_schedules()
    tolerance = {"rtol": 1e-4, "atol": 1e-6} if dtype == "float32" else {"rtol": 1e-9}
    for key, W, found in zip(keys, weights, on_gpu, strict=True):
        assert_allclose(found.get(), W, **tolerance)
        assert_allclose(gpu.averages[key].get(), cpu.averages[key], rtol=1e-4, atol=1e-6)


LOSSES = {
    "labels": (api.CategoricalCrossentropy(), lambda: [0, 2, 1, 1, 0]),
    "labels in an array": (api.CategoricalCrossentropy(), lambda: numpy.array([0, 2, 1, 1, 0])),
    "missing label": (api.CategoricalCrossentropy(missing_value=1), lambda: [0, 2, 1, None, 0]),
    "smoothing": (api.CategoricalCrossentropy(label_smoothing=0.1), lambda: [0, 2, 1, 1, 0]),
    "names": (
        api.CategoricalCrossentropy(names=["a", "b", "c"], neg_prefix="!"),
        lambda: ["a", "!c", None, "b", "b"],
    ),
    "one-hot": (api.CategoricalCrossentropy(), lambda: numpy.eye(3, dtype="f")[[0, 2, 1, 1, 0]]),
    "L2": (api.L2Distance(), lambda: gpu_cases.floats(5, 3)),
    "cosine": (api.CosineDistance(ignore_zeros=True), lambda: gpu_cases.floats(5, 3)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_those_of_the_cpu_without_waiting(name, device):
    loss, truths = LOSSES[name]
    host = Softmax(3, 6).initialize()
    host.get_param("W")[...] = gpu_cases.floats(3, 6)
    guesses = host.predict(gpu_cases.floats(5))
    G = device.ops.asarray(guesses)
    there = map_arrays(device.ops.asarray, truths())
    with device.no_waiting():
        gradient, value = loss(G, there)
    expected, expected_value = loss(guesses, truths())
    assert_allclose(gradient.get(), expected, **TOLERANCE)
    assert_allclose(float(value), expected_value, rtol=1e-4)


def program(seed=0, steps=2 if FAKE else 20):
    """Train a tagger and a classifier of ids; returns their bytes."""
    fix_random_seed(seed)
    with api.use_ops("cupy"):
        ops = api.get_current_ops()
        docs = [ops.asarray(gpu_cases.ids(n)) for n in (30, 7, 101, 2)]
        tagger = gpu_cases.tagger(32).initialize(X=docs)
        embedder = chain(Embed(16, 40), Relu(8, dropout=0.2), Softmax(3))
        flat = ops.asarray(gpu_cases.ids(500, 1).reshape(-1))
        truths = ops.asarray(numpy.eye(3, dtype="f")[numpy.arange(500) % 3])
        embedder.initialize(X=flat, Y=truths)
    optimizer = Adam(0.01)
    for _ in range(steps):
        training_step(tagger, docs, optimizer)
        Y, backprop = embedder.begin_update(flat)
        backprop((Y - truths) / 500)
        embedder.finish_update(optimizer)
    return tagger.to_bytes() + embedder.to_bytes()


def test_two_deterministic_trainings_give_the_same_bytes(device):
    set_deterministic(True)
    first = weights_of(program)
    second = weights_of(program)
    for a, b in zip(first, second, strict=True):
        assert_array_equal(a, b)


def test_training_without_that_is_the_same_but_for_rounding(device):
    first = weights_of(program, steps=2)
    set_deterministic(True)
    for a, b in zip(first, weights_of(program, steps=2), strict=True):
        assert_allclose(a, b, rtol=1e-2, atol=1e-3)


def weights_of(train, **options):
    """Every array in the bytes of the models that a program has trained, as bits."""
    import msgpack

    unpacker = msgpack.Unpacker(raw=True, strict_map_key=False)
    unpacker.feed(train(**options))
    found = []

    def collect(value):
        if isinstance(value, dict):
            if value.get(b"nd") is True:
                array = numpy.frombuffer(value[b"data"], dtype=value[b"type"].decode())
                found.append(array)
                return
            for item in value.values():
                collect(item)
        elif isinstance(value, (list, tuple)):
            for item in value:
                collect(item)
        elif isinstance(value, bytes) and len(value) > 50:
            inner = msgpack.Unpacker(raw=True, strict_map_key=False)
            try:
                inner.feed(value)
                for item in inner:
                    if isinstance(item, (dict, list)):
                        collect(item)
            except (ValueError, msgpack.UnpackException):
                pass

    for part in unpacker:
        collect(part)
    assert len(found) > 5
    return found


def test_a_training_program_waits_only_for_its_numbers(device):
    rng = numpy.random.RandomState(0)
    X = rng.normal(size=(64, 8)).astype("float32")
    labels = X[:, :3].argmax(axis=1)
    model = chain(Relu(16, dropout=0.1), Softmax())
    model.initialize(X=X, Y=numpy.eye(3, dtype="f"))
    model.to_gpu(0)
    ops, loss, optimizer = CupyOps(), api.CategoricalCrossentropy(), Adam(0.05)
    values = []
    for epoch in range(30):
        total = 0.0
        # The kernels compile in the first.
        with device.no_waiting() if epoch else nullcontext():
            for x, y in ops.prefetch(ops.multibatch(16, X, labels, shuffle=True)):
                guess, backprop = model.begin_update(x)
                gradient, value = loss(guess, y)
                backprop(gradient)
                model.finish_update(optimizer)
                total += value
        values.append(float(total))
    assert values[-1] < 0.2 * values[0]


# ---- graphs --------------------------------------------------------------------------------


@pytest.mark.parametrize("buckets", [None, (8, 64)])
def test_graphs_compute_what_the_model_does(buckets, device):
    case = gpu_cases.Case(
        lambda: chain(api.Maxout(5, normalize=True), Relu(4), Softmax(3)), gpu_cases.floats
    )
    model, _, on_gpu, _ = twins(case)
    predict = CapturedPredict(on_gpu, row_buckets=buckets)
    update = CapturedUpdate(on_gpu, lambda Y, T: Y - T, row_buckets=buckets)
    optimizers = SGD(0.1), SGD(0.1)
    for rows in (11, 7, 11, 64, 7, 3, 11):
        X, T = gpu_cases.floats(rows, seed=rows), numpy.eye(3, dtype="f")[numpy.arange(rows) % 3]
        x, t = device.ops.asarray(X), device.ops.asarray(T)
        assert_allclose(predict(x).get(), model.predict(X), **LOOSE)
        Y, backprop = model.begin_update(X)
        backprop((Y - T) / rows)
        assert_allclose(update(x, t).get(), Y, **LOOSE)
        model.finish_update(optimizers[0])
        on_gpu.finish_update(optimizers[1])
    for node, twin in zip(model.walk(), on_gpu.walk(), strict=True):
        for name in node.param_names:
            assert_allclose(twin.get_param(name).get(), node.get_param(name), **LOOSE)


def test_memory_of_graphs_is_their_own(device):
    """Arrays made and thrown away between launches do not disturb them."""
    case = gpu_cases.Case(lambda: chain(Relu(64), Relu(64), Softmax(3)), gpu_cases.floats)
    model, X, on_gpu, x = twins(case)
    predict = CapturedPredict(on_gpu)
    expected = model.predict(X)
    for seed in range(20):
        junk = [device.ops.asarray(gpu_cases.floats(50, 64, seed)) for _ in range(5)]
        assert_allclose(predict(x).get(), expected, **TOLERANCE)
        del junk


def test_dropout_in_a_graph_draws_anew(device):
    model = chain(api.Linear(6, 6), api.Dropout(0.5)).initialize()
    model.to_gpu(0)
    update = CapturedUpdate(model, lambda Y, T: Y - T)
    X = device.ops.asarray(gpu_cases.floats(50))
    first, second, third = ((update(X, X).get() != 0) for _ in range(3))
    assert (first != second).any() and (second != third).any() and (first != third).any()
    assert 0.3 < first.mean() < 0.7


def test_models_that_wait_are_refused(device):
    case = CASES["uniqued"]
    _, _, on_gpu, x = twins(case)
    with pytest.raises(NotCapturable):
        CapturedPredict(on_gpu)(x)
    on_gpu.predict(x)  # and the device works on
