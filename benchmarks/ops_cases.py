"""Every method of Ops that computes, at a few sizes each: CASES, name -> Work.

Runs on both releases. A case's name is "method | size". Sizes: a few rows of ten columns
(the call), what fits into a core's nearer caches (the kernel), a batch of a real network.
Methods that only make or rename arrays (alloc, asarray, reshape and the like) are in
OVERHEAD; the rest decides the geometric mean.
"""
from functools import partial

import numpy
from work import Work, named_arrays

CASES = {}
OVERHEAD = set()
SHAPES = ((32, 10), (128, 128), (2000, 288))
SEQUENCES = ((8, 10), (32, 96), (100, 288))  # how many, how wide


def floats(*shape, scale=1.0, seed=0):
    return numpy.random.default_rng(seed).normal(0, scale, shape).astype("float32")


def uniform(*shape, seed=2):
    return numpy.random.default_rng(seed).random(shape, "float32")


def integers(low, high, shape, dtype="int32", seed=3):
    return numpy.random.default_rng(seed).integers(low, high, shape).astype(dtype)


def by(*sizes):
    return "x".join(str(n) for n in sizes)


def add(method, size, *arrays, **options):
    """A case that calls a method and compares what it returns."""

    def build():
        from thinc.api import NumpyOps

        call = partial(getattr(NumpyOps(), method), *arrays, **options)
        return Work(call, lambda: named_arrays(call()))

    CASES[f"{method} | {size}"] = build


def add_made(method, size, make):
    """The same, of make(ops), which returns the call."""

    def build():
        from thinc.api import NumpyOps

        call = make(NumpyOps())
        return Work(call, lambda: named_arrays(call()))

    CASES[f"{method} | {size}"] = build


def add_updating(method, size, make):
    """The case of a method that changes its arguments.

    make(ops) returns (call, arrays, start): before each series of calls the arrays are set
    to their start values; compared is what one call makes of them.
    """

    def build():
        from thinc.api import NumpyOps

        call, arrays, start = make(NumpyOps())

        def prepare():
            for array, values in zip(arrays, start, strict=True):
                array[...] = values

        def result():
            prepare()
            call()
            return named_arrays(arrays)

        # In longer series moments of a zero gradient would decay to denormal numbers.
        return Work(call, result, prepare, max_repeat=400)

    CASES[f"{method} | {size}"] = build


# ---- element by element, and rows ------------------------------------------------

FROM_X = (
    "clipped_linear relu_k hard_sigmoid hard_tanh hard_swish hard_swish_mobilenet dish gelu "
    "gelu_approx mish"
).split()

for shape in SHAPES:
    size = by(*shape)
    X, dY, Y = floats(*shape, scale=3), floats(*shape, seed=1), uniform(*shape)
    for name in (*FROM_X, "relu", "sigmoid", "swish", "erf", "sechsq", "softmax"):
        add(name, size, X)
    for name in FROM_X:
        add(f"backprop_{name}", size, dY, X)
    add("backprop_relu", size, dY, X)
    add("backprop_sigmoid", size, dY, Y)
    add("backprop_swish", size, dY, X, X / (1 + numpy.exp(-X)))
    add("dsigmoid", size, Y)
    add("dtanh", size, Y)
    add("logloss", size, numpy.round(Y), Y)
    add("backprop_softmax", size, Y / Y.sum(axis=1, keepdims=True), dY)

for B, O, P in ((32, 10, 2), (128, 96, 3), (2000, 96, 3)):
    X = floats(B, O, P)
    add("maxout", by(B, O, P), X)
    which = X.argmax(axis=2).astype("int32")
    add("backprop_maxout", by(B, O, P), floats(B, O), which, P)

# ---- products ----------------------------------------------------------------------

for B, I, O in ((1, 10, 10), (32, 10, 10), (16, 96, 288), (2000, 96, 288), (128, 784, 128)):
    X, W, dY = floats(B, I), floats(O, I), floats(B, O)
    add("affine", by(B, I, O), X, W, floats(O))
    add("gemm", by(B, I, O) + " X W.T", X, W, trans2=True)
    add("gemm", by(B, I, O) + " dY W", dY, W)
    add("gemm", by(B, I, O) + " dY.T X", dY, X, trans1=True)

# ---- sequences -----------------------------------------------------------------------

for count, width in SEQUENCES:
    lengths = integers(1, 41, count)
    total = int(lengths.sum())
    size = f"{count} of {total}x{width}"
    X, dY = floats(total, width), floats(count, width, seed=1)
    starts = numpy.concatenate([[0], numpy.cumsum(lengths)]).astype("int32")
    lasts = starts[1:].astype("int64") - 1
    which = numpy.stack(
        [X[a:b].argmax(axis=0) for a, b in zip(starts[:-1], starts[1:], strict=True)]
    ).astype("int32")
    for name in ("sum", "mean", "max", "first", "last"):
        add(f"reduce_{name}", size, X, lengths)
    add("backprop_reduce_sum", size, dY, lengths)
    add("backprop_reduce_mean", size, dY, lengths)
    add("backprop_reduce_max", size, dY, which, lengths)
    add("backprop_reduce_first", size, dY, starts)
    add("backprop_reduce_last", size, dY, lasts)
    add("softmax_sequences", size, X, lengths)
    weights = uniform(total, width)
    add("backprop_softmax_sequences", size, X, weights, lengths)
    add("seq2col", size + " nW=1", X, 1)
    add("seq2col", size + " nW=1, lengths", X, 1, lengths=lengths)
    add("backprop_seq2col", size + " nW=1", floats(total, 3 * width), 1)
    add("backprop_seq2col", size + " nW=1, lengths", floats(total, 3 * width), 1, lengths=lengths)

    parts = numpy.split(X, starts[1:-1])
    padded = numpy.zeros((count, int(lengths.max()), width), "float32")
    add("flatten", size, parts)
    add("flatten", size + " pad=1", parts, pad=1)
    add("unflatten", size, X, lengths)
    add("pad", size, parts)
    add("pad", size + " round_to=8", parts, round_to=8)
    add("unpad", size, padded, lengths)
    add("list2padded", size, parts)
    add_made(
        "padded2list", size, lambda ops, p=parts: partial(ops.padded2list, ops.list2padded(p))
    )
    add("insert_into", size, padded.shape, parts)

# ---- tables ----------------------------------------------------------------------------

for n, width in ((10, 10), (200, 96), (2000, 96)):
    size = by(n, width)
    table = floats(5000, width)
    indices = integers(0, 5000, (n, 4))
    ids = integers(0, 2**62, n, "uint64")
    add("gather_add", size, table, indices)
    for dtype in ("int32", "int64"):
        rows = integers(0, 5000, n, dtype)

        def scatter(ops, table=table, rows=rows, values=floats(n, width)):  # noqa: B008
            target = table.copy()
            return partial(ops.scatter_add, target, rows, values), [target], [table]

        add_updating("scatter_add", f"{size}, {dtype}", scatter)
    if width == 96:
        add("hash", f"{n}", ids, 7)
        add("ngrams", f"{n}, n=3", 3, ids)
add("hash", "10", integers(0, 2**62, 10, "uint64"), 7)
add("ngrams", "10, n=2", 2, integers(0, 2**62, 10, "uint64"))

# ---- training ----------------------------------------------------------------------------

for n in (10, 10_000, 1_000_000):

    def adam(ops, n=n):
        start = [floats(n), floats(n, seed=1), floats(n, seed=2, scale=0.1), uniform(n)]
        arrays = [array.copy() for array in start]
        return partial(ops.adam, *arrays, 0.9, 0.999, 1e-8, 0.001), arrays, start

    def clip(ops, n=n):
        start = floats(n)
        gradient = start.copy()
        # A little less at every call, so that each one has to scale.
        threshold = [0.5 * float(numpy.linalg.norm(start))]

        def call():
            threshold[0] *= 0.99999
            ops.clip_gradient(gradient, threshold[0])

        return call, [gradient], [start]

    def keep(ops, n=n):
        gradient = floats(n)
        return partial(ops.clip_gradient, gradient, 1e9), [gradient], [floats(n)]

    def average(ops, n=n):
        start, weights = floats(n), floats(n, seed=1)
        ema = start.copy()
        return partial(ops.update_averages, ema, weights, 100), [ema], [start]

    add_updating("adam", str(n), adam)
    add_updating("clip_gradient", f"{n}, above", clip)
    add_updating("clip_gradient", f"{n}, below", keep)
    add_updating("update_averages", str(n), average)

for shape in SHAPES:

    def mask_case(shape=shape):
        from thinc.api import NumpyOps

        ops = NumpyOps()

        def kept():
            mask = ops.get_dropout_mask((1000, 1000), 0.2)
            values = numpy.unique(mask)
            return {"values": values, "kept": numpy.array(round(float((mask > 0).mean()), 2))}

        return Work(partial(ops.get_dropout_mask, shape, 0.2), kept)

    CASES[f"get_dropout_mask | {by(*shape)}"] = mask_case

add("position_encode", "20x10", 20, 10)
add("position_encode", "200x96", 200, 96)

# ---- LSTM -------------------------------------------------------------------------------


def lstm_case(method, count, width, nO, dirs):
    def build():
        from thinc.api import NumpyOps

        ops = NumpyOps()
        lengths = numpy.sort(integers(5, 31, count))[::-1]
        size_at_t = numpy.array([(lengths > t).sum() for t in range(lengths[0])], "int32")
        X = floats(int(lengths.sum()), width)
        per_direction = 4 * nO * width + 8 * nO + 4 * nO * nO
        params = floats(dirs * per_direction, scale=0.1)
        H0 = C0 = numpy.zeros((1, dirs, nO), "float32")
        if method != "backprop_lstm":
            call = partial(getattr(ops, method), params, H0, C0, X, size_at_t)
            # Of the state of training only the layout differs, so the output is compared.
            first = (lambda: call()[0]) if method.endswith("training") else call
            return Work(call, lambda: named_arrays(first()))
        Y, state = ops.lstm_forward_training(params, H0, C0, X, size_at_t)
        dY = floats(*Y.shape, seed=4)
        # Not compared: the peer's gradients are wrong. tests/ compare ours with the formula.
        # It also overwrites dY with one direction, so that is given anew each time.
        call = partial(ops.backprop_lstm, dY, size_at_t, params, state)
        return Work(call)

    CASES[f"{method} | {count} of 5-30x{width}, nO={nO}, dirs={dirs}"] = build


for method in ("lstm_forward_inference", "lstm_forward_training", "backprop_lstm"):
    for sizes in ((4, 10, 10, 1), (32, 128, 64, 2), (32, 96, 96, 1)):
        lstm_case(method, *sizes)

# ---- batches ---------------------------------------------------------------------------------

X, Y = floats(2000, 96), floats(2000, 10)
docs = [floats(n, 10) for n in integers(1, 41, 200)]
add_made("minibatch", "2000x96 in 128", lambda ops: lambda: list(ops.minibatch(128, X)))
add_made("minibatch", "list of 200 in 16", lambda ops: lambda: list(ops.minibatch(16, docs)))
add_made("multibatch", "2000 rows in 128", lambda ops: lambda: list(ops.multibatch(128, X, Y)))

# ---- arrays ------------------------------------------------------------------------------------


def add_overhead(method, size, *arguments, **options):
    add(method, size, *arguments, **options)
    OVERHEAD.add(f"{method} | {size}")


matrix, ints = floats(32, 10), integers(0, 9, (32, 10))
big = floats(2000, 96)
add_overhead("alloc", "32x10", (32, 10))
add_overhead("alloc", "2000x96", (2000, 96))
add_overhead("alloc_f", "32x10", (32, 10))
add_overhead("alloc_i", "32x10", (32, 10))
add_overhead("reshape", "32x10", matrix, (320,))
add_overhead("reshape_f", "32x10", matrix, (320,))
add_overhead("reshape_i", "32x10", ints, (320,))
add_overhead("asarray", "32x10", matrix)
add_overhead("asarray", "list of 10", list(range(10)))
add_overhead("asarray_f", "32x10", matrix)
add_overhead("asarray_i", "32x10", ints)
add_overhead("as_contig", "32x10", matrix)
add_overhead("as_contig", "96x2000, transposed", big.T)
add_overhead("to_numpy", "32x10", matrix)
add_overhead("tile", "32x10 by 4", matrix, 4)
shape4 = (4, 8, 5, 2)
for n, dims in enumerate(((320,), (32, 10), (8, 4, 10), shape4), start=1):
    for kind, array in (("f", matrix), ("i", ints)):
        add_overhead(f"alloc{n}{kind}", by(*dims), *dims)
        add_overhead(f"reshape{n}{kind}", by(*dims), array, *dims)
        add_overhead(f"asarray{n}{kind}", by(*dims), array.reshape(dims))
    add_overhead(f"reshape{n}", by(*dims), matrix, *dims)


def cblas_case():
    from thinc.api import NumpyOps

    return Work(NumpyOps().cblas)


CASES["cblas | "] = cblas_case
OVERHEAD.add("cblas | ")
