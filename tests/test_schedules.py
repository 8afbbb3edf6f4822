"""Schedules: the formulas, and that calling and iterating agree."""

import itertools
import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from thinc.config import registry
from thinc.schedules import (
    EndOfSchedule,
    Schedule,
    compounding,
    constant,
    constant_then,
    cyclic_triangular,
    decaying,
    plateau,
    slanted_triangular,
    warmup_linear,
)

MAKERS = {
    "constant": lambda: constant(0.5),
    "constant_then": lambda: constant_then(0.1, 3, decaying(1.0, 0.5)),
    "decaying": lambda: decaying(1.0, 0.5, t=2),
    "compounding": lambda: compounding(1.0, 8.0, 1.5),
    "warmup_linear": lambda: warmup_linear(0.1, 3, 9),
    "slanted_triangular": lambda: slanted_triangular(0.1, 20),
    "cyclic_triangular": lambda: cyclic_triangular(0.1, 1.0, 3),
    "plateau": lambda: plateau(2, 0.5, constant(1.0)),
}


@pytest.fixture(params=MAKERS)
def make(request):
    return MAKERS[request.param]


def values(schedule, n):
    return [schedule(step) for step in range(n)]


# ---- what all have in common --------------------------------------------------------


def test_drawing_gives_the_values_of_steps_0_1_2(make):
    assert list(itertools.islice(make(), 20)) == values(make(), 20)


def test_a_schedule_is_its_own_iterator(make):
    schedule = make()
    assert iter(schedule) is schedule
    next(schedule)
    assert next(schedule) == make()(1)


def test_calls_and_generators_do_not_advance_the_iteration(make):
    schedule = make()
    schedule(7)
    list(itertools.islice(schedule.to_generator(), 5))
    assert next(schedule) == make()(0)


@given(start=st.integers(0, 50), step_size=st.integers(0, 20))
def test_generator_walks_the_steps(start, step_size):
    schedule = warmup_linear(1.0, 30, 300)
    drawn = list(itertools.islice(schedule.to_generator(start, step_size), 4))
    assert drawn == [schedule(start + i * step_size) for i in range(4)]


def test_pickled_schedule_goes_on_where_it_was(make):
    schedule = make()
    first = [next(schedule) for _ in range(4)]
    copy = pickle.loads(pickle.dumps(schedule))
    assert copy.name == schedule.name
    assert first + [next(copy) for _ in range(4)] == values(make(), 8)


def test_unknown_extras_are_ignored(make):
    assert make()(2, key=(1, "W"), weather="fine") == make()(2)


def test_names_and_registry(make):
    schedule = make()
    assert schedule.name in MAKERS
    assert registry.schedules.get(f"{schedule.name}.v1") is not None


def test_negative_steps_are_refused(make):
    with pytest.raises(ValueError, match="Step must be non-negative, was: -1"):
        make()(-1)
    with pytest.raises(ValueError, match="Schedule start must be non-negative, was: -2"):
        make().to_generator(start=-2)
    with pytest.raises(ValueError, match="Step size must be non-negative, was: -3"):
        make().to_generator(step_size=-3)


def count_up(schedule, step, *, by=1):
    return schedule.attrs["first"] + step * by


def test_own_schedule_gets_itself_and_the_extras():
    attrs = {"first": 10}
    schedule = Schedule("count", count_up, attrs=attrs)
    attrs["first"] = 99
    assert schedule(3) == 13
    assert schedule(3, by=2) == 16
    assert list(itertools.islice(schedule.to_generator(1, 2, by=10), 3)) == [20, 40, 60]
    schedule.attrs["first"] = 0
    assert schedule(3) == 3
    assert repr(schedule) == "<Schedule count(first=0)>"


def test_attrs_hold_the_arguments():
    assert compounding(1.0, 8.0, 1.5).attrs == {
        "start": 1.0,
        "stop": 8.0,
        "compound": 1.5,
        "t": 0.0,
    }
    assert set(slanted_triangular(0.1, 20).attrs) == {"max_rate", "cut", "cut_frac", "ratio", "t"}


# ---- formulas -----------------------------------------------------------------------


def test_constant():
    assert values(constant(3), 3) == [3, 3, 3]


def test_decaying():
    assert_allclose(values(decaying(2.0, 0.5), 3), [2.0, 2.0 / 1.5, 1.0], rtol=1e-15)
    assert_allclose(decaying(2.0, 0.5, t=2)(0), 1.0)


def test_compounding_grows_to_its_stop_and_keeps_the_stops_type():
    assert values(compounding(1, 8, 2), 6) == [1, 2, 4, 8, 8, 8]
    assert isinstance(compounding(1, 8, 2)(0), float)
    assert isinstance(compounding(1, 8, 2)(9), int)
    assert values(compounding(8.0, 1.0, 0.5), 5) == [8, 4, 2, 1, 1]


def test_compounding_starts_at_t():
    assert_allclose(values(compounding(1.0, 8.0, 1.1, t=3.0), 2), [1.1**3, 1.1**4])


@pytest.mark.parametrize("compound, stop", [(1.5, 32.0), (1.001, 2.0), (10.0, 1e300)])
def test_compounding_saturates_at_steps_where_the_power_overflows(compound, stop):
    assert compounding(1.0, stop, compound)(10**6) == stop


def test_compounding_of_zero_stays_zero():
    assert compounding(0.0, 1.0, 2.0)(5000) == 0.0


@given(
    start=st.floats(0.01, 10), stop=st.floats(0.01, 10), compound=st.floats(0.5, 2.0),
    step=st.integers(0, 5000),
)  # fmt: skip
def test_compounding_never_passes_its_stop(start, stop, compound, step):
    value = compounding(start, stop, compound)(step)
    assert value <= stop if start <= stop else value >= stop


def test_warmup_linear():
    assert_allclose(
        values(warmup_linear(2.0, 2, 6), 9), [0, 1, 2, 1.5, 1, 0.5, 0, 0, 0], atol=1e-15
    )
    assert warmup_linear(2.0, 0, 0)(0) == 0.0


def test_slanted_triangular_follows_the_papers_formula():
    T, cut_frac, ratio, top = 100, 0.1, 32, 0.7
    cut = math.floor(T * cut_frac)
    expected = []
    for t in range(1, T + 1):
        p = t / cut if t < cut else 1 - (t - cut) / (cut * (1 / cut_frac - 1))
        expected.append(top * (1 + p * (ratio - 1)) / ratio)
    assert_allclose(values(slanted_triangular(top, T), T), expected, rtol=1e-12)


@pytest.mark.parametrize("options", [{}, {"cut_frac": 0.0}, {"cut_frac": 1.0}, {"ratio": 4}])
@pytest.mark.parametrize("num_steps", [0, 1, 5, 20, 33])
def test_slanted_triangular_stays_between_its_ends(num_steps, options):
    ratio = options.get("ratio", 32)
    drawn = values(slanted_triangular(0.5, num_steps, **options), 3 * num_steps + 3)
    assert max(drawn) == pytest.approx(0.5)
    assert min(drawn) >= 0.5 / ratio - 1e-12
    assert drawn[-1] == pytest.approx(0.5 / ratio)


def test_slanted_triangular_ignores_decay():
    assert values(slanted_triangular(0.1, 20, decay=0.5), 9) == values(
        slanted_triangular(0.1, 20), 9
    )


def test_cyclic_triangular():
    drawn = values(cyclic_triangular(0.0, 1.0, 2), 8)
    assert_allclose(drawn, [0.5, 1.0, 0.5, 0.0, 0.5, 1.0, 0.5, 0.0], atol=1e-15)
    with pytest.raises(ValueError, match="period must be positive, got 0"):
        cyclic_triangular(0.0, 1.0, 0)


# ---- constant_then ------------------------------------------------------------------


def test_constant_then_starts_the_other_schedule_at_its_own_beginning():
    schedule = constant_then(0.25, 2, decaying(1.0, 1.0))
    assert values(schedule, 4) == [0.25, 0.25, 1.0, 0.5]
    assert list(itertools.islice(schedule, 4)) == [0.25, 0.25, 1.0, 0.5]


@pytest.mark.parametrize("make_inner", [list, iter, lambda v: (x for x in v)])
def test_constant_then_ends_where_a_finite_inner_one_ends(make_inner):
    assert list(constant_then(9, 2, make_inner([1, 2]))) == [9, 9, 1, 2]
    assert list(constant_then(9, 2, make_inner([1, 2])).to_generator(1)) == [9, 1, 2]
    nested = constant_then(8, 1, constant_then(9, 1, make_inner([1])))
    assert list(nested) == [8, 9, 1]


def test_calling_past_the_end_says_so():
    with pytest.raises(EndOfSchedule, match="has 2 values, none for step 3"):
        constant_then(9, 2, [1, 2])(5)
    with pytest.raises(IndexError, match="has 2 values, none for step 3"):
        constant_then(9, 2, iter([1, 2]))(5)


def test_an_iterator_cannot_go_back():
    schedule = constant_then(9, 2, itertools.count())
    assert schedule(5) == 3
    assert schedule(5) == 3
    with pytest.raises(ValueError, match="Step 1 was asked for after step 3"):
        schedule(3)


def test_constant_then_refuses_what_is_no_schedule():
    with pytest.raises(TypeError, match="Expected a Schedule, a list or an iterator, got .*str"):
        constant_then(0.1, 2, "decaying")


# ---- plateau ------------------------------------------------------------------------


def test_plateau_scales_after_max_patience_evaluations_without_a_best():
    scores = [None, (1, 1), (2, 1), None, (4, 1), (4, 1), (6, 0.9), (7, 2), (8, 1), (9, 2)]
    schedule = plateau(2, 0.5, constant(1))
    drawn = [schedule(step, last_score=score) for step, score in enumerate(scores)]
    assert drawn == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25]


def test_plateau_waits_anew_after_each_scaling():
    schedule = plateau(2, 0.5, constant(1))
    drawn = [schedule(step, last_score=(step, -step)) for step in range(6)]
    assert drawn == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_plateau_scales_the_schedule_inside():
    schedule = plateau(1, 0.1, decaying(1.0, 1.0))
    schedule(0, last_score=(0, 5.0))
    assert schedule(1, last_score=(1, 4.0)) == pytest.approx(0.1 / 2)


@pytest.mark.parametrize("score", [0.1, 99.0])
def test_plateau_refuses_older_scores_even_better_ones(score):
    schedule = plateau(2, 0.5, constant(1))
    schedule(0, last_score=(5, 1.0))
    with pytest.raises(ValueError, match="Expected score with step >= 5, was: 3"):
        schedule(1, last_score=(3, score))
    assert schedule.attrs["state"].best_score == 1.0
    assert schedule.attrs["state"].last_score_step == 5


def test_plateau_passes_the_extras_on():
    inner = Schedule("count", count_up, attrs={"first": 0})
    outer = plateau(1, 0.5, constant_then(7, 1, Schedule("last", last_score_of)))
    assert outer(1, last_score=(0, 3.0)) == 3.0
    assert constant_then(7, 1, inner)(3, by=10) == 20


def last_score_of(schedule, step, *, last_score):
    return last_score[1]
