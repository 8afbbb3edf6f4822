import numpy
import pytest
from numpy.testing import assert_array_equal

from thinc.backends import ParamServer


def test_params_and_grads_by_key():
    W = numpy.ones(2)
    params = {(1, "W"): W, (2, "b"): None}
    server = ParamServer(params, {(1, "W"): W, (9, "x"): W})
    params.clear()
    assert server.param_keys == ((1, "W"), (2, "b"))
    assert server.grad_keys == ((1, "W"),)
    assert server.has_param(2, "b") and not server.has_param(1, "b")
    assert server.has_grad(1, "W") and not server.has_grad(2, "b")
    assert server.get_param(1, "W") is W
    assert server.get_param(2, "b") is None
    for get in (server.get_param, server.get_grad):
        with pytest.raises(KeyError, match="3, 'c'"):
            get(3, "c")


def test_inc_grad_starts_with_a_copy_and_set_grad_does_not():
    server = ParamServer()
    first = numpy.ones(2)
    server.inc_grad(1, "W", first)
    server.inc_grad(1, "W", first)
    assert_array_equal(server.get_grad(1, "W"), [2, 2])
    assert_array_equal(first, [1, 1])
    server.set_grad(1, "W", first)
    assert server.get_grad(1, "W") is first


def test_proxy_gets_params_and_all_gradients():
    calls = []

    class Proxy:
        def get_param(self, model_id, name):
            return numpy.array([3.0])

        def set_param(self, model_id, name, value):
            calls.append(("set_param", model_id, name, value))

        def set_grad(self, model_id, name, value):
            calls.append(("set_grad", model_id, name, value))

        def inc_grad(self, model_id, name, value):
            calls.append(("inc_grad", model_id, name, value))

    server = ParamServer(proxy=Proxy())
    server.set_param(1, "W", 5)
    assert server.has_param(1, "W")
    assert_array_equal(server.get_param(1, "W"), [3])
    server.proxy, proxy = None, server.proxy
    assert_array_equal(server.get_param(1, "W"), [3])
    server.proxy = proxy
    server.set_grad(1, "W", 6)
    server.inc_grad(1, "W", 7)
    assert not server.has_grad(1, "W")
    assert [call[0] for call in calls] == ["set_param", "set_grad", "inc_grad"]
    assert [call[3] for call in calls] == [5, 6, 7]
