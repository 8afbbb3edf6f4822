"""Activations, rows and maxout with their backward passes, ours and the peer's through
Ops (or the layer, where Ops has no method of it) and PyTorch's through its own kernels.
CASES: "LIBRARY NAME" -> Work, of 2000 x 288 float32 each (maxout: 2000 x 96 x 3)."""
from functools import partial

import numpy
from work import Work

CASES = {}
ROWS, WIDTH = 2000, 288
NAMES = []


def floats(*shape, seed=0):
    return numpy.random.default_rng(seed).normal(0, 2, shape).astype("float32")


X, DY = floats(ROWS, WIDTH), floats(ROWS, WIDTH, seed=1)
P = numpy.exp(X) / numpy.exp(X).sum(axis=1, keepdims=True)
S = (1 / (1 + numpy.exp(-X))).astype("float32")
PIECES, D_BEST = floats(ROWS, 96, 3), floats(ROWS, 96, seed=1)
WHICH = PIECES.argmax(axis=2).astype("int32")
G, B = floats(WIDTH, seed=2), floats(WIDTH, seed=3)
SIZE = X.nbytes


def add(name, ours, torch_call, moved):
    """ours(ops) and torch_call(torch) make the calls, which return equal arrays."""

    def thinc_case():
        from thinc.api import NumpyOps

        call = ours(NumpyOps())
        return Work(call, lambda: first_array(call()), moved=moved)

    def torch_case():
        import torch

        torch.set_grad_enabled(False)
        call = torch_call(torch)
        return Work(call, lambda: first_array(call()), moved=moved)

    CASES[f"thinc {name}"] = thinc_case
    CASES[f"torch {name}"] = torch_case
    NAMES.append(name)


def first_array(value):
    value = value[0] if isinstance(value, (tuple, list)) else value
    return {"Y": numpy.asarray(value)}


def tensors(torch, *arrays):
    return [torch.from_numpy(array) for array in arrays]


def torch_unary(function):
    def make(torch):
        return partial(function(torch), torch.from_numpy(X))

    return make


def torch_slope(function, *arrays):
    def make(torch):
        return partial(function(torch), *tensors(torch, *arrays))

    return make


add("relu", lambda ops: partial(ops.relu, X), torch_unary(lambda t: t.relu), 2 * SIZE)
add("gelu", lambda ops: partial(ops.gelu, X),
    torch_unary(lambda t: t.nn.functional.gelu), 2 * SIZE)
add("mish", lambda ops: partial(ops.mish, X),
    torch_unary(lambda t: t.nn.functional.mish), 2 * SIZE)
add("swish", lambda ops: partial(ops.swish, X),
    torch_unary(lambda t: t.nn.functional.silu), 2 * SIZE)
add("sigmoid", lambda ops: partial(ops.sigmoid, X), torch_unary(lambda t: t.sigmoid), 2 * SIZE)
add("softmax", lambda ops: partial(ops.softmax, X),
    torch_unary(lambda t: partial(t.softmax, dim=1)), 2 * SIZE)

add("backprop_relu", lambda ops: partial(ops.backprop_relu, DY, numpy.maximum(X, 0)),
    torch_slope(lambda t: lambda dY, Y: t.ops.aten.threshold_backward(dY, Y, 0),
                DY, numpy.maximum(X, 0)), 3 * SIZE)
add("backprop_gelu", lambda ops: partial(ops.backprop_gelu, DY, X),
    torch_slope(lambda t: t.ops.aten.gelu_backward, DY, X), 3 * SIZE)
add("backprop_mish", lambda ops: partial(ops.backprop_mish, DY, X),
    torch_slope(lambda t: t.ops.aten.mish_backward, DY, X), 3 * SIZE)
add("backprop_swish", lambda ops: partial(ops.backprop_swish, DY, X, X * S),
    torch_slope(lambda t: t.ops.aten.silu_backward, DY, X), 3 * SIZE)
add("backprop_sigmoid", lambda ops: partial(ops.backprop_sigmoid, DY, S),
    torch_slope(lambda t: t.ops.aten.sigmoid_backward, DY, S), 3 * SIZE)
add("backprop_softmax", lambda ops: partial(ops.backprop_softmax, P, DY),
    torch_slope(lambda t: lambda dY, Y: t.ops.aten._softmax_backward_data(dY, Y, 1, t.float32),
                DY, P), 3 * SIZE)


def thinc_layernorm():
    from thinc.api import LayerNorm

    model = LayerNorm(WIDTH).initialize()
    model.set_param("G", G)
    model.set_param("b", B)
    return model


def thinc_layernorm_backward(ops):
    model = thinc_layernorm()
    _, backprop = model.begin_update(X)
    return lambda: backprop(DY)


def torch_layernorm(torch):
    return partial(
        torch.nn.functional.layer_norm, torch.from_numpy(X), (WIDTH,), *tensors(torch, G, B), 1e-8
    )


def torch_layernorm_backward(torch):
    x, dY, g, b = tensors(torch, X, DY, G, B)
    _, mean, rstd = torch.ops.aten.native_layer_norm(x, (WIDTH,), g, b, 1e-8)
    return lambda: torch.ops.aten.native_layer_norm_backward(
        dY, x, (WIDTH,), mean, rstd, g, b, [True, True, True]
    )


add("layer norm", lambda ops: partial(thinc_layernorm().predict, X), torch_layernorm, 2 * SIZE)
add("backprop layer norm", thinc_layernorm_backward, torch_layernorm_backward, 3 * SIZE)


def torch_maxout_backward(torch):
    d_best, which = torch.from_numpy(D_BEST), torch.from_numpy(WHICH.astype("int64"))[:, :, None]
    return lambda: torch.zeros((ROWS, 96, 3)).scatter_(2, which, d_best[:, :, None])


add("maxout", lambda ops: partial(ops.maxout, PIECES),
    lambda torch: partial(torch.from_numpy(PIECES).max, dim=2), PIECES.nbytes + 8 * D_BEST.size)
add("backprop_maxout", lambda ops: partial(ops.backprop_maxout, D_BEST, WHICH, 3),
    torch_maxout_backward, PIECES.nbytes + 8 * D_BEST.size)
