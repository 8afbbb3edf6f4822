"""The CUDA kernels, compiled by the host's compiler over host_shim.hpp, and run there."""

import ctypes
import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy

from thinc.backends import cuda_kernels, cuda_launch
from thinc.backends.cuda_kernels import KERNELS, Kernel

HERE = Path(__file__).parent
COMPILER = os.environ.get("CXX", "g++")
# Contraction off, or the compiler fuses other multiplications and additions in each copy of
# a function that it inlines, and results depend on where an element stood.
FLAGS = ["-std=c++17", "-Og", "-g0", "-fPIC", "-shared", "-ffp-contract=off", "-w"]
FLAGS += ["-U_FORTIFY_SOURCE", "-fno-strict-aliasing", "-fvisibility=hidden"]
CANARY = 0xFF  # bytes around arrays: NaN as a float, -1 as an index
MARGIN = 64
# Types in declarations -> C++, for those that do not depend on the template.
TYPES = {
    "float": "float",
    "int": "int",
    "i64": "long long",
    "u32": "unsigned int",
    "u64": "unsigned long long",
    "f64": "double",
}


class Launch(ctypes.Structure):
    _fields_ = [
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("seed", ctypes.c_uint64),
        ("first", ctypes.c_ulonglong),
        ("end", ctypes.c_ulonglong),
    ]


class HostKernels:
    """All instantiations of all kernels as host functions."""

    def __init__(self, folder: Path):
        """Compiles into folder, unless what is there has been made of the same sources."""
        sources = sorted({kernel.source for kernel in KERNELS.values()})
        with ThreadPoolExecutor(2) as pool:
            libraries = list(pool.map(lambda source: _build(folder, source), sources))
        self.entries: Dict[str, Tuple[ctypes.CDLL, int]] = {}
        for source, library in zip(sources, libraries, strict=True):
            library.host_run.restype = ctypes.c_char_p
            library.host_signature.restype = ctypes.c_char_p
            for i, expression in enumerate(_expressions(source)):
                self.entries[expression] = (library, i)

    def signature(self, expression: str) -> str:
        """The C++ types of a kernel's parameters."""
        library, index = self.entries[expression]
        return library.host_signature(index).decode()

    def run(
        self,
        name: str,
        words: Any,
        *arguments: Any,
        order: int = 0,
        offset: int = 0,
        blocks: Optional[int] = None,
    ) -> None:
        """As cuda_launch.launch, with numpy arrays, which are changed in place.

        order: in which the threads run: 0 in order, 1 backwards, else shuffled.
        offset: elements between a multiple of 16 bytes and each array.
        blocks: run the kernel in a grid of at most so many blocks in each dimension.
        AssertionError if the kernel misbehaves: barriers that do not meet, writes outside
        its arrays or into those that it should only read.
        """
        launch = cuda_launch.prepare(name, words, *arguments)
        guarded: Dict[int, _Guarded] = {}
        slots = (ctypes.c_uint64 * len(arguments))()
        for i, (argument, value) in enumerate(
            zip(launch.kernel.arguments, launch.arguments, strict=True)
        ):
            if isinstance(value, numpy.ndarray):
                guard = guarded.setdefault(id(value), _Guarded(value, offset))
                guard.may_change |= argument.is_written
                slots[i] = guard.address
            else:
                slots[i] = as_slot(argument.type, value)
        grid = tuple(min(n, blocks or n) for n in launch.geometry.grid)
        self.call(launch.kernel, launch.types, grid, launch.geometry.block, slots, order)
        for guard in guarded.values():
            guard.finish(name)

    def call(
        self,
        kernel: Kernel,
        types: Sequence[str],
        grid: Sequence[int],
        block: Sequence[int],
        slots: Any,
        order: int = 0,
        only: Optional[Tuple[int, int]] = None,
    ) -> None:
        """Run blocks of a grid, by default all of them, on arguments as they are."""
        count = grid[0] * grid[1] * grid[2]
        first, end = only or (0, count)
        library, index = self.entries[kernel.expression(types)]
        launch = Launch((*grid,), (*block,), order, first, end)
        error = library.host_run(index, ctypes.byref(launch), slots)
        assert not error, f"{kernel.expression(types)}: {error.decode()}"


def as_slot(kind: str, value: Any) -> int:
    """The eight bytes of a number or null pointer, as an unsigned integer."""
    if value is None:
        return 0
    number = numpy.float64(value) if kind == "f64" else numpy.int64(value)
    return int(number.view("uint64"))


def expected_signature(kernel: Kernel, types: Sequence[str]) -> str:
    """What a kernel's parameters should be, by its declaration."""
    chosen = dict(zip(kernel.template, types, strict=True))
    names = dict(TYPES)
    for parameter in ("T", "Index", "Unit"):
        if parameter in chosen:
            names[parameter] = cuda_kernels.CHOICES[parameter][chosen[parameter]]
    if "T" in chosen:
        names["C"] = "double" if chosen["T"] == "float64" else "float"
    parts = []
    for argument in kernel.arguments:
        const = "const " if argument.is_array and not argument.is_written else ""
        parts.append(const + names[argument.type] + ("*" if argument.is_array else ""))
    return ", ".join(parts)


class _Guarded:
    """A copy of an array between canaries."""

    def __init__(self, array: numpy.ndarray, offset: int):
        self.array = array
        self.may_change = False
        before = MARGIN + offset * array.itemsize
        self.memory = numpy.full(before + array.nbytes + 2 * MARGIN, CANARY, dtype="uint8")
        start = -self.memory.ctypes.data % 16 + before
        self.inside = slice(start, start + array.nbytes)
        self.memory[self.inside] = numpy.frombuffer(array.tobytes(), dtype="uint8")
        self.before = self.memory.copy()
        self.address = self.memory.ctypes.data + start

    def finish(self, name: str) -> None:
        """Copy the result back, once the rest is seen to be as it was."""
        if self.may_change:
            changed = self.memory[self.inside].tobytes()
            self.array[...] = numpy.frombuffer(changed, self.array.dtype).reshape(self.array.shape)
            self.before[self.inside] = self.memory[self.inside]
        assert (self.memory == self.before).all(), f"{name} wrote where it should not"


def _expressions(source: str) -> List[str]:
    return [
        kernel.expression(types)
        for kernel in KERNELS.values()
        if kernel.source == source
        for types in cuda_kernels.instantiations(kernel)
    ]


def _program(source: str) -> str:
    entries = ",\n".join(f"    host::entry<&{name}>()" for name in _expressions(source))
    return f"""#include "host_shim.hpp"
#include "{source}"
namespace host {{
template <> struct TypeName<thinc::Half> {{ static std::string get() {{ return "thinc::Half"; }} }};
template <> struct TypeName<thinc::BFloat16> {{
    static std::string get() {{ return "thinc::BFloat16"; }}
}};
template <> struct TypeName<thinc::Bytes16> {{
    static std::string get() {{ return "thinc::Bytes16"; }}
}};
}}
static const host::Entry ENTRIES[] = {{
{entries}
}};
#define EXPORT extern "C" __attribute__((visibility("default")))
EXPORT const char* host_run(int i, const host::Launch* launch, void* slots) {{
    return host::run(ENTRIES[i], launch, slots);
}}
EXPORT const char* host_signature(int i) {{ return ENTRIES[i].signature(); }}
"""


def _build(folder: Path, source: str) -> ctypes.CDLL:
    program = _program(source)
    options = [*FLAGS, f"-I{HERE}", *cuda_launch.compile_options()[1:]]
    digest = hashlib.sha256()
    for text in (program, COMPILER, repr(options), sys.platform):
        digest.update(text.encode() + b"\0")
    for path in (HERE / "host_shim.hpp", *cuda_launch.source_files()):
        if path.suffix != ".cu" or path.name == source:
            digest.update(path.name.encode() + path.read_bytes())
    stem = f"{Path(source).stem}-{digest.hexdigest()[:16]}"
    library = folder / f"{stem}.so"
    if not library.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob(f"{Path(source).stem}-*"):
            stale.unlink(missing_ok=True)
        file = folder / f"{stem}.cpp"
        file.write_text(program)
        unfinished = folder / f"{stem}.{os.getpid()}.part"
        done = subprocess.run(
            [COMPILER, *options, str(file), "-o", str(unfinished)], capture_output=True, text=True
        )
        assert done.returncode == 0, f"{source}:\n{done.stderr[:6000]}"
        unfinished.replace(library)
    return ctypes.CDLL(str(library))
