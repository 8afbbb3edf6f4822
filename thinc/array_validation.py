"""Checking arrays against annotations such as Floats2d."""

import sys
from typing import Any, Callable, Iterator, Optional

import numpy

# What a dtype code in an annotation accepts: the dtypes that weights and ids have.
ACCEPTED_DTYPES = {
    "f": ("float32",),
    "i": ("int32", "int64", "uint32", "uint64"),
}


def is_array(obj: Any) -> bool:
    """Whether obj is a numpy or cupy array (without importing cupy)."""
    if isinstance(obj, numpy.ndarray):
        return True
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(obj, getattr(cupy, "ndarray", ()))


def validate_array(obj: Any, ndim: Optional[int] = None, dtype: Optional[str] = None) -> Any:
    """obj, if it is an array with ndim dimensions and a dtype of the kind.

    dtype: "f" (float32), "i" (int32, int64, uint32, uint64), or None for any.
    Raises ValueError that names everything that is wrong.
    """
    if not is_array(obj):
        raise ValueError(f"not a valid numpy or cupy array (got {type(obj)})")
    problems = []
    if ndim is not None and obj.ndim != ndim:
        problems.append(f"wrong array dimensions (expected {ndim}, got {obj.ndim})")
    if dtype is not None:
        accepted = ACCEPTED_DTYPES.get(dtype, ())
        if str(obj.dtype) not in accepted:
            expected = "/".join(accepted) or dtype
            problems.append(f"wrong array data type (expected {expected}, got {obj.dtype})")
    if problems:
        raise ValueError(", ".join(problems))
    return obj


class ValidatedArray:
    """Base of the array annotations: tells validation libraries what to check.

    Subclasses set _ndim and _dtype. Nothing is ever an instance of them.
    """

    _ndim: Optional[int] = None
    _dtype: Optional[str] = None

    @classmethod
    def _validate(cls, obj: Any) -> Any:
        return validate_array(obj, ndim=cls._ndim, dtype=cls._dtype)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any = None, handler: Any = None) -> Any:
        """The hook of pydantic 2 (and of confection's own checker)."""
        return {
            "type": "function-plain",
            "function": {"type": "no-info", "function": cls._validate},
        }

    @classmethod
    def __get_validators__(cls) -> Iterator[Callable[[Any], Any]]:
        """The hook of pydantic 1."""
        yield cls._validate
