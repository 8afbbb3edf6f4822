"""How exact the fast paths are: the largest error of each against more precision, and a
tagger trained to convergence by the compiled and by the generic operations.

    python -m benchmarks.accuracy [--quick] [--peer PYTHON] [--only WORD]

ulp: units in the last place of the exact result. Where results cross zero (slopes, sums),
errors are counted in units in the last place of a scale instead: of 1 for slopes, of the
largest exact number for rows and recurrences, of the sum of the products' magnitudes for
matrix products. thinc 8.3.14's errors, of the same inputs, stand beside ours.
"""
import sys
from typing import Dict, List

from .duel import Worker, WorkerError
from .options import Options, parse

# The largest errors that include/thinc/math.hpp allows, with those of the arithmetic around
# the functions there: half a unit for each operation.
STATED = {"sigmoid": 3.0, "tanh": 3.0, "swish": 3.5, "gelu": 6.0, "mish": 4.5}
SIDES = ("fast", "generic", "peer")


def table(options: Options) -> bool:
    """Print the table of errors; whether all are within what is stated."""
    good = True
    print("| fast path | unit | ours, largest | ours, mean | thinc 8.3.14, largest | stated |")
    print("| --- | --- | --- | --- | --- | --- |")
    with (
        Worker("ours", sys.executable, options.env) as ours,
        Worker("thinc", options.peer, options.env) as thinc,
    ):
        for name in ours.ask("cases", "workloads.errors:CASES"):
            if options.only not in name:
                continue
            largest, mean = ours.result(f"workloads.errors:{name}")["errors"]
            try:
                theirs = f"{thinc.result(f'workloads.errors:{name}')['errors'][0]:.3g}"
            except WorkerError:
                theirs = ""  # it has no such operation
            kind, unit = name.split(" | ")
            stated = STATED.get(kind.removesuffix(", float32"))
            within = stated is None or largest <= stated
            good = good and within
            shown = "" if stated is None else f"{stated:g}{'' if within else ' EXCEEDED'}"
            print(f"| {kind} | {unit} | {largest:.3g} | {mean:.2g} | {theirs} | {shown} |")
    return good


def convergence(options: Options) -> bool:
    """Train a tagger with compiled, generic and the peer's operations; whether the first two
    end equally good."""
    epochs: Dict[str, List[float]] = {}
    pythons = {"fast": sys.executable, "generic": sys.executable, "peer": options.peer}
    for side in SIDES:
        with Worker(side, pythons[side], options.env) as worker:
            name = "generic" if side == "generic" else "fast"
            result = worker.result(f"workloads.convergence:{name}")
        epochs[side] = [float(accuracy) for accuracy in result["accuracies"]]
        print(
            f"tagger trained {len(epochs[side])} epochs with "
            f"{'thinc 8.3.14' if side == 'peer' else f'our {side} operations'}: accuracy on new "
            f"documents {100 * epochs[side][-1]:.2f}%, after the first epoch "
            f"{100 * epochs[side][0]:.2f}%, last loss {float(result['losses'][-1]):.4f}"
        )
    difference = abs(epochs["fast"][-1] - epochs["generic"][-1])
    good = difference <= 0.005
    print(
        f"compiled and generic operations differ by {100 * difference:.2f} percent points "
        f"({'goal' if good else 'MISSED'}: at most 0.5)"
    )
    return good


def show(options: Options) -> bool:
    good = table(options)
    if options.quick:
        print("\nTraining to convergence is left out with --quick.")
        return good
    print()
    return convergence(options) and good


def main() -> None:
    sys.exit(0 if show(parse(__doc__)) else 1)


if __name__ == "__main__":
    main()
