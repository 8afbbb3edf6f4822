"""Times workloads against each other: their processes take turns, so that a change in
the machine's speed meets all of them, and ratios are taken round by round."""
import os
import statistics
import subprocess
from pathlib import Path
from typing import Dict, List, NamedTuple

WORKER = Path(__file__).parent / "worker.py"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Side(NamedTuple):
    """Who runs what: a label, the Python interpreter, the workload's name."""

    label: str
    python: str
    workload: str


def start(side: Side) -> subprocess.Popen:
    process = subprocess.Popen(
        [side.python, str(WORKER), side.workload],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **ONE_THREAD},
    )
    assert process.stdout is not None
    if process.stdout.readline().strip() != "ready":
        raise RuntimeError(f"{side.label} could not run {side.workload}")
    return process


def ask(process: subprocess.Popen, repeat: int) -> float:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(f"{repeat}\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def duel(sides: List[Side], rounds: int = 9, min_seconds: float = 0.2) -> Dict[str, List[float]]:
    """Seconds per call of each side, one number a round."""
    processes = [start(side) for side in sides]
    try:
        repeats = [
            max(1, int(min_seconds / max(ask(process, 1), 1e-9))) for process in processes
        ]
        times: Dict[str, List[float]] = {side.label: [] for side in sides}
        for _ in range(rounds):
            for side, process, repeat in zip(sides, processes, repeats, strict=True):
                times[side.label].append(ask(process, repeat))
        return times
    finally:
        for process in processes:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def median_ratio(ours: List[float], theirs: List[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
