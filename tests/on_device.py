"""Tests written for numpy arrays, run on CupyOps: on a device, or on fake_cupy.

OnDevice has the methods of Ops, takes and returns numpy arrays, and moves them to the device
and back around every call. What a method changes in place, it brings back.
"""

import contextlib

import numpy
import pytest

from thinc import compat
from thinc.backends import CupyOps
from thinc.types import Padded, Pairs, Ragged, SizedGenerator


class OnDevice(CupyOps):
    """CupyOps for numpy arrays. using: a context in which CuPy, or what stands for it, works."""

    def __init__(self, using=contextlib.nullcontext, name="cupy"):
        super().__init__()
        self.using = using
        self.name = name

    def __getattribute__(self, attribute):
        get = object.__getattribute__
        if attribute in ("xp", "_xp2"):
            return numpy  # the tests make arrays with it
        value = get(self, attribute)
        if not callable(value) or attribute.startswith("__") or attribute == "using":
            return value
        using = get(self, "using")

        def call(*args, **kwargs):
            with using():
                return _call(attribute, args, kwargs)

        return call


def _call(attribute, args, kwargs):
    ops = CupyOps()
    if kwargs.get("inplace") and not args[0].flags.writeable:
        raise ValueError("arrays on a device are never read-only")
    sent = {}  # id of a numpy array -> (itself, its copy on the device)

    def send(value):
        if isinstance(value, numpy.ndarray) and value.dtype.kind in "fiub":
            if id(value) not in sent:
                sent[id(value)] = (value, _as_laid_out(ops, value))
            return sent[id(value)][1]
        return _map(send, value)

    back = {}

    def receive(value):
        if isinstance(value, ops.xp.ndarray):
            if id(value) in back:
                return back[id(value)]
            return value.get()
        if isinstance(value, SizedGenerator):
            items = list(value)
            return SizedGenerator(lambda: iter(receive(items)), len(value))
        return _map(receive, value)

    args, kwargs = send(list(args)), send(dict(kwargs))
    result = getattr(ops, attribute)(*args, **kwargs)
    for host, device in sent.values():
        back[id(device)] = host
        content = device.get()
        if not numpy.array_equal(content, host, equal_nan=content.dtype.kind == "f"):
            host[...] = content  # raises if it is read-only
    return receive(result)


def _as_laid_out(ops, X):
    """X on the device in its own memory layout, as far as the device has such."""
    if X.ndim > 1 and X.flags.f_contiguous and not X.flags.c_contiguous:
        return ops.asarray(numpy.ascontiguousarray(X.T)).T
    if X.size and X.ndim and X.strides[-1] == 2 * X.itemsize:
        wide = ops.xp.zeros((*X.shape[:-1], 2 * X.shape[-1]), dtype=X.dtype)
        wide[..., ::2] = ops.asarray(numpy.ascontiguousarray(X))
        return wide[..., ::2]
    if X.ndim and X.strides and X.strides[0] < 0:
        return ops.asarray(numpy.ascontiguousarray(X[::-1]))[::-1]
    return ops.asarray(numpy.ascontiguousarray(X).reshape(X.shape))


def _map(function, value):
    if isinstance(value, Ragged):
        return Ragged(function(value.dataXd), function(value.lengths))
    if isinstance(value, Padded):
        fields = (value.data, value.size_at_t, value.lengths, value.indices)
        return Padded(*map(function, fields))
    if isinstance(value, Pairs):
        return Pairs(function(value.one), function(value.two))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(function, value))
    if isinstance(value, (list, tuple)):
        return type(value)(map(function, value))
    if isinstance(value, dict):
        return {key: function(item) for key, item in value.items()}
    return value


@contextlib.contextmanager
def _fake():
    import fake_cupy

    with pytest.MonkeyPatch.context() as patch:
        fake_cupy.install(patch)
        yield


FAKE = OnDevice(_fake, "fake-cupy")
# The same tests on a device, where there is one.
DEVICE = [OnDevice()] if compat.has_cupy_gpu else []


def marked(backends):
    """The backends as parameters of tests: those on a device have the marker `gpu`."""
    return [pytest.param(ops, marks=pytest.mark.gpu) if ops in DEVICE else ops for ops in backends]
