"""Two threads predicting with one model at once, against one thread.

    python -m benchmarks.threads [--quick]

Goal: at least 1.8 times the words a second, on two free cores.
"""
import os
import sys

from .duel import Side, Worker, median_ratio, take_turns
from .options import Options, parse

GOAL = 1.8


def show(options: Options) -> bool:
    rounds = 5 if options.quick else 15
    with (
        Worker("one thread", sys.executable) as first,
        Worker("two threads", sys.executable) as second,
    ):
        sides = [Side(first, "workloads.threads:one"), Side(second, "workloads.threads:two")]
        one, two = take_turns(sides, rounds, options.seconds)
    speedup = 2 * median_ratio(one, two)
    best = 2 * min(one) / min(two)
    print(
        f"Two threads predicting with one tagger: {speedup:.2f} times the words a second of one "
        f"({best:.2f} in the best rounds; {'goal' if speedup >= GOAL else 'MISSED'} {GOAL}); "
        f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} "
        f"cores, load {os.getloadavg()[0]:.1f}"
    )
    return True


if __name__ == "__main__":
    show(parse(__doc__))
