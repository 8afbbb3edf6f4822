"""Optimizers: updates against the papers' formulas in float64, hyperparameters, state."""

import copy
import itertools
import json
import math
import pickle
import types

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from thinc import optimizers
from thinc.backends.ops import Ops
from thinc.config import registry
from thinc.optimizers import ADAM_DEFAULTS, SGD, SGD_DEFAULTS, Adam, Optimizer, RAdam
from thinc.schedules import Schedule, constant, decaying, plateau, warmup_linear

KEY = (1, "W")
STEPS = 12


def gradients(shape=(3, 4), n=STEPS, seed=0, dtype="float32"):
    rng = numpy.random.RandomState(seed)
    return [rng.normal(0, 1.5, shape).astype(dtype) for _ in range(n)]


def run(optimizer, weights, grads, **kwargs):
    """The weights after each step."""
    trajectory = []
    for gradient in grads:
        optimizer(KEY, weights, gradient.copy(), **kwargs)
        trajectory.append(weights.copy())
    return numpy.array(trajectory)


# ---- the formulas, written again, in float64 ----------------------------------------


def sgd_direction(state, g, t, a, **_):
    return a * g


def adam_direction(state, g, t, a, beta1, beta2, eps):
    """Kingma and Ba (2015), the efficient order of section 2, end."""
    state["m"] = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    state["v"] = beta2 * state.get("v", 0.0) + (1 - beta2) * g**2
    a_t = a * math.sqrt(1 - beta2**t) / (1 - beta1**t)
    return a_t * state["m"] / (numpy.sqrt(state["v"]) + eps)


def radam_direction(state, g, t, a, beta1, beta2, eps):
    """Liu et al. (2020), algorithm 2. The variance counts from a length of 5 on."""
    state["m"] = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    state["v"] = beta2 * state.get("v", 0.0) + (1 - beta2) * g**2
    m_hat = state["m"] / (1 - beta1**t)
    rho_inf = 2 / (1 - beta2) - 1
    rho_t = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
    if rho_t < 5:
        return a * m_hat
    adaptive = math.sqrt(1 - beta2**t) / (numpy.sqrt(state["v"]) + eps)
    rectified = math.sqrt(
        ((rho_t - 4) * (rho_t - 2) * rho_inf) / ((rho_inf - 4) * (rho_inf - 2) * rho_t)
    )
    return a * rectified * m_hat * adaptive


def reference(
    direction, weights, grads, *, learn_rate, L2=0.0, L2_is_weight_decay=True, grad_clip=1.0,
    lr_scale=1.0, beta1=0.9, beta2=0.999, eps=1e-8,
):  # fmt: skip
    """(weights after each step, the averages at the end)."""
    w = weights.astype("float64")
    average = numpy.zeros_like(w)
    state, trajectory = {}, []
    for t, gradient in enumerate(grads, 1):
        g = gradient.astype("float64")
        a = lr_scale * learn_rate
        if not L2_is_weight_decay:
            g = g + L2 * w
        norm = math.sqrt((g**2).sum())
        if grad_clip and norm > grad_clip:
            g = g * (grad_clip / norm)
        w = w - direction(state, g, t, a, beta1=beta1, beta2=beta2, eps=eps)
        if L2_is_weight_decay:
            w = w - a * L2 * w
        keep = min((1 + t) / (10 + t), 0.9999)
        average = keep * average + (1 - keep) * w
        trajectory.append(w)
    return numpy.array(trajectory), average


ALGORITHMS = {
    "SGD": (SGD, sgd_direction, {}),
    "Adam": (Adam, adam_direction, {}),
    "Adam_rms": (Adam, adam_direction, {"beta1": 0.0}),
    "Adam_fast": (Adam, adam_direction, {"beta1": 0.5, "beta2": 0.9, "eps": 0.1}),
    "RAdam": (RAdam, radam_direction, {}),
    "RAdam_fast": (RAdam, radam_direction, {"beta1": 0.5, "beta2": 0.9}),
    "RAdam_never_rectified": (RAdam, radam_direction, {"beta2": 0.5}),
}
OPTIONS = {
    "plain": {"grad_clip": 0.0},
    "clipped": {"grad_clip": 0.5},
    "wide_clip": {"grad_clip": 1000.0},
    "decay": {"L2": 0.1},
    "L2": {"L2": 0.1, "L2_is_weight_decay": False},
    "L2_unclipped": {"L2": 0.1, "L2_is_weight_decay": False, "grad_clip": 0.0},
}


@pytest.mark.parametrize("lr_scale", [1.0, 0.3])
@pytest.mark.parametrize("dtype, rtol", [("float32", 3e-5), ("float64", 1e-10)])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS)
def test_updates_follow_the_formulas(algorithm, options, dtype, rtol, lr_scale):
    make, direction, own = algorithm
    weights = gradients(seed=9, dtype=dtype)[0]
    grads = gradients(dtype=dtype)
    expected, average = reference(
        direction, weights, grads, learn_rate=0.05, lr_scale=lr_scale, **options, **own
    )
    optimizer = make(0.05, **options, **own)
    trajectory = run(optimizer, weights, grads, lr_scale=lr_scale)
    assert trajectory.dtype == dtype
    assert_allclose(trajectory, expected, rtol=rtol, atol=rtol / 10)
    assert_allclose(optimizer.averages[KEY], average, rtol=3e-5, atol=3e-6)
    assert optimizer.averages[KEY].dtype == numpy.float32


def test_radam_becomes_adam_in_the_long_run():
    grads = gradients(n=1500)
    steps = []
    for make in (RAdam, Adam):
        optimizer = make(0.01, grad_clip=0.0, beta2=0.99)
        trajectory = run(optimizer, numpy.ones((3, 4), dtype="float64"), grads)
        steps.append(trajectory[-1] - trajectory[-2])
    assert_allclose(steps[0], steps[1], rtol=1e-4)


@given(
    learn_rate=st.floats(0.001, 0.5),
    clip=st.floats(0.01, 5.0),
    seed=st.integers(0, 1000),
    size=st.integers(1, 40),
)
def test_a_clipped_sgd_step_is_no_longer_than_the_clip_allows(learn_rate, clip, seed, size):
    gradient = gradients((size,), 1, seed, "float64")[0]
    weights = numpy.zeros(size)
    SGD(learn_rate, grad_clip=clip)(KEY, weights, gradient)
    assert numpy.linalg.norm(weights) <= learn_rate * clip * (1 + 1e-12)


def test_beta2_of_zero_means_sgd():
    grads = gradients()
    for beta1 in (0.0, 0.9):
        optimizer = Optimizer(0.1, beta1=beta1, beta2=0.0)
        ours = run(optimizer, numpy.ones((3, 4), dtype="f"), grads)
        assert_array_equal(ours, run(SGD(0.1), numpy.ones((3, 4), dtype="f"), grads))
        assert not optimizer.mom1


# ---- what happens to the arrays -----------------------------------------------------

MAKERS = {"SGD": SGD, "Adam": Adam, "RAdam": RAdam}


@pytest.fixture(params=MAKERS)
def make(request):
    return MAKERS[request.param]


def strided(array):
    wide = numpy.full((*array.shape[:-1], 2 * array.shape[-1]), 77, dtype=array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


@pytest.mark.parametrize("lay_out", [strided, numpy.asfortranarray, lambda a: a[::-1]])
@pytest.mark.parametrize("which", ["weights", "gradient", "both"])
def test_arrays_of_any_layout_are_updated_in_place(make, lay_out, which):
    plain = make(0.1, L2=0.1)
    optimizer = make(0.1, L2=0.1)
    start = gradients(seed=3)[0]
    expected, ours = start.copy(), start.copy()
    if which != "gradient":
        ours = lay_out(ours)
        expected[...] = ours
    for gradient in gradients(n=8):
        laid_out = gradient.copy() if which == "weights" else lay_out(gradient)
        plain(KEY, expected, numpy.array(laid_out, order="C"))
        returned, _ = optimizer(KEY, ours, laid_out)
        assert numpy.shares_memory(returned, ours)
        assert_array_equal(laid_out, 0)
    # float32 kernels round 1 - beta2: the steps, of up to 0.1, differ by a few millionths.
    assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)
    assert_allclose(optimizer.averages[KEY], plain.averages[KEY], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_gradient_is_zero_afterwards_even_if_it_was_not_finite(make, bad):
    optimizer = make(0.1)
    gradient = numpy.ones((2, 3), dtype="f")
    gradient[0, 0] = bad
    with numpy.errstate(all="ignore"):
        _, returned = optimizer(KEY, numpy.ones((2, 3), dtype="f"), gradient)
    assert returned is gradient
    assert_array_equal(gradient, 0)


def test_nan_in_a_gradient_stays_where_it_is(make):
    weights = numpy.ones((2, 3), dtype="f")
    gradient = numpy.ones((2, 3), dtype="f")
    gradient[0, 0] = math.nan
    make(0.1)(KEY, weights, gradient)
    assert numpy.isnan(weights).sum() == 1


def test_zero_gradient_moves_nothing(make):
    weights = numpy.ones((2, 3), dtype="f")
    make(0.1)(KEY, weights, numpy.zeros((2, 3), dtype="f"))
    assert_array_equal(weights, 1)


def test_scalar_parameters(make):
    weights, gradient = numpy.array(1.0, dtype="f"), numpy.array(0.5, dtype="f")
    optimizer = make(0.1)
    optimizer(KEY, weights, gradient)
    assert weights < 1.0
    assert gradient == 0
    assert optimizer.averages[KEY].shape == ()


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_empty_parameters_are_not_counted(make, shape):
    optimizer = make(0.1)
    weights, gradient = numpy.zeros(shape, dtype="f"), numpy.zeros(shape, dtype="f")
    returned = optimizer(KEY, weights, gradient)
    assert returned[0] is weights and returned[1] is gradient
    assert optimizer.nr_update[KEY] == 0
    assert not optimizer.averages


def test_shapes_must_match(make):
    with pytest.raises(ValueError, match=r"incompatible shapes: weights \(2, 3\), .*\(3, 2\)"):
        make(0.1)(KEY, numpy.zeros((2, 3), "f"), numpy.zeros((3, 2), "f"))


@pytest.mark.parametrize("shape", [(3, 2), (4,)])
def test_a_key_keeps_its_shape(make, shape):
    optimizer = make(0.1)
    optimizer(KEY, numpy.zeros((2, 3), "f"), numpy.ones((2, 3), "f"))
    with pytest.raises(ValueError, match="incompatible shapes"):
        optimizer(KEY, numpy.zeros(shape, "f"), numpy.ones(shape, "f"))
    assert optimizer.nr_update[KEY] == 1


# ---- state --------------------------------------------------------------------------


def test_updates_are_counted_by_key(make):
    optimizer = make(0.1)
    for key in ("a", "b", "a"):
        optimizer(key, numpy.zeros(3, "f"), numpy.ones(3, "f"))
    assert dict(optimizer.nr_update) == {"a": 2, "b": 1}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_moments_are_flat_and_as_precise_as_the_weights(dtype):
    optimizer = Adam(0.1)
    optimizer(KEY, numpy.zeros((2, 3), dtype), numpy.ones((2, 3), dtype))
    for moments in (optimizer.mom1, optimizer.mom2):
        assert (moments[KEY].shape, moments[KEY].dtype) == ((6,), dtype)


def test_averages_move_ever_slower_but_never_stop(make):
    optimizer = make(0.0)
    optimizer.nr_update[KEY] = 10**6
    optimizer(KEY, numpy.ones(3, "f"), numpy.ones(3, "f"))
    assert_allclose(optimizer.averages[KEY], 0.0001, rtol=1e-4)


def test_no_averages_if_not_wanted(make):
    optimizer = make(0.1, use_averages=False)
    optimizer(KEY, numpy.zeros(3, "f"), numpy.ones(3, "f"))
    assert optimizer.averages is None


@pytest.mark.parametrize("copier", [lambda o: pickle.loads(pickle.dumps(o)), copy.deepcopy])
def test_copies_go_on_alike(make, copier):
    optimizer = make(warmup_linear(0.1, 3, 20), L2=[0.1, 0.2])
    weights = numpy.ones((3, 4), "f")
    grads = gradients()
    run(optimizer, weights, grads[:4])
    optimizer.step_schedules()
    other = copier(optimizer)
    first = run(optimizer, weights.copy(), grads[4:])
    assert_array_equal(first, run(other, weights.copy(), grads[4:]))


def test_unknown_attributes_are_refused(make):
    with pytest.raises(AttributeError):
        make(0.1).momentum = 0.9


def test_to_cpu_and_to_gpu():
    optimizer = Adam(0.1)
    optimizer(KEY, numpy.zeros(3, "f"), numpy.ones(3, "f"))
    before = optimizer.mom1[KEY].copy()
    optimizer.to_cpu()
    assert_array_equal(optimizer.mom1[KEY], before)
    from thinc import compat

    if not compat.has_cupy_gpu:
        with pytest.raises(ValueError, match="to_gpu: there is no GPU that CuPy can use"):
            optimizer.to_gpu()


# ---- hyperparameters ----------------------------------------------------------------


def test_defaults():
    optimizer = Adam()
    for name, default in ADAM_DEFAULTS.items():
        attribute = {"beta1": "b1", "beta2": "b2"}.get(name, name)
        assert getattr(optimizer, attribute) == default
    assert SGD_DEFAULTS.items() <= ADAM_DEFAULTS.items()
    assert (optimizer.use_radam, RAdam().use_radam) == (False, True)
    assert (SGD(0.1).b1, SGD(0.1).b2) == (0.0, 0.0)


def test_an_attribute_is_a_number_and_a_schedule():
    optimizer = Adam(decaying(1.0, 1.0))
    rate = optimizer.learn_rate
    assert isinstance(rate, float)
    assert (rate, rate * 2, f"{rate:.1f}", json.dumps(rate)) == (1.0, 2.0, "1.0", "1.0")
    assert (rate(3), rate.name, rate.attrs["decay"]) == (0.25, "decaying", 1.0)
    assert list(itertools.islice(rate.to_generator(1), 2)) == [0.5, pytest.approx(1 / 3)]
    assert pickle.loads(pickle.dumps(rate))(3) == 0.25
    assert (optimizer.b1, optimizer.b1(99), optimizer.b1.name) == (0.9, 0.9, "constant")


@pytest.mark.parametrize(
    "source",
    [
        lambda: [0.3, 0.2, 0.1],
        lambda: iter([0.3, 0.2, 0.1]),
        lambda: (rate for rate in [0.3, 0.2, 0.1]),
        lambda: Schedule("mine", tenths_from_three),
    ],
    ids=["list", "iterator", "generator", "schedule"],
)
def test_sources_give_a_value_for_each_step_then_keep_the_last(source):
    optimizer = SGD(source(), grad_clip=0.0)
    rates, moves = [], []
    for _ in range(5):
        weights = numpy.zeros(1)
        optimizer(KEY, weights, numpy.ones(1))
        moves.append(-weights[0])
        rates.append(optimizer.learn_rate)
        optimizer.step_schedules()
    assert_allclose(rates, [0.3, 0.2, 0.1, 0.1, 0.1])
    assert_allclose(moves, rates)
    assert set(optimizer.schedules) == {"learn_rate"}


def tenths_from_three(schedule, step, **extra):
    return max(3 - step, 1) / 10


def test_a_schedule_that_ends_leaves_its_last_value():
    from thinc.schedules import constant_then

    optimizer = SGD(constant_then(0.5, 1, [0.25]))
    rates = []
    for _ in range(4):
        rates.append(float(optimizer.learn_rate))
        optimizer.step_schedules()
    assert rates == [0.5, 0.25, 0.25, 0.25]


@pytest.mark.parametrize("number", [1, True, numpy.float32(0.5), numpy.float64(0.5), 0.5])
def test_numbers_of_all_kinds(number):
    optimizer = SGD(number)
    assert optimizer.learn_rate == float(number)
    assert optimizer.schedules == {}


@pytest.mark.parametrize("bad", [None, "0.1", (0.1, 0.2), [], iter([]), object()])
def test_other_sources_are_refused(make, bad):
    with pytest.raises(ValueError, match="Invalid schedule for 'learn_rate' "):
        make(bad)
    with pytest.raises(ValueError, match="Invalid schedule for 'L2' "):
        make(0.1, L2=bad)


@pytest.mark.parametrize("beta", [-0.1, 1.0, 1.5])
def test_betas_out_of_range_are_refused(beta):
    with pytest.raises(ValueError, match=rf"beta1 must be in \[0, 1\), got {beta}"):
        Adam(0.1, beta1=beta)
    with pytest.raises(ValueError, match=rf"beta2 must be in \[0, 1\), got {beta}"):
        RAdam(0.1, beta2=beta)


@pytest.mark.parametrize("option", ["weight_decay", "lookahead_k", "schedules", "momentum"])
def test_unknown_options_are_refused_but_ops_is_ignored(make, option):
    with pytest.raises(TypeError, match=option):
        make(0.1, **{option: 1})
    make(0.1, ops=object())
    Optimizer(0.1, ops=object())


def test_assigning_a_number_replaces_a_number():
    optimizer = SGD(0.1, grad_clip=0.0)
    optimizer.learn_rate = 0.5
    optimizer.step_schedules()
    weights = numpy.zeros(1)
    optimizer(KEY, weights, numpy.ones(1))
    assert (optimizer.learn_rate, weights[0]) == (0.5, -0.5)


@pytest.mark.parametrize("source", [decaying(1.0, 1.0), constant(1.0)])
def test_assigning_a_number_interrupts_a_schedule_until_the_next_step(source):
    optimizer = SGD(source, grad_clip=0.0)
    optimizer.learn_rate = 9.0
    weights = numpy.zeros(1)
    optimizer(KEY, weights, numpy.ones(1))
    assert (optimizer.learn_rate, optimizer.learn_rate(5), weights[0]) == (9.0, 9.0, -9.0)
    optimizer.step_schedules()
    assert optimizer.learn_rate == source(1)


@pytest.mark.parametrize(
    "function",
    [lambda step: step, lambda *, step: step, lambda s, key: s, lambda s, **kw: s + 0 * len(kw)],
)
def test_any_callable_can_be_assigned_and_comes_back_unchanged(function):
    optimizer = SGD(0.1, grad_clip=0.0)
    optimizer.learn_rate = function
    assert optimizer.learn_rate is function
    optimizer.step_schedules()
    optimizer.step_schedules()
    weights = numpy.zeros(1)
    optimizer(KEY, weights, numpy.ones(1))
    assert weights[0] == -2.0


def key_dependent(schedule, step, *, key, last_score):
    return 0.0 if key == KEY else 1.0


def test_schedules_are_told_the_key():
    optimizer = SGD(Schedule("by_key", key_dependent), grad_clip=0.0)
    weights = numpy.zeros(2)
    optimizer(KEY, weights[:1], numpy.ones(1))
    optimizer("other", weights[1:], numpy.ones(1))
    assert_array_equal(weights, [0.0, -1.0])


def test_an_iterator_does_not_go_back():
    rate = SGD(iter([0.3, 0.2])).learn_rate
    assert rate(1) == 0.2
    with pytest.raises(ValueError, match="'step' of the generator-based schedule for learn_rate"):
        rate(0)


def test_last_score():
    optimizer = SGD(plateau(1, 0.5, constant(1.0)))
    assert (optimizer.step, optimizer.last_score) == (0, None)
    optimizer.last_score = 0.7
    assert optimizer.last_score == (0, 0.7)
    assert optimizer.learn_rate == 1.0
    optimizer.step_schedules()
    optimizer.last_score = 0.6
    assert (optimizer.step, optimizer.last_score) == (1, (1, 0.6))
    assert optimizer.learn_rate == 0.5
    optimizer.last_score = (5, 0.9)
    assert optimizer.last_score == (5, 0.9)
    optimizer.last_score = None
    assert optimizer.last_score is None
    with pytest.raises(ValueError, match=r"expected \(step, score\), got \[1, 2, 3\]"):
        optimizer.last_score = [1, 2, 3]
    with pytest.raises(AttributeError):
        optimizer.step = 3


# ---- configs ------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAKERS)
def test_optimizers_come_from_configs(name):
    config = {
        "optimizer": {
            "@optimizers": f"{name}.v1",
            "learn_rate": {"@schedules": "warmup_linear.v1"}
            | {"initial_rate": 0.1, "warmup_steps": 2, "total_steps": 5},
            "L2": [0.1, 0.2],
            "grad_clip": 2.0,
        }
    }
    optimizer = registry.resolve(config)["optimizer"]
    optimizer.step_schedules()
    assert (optimizer.learn_rate, optimizer.L2, optimizer.grad_clip) == (0.05, 0.2, 2.0)


def test_filled_config_has_the_documented_options_only():
    filled = registry.fill({"optimizer": {"@optimizers": "Adam.v1"}})["optimizer"]
    assert filled == {"@optimizers": "Adam.v1", "use_averages": True, **ADAM_DEFAULTS}


# ---- devices ------------------------------------------------------------------------


class _Waiting:
    """A number on a device: anything that would copy it to the host fails."""

    def __init__(self, value):
        self.value = value

    def __bool__(self):
        raise AssertionError("waits for the device")

    def __float__(self):
        raise AssertionError("waits for the device")

    def __ge__(self, other):
        return _Waiting(self.value >= other)

    def __rtruediv__(self, other):
        return _Waiting(other / self.value)


def _where(condition, a, b):
    return numpy.where(condition.value, a.value, b)


class DeviceOps(Ops):
    """The generic Ops, on arrays that could be on another device."""

    xp = types.SimpleNamespace(**{**vars(numpy), "where": _where})

    def norm(self, X):
        return _Waiting(super().norm(X))


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_clipping_does_not_wait_for_a_device(make, options, monkeypatch):
    grads = gradients()
    grads[3][0, 0] = math.nan
    start = gradients(seed=3)[0]
    expected = run(make(0.1, **options), start.copy(), grads)
    monkeypatch.setitem(optimizers._ops_by_type, numpy.ndarray, DeviceOps())
    assert_allclose(run(make(0.1, **options), start.copy(), grads), expected, rtol=1e-5, atol=1e-5)
