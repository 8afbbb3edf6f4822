"""The host's emulation notices what is wrong in a kernel: each of these has one mistake."""

import ctypes
import re
import subprocess

import host
import numpy
import pytest

SOURCE = """
#include "host_shim.hpp"

__global__ void right(int* y) {
    __shared__ int x[64];
    x[threadIdx.x] = threadIdx.x;
    __syncthreads();
    int sum = x[63 - threadIdx.x];
    for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(~0u, sum, offset);
    if (__syncthreads_or(threadIdx.x == 5)) y[threadIdx.x] = sum;
}
__global__ void no_barrier(int* y) {
    __shared__ int x[64];
    x[threadIdx.x] = 0;
    __syncthreads();
    x[threadIdx.x] = threadIdx.x;
    y[threadIdx.x] = x[63 - threadIdx.x];
}
__global__ void barrier_for_some(int* y) {
    if (threadIdx.x < 40) __syncthreads();
    y[threadIdx.x] = 1;
}
__global__ void two_barriers(int* y) {
    if (threadIdx.x < 32) {
        __syncthreads();
    } else {
        __syncthreads();
    }
}
__global__ void shuffle_of_some(int* y) {
    if (threadIdx.x != 3) y[threadIdx.x] = __shfl_xor_sync(~0u, 1, 1);
}
__global__ void shuffle_beside_barrier(int* y) {
    if (threadIdx.x % 2) {
        __syncthreads();
    } else {
        y[0] = __shfl_up_sync(~0u, 1, 1);
    }
}
__global__ void shuffle_of_a_mask(int* y) { y[threadIdx.x] = __shfl_xor_sync(0xffffu, 1, 1); }
__global__ void unaligned_load(int* y) {
    const uint4 v = *reinterpret_cast<const uint4*>(y + 1);
    y[0] = v.x;
}
__global__ void unaligned_store(int* y) {
    uint4 v;
    v.x = v.y = v.z = v.w = 0;
    *reinterpret_cast<uint4*>(y + 2) = v;
}
static const host::Entry ENTRIES[] = {
    host::entry<right>(), host::entry<no_barrier>(), host::entry<barrier_for_some>(),
    host::entry<two_barriers>(), host::entry<shuffle_of_some>(),
    host::entry<shuffle_beside_barrier>(), host::entry<shuffle_of_a_mask>(),
    host::entry<unaligned_load>(), host::entry<unaligned_store>(),
};
extern "C" __attribute__((visibility("default"))) const char* host_run(
    int i, const host::Launch* launch, void* slots) {
    return host::run(ENTRIES[i], launch, slots);
}
"""
RIGHT, NO_BARRIER = 0, 1
MISTAKES = {
    2: "barrier at line .* after some threads have returned",
    3: "barriers at lines .* at the same time",
    4: "shuffle at line .* that not all lanes",
    5: "shuffle at line .* that not all lanes",
    6: "a shuffle of some lanes",
    7: "a load of 16 bytes at an address",
    8: "a store of 16 bytes at an address",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory, kernels):
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.cpp").write_text(SOURCE)
    command = [host.COMPILER, *host.FLAGS, f"-I{host.HERE}", "shim.cpp", "-o", "shim.so"]
    subprocess.run(command, cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "shim.so"))
    library.host_run.restype = ctypes.c_char_p

    def run(kernel, order):
        memory = numpy.full(80, -1, "int32")
        start = -memory.ctypes.data % 16 // 4
        slots = (ctypes.c_uint64 * 1)(memory.ctypes.data + 4 * start)
        launch = host.Launch((1, 1, 1), (64, 1, 1), order, 0, 1)
        error = library.host_run(kernel, ctypes.byref(launch), slots)
        return memory[start : start + 64], error.decode()

    return run


@pytest.mark.parametrize("order", range(5))
def test_a_kernel_without_mistake(run, order):
    y, error = run(RIGHT, order)
    assert not error
    x = numpy.arange(63, -1, -1).reshape(2, 32)
    numpy.testing.assert_array_equal(y, numpy.repeat(x.sum(axis=1), 32))


def test_a_missing_barrier_shows_in_the_result(run):
    results = {tuple(run(NO_BARRIER, order)[0]) for order in range(5)}
    assert len(results) > 1


@pytest.mark.parametrize("order", range(3))
@pytest.mark.parametrize("kernel", MISTAKES)
def test_mistakes(run, kernel, order):
    _, error = run(kernel, order)
    assert re.search(MISTAKES[kernel], error), error
    assert not run(RIGHT, order)[1], "what a mistake leaves behind does no harm"
