"""Checking a model's sample data against the annotations of its forward function."""

import contextlib
import inspect
import sys
import typing
from contextvars import ContextVar
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

from .array_validation import ValidatedArray

# Of a list, so many items are looked at.
SAMPLE_ITEMS = 5
MESSAGE_LENGTH = 200

DATA_VALIDATION: ContextVar[bool] = ContextVar("DATA_VALIDATION", default=False)


@contextlib.contextmanager
def data_validation(validation: bool) -> Iterator[None]:
    """Inside the `with` block, Model.initialize checks its samples, or does not."""
    token = DATA_VALIDATION.set(validation)
    try:
        yield
    finally:
        DATA_VALIDATION.reset(token)


class DataValidationError(ValueError):
    """A layer's sample data do not fit its annotations.

    errors: dicts with "msg" and, where there is one, "loc": a sequence of names.
    """

    def __init__(self, name: str, X: Any, Y: Any, errors: Sequence[Dict[str, Any]] = ()) -> None:
        self.name = name
        self.errors = list(errors)
        rows = [(" -> ".join(map(str, error.get("loc", ()))), error["msg"]) for error in errors]
        width = max((len(place) for place, _ in rows), default=0)
        lines = [f"Data validation error in '{name}'", f"X: {type(X)} Y: {type(Y)}"]
        lines += [f"{place:<{width}}   {problem}".strip() for place, problem in rows]
        super().__init__("\n\n" + "\n".join(lines))


def validate_fwd_input_output(name: str, func: Callable[..., Any], X: Any, Y: Any) -> None:
    """Check samples X and Y against the annotations of a model's forward function.

    Raises DataValidationError if they do not fit, or if func does not take
    (model, X, is_train). Samples that are None are not checked.
    """
    params = [p for p in inspect.signature(func).parameters.values() if p.kind != p.VAR_KEYWORD]
    if len(params) != 3:
        names = ", ".join(p.name for p in params)
        problem = (
            "Invalid forward function. Expected 3 arguments (model, X, is_train), "
            f"got {len(params)} ({names})"
        )
        raise DataValidationError(name, X, Y, [{"msg": problem}])
    hints = _type_hints(func)
    errors = _problems("X", X, hints.get(params[1].name))
    errors += _problems("Y", Y, _output_type(hints.get("return")))
    if errors:
        raise DataValidationError(name, X, Y, errors)


def _problems(label: str, sample: Any, annotation: Any) -> List[Dict[str, Any]]:
    # confection is slow to import, and only needed here.
    from confection.validation import validate_type

    if sample is None or annotation is None or annotation is inspect.Parameter.empty:
        return []
    if isinstance(sample, list):
        sample = sample[:SAMPLE_ITEMS]
    annotation = _without_typevars(annotation)
    problem = validate_type(sample, annotation)
    if problem is None:
        return []
    if isinstance(annotation, type) and issubclass(annotation, ValidatedArray):
        try:
            annotation._validate(sample)
        except ValueError as error:
            problem = str(error)
    return [{"loc": (label,), "msg": _one_line(problem)}]


def _without_typevars(annotation: Any) -> Any:
    """The annotation with each type variable replaced by what it may stand for."""
    if isinstance(annotation, typing.TypeVar):
        if annotation.__constraints__:
            return typing.Union[annotation.__constraints__]
        return annotation.__bound__ if annotation.__bound__ is not None else Any
    variables = getattr(annotation, "__parameters__", ())
    if variables and typing.get_args(annotation):
        return annotation[tuple(_without_typevars(variable) for variable in variables)]
    return annotation


def _one_line(text: str) -> str:
    """The text without line breaks, and without the middle if it is long: it may show data."""
    text = " ".join(text.split())
    half = MESSAGE_LENGTH // 2
    return text if len(text) <= MESSAGE_LENGTH else f"{text[:half]} ... {text[-half:]}"


def _output_type(annotation: Any) -> Optional[Any]:
    """What stands for Y in the annotation Tuple[Y, Callable]."""
    args = typing.get_args(annotation)
    return args[0] if typing.get_origin(annotation) is tuple and len(args) == 2 else None


def _type_hints(func: Callable[..., Any]) -> Dict[str, Any]:
    """Annotations with strings resolved in the function's module, as far as possible."""
    while hasattr(func, "__wrapped__"):
        func = func.__wrapped__
    module = sys.modules.get(getattr(func, "__module__", None) or "")
    annotations = getattr(func, "__annotations__", {})
    hints = {}
    for key, value in annotations.items():
        if isinstance(value, str):
            with contextlib.suppress(Exception):
                value = eval(value, dict(vars(module)) if module else {})
        if not isinstance(value, str):
            hints[key] = value
    return hints
