"""How exact the compiled formulas are, against extended precision, and the dropout masks.

Errors are counted in ulp: units in the last place of the exact result. The bounds are
a little above the largest errors seen in millions of values.
"""

import numpy
import pytest
import strategies
from numpy.testing import assert_allclose, assert_array_equal

from thinc.backends import NumpyOps, cpu_kernels
from thinc.backends.formulas import FORMULAS

OPS = NumpyOps()
EXTENDED = numpy.longdouble
# The reference must be more precise than what it judges.
DTYPES = [
    dtype
    for dtype in strategies.FLOAT_DTYPES
    if numpy.finfo(EXTENDED).eps < numpy.finfo(dtype).eps / 100
]
# activation: ulp in float32, ulp in float64
ULPS = {
    "sigmoid": (2.0, 2.0),
    "tanh": (2.0, 2.5),
    "swish": (2.0, 2.0),
    "gelu": (5.0, 6.0),
    "mish": (3.5, 3.5),
    "dish": (4.0, 4.0),
}

every_dtype = pytest.mark.parametrize("dtype", DTYPES)


@pytest.fixture(params=cpu_kernels.available_levels(), autouse=True, scope="module")
def level(request):
    with cpu_kernels.use_level(request.param):
        yield request.param


def inputs(dtype):
    """Values of every magnitude, an odd number of them, denormal ones included."""
    rng = numpy.random.default_rng(0)
    X = numpy.concatenate(
        [
            rng.uniform(-1, 1, 4001),
            rng.uniform(-6, 6, 4000),
            rng.uniform(-30, 30, 4000),
            rng.uniform(-100, 100, 500),
            rng.normal(size=4000) * 10.0 ** rng.uniform(-40, 0, 4000),
        ]
    )
    return X.astype(dtype)


def constant(text):
    return EXTENDED(text)


ROOT_2 = numpy.sqrt(EXTENDED(2))
ROOT_PI = numpy.sqrt(constant("3.14159265358979323846264338327950288"))


def erfc(X):
    """1 - erf(x) in extended precision (Abramowitz and Stegun 7.1.6 and 7.1.14)."""
    A = numpy.abs(X)
    small = numpy.minimum(A, EXTENDED(2.5))
    term = total = 2 * small / ROOT_PI
    for n in range(1, 80):
        term = term * (2 * small * small / (2 * n + 1))
        total = total + term
    large = tail = numpy.maximum(A, EXTENDED(2.5))
    for n in range(120, 0, -1):
        tail = large + EXTENDED(n) / 2 / tail
    upper = numpy.where(
        A < 2.5, 1 - total * numpy.exp(-small * small), numpy.exp(-large * large) / (tail * ROOT_PI)
    )
    return numpy.where(X < 0, 2 - upper, upper)


def sigmoid(X):
    return 1 / (1 + numpy.exp(-numpy.clip(X, -20, 20)))


def normal_cdf(X):
    return erfc(-X / ROOT_2) / 2


def mish(X):
    E = numpy.exp(numpy.minimum(X, 20))
    N = E * (E + 2)
    return numpy.where(X >= 20, X, X * N / (N + 2))


def one_plus_sine(X):
    """1 + x / sqrt(1 + x^2) without cancellation."""
    H = numpy.sqrt(1 + X * X)
    return numpy.where(X < 0, 1 / (H * (H + abs(X))), 1 + X / H)


VALUES = {
    "sigmoid": sigmoid,
    "tanh": numpy.tanh,
    "swish": lambda X: X * sigmoid(X),
    "gelu": lambda X: X * normal_cdf(X),
    "mish": mish,
    "dish": lambda X: X * one_plus_sine(X) / 2,
}


def ulp_errors(found, exact):
    info = numpy.finfo(found.dtype)
    nearest = numpy.maximum(numpy.abs(exact).astype(found.dtype), info.tiny)
    return numpy.abs(found.astype(EXTENDED) - exact) / numpy.spacing(nearest).astype(EXTENDED)


def value(name, X):
    return OPS._map(FORMULAS[name], X, FORMULAS[name].defaults, False)


@every_dtype
@pytest.mark.parametrize("name", sorted(ULPS))
def test_values(dtype, name):
    X = inputs(dtype)
    if name == "gelu":
        X = X[X > -5]  # below, the error of a squared exponent shows
    if name == "mish":
        X = X[X > numpy.log(numpy.finfo(dtype).tiny)]  # below, exp(x) is denormal
    Y = value(name, X)
    assert Y.dtype == dtype
    allowed = ULPS[name][strategies.FLOAT_DTYPES.index(dtype)]
    assert ulp_errors(Y, VALUES[name](X.astype(EXTENDED))).max() <= allowed


@every_dtype
def test_gelu_far_below_zero(dtype):
    X = numpy.linspace(-40, -5, 5001).astype(dtype)
    exact = VALUES["gelu"](X.astype(EXTENDED))
    assert numpy.abs(OPS.gelu(X) - exact).max() <= 20 * numpy.finfo(dtype).eps * 1.5e-6


@every_dtype
@pytest.mark.parametrize("name", sorted(FORMULAS))
def test_slopes(dtype, name):
    formula = FORMULAS[name]
    X = inputs(dtype)
    params = formula.defaults
    Z = X if formula.slope_of == "X" else value(name, X)
    exact = formula.slope(numpy, Z.astype(EXTENDED), *params)
    found = OPS.backprop_activation(name, numpy.ones_like(Z), Z)
    assert found.dtype == dtype
    allowed = {"float32": 3.5e-7, "float64": 2e-15}[dtype]
    if name == "swish":  # the limited sigmoid's value at 20, times x
        allowed = {"float32": 1.3e-6, "float64": 3e-14}[dtype]
    assert numpy.abs(found - exact).max() <= allowed


@every_dtype
def test_dish_of_sizes_whose_square_overflows(dtype):
    X = numpy.array([1e9, 1.1e9, 1e20, 3e38] * 5, dtype=dtype)
    dY = numpy.ones_like(X)
    numpy.testing.assert_allclose(value("dish", X), X, rtol=1e-6)
    numpy.testing.assert_allclose(value("dish", -X), -0.25 / X, rtol=1e-6, atol=1e-38)
    assert (OPS.backprop_activation("dish", dY, X) == 1).all()
    assert (numpy.abs(OPS.backprop_activation("dish", dY, -X)) < 1e-17).all()


@every_dtype
@pytest.mark.parametrize("name", ["swish", "gelu", "gelu_approx", "mish", "hard_swish"])
def test_slopes_of_large_inputs_are_one(dtype, name):
    X = numpy.array([1e2, 1e3, 1e4, 1e6, 1e8, 1e12, 1e18] * 5, dtype=dtype)
    if name == "swish" and dtype == "float64":
        X = X[X < 1e3]  # the limited sigmoid stays 2e-9 below one
    found = OPS.backprop_activation(name, numpy.ones_like(X), X)
    assert_allclose(found, 1, atol=3e-7)


@every_dtype
@pytest.mark.parametrize("name", ["gelu", "gelu_approx", "mish", "hard_swish"])
def test_slopes_of_large_negative_inputs_are_zero(dtype, name):
    X = -numpy.array([1e2, 1e3, 1e4, 1e6, 1e8, 1e12, 1e18] * 5, dtype=dtype)
    found = OPS.backprop_activation(name, numpy.ones_like(X), X)
    assert_allclose(found, 0, atol=1e-14)


@every_dtype
def test_special_values(dtype):
    tiny = numpy.finfo(dtype).smallest_subnormal
    X = numpy.array([0.0, -0.0, numpy.inf, -numpy.inf, numpy.nan, tiny, -tiny] * 5, dtype=dtype)
    nan = numpy.nan
    low = float(sigmoid(EXTENDED(-20)))
    expected = {
        "sigmoid": [0.5, 0.5, 1, low, nan, 0.5, 0.5],
        "tanh": [0, 0, 1, -1, nan, tiny, -tiny],
        "relu": [0, 0, numpy.inf, 0, nan, tiny, 0],
        "mish": [0, 0, numpy.inf, None, nan, None, None],
        "swish": [0, 0, numpy.inf, -numpy.inf, nan, None, None],
        "gelu": [0, 0, numpy.inf, None, nan, None, None],
    }
    for name, row in expected.items():
        Y = value(name, X).reshape((5, 7))
        for column, wanted in enumerate(row):
            found = Y[:, column]
            message = f"{name}({X[column]})"
            if wanted is None:  # not settled by the definition, but never large
                assert (numpy.isnan(found) | (numpy.abs(found) <= 1e-30)).all(), message
            else:
                assert_allclose(found, wanted, rtol=1e-6, atol=tiny, err_msg=message)


@every_dtype
@pytest.mark.parametrize("name", sorted(FORMULAS))
def test_nan_stays_in_its_place(dtype, name):
    X = numpy.linspace(-3, 3, 77).astype(dtype)
    X[[0, 30, 76]] = numpy.nan
    Y = OPS._map(FORMULAS[name], X, FORMULAS[name].defaults, False)
    assert_array_equal(numpy.isnan(Y), numpy.isnan(X))


@every_dtype
@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_bounded_functions_stay_in_their_bounds(dtype, name):
    X = numpy.linspace(-50, 50, 20001).astype(dtype)
    Y = value(name, X)
    assert Y.max() <= 1
    assert Y.min() >= (-1 if name == "tanh" else 0)


# ---- rows --------------------------------------------------------------------


@every_dtype
@pytest.mark.parametrize("width", [1, 2, 7, 16, 33, 128, 1001])
@pytest.mark.parametrize("scale", [0.1, 1.0, 20.0])
def test_softmax(dtype, width, scale):
    rng = numpy.random.default_rng(width)
    X = (rng.normal(size=(31, width)) * scale).astype(dtype)
    E = X.astype(EXTENDED)
    E = numpy.exp(E - E.max(axis=1, keepdims=True))
    exact = E / E.sum(axis=1, keepdims=True)
    Y = OPS.softmax(X)
    # Rounding x - max costs up to |x - max| / 2 ulp where scores lie far apart.
    spread = (X.max(axis=1, keepdims=True) - X).astype("float64")
    normal = exact > numpy.finfo(dtype).tiny
    assert (ulp_errors(Y, exact) <= 6 + spread)[normal].all()
    assert_allclose(Y.sum(axis=1, dtype="float64"), 1, rtol=4 * numpy.finfo(dtype).eps)


@every_dtype
@pytest.mark.parametrize("width", [2, 7, 16, 33, 128, 1001])
@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_layer_norm(dtype, width, offset):
    rng = numpy.random.default_rng(width)
    X = (rng.normal(size=(31, width)) + offset).astype(dtype)
    if width == 2:
        X[:, 1] = X[:, 0] + 2
    G, b = numpy.ones(width, dtype=dtype), numpy.zeros(width, dtype=dtype)
    X_exact = X.astype(EXTENDED)
    mean = X_exact.mean(axis=1, keepdims=True)
    exact = (X_exact - mean) / numpy.sqrt(X_exact.var(axis=1, keepdims=True) + EXTENDED("1e-8"))
    Y, found_mean, _ = OPS.layer_norm(X, G, b)
    allowed = 2e-6 if dtype == "float32" else 5e-15
    assert numpy.abs(Y - exact).max() <= allowed
    assert numpy.abs(found_mean - mean[:, 0]).max() <= allowed


# ---- dropout masks -----------------------------------------------------------


def masks_and_states(shape, drop, before):
    """(mask, the generator's state afterwards) from the kernel and from NumPy's own draws."""
    results = []
    for draw in (
        lambda: OPS.get_dropout_mask(shape, drop),
        lambda: ((numpy.random.uniform(0, 1, shape) >= drop) / (1 - drop)).astype("float32"),
    ):
        numpy.random.seed(before[0])
        # One 32-bit draw each: an odd count leaves the generator between two doubles.
        numpy.random.randint(0, 2**32, size=before[1], dtype="uint32")
        mask = draw()
        results.append((mask, numpy.random.get_state()))
    return results


def assert_same_draws(shape, drop, before):
    (mask, state), (expected, expected_state) = masks_and_states(shape, drop, before)
    assert mask.dtype == "float32"
    assert_array_equal(mask, expected)
    assert state[0] == expected_state[0]
    assert_array_equal(state[1], expected_state[1])
    assert state[2:] == expected_state[2:]


@pytest.fixture(autouse=True)
def own_random_state():
    state = numpy.random.get_state()
    yield
    numpy.random.set_state(state)


@pytest.mark.parametrize("size", [*range(8), 155, 156, 311, 312, 313, 624, 625, 1000, 5001])
def test_dropout_masks_are_drawn_as_numpy_draws(size):
    for start in (0, 1, 2, 3, 7, 100, 311, 313, 621, 622, 623, 624, 625):
        for drop in (0.1, 1 / 3, 0.5, 1e-9, 0.999999):
            assert_same_draws(size, drop, (size * 7 + start, start))


@pytest.mark.parametrize("shape", [(), (3,), (4, 5), (0, 3), (2, 3, 7), (100, 33)])
def test_dropout_masks_of_any_shape(shape):
    assert_same_draws(shape, 0.2, (5, 3))


@pytest.mark.parametrize("drop", [None, 0, 0.0, -1.0, 1, 1.0, 2.0])
def test_rates_that_need_no_draws(drop):
    numpy.random.seed(0)
    before = numpy.random.get_state()
    mask = OPS.get_dropout_mask((3, 4), drop)
    assert mask.dtype == "float32"
    assert_array_equal(mask, numpy.full((3, 4), float(drop is None or drop <= 0)))
    after = numpy.random.get_state()
    assert_array_equal(before[1], after[1])
    assert before[2] == after[2]


def test_a_draw_equal_to_the_rate_is_kept():
    numpy.random.seed(3)
    draws = numpy.random.uniform(0, 1, 400)
    for draw in draws[:40]:
        for drop in (draw, numpy.nextafter(draw, 0), numpy.nextafter(draw, 1)):
            numpy.random.seed(3)
            mask = OPS.get_dropout_mask(400, drop)
            assert_array_equal(mask, ((draws >= drop) / (1 - drop)).astype("float32"))


def test_draws_continue_where_the_mask_ended():
    numpy.random.seed(8)
    OPS.get_dropout_mask(13, 0.5)
    mixed = [numpy.random.normal(), *numpy.random.randint(0, 99, 3), numpy.random.uniform()]
    numpy.random.seed(8)
    numpy.random.uniform(0, 1, 13)
    assert mixed == [numpy.random.normal(), *numpy.random.randint(0, 99, 3), numpy.random.uniform()]
