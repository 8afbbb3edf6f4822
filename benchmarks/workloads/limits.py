"""What the machine can do: the fastest product, the fastest copy."""
import numpy
from work import Work

SIDE = 512
NEAR = 8_000_000  # bytes: with the copy the 16 MB that a step of Adam works on
FAR = 84_000_000  # beyond any cache


def operands():
    rng = numpy.random.default_rng(0)
    return [rng.random((SIDE, SIDE), "float32") for _ in range(3)]


def sgemm_ours():
    from thinc.api import NumpyOps

    A, B, C = operands()
    ops = NumpyOps()
    return Work(lambda: ops.gemm(A, B, out=C), flops=2.0 * SIDE**3)


def sgemm_numpy():
    A, B, C = operands()
    return Work(lambda: numpy.dot(A, B, out=C), flops=2.0 * SIDE**3)


def copying(size):
    A = numpy.ones(size, "uint8")
    B = numpy.zeros(size, "uint8")
    return Work(lambda: numpy.copyto(B, A), moved=2.0 * size)


def copy_near():
    return copying(NEAR)


def copy_far():
    return copying(FAR)
