"""One side of a comparison: builds a workload, then runs it once per line of input.

    python worker.py WORKLOAD    (run by duel.py, with the interpreter of one library)
"""
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


def main():
    import workloads

    work = getattr(workloads, sys.argv[1])()
    work()  # warm up
    print("ready", flush=True)
    for line in sys.stdin:
        repeat = int(line)
        start = time.perf_counter()
        for _ in range(repeat):
            work()
        print((time.perf_counter() - start) / repeat, flush=True)


if __name__ == "__main__":
    main()
