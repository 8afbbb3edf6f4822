"""All CUDA sources compile, for old and new devices, with the compilers of CUDA 12 and 13.

As CuPy would do it at run time, with its options; the compiler needs no device.
"""

import re
import sys
from concurrent.futures import ThreadPoolExecutor

import nvrtc
import pytest

from thinc.backends.cuda_kernels import KERNELS, instantiations
from thinc.backends.cuda_launch import compile_options, source_code

SOURCES = sorted({kernel.source for kernel in KERNELS.values()})
# What CuPy adds to any program's options.
CUPY_OPTIONS = ["--device-as-default-execution-space", "-ftz=true"]
# Kernels that compute in double precision on purpose.
IN_DOUBLE = {
    "dropout_mask",  # the limit, once a thread
    "dropout",
    "position_encode",
    "gradient_squares",
    "gradient_norms",
    "adam",  # the scale of a clipped gradient, 1 - beta
    "sgd",
    "squares",
    "norm",
    "clip_by_norm",
}

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="NVIDIA has pip packages of NVRTC for Linux only"
)


def kernels_of(source, dtype=None):
    """(kernel, types) of every instantiation in a source, or of those for a dtype."""
    return [
        (kernel, types)
        for kernel in KERNELS.values()
        if kernel.source == source
        for types in instantiations(kernel)
        if dtype is None or "T" not in kernel.template or dtype in types
    ]


def compile_kernels(source, kernels, *options, cuda=12):
    expressions = [kernel.expression(types) for kernel, types in kernels]
    options = [*compile_options(), *CUPY_OPTIONS, *options]
    return nvrtc.compile_source(source_code(source), expressions, options, cuda)


def entries(ptx):
    """Kernels of a PTX text: mangled name -> (parameters, body)."""
    found = re.findall(r"\.entry (\w+)\(\n?(.*?)\n?\)(.*?)\n\}", ptx.decode(), re.DOTALL)
    return {name: (parameters, body) for name, parameters, body in found}


@pytest.mark.parametrize("cuda", nvrtc.LIBRARIES)
def test_the_compiler_is_installed(cuda):
    assert nvrtc.library_path(cuda), "pip install thinc[test] brings NVRTC"
    assert nvrtc.version(cuda).startswith(f"{cuda}.")


@pytest.mark.parametrize("cuda", nvrtc.LIBRARIES)
@pytest.mark.parametrize("architecture", [75, 80, 90])
def test_every_kernel_compiles(cuda, architecture):
    """All instantiations, with little optimization: the errors are the same."""
    options = (f"--gpu-architecture=compute_{architecture}", "--Ofast-compile=max")

    def compile_all(source):
        kernels = kernels_of(source)
        return kernels, compile_kernels(source, kernels, *options, cuda=cuda)

    with ThreadPoolExecutor(2) as pool:
        for kernels, compiled in pool.map(compile_all, SOURCES):
            assert not compiled.log, "no warnings"
            found = entries(compiled.code)
            for kernel, types in kernels:
                name = compiled.names[kernel.expression(types)]
                # CuPy passes a number of eight bytes for each argument, whatever we declare.
                kinds = re.findall(r"\.param \.(?:align \d+ \.)?(\w+)", found[name][0])
                expected = [
                    "f64" if argument.type == "f64" and not argument.is_array else "u64"
                    for argument in kernel.arguments
                ]
                assert kinds == expected, kernel.name


@pytest.fixture(scope="module")
def optimized():
    """The kernels of float32 as an H100 runs them: PTX, and machine code with its log.

    The latter not of activations and tables, whose kernels need few registers.
    """

    def compile_both(source):
        kernels = kernels_of(source, "float32")
        ptx = compile_kernels(source, kernels, "--gpu-architecture=compute_90")
        if source in ("elementwise.cu", "tables.cu", "layout.cu"):
            return kernels, ptx, None
        cubin = compile_kernels(source, kernels, "--gpu-architecture=sm_90", "--ptxas-options=-v")
        assert cubin.code[:4] == b"\x7fELF"
        return kernels, ptx, cubin

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(SOURCES, pool.map(compile_both, SOURCES), strict=True))


def test_registers_are_enough(optimized):
    """No kernel keeps a variable in memory, and all threads of a block find registers."""
    function = re.compile(
        r"Compiling entry function '(\w+)'.*?(\d+) bytes spill stores.*?Used (\d+) registers",
        re.DOTALL,
    )
    count = 0
    for kernels, _, cubin in optimized.values():
        if cubin is None:
            continue
        found = {name: (int(bytes_), int(n)) for name, bytes_, n in function.findall(cubin.log)}
        for kernel, types in kernels:
            spilled, registers = found[cubin.names[kernel.expression(types)]]
            x, y, _ = kernel.rule(*[1] * len(kernel.sizes)).block
            assert spilled == 0, kernel.name
            # Registers are given to warps in units of eight a thread, 65,536 to a block.
            assert -(-registers // 8) * 8 * x * y <= 65536, kernel.name
            count += 1
    assert count > 60


def test_kernels_of_floats_do_not_compute_in_double(optimized):
    """On most cards a double costs 32 times as much. Arguments are doubles, though."""
    conversion = re.compile(r"^\s*(ld\.param|cvt\.rn(\.ftz)?\.f32|mov)\.f64")
    for kernels, ptx, _ in optimized.values():
        found = entries(ptx.code)
        for kernel, types in kernels:
            if kernel.name in IN_DOUBLE:
                continue
            body = found[ptx.names[kernel.expression(types)]][1]
            lines = [line for line in body.splitlines() if ".f64" in line and ".reg" not in line]
            assert [line for line in lines if not conversion.match(line)] == [], kernel.name


@pytest.mark.parametrize(
    "name, loads, stores",
    [
        ("map_values", 1, 1),
        ("map_slopes", 2, 1),
        ("add_bias", 2, 1),
        ("dropout", 1, 1),
        ("seq2col", 1, 1),
        ("backprop_seq2col", 1, 1),
        ("hash_embed", 4, 1),
        ("gather_add", 1, 1),
        ("spread", 1, 1),
        ("adam", 4, 4),
        ("sgd", 2, 2),
        ("gradient_squares", 1, 0),
        ("gather_rows", 1, 1),
        ("pad_rows", 1, 1),
    ],
)
def test_wide_loads_and_stores(optimized, name, loads, stores):
    """Where memory is the limit, 16 bytes are moved at a time."""
    kernel = KERNELS[name]
    kernels, ptx, _ = optimized[kernel.source]
    found = entries(ptx.code)
    checked = 0
    for other, types in kernels:
        if other is not kernel or types[0] in ("identity", "1", "2", "4"):
            continue  # the identity does not read its input
        body = found[ptx.names[kernel.expression(types)]][1]
        assert len(re.findall(r"ld(?:\.global)?(?:\.nc)?\.v4", body)) >= loads
        assert len(re.findall(r"st(?:\.global)?\.v4", body)) >= stores
        checked += 1
    assert checked


def test_sixteen_bits_are_converted_by_the_hardware():
    kernel, types = KERNELS["map_values"], ("relu", "float16")
    ptx = compile_kernels("elementwise.cu", [(kernel, types)], "--gpu-architecture=compute_80")
    assert b"cvt.f32.f16" in ptx.code and b"cvt.rn.f16.f32" in ptx.code
    types = ("relu", "bfloat16")
    ptx = compile_kernels("elementwise.cu", [(kernel, types)], "--gpu-architecture=compute_80")
    assert b"cvt.rn.bf16.f32" in ptx.code
    ptx = compile_kernels("elementwise.cu", [(kernel, types)], "--gpu-architecture=compute_75")
    assert b"cvt.rn.bf16.f32" not in ptx.code  # there is no such instruction


def test_a_mistake_is_reported_with_its_line():
    with pytest.raises(AssertionError, match=r"kernels.cu\(1\).*undeclared_thing"):
        nvrtc.compile_source(
            "__global__ void f(float* y) { *y = undeclared_thing; }", ["f"], compile_options()
        )
