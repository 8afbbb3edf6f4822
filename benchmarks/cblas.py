"""What spaCy's parser asks of CBlas, a state or a few at a time, beside numpy.dot.

    OMP_NUM_THREADS=1 python -m benchmarks.cblas

A client is compiled first (tests/c_client). Times are of the process, the best of seven.
"""
import sys
import time
from pathlib import Path

import numpy

from thinc.backends.cblas import CBlas

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from c_client import compiled  # noqa: E402 - found through the line above

HIDDEN = 64
TIMES = 4000


def best_ns(call) -> float:
    """Nanoseconds for one of the TIMES repetitions that call() makes."""

    def once() -> float:
        start = time.process_time_ns()
        call()
        return (time.process_time_ns() - start) / TIMES

    return min(once() for _ in range(7))


def main() -> None:
    client, cblas = compiled("blas_client"), CBlas()
    rng = numpy.random.default_rng(0)
    print("| states x classes x hidden | sgemm, ns | numpy.dot, ns | ratio |")
    print("| --- | --- | --- | --- |")
    for states in (1, 2, 4, 8, 16, 64):
        for classes in (50, 83, 100):
            A, W = (rng.normal(size=(n, HIDDEN)).astype("f") for n in (states, classes))
            C = numpy.zeros((states, classes), dtype="f")

            def ours(A=A, W=W, C=C):
                client.repeat_sgemm(cblas, True, A, W, C, TIMES)

            def numpys(A=A, W=W.T, C=C):
                for _ in range(TIMES):
                    numpy.dot(A, W, out=C)

            a, b = best_ns(ours), best_ns(numpys)
            print(f"| {states} x {classes} x {HIDDEN} | {a:.0f} | {b:.0f} | {a / b:.2f} |")
    print("\n| saxpy of | ns |\n| --- | --- |")
    for size in (64, 128, 192, 256):
        X, Y = numpy.ones(size, dtype="f"), numpy.zeros(size, dtype="f")
        ns = best_ns(lambda X=X, Y=Y: client.repeat_saxpy(cblas, X, Y, TIMES))
        print(f"| {size} | {ns:.1f} |")


if __name__ == "__main__":
    main()
