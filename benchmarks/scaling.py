"""Words a second of the tagger against document length, batch, vocabulary and width.

    python -m benchmarks.scaling [--quick] [--only KIND]

Checks that cost grows linearly: once a call's fixed cost is paid, more words must not cost
more each; a width that is no multiple of a vector register must not fall off a cliff.
The plot is benchmarks/scaling.png, if matplotlib is installed (pip install thinc[bench]).
"""
import sys
from pathlib import Path
from typing import Dict, List, NamedTuple

from .duel import Worker
from .options import Options, parse

PLOT = Path(__file__).parent / "scaling.png"
KINDS = {
    "length": "words in one document",
    "batch": "documents of 20 words",
    "rows": "rows in the first hash table",
    "width": "width of all layers",
}
# More words may cost at most this much more each than at the best size.
LINEAR = 1.35
# From 1,000 rows (in cache) to 1,000,000 (384 MB, each lookup waits for memory).
LARGE_TABLE = 2.0
# A width against the next multiple of 16, per multiplication that multiple would need.
CLIFF = 1.35


class Point(NamedTuple):
    action: str  # predict or train
    kind: str
    size: int
    words_per_second: float
    flops_per_second: float


def measure(worker: Worker, case: str, seconds: float) -> Point:
    work = f"workloads.scaling:{case}"
    sizes = worker.ask("build", work)
    taken = worker.ask("time", work, 1)
    for _ in range(2):
        taken = min(taken, worker.ask("time", work, max(1, int(seconds / taken))))
    worker.ask("drop", work)
    action, kind, size = case.split()
    return Point(action, kind, int(size), sizes["units"] / taken, sizes["flops"] / taken)


def show(options: Options) -> bool:
    passes, seconds = (2, 0.02) if options.quick else (4, 0.1)
    best: Dict[str, Point] = {}
    with Worker("ours", sys.executable, options.env) as worker:
        # Whatever else runs on the machine only ever slows one down, and not for long: of
        # several passes over all sizes the fastest time of each counts.
        for _ in range(passes):
            for case in worker.ask("cases", "workloads.scaling"):
                if options.only in case:
                    point = measure(worker, case, seconds)
                    best[case] = max(
                        point, best.get(case, point), key=lambda p: p.words_per_second
                    )
    points = list(best.values())
    for kind in KINDS:
        print_table(kind, [point for point in points if point.kind == kind])
    problems = [problem for kind in KINDS for problem in check(kind, points)]
    print("\n".join(problems) or "Cost grows linearly: no size costs more than it should.")
    if not options.only:
        print(plot(points))
    return not problems


def print_table(kind: str, points: List[Point]) -> None:
    if not points:
        return
    print(f"| {KINDS[kind]} | predict, words/s | GFLOP/s | train, words/s | GFLOP/s |")
    print("| --- | --- | --- | --- | --- |")
    for size in sorted({point.size for point in points}):
        row = [f"{size:,}"]
        for action in ("predict", "train"):
            found = [p for p in points if (p.size, p.action) == (size, action)]
            row += (
                [f"{found[0].words_per_second:,.0f}", f"{found[0].flops_per_second / 1e9:.1f}"]
                if found else ["", ""]
            )
        print("| " + " | ".join(row) + " |")
    print()


def check(kind: str, points: List[Point]) -> List[str]:
    problems = []
    for action in ("predict", "train"):
        series = sorted(
            (p for p in points if (p.kind, p.action) == (kind, action)), key=lambda p: p.size
        )
        if kind == "width":
            problems += cliffs(action, series)
            continue
        limit = LARGE_TABLE if kind == "rows" else LINEAR
        for i, point in enumerate(series):
            if kind == "rows" and action == "train":
                continue  # the optimizer visits every row, so its cost is the table's
            best = max(p.words_per_second for p in series[: i + 1])
            if best / point.words_per_second > limit:
                problems.append(
                    f"{action}, {point.size} {KINDS[kind]}: a word costs "
                    f"{best / point.words_per_second:.2f} times as much as at the best smaller size"
                )
    return problems


def cliffs(action: str, series: List[Point]) -> List[str]:
    """Widths that take longer than the next multiple of 16 does, by more than CLIFF."""
    by_width: Dict[int, Point] = {point.size: point for point in series}
    problems = []
    for width, point in by_width.items():
        above = min((w for w in by_width if w >= width and w % 16 == 0), default=None)
        if above is None or width % 16 == 0:
            continue
        slower = by_width[above].words_per_second / point.words_per_second
        # One over a multiple: the next one measured may be far, so compare with its work.
        if above - width > 16:
            slower *= (above / width) ** 2
        if slower > CLIFF:
            problems.append(f"{action}, width {width}: {slower:.2f} times as slow as {above}")
    return problems


def plot(points: List[Point]) -> str:
    """Draw PLOT, and say so, or why not."""
    try:
        import matplotlib
    except ImportError:
        return "No plot: matplotlib is not installed (pip install thinc[bench])."
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(9, 6), layout="constrained")
    for axis, (kind, label) in zip(axes.flat, KINDS.items(), strict=True):
        for action, style in (("predict", "o-"), ("train", "s--")):
            series = [p for p in points if (p.kind, p.action) == (kind, action)]
            by_flops = kind == "width"
            values = [p.flops_per_second / 1e9 if by_flops else p.words_per_second for p in series]
            axis.plot([p.size for p in series], values, style, label=action, markersize=3)
        axis.set_xscale("log", base=2 if kind == "width" else 10)
        axis.set_xlabel(label)
        axis.set_ylabel("GFLOP/s" if kind == "width" else "words/s")
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        axis.legend()
    figure.suptitle("The tagger's speed, one thread")
    figure.savefig(PLOT, dpi=70)
    pyplot.close(figure)
    return f"Plot: {PLOT} ({PLOT.stat().st_size / 1024:.0f} KB)"


def main() -> None:
    sys.exit(0 if show(parse(__doc__)) else 1)


if __name__ == "__main__":
    main()
