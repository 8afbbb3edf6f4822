"""LSTM through the public methods of Ops: hand-made values, central differences, arguments."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from on_device import DEVICE, FAKE, marked

from thinc.backends import NumpyOps, Ops, cpu_kernels

BACKENDS = [Ops(), NumpyOps(), FAKE, *DEVICE]
every_backend = pytest.mark.parametrize("ops", marked(BACKENDS), ids=lambda ops: ops.name)
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])

# depth, directions, nI, nO, size_at_t
CASES = [
    pytest.param(1, 1, 2, 3, [1], id="one row"),
    pytest.param(1, 1, 2, 3, [1, 1, 1, 1], id="one sequence"),
    pytest.param(1, 1, 3, 2, [3, 2, 2, 1], id="ragged"),
    pytest.param(1, 2, 3, 2, [3, 2, 2, 1], id="ragged, two directions"),
    pytest.param(1, 2, 1, 1, [4, 4, 0], id="a step without rows"),
    pytest.param(3, 1, 2, 2, [2, 1, 1], id="stacked"),
    pytest.param(2, 2, 3, 2, [3, 3, 1], id="stacked, two directions"),
    pytest.param(1, 1, 4, 17, [3, 1], id="wider than a vector"),
]


@pytest.fixture(params=cpu_kernels.available_levels(), autouse=True, scope="module")
def level(request):
    with cpu_kernels.use_level(request.param):
        yield request.param


def sizes(*values):
    return numpy.array(values, dtype="int32")


def arguments(depth, dirs, nI, nO, size_at_t, dtype="float64", seed=0):
    """params, H0, C0, X, size_at_t with values of a common size."""
    rng = numpy.random.default_rng(seed)
    widths = [nI] + [nO * dirs] * (depth - 1)
    nr_param = sum(dirs * (4 * nO * width + 8 * nO + 4 * nO * nO) for width in widths)
    shapes = [(nr_param,), (depth, dirs, nO), (depth, dirs, nO), (sum(size_at_t), nI)]
    floats = [(rng.normal(size=shape) * 0.7).astype(dtype) for shape in shapes]
    return (*floats, sizes(*size_at_t))


def central_differences(f, X, step=1e-5):
    gradient = numpy.zeros_like(X)
    for i in numpy.ndindex(X.shape):
        value = X[i]
        X[i] = value + step
        above = f()
        X[i] = value - step
        gradient[i] = (above - f()) / (2 * step)
        X[i] = value
    return gradient


@every_backend
@every_dtype
def test_values_of_one_unit(ops, dtype):
    X = numpy.array([[1], [2], [3]], dtype=dtype)
    params = numpy.arange(16, dtype=dtype) * numpy.array(0.1, dtype=dtype)
    h0, c0 = numpy.full((1, 1, 1), 0.5, dtype=dtype), numpy.full((1, 1, 1), -0.25, dtype=dtype)
    Y = ops.lstm_forward_inference(params, h0, c0, X, sizes(2, 1))
    assert Y.dtype == dtype
    assert_allclose(Y.ravel(), [0.5595111, 0.5717026, 0.8749689], atol=1e-7)


@every_backend
@every_dtype
def test_values_of_two_directions(ops, dtype):
    X = numpy.array([[1], [2], [3]], dtype=dtype)
    params = (0.05 * numpy.arange(-16, 16)).astype(dtype)
    zero = numpy.zeros((1, 2, 1), dtype=dtype)
    Y, _ = ops.lstm_forward_training(params, zero, zero, X, sizes(2, 1))
    expected = [
        [-0.03301058, 0.65520751],
        [-0.01122469, 0.43791440],
        [-0.00353619, 0.46325487],
    ]
    assert_allclose(Y, expected, atol=2e-7)


@every_backend
def test_values_of_two_units(ops):
    # Sequences [[1, -1], [0.5, 2]] and [[0, 1]].
    X = numpy.array([[1, -1], [0, 1], [0.5, 2]])
    zero = numpy.zeros((1, 1, 2))
    Y = ops.lstm_forward_inference((numpy.arange(48) - 24) / 50, zero, zero, X, sizes(2, 1))
    expected = [[0.114056, 0.128781], [0.041728, 0.064422], [0.008588, 0.037464]]
    assert_allclose(Y, expected, atol=1e-6)


@every_backend
@pytest.mark.parametrize("depth,dirs,nI,nO,size_at_t", CASES)
def test_gradients_match_central_differences(ops, depth, dirs, nI, nO, size_at_t):
    args = arguments(depth, dirs, nI, nO, size_at_t)
    params, _, _, X, counts = args
    Y, state = ops.lstm_forward_training(*args)
    dY = numpy.random.default_rng(1).normal(size=Y.shape)
    dX, d_params = ops.backprop_lstm(dY, counts, params, state)
    reference = Ops()

    def objective():
        return (reference.lstm_forward_inference(*args) * dY).sum()

    assert dX.dtype == d_params.dtype == "float64"
    assert_allclose(dX, central_differences(objective, X), rtol=1e-6, atol=1e-8)
    # Of many parameters some will do: every 1st in small models, every 37th in the widest.
    step = 1 if params.size < 300 else 37
    assert_allclose(
        d_params[::step], central_differences(objective, params[::step]), rtol=1e-6, atol=1e-8
    )


@every_backend
@pytest.mark.parametrize("dirs", [1, 2])
def test_layer_gradients_of_the_initial_states(ops, dirs):
    _, H0, C0, _, counts = arguments(1, dirs, 1, 3, [3, 2, 2, 1])
    rng = numpy.random.default_rng(2)
    Wh, before, dY = rng.normal(size=(12, 3)), rng.normal(size=(8, 12)), rng.normal(size=(8, 3))
    h0, c0, backward = H0[0, -1].copy(), C0[0, -1].copy(), dirs == 2

    def forward():
        gates = before.copy()
        return *ops._lstm_layer_forward(gates, Wh, h0, c0, counts, backward), gates

    def objective():
        return (forward()[0] * dY).sum()

    H, C, gates = forward()
    _, dh0, dc0 = ops._lstm_layer_backward(dY, H, C, gates, Wh, h0, c0, counts, backward)
    assert_allclose(dh0, central_differences(objective, h0), rtol=1e-6, atol=1e-8)
    assert_allclose(dc0, central_differences(objective, c0), rtol=1e-6, atol=1e-8)


@every_dtype
@given(
    depth=st.integers(1, 3),
    dirs=st.integers(1, 2),
    nI=st.integers(1, 20),
    nO=st.integers(1, 35),
    size_at_t=st.lists(st.integers(0, 9), min_size=0, max_size=6),
    seed=st.integers(0, 2**32 - 1),
)
def test_backends_agree(dtype, depth, dirs, nI, nO, size_at_t, seed):
    size_at_t = sorted(size_at_t, reverse=True)
    args = arguments(depth, dirs, nI, nO, size_at_t, dtype, seed)
    results = []
    for ops in BACKENDS:
        Y, state = ops.lstm_forward_training(*args)
        dX, d_params = ops.backprop_lstm(numpy.ones_like(Y), args[-1], args[0], state)
        assert_array_equal(ops.lstm_forward_inference(*args).shape, Y.shape)
        assert_allclose(ops.lstm_forward_inference(*args), Y, rtol=1e-4, atol=1e-5)
        assert Y.dtype == dX.dtype == d_params.dtype == dtype
        results.append((Y, dX, d_params))
    # float32: chaotic at most in the tenth step, with weights of this size.
    tolerance = 1e-3 if dtype == "float32" else 1e-11
    for generic, *others in zip(*results, strict=True):
        largest = max(1.0, abs(generic).max(initial=0))
        for compiled in others:
            assert_allclose(compiled, generic, rtol=tolerance, atol=tolerance * largest)


@every_backend
@pytest.mark.parametrize("dirs", [1, 2])
def test_each_sequence_is_as_if_alone(ops, dirs):
    params, H0, C0, X, counts = arguments(2, dirs, 3, 4, [3, 2, 2, 1])
    together = ops.lstm_forward_inference(params, H0, C0, X, counts)
    starts = numpy.concatenate(([0], numpy.cumsum(counts)))
    for sequence in range(3):
        rows = [starts[t] + sequence for t in range(4) if sequence < counts[t]]
        alone = ops.lstm_forward_inference(params, H0, C0, X[rows], sizes(*[1] * len(rows)))
        assert_allclose(together[rows], alone, rtol=1e-12, atol=1e-13)


@every_backend
@pytest.mark.parametrize("dirs", [1, 2])
def test_arguments_and_state_are_left_alone(ops, dirs):
    args = arguments(1, dirs, 1, 1, [2, 1])
    before = [a.copy() for a in args]
    Y, state = ops.lstm_forward_training(*args)
    dY = numpy.ones_like(Y)
    expected = ops.backprop_lstm(dY, args[-1], args[0], state)
    Y[...] = 77
    again = ops.backprop_lstm(dY, args[-1], args[0], state)
    for first, second in zip(expected, again, strict=True):
        assert_array_equal(first, second)
    assert_array_equal(dY, 1)
    for argument, copy in zip(args, before, strict=True):
        assert_array_equal(argument, copy)


@every_backend
@pytest.mark.parametrize("dirs", [1, 2])
@pytest.mark.parametrize("size_at_t", [[], [0], [0, 0]])
def test_an_empty_batch_is_empty(ops, dirs, size_at_t):
    args = arguments(2, dirs, 3, 4, size_at_t, dtype="float32")
    Y, state = ops.lstm_forward_training(*args)
    assert Y.shape == ops.lstm_forward_inference(*args).shape == (0, 4 * dirs)
    dX, d_params = ops.backprop_lstm(Y, args[-1], args[0], state)
    assert dX.shape == (0, 3)
    assert d_params.shape == args[0].shape
    assert not d_params.any()


@every_backend
def test_other_dtypes_and_layouts_are_converted(ops):
    params, H0, C0, X, counts = arguments(1, 1, 4, 3, [2, 2, 1])
    single = [a.astype("float32") for a in (params, H0, C0, X)]
    expected, state = ops.lstm_forward_training(*single, counts)
    assert expected.dtype == "float32"
    Y, _ = ops.lstm_forward_training(params, H0, C0, X.astype("float32"), counts.astype("int64"))
    assert Y.dtype == "float32"
    assert_array_equal(Y, expected)
    Y = ops.lstm_forward_inference(*single[:3], numpy.asfortranarray(single[3]), counts)
    assert_allclose(Y, expected, rtol=1e-6, atol=1e-7)
    dY = numpy.asfortranarray(numpy.random.default_rng(0).normal(size=Y.shape))
    dX, _ = ops.backprop_lstm(dY, counts, params, state)
    expected_dX, _ = ops.backprop_lstm(dY.astype("float32", order="C"), counts, single[0], state)
    assert_array_equal(dX, expected_dX)


@every_backend
def test_surplus_parameters_are_ignored(ops):
    params, H0, C0, X, counts = arguments(1, 1, 2, 3, [2, 1])
    longer = numpy.concatenate((params, [numpy.nan]))
    Y, state = ops.lstm_forward_training(longer, H0, C0, X, counts)
    assert_array_equal(Y, ops.lstm_forward_training(params, H0, C0, X, counts)[0])
    _, d_params = ops.backprop_lstm(Y, counts, longer, state)
    assert d_params.shape == longer.shape
    assert d_params[-1] == 0


@every_backend
def test_a_nan_stays_in_its_sequence(ops):
    params, H0, C0, X, counts = arguments(1, 1, 2, 5, [2, 2])
    X[1, 0] = numpy.nan
    Y = ops.lstm_forward_inference(params, H0, C0, X, counts)
    assert numpy.isnan(Y[[1, 3]]).all()
    assert numpy.isfinite(Y[[0, 2]]).all()


@every_backend
def test_mistakes_say_what_was_expected(ops):
    params, H0, C0, X, counts = arguments(1, 1, 2, 3, [2, 1])
    forward = ops.lstm_forward_training
    with pytest.raises(ValueError, match="need 84 parameters, got 83"):
        forward(params[:-1], H0, C0, X, counts)
    with pytest.raises(ValueError, match=r"H0 and C0 .*\(1, 1, 3\) and \(1, 1, 2\)"):
        forward(params, H0, C0[..., :2], X, counts)
    with pytest.raises(ValueError, match=r"sums to 4, but X has shape \(3, 2\)"):
        forward(params, H0, C0, X, sizes(2, 2))
    with pytest.raises(ValueError, match=r"must not be negative or grow, got \[1, 2\]"):
        forward(params, H0, C0, X, sizes(1, 2))
    Y, state = forward(params, H0, C0, X, counts)
    with pytest.raises(ValueError, match=r"expected dY of shape \(3, 3\), got \(3, 2\)"):
        ops.backprop_lstm(Y[:, :2], counts, params, state)
    with pytest.raises(ValueError, match="expected a state of 6 arrays, .* got 4"):
        ops.backprop_lstm(Y, counts, params, state[:4])
