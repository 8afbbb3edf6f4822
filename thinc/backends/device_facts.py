"""What the host knows about arrays on a device, so that it need not wait to look at them.

Lengths of sequences, row numbers and labels mostly come from the host, or from our own
operations, which know their limits. What is known is kept here, by the array's identity,
for as long as the array lives. Copying the same array back to look at it would make the
host wait for everything that the device still has to do.

So the host's knowledge is as old as the array: a small array of integers that is changed in
place after it was used as lengths should be replaced by a new array instead.
"""

import contextlib
import functools
import weakref
from contextvars import ContextVar
from typing import Any, Dict, Iterator, NamedTuple, Optional, Tuple

import numpy

# Of larger arrays no copy is kept on the host, and, above the second, no limits.
LARGEST_COPY = 1 << 16
LARGEST_SCAN = 1 << 20

# True: always look at values on the device; None: if nobody knows them; False: never.
_checks: ContextVar[Optional[bool]] = ContextVar("gpu_checks", default=None)


class Facts(NamedTuple):
    """host: the array's content. limits: its smallest and its largest value, or less and more.

    offsets: for lengths, where each sequence starts and the last ends, on the device.
    lengths: for the rows that reduce_max has found, the lengths of its sequences.
    """

    host: Any = None
    limits: Optional[Tuple[float, float]] = None
    offsets: Any = None
    lengths: Any = None


_facts: Dict[int, Tuple[Any, Facts]] = {}
NOTHING = Facts()


def facts_of(array: Any) -> Facts:
    """What is known of this very array."""
    entry = _facts.get(id(array))
    return entry[1] if entry is not None and entry[0]() is array else NOTHING


def remember(array: Any, **known: Any) -> Any:
    """Add to what is known of an array. Returns the array."""
    key = id(array)
    entry = _facts.get(key)
    if entry is not None and entry[0]() is array:
        _facts[key] = (entry[0], entry[1]._replace(**known))
    else:
        reference = weakref.ref(array, functools.partial(_forget, key))
        _facts[key] = (reference, Facts(**known))
    return array


def _forget(key: int, reference: Any) -> None:
    entry = _facts.get(key)
    if entry is not None and entry[0] is reference:
        del _facts[key]


def remember_upload(array: Any, source: numpy.ndarray) -> Any:
    """An array on the device has been made from `source`. Returns the array."""
    if source.dtype.kind not in "iub" or array.dtype.kind not in "iub":
        return array
    if source.ndim == 1 and source.size <= LARGEST_COPY:
        return remember(array, host=source.astype(array.dtype))
    if 0 < source.size <= LARGEST_SCAN:
        return remember(array, limits=(int(source.min()), int(source.max())))
    return array


def limits_of(array: Any) -> Optional[Tuple[float, float]]:
    """Between which values all elements lie; None if nobody knows.

    The limits of the array that this one is a view of are limits, too.
    """
    for source in (array, getattr(array, "base", None)):
        known = NOTHING if source is None else facts_of(source)
        if known.limits is not None:
            return known.limits
        if known.host is not None and known.host.size:
            limits = (int(known.host.min()), int(known.host.max()))
            remember(source, limits=limits)
            return limits
    return None


def inherit_limits(array: Any, source: Any) -> Any:
    """All elements of array are some of source. Returns array."""
    limits = limits_of(source)
    return array if limits is None else remember(array, limits=limits)


# ---- checks --------------------------------------------------------------------------------


def set_gpu_checks(checks: Optional[bool]) -> None:
    """Whether values that are on the GPU already are checked, in this context.

    None (the default): the operations of Ops check indices as they do on the CPU, which
        makes the host wait only for arrays whose limits it does not know; losses do not
        check values that only the device knows.
    True: everything is checked as on the CPU, and the host waits. For finding mistakes.
    False: nothing is checked that only the device knows. Kernels follow no index outside
        its table, whatever this says: it counts as if it were not there.
    """
    if checks not in (None, True, False):
        raise ValueError(f"set_gpu_checks expects True, False or None, got {checks!r}.")
    _checks.set(checks)


def gpu_checks() -> Optional[bool]:
    """What set_gpu_checks has set."""
    return _checks.get()


@contextlib.contextmanager
def without_checks() -> Iterator[None]:
    """No checks of values inside the block: nothing may wait while a graph is captured."""
    token = _checks.set(False)
    try:
        yield
    finally:
        _checks.reset(token)
