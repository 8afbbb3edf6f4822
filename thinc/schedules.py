"""Schedules: numbers that change with the training step.

A Schedule is called with a step, and it can also be drawn from: `schedule(3)` is the
value at step 3, `next(schedule)` gives the values of steps 0, 1, 2, ... in turn.
"""

import math
from dataclasses import dataclass
from typing import (
    Any,
    Callable,
    Dict,
    Generator,
    Iterator,
    List,
    Mapping,
    Optional,
    Tuple,
    TypeVar,
    Union,
)

from .registration import registry

__all__ = [
    "EndOfSchedule",
    "Schedule",
    "compounding",
    "constant",
    "constant_then",
    "cyclic_triangular",
    "decaying",
    "plateau",
    "slanted_triangular",
    "warmup_linear",
]

ValueT = TypeVar("ValueT")


class EndOfSchedule(IndexError):
    """A schedule made of finitely many values was asked for one after its last."""


class Schedule(Iterator[ValueT]):
    """A value for each training step, as a function and as an iterator.

    name: what the schedule is called.
    schedule: called as schedule(self, step, **extra), returns the value. Use a function
        of a module, not a closure, if the Schedule is to be pickled.
    attrs: arguments for that function, kept in a new dict.
    """

    __slots__ = ("name", "_schedule", "_attrs", "_drawn")

    def __init__(
        self, name: str, schedule: Callable[..., ValueT], *, attrs: Mapping[str, Any] = {}
    ) -> None:
        self.name = name
        self._schedule = schedule
        self._attrs = dict(attrs)
        self._drawn = 0

    @property
    def attrs(self) -> Dict[str, Any]:
        """The arguments, by name: the dict itself, not a copy."""
        return self._attrs

    def __call__(self, step: int, **extra: Any) -> ValueT:
        """The value at a step, 0 or later.

        extra: more that a schedule may depend on; optimizers pass `key`, the parameter's
            key, and `last_score`, None or (step, score). Built-in schedules ignore what
            they do not know.
        Raises ValueError for a negative step, EndOfSchedule (an IndexError) if the values
        came from a finite list or iterator and the step lies after its end.
        """
        if step < 0:
            raise ValueError(f"Step must be non-negative, was: {step}")
        return self._schedule(self, step, **extra)

    def __next__(self) -> ValueT:
        try:
            value = self(self._drawn)
        except EndOfSchedule:
            raise StopIteration from None
        self._drawn += 1
        return value

    def to_generator(
        self, start: int = 0, step_size: int = 1, **extra: Any
    ) -> Generator[ValueT, None, None]:
        """Generate the values at steps start, start + step_size, ...

        extra is passed to each call. A step_size of 0 repeats one step. The schedule's own
        iteration is not advanced. Raises ValueError if start or step_size is negative.
        """
        if start < 0:
            raise ValueError(f"Schedule start must be non-negative, was: {start}")
        if step_size < 0:
            raise ValueError(f"Step size must be non-negative, was: {step_size}")
        return _generate(self, start, step_size, extra)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self._attrs.items())
        return f"<Schedule {self.name}({arguments})>"


def _generate(
    schedule: Schedule[ValueT], step: int, step_size: int, extra: Dict[str, Any]
) -> Generator[ValueT, None, None]:
    while True:
        try:
            value = schedule(step, **extra)
        except EndOfSchedule:
            return
        yield value
        step += step_size


# What constant_then and plateau accept as the schedule inside them.
ScheduleSource = Union[Schedule, List[float], Iterator[float]]


def as_schedule(source: Any, name: str = "values") -> Schedule:
    """A Schedule as it is; a list or an iterator as a Schedule of its items.

    Raises TypeError for anything else.
    """
    if isinstance(source, Schedule):
        return source
    if isinstance(source, list):
        return Schedule(name, _list_schedule, attrs={"values": list(source)})
    if hasattr(source, "__next__"):
        return Schedule(name, _iterator_schedule, attrs={"source": ItemsInTurn(source)})
    raise TypeError(f"Expected a Schedule, a list or an iterator, got {type(source)}.")


def _list_schedule(schedule: Schedule, step: int, **_: Any) -> Any:
    values = schedule.attrs["values"]
    if step >= len(values):
        raise EndOfSchedule(f"The schedule has {len(values)} values, none for step {step}.")
    return values[step]


def _iterator_schedule(schedule: Schedule, step: int, **_: Any) -> Any:
    return schedule.attrs["source"][step]


class ItemsInTurn:
    """Items of an iterator by position, drawn when needed; only the newest is kept."""

    __slots__ = ("iterator", "position", "item")

    def __init__(self, iterator: Iterator) -> None:
        self.iterator = iterator
        self.position = -1
        self.item: Any = None

    def __getitem__(self, position: int) -> Any:
        """Raises EndOfSchedule after the last item, ValueError for one already dropped."""
        if position < self.position:
            raise ValueError(
                f"Step {position} was asked for after step {self.position}, but an iterator "
                f"cannot go back."
            )
        while self.position < position:
            try:
                self.item = next(self.iterator)
            except StopIteration:
                raise EndOfSchedule(
                    f"The schedule has {self.position + 1} values, none for step {position}."
                ) from None
            self.position += 1
        return self.item


# ---- one value, or one after another ------------------------------------------------


@registry.schedules("constant.v1")
def constant(rate: float) -> Schedule[float]:
    """The same rate at every step."""
    return Schedule("constant", constant_schedule, attrs={"rate": rate})


def constant_schedule(schedule: Schedule, step: int, **_: Any) -> float:
    return schedule.attrs["rate"]


@registry.schedules("constant_then.v1")
def constant_then(rate: float, steps: int, schedule: ScheduleSource) -> Schedule[float]:
    """rate for the first `steps` steps, then another schedule from its own start.

    schedule: a Schedule, a list or an iterator. Its value at 0 is used at step `steps`.
        If it is finite, so is the result.
    Raises TypeError if schedule is none of these.
    """
    return Schedule(
        "constant_then",
        _constant_then_schedule,
        attrs={"rate": rate, "steps": steps, "schedule": as_schedule(schedule)},
    )


def _constant_then_schedule(schedule: Schedule, step: int, **extra: Any) -> float:
    attrs = schedule.attrs
    if step < attrs["steps"]:
        return attrs["rate"]
    return attrs["schedule"](step - attrs["steps"], **extra)


# ---- decay and growth ---------------------------------------------------------------


@registry.schedules("decaying.v1")
def decaying(base_rate: float, decay: float, *, t: float = 0.0) -> Schedule[float]:
    """base_rate / (1 + decay (step + t))."""
    return Schedule(
        "decaying", _decaying_schedule, attrs={"base_rate": base_rate, "decay": decay, "t": t}
    )


def _decaying_schedule(schedule: Schedule, step: int, **_: Any) -> float:
    attrs = schedule.attrs
    return attrs["base_rate"] * (1.0 / (1.0 + attrs["decay"] * (step + attrs["t"])))


@registry.schedules("compounding.v1")
def compounding(start: float, stop: float, compound: float, *, t: float = 0.0) -> Schedule[float]:
    """start * compound ** (step + t), not beyond stop.

    stop bounds the value from above if start <= stop, otherwise from below.
    """
    return Schedule(
        "compounding",
        _compounding_schedule,
        attrs={"start": start, "stop": stop, "compound": compound, "t": t},
    )


def _compounding_schedule(schedule: Schedule, step: int, **_: Any) -> float:
    attrs = schedule.attrs
    start, stop = attrs["start"], attrs["stop"]
    try:
        value = float(start * attrs["compound"] ** (step + attrs["t"]))
    except OverflowError:
        value = math.copysign(math.inf, start) if start else 0.0
    return min(value, stop) if start <= stop else max(value, stop)


# ---- triangles ----------------------------------------------------------------------


@registry.schedules("warmup_linear.v1")
def warmup_linear(initial_rate: float, warmup_steps: int, total_steps: int) -> Schedule[float]:
    """From 0 up to initial_rate in warmup_steps, then down to 0 at total_steps, linearly."""
    return Schedule(
        "warmup_linear",
        _warmup_linear_schedule,
        attrs={
            "initial_rate": initial_rate,
            "warmup_steps": warmup_steps,
            "total_steps": total_steps,
        },
    )


def _warmup_linear_schedule(schedule: Schedule, step: int, **_: Any) -> float:
    attrs = schedule.attrs
    warmup, total = attrs["warmup_steps"], attrs["total_steps"]
    if step < warmup:
        factor = step / max(1, warmup)
    else:
        factor = max(0.0, (total - step) / max(1.0, total - warmup))
    return factor * attrs["initial_rate"]


@registry.schedules("slanted_triangular.v1")
def slanted_triangular(
    max_rate: float,
    num_steps: int,
    *,
    cut_frac: float = 0.1,
    ratio: int = 32,
    decay: float = 1.0,
    t: float = 0.0,
) -> Schedule[float]:
    """A short steep rise to max_rate, then a long slow decline, after ULMFiT.

    The rise takes int(num_steps * cut_frac) steps, but at least one; max_rate / ratio is
    the value at the ends and after num_steps. t: steps already made. decay: accepted
    and ignored. Howard and Ruder (2018), arXiv:1801.06146, section 3.2.
    """
    cut = int(num_steps * cut_frac)
    if cut < 1:
        cut, cut_frac = 1, 1 / max(1, num_steps)
    return Schedule(
        "slanted_triangular",
        _slanted_triangular_schedule,
        attrs={"max_rate": max_rate, "cut": cut, "cut_frac": cut_frac, "ratio": ratio, "t": t},
    )


def _slanted_triangular_schedule(schedule: Schedule, step: int, **_: Any) -> float:
    attrs = schedule.attrs
    cut, ratio = attrs["cut"], attrs["ratio"]
    t = step + attrs["t"] + 1.0
    if t <= cut:
        height = t / cut
    else:
        decline = cut * (1 / attrs["cut_frac"] - 1)
        height = max(0.0, 1.0 - (t - cut) / decline) if decline > 0 else 0.0
    return attrs["max_rate"] * (1.0 + height * (ratio - 1)) / ratio


@registry.schedules("cyclic_triangular.v1")
def cyclic_triangular(min_lr: float, max_lr: float, period: int) -> Schedule[float]:
    """Up from min_lr to max_lr in `period` steps, down again in as many, and so on.

    The value at step period - 1 is max_lr. Raises ValueError if period is not positive.
    Smith (2017), arXiv:1506.01186.
    """
    if period <= 0:
        raise ValueError(f"cyclic_triangular: period must be positive, got {period}.")
    return Schedule(
        "cyclic_triangular",
        _cyclic_triangular_schedule,
        attrs={"min_lr": min_lr, "max_lr": max_lr, "period": period},
    )


def _cyclic_triangular_schedule(schedule: Schedule, step: int, **_: Any) -> float:
    attrs = schedule.attrs
    low, high, period = attrs["min_lr"], attrs["max_lr"], attrs["period"]
    position = step + 1
    cycle = math.floor(1 + position / (2 * period))
    distance = abs(position / period - 2 * cycle + 1)
    return low + (high - low) * max(0.0, 1.0 - distance)


# ---- reacting to scores -------------------------------------------------------------


@dataclass
class PlateauState:
    """What plateau remembers between calls."""

    best_score: Optional[float] = None
    last_score_step: Optional[int] = None
    patience: int = 0  # evaluations since the best one, or since the last scaling
    n: int = 0  # how often the rate was scaled

    def observe(self, step: int, score: float, max_patience: int) -> None:
        """Take note of the score measured at a step. One seen before changes nothing."""
        last = self.last_score_step
        if last is not None and step < last:
            raise ValueError(f"Expected score with step >= {last}, was: {step}")
        if self.best_score is None or score > self.best_score:
            self.best_score = score
            self.patience = 0
        elif last is None or step > last:
            self.patience += 1
            if self.patience == max_patience:
                self.n += 1
                self.patience = 0
        self.last_score_step = step


@registry.schedules("plateau.v1")
def plateau(max_patience: int, scale: float, schedule: ScheduleSource) -> Schedule[float]:
    """Another schedule, scaled once more each time the score stops improving.

    Call it as plateau(step, last_score=(score_step, score)); an optimizer does, once its
    last_score is set. After max_patience evaluations in a row without a new best score, the
    rate is multiplied by `scale` from then on. A call without last_score, or with one seen
    before, changes nothing. Raises ValueError if score_step is smaller than the one before.
    """
    return Schedule(
        "plateau",
        _plateau_schedule,
        attrs={
            "scale": scale,
            "max_patience": max_patience,
            "schedule": as_schedule(schedule),
            "state": PlateauState(),
        },
    )


def _plateau_schedule(
    schedule: Schedule,
    step: int,
    *,
    last_score: Optional[Tuple[int, float]] = None,
    **extra: Any,
) -> float:
    attrs = schedule.attrs
    state: PlateauState = attrs["state"]
    if last_score is not None:
        state.observe(*last_score, attrs["max_patience"])
    return attrs["scale"] ** state.n * attrs["schedule"](step, last_score=last_score, **extra)
