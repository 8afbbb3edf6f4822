"""The call of cuBLAS inside of CUDA graphs, of a library with its interface made for the test."""

import ctypes
import os
import shutil
import subprocess

import fake_cupy
import numpy
import pytest
from numpy.testing import assert_allclose

from thinc.backends import CupyOps, captured_blas
from thinc.backends.captures import NotCapturable, capturing

multiply = captured_blas._multiply  # before fake_cupy replaces it

# Columns one after another, as cublas_api.h declares it; for float and double.
SOURCE = r"""
#include <stddef.h>
static void *stream, *space;
static size_t space_bytes;
int cublasSetStream_v2(void* handle, void* given) {
    stream = given; space = 0; return handle ? 0 : 1;
}
int cublasSetWorkspace_v2(void* handle, void* memory, size_t bytes) {
    space = memory; space_bytes = bytes; return handle ? 0 : 1;
}
#define PLACE(op, i, j, ld) (op) ? (j) + (size_t)(i) * (ld) : (i) + (size_t)(j) * (ld)
#define AT(T, p, op, i, j, ld) ((const T*)p)[PLACE(op, i, j, ld)]
#define GEMM(T) \
    for (int i = 0; i < m; ++i) for (int j = 0; j < n; ++j) { \
        double sum = 0; \
        for (int l = 0; l < k; ++l) sum += AT(T, a, opa, i, l, lda) * AT(T, b, opb, l, j, ldb); \
        T* place = (T*)c + i + (size_t)j * ldc; \
        T before = *(const T*)beta == 0 ? 0 : *(const T*)beta * *place; \
        *place = (T)(*(const T*)alpha * sum + before); \
    }
int cublasGemmEx(void* handle, int opa, int opb, int m, int n, int k, const void* alpha,
                 const void* a, int atype, int lda, const void* b, int btype, int ldb,
                 const void* beta, void* c, int ctype, int ldc, int compute, int algorithm) {
    if (!handle) return 1;
    if (atype != btype || btype != ctype || algorithm != -1) return 7;
    if (!space || space_bytes < 1024 || !stream) return 14;
    if (atype == 0 && compute == 68) { GEMM(float) return 0; }
    if (atype == 1 && compute == 70) { GEMM(double) return 0; }
    return 15;
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    folder = tmp_path_factory.mktemp("blas")
    (folder / "blas.c").write_text(SOURCE)
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", folder / "blas.so", folder / "blas.c"]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(folder / "blas.so"))


@pytest.fixture
def ops(monkeypatch, library):
    fake_cupy.install(monkeypatch)
    monkeypatch.setattr(captured_blas, "_multiply", multiply)
    monkeypatch.setattr(captured_blas, "_library", lambda: library)
    monkeypatch.setattr(fake_cupy.cuda.device, "get_cublas_handle", lambda: 12345, raising=False)
    with fake_cupy.Stream(non_blocking=True):
        yield CupyOps()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("trans1, trans2", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_products_of_every_layout(ops, dtype, trans1, trans2):
    rng = numpy.random.RandomState(0)
    space = ops.alloc((4096,), dtype="uint8")
    for M, N, K in ((1, 1, 1), (3, 5, 2), (4, 1, 6), (7, 8, 9)):
        a = rng.normal(size=(K, M) if trans1 else (M, K)).astype(dtype)
        b = rng.normal(size=(N, K) if trans2 else (K, N)).astype(dtype)
        expected = (a.T if trans1 else a) @ (b.T if trans2 else b)
        for x in (ops.asarray(a), ops.asarray(a.T.copy()).T, ops.asarray(a.repeat(2, 1))[:, ::2]):
            for y in (ops.asarray(b), ops.asarray(b.T.copy()).T):
                out = ops.alloc2f(M, N, dtype=dtype) + 1
                with capturing(space):
                    product = ops.gemm(x, y, trans1=bool(trans1), trans2=bool(trans2))
                    ops.gemm_add(out, x, y, trans1=bool(trans1), trans2=bool(trans2))
                    given = ops.gemm(x, y, product * 0, bool(trans1), bool(trans2))
                for found, extra in ((product, 0), (given, 0), (out, 1)):
                    assert found.dtype == dtype and found.flags.c_contiguous
                    assert_allclose(found.get(), expected + extra, rtol=1e-5, atol=1e-6)


def test_products_without_terms_are_zero(ops):
    with capturing(ops.alloc((4096,), dtype="uint8")):
        assert not ops.gemm(ops.alloc2f(2, 0), ops.alloc2f(0, 3)).get().any()
        assert ops.gemm(ops.alloc2f(0, 2), ops.alloc2f(2, 3)).shape == (0, 3)


def test_a_failure_of_cublas_is_an_error(ops, monkeypatch):
    X = ops.alloc2f(2, 2)
    with capturing(ops.alloc((4,), dtype="uint8")), pytest.raises(RuntimeError, match="status 14"):
        ops.gemm(X, X)  # too little room to work in
    with capturing(ops.alloc((4096,), dtype="uint8")):
        with pytest.raises(NotCapturable, match="int32 is multiplied by int32"):
            ops.gemm(X.astype("int32"), X.astype("int32"))
        with pytest.raises(ValueError, match="inner sizes differ"):
            ops.gemm(X, ops.alloc2f(3, 3))
