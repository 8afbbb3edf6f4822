"""The largest and the mean error of each fast path, against float64 (or, for float64
kernels, extended precision). CASES: "NAME, DTYPE | UNIT" -> Work whose result is the two."""
import math

import numpy
from work import Work

CASES = {}
EXTENDED = numpy.longdouble
REFERENCE = {"float32": numpy.float64, "float64": EXTENDED}


def case(name, unit, make):
    """make() returns (found, exact, size of a unit at each place)."""

    def result():
        found, exact, units = make()
        errors = numpy.abs(found.astype(exact.dtype) - exact) / units
        return {"errors": numpy.array([errors.max(), errors.mean()], "float64")}

    CASES[f"{name} | {unit}"] = lambda: Work(result, result)


def get_ops():
    from thinc.api import NumpyOps

    return NumpyOps()


def ulp(exact, dtype):
    """The distance of numbers of `dtype` around each exact result."""
    nearest = numpy.maximum(numpy.abs(exact).astype(dtype), numpy.finfo(dtype).tiny)
    return numpy.spacing(nearest).astype(exact.dtype)


def inputs(dtype, low=-100.0):
    rng = numpy.random.default_rng(0)
    X = numpy.concatenate(
        [
            rng.uniform(-1, 1, 400_000),
            rng.uniform(-6, 6, 400_000),
            rng.uniform(-30, 30, 400_000),
            rng.uniform(-100, 100, 50_000),
            rng.normal(size=100_000) * 10.0 ** rng.uniform(-30, 0, 100_000),
        ]
    ).astype(dtype)
    return X[X > low]


# ---- element by element ----------------------------------------------------------------


def sigmoid(X):
    return 1 / (1 + numpy.exp(-numpy.clip(X, -20, 20)))


def erf(X):
    """Series and continued fraction, Abramowitz and Stegun 7.1.6 and 7.1.14."""
    A = numpy.abs(X)
    small, large = numpy.minimum(A, 2.5), numpy.maximum(A, 2.5)
    root = numpy.sqrt(X.dtype.type("3.14159265358979323846264338327950288"))
    term = total = 2 * small / root
    for n in range(1, 80):
        term = term * (2 * small * small / (2 * n + 1))
        total = total + term
    tail = large
    for n in range(120, 0, -1):
        tail = large + X.dtype.type(n) / 2 / tail
    upper = numpy.exp(-large * large) / (tail * root)
    inside = total * numpy.exp(-small * small)
    return numpy.copysign(numpy.where(A < 2.5, inside, 1 - upper), X)


def erfc(X):
    A = numpy.maximum(numpy.abs(X), 0.5)
    root = numpy.sqrt(X.dtype.type("3.14159265358979323846264338327950288"))
    tail = large = numpy.maximum(A, 2.5)
    for n in range(120, 0, -1):
        tail = large + X.dtype.type(n) / 2 / tail
    far = numpy.exp(-large * large) / (tail * root)
    upper = numpy.where(A < 2.5, 1 - erf(numpy.abs(X)), far)
    upper = numpy.where(numpy.abs(X) < 0.5, 1 - erf(numpy.abs(X)), upper)
    return numpy.where(X < 0, 2 - upper, upper)


def normal_cdf(X):
    return erfc(-X / numpy.sqrt(X.dtype.type(2))) / 2


def mish(X):
    E = numpy.exp(numpy.minimum(X, 20))
    N = E * (E + 2)
    return numpy.where(X >= 20, X, X * N / (N + 2))


def gelu_inner(X):
    return math.sqrt(2 / math.pi) * (X + 0.044715 * X**3)


def dish(X):
    H = numpy.hypot(X, 1)
    return numpy.where(X < 0, X / (2 * H * (H + numpy.abs(X))), X / 2 * (1 + X / H))


VALUES = {
    "sigmoid": (sigmoid, -100),
    "swish": (lambda X: X * sigmoid(X), -100),
    "gelu": (lambda X: X * normal_cdf(X), -5),  # below, the error of a squared exponent shows
    "mish": (mish, -80),  # below, exp(x) is denormal
    "dish": (dish, -100),
    "hard_swish": (lambda X: X * numpy.clip(0.2 * X + 0.5, 0, 1), -2),
    "hard_swish_mobilenet": (lambda X: X * numpy.clip(X + 3, 0, 6) / 6, -2.5),
}


def slope_of(value):
    """Its derivative, by a central difference in extended precision, Richardson's way."""

    def slope(X):
        X = X.astype(EXTENDED)
        h = EXTENDED(1e-3)

        def difference(step):
            return (value(X + step) - value(X - step)) / (2 * step)

        first, half, quarter = difference(h), difference(h / 2), difference(h / 4)
        once, again = (4 * half - first) / 3, (4 * quarter - half) / 3
        return (16 * again - once) / 15

    return slope


def add_values(dtype):
    for name, (value, low) in VALUES.items():

        def values(name=name, value=value, low=low):
            X = inputs(dtype, low)
            exact = value(X.astype(REFERENCE[dtype]))
            found = getattr(get_ops(), name)(X)
            return found, exact, ulp(exact, dtype)

        case(f"{name}, {dtype}", "ulp", values)
    for name in ("sigmoid", "swish", "gelu", "mish", "dish"):

        def slopes(name=name):
            value = VALUES[name][0]
            # Not where a definition has its limit or threshold.
            X = inputs(dtype)
            X = X[numpy.abs(X) < 19.9]
            exact = slope_of(value)(X).astype("float64")
            ops, dY = get_ops(), numpy.ones_like(X)
            arguments = {
                "sigmoid": lambda: (dY, value(X.astype("float64")).astype(dtype)),
                "swish": lambda: (dY, X, value(X.astype("float64")).astype(dtype)),
            }.get(name, lambda: (dY, X))()
            return getattr(ops, f"backprop_{name}")(*arguments), exact, numpy.finfo(dtype).eps

        if dtype == "float32":
            case(f"backprop_{name}, {dtype}", "eps", slopes)


def gelu_tail():
    X = numpy.linspace(-40, -5, 100_001).astype("float32")
    exact = VALUES["gelu"][0](X.astype("float64"))
    return get_ops().gelu(X), exact, numpy.finfo("float32").eps


def activation_tanh():
    """tanh has no method of its own; the LSTM and gelu_approx use it."""
    from thinc.backends.formulas import FORMULAS

    X = inputs("float32")
    exact = numpy.tanh(X.astype("float64"))
    return get_ops()._map(FORMULAS["tanh"], X, (), False), exact, ulp(exact, "float32")


def gelu_approx():
    X = inputs("float32", -3)
    wide = X.astype("float64")
    exact = 0.5 * wide * (1 + numpy.tanh(gelu_inner(wide)))
    return get_ops().gelu_approx(X), exact, ulp(exact, "float32")


def erf_values():
    X = inputs("float32")
    exact = erf(X.astype("float64"))
    return get_ops().erf(X), exact, numpy.finfo("float32").eps


add_values("float32")
case("tanh, float32", "ulp", activation_tanh)
case("gelu_approx above -3, float32", "ulp", gelu_approx)
case("gelu below -5, float32", "eps", gelu_tail)
case("erf, float32", "eps", erf_values)
add_values("float64")

# ---- rows ------------------------------------------------------------------------------


def normal(*shape, scale=1.0, seed=0):
    return numpy.random.default_rng(seed).normal(0, scale, shape).astype("float32")


def row_units(exact):
    """ulp of the largest number of each row."""
    return ulp(numpy.abs(exact).max(axis=-1, keepdims=True), "float32")


def wide_softmax(X):
    E = numpy.exp(X - X.max(axis=-1, keepdims=True))
    return E / E.sum(axis=-1, keepdims=True)


def softmax(scale):
    X = normal(2000, 300, scale=scale)
    exact = wide_softmax(X.astype("float64"))
    kept = exact > 1e-30
    return get_ops().softmax(X)[kept], exact[kept], ulp(exact, "float32")[kept]


def backprop_softmax():
    Y, dY = wide_softmax(normal(2000, 300)), normal(2000, 300, seed=1)
    y, dy = Y.astype("float64"), dY.astype("float64")
    exact = y * (dy - (y * dy).sum(axis=1, keepdims=True))
    return get_ops().backprop_softmax(Y, dY), exact, row_units(exact)


def layer_norm():
    from thinc.api import LayerNorm

    X = normal(2000, 300, scale=3) + 5
    exact = X.astype("float64")
    exact = (exact - exact.mean(axis=1, keepdims=True)) / numpy.sqrt(
        exact.var(axis=1, keepdims=True) + 1e-8
    )
    return LayerNorm(300).initialize().predict(X), exact, row_units(exact)


def softmax_sequences():
    X = normal(2000, 64, scale=3)
    lengths = numpy.full(50, 40, "int32")
    groups = X.astype("float64").reshape(50, 40, 64).swapaxes(1, 2)
    exact = wide_softmax(groups).swapaxes(1, 2).reshape(2000, 64)
    return get_ops().softmax_sequences(X, lengths), exact, ulp(exact, "float32")


def reduce_sum():
    X = normal(4000, 96)
    exact = X.astype("float64").reshape(4, 1000, 96).sum(axis=1)
    scale = numpy.abs(X.astype("float64")).reshape(4, 1000, 96).sum(axis=1)
    return get_ops().reduce_sum(X, numpy.full(4, 1000, "int32")), exact, ulp(scale, "float32")


case("softmax of N(0, 1), float32", "ulp", lambda: softmax(1))
case("softmax of N(0, 10), float32", "ulp", lambda: softmax(10))
case("backprop_softmax, float32", "ulp of the row's largest", backprop_softmax)
case("softmax_sequences, float32", "ulp", softmax_sequences)
case("layer norm, float32", "ulp of the row's largest", layer_norm)
case("reduce_sum of 1000 rows, float32", "ulp of the sum of magnitudes", reduce_sum)

# ---- products ----------------------------------------------------------------------------


def product(M, N, K, dtype, trans1, trans2):
    rng = numpy.random.default_rng(0)
    A = rng.normal(size=(K, M) if trans1 else (M, K)).astype(dtype)
    B = rng.normal(size=(N, K) if trans2 else (K, N)).astype(dtype)
    a = (A.T if trans1 else A).astype(REFERENCE[dtype])
    b = (B.T if trans2 else B).astype(REFERENCE[dtype])
    magnitudes = numpy.abs(a) @ numpy.abs(b)
    found = get_ops().gemm(A, B, trans1=trans1, trans2=trans2)
    return found, a @ b, ulp(magnitudes, dtype)


for sizes in ((64, 288, 96), (100, 100, 1000), (33, 47, 4099)):
    for trans1, trans2, mark in ((False, True, "X W.T"), (True, False, "dY.T X")):
        case(
            f"gemm {mark} {'x'.join(map(str, sizes))}, float32",
            "ulp of the sum of magnitudes",
            lambda s=sizes, t1=trans1, t2=trans2: product(*s, "float32", t1, t2),
        )
case("gemm X W.T 64x288x96, float64", "ulp of the sum of magnitudes",
     lambda: product(64, 288, 96, "float64", False, True))



def maxout_of_windows(dtype, frozen=False):
    """500 rows of 96, windows of three, 96 outputs of three pieces: the encoder's layer."""
    from thinc.api import Maxout, chain, expand_window

    rng = numpy.random.default_rng(0)
    X = rng.normal(size=(500, 96)).astype(dtype)
    W = rng.normal(size=(96, 3, 288)).astype(dtype)
    model = chain(expand_window(1), Maxout(96, 288, nP=3)).initialize()
    model.layers[1].set_param("W", W)
    model.layers[1].set_param("b", numpy.zeros((96, 3), dtype))
    if frozen:
        model.freeze()
    edge = numpy.zeros((1, 96))
    padded = numpy.concatenate([edge, X, edge])
    windows = numpy.concatenate([padded[:-2], padded[1:-1], padded[2:]], axis=1)
    flat = W.reshape((288, 288)).astype(REFERENCE[dtype])
    sums = (windows.astype(REFERENCE[dtype]) @ flat.T).reshape((500, 96, 3))
    magnitudes = (numpy.abs(windows) @ numpy.abs(flat.T)).reshape((500, 96, 3))
    return model.predict(X), sums.max(axis=2), ulp(magnitudes.max(axis=2), dtype)


case("Maxout of windows, float32", "ulp of the sum of magnitudes",
     lambda: maxout_of_windows("float32"))
case("Maxout of windows, float64", "ulp of the sum of magnitudes",
     lambda: maxout_of_windows("float64"))
case("Maxout of windows, frozen, float32", "ulp of the sum of magnitudes",
     lambda: maxout_of_windows("float32", frozen=True))


def maxout_of_hash_embeddings(frozen):
    """500 words, four tables of 96 columns, 96 outputs of three pieces: the encoder's first."""
    from thinc.api import HashEmbed, Maxout, chain, concatenate

    rng = numpy.random.default_rng(0)
    ids = rng.integers(0, 2**63, (500, 4)).astype("uint64")
    embed = concatenate(*[HashEmbed(96, 2500, seed=i, column=i) for i in range(4)])
    model = chain(embed, Maxout(96, 384, nP=3)).initialize(X=ids)
    W = rng.normal(size=(96, 3, 384)).astype("float32")
    model.layers[1].set_param("W", W)
    rows, sizes = [], []
    for i, layer in enumerate(embed.layers):
        E = rng.normal(size=(2500, 96)).astype("float32")
        layer.layers[1].set_param("E", E)
        chosen = E[model.ops.hash(numpy.ascontiguousarray(ids[:, i]), i) % 2500].astype("float64")
        rows.append(chosen.sum(axis=1))
        sizes.append(numpy.abs(chosen).sum(axis=1))
    if frozen:
        model.freeze()
    flat = W.reshape((288, 384)).astype("float64")
    sums = (numpy.concatenate(rows, axis=1) @ flat.T).reshape((500, 96, 3))
    magnitudes = (numpy.concatenate(sizes, axis=1) @ numpy.abs(flat.T)).reshape((500, 96, 3))
    return model.predict(ids), sums.max(axis=2), ulp(magnitudes.max(axis=2), "float32")


case("Maxout of hash embeddings, float32", "ulp of the sum of magnitudes",
     lambda: maxout_of_hash_embeddings(frozen=False))
case("Maxout of hash embeddings, frozen, float32", "ulp of the sum of magnitudes",
     lambda: maxout_of_hash_embeddings(frozen=True))

# ---- LSTM and Adam ---------------------------------------------------------------------------


def lstm_forward(sizes, params, X, nO):
    """The layer in one direction, in float64; sizes are all the same."""
    n = X.shape[1]
    blocks = (4 * nO * n, 4 * nO, 4 * nO * nO, 4 * nO)
    Wx, bx, Wh, bh = numpy.split(params.astype("float64"), numpy.cumsum(blocks)[:-1])
    Wx, Wh = Wx.reshape(4 * nO, n), Wh.reshape(4 * nO, nO)
    h = c = numpy.zeros((sizes[0], nO))
    outputs = []
    for rows in numpy.split(X.astype("float64"), len(sizes)):
        f, i, o, g = numpy.split(rows @ Wx.T + bx + h @ Wh.T + bh, 4, axis=1)
        f, i, o = (1 / (1 + numpy.exp(-gate)) for gate in (f, i, o))
        c = f * c + i * numpy.tanh(g)
        h = o * numpy.tanh(c)
        outputs.append(h)
    return numpy.concatenate(outputs)


def lstm():
    nO, steps, batch = 96, 60, 16
    sizes = numpy.full(steps, batch, "int32")
    params = normal(4 * nO * (nO + nO + 2), scale=0.15)
    X = normal(steps * batch, nO)
    zeros = numpy.zeros((1, 1, nO), "float32")
    exact = lstm_forward(sizes, params, X, nO)
    found = get_ops().lstm_forward_inference(params, zeros, zeros, X, sizes)
    return found, exact, ulp(numpy.ones(1), "float32")


def lstm_gradient():
    """dX against the generic operations in float64. Ours only: the peer's generic ones give
    zeros (docs/differences.md)."""
    from thinc.api import Ops

    if not hasattr(Ops, "gemm_add"):
        raise NotImplementedError("this release's generic LSTM has no gradient")

    nO, steps, batch = 96, 60, 16
    sizes = numpy.full(steps, batch, "int32")
    arrays = (normal(4 * nO * (nO + nO + 2), scale=0.15), numpy.zeros((1, 1, nO), "float32"),
              normal(steps * batch, nO), normal(steps * batch, nO, seed=5))

    def dX(ops, dtype):
        params, zeros, X, dY = (array.astype(dtype) for array in arrays)
        _, state = ops.lstm_forward_training(params, zeros, zeros, X, sizes)
        return ops.backprop_lstm(dY, sizes, params, state)[0]

    exact = dX(Ops(), "float64")
    return dX(get_ops(), "float32"), exact, ulp(numpy.abs(exact).max(), "float32")


def adam(steps):
    rng = numpy.random.default_rng(0)
    W, m, v = normal(100_000), numpy.zeros(100_000, "float32"), numpy.zeros(100_000, "float32")
    w64, m64, v64 = (array.astype("float64") for array in (W, m, v))
    ops = get_ops()
    for _ in range(steps):
        g = rng.normal(size=W.size).astype("float32")
        m64 = 0.9 * m64 + 0.1 * g
        v64 = 0.999 * v64 + 0.001 * g.astype("float64") ** 2
        w64 = w64 - 0.001 * m64 / (numpy.sqrt(v64) + 1e-8)
        ops.adam(W, g, m, v, 0.9, 0.999, 1e-8, 0.001)
    return W, w64, ulp(numpy.ones(1), "float32")


case("LSTM of 60 steps, forward, float32", "ulp of 1", lstm)
case("LSTM of 60 steps, dX, float32", "ulp of the largest", lstm_gradient)
case("Adam, 1 step, float32", "ulp of 1", lambda: adam(1))
case("Adam, 100 steps, float32", "ulp of 1", lambda: adam(100))
