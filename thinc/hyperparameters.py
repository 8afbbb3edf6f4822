"""Numbers of an optimizer that may follow a schedule.

Hyperparameter holds one: its source and its current value. ScheduledNumber is what
reading one gives: a float, that can also be called as a schedule.
"""

import inspect
from numbers import Real
from typing import Any, Callable, Dict, Iterator, List, Optional, Union

from .schedules import EndOfSchedule, ItemsInTurn, Schedule, constant, constant_schedule

# What a hyperparameter can be set to; other callables are accepted, too.
HyperparameterSource = Union[float, List[float], Iterator[float], Schedule]


class ScheduledNumber(float):
    """The current value of a hyperparameter: a float, callable as the schedule behind it."""

    __slots__ = ("_source",)
    _source: Schedule

    def __new__(cls, value: float, source: Schedule) -> "ScheduledNumber":
        number = super().__new__(cls, value)
        number._source = source
        return number

    def __call__(self, step: int, **extra: Any) -> float:
        """The value at a step. See Schedule."""
        return self._source(step, **extra)

    @property
    def name(self) -> str:
        return self._source.name

    @property
    def attrs(self) -> Dict[str, Any]:
        return self._source.attrs

    def to_generator(self, start: int = 0, step_size: int = 1, **extra: Any) -> Iterator[float]:
        """The values at steps start, start + step_size, ... See Schedule."""
        return self._source.to_generator(start, step_size, **extra)

    def __reduce__(self):
        return ScheduledNumber, (float(self), self._source)


class Hyperparameter:
    """One number of an optimizer, by itself or following a source.

    name: the attribute of the optimizer, for error messages.
    """

    __slots__ = ("name", "source", "number", "overridden", "_evaluate")
    source: Any  # None for a plain number
    number: float  # the value, as far as it is known

    def __init__(self, name: str, value: Any) -> None:
        self.name = name
        self.source = None
        self.number = 0.0
        self.overridden = False
        self._evaluate: Callable[..., float] = constant_schedule
        self.set(value)

    def set(self, value: Any) -> None:
        """Follow a number, list, iterator, Schedule or other callable from now on.

        A number given while there is a source counts only until `resume`.
        Raises ValueError for anything else, and for an empty list or iterator.
        """
        if isinstance(value, Real):
            self.number = float(value)
            self.overridden = self.source is not None
            return
        if isinstance(value, list) or hasattr(value, "__next__"):
            if not isinstance(value, Schedule):
                value = wrap_items(self.name, value)
            self._evaluate = value
        elif callable(value):
            self._evaluate = adapt(value)
        else:
            raise ValueError(
                f"Invalid schedule for '{self.name}' ({type(value)})\n"
                f"Expected a number, a list, an iterator or a Schedule, got {value!r}."
            )
        self.source = value
        self.overridden = False
        if _is_constant(value):
            self.number = float(value(0))

    @property
    def is_constant(self) -> bool:
        """Whether the number stays as it is until set or resume are called."""
        return self.source is None or self.overridden or _is_constant(self.source)

    def resume(self) -> None:
        """Forget a number that was set in the place of the source."""
        if self.overridden:
            self.set(self.source)

    def at(self, step: int, key: Any, last_score: Any) -> float:
        """The value at a step. A source that has ended gives its last value."""
        if not self.overridden and self.source is not None:
            try:
                self.number = float(self._evaluate(step, key=key, last_score=last_score))
            except EndOfSchedule:
                pass
        return self.number

    def read(self, step: int, last_score: Any) -> Any:
        """What the optimizer's attribute gives: a ScheduledNumber, or the callable set."""
        number = self.at(step, None, last_score) if isinstance(self.source, Schedule) else None
        if self.source is None or self.overridden:
            return ScheduledNumber(self.number, constant(self.number))
        if number is None:
            return self.source
        return ScheduledNumber(number, self.source)


def _is_constant(source: Any) -> bool:
    return isinstance(source, Schedule) and source._schedule is constant_schedule


# ---- sources that are no Schedule ---------------------------------------------------


def wrap_items(attr_name: str, items: Any) -> Schedule:
    """A Schedule whose value at step s is item s of a list or iterator, then the last one.

    attr_name: for messages. A list can be read in any order; from an iterator items are
    drawn when first needed, and a smaller step than the one before is a ValueError.
    Raises ValueError if there are no items.
    """
    source = items if isinstance(items, list) else ItemsInTurn(iter(items))
    try:
        source[0]
    except IndexError as error:
        raise ValueError(
            f"Invalid schedule for '{attr_name}' ({type(items)})\nIt has no values."
        ) from error
    if isinstance(items, list):
        return Schedule("wrap_generator", _item_or_last, attrs={"values": list(items)})
    attrs = {"attr_name": attr_name, "source": source}
    return Schedule("wrap_generator", _item_in_turn_or_last, attrs=attrs)


def _item_or_last(schedule: Schedule, step: int, **_: Any) -> float:
    values = schedule.attrs["values"]
    return values[min(step, len(values) - 1)]


def _item_in_turn_or_last(schedule: Schedule, step: int, **_: Any) -> float:
    source: ItemsInTurn = schedule.attrs["source"]
    if step < source.position:
        raise ValueError(
            f"'step' of the generator-based schedule for {schedule.attrs['attr_name']} must not "
            f"decrease: got {step} after {source.position}"
        )
    try:
        return source[step]
    except EndOfSchedule:
        return source.item


class adapt:
    """Call a function with as much of (step, key=, last_score=) as it takes."""

    __slots__ = ("function", "step_by_name", "names")

    def __init__(self, function: Callable) -> None:
        self.function = function
        self.step_by_name = False
        self.names: Optional[List[str]] = []
        try:
            parameters = inspect.signature(function).parameters
        except (TypeError, ValueError):
            return
        step = parameters.get("step")
        self.step_by_name = step is not None and step.kind is step.KEYWORD_ONLY
        self.names = [name for name in ("key", "last_score") if name in parameters]
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            self.names = None  # all of them

    def __call__(self, step: int, **extra: Any) -> float:
        if self.names is not None:
            extra = {name: extra[name] for name in self.names}
        if self.step_by_name:
            return self.function(step=step, **extra)
        return self.function(step, **extra)
