"""What the families of CUDA operations share: which arrays a kernel takes, and launching."""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Sequence, Tuple

# Said here again, and not taken from cuda_kernels.STORAGE, INDICES and NR_PARAMS, because
# these are only imported when the first kernel is launched. A test compares them.
# dtypes of arrays of floats that kernels take -> the dtype that sums of them are kept in.
ACCUMULATORS = {
    "float16": "float32",
    "bfloat16": "float32",
    "float32": "float32",
    "float64": "float64",
}
INDEX_DTYPES = ("int32", "uint32", "int64", "uint64")
NR_PARAMS = 4
# Of so many shapes the number of blocks is remembered.
MOST_SHAPES = 4096


# Whether launch checks every argument, as cuda_launch.launch does: for tests. Operations
# have checked what they were given, and the checks cost more than the launch.
checks_arguments = False

Start = Callable[[Tuple[Any, ...]], None]
_starts: Dict[Tuple[str, Any], Start] = {}


def launch(kernel: str, types: Any, *arguments: Any) -> None:
    """Start a kernel of cuda_kernels.KERNELS: see there for its arguments.

    types: a word, or a tuple of words, or (). Arrays are trusted to be contiguous and of
    the declared dtypes.
    """
    start = _starts.get((kernel, types))
    if start is None:
        start = _starts[kernel, types] = _make_start(kernel, types)
    start(arguments)


def _make_start(name: str, types: Any) -> Start:
    from . import cuda_launch
    from .cuda_kernels import DERIVED, KERNELS

    if checks_arguments:
        return lambda arguments: cuda_launch.launch(name, types, *arguments)
    kernel = KERNELS[name]
    words = (types,) if isinstance(types, str) else tuple(types)
    chosen = dict(zip(kernel.choices, words, strict=True))
    position = {argument.name: i for i, argument in enumerate(kernel.arguments)}
    sizes = [position[size] for size in kernel.sizes]
    derived = [(p, position[source], DERIVED[p]) for p, source in kernel.derived.items()]
    floats = [i for i, a in enumerate(kernel.arguments) if a.type == "f64" and not a.is_array]
    optional = [i for i, argument in enumerate(kernel.arguments) if argument.is_optional]
    functions: Dict[Tuple[int, ...], Any] = {}
    geometries: Dict[Tuple[int, ...], Any] = {}

    def start(arguments: Tuple[Any, ...]) -> None:
        shape = tuple([arguments[i] for i in sizes])
        geometry = geometries.get(shape)
        if geometry is None:
            if len(geometries) > MOST_SHAPES:
                geometries.clear()
            geometry = geometries[shape] = kernel.rule(*shape)
        if geometry.is_empty:
            return
        deciding = tuple([arguments[i] for _, i, _ in derived])
        function = functions.get(deciding)
        if function is None:
            found = {p: rule(arguments[i]) for p, i, rule in derived}
            loaded = tuple(found.get(p) or chosen[p] for p in kernel.template)
            function = functions[deciding] = cuda_launch.load(name, loaded)
        values = list(arguments)
        for i in floats:
            values[i] = float(values[i])  # CuPy takes the C type from Python's
        for i in optional:
            if values[i] is None:
                values[i] = 0  # a null pointer
        function(geometry.grid, geometry.block, tuple(values))

    return start


# dtype -> its name if there are kernels for it, else None: asking a dtype takes a while.
_names: Dict[Any, Optional[str]] = {}


def kernel_dtype(*arrays: Any) -> Optional[str]:
    """The name of the dtype that all arrays have, if there are kernels for it."""
    dtype = arrays[0].dtype
    if dtype not in _names:
        _names[dtype] = dtype.name if dtype.name in ACCUMULATORS else None
    for array in arrays[1:]:
        if array.dtype is not dtype and array.dtype != dtype:
            return None
    return _names[dtype]


def contiguous(xp: Any, X: Any) -> Any:
    """X itself if its elements lie one after another, else a copy."""
    return X if X.flags.c_contiguous else xp.ascontiguousarray(X)


def is_on_device(xp: Any, *arrays: Any) -> bool:
    """Whether all of these are arrays of the device."""
    return all(isinstance(array, xp.ndarray) for array in arrays)


def padded_params(params: Sequence[float]) -> Tuple[float, ...]:
    """A formula's parameters as the kernels take them: always four."""
    return (*map(float, params), *(0.0,) * (NR_PARAMS - len(params)))


def write_result(X: Any, compute: Callable[[Any], None], xp: Any) -> Any:
    """Let compute(Y) fill X; by way of a contiguous array if X is none. Returns X.

    compute may read what was in X from Y.
    """
    Y = contiguous(xp, X)
    compute(Y)
    if Y is not X:
        X[...] = Y
    return X
