"""Each single operation of Ops against the peer's.

    python -m benchmarks.single_ops [--quick] [--peer PYTHON] [--only WORD] [--all]

Goals: no operation slower than the peer's, and a geometric mean of the ratios of at
most 0.35. Without --all the table has only the rows above 0.35.
"""
import statistics
import sys
from typing import Dict, List, NamedTuple, Optional, Set

from .duel import Side, Worker, WorkerError, compare, geometric_mean, median_ratio, take_turns
from .options import Options, parse

GOAL_EACH = 1.0
GOAL_MEAN = 0.35
EVEN = 1.05  # two runs of one and the same function differ by up to this
RTOL, ATOL = 1e-3, 2e-5

# Where the two releases do not compute the same, and why.
DIFFERENT: Dict[str, str] = {}


class Row(NamedTuple):
    case: str
    ours: float
    theirs: float
    ratio: float
    difference: Optional[str]  # in what the two compute

    @property
    def method(self) -> str:
        return self.case.split(" | ")[0]

    def shown(self) -> str:
        method, _, size = self.case.partition(" | ")
        marks = [] if self.ratio <= GOAL_EACH else ["even" if self.ratio <= EVEN else "SLOWER"]
        if self.difference:
            marks.append(DIFFERENT.get(method) or f"DIFFERS: {self.difference}")
        return (
            f"| {method} | {size} | {1e6 * self.ours:.2f} | {1e6 * self.theirs:.2f} "
            f"| {self.ratio:.2f} | {'; '.join(marks)} |"
        )


def measure(worker: Worker, peer: Worker, case: str, rounds: int, min_seconds: float) -> Row:
    work = f"ops_cases:{case}"
    difference = compare(worker.result(work), peer.result(work), RTOL, ATOL)
    ours, theirs = take_turns([Side(worker, work), Side(peer, work)], rounds, min_seconds)
    for side in (worker, peer):
        side.ask("drop", work)
    ratio = median_ratio(ours, theirs)
    return Row(case, statistics.median(ours), statistics.median(theirs), ratio, difference)


def mean_over_methods(rows: List[Row]) -> float:
    """Geometric mean over methods of the geometric mean over each method's sizes."""
    ratios: Dict[str, List[float]] = {}
    for row in rows:
        ratios.setdefault(row.method, []).append(row.ratio)
    return geometric_mean([geometric_mean(values) for values in ratios.values()])


def show(options: Options) -> bool:
    """Print the table and which goals are met; whether all ran and computed the same."""
    rounds, seconds = (5, 0.001) if options.quick else (15, 0.004)
    rows: List[Row] = []
    failed: List[str] = []
    with (
        Worker("ours", sys.executable, options.env) as worker,
        Worker("thinc 8.3.14", options.peer, options.env) as peer,
    ):
        cases = [case for case in worker.ask("cases", "ops_cases") if options.only in case]
        overhead: Set[str] = set(worker.ask("cases", "ops_cases:OVERHEAD"))
        print("| method | size | ours, us | thinc 8.3.14, us | ratio | |")
        print("| --- | --- | --- | --- | --- | --- |")
        for case in cases:
            try:
                row = measure(worker, peer, case, rounds, seconds)
            except WorkerError as error:
                failed.append(f"FAILED {str(error).splitlines()[0]}")
                continue
            rows.append(row)
            if options.all or row.ratio > GOAL_MEAN or row.difference:
                print(row.shown(), flush=True)
    print("\n" + "\n".join(failed))
    return summary(rows, overhead) and not failed


def summary(rows: List[Row], overhead: Set[str]) -> bool:
    computing = [row for row in rows if row.case not in overhead]
    arrays = [row for row in rows if row.case in overhead]
    slower = [f"{row.case} ({row.ratio:.2f})" for row in rows if row.ratio > EVEN]
    wrong = [row.case for row in rows if row.difference and row.method not in DIFFERENT]
    mean = 0.0
    for name, group in (("that compute", computing), ("that make or rename arrays", arrays)):
        if group:
            mean_now = mean_over_methods(group)
            mean = mean or mean_now
            print(
                f"\n{len({row.method for row in group})} methods {name}, {len(group)} cases: "
                f"geometric mean {mean_now:.3f} over methods, "
                f"{geometric_mean([row.ratio for row in group]):.3f} over cases, "
                f"{sum(row.ratio > GOAL_EACH for row in group)} above {GOAL_EACH:.1f}, of which "
                f"{sum(row.ratio > EVEN for row in group)} above {EVEN}"
            )
    print(
        f"Goals: geometric mean {GOAL_MEAN} {'met' if mean <= GOAL_MEAN else 'MISSED'}; each "
        f"{GOAL_EACH} (as far as can be measured, {EVEN}) "
        + ("MISSED by " + ", ".join(slower) if slower else "met")
    )
    if wrong:
        print(f"DIFFERENT RESULTS: {', '.join(wrong)}")
    return not wrong


def main() -> None:
    sys.exit(0 if show(parse(__doc__)) else 1)


if __name__ == "__main__":
    main()
