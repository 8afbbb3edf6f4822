"""Choice of the CPU kernels' instruction-set level, made once at import.

THINC_CPU_LEVEL=baseline|avx2|avx512|neon forces a level that the machine
supports; anything else is an ImportError that lists what there is.
"""
import contextlib
import os

cdef const KernelTable* chosen = NULL


cdef const KernelTable* kernels() noexcept nogil:
    return chosen


def available_levels():
    """Names of the levels that this build has and this machine can run, best last."""
    cdef int count = 0
    cdef const Level* every = levels(&count)
    return [every[i].name.decode("ascii") for i in range(count) if every[i].is_supported()]


def current_level():
    """Name of the level in use."""
    return chosen.level.decode("ascii")


def set_level(name):
    """Use the level of this name, in all threads.

    Raises ValueError if this build does not have it or this machine cannot run it.
    """
    global chosen
    cdef int count = 0
    cdef const Level* every = levels(&count)
    for i in range(count):
        if every[i].name.decode("ascii") == name and every[i].is_supported():
            chosen = every[i].table()
            return
    raise ValueError(
        f"No CPU kernels for level {name!r} on this machine. Available: {available_levels()}"
    )


@contextlib.contextmanager
def use_level(name):
    """Use a level inside a block. Not for concurrent use: the level is the process's."""
    before = current_level()
    set_level(name)
    try:
        yield
    finally:
        set_level(before)


def _choose_level():
    wanted = os.environ.get("THINC_CPU_LEVEL")
    levels = available_levels()
    try:
        # Negative indices are undefined here: wraparound is off.
        set_level(wanted or levels[len(levels) - 1])
    except ValueError as e:
        raise ImportError(f"THINC_CPU_LEVEL: {e}") from None


_choose_level()
