"""One side of a comparison. Started by duel.py, with the interpreter of one library.

    python worker.py

Each line of input is a request, a JSON list; each answer is a line of JSON.
    ["build", WORK]            builds it and runs it once; answers its sizes
    ["result", WORK, PATH]     writes what it computes to PATH (.npz); answers names
    ["time", WORK, REPEAT]     seconds per run; REPEAT is limited to its max_repeat
    ["drop", WORK]             forgets it
    ["cases", MODULE:NAME]     the names in a collection of the module, by default CASES
    ["resident"]               kilobytes of memory that the process holds
BENCHMARK_CLOCK=cpu in the environment: the process's own time, not the clock's.
With arguments, PREFIX WORK..., it is run by instructions.py.
WORK is "module:name": a function without arguments, or an entry of the module's CASES,
either of which gives a Work. A failure is answered as {"error": "..."}.
"""
import glob
import json
import os
import statistics
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
clock = time.process_time if os.environ.get("BENCHMARK_CLOCK") == "cpu" else time.perf_counter


def build(spec):
    module_name, _, name = spec.partition(":")
    module = import_module(module_name)
    cases = getattr(module, "CASES", {})
    return cases[name]() if name in cases else getattr(module, name)()


def timed(work, repeat):
    repeat = min(repeat, work.max_repeat)
    run = work.run
    if work.prepare is not None:
        work.prepare()
    if work.median_call:
        return statistics.median(timed_once(run) for _ in range(repeat))
    start = clock()
    for _ in range(repeat):
        run()
    return (clock() - start) / repeat


def timed_once(run):
    start = clock()
    run()
    return clock() - start


def resident_kilobytes():
    with open("/proc/self/smaps_rollup") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("Rss:"))


def answer(works, request):
    import numpy

    if request == ["resident"]:
        return resident_kilobytes()
    action, spec = request[:2]
    if action == "cases":
        module, _, attribute = spec.partition(":")
        return list(getattr(import_module(module), attribute or "CASES"))
    if spec not in works:
        works[spec] = build(spec)
        if action != "result":
            timed(works[spec], 1)  # warm up
    work = works[spec]
    if action == "build":
        return {"flops": work.flops, "moved": work.moved, "units": work.units}
    if action == "result":
        arrays = {} if work.result is None else work.result()
        numpy.savez(request[2], **arrays)
        return sorted(arrays)
    if action == "time":
        return timed(work, request[2])
    if action == "drop":
        del works[spec]
        return True
    raise ValueError(f"no request {action!r}")


class Counted:
    """Something whose dir() does the work, so that it runs inside of PyObject_Dir."""

    def __init__(self, run):
        self.run = run

    def __dir__(self):
        self.run()
        return []


def count_instructions(specs, prefix):
    """Run each work twice, the second time inside of PyObject_Dir, when callgrind counts
    (see instructions.py). Prints, for each, the number of the file that it then writes."""
    for spec in specs:
        work = build(spec)
        timed(work, 1)
        if work.prepare is not None:
            work.prepare()
        counted = Counted(work.run)
        dir(counted)
        print(max(int(path.rsplit(".", 1)[1]) for path in glob.glob(f"{prefix}.*")), flush=True)


def main():
    works = {}
    if sys.argv[1:]:
        count_instructions(sys.argv[2:], sys.argv[1])
        return
    for line in sys.stdin:
        try:
            reply = answer(works, json.loads(line))
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
