"""All comparisons, one table each. One thread for each side, unless --threads default.

    python -m benchmarks [--quick | --full] [--peer PYTHON] [--jax PYTHON] [--threads default]

The peer's interpreter (thinc 8.3.14 and PyTorch, CPU) is that of .venv-peer, which
`bin/setup-peers` makes. Each part is a program of its own too: benchmarks.programs,
rows_and_activations, single_ops, threads, imports, accuracy, scaling, memory,
instructions.
"""
import sys

from . import (
    accuracy,
    imports,
    instructions,
    memory,
    programs,
    rows_and_activations,
    scaling,
    single_ops,
    threads,
)
from .duel import WorkerError
from .machine import describe
from .options import Options, parse

# Title, program, whether it belongs to --quick, and whether it needs --full.
PARTS = [
    ("Programs", programs, True, False),
    ("Activations and rows, 2000 x 288", rows_and_activations, True, False),
    ("Single operations", single_ops, True, False),
    ("Threads", threads, True, False),
    ("Import", imports, True, False),
    ("Accuracy against float64", accuracy, False, False),
    ("Scaling", scaling, False, False),
    ("Instructions", instructions, False, True),
    ("Memory", memory, False, True),
]


def left_out(options: Options, in_quick: bool, needs_full: bool) -> str:
    """Why a part is not run, or nothing."""
    if needs_full and not options.full:
        return "only with --full"
    if options.quick and not in_quick:
        return "not with --quick"
    return ""


def main() -> None:
    options = parse(__doc__)
    print("\n".join(describe(options.peer, options.env)))
    print(
        f"threads: {'one for each side' if 'OMP_NUM_THREADS' in options.env else 'as by default'}; "
        f"time: {options.env.get('BENCHMARK_CLOCK', 'wall')} clock"
    )
    if options.quick or not options.jax:
        print(f"without JAX{'' if options.quick else ': not installed, see --jax'}"
              f"{' and torch.compile: not with --quick' if options.quick else ''}")
    failed = []
    for title, part, in_quick, needs_full in PARTS:
        print(f"\n## {title}\n", flush=True)
        reason = left_out(options, in_quick, needs_full)
        if reason:
            print(f"Left out: {reason}.")
            continue
        try:
            if not part.show(options):
                failed.append(title)
        except WorkerError as error:
            failed.append(title)
            print(f"FAILED: {error}")
    if failed:
        print(f"\nNot good: {', '.join(failed)}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
