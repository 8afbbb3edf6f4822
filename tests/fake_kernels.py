"""What each CUDA kernel is documented to do, in numpy: for tests without a device.

Written from the declarations in thinc.backends.cuda_kernels, not from the sources, and used
with fake_cupy in the place of compiled kernels. Arguments are numpy arrays and numbers, in
the order of the declaration; template words come in a dict. Outputs are filled in place.
"""

import ctypes

import numpy

from thinc.backends import NumpyOps, Ops
from thinc.backends.cuda_geometry import CHUNK
from thinc.backends.cuda_kernels import KERNELS
from thinc.backends.formulas import FORMULAS

REFERENCE, FAST = Ops(), NumpyOps()
EMULATORS = {}


def emulates(function):
    name = function.__name__
    assert name in KERNELS, name
    EMULATORS[name] = function
    return function


def load(name, types):
    """In the place of cuda_launch.load: a function of (grid, block, arguments)."""
    words = dict(zip(KERNELS[name].template, types, strict=True))

    def emulate(grid, block, arrays):
        with numpy.errstate(all="ignore"):
            EMULATORS[name](words, *arrays)

    return _recorded(name, words, emulate)


def loader(host_kernels):
    """As load, but of our CUDA sources, compiled by the host's compiler: cuda/host.py."""
    from host import as_slot

    def load_on_host(name, types):
        kernel = KERNELS[name]

        def call(grid, block, arguments):
            slots = (ctypes.c_uint64 * len(arguments))()
            for i, (argument, value) in enumerate(zip(kernel.arguments, arguments, strict=True)):
                is_array = isinstance(value, numpy.ndarray)
                slots[i] = value.ctypes.data if is_array else as_slot(argument.type, value)
            host_kernels.call(kernel, types, grid, block, slots)

        return _recorded(name, dict(zip(kernel.template, types, strict=True)), call)

    return load_on_host


def _recorded(name, words, work):
    """A launch that fake_cupy counts, and records while it captures."""
    from fake_cupy import ndarray, run

    kernel = KERNELS[name]
    written = [i for i, argument in enumerate(kernel.arguments) if argument.is_written]

    def start(grid, block, arguments):
        assert all(0 < size < 2**31 for size in (*grid, *block)) and numpy.prod(block) <= 1024
        plain = []
        for argument, value in zip(kernel.arguments, arguments, strict=True):
            if not argument.is_array:
                assert not isinstance(value, ndarray), argument
                plain.append(value)
            elif isinstance(value, ndarray):
                plain.append(value._a)
            else:
                assert value == 0 and argument.is_optional, argument
                plain.append(None)
        writes = [plain[i] for i in written if plain[i] is not None]
        if name in ("adam", "sgd"):
            writes = _arrays_of(plain[0], words["T"])
        run(f"kernel {name}", lambda *arrays: work(grid, block, arrays), plain, writes=writes)

    return start


def at(address, size, dtype):
    """The memory at an address as an array."""
    item = numpy.dtype(dtype).itemsize
    buffer = (ctypes.c_byte * (size * item)).from_address(int(address))
    return numpy.frombuffer(buffer, dtype=dtype)


def accumulator(dtype):
    return "float64" if dtype == "float64" else "float32"


def wide(X):
    return X.astype(accumulator(X.dtype.name))


# ---- elementwise -----------------------------------------------------------------------


def _params(formula, numbers):
    return numbers[: len(formula.defaults)]


@emulates
def map_values(words, Y, X, N, *p):
    formula = FORMULAS[words["Op"]]
    Y.reshape(-1)[:N] = formula.value(numpy, wide(X).reshape(-1)[:N], *_params(formula, p))


@emulates
def map_slopes(words, dX, dY, Z, N, *p):
    formula = FORMULAS[words["Op"]]
    slope = formula.slope(numpy, wide(Z).reshape(-1), *_params(formula, p))
    product = slope * wide(dY).reshape(-1)
    if words["Op"] == "relu":
        product = numpy.where(Z.reshape(-1) <= 0, 0, wide(dY).reshape(-1))
    dX.reshape(-1)[:N] = product


@emulates
def add_bias(words, Y, P, X, bias, rows, cols, *p):
    formula = FORMULAS[words["Op"]]
    sums = wide(X).reshape((rows, cols)) + wide(bias)
    if P is not None:
        P.reshape((rows, cols))[...] = sums
    Y.reshape((rows, cols))[...] = formula.value(numpy, sums, *_params(formula, p))


@emulates
def backprop_bias(words, dX, partials, dY, Z, rows, cols, parts, *p):
    map_slopes(words, dX, dY, Z, rows * cols, *p)
    partials[...] = 0
    partials[0] = wide(dX).reshape((rows, cols)).sum(axis=0)


def _uniform(N, seed, stream, step):
    stream += 0 if step is None else int(step[0])
    return numpy.random.RandomState([seed % 2**32, seed >> 32, stream]).uniform(size=N)


@emulates
def dropout_mask(words, mask, N, drop, seed, stream, step):
    mask.reshape(-1)[...] = (_uniform(N, seed, stream, step) >= drop) / (1 - drop)


@emulates
def dropout(words, Y, X, N, drop, seed, stream, step):
    mask = (_uniform(N, seed, stream, step) >= drop) / (1 - drop)
    Y.reshape(-1)[...] = wide(X).reshape(-1) * mask.astype("float32")


@emulates
def update_averages(words, ema, weights, N, rate):
    ema.reshape(-1)[...] -= rate * (ema.reshape(-1) - weights.reshape(-1))


# ---- rows -------------------------------------------------------------------------------


@emulates
def softmax(words, Y, X, rows, cols, inverse_temperature):
    scores = wide(X).reshape((rows, cols)) * inverse_temperature
    scores = numpy.exp(scores - scores.max(axis=1, keepdims=True))
    Y.reshape((rows, cols))[...] = scores / scores.sum(axis=1, keepdims=True)


@emulates
def backprop_softmax(words, dX, Y, dY, rows, cols, inverse_temperature):
    y, dy = wide(Y).reshape((rows, cols)), wide(dY).reshape((rows, cols)) * inverse_temperature
    dX.reshape((rows, cols))[...] = y * (dy - (y * dy).sum(axis=1, keepdims=True))


@emulates
def layer_norm(words, Y, mean, rstd, X, G, b, rows, cols):
    y, m, r = REFERENCE.layer_norm(wide(X).reshape((rows, cols)), wide(G), wide(b))
    Y.reshape((rows, cols))[...] = y
    mean.reshape(-1)[...], rstd.reshape(-1)[...] = m, r


@emulates
def backprop_layer_norm(words, dX, partials, dY, X, mean, rstd, G, rows, cols, parts):
    shape = (rows, cols)
    dx, dG, db = REFERENCE.backprop_layer_norm(
        wide(dY).reshape(shape), wide(X).reshape(shape), mean.reshape(-1), rstd.reshape(-1), wide(G)
    )
    dX.reshape(shape)[...] = dx
    partials[...] = 0
    partials[0, 0], partials[0, 1] = dG, db


@emulates
def column_partials(words, partials, X, rows, cols, parts):
    partials[...] = 0
    per_part = -(-rows // parts)
    for part in range(parts):
        partials[part] = wide(X)[part * per_part : (part + 1) * per_part].sum(axis=0)


@emulates
def sum_partials(words, out, partials, parts, cols, add):
    sums = partials.reshape((parts, cols)).sum(axis=0)
    flat = out.reshape(-1)
    flat[...] = sums + (wide(flat) if add else 0)


# ---- maxout -------------------------------------------------------------------------------


@emulates
def maxout(words, best, which, X, bias, rows, outputs, pieces):
    X = wide(X).reshape((rows, outputs, pieces))
    if bias is not None:
        X = X + wide(bias).reshape((outputs, pieces))
    values, places = REFERENCE.maxout(X)
    best.reshape((rows, outputs))[...] = values
    if which is not None:
        which.reshape((rows, outputs))[...] = places


@emulates
def maxout_layer_norm(words, Y, best, which, mean, rstd, X, bias, G, b, rows, outputs, pieces):
    values = numpy.empty((rows, outputs), dtype=mean.dtype) if best is None else best
    maxout(words, values, which, X, bias, rows, outputs, pieces)
    layer_norm(words, Y, mean, rstd, values, G, b, rows, outputs)


@emulates
def backprop_maxout(words, dX, dY, which, N, pieces, status):
    chosen = which.reshape(-1, 1) == numpy.arange(pieces)
    dX.reshape((N, pieces))[...] = numpy.where(chosen, dY.reshape(-1, 1), 0)


# ---- sequences ----------------------------------------------------------------------------


def _sequences(offsets, nr_seq, rows):
    offsets = numpy.clip(offsets, 0, rows)
    return [slice(offsets[s], offsets[s + 1]) for s in range(nr_seq)]


@emulates
def sequence_offsets(words, offsets, lengths, nr_seq, rows, minimum, status):
    offsets[0], offsets[1:] = 0, numpy.cumsum(lengths)
    if status is not None:
        if rows not in (-1, offsets[-1]):
            status[0] = nr_seq + 1
        for place in numpy.flatnonzero(lengths < minimum):
            status[0] = place + 1


@emulates
def sequence_of_row(words, sequence, offsets, nr_seq, rows):
    sequence[...] = -1
    for s, part in enumerate(_sequences(offsets, nr_seq, rows)):
        sequence[part] = s


def _lengths(offsets, rows):
    return numpy.array([rows] if offsets is None else numpy.diff(offsets), dtype="int32")


@emulates
def seq2col(words, Y, X, offsets, nr_seq, rows, width, window):
    Y[...] = REFERENCE.seq2col(X, window, lengths=_lengths(offsets, rows))


@emulates
def backprop_seq2col(words, dX, dY, offsets, nr_seq, rows, width, window):
    dX[...] = REFERENCE.backprop_seq2col(wide(dY), window, lengths=_lengths(offsets, rows))


@emulates
def reduce(words, Y, X, offsets, nr_seq, rows, width):
    method = {"sum": REFERENCE.reduce_sum, "mean": REFERENCE.reduce_mean}[words["Reduction"]]
    Y[...] = method(wide(X), _lengths(offsets, rows))


@emulates
def reduce_max(words, Y, which, X, offsets, nr_seq, rows, width):
    Y[...], which[...] = REFERENCE.reduce_max(X, _lengths(offsets, rows))


@emulates
def reduce_place(words, Y, X, offsets, nr_seq, rows, width):
    for s, part in enumerate(_sequences(offsets, nr_seq, rows)):
        here = X[part]
        Y[s] = (here[0] if words["Place"] == "first" else here[-1]) if len(here) else 0


@emulates
def spread(words, dX, dY, which, offsets, nr_seq, rows, width):
    kind = words["Spread"]
    dX[...] = 0
    for s, part in enumerate(_sequences(offsets, nr_seq, rows)):
        n = part.stop - part.start
        if not n:
            continue
        if kind in ("sum", "mean"):
            dX[part] = wide(dY[s]) / (1 if kind == "sum" else n)
        elif kind == "max":
            inside = (which[s] >= 0) & (which[s] < n)
            columns = numpy.flatnonzero(inside)
            dX[part][which[s][columns], columns] = dY[s][columns]
        else:
            dX[part][0 if kind == "first" else -1] = dY[s]


@emulates
def softmax_sequences(words, Y, X, offsets, nr_seq, rows, width):
    Y[...] = REFERENCE.softmax_sequences(wide(X), _lengths(offsets, rows))


@emulates
def backprop_softmax_sequences(words, dX, dY, Y, offsets, nr_seq, rows, width):
    lengths = _lengths(offsets, rows)
    dX[...] = REFERENCE.backprop_softmax_sequences(wide(dY), wide(Y), lengths)


# ---- tables ---------------------------------------------------------------------------------


@emulates
def hash_ids(words, out, ids, n, seed):
    out[...] = REFERENCE.hash(ids, seed)


@emulates
def hash_embed(words, Y, rows, E, ids, n, width, nr_row, seed):
    Y[...], found = REFERENCE.hash_embed(wide(E), ids, seed)
    if rows is not None:
        rows[...] = found


@emulates
def gather_add(words, Y, table, indices, B, K, width, nr_row, status):
    inside = (indices >= 0) & (indices < nr_row)
    rows = wide(table)[numpy.where(inside, indices, 0).astype("int64")]
    Y[...] = (rows * inside[:, :, None]).sum(axis=1)
    if status is not None and not inside.all():
        status[0] = numpy.flatnonzero(~inside)[-1] + 1


@emulates
def scatter_add(words, table, dY, indices, B, K, width, nr_row, status):
    for b, k in numpy.ndindex(B, K):
        if 0 <= indices[b, k] < nr_row:
            table[int(indices[b, k])] += dY[b]


@emulates
def scatter_add_sorted(words, table, dY, sorted_indices, order, n, K, width, nr_row, status):
    assert (numpy.diff(sorted_indices.astype("int64")) >= 0).all()
    for index, place in zip(sorted_indices, order, strict=True):
        if 0 <= index < nr_row:
            table[int(index)] += dY[place // K]


@emulates
def ngrams(words, out, keys, count, n):
    out[...] = REFERENCE.ngrams(n, keys)


@emulates
def remap_ids(words, Y, ids, n, keys, values, m, default):
    table = dict(zip(keys.tolist(), values.tolist(), strict=True))
    Y[...] = [table.get(key, default) for key in ids.tolist()]


# ---- optimizers --------------------------------------------------------------------------


def _parameters(table, dtype):
    for row in table:
        size = int(row[5])
        dtypes = (dtype, dtype, accumulator(dtype), accumulator(dtype), "float32")
        yield [at(a, size, d) if a else None for a, d in zip(row[:5], dtypes, strict=True)]


def _arrays_of(table, dtype):
    return [array for arrays in _parameters(table, dtype) for array in arrays if array is not None]


@emulates
def gradient_squares(words, partials, table, rates, params, chunks):
    partials[...] = 0
    for row, rate, (w, g, *_) in zip(table, rates, _parameters(table, words["T"]), strict=True):
        whole = g.astype("float64") + rate[1] * w.astype("float64")
        for c in range(-(-len(w) // CHUNK)):
            partials[row[6] + c] = (whole[c * CHUNK : (c + 1) * CHUNK] ** 2).sum()


@emulates
def gradient_norms(words, norms, partials, table, params, chunks):
    ends = [*table[1:, 6], chunks]
    for i, (start, end) in enumerate(zip(table[:, 6], ends, strict=True)):
        norms[i] = numpy.sqrt(partials[start:end].sum())


def _steps(words, table, rates, norms, clip):
    for i, (w, g, m, v, ema) in enumerate(_parameters(table, words["T"])):
        learn_rate, l2, decay, ema_rate, use_variance = rates[i]
        whole = wide(g) + l2 * wide(w)
        if norms is not None and norms[i] >= clip:
            whole = whole * (clip / norms[i])
        yield w, g, m, v, ema, whole.astype(accumulator(words["T"])), rates[i]


def _finish(w, g, ema, moved, rate):
    moved = moved - rate[2] * moved
    w[...] = moved
    if ema is not None:
        ema[...] -= rate[3] * (ema - moved)
    g[...] = 0


@emulates
def adam(words, table, rates, params, chunks, norms, clip, beta1, beta2, eps):
    for w, g, m, v, ema, whole, rate in _steps(words, table, rates, norms, clip):
        m[...] = beta1 * m + (1 - beta1) * whole
        v[...] = beta2 * v + (1 - beta2) * whole * whole
        step = m / (numpy.sqrt(v) + eps) if rate[4] else m
        _finish(w, g, ema, wide(w) - rate[0] * step, rate)


@emulates
def sgd(words, table, rates, params, chunks, norms, clip):
    for w, g, _, _, ema, whole, rate in _steps(words, table, rates, norms, clip):
        _finish(w, g, ema, wide(w) - rate[0] * whole, rate)


@emulates
def squares(words, partials, X, N, parts):
    partials[...] = 0
    partials[0] = (X.astype("float64") ** 2).sum()


@emulates
def norm(words, result, partials, parts):
    result[0] = numpy.sqrt(partials.sum())


@emulates
def clip_by_norm(words, X, N, norm, threshold):
    if norm[0] >= threshold and norm[0] > 0:
        X[...] = wide(X) * (threshold / norm[0])


# ---- LSTM ---------------------------------------------------------------------------------


def _before(cells_before, c0, size, continuing, width):
    before = numpy.empty((size, width), dtype=c0.dtype)
    before[:continuing] = cells_before[:continuing]
    before[continuing:] = c0
    return before


@emulates
def lstm_step(words, gates, cells, H, cells_before, c0, size, continuing, width):
    a = gates.reshape((size, 4, width))
    a[:, :3] = 1 / (1 + numpy.exp(-a[:, :3]))
    a[:, 3] = numpy.tanh(a[:, 3])
    f, i, o, g = (a[:, k] for k in range(4))
    cells[...] = f * _before(cells_before, c0, size, continuing, width) + i * g
    H[...] = o * numpy.tanh(cells)


@emulates
def backprop_lstm_step(
    words, d_gates, d_before, d_entering, dH, d_cells, gates, cells, cells_before, c0, size,
    continuing, width,
):  # fmt: skip
    f, i, o, g = (gates.reshape((size, 4, width))[:, k] for k in range(4))
    before = _before(cells_before, c0, size, continuing, width)
    tanh_c = numpy.tanh(cells)
    dc = (0 if d_cells is None else d_cells) + dH * o * (1 - tanh_c**2)
    da = d_gates.reshape((size, 4, width))
    da[:, 0] = dc * before * f * (1 - f)
    da[:, 1] = dc * g * i * (1 - i)
    da[:, 2] = dH * tanh_c * o * (1 - o)
    da[:, 3] = dc * i * (1 - g**2)
    back = dc * f
    d_before[:continuing] = back[:continuing]
    if d_entering is not None:
        d_entering[...] = back[continuing:]


# ---- layout ---------------------------------------------------------------------------------


def _unit(words):
    return int(words["Unit"])


@emulates
def pad_rows(words, out, pointers, lengths, nr_seq, longest, width, time_first):
    row_bytes = width * _unit(words)
    flat = out.reshape(-1).view("uint8")
    shape = (longest, nr_seq) if time_first else (nr_seq, longest)
    places = flat.reshape((*shape, row_bytes))
    places[...] = 0
    for s, (pointer, length) in enumerate(zip(pointers, lengths, strict=True)):
        if length:
            assert pointer % _unit(words) == 0
            rows = at(pointer, int(length) * row_bytes, "uint8").reshape((length, row_bytes))
            if time_first:
                places[:length, s] = rows
            else:
                places[s, :length] = rows


@emulates
def unpad_rows(
    words, out, padded, offsets, columns, nr_seq, rows, longest, batch, width, time_first
):
    row_bytes = width * _unit(words)
    shape = (longest, batch, row_bytes) if time_first else (batch, longest, row_bytes)
    source = padded.reshape(-1).view("uint8").reshape(shape)
    target = out.reshape(-1).view("uint8").reshape((rows, row_bytes))
    for s in range(nr_seq):
        column = s if columns is None else columns[s]
        n = offsets[s + 1] - offsets[s]
        rows_of_s = source[:n, column] if time_first else source[column, :n]
        target[offsets[s] : offsets[s + 1]] = rows_of_s


@emulates
def gather_rows(words, out, X, indices, n, width, nr_row):
    row_bytes = width * _unit(words)
    source = X.reshape(-1).view("uint8").reshape((nr_row, row_bytes))
    target = out.reshape(-1).view("uint8").reshape((n, row_bytes))
    for i, index in enumerate(indices):
        target[i] = source[index] if 0 <= index < nr_row else 0


@emulates
def position_encode(words, out, N, D, period):
    out[...] = REFERENCE.position_encode(N, D, period)


assert set(EMULATORS) == set(KERNELS), set(KERNELS) ^ set(EMULATORS)
