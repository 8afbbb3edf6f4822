"""Compares NumpyOps().gemm with NumPy's own product (usually OpenBLAS), one thread.

    python benchmarks/sgemm.py [--dtype float64] [--rounds 9] [--shape 16,96,288 ...]

For a layer with `rows` inputs of width I and outputs of width O: the forward product
X @ W.T, the gradient dY @ W of its input, and the gradient dY.T @ X of its weights.
The two sides take turns; printed are the median times of a call and the median of the
ratios round by round (above 1: ours is faster), so that a change in the machine's
speed meets both. Calls are made from Python, whose overhead is part of the figures.
"""
import argparse
import os
import time
from statistics import median
from typing import Callable, Iterator, List, Tuple

# Before NumPy is imported: its BLAS reads these once.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy  # noqa: E402

Shape = Tuple[int, int, int]
Operands = Tuple[str, numpy.ndarray, numpy.ndarray, bool, bool]

SHAPES: List[Shape] = [  # rows, I, O
    (1, 96, 288),
    (16, 96, 288),
    (256, 96, 288),
    (2000, 384, 288),
    (128, 784, 128),
    (128, 128, 128),
    (128, 128, 10),
    (256, 1024, 1024),
    (4, 4, 4),
    (8, 96, 288),
    (64, 1024, 1024),
    (1000, 96, 1),
]


def seconds_per_call(call: Callable[[], object], repeat: int) -> float:
    start = time.perf_counter()
    for _ in range(repeat):
        call()
    return (time.perf_counter() - start) / repeat


def compare(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int, min_seconds: float = 0.01
) -> Tuple[float, float, float]:
    """Median seconds of each, and the median of theirs / ours."""
    ours(), theirs()
    repeat = max(1, int(min_seconds / max(seconds_per_call(theirs, 3), 1e-9)))
    times = [
        (seconds_per_call(ours, repeat), seconds_per_call(theirs, repeat)) for _ in range(rounds)
    ]
    return (
        median(mine for mine, _ in times),
        median(other for _, other in times),
        median(other / mine for mine, other in times),
    )


def products(shape: Shape, dtype: str) -> Iterator[Operands]:
    """Name, operands as they are stored, and which of them are to be transposed."""
    rows, nI, nO = shape
    rng = numpy.random.default_rng(0)
    X, W, dY = (
        rng.standard_normal(size).astype(dtype) for size in ((rows, nI), (nO, nI), (rows, nO))
    )
    yield "X @ W.T", X, W, False, True
    yield "dY @ W", dY, W, False, False
    yield "dY.T @ X", dY, X, True, False


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--shape", nargs="*", metavar="ROWS,I,O", help="instead of the usual ones")
    args = parser.parse_args()
    shapes = SHAPES
    if args.shape:
        shapes = [tuple(int(n) for n in text.split(",")) for text in args.shape]  # type: ignore

    from thinc.backends import NumpyOps

    ops = NumpyOps()
    print(f"{'rows':>5} {'I':>5} {'O':>5}  {'product':<9} {'ours us':>10} {'numpy us':>10} "
          f"{'GFLOP/s':>8} {'ratio':>6}")
    for shape in shapes:
        for name, x, y, trans1, trans2 in products(shape, args.dtype):
            left, right = (x.T if trans1 else x), (y.T if trans2 else y)
            out, expected = numpy.empty((2, left.shape[0], right.shape[1]), dtype=args.dtype)
            mine, other, ratio = compare(
                lambda: ops.gemm(x, y, out=out, trans1=trans1, trans2=trans2),  # noqa: B023
                lambda: numpy.dot(left, right, out=expected),  # noqa: B023
                args.rounds,
            )
            numpy.testing.assert_allclose(out, expected, rtol=1e-3, atol=1e-3)
            speed = 2 * shape[0] * shape[1] * shape[2] / mine / 1e9
            print(f"{shape[0]:5d} {shape[1]:5d} {shape[2]:5d}  {name:<9} {mine * 1e6:10.2f} "
                  f"{other * 1e6:10.2f} {speed:8.1f} {ratio:6.2f}", flush=True)


if __name__ == "__main__":
    main()
