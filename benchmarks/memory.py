"""Whether predicting leaks: the process's memory over a million calls.

    python -m benchmarks.memory --full

Goal: a slope of 0, that is less than one page (4096 bytes) over the second half.
"""
import sys
from typing import List, Tuple

from .duel import Worker
from .options import Options, parse

CALLS, STEPS = 1_000_000, 20
PAGE = 4096


def resident_kilobytes(worker: Worker, calls: int) -> List[Tuple[int, float]]:
    """(calls made, kilobytes resident) before and after each of STEPS series."""
    work = "workloads.leaks:predicting"
    worker.ask("build", work)
    points = []
    for step in range(STEPS + 1):
        points.append((step * calls // STEPS, worker.ask("resident")))
        if step < STEPS:
            worker.ask("time", work, calls // STEPS)
    return points


def show(options: Options, calls: int = CALLS) -> bool:
    with Worker("ours", sys.executable) as worker:
        points = resident_kilobytes(worker, calls)
    half = points[len(points) // 2 :]
    growth = 1024 * (half[-1][1] - half[0][1])
    good = growth < PAGE
    print(
        f"{calls:,} predict calls: {points[0][1]:.0f} KB resident before, {points[-1][1]:.0f} "
        f"after; {growth:.0f} bytes more over the second half ({'goal' if good else 'MISSED'} 0)"
    )
    return good


if __name__ == "__main__":
    sys.exit(0 if show(parse(__doc__)) else 1)
