"""Optimizer steps and norms, compiled, against the generic Ops and a formula in float64."""

import threading

import numpy
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from thinc.backends import NumpyOps, Ops, cpu_kernels

OPS = NumpyOps()
REFERENCE = Ops()
TOLERANCE = {
    "float32": {"rtol": 2e-6, "atol": 2e-6},
    "float64": {"rtol": 1e-13, "atol": 1e-14},
}

every_dtype = pytest.mark.parametrize("dtype", strategies.FLOAT_DTYPES)
seeds = st.integers(0, 2**32 - 1)
shapes = st.one_of(
    st.integers(0, 100).map(lambda n: (n,)),
    st.tuples(st.integers(0, 12), st.integers(0, 12)),
    st.tuples(st.integers(0, 5), st.integers(1, 5), st.integers(1, 7)),
)
rates = st.sampled_from([0.0, 0.01, 0.3])
surroundings = st.fixed_dictionaries(
    {
        "learn_rate": st.sampled_from([0.001, 0.1]),
        "gradient_scale": st.sampled_from([1.0, 0.25, 3.0]),
        "l2": rates,
        "decay": rates,
        "ema_rate": rates,
    }
)
betas = st.tuples(st.sampled_from([0.0, 0.5, 0.9]), st.sampled_from([0.9, 0.999, 0.99999]))


@pytest.fixture(params=cpu_kernels.available_levels(), autouse=True, scope="module")
def level(request):
    with cpu_kernels.use_level(request.param):
        yield request.param


def parameter(shape, dtype, seed, averaged=True):
    """weights, gradient, mom1, mom2, averages (or None)."""
    rng = numpy.random.default_rng(seed)
    w, g, m, v, ema = (rng.normal(size=shape).astype(dtype) for _ in range(5))
    return [w, g, m, numpy.square(v), ema if averaged else None]


def in_double(values):
    return [None if X is None else X.astype("float64") for X in values]


def finish(w, averages, decay, ema_rate):
    w = w - decay * w
    return w, None if averages is None else averages - ema_rate * (averages - w)


def adam_formula(values, beta1, beta2, eps, learn_rate, gradient_scale, l2, decay, ema_rate):
    w, g, m, v, averages = in_double(values)
    g = g * gradient_scale + l2 * w
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    w, averages = finish(w - learn_rate * m / (numpy.sqrt(v) + eps), averages, decay, ema_rate)
    return [w, numpy.zeros(w.shape), m, v, averages]


def assert_all_close(found, expected, dtype):
    for A, B in zip(found, expected, strict=True):
        if B is None:
            assert A is None
        else:
            assert A.dtype == dtype
            assert_allclose(A, B, **TOLERANCE[dtype])


@every_dtype
@given(shape=shapes, settings=surroundings, betas=betas, averaged=st.booleans(), seed=seeds)
def test_adam_step(dtype, shape, settings, betas, averaged, seed):
    values = parameter(shape, dtype, seed, averaged)
    settings = dict(settings, beta1=betas[0], beta2=betas[1], eps=1e-3)
    expected = adam_formula(values, **settings)
    generic = in_double(values)
    REFERENCE.adam_step(*generic, **settings)
    assert_all_close(generic, expected, "float64")
    assert OPS.adam_step(*values, **settings) is None
    assert_all_close(values, expected, dtype)
    assert_array_equal(values[1], 0)


@every_dtype
@given(shape=shapes, settings=surroundings, averaged=st.booleans(), seed=seeds)
def test_sgd_step(dtype, shape, settings, averaged, seed):
    w, g, _, _, averages = values = parameter(shape, dtype, seed, averaged)
    W, G, _, _, A = generic = in_double(values)
    full = G * settings["gradient_scale"] + settings["l2"] * W
    new_w, new_averages = finish(
        W - settings["learn_rate"] * full, A, settings["decay"], settings["ema_rate"]
    )
    expected = [new_w, numpy.zeros(shape), new_averages]
    REFERENCE.sgd_step(W, G, A, **settings)
    assert_all_close([W, G, generic[4]], expected, "float64")
    assert OPS.sgd_step(w, g, averages, **settings) is None
    assert_all_close([w, g, averages], expected, dtype)
    assert_array_equal(g, 0)


@every_dtype
@pytest.mark.parametrize("beta2", [0.999, 0.9999, 0.99999])
def test_a_beta_near_one_is_not_rounded_before_it_is_subtracted(dtype, beta2):
    # 1 - float32(0.999) is 5e-5 too large, far more than a float's precision.
    one = numpy.ones(130, dtype=dtype)
    m, v = numpy.zeros_like(one), numpy.zeros_like(one)
    OPS.adam_step(one.copy(), one.copy(), m, v, learn_rate=0.1, beta1=beta2, beta2=beta2, eps=1e-8)
    assert_allclose(m, 1 - beta2, rtol=2e-7)
    assert_allclose(v, 1 - beta2, rtol=2e-7)


@every_dtype
@pytest.mark.parametrize("size", [1, 9, 100])
@pytest.mark.parametrize("strided", range(5))
def test_strided_arrays_are_updated_in_place(dtype, size, strided):
    settings = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-3, "learn_rate": 0.1}
    settings.update(gradient_scale=0.5, l2=0.1, decay=0.01, ema_rate=0.2)
    values = parameter((size, 3), dtype, 1)
    expected = adam_formula(values, **settings)
    wide = numpy.full((size, 6), 77, dtype=dtype)
    wide[:, ::2] = values[strided]
    values[strided] = wide[:, ::2]
    OPS.adam_step(*values, **settings)
    assert_all_close(values, expected, dtype)
    assert_array_equal(wide[:, 1::2], 77)


@every_dtype
@pytest.mark.parametrize("strided", range(3))
def test_strided_arrays_are_updated_by_sgd(dtype, strided):
    w, g, _, _, averages = parameter((40,), dtype, 2)
    values = [w, g, averages]
    expected = [X.copy() for X in values]
    OPS.sgd_step(*expected, learn_rate=0.1, ema_rate=0.2)
    buffer = numpy.ascontiguousarray(values[strided][::-1])
    values[strided] = buffer[::-1]
    OPS.sgd_step(*values, learn_rate=0.1, ema_rate=0.2)
    assert_all_close(values, expected, dtype)
    assert_array_equal(buffer[::-1], values[strided])


@every_dtype
@pytest.mark.parametrize("size", [1, 65, 200])
@pytest.mark.parametrize("value", [numpy.nan, numpy.inf])
def test_a_gradient_that_is_no_number_does_not_stay(dtype, size, value):
    for step, moments in ((OPS.adam_step, 2), (OPS.sgd_step, 0)):
        w, g, m, v, averages = parameter((size,), dtype, 3)
        g[size // 2] = value
        options = {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8} if moments else {}
        step(w, g, *[m, v][:moments], averages, learn_rate=0.1, ema_rate=0.1, **options)
        assert_array_equal(g, 0)
        finite = numpy.arange(size) != size // 2
        assert numpy.isfinite(w[finite]).all()
        assert numpy.isfinite(averages[finite]).all()
        assert not numpy.isfinite(w[size // 2])


@every_dtype
def test_sizes_that_differ_are_errors(dtype):
    w, g, m, v, averages = parameter((6,), dtype, 4)
    before = w.copy()
    adam = {"learn_rate": 0.1, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8}
    for arguments in (
        (w, g[:5].copy(), m, v),
        (w, g, m[:5].copy(), v),
        (w, g, m, v[:5].copy()),
        (w, g, m, v, averages[:5].copy()),
    ):
        with pytest.raises(ValueError, match="adam_step"):
            OPS.adam_step(*arguments, **adam)
    with pytest.raises(ValueError, match="sgd_step"):
        OPS.sgd_step(w, g[:5].copy(), learn_rate=0.1)
    assert_array_equal(w, before)


@every_dtype
@given(shape=shapes, seed=seeds)
def test_adam(dtype, shape, seed):
    values = parameter(shape, dtype, seed)[:4]
    generic = in_double(values)
    REFERENCE.adam(*generic, 0.9, 0.999, 1e-3, 0.1)
    returned = OPS.adam(*values, 0.9, 0.999, 1e-3, 0.1)
    assert all(A is B for A, B in zip(returned, values, strict=True))
    assert_all_close(values, generic, dtype)


@every_dtype
@given(shape=shapes, strided=st.booleans(), seed=seeds)
def test_norm(dtype, shape, strided, seed):
    X = parameter(shape, dtype, seed)[0]
    if strided:
        X = strategies.layouts(X)["every second"]
    expected = numpy.sqrt(numpy.square(X.astype("float64")).sum())
    assert_allclose(OPS.norm(X), expected, rtol=1e-14)


@every_dtype
def test_norm_sums_in_double(dtype):
    assert OPS.norm(numpy.full(10, 1e25, dtype=dtype)) == pytest.approx(1e25 * 10**0.5)
    assert OPS.norm(numpy.full(10, 1e-30, dtype=dtype)) == pytest.approx(1e-30 * 10**0.5)
    assert numpy.isnan(OPS.norm(numpy.array([1.0, numpy.nan] * 40, dtype=dtype)))
    assert OPS.norm(numpy.array([1.0, -numpy.inf] * 40, dtype=dtype)) == numpy.inf


@every_dtype
@given(shape=shapes, threshold=st.sampled_from([0.01, 1.0, 100.0]), seed=seeds)
def test_clip_gradient(dtype, shape, threshold, seed):
    X = parameter(shape, dtype, seed)[1]
    before = X.astype("float64")
    norm = numpy.linalg.norm(before)
    assert OPS.clip_gradient(X, threshold) is X
    if norm < threshold:
        assert_array_equal(X, before)
    else:
        assert_allclose(X, before * (threshold / norm), **TOLERANCE[dtype])


@every_dtype
@pytest.mark.parametrize("size", [35, 5000])
@pytest.mark.parametrize("value", [numpy.nan, numpy.inf, 1e25, 1e-25, 0.0])
def test_clip_gradient_of_special_numbers(dtype, value, size):
    for other in (1.0, value):
        X = numpy.full(size, value, dtype=dtype)
        X[3] = other
        for threshold in (0.5, 1e-25):
            Y, expected = X.copy(), X.copy()
            with numpy.errstate(invalid="ignore"):
                REFERENCE.clip_gradient(expected, threshold)
                OPS.clip_gradient(Y, threshold)
            assert_allclose(Y, expected, rtol=2e-6)


@every_dtype
@pytest.mark.parametrize("size", [1000, 4097, 100_003])
def test_clip_gradient_of_long_vectors(dtype, size):
    X = numpy.random.default_rng(size).normal(1, 3, size).astype(dtype)
    before = X.astype("float64")
    OPS.clip_gradient(X, 2.0)
    assert_allclose(X, before * (2.0 / numpy.linalg.norm(before)), rtol=1e-6)


@every_dtype
@given(shape=shapes, t=st.integers(0, 10**6), strided=st.booleans(), seed=seeds)
def test_update_averages(dtype, shape, t, strided, seed):
    ema, weights = parameter(shape, dtype, seed)[:2]
    if strided:
        ema = strategies.layouts(ema)["every second"]
    expected = ema.astype("float64")
    REFERENCE.update_averages(expected, weights.astype("float64"), t, 0.99)
    before = weights.copy()
    assert OPS.update_averages(ema, weights, t, 0.99) is None
    assert_allclose(ema, expected, **TOLERANCE[dtype])
    assert_array_equal(weights, before)


@every_dtype
def test_averages_that_share_memory_with_the_weights(dtype):
    numbers = numpy.arange(40, dtype=dtype)
    expected = numbers.copy()
    expected[1:] -= (1 - 1 / 10) * (expected[1:] - expected[:-1].copy())
    OPS.update_averages(numbers[1:], numbers[:-1], 0)
    assert_allclose(numbers, expected, **TOLERANCE[dtype])
    with pytest.raises(ValueError, match="broadcast"):
        OPS.update_averages(numpy.zeros(3, dtype=dtype), numpy.zeros(4, dtype=dtype), 0)


def test_clip_gradient_updates_strided_arrays():
    wide = numpy.ones((4, 6))
    OPS.clip_gradient(wide[:, ::2], 1.0)
    assert_allclose(wide[:, ::2], 12**-0.5)
    assert_array_equal(wide[:, 1::2], 1)


@every_dtype
def test_threads_that_share_weights_compute_the_same(dtype):
    rng = numpy.random.default_rng(0)
    X, W = rng.normal(size=(150, 96)).astype(dtype), rng.normal(size=(64, 96)).astype(dtype)
    b = rng.normal(size=64).astype(dtype)
    expected = OPS.affine(X, W, b)
    results = [[], []]
    start = threading.Barrier(2)

    def compute(mine):
        start.wait()
        for _ in range(20):
            mine.append(OPS.affine(X, W, b))

    threads = [threading.Thread(target=compute, args=(mine,)) for mine in results]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(mine) for mine in results] == [20, 20]
    for mine in results:
        for Y in mine:
            assert_array_equal(Y, expected)


class RecordsSteps(NumpyOps):
    def adam_step(self, *arrays, **options):
        self.options = options
        return super().adam_step(*arrays, **options)


def test_adam_uses_the_adam_step_of_a_subclass():
    ops = RecordsSteps()
    arrays = [numpy.ones(5, dtype="float32") for _ in range(4)]
    ops.adam(*arrays, 0.9, 0.999, 1e-8, 0.001)
    assert ops.options == {"learn_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
    assert_array_equal(arrays[1], 0)
    with pytest.raises(ValueError, match="shape"):
        OPS.adam(*arrays[:3], numpy.ones(4, dtype="float32"), 0.9, 0.999, 1e-8, 0.001)
