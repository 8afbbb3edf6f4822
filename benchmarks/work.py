"""What a worker runs: the function that is timed, and what it computes."""
from typing import Any, Callable, Dict, NamedTuple, Optional

import numpy


class Work(NamedTuple):
    """One piece of work of one side.

    run: does it once; this is what is timed.
    result: its numbers, a name for each array, to be compared with the other sides'
        before anything is timed. None: nothing can be compared (random masks).
    prepare: called, untimed, before every series of runs.
    max_repeat: the most runs in a row without another prepare.
    flops: of the matrix products in one run. moved: bytes one run must read and write.
    median_call: time calls one by one and take the median of them, not the mean.
    units: how many words (documents, rows...) one run handles.
    """

    run: Callable[[], Any]
    result: Optional[Callable[[], Dict[str, numpy.ndarray]]] = None
    prepare: Optional[Callable[[], Any]] = None
    max_repeat: int = 1_000_000
    flops: float = 0.0
    moved: float = 0.0
    median_call: bool = False
    units: float = 0.0


def named_arrays(value: Any, name: str = "result") -> Dict[str, numpy.ndarray]:
    """All arrays in a nest of tuples, lists and thinc's containers, named by their place."""
    if value is None:
        return {}
    if isinstance(value, (list, tuple)):
        parts = [named_arrays(part, f"{name}[{i}]") for i, part in enumerate(value)]
        return {key: array for part in parts for key, array in part.items()}
    for fields in (("data", "size_at_t", "lengths", "indices"), ("data", "lengths")):
        if all(hasattr(value, field) for field in fields) and not isinstance(value, numpy.ndarray):
            return named_arrays([getattr(value, field) for field in fields], name)
    return {name: numpy.array(value)}
