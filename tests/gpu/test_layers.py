"""Every layer on the device: as on the CPU, for several steps, and without waiting."""

from contextlib import nullcontext

import pytest
from gpu_cases import CASES, arrays_in, training_step, twins
from numpy.testing import assert_allclose

from thinc import compat
from thinc.api import SGD, Dropout, Linear, Maxout, Relu, chain, fix_random_seed

from .conftest import LOOSE, TOLERANCE


def assert_alike(found, expected, tolerance):
    found, expected = arrays_in(found), arrays_in(expected)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert isinstance(a, compat.cupy.ndarray)
        assert a.dtype == b.dtype and a.shape == b.shape
        assert_allclose(a.get(), b, **tolerance)


@pytest.mark.parametrize("name", CASES)
def test_layer_trains_as_on_the_cpu_without_waiting(name, device):
    case = CASES[name]
    model, X, on_gpu, X_gpu = twins(case)
    training_step(on_gpu.copy(), X_gpu, SGD(0.1))  # the kernels compile
    with nullcontext() if case.waits else device.no_waiting():
        predicted = on_gpu.predict(X_gpu)
        steps = [training_step(on_gpu, X_gpu, SGD(0.1)) for _ in range(4)]
    assert_alike(predicted, model.predict(X), TOLERANCE)
    for i, (Y, dX) in enumerate(steps):
        expected_Y, expected_dX = training_step(model, X, SGD(0.1))
        assert_alike(Y, expected_Y, TOLERANCE if i == 0 else LOOSE)
        assert_alike(dX, expected_dX, TOLERANCE if i == 0 else LOOSE)
    for node, twin in zip(model.walk(), on_gpu.walk(), strict=True):
        for parameter in node.param_names:
            found = twin.get_param(parameter).get()
            assert_allclose(found, node.get_param(parameter), **LOOSE)


@pytest.mark.parametrize("name", CASES)
def test_frozen_layers_predict_as_on_the_cpu(name, device):
    model, X, on_gpu, X_gpu = twins(CASES[name])
    on_gpu.freeze()
    assert_alike(on_gpu.predict(X_gpu), model.freeze().predict(X), TOLERANCE)


@pytest.mark.parametrize("width", [1, 31, 32, 33, 96, 300, 1024, 1025, 3000])
def test_widths_around_those_that_kernels_change_at(width, device):
    from gpu_cases import Case, floats

    case = Case(
        lambda: chain(Maxout(width, normalize=True), Relu(width), Linear(3)),
        lambda: floats(33, 7),
    )
    model, X, on_gpu, X_gpu = twins(case)
    Y, backprop = on_gpu.begin_update(X_gpu)
    expected, backprop_cpu = model.begin_update(X)
    assert_alike(Y, expected, {"rtol": 1e-3, "atol": 1e-4})
    assert_alike(backprop(Y), backprop_cpu(expected), {"rtol": 1e-3, "atol": 1e-3})


def test_dropout_keeps_what_it_should(device):
    model = Dropout(0.25)
    model.ops = device.ops
    X = device.ops.alloc2f(1000, 100) + 1
    fix_random_seed(1)
    with device.no_waiting():
        Y, backprop = model.begin_update(X)
        dX = backprop(X)
    kept = Y.get() != 0
    assert 0.74 < kept.mean() < 0.76
    assert abs(kept.mean(axis=0) - 0.75).max() < 0.07
    assert_allclose(Y.get()[kept], 1 / 0.75, rtol=1e-6)
    assert_allclose(dX.get(), Y.get())
    fix_random_seed(1)
    assert (model.begin_update(X)[0].get() == Y.get()).all()
    assert (model.begin_update(X)[0].get() != Y.get()).any()
