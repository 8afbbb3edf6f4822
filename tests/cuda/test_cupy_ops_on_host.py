"""CupyOps, on fake_cupy, launching our CUDA kernels compiled for the host.

The other tests of CupyOps without a device replace the kernels by what they are documented
to do. Here arguments meet the kernels themselves, in whole training steps.
"""

import os
import subprocess
import sys
from pathlib import Path

import fake_cupy
import fake_kernels
import numpy
import pytest
from gpu_cases import CASES, arrays_in, training_step, twins
from numpy.testing import assert_allclose, assert_array_equal

from thinc.api import SGD, Adam, CupyOps, RAdam, fix_random_seed, set_deterministic
from thinc.backends import cuda_launch, cupy_arrays


@pytest.fixture
def on_host(monkeypatch, kernels):
    """fake_cupy, with the kernels that the host's compiler made of our sources."""
    fake_cupy.install(monkeypatch)
    launched, load = set(), fake_kernels.loader(kernels)

    def load_and_note(name, types):
        launched.add(name)
        return load(name, types)

    monkeypatch.setattr(cuda_launch, "load", load_and_note)
    # As on a device; the other tests of CupyOps check the arguments of every launch.
    monkeypatch.setattr(cupy_arrays, "checks_arguments", False)
    yield launched
    set_deterministic(False)


def assert_alike(found, expected):
    for a, b in zip(arrays_in(found), arrays_in(expected), strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        assert_allclose(a.get(), b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_layers_train_on_the_kernels(name, on_host):
    model, X, on_gpu, X_gpu = twins(CASES[name])
    for _ in range(2):
        Y, dX = training_step(on_gpu, X_gpu, SGD(0.1))
        expected_Y, expected_dX = training_step(model, X, SGD(0.1))
        assert_alike(Y, expected_Y)
        assert_alike(dX, expected_dX)
    for node, twin in zip(model.walk(), on_gpu.walk(), strict=True):
        for parameter in node.param_names:
            found = twin.get_param(parameter).get()
            assert_allclose(found, node.get_param(parameter), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("make", [Adam, RAdam, lambda rate: SGD(rate, grad_clip=0.05)])
def test_optimizers_update_lists_of_parameters(make, on_host):
    shapes = [(3, 4), (2,), (4100,), (1, 1, 1)]
    ops, rng = CupyOps(), numpy.random.RandomState(0)
    weights = [rng.normal(size=shape).astype("float32") for shape in shapes]
    on_gpu = [ops.asarray(W) for W in weights]
    cpu, gpu = make(0.1), make(0.1)
    for _ in range(7):
        gradients = [rng.normal(size=shape).astype("float32") for shape in shapes]
        sent = [ops.asarray(g) for g in gradients]
        gpu.update_many(
            [((i, "W"), W, g) for i, (W, g) in enumerate(zip(on_gpu, sent, strict=True))]
        )
        for i, (W, g) in enumerate(zip(weights, gradients, strict=True)):
            cpu((i, "W"), W, g)
            assert not sent[i].get().any()
    for W, found in zip(weights, on_gpu, strict=True):
        assert_allclose(found.get(), W, rtol=1e-4, atol=1e-6)
    assert {"gradient_squares", "gradient_norms"} <= on_host


def test_rows_added_in_order_are_the_sum(on_host):
    ops, rng = CupyOps(), numpy.random.RandomState(0)
    dY = rng.normal(size=(50, 33)).astype("float32")
    indices = rng.randint(0, 7, (50, 4)).astype("uint32")
    tables = []
    for deterministic in (False, True):
        set_deterministic(deterministic)
        table = ops.alloc2f(9, 33)
        ops.backprop_gather_add(table, ops.asarray(dY), ops.asarray(indices))
        tables.append(table.get())
    expected = numpy.zeros((9, 33))
    numpy.add.at(expected, indices.reshape(-1), numpy.repeat(dY, 4, axis=0))
    for table in tables:
        assert_allclose(table, expected, rtol=1e-4, atol=1e-5)
    assert {"scatter_add", "scatter_add_sorted"} <= on_host


def test_dropout_is_decided_by_numpys_seed(on_host):
    ops = CupyOps()

    def mask():
        fix_random_seed(4)
        return ops.get_dropout_mask((300, 7), 0.3).get()

    first = mask()
    assert_array_equal(first, mask())
    assert 0.65 < (first != 0).mean() < 0.75
    assert_allclose(first[first != 0], 1 / 0.7, rtol=1e-6)


def test_norms_and_clipping(on_host):
    ops = CupyOps()
    X = numpy.random.RandomState(0).normal(size=(70, 41)).astype("float32")
    x = ops.asarray(X)
    assert_allclose(float(ops.norm(x)), numpy.linalg.norm(X.astype("float64")), rtol=1e-6)
    ops.clip_gradient(x, 2.0)
    assert_allclose(float(ops.norm(x)), 2.0, rtol=1e-5)
    assert on_host == {"squares", "norm", "clip_by_norm"}


TESTS = Path(__file__).parent.parent
SUITES = {
    "what holds for every backend": ["backends/test_ops_generic.py", "backends/test_hash.py",
                                     "backends/test_lstm_ops.py", "-k", "fake"],
    "what is only run on a device": ["gpu"],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)
def test_other_suites_pass_on_the_kernels(suite, kernels, pytestconfig):
    folder = pytestconfig.cache.mkdir("thinc-cuda-host")
    settings = {"THINC_HOST_KERNELS": str(folder), "THINC_FAKE_GPU": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *suite],
        cwd=TESTS,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout
