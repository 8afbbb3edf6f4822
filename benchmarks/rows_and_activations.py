"""Activations, softmax, maxout and layer normalization, both ways, against thinc 8.3.14
and PyTorch's own kernels, and as a share of what copying as many bytes would take.

    python -m benchmarks.rows_and_activations [--quick] [--peer PYTHON] [--only WORD]

Goals: geometric mean of ours / thinc's at most 0.3; none slower than PyTorch's.
"""
import statistics
import sys
from typing import Dict, List

from .duel import Side, Worker, WorkerError, compare, geometric_mean, median_ratio, take_turns
from .machine import Limits
from .options import Options, parse
from .programs import against

GOAL_THINC, GOAL_TORCH = 0.3, 1.0
RTOL, ATOL = 1e-3, 2e-5
HEAD = (
    "| operation | ours, us | thinc 8.3.14, us | ratio | PyTorch, us | ratio "
    "| % of copying |\n" + "| --- " * 7 + "|"
)


def show(options: Options) -> bool:
    """Print the table; whether all sides could be run and computed the same."""
    rounds, seconds = (5, 0.004) if options.quick else (15, 0.02)
    good = True
    ratios: Dict[str, List[float]] = {"thinc": [], "torch": []}
    print(HEAD)
    with (
        Limits(options.env) as limits,
        Worker("ours", sys.executable, options.env) as ours,
        Worker("thinc", options.peer, options.env) as thinc,
        Worker("torch", options.peer, options.env) as torch,
    ):
        for name in ours.ask("cases", "workloads.activations:NAMES"):
            if options.only not in name:
                continue
            sides = [
                Side(worker, f"workloads.activations:{library} {name}")
                for worker, library in ((ours, "thinc"), (thinc, "thinc"), (torch, "torch"))
            ]
            results = [side.worker.result(side.work) for side in sides]
            for side, theirs in zip(sides[1:], results[1:], strict=True):
                difference = compare(results[0], theirs, RTOL, ATOL)
                if difference:
                    good = False
                    print(f"| {name} | DIFFERS from {side.worker.label}: {difference} |")
            times = take_turns(sides, rounds, seconds)
            medians = [statistics.median(values) for values in times]
            both = {
                library: median_ratio(times[0], values)
                for library, values in zip(ratios, times[1:], strict=True)
            }
            for library, ratio in both.items():
                ratios[library].append(ratio)
            limits.measure(0.02)
            moved = ours.ask("build", sides[0].work)["moved"]
            print(
                f"| {name} | {1e6 * medians[0]:.1f} | {1e6 * medians[1]:.1f} "
                f"| {both['thinc']:.2f} | {1e6 * medians[2]:.1f} "
                f"| {against(GOAL_TORCH, both['torch'])} "
                f"| {100 * moved / medians[0] / limits.near:.0f}% |",
                flush=True,
            )
    if ratios["thinc"]:
        mean = geometric_mean(ratios["thinc"])
        print(
            f"\nGeometric means: {against(GOAL_THINC, mean)} of thinc 8.3.14, "
            f"{geometric_mean(ratios['torch']):.2f} of PyTorch"
        )
    return good


def main() -> None:
    try:
        sys.exit(0 if show(parse(__doc__)) else 1)
    except WorkerError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
