"""Optimizers and the LSTM of the CUDA sources, run on the host."""

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from samples import (
    DTYPES,
    TOLERANCE,
    assert_close,
    blank,
    launches,
    numbers_of,
    random_array,
    seeds,
    stored,
)

from thinc.backends import lstm
from thinc.backends.cuda_geometry import CHUNK, parts_of
from thinc.backends.cuda_launch import compute_dtype, parameter_table
from thinc.backends.ops import Ops

OPS = Ops()
SIZES = (1, 7, 96, CHUNK, CHUNK + 1, 3 * CHUNK + 5, 0)


class Parameters:
    """A list of parameters and of what an optimizer keeps of each."""

    def __init__(self, seed, sizes, dtype, with_averages):
        rng = numpy.random.default_rng(seed)
        self.dtype = dtype
        moments = compute_dtype(dtype)
        self.arrays = []
        for i, n in enumerate(sizes):
            arrays = [
                random_array(seed + i, n, dtype, 1.0),
                random_array(seed - i, n, dtype, 1.0),
                rng.normal(size=n).astype(moments),
                rng.random(n).astype(moments),
            ]
            arrays.append(rng.normal(size=n).astype("f") if with_averages else None)
            self.arrays.append(arrays)
        # l2 and weight decay exclude each other in the Optimizer, but not in the kernel.
        self.rates = rng.random((len(sizes), 5)) * 0.1
        self.rates[:, 4] = 1
        self.rates[::2, 1] = 0
        self.table, self.chunks = parameter_table(
            [
                [*(0 if a is None else a.ctypes.data for a in arrays), len(arrays[0])]
                for arrays in self.arrays
            ]
        )

    @property
    def list(self):
        return self.table, self.rates, len(self.arrays), self.chunks

    def as_doubles(self):
        """Copies in double precision, for the reference."""
        return [
            [
                None if a is None else numbers_of(a, self.dtype) if i < 2 else a.astype("float64")
                for i, a in enumerate(arrays)
            ]
            for arrays in self.arrays
        ]

    def assert_close(self, expected):
        for arrays, others, rates in zip(self.arrays, expected, self.rates, strict=True):
            w, g, m, v, average = arrays
            assert_close(w, others[0], self.dtype, factor=4)
            assert not g.any(), "gradients become zero"
            for moment, other in ((m, others[2]), (v, others[3])):
                assert_close(moment, other, self.dtype, factor=4, kind=str(m.dtype))
            if average is not None:  # of the weights that there are, that is rounded ones
                before, rate = others[4], rates[3]
                after = before - rate * (before - numbers_of(w, self.dtype))
                assert_close(average, after, self.dtype, factor=4, kind="float32")


some_sizes = st.lists(st.sampled_from(SIZES), min_size=1, max_size=4)


@pytest.mark.parametrize("name", ["adam", "sgd"])
@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=8)
@given(
    sizes=some_sizes,
    clip=st.sampled_from([0.0, 0.5, 1e6]),
    averages=st.booleans(),
    seed=st.integers(100, 2**31),
    order=st.integers(0, 3),
)
def test_steps_of_many_parameters(kernels, name, dtype, sizes, clip, averages, seed, order):
    parameters = Parameters(seed, sizes, dtype, averages)
    expected = parameters.as_doubles()
    norms = None
    if clip:
        partials, norms = numpy.zeros(parameters.chunks), numpy.zeros(len(sizes))
        kernels.run("gradient_squares", dtype, partials, *parameters.list, order=order)
        arguments = (norms, partials, parameters.table, len(sizes), parameters.chunks)
        kernels.run("gradient_norms", (), *arguments, order=order)
        full = [
            g + rates[1] * w for (w, g, *_), rates in zip(expected, parameters.rates, strict=True)
        ]
        exact = [numpy.sqrt((g * g).sum()) for g in full]
        assert_allclose(norms, exact, rtol=1e-6)
    extra = (0.9, 0.999, 1e-8) if name == "adam" else ()
    arguments = (*parameters.list, norms, clip, *extra)
    kernels.run(name, dtype, *arguments, order=order)

    for i, (w, g, m, v, _) in enumerate(expected):
        rate, l2, decay, _, _ = parameters.rates[i]
        scale = clip / norms[i] if clip and norms[i] >= clip else 1.0
        around = {"learn_rate": rate, "gradient_scale": scale, "l2": scale * l2, "decay": decay}
        if name == "adam":
            OPS.adam_step(w, g, m, v, beta1=0.9, beta2=0.999, eps=1e-8, **around)
        else:
            OPS.sgd_step(w, g, **around)
    parameters.assert_close(expected)


def test_a_step_along_the_momentum(kernels):
    parameters = Parameters(500, [10, 3000], "float32", True)
    parameters.rates[:, 4] = [0, 1]
    expected = parameters.as_doubles()
    kernels.run("adam", "float32", *parameters.list, None, 0.0, 0.8, 0.9, 1e-8)
    for i, (w, g, m, v, _) in enumerate(expected):
        rate, l2, decay, _, use_variance = parameters.rates[i]
        betas = {"beta1": 0.8, "beta2": 0.9}
        if use_variance:
            OPS.adam_step(w, g, m, v, learn_rate=rate, eps=1e-8, l2=l2, decay=decay, **betas)
        else:
            OPS.adam_step(w, g, m, v, learn_rate=0.0, eps=1.0, l2=l2, **betas)
            w -= rate * m
            OPS.sgd_step(w, g, learn_rate=0.0, decay=decay)
    parameters.assert_close(expected)


def test_unaligned_parameters(kernels):
    """Views into one vector start anywhere."""
    memory = numpy.random.default_rng(0).normal(size=20_000).astype("f")
    memory[:] = abs(memory)
    starts = [1, 4001, 8002, 12003, 16000]
    views = [memory[s : s + 3000] for s in starts]
    before = memory.copy()
    table, chunks = parameter_table([[*(v.ctypes.data for v in views), 3000]])
    rates = numpy.array([[0.1, 0.0, 0.0, 0.5, 1.0]])
    kernels.run("adam", "float32", table, rates, 1, chunks, None, 0.0, 0.9, 0.99, 1e-8)
    expected = [before[s : s + 3000].astype("float64") for s in starts]
    OPS.adam_step(*expected, learn_rate=0.1, beta1=0.9, beta2=0.99, eps=1e-8, ema_rate=0.5)
    for view, array in zip(views, expected, strict=True):
        assert_allclose(view, array, rtol=1e-5, atol=1e-6)
    inside = numpy.zeros(20_000, bool)
    for s in starts:
        inside[s : s + 3000] = True
    assert_array_equal(memory[~inside], before[~inside])


@pytest.mark.parametrize("norm", [0.0, numpy.nan])
def test_a_norm_that_cannot_be_scaled_changes_nothing(kernels, norm):
    X = numpy.array([1.0, 2.0], dtype="f")
    kernels.run("clip_by_norm", "float32", X, 2, numpy.array([norm]), 0.0)
    assert_array_equal(X, [1.0, 2.0])


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=10)
@given(n=st.integers(0, 5000), threshold=st.floats(0.01, 300), seed=seeds, launch=launches)
def test_clip_by_norm(kernels, dtype, n, threshold, seed, launch):
    X = random_array(seed, n, dtype)
    expected = OPS.clip_gradient(numbers_of(X, dtype), threshold)
    exact = OPS.norm(numbers_of(X, dtype))
    parts = parts_of(n // 256)
    partials, norm = numpy.zeros(parts), numpy.zeros(1)
    kernels.run("squares", dtype, partials, X, n, parts, **launch)
    kernels.run("norm", (), norm, partials, parts, **launch)
    assert_allclose(norm, exact, rtol=1e-12)
    kernels.run("clip_by_norm", dtype, X, n, norm, threshold, **launch)
    assert_close(X, expected, dtype)


def test_norms_of_numbers_whose_squares_overflow(kernels):
    X, partials, norm = numpy.full(4, 1e30, "f"), numpy.zeros(1), numpy.zeros(1)
    kernels.run("squares", "float32", partials, X, 4, 1)
    kernels.run("norm", (), norm, partials, 1)
    assert_allclose(norm, 2e30, rtol=1e-6)


# ---- LSTM ----------------------------------------------------------------------------------


class KernelLSTM(Ops):
    """Ops whose recurrence is made of the kernels' time steps."""

    kernels = dtype = launch = None

    def _lstm_layer_forward(self, gates, Wh, h0, c0, size_at_t, backward):
        width = Wh.shape[1]
        G = stored(gates, self.dtype)
        H = blank((len(gates), width), self.dtype)
        C = H.copy()
        start = stored(c0, self.dtype)
        for rows, previous in lstm._steps(size_at_t, backward):
            size, continuing = rows.stop - rows.start, previous.stop - previous.start
            before = numbers_of(H[previous], self.dtype)
            h = numpy.concatenate([before, numpy.tile(h0, (size - continuing, 1))])
            a = stored(numbers_of(G[rows], self.dtype) + h @ Wh.T, self.dtype)
            c, y = numpy.ascontiguousarray(C[rows]), numpy.ascontiguousarray(H[rows])
            arguments = (a, c, y, C[previous].copy(), start, size, continuing, width)
            self.kernels.run("lstm_step", self.dtype, *arguments, **self.launch)
            G[rows], C[rows], H[rows] = a, c, y
        gates[...] = numbers_of(G, self.dtype)
        return numbers_of(H, self.dtype), numbers_of(C, self.dtype)

    def _lstm_layer_backward(self, dY, H, C, gates, Wh, h0, c0, size_at_t, backward):
        width, kind = Wh.shape[1], self.dtype
        d_gates = numpy.zeros(gates.shape)
        dH, dC = dY.copy(), numpy.full(dY.shape, numpy.nan)
        dh0, dc0 = numpy.zeros(width), numpy.zeros(width)
        order = list(lstm._steps(size_at_t, backward))
        later_rows = 0  # of the step processed before: these have a gradient of the cell
        for rows, previous in reversed(order):
            size, continuing = rows.stop - rows.start, previous.stop - previous.start
            da, before = blank((size, 4 * width), kind), blank((continuing, width), kind)
            entering = blank((size - continuing, width), kind)
            cells = numpy.zeros((size, width))
            cells[:later_rows] = dC[rows][:later_rows]
            arguments = [da, before, entering, stored(dH[rows], kind)]
            arguments.append(stored(cells, kind) if later_rows else None)
            arguments += [stored(gates[rows], kind), stored(C[rows], kind)]
            arguments += [stored(C[previous], kind), stored(c0, kind)]
            sizes = (size, continuing, width)
            self.kernels.run("backprop_lstm_step", kind, *arguments, *sizes, **self.launch)
            d_gates[rows] = numbers_of(da, kind)
            dC[previous] = numbers_of(before, kind)
            dc0 += numbers_of(entering, kind).sum(axis=0)
            d_before = d_gates[rows] @ Wh
            dH[previous] += d_before[:continuing]
            dh0 += d_before[continuing:].sum(axis=0)
            later_rows = continuing
        return d_gates, dh0, dc0


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=10)
@given(
    sizes=st.lists(st.integers(1, 4), max_size=4),
    width=st.integers(1, 9),
    backward=st.booleans(),
    seed=seeds,
    launch=launches,
)
def test_lstm(kernels, dtype, sizes, width, backward, seed, launch):
    sizes = sorted(sizes, reverse=True)
    rng = numpy.random.default_rng(seed)
    gates = numbers_of(stored(rng.normal(size=(sum(sizes), 4 * width)), dtype), dtype)
    Wh = rng.normal(size=(4 * width, width))
    h0, c0 = (numbers_of(random_array(seed + i, width, dtype), dtype) for i in range(2))
    ops = KernelLSTM()
    ops.kernels, ops.dtype, ops.launch = kernels, dtype, launch
    ours, exact = gates.copy(), gates.copy()
    H, C = ops._lstm_layer_forward(ours, Wh, h0, c0, sizes, backward)
    expected = lstm.layer_forward(OPS, exact, Wh, h0, c0, sizes, backward)
    tolerance = TOLERANCE[dtype] * 100
    for result, array in zip((H, C, ours), (*expected, exact), strict=True):
        assert_allclose(result, array, rtol=tolerance, atol=tolerance)

    dY = numbers_of(random_array(seed + 2, H.shape, dtype), dtype)
    arguments = (dY, H, C, ours, Wh, h0, c0, sizes, backward)
    results = ops._lstm_layer_backward(*arguments)
    gradients = lstm.layer_backward(OPS, *arguments)
    scale = 1 + max((abs(array).max(initial=0) for array in gradients), default=0)
    for result, array in zip(results, gradients, strict=True):
        assert_allclose(result, array, rtol=tolerance, atol=tolerance * scale)
