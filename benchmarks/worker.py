"""One side of a comparison. Started by duel.py, with the interpreter of one library.

    python worker.py

Each line of input is a request, a JSON list; each answer is a line of JSON.
    ["build", WORK]            builds it and runs it once; answers its sizes
    ["result", WORK, PATH]     writes what it computes to PATH (.npz); answers names
    ["time", WORK, REPEAT]     seconds per run; REPEAT is limited to its max_repeat
    ["drop", WORK]             forgets it
    ["cases", MODULE:NAME]     the names in a collection of the module, by default CASES
    ["resident"]               kilobytes of memory that the process holds
With arguments it runs each WORK named there twice, the second time from inside of libc's
bsearch, by which callgrind (instructions.py) knows what to count.
WORK is "module:name": a function without arguments, or an entry of the module's CASES,
either of which gives a Work. A failure is answered as {"error": "..."}.
"""
import ctypes
import json
import statistics
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


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
    start = time.perf_counter()
    for _ in range(repeat):
        run()
    return (time.perf_counter() - start) / repeat


def timed_once(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


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


def run_inside_bsearch(work):
    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    libc, one = ctypes.CDLL(None), ctypes.c_int(0)
    # A search among one element calls the comparison once.
    compare = callback(lambda *_: (work.run(), 0)[1])
    libc.bsearch(ctypes.byref(one), ctypes.byref(one), 1, ctypes.sizeof(one), compare)


def main():
    works = {}
    if sys.argv[1:]:
        for spec in sys.argv[1:]:
            work = build(spec)
            timed(work, 1)
            if work.prepare is not None:
                work.prepare()
            run_inside_bsearch(work)
        return
    for line in sys.stdin:
        try:
            reply = answer(works, json.loads(line))
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
