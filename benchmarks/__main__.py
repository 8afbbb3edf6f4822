"""All comparisons, one thread each, as one table.

    python -m benchmarks [--quick] [--peer PYTHON] [--only WORD]

The peer's interpreter (thinc 8.3.14 and PyTorch, CPU) is that of .venv-peer, which
`bin/setup-peers` makes.
"""
import argparse
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

from .duel import Side, duel, median_ratio

ROOT = Path(__file__).parent.parent
THINC_WORKLOADS = {
    # workload: (goal against thinc 8.3.14, PyTorch's workload, goal against PyTorch)
    "mlp_train_epoch": (0.35, "torch_mlp_train_epoch", 0.6),
    "mlp_predict": (None, "torch_mlp_predict", None),
    "tiny_layers_predict": (0.40, "torch_tiny_layers_predict", None),
    "tiny_layers_update": (None, None, None),
    "tagger_train_epoch": (0.25, None, None),
    "tagger_predict": (0.25, None, None),
    "adam": (0.2, None, None),
    "dropout_mask": (0.15, None, None),
}


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def show_ratio(ours, theirs, goal) -> str:
    ratio = median_ratio(ours, theirs)
    if goal is None:
        return f"{ratio:.2f}"
    return f"{ratio:.2f} (goal {goal:.2f}{'' if ratio <= goal else ', MISSED'})"


def versions(python: str) -> str:
    code = (
        "import numpy, importlib.metadata as m, sys\n"
        "names = ['thinc', 'numpy', 'blis', 'torch']\n"
        "def v(n):\n"
        "    try: return f'{n} {m.version(n)}'\n"
        "    except m.PackageNotFoundError: return ''\n"
        "print(', '.join(filter(None, map(v, names))), '/ Python', sys.version.split()[0])"
    )
    # Elsewhere, so that a checkout in the current folder is not taken for what is installed.
    result = subprocess.run([python, "-c", code], capture_output=True, text=True, cwd="/")
    return result.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, under two minutes")
    parser.add_argument("--peer", default=str(ROOT / ".venv-peer" / "bin" / "python"))
    parser.add_argument("--only", default="", help="workloads whose name contains this")
    args = parser.parse_args()
    if not Path(args.peer).exists():
        sys.exit(f"No peer at {args.peer}: run bin/setup-peers, or name one with --peer")
    rounds = 3 if args.quick else 9
    from thinc.backends.cpu_kernels import current_level

    print(f"CPU: {cpu_name()}, kernels: {current_level()}, {os.cpu_count()} cores, one thread used")
    print(f"ours: {versions(sys.executable)}\npeers: {versions(args.peer)}\n")
    print("| workload | ours, ms | thinc 8.3.14, ms | ratio | PyTorch, ms | ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, (goal, torch_name, torch_goal) in THINC_WORKLOADS.items():
        if args.only not in name:
            continue
        sides = [
            Side("ours", sys.executable, f"thinc_{name}"),
            Side("peer", args.peer, f"thinc_{name}"),
        ]
        if torch_name:
            sides.append(Side("torch", args.peer, torch_name))
        times = duel(sides, rounds)
        ms = {label: 1000 * statistics.median(values) for label, values in times.items()}
        row = [name, f"{ms['ours']:.3f}", f"{ms['peer']:.3f}"]
        row.append(show_ratio(times["ours"], times["peer"], goal))
        if torch_name:
            row += [f"{ms['torch']:.3f}", show_ratio(times["ours"], times["torch"], torch_goal)]
        else:
            row += ["", ""]
        print("| " + " | ".join(row) + " |", flush=True)
    if args.only in "import":
        sides = [
            Side("thinc", sys.executable, "thinc_import"),
            Side("numpy", sys.executable, "numpy_import"),
            Side("python", sys.executable, "python_start"),
        ]
        times = duel(sides, rounds)
        bare = [t - p for t, p in zip(times["thinc"], times["python"], strict=True)]
        base = [n - p for n, p in zip(times["numpy"], times["python"], strict=True)]
        print(
            f"\nimport thinc.api: {1000 * statistics.median(bare):.0f} ms, "
            f"{show_ratio(bare, base, 1.6)} of import numpy "
            f"({1000 * statistics.median(base):.0f} ms), interpreter start subtracted"
        )


if __name__ == "__main__":
    main()
