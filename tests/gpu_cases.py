"""Every layer with an input, to be trained on a GPU and on the CPU with the same result.

Used without a device (tests/backends/test_cupy_training.py, on fake_cupy) and on one
(tests/gpu). Values stay clear of ties and corners, where rounding may choose.
"""

from typing import Any, Callable, Dict, NamedTuple

import numpy

from thinc import api
from thinc.api import (
    CupyOps,
    Padded,
    Ragged,
    chain,
    fix_random_seed,
    with_array,
    with_padded,
    with_ragged,
)
from thinc.util import convert_recursive

LENGTHS = (3, 1, 5, 2)
WIDTH = 6


def floats(rows=11, width=WIDTH, seed=0):
    return numpy.random.RandomState(seed).normal(size=(rows, width)).astype("float32")


def ids(rows=11, columns=3, high=40, dtype="uint64"):
    return numpy.random.RandomState(1).randint(0, high, (rows, columns)).astype(dtype)


def seqs(lengths=LENGTHS, width=WIDTH):
    return [floats(n, width, seed=i) for i, n in enumerate(lengths)]


def ragged(lengths=LENGTHS, width=WIDTH):
    data = numpy.concatenate(seqs(lengths, width))
    return Ragged(data, numpy.array(lengths, dtype="int32"))


def padded(lengths=LENGTHS, width=WIDTH):
    return api.NumpyOps().list2padded(seqs(lengths, width))


def sparse():
    keys = ids(14, 1).reshape(-1)
    return keys, floats(14, 1).reshape(-1), numpy.array([4, 0, 7, 3], dtype="int32")


class Case(NamedTuple):
    """make: the model. X: makes its input, on the host. waits: why the host must wait, if so."""

    make: Callable[[], Any]
    X: Callable[[], Any]
    waits: str = ""


DENSE = (
    "ClippedLinear Dish Gelu HardSigmoid HardSwish HardSwishMobilenet HardTanh Linear Maxout Mish "
    "Relu ReluK Sigmoid Softmax Softmax_v2 Swish"
).split()  # fmt: skip


def tagger(width=WIDTH):
    """HashEmbed, windows with Maxout and LayerNorm, residual, softmax: as in a tagger."""
    embed = api.concatenate(*[api.HashEmbed(width, 50, seed=s, column=s) for s in range(3)])
    window = chain(api.expand_window(1), api.Maxout(width, nP=3, normalize=True))
    return with_array(
        chain(embed, api.Maxout(width, nP=3, normalize=True), api.residual(window), api.Softmax(4))
    )


CASES: Dict[str, Case] = {
    **{name: Case(lambda name=name: getattr(api, name)(4), floats) for name in DENSE},
    "Maxout normalized": Case(lambda: api.Maxout(4, nP=2, normalize=True), floats),
    "LayerNorm": Case(api.LayerNorm, floats),
    "MultiSoftmax": Case(lambda: api.MultiSoftmax((2, 3)), floats),
    "Embed": Case(lambda: api.Embed(4, 40), lambda: ids(11, 1).reshape(-1)),
    "Embed, column": Case(lambda: api.Embed(4, 40, column=1), ids),
    "HashEmbed": Case(lambda: api.HashEmbed(4, 30, seed=2), lambda: ids(11, 1).reshape(-1)),
    "HashEmbed, column": Case(lambda: api.HashEmbed(4, 30, seed=2, column=1), ids),
    "LSTM": Case(lambda: with_padded(api.LSTM(4)), seqs),
    "LSTM, both ways, two layers": Case(lambda: api.LSTM(4, bi=True, depth=2), padded),
    "LSTM of a Ragged": Case(lambda: with_padded(api.LSTM(4)), ragged),
    "bidirectional": Case(lambda: api.bidirectional(api.LSTM(4)), padded),
    "SparseLinear": Case(lambda: api.SparseLinear(3, length=64), sparse),
    "SparseLinear_v2": Case(lambda: api.SparseLinear_v2(3, length=64), sparse),
    "ParametricAttention": Case(api.ParametricAttention, ragged),
    "ParametricAttention_v2": Case(
        lambda: api.ParametricAttention_v2(key_transform=api.Gelu(WIDTH, WIDTH)), ragged
    ),
    "CauchySimilarity": Case(api.CauchySimilarity, lambda: (floats(), floats(seed=1))),
    "siamese": Case(
        lambda: api.siamese(api.Relu(4), api.CauchySimilarity()),
        lambda: (floats(), floats(seed=1)),
    ),
    "add": Case(lambda: api.add(api.Relu(4), api.Linear(4)), floats),
    "concatenate": Case(lambda: api.concatenate(api.Relu(4), api.Linear(2)), floats),
    "residual": Case(lambda: api.residual(api.Mish(WIDTH)), floats),
    "clone": Case(lambda: api.clone(api.Relu(WIDTH), 2), floats),
    "tuplify": Case(lambda: api.tuplify(api.Relu(4), api.Linear(2)), floats),
    "map_list": Case(lambda: api.map_list(api.Linear(4)), seqs),
    "expand_window": Case(lambda: chain(api.expand_window(2), api.Linear(4)), floats),
    "expand_window of a Ragged": Case(
        lambda: chain(api.expand_window(1), with_array(api.Linear(4))), ragged
    ),
    "array_getitem": Case(
        lambda: chain(api.array_getitem((slice(0, None), slice(1, 4))), api.Linear(2)), floats
    ),
    "sigmoid_activation": Case(lambda: chain(api.Linear(4), api.sigmoid_activation()), floats),
    "softmax_activation": Case(lambda: chain(api.Linear(4), api.softmax_activation()), floats),
    "list2array": Case(lambda: chain(api.list2array(), api.Linear(4)), seqs),
    "list2ragged": Case(lambda: chain(api.list2ragged(), with_array(api.Linear(4))), seqs),
    "ragged2list": Case(lambda: chain(api.ragged2list(), api.map_list(api.Linear(4))), ragged),
    "list2padded": Case(lambda: chain(api.list2padded(), api.LSTM(4)), seqs),
    "padded2list": Case(lambda: chain(api.padded2list(), api.map_list(api.Linear(4))), padded),
    "reduce_first": Case(lambda: chain(api.reduce_first(), api.Linear(4)), ragged),
    "reduce_last": Case(lambda: chain(api.reduce_last(), api.Linear(4)), ragged),
    "reduce_max": Case(lambda: chain(api.reduce_max(), api.Linear(4)), ragged),
    "reduce_mean": Case(lambda: chain(api.reduce_mean(), api.Linear(4)), ragged),
    "reduce_sum": Case(lambda: chain(api.reduce_sum(), api.Linear(4)), ragged),
    "resizable": Case(
        lambda: api.resizable(api.Linear(4), resize_layer=lambda layer, nO: layer), floats
    ),
    "uniqued": Case(
        lambda: api.uniqued(api.HashEmbed(4, 30, seed=2, column=0)),
        ids,
        waits="the number of different keys decides the size of arrays",
    ),
    "with_array of a list": Case(lambda: with_array(api.Relu(4)), seqs),
    "with_array of a Ragged": Case(lambda: with_array(api.Relu(4)), ragged),
    "with_array of a Padded": Case(lambda: with_array(api.with_reshape(api.Relu(4))), padded),
    "with_array2d": Case(lambda: api.with_array2d(api.Relu(4)), padded),
    "with_flatten": Case(
        lambda: api.with_flatten(chain(api.list2array(), api.Relu(4))),
        lambda: [seqs((1, 1, 1)), seqs((1, 1))],
    ),
    "with_getitem": Case(
        lambda: api.with_getitem(0, api.Linear(WIDTH)), lambda: (floats(), floats())
    ),
    "with_list of a Ragged": Case(lambda: api.with_list(api.map_list(api.Relu(4))), ragged),
    "with_list of a Padded": Case(lambda: api.with_list(api.map_list(api.Relu(4))), padded),
    "with_padded of a list": Case(lambda: with_padded(api.with_array2d(api.Relu(4))), seqs),
    "with_padded of an array": Case(
        lambda: with_padded(api.LSTM(4)), lambda: floats(20).reshape((4, 5, WIDTH))
    ),
    "with_ragged of a list": Case(lambda: with_ragged(with_array(api.Relu(4))), seqs),
    "with_ragged of a Padded": Case(lambda: with_ragged(with_array(api.Relu(4))), padded),
    "with_reshape": Case(
        lambda: api.with_reshape(api.Linear(4)), lambda: floats(12).reshape((3, 4, WIDTH))
    ),
    "premap_ids": Case(
        lambda: chain(
            api.premap_ids({i: i % 7 for i in range(40)}, default=0, column=1),
            api.Embed(4, 8, column=0),
        ),
        ids,
        waits="the numbers that come from a table are not known on the host",
    ),
    "tagger": Case(tagger, lambda: [ids(n) for n in LENGTHS]),
    "text classifier": Case(
        lambda: chain(
            with_array(api.HashEmbed(WIDTH, 50, seed=1, column=0)),
            api.list2ragged(),
            api.reduce_mean(),
            api.Relu(5),
            api.Softmax(3),
        ),
        lambda: [ids(n) for n in LENGTHS],
    ),
}


def map_arrays(function: Callable, data: Any) -> Any:
    """data with function(array) for every array in it."""

    def convert(value):
        if isinstance(value, Ragged):
            return Ragged(function(value.dataXd), function(value.lengths))
        if isinstance(value, Padded):
            fields = (value.data, value.size_at_t, value.lengths, value.indices)
            return Padded(*map(function, fields))
        return function(value)

    def is_match(value):
        return isinstance(value, (Ragged, Padded)) or hasattr(value, "dtype")

    return convert_recursive(is_match, convert, data)


def arrays_in(data: Any) -> list:
    """All arrays of a batch, in order."""
    found: list = []
    map_arrays(lambda array: found.append(array) or array, data)
    return found


def gradient_of(Y: Any) -> Any:
    """A gradient like Y: some fixed function of it, so that it is alike on both devices."""
    if isinstance(Y, Ragged):
        return Ragged(Y.dataXd * 0.5, Y.lengths)
    if isinstance(Y, Padded):
        return Padded(Y.data * 0.5, Y.size_at_t, Y.lengths, Y.indices)
    if isinstance(Y, (list, tuple)):
        return type(Y)(map(gradient_of, Y))
    return Y * 0.5


def twins(case):
    """A case's model and input, and copies of both on the GPU."""
    fix_random_seed(0)
    X = case.X()
    model = case.make().initialize(X=X)
    for node in model.walk():
        for name in node.param_names:
            array = node.get_param(name)
            if not array.any():  # zeros hide mistakes
                array += numpy.random.uniform(-0.5, 0.5, array.shape).astype(array.dtype)
    on_gpu = model.copy()
    on_gpu.to_gpu(0)
    return model, X, on_gpu, map_arrays(CupyOps().asarray, X)


def training_step(model, X, optimizer):
    """One training step: (Y, dX)."""
    Y, backprop = model.begin_update(X)
    dX = backprop(gradient_of(Y))
    model.finish_update(optimizer)
    return Y, dX
