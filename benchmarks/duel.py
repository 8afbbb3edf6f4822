"""Times works against each other: their processes take turns, so that a change in the
machine's speed meets all of them, and ratios are taken round by round."""
import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional

import numpy

WORKER = Path(__file__).parent / "worker.py"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class WorkerError(RuntimeError):
    """A side could not build, run or compute its work."""


class Worker:
    """A process of one library that does what it is asked. Use it in a with statement."""

    def __init__(self, label: str, python: str, env: Optional[Dict[str, str]] = None):
        """env: what to set in place of this process's numbers of threads; default: one each."""
        kept = {name: value for name, value in os.environ.items() if name not in ONE_THREAD}
        self.label = label
        self.process = subprocess.Popen(
            [python, str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**kept, **(ONE_THREAD if env is None else env)},
        )

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *error) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def ask(self, *request) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerError(f"{self.label} died at {request}, exit {self.process.wait()}")
        reply = json.loads(line)
        if isinstance(reply, dict) and "error" in reply:
            raise WorkerError(f"{self.label}, {request[1]}: {reply['error']}\n{reply['trace']}")
        return reply

    def result(self, work: str) -> Dict[str, numpy.ndarray]:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "result.npz")
            self.ask("result", work, path)
            with numpy.load(path) as arrays:
                return dict(arrays)


class Side(NamedTuple):
    """Who does what: a worker, and its name for the work."""

    worker: Worker
    work: str


def compare(
    ours: Dict[str, numpy.ndarray], theirs: Dict[str, numpy.ndarray], rtol: float, atol: float
) -> Optional[str]:
    """What differs between two results, or None. atol is in units of the largest number."""
    if ours.keys() != theirs.keys():
        return f"results {sorted(ours)} against {sorted(theirs)}"
    for name, mine in ours.items():
        other = theirs[name]
        if mine.shape != other.shape:
            return f"{name}: shape {mine.shape} against {other.shape}"
        if mine.dtype.kind in "fc":
            scale = max(1.0, float(numpy.nanmax(numpy.abs(other), initial=0.0)))
            close = numpy.isclose(mine, other, rtol=rtol, atol=atol * scale, equal_nan=True)
        else:
            close = mine == other
        if not numpy.all(close):
            at = numpy.unravel_index(numpy.argmin(close), mine.shape)
            return (
                f"{name}: {numpy.size(close) - numpy.count_nonzero(close)} of {numpy.size(close)} "
                f"numbers differ, first {mine[at]} against {other[at]} at {tuple(map(int, at))}"
            )
    return None


def take_turns(
    sides: List[Side], rounds: int = 9, min_seconds: float = 0.2
) -> List[List[float]]:
    """Seconds per run of each side, one number a round."""
    repeats = []
    for side in sides:
        side.worker.ask("build", side.work)
        seconds = side.worker.ask("time", side.work, 1)
        few = int(min_seconds / 10 / max(seconds, 1e-9))
        if few > 1:
            seconds = side.worker.ask("time", side.work, few)
        repeats.append(max(1, int(min_seconds / max(seconds, 1e-9))))
    times: List[List[float]] = [[] for _ in sides]
    for _ in range(rounds):
        for side, repeat, taken in zip(sides, repeats, times, strict=True):
            taken.append(side.worker.ask("time", side.work, repeat))
    return times


def median_ratio(ours: List[float], theirs: List[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def geometric_mean(values: List[float]) -> float:
    return statistics.geometric_mean(values)
