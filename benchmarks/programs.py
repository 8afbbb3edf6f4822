"""Whole pieces of work against thinc 8.3.14, PyTorch, torch.compile and JAX.

    python -m benchmarks.programs [--quick] [--peer PYTHON] [--jax PYTHON] [--only WORD]
"""
import statistics
import sys
from typing import Dict, List, NamedTuple, Optional, Tuple

from .duel import Side, Worker, WorkerError, compare, median_ratio, take_turns
from .machine import Limits
from .options import Options, parse

RTOL, ATOL = 1e-3, 1e-4


class Program(NamedTuple):
    """A row of the table.

    work: the workload's module and name, to which each library's name is put in front.
    thinc, torch: goals for our time divided by theirs. None: no goal.
    limit: whose share of the machine's limit is shown ("flops", "near", "far"), and the
        goal for it, in percent.
    also: further libraries that have the workload.
    ours: what stands in front of the work's name for us: "frozen" for a model that has been
        frozen, which the others do not know.
    """

    name: str
    work: str
    thinc: Optional[float] = None
    torch: Optional[float] = None
    limit: Optional[Tuple[str, Optional[float]]] = None
    also: Tuple[str, ...] = ("torch",)
    ours: str = "thinc"


OTHERS = ("torch", "compiled", "jax")
PROGRAMS = [
    Program("MLP 784-128-128-10, batch 128, train", "mlp:small_train", 0.28, 0.5,
            ("flops", 60), OTHERS),
    Program("MLP 1024-1024-1024-10, batch 256, train", "mlp:wide_train", 0.33, 0.95,
            ("flops", 85), OTHERS),
    Program("the first, without the input's gradient", "mlp:small_train_on_data", 0.28, 0.5,
            ("flops", 60), OTHERS),
    Program("the second, without the input's gradient", "mlp:wide_train_on_data", 0.33, 0.95,
            ("flops", 85), OTHERS),
    Program("MLP 784-128-128-10, predict", "mlp:small_predict", None, None, ("flops", None)),
    Program("tagger, train", "tagger:train", 0.25, 0.6, ("flops", 60), ("torch", "compiled")),
    Program("tagger, predict", "tagger:predict", 0.25, 0.6, ("flops", 65), ("torch", "compiled")),
    Program("tagger, one document of 5 words", "tagger:latency5", 0.25, 0.4),
    Program("tagger, one document of 20 words", "tagger:latency20", 0.25, 0.4),
    Program("tagger, one document of 100 words", "tagger:latency100", 0.25, 0.4),
    Program("tagger, frozen: predict", "tagger:predict", 0.25, 0.6, ("flops", 65),
            ours="frozen"),
    Program("tagger, frozen: one document of 5 words", "tagger:latency5", 0.25, 0.4,
            ours="frozen"),
    Program("tagger, frozen: one document of 20 words", "tagger:latency20", 0.25, 0.4,
            ours="frozen"),
    Program("tagger, frozen: one document of 100 words", "tagger:latency100", 0.25, 0.4,
            ours="frozen"),
    Program("MLP 784-128-128-10, frozen: predict", "mlp:small_predict", None, None,
            ("flops", None), ours="frozen"),
    Program("text classifier with attention, train", "textcat:attention_train", 0.35, 0.9,
            ("flops", None)),
    Program("text classifier with attention, predict", "textcat:attention_predict", 0.35, 0.9,
            ("flops", None)),
    Program("bidirectional LSTM 128, train", "lstm:train", 0.3, 0.9, ("flops", None)),
    Program("bidirectional LSTM 128, predict", "lstm:predict", 0.35, 0.9, ("flops", None)),
    Program("sparse linear, 2^18 features, train", "textcat:sparse_train", 0.35, 0.9),
    Program("sparse linear, 2^18 features, without optimizer", "textcat:sparse_update", 0.35,
            also=()),
    Program("sparse linear, 2^18 features, predict", "textcat:sparse_predict", 0.35, 0.9),
    Program("sparse linear, frozen: predict", "textcat:sparse_predict", 0.35, 0.9, ours="frozen"),
    Program("siamese, train", "siamese:train", 0.35, 0.9, ("flops", None)),
    Program("Adam, 1M float32", "parts:adam", 0.2, 1.0, ("near", 70)),
    Program("dropout mask 2000 x 384", "parts:dropout", 0.15, 0.15),
    Program("to_bytes + from_bytes, 84 MB", "parts:bytes", 0.5, None, ("far", None), ()),
    Program("30 tiny Linear, predict", "mlp:tiny_predict", 0.35, 0.45),
    Program("30 tiny Linear, update", "mlp:tiny_update", 0.35, 0.45),
]
HEAD = (
    "| workload | ours, ms | thinc 8.3.14, ms | ratio | PyTorch, ms | ratio "
    "| torch.compile, ratio | JAX, ratio | % of limit |\n" + "| --- " * 9 + "|"
)


class Interpreters:
    """The worker of each library; a new one for each program, unless asked to be quick."""

    def __init__(self, options: Options):
        self.pythons = {"ours": sys.executable, "thinc": options.peer, "torch": options.peer}
        if not options.quick:
            self.pythons["compiled"] = options.peer
            if options.jax:
                self.pythons["jax"] = options.jax
        self.env, self.keep = options.env, options.quick
        self.workers: Dict[str, Worker] = {}

    def __enter__(self) -> "Interpreters":
        return self

    def __exit__(self, *error) -> None:
        self.stop()

    def worker(self, library: str) -> Worker:
        if library not in self.workers:
            self.workers[library] = Worker(library, self.pythons[library], self.env)
        return self.workers[library]

    def stop(self) -> None:
        for worker in self.workers.values():
            worker.__exit__()
        self.workers.clear()

    def end_of(self, sides: List[Side]) -> None:
        if self.keep:
            for side in sides:
                side.worker.ask("drop", side.work)
        else:
            self.stop()


def against(goal: Optional[float], ratio: float) -> str:
    if goal is None:
        return f"{ratio:.2f}"
    return f"{ratio:.2f} ({'goal' if ratio <= goal else 'MISSED'} {goal:.2f})"


def row(program: Program, interpreters: Interpreters, limits: Limits, options: Options) -> str:
    module, _, name = program.work.partition(":")
    libraries = ["ours", "thinc", *(lib for lib in program.also if lib in interpreters.pythons)]
    sides = [
        Side(
            interpreters.worker(library),
            f"workloads.{module}:{program.ours if library == 'ours' else library}_{name}",
        )
        for library in libraries
    ]
    results = [side.worker.result(side.work) for side in sides]
    for library, theirs in zip(libraries[1:], results[1:], strict=True):
        difference = compare(results[0], theirs, RTOL, ATOL)
        if difference:
            raise WorkerError(f"{program.name}: ours and {library} compute different: {difference}")
    times = dict(zip(libraries, take_turns(sides, options.rounds, options.seconds), strict=True))
    median = {library: statistics.median(values) for library, values in times.items()}
    ratio = {lib: median_ratio(times["ours"], values) for lib, values in times.items()}
    cells = [program.name, f"{1e3 * median['ours']:.3f}", f"{1e3 * median['thinc']:.3f}",
             against(program.thinc, ratio["thinc"])]
    cells += (
        [f"{1e3 * median['torch']:.3f}", against(program.torch, ratio["torch"])]
        if "torch" in ratio else ["", ""]
    )
    cells += [f"{ratio[library]:.2f}" if library in ratio else "" for library in OTHERS[1:]]
    cells.append(share_of_limit(program, sides[0], median["ours"], limits))
    interpreters.end_of(sides)
    return "| " + " | ".join(cells) + " |"


def share_of_limit(program: Program, ours: Side, seconds: float, limits: Limits) -> str:
    if program.limit is None:
        return ""
    kind, goal = program.limit
    limits.measure()
    sizes = ours.worker.ask("build", ours.work)
    done = sizes["flops"] if kind == "flops" else sizes["moved"]
    percent = 100 * done / seconds / getattr(limits, kind)
    what = "sgemm" if kind == "flops" else "copying"
    if goal is None:
        return f"{percent:.0f}% of {what}"
    return f"{percent:.0f}% of {what} ({'goal' if percent >= goal else 'MISSED'} {goal:.0f}%)"


def show(options: Options) -> bool:
    """Print the table; whether all sides could be run and computed the same."""
    good = True
    print(HEAD, flush=True)
    with Limits(options.env) as limits, Interpreters(options) as interpreters:
        for program in PROGRAMS:
            if options.only not in program.name:
                continue
            try:
                print(row(program, interpreters, limits, options), flush=True)
            except WorkerError as error:
                good = False
                print(f"| {program.name} | FAILED: {error} |", flush=True)
                interpreters.stop()
        print(f"\n{limits}")
    return good


def main() -> None:
    options = parse(__doc__)
    sys.exit(0 if show(options) else 1)


if __name__ == "__main__":
    main()
