"""Launching CUDA kernels: from a name and arrays to a kernel on the current stream.

CuPy is imported when the first kernel is launched, and each instantiation is compiled
then; CuPy keeps compiled kernels on disk. All that can go wrong before is checked here
in plain Python, by code that needs no device (`prepare`).
"""

import functools
import hashlib
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy

from ..include_dir import get_include
from .cuda_geometry import CHUNK, Geometry, ceil_div
from .cuda_kernels import DERIVED, INDICES, KERNELS, STORAGE, Kernel

SOURCES = Path(__file__).resolve().parent / "cuda"
# Types of declarations that do not depend on the template -> dtype.
DTYPES = {
    "float": "float32",
    "int": "int32",
    "i64": "int64",
    "u32": "uint32",
    "u64": "uint64",
    "f64": "float64",
}
TABLE_FIELDS = 7  # of a parameter in the optimizers' table

Words = Union[str, Sequence[str]]


class Launch(NamedTuple):
    """A launch that has passed all checks. None stands for a null pointer."""

    kernel: Kernel
    types: Tuple[str, ...]  # one word for each template parameter
    geometry: Geometry
    arguments: Tuple[Any, ...]


def launch(name: str, words: Words, *arguments: Any) -> None:
    """Launch a kernel of KERNELS on CuPy's current stream; the host does not wait.

    words: the template parameters that the caller chooses (kernel.choices), () or "" if
    there are none. arguments: in the order of the declaration, CuPy arrays for pointers.
    Raises what prepare raises; TypeError for a NumPy array; ImportError without CuPy.
    """
    kernel, types, geometry, values = prepare(name, words, *arguments)
    if geometry.is_empty:
        return
    for argument, value in zip(kernel.arguments, values, strict=True):
        # CuPy would pass the one element of such an array in place of an address.
        if isinstance(value, numpy.ndarray):
            raise TypeError(f"CUDA kernel {name}: {argument.name} is an array on the host.")
    # None would be a missing argument to older CuPy, a zero is a null pointer to all.
    pointers = tuple(0 if value is None else value for value in values)
    load(kernel.name, types)(geometry.grid, geometry.block, pointers)


def prepare(name: str, words: Words, *arguments: Any) -> Launch:
    """Check the arguments of a launch and find its instantiation and geometry.

    Raises KeyError for an unknown kernel or word, TypeError for a wrong number of
    arguments or an argument of the wrong kind or dtype, ValueError for an array that is
    not C-contiguous, a negative size or a missing array.
    """
    plan = _plan(name, (words,) if isinstance(words, str) and words else tuple(words))
    return plan(arguments)


@functools.cache
def _plan(name: str, words: Tuple[str, ...]) -> Callable[[Tuple[Any, ...]], Launch]:
    """What can be known before the arguments are: a function that checks these."""
    if name not in KERNELS:
        known = ", ".join(sorted(KERNELS))
        raise KeyError(f"There is no CUDA kernel {name!r}. There are: {known}.")
    kernel = KERNELS[name]
    if len(words) != len(kernel.choices):
        raise TypeError(
            f"CUDA kernel {name}: expected {len(kernel.choices)} template parameters "
            f"({', '.join(kernel.choices)}), got {words}."
        )
    chosen = dict(zip(kernel.choices, words, strict=True))
    # The words are checked now, for any value of those that will be derived.
    kernel.expression([chosen.get(p, "0") for p in kernel.template])
    count = len(kernel.arguments)
    position = {argument.name: i for i, argument in enumerate(kernel.arguments)}
    sizes = [position[size] for size in kernel.sizes]
    derived = {p: (position[source], DERIVED[p]) for p, source in kernel.derived.items()}
    checks = [
        (i, argument, _dtype(argument.type, chosen)) for i, argument in enumerate(kernel.arguments)
    ]
    fixed = tuple(words) if not derived else None

    def check(arguments: Tuple[Any, ...]) -> Launch:
        if len(arguments) != count:
            raise TypeError(
                f"CUDA kernel {name}: expected {count} arguments "
                f"({', '.join(position)}), got {len(arguments)}."
            )
        values = list(arguments)
        for i, argument, dtype in checks:
            value = arguments[i]
            if not argument.is_array:
                values[i] = _number(name, argument, value)
            elif value is None:
                if not argument.is_optional:
                    raise ValueError(f"CUDA kernel {name}: {argument.name} may not be None.")
            else:
                _check_array(name, argument.name, value, dtype)
        types = fixed
        if types is None:
            found = {p: rule(values[i]) for p, (i, rule) in derived.items()}
            types = tuple(found.get(p) or chosen[p] for p in kernel.template)
        return Launch(kernel, types, kernel.rule(*[values[i] for i in sizes]), tuple(values))

    return check


def _number(name: str, argument, value: Any) -> Any:
    if argument.type == "f64":
        if isinstance(value, (float, int, numpy.floating, numpy.integer)):
            return float(value)
    elif isinstance(value, (int, numpy.integer)):
        if value >= 0 or argument.name in SIGNED:
            return int(value)
        raise ValueError(f"CUDA kernel {name}: {argument.name} must be >= 0, got {value}.")
    expected = "a float" if argument.type == "f64" else "an int"
    raise TypeError(
        f"CUDA kernel {name}: {argument.name} is {expected}, got {type(value).__name__}."
    )


# Integers that may be negative.
SIGNED = {"default", "total"}


def _check_array(name: str, argument: str, array: Any, dtype: Optional[str]) -> None:
    if not hasattr(array, "dtype"):
        raise TypeError(f"CUDA kernel {name}: {argument} is an array, got {type(array).__name__}.")
    if dtype == "bfloat16":
        # A dtype only where ml_dtypes is; its bits come in uint16 as well.
        fits = array.dtype.name in ("bfloat16", "uint16")
    else:
        fits = dtype is None or array.dtype == dtype
    if not fits:
        raise TypeError(
            f"CUDA kernel {name}: {argument} is an array of {dtype}, got {array.dtype}."
        )
    if not array.flags.c_contiguous:
        raise ValueError(f"CUDA kernel {name}: {argument} must be C-contiguous.")


def _dtype(kind: str, chosen: Dict[str, str]) -> Optional[str]:
    """The dtype of an array, None where any will do (units, bytes)."""
    if kind in ("T", "C"):
        return compute_dtype(chosen["T"]) if kind == "C" else chosen["T"]
    if kind == "Index":
        return chosen["Index"]
    return DTYPES.get(kind)


def compute_dtype(dtype: str) -> str:
    """The dtype that kernels compute in, that of moments, means and partial sums."""
    return "float64" if dtype == "float64" else "float32"


# ---- compilation -----------------------------------------------------------------


@functools.cache
def load(name: str, types: Tuple[str, ...]) -> Any:
    """An instantiation as a CuPy function, compiled on first use (or read from disk).

    CuPy keeps one for each device it is used on. Raises ImportError without CuPy, and
    CuPy's CompileException with the compiler's output if the source does not compile.
    """
    import cupy

    kernel = KERNELS[name]
    expression = kernel.expression(types)
    module = cupy.RawModule(
        code=source_code(kernel.source),
        options=tuple(compile_options()),
        name_expressions=(expression,),
    )
    return module.get_function(expression)


def source_code(source: str) -> str:
    """What is given to the compiler for a file of cuda/.

    CuPy's cache looks at this text alone, not at what it includes: hence the hash.
    """
    return f'// {sources_hash()}\n#include "{source}"\n'


def compile_options() -> List[str]:
    """Options for NVRTC. No fast math: NaN, infinity and division behave as on the CPU."""
    return ["--std=c++17", f"-I{SOURCES}", f"-I{get_include()}"]


def source_files() -> List[Path]:
    """All files that a kernel is made of."""
    headers = sorted((Path(get_include()) / "thinc").glob("*.hpp"))
    return [*sorted(SOURCES.glob("*.cu")), *sorted(SOURCES.glob("*.cuh")), *headers]


@functools.cache
def sources_hash() -> str:
    """A hash of the content of all source files."""
    digest = hashlib.sha256()
    for path in source_files():
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


# ---- arguments that take some work ---------------------------------------------------


def copy_unit(row_bytes: int, *addresses: int) -> str:
    """The widest unit in bytes, as a word for launch, that divides a row and all addresses."""
    for unit in (16, 4, 2):
        if row_bytes % unit == 0 and all(address % unit == 0 for address in addresses):
            return str(unit)
    return "1"


def parameter_table(parameters: Sequence[Sequence[int]]) -> Tuple[numpy.ndarray, int]:
    """The optimizers' table, on the host, and its number of chunks.

    parameters: for each, the addresses of weights, gradient, mom1, mom2 and averages (0
    for none), and the number of elements. Returns int64 (len(parameters), 7).
    """
    table = numpy.zeros((len(parameters), TABLE_FIELDS), dtype="int64")
    chunks = 0
    for row, parameter in zip(table, parameters, strict=True):
        if len(parameter) != TABLE_FIELDS - 1:
            raise ValueError(
                "parameter_table: expected weights, gradient, mom1, mom2, averages and size of "
                f"each parameter, got {len(parameter)} numbers."
            )
        row[:-1] = parameter
        row[-1] = chunks
        chunks += ceil_div(int(parameter[-1]), CHUNK)
    return table, chunks


def float_dtypes() -> List[str]:
    """The dtypes that kernels store floats in."""
    return list(STORAGE)


def index_dtypes() -> List[str]:
    """The dtypes that kernels take indices in."""
    return list(INDICES)
