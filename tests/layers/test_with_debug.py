"""Layers patched in place: with_debug, with_nvtx_range, with_signpost_interval."""
from contextlib import contextmanager
from types import SimpleNamespace

import numpy
import pytest
from numpy.testing import assert_array_equal

from thinc import compat
from thinc.api import (
    DataValidationError,
    Linear,
    chain,
    data_validation,
    noop,
    with_debug,
    with_nvtx_range,
    with_signpost_interval,
    wrap_model_recursive,
)
from thinc.testing import check_gradients

X = numpy.random.default_rng(0).normal(size=(2, 3)).astype("float32")


def test_callbacks_are_called_before_each_phase():
    calls = []
    layer = Linear(4)
    model = with_debug(
        layer,
        on_init=lambda model, X, Y: calls.append(("init", model, X, Y, model.has_dim("nI"))),
        on_forward=lambda model, X, is_train: calls.append(("forward", model, X, is_train)),
        on_backprop=lambda dY: calls.append(("backprop", dY)),
    )
    assert model is layer
    model.initialize(X=X)
    Y, backprop = model(X, is_train=True)
    model.predict(X)
    backprop(Y)
    names = [call[0] for call in calls]
    assert names == ["init", "forward", "forward", "backprop"]
    assert calls[0][1] is layer
    assert calls[0][2] is X
    assert calls[0][3] is None
    assert calls[0][4] is None  # not yet initialized
    assert (calls[1][3], calls[2][3]) == (True, False)
    assert calls[3][1] is Y


def test_results_do_not_change():
    plain = Linear(4).initialize(X=X)
    patched = with_debug(plain.copy(), "any name", on_forward=lambda *args: 7)
    assert_array_equal(patched.predict(X), plain.predict(X))
    assert patched.name == "linear"
    assert patched.dim_names == plain.dim_names
    check_gradients(patched, X)
    check_gradients(with_nvtx_range(plain.copy(), "range"), X)


def test_layers_without_init():
    model = with_debug(noop())
    model.init = None
    calls = []
    with_debug(model, on_init=lambda *args: calls.append(args)).initialize(X=X)
    assert len(calls) == 1


def test_what_a_callback_raises_goes_to_the_caller():
    def stop(dY):
        raise RuntimeError("stop here")

    Y, backprop = with_debug(Linear(4).initialize(X=X), on_backprop=stop).begin_update(X)
    with pytest.raises(RuntimeError, match="stop here"):
        backprop(Y)


def test_each_node_is_patched_once():
    calls = []
    model = chain(Linear(3), Linear(3), noop())
    wrapped = wrap_model_recursive(
        model,
        lambda layer: with_debug(layer, on_forward=lambda m, X, is_train: calls.append(m.name)),
    )
    wrapped.initialize(X=X)
    calls.clear()
    wrapped.predict(X)
    assert calls == ["linear>>linear>>noop", "linear", "linear", "noop"]


def test_data_validation_still_knows_the_types():
    with data_validation(True), pytest.raises(DataValidationError):
        with_debug(Linear(4)).initialize(X=X.astype("int64"))


def test_nvtx_ranges(monkeypatch):
    log = []
    nvtx = SimpleNamespace(
        RangePush=lambda message, color: log.append((message, color)),
        RangePop=lambda: log.append("pop"),
    )
    monkeypatch.setattr(compat, "has_cupy", True)
    monkeypatch.setattr(compat, "cupy", SimpleNamespace(cuda=SimpleNamespace(nvtx=nvtx)))
    calls = []
    layer = with_debug(noop(), on_forward=lambda *args: calls.append(len(log)))
    model = with_nvtx_range(layer, "mine", forward_color=2, backprop_color=3)
    _, backprop = model.begin_update(X)
    backprop(X)
    assert log == [("mine forward", 2), "pop", ("mine backprop", 3), "pop"]
    assert calls == [1]  # inside the range
    del log[:]
    with_nvtx_range(noop()).predict(X)
    assert log == [("noop forward", -1), "pop"]


class Signposter:
    def __init__(self):
        self.log = []

    @contextmanager
    def use_interval(self, message):
        self.log.append(f"begin {message}")
        yield
        self.log.append(f"end {message}")


def test_signpost_intervals(monkeypatch):
    monkeypatch.setattr(compat, "has_os_signpost", True)
    signposter = Signposter()
    model = with_signpost_interval(Linear(4), signposter, "mine")
    Y, backprop = model.initialize(X=X).begin_update(X)
    backprop(Y)
    phases = ["init", "forward", "backprop"]
    edges = ["begin", "end"]
    assert signposter.log == [f"{edge} mine {phase}" for phase in phases for edge in edges]
    del signposter.log[:]
    with_signpost_interval(noop(), signposter).predict(X)
    assert signposter.log == ["begin noop forward", "end noop forward"]


@pytest.mark.skipif(compat.has_os_signpost, reason="os_signpost is installed here")
def test_signposts_need_their_package():
    with pytest.raises(ValueError, match="needs the package os_signpost"):
        with_signpost_interval(noop(), Signposter())
