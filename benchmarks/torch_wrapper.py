"""What PyTorchWrapper costs on top of the PyTorch module, ours and thinc 8.3.14's.

    python benchmarks/torch_wrapper.py --python PYTHON --peer PYTHON [--quick]

--python: an interpreter with PyTorch and this project's requirements (.venv-torch, which
bin/test-frameworks makes). --peer: one with thinc 8.3.14 and PyTorch (.venv-peer).

In each of the two processes the module alone and the module in its wrapper take turns of a
few milliseconds, so that overheads are differences of neighbours; the processes take turns
as well. One thread each. The module alone does what the wrapper does for the user: from the
numpy input to the numpy output and, in training, from the numpy gradient of the output to
that of the input, with the gradients of the weights added up.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
CASES = {
    # name: (batch, nI, nO, is_train)
    "128 x 512 x 512, train": (128, 512, 512, True),
    "128 x 512 x 512, predict": (128, 512, 512, False),
    "1 x 64 x 64, train": (1, 64, 64, True),
    "1 x 64 x 64, predict": (1, 64, 64, False),
}
LARGE_GOAL, SMALL_GOAL_US, PEER_GOAL = 1.05, 60.0, 0.6
SMALL_CALL = "1 x 64 x 64"


def build(name):
    import numpy
    import torch

    from thinc.api import PyTorchWrapper

    torch.set_num_threads(1)
    torch.manual_seed(0)
    batch, nI, nO, is_train = CASES[name]
    rng = numpy.random.default_rng(0)
    X = rng.normal(size=(batch, nI)).astype("float32")
    dY = rng.normal(size=(batch, nO)).astype("float32")
    bare_module, module = torch.nn.Linear(nI, nO), torch.nn.Linear(nI, nO)
    model = PyTorchWrapper(module)

    def bare_train():
        x = torch.from_numpy(X).requires_grad_()
        y = bare_module(x)
        y.detach().numpy()
        torch.autograd.backward(y, torch.from_numpy(dY))
        return x.grad.numpy()

    def wrapped_train():
        Y, backprop = model.begin_update(X)
        return backprop(dY)

    def bare_predict():
        with torch.no_grad():
            return bare_module(torch.from_numpy(X)).numpy()

    def wrapped_predict():
        return model.predict(X)

    if is_train:
        return bare_train, wrapped_train
    # As in a program that serves: PyTorch is told once, the wrapper sees to it in every call.
    bare_module.eval()
    return bare_predict, wrapped_predict


def seconds_per_call(function, n):
    start = time.perf_counter()
    for _ in range(n):
        function()
    return (time.perf_counter() - start) / n


def one_round(functions, n_turns=10, turn_s=0.004):
    """Seconds per call of each function, the best half of many short turns."""
    counts = [max(1, int(turn_s / seconds_per_call(f, 3))) for f in functions]
    times = [[] for _ in functions]
    for _ in range(n_turns):
        for function, count, taken in zip(functions, counts, times, strict=True):
            taken.append(seconds_per_call(function, count))
    return [statistics.mean(sorted(taken)[: n_turns // 2]) for taken in times]


def work():
    """The side of one library: a case's name in each line, two numbers back."""
    built = {}
    for line in sys.stdin:
        name = json.loads(line)
        if name not in built:
            built[name] = build(name)
            one_round(built[name], 2)
        print(json.dumps(one_round(built[name])), flush=True)


class Process:
    def __init__(self, python, path):
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
        command = [python, str(Path(__file__).resolve()), "--work"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env, cwd="/"
        )

    def ask(self, name):
        self.process.stdin.write(json.dumps(name) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"a side could not run {name!r}")
        return json.loads(line)

    def stop(self):
        self.process.kill()
        self.process.wait()


def judged(value, goal):
    return f"{value:.2f} ({'goal' if value <= goal else 'MISSED'} {goal:.2f})"


def show(name, ours, theirs):
    """One row. ours, theirs: (bare, wrapped) in seconds, by round."""
    cells = [name, f"{1e6 * statistics.median(bare for bare, _ in ours):.1f}"]
    overheads = []
    for side in (ours, theirs):
        overheads.append([wrapped - bare for bare, wrapped in side])
        cells.append(f"{1e6 * statistics.median(wrapped for _, wrapped in side):.1f}")
    against_bare = statistics.median(wrapped / bare for bare, wrapped in ours)
    small = name.startswith(SMALL_CALL)
    cells.append(f"{against_bare:.2f}" if small else judged(against_bare, LARGE_GOAL))
    overhead_us = 1e6 * statistics.median(overheads[0])
    cells.append(judged(overhead_us, SMALL_GOAL_US) if small else f"{overhead_us:.1f}")
    cells.append(f"{1e6 * statistics.median(overheads[1]):.1f}")
    ratio = statistics.median(a / b for a, b in zip(*overheads, strict=True))
    cells.append(judged(ratio, PEER_GOAL))
    print("| " + " | ".join(cells) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", default=str(ROOT / ".venv-torch" / "bin" / "python"))
    parser.add_argument("--peer", default=str(ROOT / ".venv-peer" / "bin" / "python"))
    parser.add_argument("--quick", action="store_true", help="5 rounds in place of 21")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        # The folder of this program holds modules of other names, too.
        sys.path[:] = [path for path in sys.path if Path(path or ".") != Path(__file__).parent]
        work()
        return
    sides = [Process(args.python, str(ROOT)), Process(args.peer, "")]
    print("| case | module alone, us | ours, us | peer's, us | ours / alone | our overhead, us "
          "| peer's overhead, us | overheads, ours / peer's |\n" + "| --- " * 8 + "|")
    for name in CASES:
        rounds = [[side.ask(name) for side in sides] for _ in range(5 if args.quick else 21)]
        show(name, *([pair[i] for pair in rounds] for i in range(2)))
    for side in sides:
        side.stop()


if __name__ == "__main__":
    main()
