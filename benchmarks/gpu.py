"""Speed on a GPU: ours, thinc 8.3.14, PyTorch eager and torch.compile, in turn.

    python -m benchmarks.gpu [--quick] [--only WORD] [--peer PYTHON] [--kernels]

Needs a CUDA device; without one it says what is missing. Times are of CUDA events around
several steps on one stream, after warming up; the median of the rounds counts, and the
sides take turns within a round, so that clocks and temperature are the same for all.
Launches of a step are counted by PyTorch's profiler, which sees all kernels of the process.

--peer: an interpreter with thinc 8.3.14 and CuPy, run on the same workloads.
--kernels: instead, how close our kernels come to the measured bandwidth of a copy.
"""

import argparse
import json
import statistics
import subprocess
import sys
from typing import Any, Callable, Dict, List, NamedTuple, Optional

import numpy

CLASSES = 17
TABLES = (5000, 2500, 2500, 2500)
DEPTH = 4


class Workload(NamedTuple):
    """name: tells kind and size. make(side, sizes): a function that does one step.

    sizes: keyword arguments for every side. is_train: a training step, or a prediction.
    """

    name: str
    family: str
    sizes: Dict[str, Any]
    is_train: bool


WORKLOADS = [
    Workload(f"{family} {text}, {'train' if is_train else 'predict'}", family, sizes, is_train)
    for family, text, sizes in [
        ("tagger", "width 96, 32 docs", {"width": 96, "docs": 32}),
        ("tagger", "width 96, 512 docs", {"width": 96, "docs": 512}),
        ("tagger", "width 300, 32 docs", {"width": 300, "docs": 32}),
        ("tagger", "width 300, 512 docs", {"width": 300, "docs": 512}),
        ("mlp", "1024 wide, 128 rows", {"width": 1024, "rows": 128}),
        ("mlp", "4096 wide, 4096 rows", {"width": 4096, "rows": 4096}),
        ("textcat", "width 96, 256 docs", {"width": 96, "docs": 256}),
        ("lstm", "width 256, 64 docs", {"width": 256, "docs": 64}),
    ]
    for is_train in (True, False)
]
# How many times faster than the others: goals, printed with the ratios.
GOALS = {"peer": 3.0, "torch, small": 1.5, "torch, large": 0.95}


def is_large(workload: Workload) -> bool:
    """Whether the products, not the launches, decide."""
    return workload.sizes.get("rows", 0) >= 4096 or workload.sizes.get("docs", 0) >= 512


# ---- data, the same for all sides ------------------------------------------------------


def documents(docs: int, shortest=5, longest=40) -> List[numpy.ndarray]:
    """(words, 4) of uint64 ids."""
    rng = numpy.random.default_rng(0)
    lengths = rng.integers(shortest, longest + 1, docs)
    return [rng.integers(0, 2**63, (int(n), 4), dtype="uint64") for n in lengths]


def one_hot(rows: int, classes: int) -> numpy.ndarray:
    return numpy.eye(classes, dtype="float32")[numpy.arange(rows) % classes]


# ---- thinc: the same lines for us and for thinc 8.3.14 -------------------------------------


def thinc_tagger(width: int, docs: int):
    """(model, X, truths as one array)."""
    from thinc import api

    embed = api.concatenate(
        *[api.HashEmbed(width, n, column=i, seed=i) for i, n in enumerate(TABLES)]
    )
    mix = api.Maxout(width, width * 4, nP=3, normalize=True)
    window = api.Maxout(width, width * 3, nP=3, normalize=True)
    block = api.residual(api.chain(api.expand_window(1), window))
    rows = api.chain(embed, mix, api.clone(block, DEPTH), api.Softmax(CLASSES, width))
    X = numpy.concatenate(documents(docs))
    return rows, X, one_hot(len(X), CLASSES)


def thinc_mlp(width: int, rows: int):
    from thinc import api

    X = numpy.random.default_rng(0).normal(size=(rows, width)).astype("float32")
    model = api.chain(api.Relu(width), api.Relu(width), api.Softmax(10))
    return model, X, one_hot(rows, 10)


def thinc_textcat(width: int, docs: int):
    from thinc import api

    Xs = documents(docs)
    lengths = numpy.array([len(x) for x in Xs], dtype="int32")
    X = api.Ragged(numpy.concatenate(Xs)[:, 0], lengths)
    model = api.chain(
        api.with_array(api.chain(_flat(), api.HashEmbed(width, TABLES[0], seed=0))),
        api.reduce_mean(),
        api.Relu(width),
        api.Softmax(4),
    )
    return model, X, one_hot(docs, 4)


def _flat():
    from thinc.api import Model

    def forward(model, X, is_train):
        return X.reshape((-1,)), lambda dY: dY.reshape((-1, 1))

    return Model("flat", forward)


def thinc_lstm(width: int, docs: int):
    from thinc import api

    rng = numpy.random.default_rng(0)
    Xs = [rng.normal(size=(len(x), width)).astype("float32") for x in documents(docs)]
    model = api.chain(api.with_padded(api.LSTM(width, width)), api.with_array(api.Softmax(CLASSES)))
    lengths = numpy.array([len(x) for x in Xs], dtype="int32")
    X = api.Ragged(numpy.concatenate(Xs), lengths)
    return model, X, one_hot(len(X.data), CLASSES)


THINC = {
    "tagger": thinc_tagger,
    "mlp": thinc_mlp,
    "textcat": thinc_textcat,
    "lstm": thinc_lstm,
}


def thinc_step(workload: Workload, captured: bool = False) -> Optional[Callable[[], Any]]:
    """One step on the current ops; None where a CUDA graph cannot repeat it."""
    from thinc import api

    ops = api.get_current_ops()
    model, X, T = THINC[workload.family](**workload.sizes)
    if isinstance(X, api.Ragged):
        X = api.Ragged(ops.asarray(X.dataXd), ops.asarray(X.lengths))
    else:
        X = ops.asarray(X)
    model.initialize(X=X, Y=None if workload.family == "lstm" else ops.asarray(T))
    T = ops.asarray(T)
    optimizer = api.Adam(0.001)

    def difference(Y: Any, truths: Any) -> Any:
        if isinstance(Y, api.Ragged):
            return api.Ragged(Y.data - truths, Y.lengths)
        return Y - truths

    if captured:
        from thinc.cuda_graphs import CapturedPredict, CapturedUpdate, NotCapturable

        predict, update = CapturedPredict(model), CapturedUpdate(model, difference)

        def step() -> Any:
            if not workload.is_train:
                return predict(X)
            update(X, T)
            model.finish_update(optimizer)

        try:
            step()
        except NotCapturable:
            return None
        return step

    def step_without() -> Any:
        if not workload.is_train:
            return model.predict(X)
        Y, backprop = model.begin_update(X)
        backprop(difference(Y, T))
        model.finish_update(optimizer)

    return step_without


# ---- PyTorch ----------------------------------------------------------------------------------


def torch_step(workload: Workload, compiled: bool, device: str = "cuda") -> Callable[[], Any]:
    """The same model in PyTorch. Rows of hash tables are given, not hashed."""
    import torch

    module, inputs, truths = TORCH[workload.family](device=device, **workload.sizes)
    module = module.to(device)
    run = torch.compile(module) if compiled else module
    optimizer = torch.optim.Adam(module.parameters(), 0.001)
    labels = torch.as_tensor(truths.argmax(axis=1), device=device)
    loss = torch.nn.CrossEntropyLoss()

    def train() -> None:
        optimizer.zero_grad()
        loss(run(*inputs), labels).backward()
        optimizer.step()

    def predict() -> Any:
        with torch.inference_mode():
            return torch.softmax(run(*inputs), dim=1)

    return train if workload.is_train else predict


def torch_parts():
    """The layers that PyTorch does not have."""
    import torch

    class Maxout(torch.nn.Module):
        def __init__(self, nO, nI):
            super().__init__()
            self.nO = nO
            self.linear = torch.nn.Linear(nI, 3 * nO)
            self.norm = torch.nn.LayerNorm(nO)

        def forward(self, X):
            return self.norm(self.linear(X).view(-1, self.nO, 3).amax(dim=2))

    class Window(torch.nn.Module):
        def __init__(self, width):
            super().__init__()
            self.maxout = Maxout(width, 3 * width)

        def forward(self, X):
            blank = torch.zeros_like(X[:1])
            before, after = torch.cat([blank, X[:-1]]), torch.cat([X[1:], blank])
            return X + self.maxout(torch.cat([before, X, after], dim=1))

    class HashTables(torch.nn.Module):
        def __init__(self, width, sizes):
            super().__init__()
            bags = [torch.nn.EmbeddingBag(n, width, mode="sum") for n in sizes]
            self.tables = torch.nn.ModuleList(bags)

        def forward(self, rows):
            found = [table(rows[:, i]) for i, table in enumerate(self.tables)]
            return torch.cat(found, dim=1)

    return Maxout, Window, HashTables


def hashed_rows(count: int, sizes) -> numpy.ndarray:
    """Four rows for each word and table, (count, tables, 4): random, as hashes are."""
    rng = numpy.random.default_rng(0)
    return numpy.stack([rng.integers(0, n, (count, 4)) for n in sizes], axis=1)


def torch_tagger(width: int, docs: int, device: str):
    import torch

    Maxout, Window, HashTables = torch_parts()
    count = sum(map(len, documents(docs)))
    rows = torch.as_tensor(hashed_rows(count, TABLES), device=device)
    windows = [Window(width) for _ in range(DEPTH)]
    mix = Maxout(width, 4 * width)
    last = torch.nn.Linear(width, CLASSES)
    module = torch.nn.Sequential(HashTables(width, TABLES), mix, *windows, last)
    return module, (rows,), one_hot(count, CLASSES)


def torch_mlp(width: int, rows: int, device: str):
    import torch

    nn = torch.nn
    module = nn.Sequential(
        nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)
    )
    return module, (torch.randn(rows, width, device=device),), one_hot(rows, 10)


def torch_textcat(width: int, docs: int, device: str):
    import torch

    class Classifier(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.EmbeddingBag(TABLES[0], width, mode="mean")
            self.hidden = torch.nn.Linear(width, width)
            self.last = torch.nn.Linear(width, 4)

        def forward(self, rows, offsets):
            # Of a document's words, four rows each: the mean times four is that of the sums.
            return self.last(torch.relu(self.hidden(4 * self.table(rows, offsets))))

    lengths = [len(x) for x in documents(docs)]
    rows = hashed_rows(sum(lengths), TABLES[:1]).reshape(-1)
    offsets = 4 * numpy.concatenate([[0], numpy.cumsum(lengths[:-1])])
    inputs = (torch.as_tensor(rows, device=device), torch.as_tensor(offsets, device=device))
    return Classifier(), inputs, one_hot(docs, 4)


def torch_lstm(width: int, docs: int, device: str):
    import torch

    class Recurrent(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = torch.nn.LSTM(width, width)
            self.last = torch.nn.Linear(width, CLASSES)

        def forward(self, packed):
            return self.last(self.lstm(packed)[0].data)

    lengths = sorted((len(x) for x in documents(docs)), reverse=True)
    Xs = [torch.randn(n, width, device=device) for n in lengths]
    packed = torch.nn.utils.rnn.pack_sequence(Xs)
    return Recurrent(), (packed,), one_hot(sum(lengths), CLASSES)


TORCH = {
    "tagger": torch_tagger,
    "mlp": torch_mlp,
    "textcat": torch_textcat,
    "lstm": torch_lstm,
}


# ---- timing ----------------------------------------------------------------------------------


class CupyClock:
    """Milliseconds between two points of CuPy's current stream."""

    def __init__(self):
        import cupy

        self.cuda = cupy.cuda

    def mark(self) -> Any:
        event = self.cuda.Event()
        event.record()
        return event

    def between(self, start: Any, end: Any) -> float:
        end.synchronize()
        return self.cuda.get_elapsed_time(start, end)


class TorchClock:
    """The same of PyTorch's."""

    def mark(self) -> Any:
        import torch

        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def between(self, start: Any, end: Any) -> float:
        end.synchronize()
        return start.elapsed_time(end)


def time_steps(step: Callable[[], Any], clock: Any, steps: int) -> float:
    """Milliseconds of one step, of several in a row."""
    start = clock.mark()
    for _ in range(steps):
        step()
    return clock.between(start, clock.mark()) / steps


def count_launches(step: Callable[[], Any]) -> Optional[int]:
    """Kernels and copies of one step; None without PyTorch's profiler."""
    try:
        import torch
        from torch.profiler import ProfilerActivity, profile
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        step()
        torch.cuda.synchronize()
    on_device = torch.autograd.DeviceType.CUDA
    return sum(1 for event in found.events() if event.device_type == on_device)


class Peer:
    """thinc 8.3.14 in a process of its own, which times a workload when it is asked to."""

    def __init__(self, python: str):
        command = [python, __file__, "--serve"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/"
        )

    def time(self, name: str, steps: int) -> Optional[float]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps([name, steps]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        return json.loads(answer) if answer else None

    def close(self) -> None:
        self.process.terminate()


def serve() -> None:
    """Answer a Peer: one line in, one line out. Nothing here is newer than thinc 8.3."""
    from thinc.api import require_gpu

    require_gpu(0)
    clock, steps_of = CupyClock(), {}
    by_name = {workload.name: workload for workload in WORKLOADS}
    for line in sys.stdin:
        name, steps = json.loads(line)
        try:
            if name not in steps_of:
                steps_of[name] = thinc_step(by_name[name])
                time_steps(steps_of[name], clock, 5)
            answer = time_steps(steps_of[name], clock, steps)
        except Exception as error:
            print(f"thinc 8.3.14, {name}: {type(error).__name__}: {error}", file=sys.stderr)
            answer = None
        print(json.dumps(answer), flush=True)


# ---- kernels against the bandwidth of a copy ----------------------------------------------------


def kernel_cases(ops: Any, rows: int = 1 << 16, width: int = 1024) -> Dict[str, Any]:
    """name -> (function, bytes that it has to move)."""
    xp = ops.xp
    X = xp.asarray(numpy.random.default_rng(0).normal(size=(rows, width)).astype("float32"))
    Y, G, one = xp.empty_like(X), xp.ones(width, dtype="float32"), X.nbytes
    pieces = X.reshape((rows, width // 4, 4))
    moments = [xp.zeros((rows * width,), dtype="float32") for _ in range(2)]
    lengths = ops.asarray(numpy.full(rows // 32, 32, dtype="int32"))
    best, which = ops.maxout(pieces)
    maxout_bytes = one + best.nbytes + which.nbytes
    return {
        "copy": (lambda: xp.copyto(Y, X), 2 * one),
        "relu": (lambda: ops.relu(X), 2 * one),
        "gelu": (lambda: ops.gelu(X), 2 * one),
        "backprop_gelu": (lambda: ops.backprop_gelu(X, X), 2 * one),
        "softmax": (lambda: ops.softmax(X), 2 * one),
        "layer_norm": (lambda: ops.layer_norm(X, G, G), 2 * one),
        "maxout of 4": (lambda: ops.maxout(pieces), maxout_bytes),
        "backprop_maxout of 4": (lambda: ops.backprop_maxout(best, which, 4), maxout_bytes),
        "seq2col 1": (lambda: ops.seq2col(X, 1), 4 * one),
        "reduce_sum of 32 rows": (lambda: ops.reduce_sum(X, lengths), one + one // 32),
        "adam": (
            lambda: ops.adam_step(
                X.reshape(-1), Y.reshape(-1), *moments, learn_rate=1e-3, beta1=0.9, beta2=0.999,
                eps=1e-8,
            ),
            8 * one,
        ),
    }  # fmt: skip


def report_kernels(rounds: int) -> None:
    from thinc.api import get_current_ops

    clock, bandwidth = CupyClock(), None
    print("| kernel | ms | GB/s | of a copy's |\n| --- | --- | --- | --- |")
    for name, (function, size) in kernel_cases(get_current_ops()).items():
        time_steps(function, clock, 5)
        ms = statistics.median(time_steps(function, clock, 10) for _ in range(rounds))
        speed = size / ms / 1e6
        bandwidth = bandwidth or speed
        missed = "" if speed >= 0.8 * bandwidth else " (goal 0.80, MISSED)"
        print(f"| {name} | {ms:.3f} | {speed:.0f} | {speed / bandwidth:.2f}{missed} |", flush=True)


# ---- the table -------------------------------------------------------------------------------


def ratio(ours: float, theirs: Optional[float], goal: float) -> str:
    """How many times faster we are."""
    if theirs is None:
        return "-"
    times = theirs / ours
    return f"{theirs:.3f} ({times:.2f}x, goal {goal:.2f}{'' if times >= goal else ', MISSED'})"


def report_workloads(only: str, rounds: int, peer: Optional[Peer]) -> None:
    """One row for each workload."""
    try:
        import torch

        has_torch = torch.cuda.is_available()
    except ImportError:
        has_torch = False
    print(
        "| step | ours, ms | launches | as a graph, ms | thinc 8.3.14 | PyTorch | torch.compile |\n"
        "| --- | --- | --- | --- | --- | --- | --- |"
    )
    for workload in WORKLOADS:
        if only not in workload.name:
            continue
        ours, clock = thinc_step(workload), CupyClock()
        assert ours is not None
        sides: Dict[str, Any] = {"ours": (ours, clock)}
        graph = thinc_step(workload, captured=True)
        if graph is not None:
            sides["graph"] = (graph, clock)
        if has_torch:
            for side, compiled in (("torch", False), ("compile", True)):
                sides[side] = (torch_step(workload, compiled), TorchClock())
        for step, side_clock in sides.values():
            time_steps(step, side_clock, 10)  # compiles, fills pools and caches
        steps = max(3, min(100, int(50 / max(time_steps(ours, clock, 3), 1e-3))))
        times: Dict[str, List[float]] = {}
        for _ in range(rounds):
            for side, (step, side_clock) in sides.items():
                times.setdefault(side, []).append(time_steps(step, side_clock, steps))
            answer = None if peer is None else peer.time(workload.name, steps)
            if answer is not None:
                times.setdefault("peer", []).append(answer)
        ms = {side: statistics.median(values) for side, values in times.items()}
        best = min(ms["ours"], ms.get("graph", ms["ours"]))
        goal = GOALS["torch, large" if is_large(workload) else "torch, small"]
        row = [
            workload.name,
            f"{ms['ours']:.3f}",
            f"{count_launches(ours) or '-'}",
            f"{ms['graph']:.3f}" if "graph" in ms else "-",
            ratio(ms["ours"], ms.get("peer"), GOALS["peer"]),
            ratio(best, ms.get("torch"), goal),
            ratio(best, ms.get("compile"), goal),
        ]
        print("| " + " | ".join(row) + " |", flush=True)


def main(arguments: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three rounds in place of eleven")
    parser.add_argument("--only", default="", help="workloads whose name contains this")
    parser.add_argument("--peer", help="an interpreter with thinc 8.3.14 and CuPy")
    parser.add_argument("--kernels", action="store_true", help="bandwidth of our kernels")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        serve()
        return 0
    from thinc import explain_gpu
    from thinc.api import prefer_gpu

    print(explain_gpu(self_test=False))
    if not prefer_gpu():
        return 1
    rounds = 3 if options.quick else 11
    if options.kernels:
        report_kernels(rounds)
        return 0
    peer = None if options.peer is None else Peer(options.peer)
    try:
        report_workloads(options.only, rounds, peer)
    finally:
        if peer is not None:
            peer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
