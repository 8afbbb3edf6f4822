"""A stand-in for CuPy on numpy's memory, to test the logic of CupyOps without a device.

It tests our Python: what is called, in which order, with which arrays, and what makes the
host wait. It does not test CUDA: there is no device, no stream and no kernel of CuPy's here.

What it has in common with CuPy, and numpy has not:
- its arrays are no numpy arrays; the two do not mix (TypeError), as little as in CuPy;
- what waits for the device in CuPy (bool(), float(), int(), item(), get(), tolist(),
  selecting by a mask, nonzero, unique, Stream.synchronize ...) is counted here with the place
  it came from, and raises Waited inside `no_waiting()`;
- results of reductions are arrays of no dimensions, not numpy's scalars;
- work is counted (one launch for each elementwise operation, reduction, copy or product),
  and so are copies from host to device;
- operations on a capturing stream are recorded and not done; a graph's launch does them.

Every name in FUNCTIONS and METHODS exists in CuPy 13 and 14.
"""

import builtins
import contextlib
import functools
import os
import pathlib
import sys
import types

import numpy


class Waited(AssertionError):
    """Something waited for the device inside no_waiting()."""


class Stats:
    """What has happened since reset(). Lists of 'file:line reason'."""

    def __init__(self):
        self.forbid_waiting = False
        self.capturing = None
        self.reset()

    def reset(self):
        self.syncs = []
        self.launches = []
        self.uploads = []

    def wait(self, reason):
        note = f"{_place()} {reason}"
        self.syncs.append(note)
        if self.capturing is not None:
            raise Waited(f"the host cannot wait while a stream is capturing: {note}")
        if self.forbid_waiting:
            raise Waited(f"the host waits for the device: {note}")

    def launch(self, name):
        self.launches.append(f"{_place()} {name}")

    def upload(self, name):
        self.uploads.append(f"{_place()} {name}")
        if self.capturing is not None:
            raise Waited(f"copies from pageable memory cannot be captured: {_place()} {name}")


def _place():
    """file:line of the innermost caller that is not of this module, of numpy or Python's own."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not builtins.any(part in name for part in ("fake_", "numpy", "/lib/python")):
            return f"{name.rpartition('/thinc/')[2]}:{frame.f_lineno}"
        frame = frame.f_back
    return "?"


STATS = Stats()


@contextlib.contextmanager
def no_waiting():
    """Inside the block, whatever waits for the device raises Waited."""
    before, STATS.forbid_waiting = STATS.forbid_waiting, True
    try:
        yield STATS
    finally:
        STATS.forbid_waiting = before


# ---- running and recording --------------------------------------------------------------


def run(name, function, args, kwargs=None, writes=()):
    """Do one operation of the device on numpy arrays, or record it while capturing.

    writes: the arrays among the arguments that the operation changes.
    """
    kwargs = kwargs or {}
    STATS.launch(name)
    graph = STATS.capturing
    if graph is None:
        return function(*args, **kwargs)
    # Not done now: whatever the operation changes, it gets back.
    before = [array.copy() for array in writes]
    with numpy.errstate(all="ignore"):
        result = function(*args, **kwargs)
    for array, content in zip(writes, before, strict=True):
        array[...] = content
    graph.record(function, args, kwargs, None if writes else result)
    if not writes:
        for part in result if isinstance(result, tuple) else (result,):
            if isinstance(part, numpy.ndarray) and part.dtype.kind == "f":
                part[...] = numpy.nan  # as memory that nobody has written
    return result


# ---- the array ------------------------------------------------------------------------------


class Flags:
    def __init__(self, flags):
        self.c_contiguous = flags.c_contiguous
        self.f_contiguous = flags.f_contiguous
        self.owndata = flags.owndata
        self.forc = flags.forc

    def __getitem__(self, name):
        names = {"C_CONTIGUOUS": "c_contiguous", "F_CONTIGUOUS": "f_contiguous"}
        return getattr(self, {**names, "OWNDATA": "owndata"}[name])


class MemoryPointer:
    def __init__(self, array):
        self.ptr = array.ctypes.data
        self.mem = array
        while isinstance(self.mem.base, numpy.ndarray):
            self.mem = self.mem.base

    def copy_from_host_async(self, source, size, stream=None):
        source = getattr(source, "value", source)
        _memmove(self.ptr, source, size)


def _memmove(target, source, size):
    import ctypes

    ctypes.memmove(target, source, size)


class Device:
    def __init__(self, device=0):
        self.id = int(device)

    def use(self):
        runtime.current_device = self.id

    def __enter__(self):
        self.before = runtime.current_device
        runtime.current_device = self.id
        return self

    def __exit__(self, *error):
        runtime.current_device = self.before

    def __eq__(self, other):
        return isinstance(other, Device) and self.id == other.id

    def synchronize(self):
        STATS.wait("Device.synchronize")


class ndarray:  # noqa: N801 - CuPy's name
    """An array 'on the device': holds a numpy array, and is none."""

    __array_priority__ = 100

    def __init__(self, shape, dtype=float, memptr=None, strides=None, order="C"):
        assert memptr is None and strides is None
        self._a = numpy.empty(shape, dtype=dtype, order=order)
        self.base = None

    # What needs no device.

    shape = property(lambda self: self._a.shape)
    strides = property(lambda self: self._a.strides)
    dtype = property(lambda self: self._a.dtype)
    ndim = property(lambda self: self._a.ndim)
    size = property(lambda self: self._a.size)
    nbytes = property(lambda self: self._a.nbytes)
    itemsize = property(lambda self: self._a.itemsize)
    flags = property(lambda self: Flags(self._a.flags))
    data = property(lambda self: MemoryPointer(self._a))
    device = property(lambda self: Device(0))
    T = property(lambda self: _view(self, self._a.T))

    @property
    def __cuda_array_interface__(self):
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self._a.ctypes.data, False),
            "version": 3,
            "strides": None if self.flags.c_contiguous else self.strides,
        }

    def __len__(self):
        return len(self._a)

    def __iter__(self):
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def reshape(self, *shape, order="C"):
        shape = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        result = self._a.reshape(shape, order=order)
        if not result.size or numpy.may_share_memory(result, self._a):
            return _view(self, result)
        return _wrap(run("copy", lambda a: a.reshape(shape, order=order).copy(), (self._a,)))

    def ravel(self, order="C"):
        return self.reshape(-1, order=order)

    def transpose(self, *axes):
        return _view(self, self._a.transpose(*axes))

    def swapaxes(self, a, b):
        return _view(self, self._a.swapaxes(a, b))

    def squeeze(self, axis=None):
        return _view(self, self._a.squeeze(axis))

    def view(self, dtype=None):
        return _view(self, self._a.view() if dtype is None else self._a.view(dtype))

    # What waits.

    def get(self, stream=None, order="C", out=None, blocking=True):
        STATS.wait("get")
        if out is not None:
            out[...] = self._a
            return out
        return numpy.array(self._a, order=order)

    def _scalar(name):
        def convert(self):
            STATS.wait(name)
            return getattr(self._a, name)()

        return convert

    __bool__ = _scalar("__bool__")
    __int__ = _scalar("__int__")
    __float__ = _scalar("__float__")
    __index__ = _scalar("__index__")
    item = _scalar("item")
    tolist = _scalar("tolist")
    tobytes = _scalar("tobytes")

    def __repr__(self):
        return f"fake_cupy.{self._a!r}"

    def __contains__(self, item):
        STATS.wait("in")
        return item in self._a

    def __array__(self, *args, **kwargs):
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if method != "__call__" or builtins.any(isinstance(x, numpy.ndarray) for x in inputs):
            return NotImplemented
        function = getattr(sys.modules[__name__], ufunc.__name__)
        return function(*inputs, **kwargs)

    __hash__ = None

    # Indexing.

    def __getitem__(self, index):
        plain, is_mask = _index(index)
        if is_mask:
            STATS.wait("selecting by a mask")
        result = self._a[plain]
        if isinstance(result, numpy.ndarray) and _is_basic(plain):
            return _view(self, result)
        if _is_basic(plain):
            # A single element: numpy would make a scalar of it.
            return _view(self, self._a[(*_as_tuple(plain), ...)])
        return _wrap(run("take", lambda a, i: a[i], (self._a, plain)))

    def __setitem__(self, index, value):
        plain, is_mask = _index(index)
        value = _plain(value)
        if is_mask:
            STATS.wait("assigning by a mask")

        def assign(a, v):
            a[plain] = v

        run("setitem", assign, (self._a, value), writes=(self._a,))

    # Operations.

    def copy(self, order="C"):
        return _wrap(run("copy", lambda a: a.copy(order), (self._a,)))

    def astype(self, dtype, order="K", casting=None, subok=None, copy=True):
        if not copy and self.dtype == dtype:
            return self
        with numpy.errstate(invalid="ignore"):
            return _wrap(run("astype", lambda a: a.astype(dtype, order), (self._a,)))

    def fill(self, value):
        run("fill", lambda a: a.fill(_plain(value)), (self._a,), writes=(self._a,))

    def __deepcopy__(self, memo):
        return self.copy()

    def __reduce__(self):
        STATS.wait("pickle")
        return _wrap, (self._a,)

    def __dlpack__(self, *args, **kwargs):
        raise BufferError("fake_cupy has no device memory to share")


def _as_tuple(index):
    return index if isinstance(index, tuple) else (index,)


def _is_basic(index):
    kinds = (int, slice, type(None), type(...), numpy.integer)
    return builtins.all(isinstance(part, kinds) for part in _as_tuple(index))


def _index(index):
    """The index in numpy's terms, and whether a mask is in it."""
    if isinstance(index, tuple):
        parts = [_index(part) for part in index]
        return tuple(part for part, _ in parts), builtins.any(mask for _, mask in parts)
    if isinstance(index, ndarray):
        return index._a, index.dtype == bool
    if isinstance(index, numpy.ndarray):
        STATS.upload("index")
        return index, index.dtype == bool
    return index, False


def _wrap(result):
    if isinstance(result, tuple):
        return tuple(_wrap(part) for part in result)
    array = object.__new__(ndarray)
    array._a = numpy.asarray(result)
    array.base = None
    if STATS.capturing is not None:
        # As in a pool of its own, what a graph uses stays where it is.
        STATS.capturing.kept.append(array._a)
    return array


def _view(base, result):
    array = object.__new__(ndarray)
    array._a = result
    array.base = base if base.base is None else base.base
    return array


def _plain(value):
    """numpy's array of a fake one; lists of them likewise. Refuses numpy's own arrays."""
    if isinstance(value, ndarray):
        return value._a
    if isinstance(value, numpy.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item) for item in value)
    return value


def _operator(name, ufunc, swapped=False):
    def operate(self, other):
        if isinstance(other, numpy.ndarray):
            raise TypeError(f"Unsupported type {type(other)}")
        if not isinstance(other, (ndarray, int, float, complex, bool, numpy.generic)):
            return NotImplemented
        pair = (_plain(other), self._a) if swapped else (self._a, _plain(other))
        return _wrap(run(name, ufunc, pair))

    return operate


def _inplace_operator(name, ufunc):
    def operate(self, other):
        if isinstance(other, numpy.ndarray):
            raise TypeError(f"Unsupported type {type(other)}")
        arguments = (self._a, _plain(other))
        run(name, ufunc, arguments, {"out": self._a}, writes=(self._a,))
        return self

    return operate


for _name, _ufunc in {
    "add": numpy.add, "sub": numpy.subtract, "mul": numpy.multiply, "truediv": numpy.true_divide,
    "floordiv": numpy.floor_divide, "mod": numpy.remainder, "pow": numpy.power,
    "and": numpy.bitwise_and, "or": numpy.bitwise_or, "xor": numpy.bitwise_xor,
    "lshift": numpy.left_shift, "rshift": numpy.right_shift, "matmul": numpy.matmul,
}.items():  # fmt: skip
    setattr(ndarray, f"__{_name}__", _operator(_name, _ufunc))
    setattr(ndarray, f"__r{_name}__", _operator(f"r{_name}", _ufunc, swapped=True))
    setattr(ndarray, f"__i{_name}__", _inplace_operator(f"i{_name}", _ufunc))
for _name, _ufunc in {
    "lt": numpy.less, "le": numpy.less_equal, "gt": numpy.greater, "ge": numpy.greater_equal,
    "eq": numpy.equal, "ne": numpy.not_equal,
}.items():  # fmt: skip
    setattr(ndarray, f"__{_name}__", _operator(_name, _ufunc))
for _name, _ufunc in {
    "neg": numpy.negative, "invert": numpy.invert, "abs": numpy.absolute, "pos": numpy.positive,
}.items():  # fmt: skip

    def _unary(self, _ufunc=_ufunc, _name=_name):
        return _wrap(run(_name, _ufunc, (self._a,)))

    setattr(ndarray, f"__{_name}__", _unary)

# Reductions, and what else numpy's arrays have and CuPy's compute on the device.
METHODS = (
    "sum", "mean", "var", "std", "max", "min", "argmax", "argmin", "any", "all", "prod", "cumsum",
    "dot", "clip", "repeat", "take", "argsort", "round",
)  # fmt: skip


def _method(name):
    def call(self, *args, out=None, **kwargs):
        if name == "dot":
            _refuse_cublas()
        args, kwargs = _plain(args), {key: _plain(value) for key, value in kwargs.items()}
        if out is not None:
            kwargs["out"] = out._a
        writes = () if out is None else (out._a,)
        function = getattr(numpy.ndarray, name)
        result = run(name, function, (self._a, *args), kwargs, writes)
        return _wrap(result) if out is None else out

    return call


for _name in METHODS:
    setattr(ndarray, _name, _method(_name))


# ---- the module's functions -----------------------------------------------------------------

FUNCTIONS = (
    "add", "subtract", "multiply", "true_divide", "divide", "floor_divide", "remainder", "power",
    "negative", "absolute", "abs", "exp", "log", "log1p", "sqrt", "square", "tanh", "cosh", "sin",
    "cos", "hypot", "copysign", "maximum", "minimum", "clip", "where", "isnan", "isfinite",
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and",
    "logical_or", "logical_not", "left_shift", "right_shift", "bitwise_and", "sign", "floor",
    "bitwise_or", "bitwise_xor", "invert", "matmul", "positive", "rint", "fabs",
    "dot", "sum", "mean", "max", "min", "argmax", "any", "all", "cumsum", "prod", "diff",
    "concatenate", "stack", "tile", "repeat", "take_along_axis", "searchsorted", "array_equal",
    "full_like", "zeros_like", "ones_like", "empty_like", "isclose", "allclose", "flip", "outer",
)  # fmt: skip
WAITING_FUNCTIONS = ("unique", "nonzero", "flatnonzero", "argwhere", "bincount")
CREATORS = ("zeros", "empty", "ones", "full", "arange", "eye", "linspace")
VIEWS = ("swapaxes", "transpose", "reshape", "ravel", "squeeze", "moveaxis", "expand_dims",
         "broadcast_to")  # fmt: skip
TYPES = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16",
         "uint32", "uint64", "bool_", "complex64")  # fmt: skip


def _refuse_cublas():
    """CuPy calls no cuBLAS on a stream that is capturing."""
    if STATS.capturing is not None:
        raise NotImplementedError("calling cuBLAS API during stream capture is unsupported")


def _count_parts(arrays):
    """CuPy copies up to eight arrays one by one, and sends the addresses of more."""
    if len(arrays) > 8:
        STATS.upload("addresses")
    for _ in arrays[1:8] if len(arrays) <= 8 else ():
        STATS.launch("concatenate")


def _function(name, waits=False):
    function = getattr(numpy, name)

    def call(*args, out=None, **kwargs):
        if name in ("dot", "matmul"):
            _refuse_cublas()
        if name in ("concatenate", "stack"):
            _count_parts(args[0])
        if waits:
            STATS.wait(name)
        args, kwargs = _plain(args), {key: _plain(value) for key, value in kwargs.items()}
        if out is not None:
            kwargs["out"] = out._a
        writes = () if out is None else (out._a,)
        result = run(name, function, args, kwargs, writes)
        return _wrap(result) if out is None else out

    call.__name__ = name
    return call


def _creator(name):
    function = getattr(numpy, name)

    def call(*args, **kwargs):
        args, kwargs = _plain(args), {key: _plain(value) for key, value in kwargs.items()}
        if name == "empty":
            return _wrap(function(*args, **kwargs))
        return _wrap(run(name, function, args, kwargs))

    call.__name__ = name
    return call


def _view_function(name):
    function = getattr(numpy, name)

    def call(array, *args, **kwargs):
        if name in ("reshape", "ravel"):
            return getattr(array, name)(*args, **kwargs)
        return _view(array, function(array._a, *args, **kwargs))

    call.__name__ = name
    return call


for _name in FUNCTIONS:
    globals()[_name] = _function(_name)
for _name in WAITING_FUNCTIONS:
    globals()[_name] = _function(_name, waits=True)
for _name in CREATORS:
    globals()[_name] = _creator(_name)
for _name in VIEWS:
    globals()[_name] = _view_function(_name)
for _name in TYPES:
    globals()[_name] = getattr(numpy, _name)
newaxis, pi, inf, nan, dtype = None, numpy.pi, numpy.inf, numpy.nan, numpy.dtype


_plain_add = _function("add")


class _AddUfunc:
    """cupy.add, which also has add.at."""

    __name__ = "add"

    def __call__(self, *args, **kwargs):
        return _plain_add(*args, **kwargs)

    @staticmethod
    def at(table, indices, values):
        scatter_add(table, indices, values)


add = _AddUfunc()


def promote_types(a, b):
    return numpy.promote_types(a, b)


def result_type(*args):
    return numpy.result_type(*(_plain(arg) for arg in args))


def array(data, dtype=None, copy=True, order="K", subok=False, ndmin=0, blocking=False):
    """A new array on the device, from the host or from there."""
    if isinstance(data, ndarray):
        if not copy and (dtype is None or data.dtype == dtype):
            return data
        return data.astype(dtype or data.dtype)
    if isinstance(data, (list, tuple)):
        items = [array(item) if _holds_arrays(item) else item for item in data]
        if builtins.any(isinstance(item, ndarray) for item in items):
            return _function("stack")([asarray(item, dtype=dtype) for item in items])
    STATS.upload("array")
    result = numpy.array(data, dtype=dtype)
    if result.dtype.kind not in "fiubc":
        raise ValueError(f"Unsupported dtype {result.dtype}")
    return _wrap(result)


def _holds_arrays(data):
    if isinstance(data, (list, tuple)):
        return builtins.any(_holds_arrays(item) for item in data)
    return isinstance(data, ndarray)


def argsort(X, axis=-1, kind=None):
    """CuPy's is always stable, and Thrust, which it calls, waits for the result."""
    STATS.wait("argsort")
    return _wrap(run("argsort", lambda a: a.argsort(axis, kind="stable"), (X._a,)))


def asarray(data, dtype=None, order=None, blocking=False):
    return array(data, dtype=dtype, copy=False)


def ascontiguousarray(data, dtype=None):
    if isinstance(data, ndarray):
        if data.flags.c_contiguous and (dtype is None or data.dtype == dtype):
            return data
        return _wrap(run("copy", lambda a: numpy.array(a, dtype=dtype, order="C"), (data._a,)))
    return array(data, dtype=dtype)


def asnumpy(data, stream=None, order="C", out=None, blocking=True):
    return data.get() if isinstance(data, ndarray) else numpy.asarray(data)


def copyto(dst, src, casting="same_kind", where=None):
    assert where is None
    run("copyto", lambda d, s: numpy.copyto(d, s, casting=casting), (dst._a, _plain(src)),
        writes=(dst._a,))  # fmt: skip


def from_dlpack(array):
    raise BufferError("fake_cupy takes no memory of other frameworks")


def get_default_memory_pool():
    return cuda.default_pool


def get_default_pinned_memory_pool():
    return cuda.default_pool


def get_array_module(*args):
    return module if builtins.any(isinstance(arg, ndarray) for arg in args) else numpy


def captured_multiply(dtype, op_a, op_b, sizes, a, lda, b, ldb, beta, c, ldc, space):
    """thinc.backends.captured_blas._multiply: cuBLAS's reading of three addresses."""
    from fake_kernels import at

    (m, n, k), item = sizes, numpy.dtype(dtype).itemsize
    assert STATS.capturing is not None and space.nbytes > 0

    def columns(address, rows, cols, stride):
        whole = at(address, stride * (cols - 1) + rows, dtype)
        return numpy.lib.stride_tricks.as_strided(whole, (rows, cols), (item, stride * item))

    A = columns(a, k, m, lda).T if op_a else columns(a, m, k, lda)
    B = columns(b, n, k, ldb).T if op_b else columns(b, k, n, ldb)
    C = columns(c, m, n, ldc)

    def multiply(A, B, C):
        product = A.astype("float64") @ B.astype("float64")
        C[...] = product + (beta * C if beta else 0)

    run("cublasGemmEx", multiply, (A, B, C), writes=(C,))


def gemm(transa, transb, a, b, out=None, alpha=1.0, beta=0.0):
    """cupy.cublas.gemm: out = alpha op(a) op(b) + beta out."""
    _refuse_cublas()
    assert a.dtype == b.dtype == out.dtype and out.dtype.char in "fd", "cuBLAS's own dtypes only"
    x, y = (a._a.T if transa == "T" else a._a), (b._a.T if transb == "T" else b._a)

    def multiply(x, y, c):
        c[...] = alpha * (x @ y) + (beta * c if beta else 0)

    run("gemm", multiply, (x, y, out._a), writes=(out._a,))
    return out


ATOMIC = ("int32", "uint32", "uint64", "float16", "float32", "float64", "complex64")


# ---- cupyx --------------------------------------------------------------------------------


def scatter_add(table, indices, values):
    """table[indices] += values. Like CuPy's it lets indices wrap around."""
    plain = _index(indices)[0]
    if table.dtype.name not in ATOMIC:
        raise TypeError(f"cupy.add.at only supports {ATOMIC}, not {table.dtype}")

    def add_at(a, v):
        numpy.add.at(a, plain, v)

    run("scatter_add", add_at, (table._a, _plain(values)), writes=(table._a,))


def empty_pinned(shape, dtype=float, order="C"):
    cuda.pinned_allocations += 1
    return numpy.empty(shape, dtype, order)


def erf(X, out=None):
    from math import erf as of_one

    function = numpy.vectorize(of_one, otypes=[X.dtype])
    return _wrap(run("erf", lambda a: function(a) if a.size else a.copy(), (X._a,)))


cupyx = types.ModuleType("cupyx")
cupyx.scatter_add = scatter_add
cupyx.empty_pinned = empty_pinned
cupyx_scipy = types.ModuleType("cupyx.scipy")
cupyx_special = types.ModuleType("cupyx.scipy.special")
cupyx_special.erf = erf
cupyx.scipy = cupyx_scipy
cupyx_scipy.special = cupyx_special


# ---- cupy.random, cupy.linalg ----------------------------------------------------------------

random = types.ModuleType("cupy.random")
random._state = numpy.random.RandomState(0)
random.seed = lambda seed=None: random._state.seed(seed)


def _random(name):
    def call(*args, size=None, dtype=None, **kwargs):
        draw = getattr(random._state, name)

        def drawn():
            sizes = {} if size is None else {"size": size}
            result = numpy.asarray(draw(*args, **sizes, **kwargs))
            return result if dtype is None else result.astype(dtype)

        return _wrap(run(f"random.{name}", drawn, ()))

    return call


random.uniform = _random("uniform")
random.normal = _random("normal")
random.random_sample = _random("random_sample")
random.randint = _random("randint")

linalg = types.ModuleType("cupy.linalg")
linalg.norm = lambda X, ord=None, axis=None, keepdims=False: _wrap(
    run("norm", numpy.linalg.norm, (X._a, ord, axis, keepdims))
)


# ---- cupy.cuda ----------------------------------------------------------------------------


class CUDARuntimeError(RuntimeError):
    pass


class Graph:
    """Recorded operations; launch() does them again on the memory they were recorded with."""

    def __init__(self):
        self.operations = []
        self.kept = []
        self.launched = 0

    def record(self, function, args, kwargs, result):
        self.operations.append((function, args, kwargs, result))

    def launch(self, stream=None):
        self.launched += 1
        STATS.launch("graph")
        for function, args, kwargs, result in self.operations:
            value = function(*args, **kwargs)
            if result is None:
                continue
            targets = result if isinstance(result, tuple) else (result,)
            values = value if isinstance(value, tuple) else (value,)
            for target, part in zip(targets, values, strict=True):
                if isinstance(target, numpy.ndarray):
                    target[...] = part

    def upload(self, stream=None):
        pass


class Stream:
    null = None

    def __init__(self, null=False, non_blocking=False, ptds=False, priority=0):
        self.ptr = 0 if null else 1
        self.graph = None

    def __enter__(self):
        cuda.streams.append(self)
        return self

    def __exit__(self, *error):
        cuda.streams.pop()

    def begin_capture(self, mode=None):
        assert STATS.capturing is None and self.ptr != 0, "the null stream cannot capture"
        self.graph = STATS.capturing = Graph()

    def end_capture(self):
        graph, self.graph, STATS.capturing = self.graph, None, None
        return graph

    def is_capturing(self):
        return self.graph is not None

    def synchronize(self):
        STATS.wait("Stream.synchronize")

    def wait_event(self, event):
        pass

    def record(self, event=None):
        return event or Event()


class Event:
    """An event; all work is done at once here, so it always is."""

    done = True

    def __init__(self, block=False, disable_timing=False, interprocess=False):
        pass

    def record(self, stream=None):
        pass

    def synchronize(self):
        STATS.wait("Event.synchronize")


class MemoryPool:
    def __init__(self, allocator=None):
        self.allocator = allocator

    def malloc(self, size):
        return self.allocator(size)

    def free_all_blocks(self, stream=None):
        pass


runtime = types.SimpleNamespace(
    CUDARuntimeError=CUDARuntimeError,
    current_device=0,
    getDeviceCount=lambda: 1,
    getDevice=lambda: runtime.current_device,
    driverGetVersion=lambda: 12040,
    runtimeGetVersion=lambda: 12040,
    memGetInfo=lambda: (2**30, 2**31),
    getDeviceProperties=lambda i: {
        "name": b"fake",
        "major": 9,
        "minor": 0,
        "multiProcessorCount": 4,
        "maxThreadsPerBlock": 1024,
        "sharedMemPerBlock": 49152,
    },
    deviceSynchronize=lambda: STATS.wait("deviceSynchronize"),
    streamCaptureModeThreadLocal=1,
    streamCaptureModeRelaxed=2,
)
nvtx = types.SimpleNamespace(RangePush=lambda *args: None, RangePop=lambda: None)


@contextlib.contextmanager
def _using_allocator(allocator=None):
    before, cuda.allocator = cuda.allocator, allocator
    try:
        yield
    finally:
        cuda.allocator = before


cuda = types.ModuleType("cupy.cuda")
vars(cuda).update(
    runtime=runtime,
    nvtx=nvtx,
    Device=Device,
    device=types.SimpleNamespace(Device=Device, get_cublas_handle=lambda: 0),
    Stream=Stream,
    Event=Event,
    Graph=Graph,
    MemoryPool=MemoryPool,
    MemoryPointer=lambda memory, offset: (memory, offset),
    UnownedMemory=lambda address, size, owner, device_id=-1: (address, size, owner),
    using_allocator=_using_allocator,
    set_allocator=lambda allocator=None: setattr(cuda, "allocator", allocator),
    get_current_stream=lambda: cuda.streams[-1],
    set_pinned_memory_allocator=lambda allocator=None: setattr(cuda, "pinned", allocator),
    alloc_pinned_memory=lambda size: memoryview(bytearray(size)),
    default_pool=MemoryPool(lambda size: None),
    allocator=None,
    pinned_allocations=0,
    streams=[],
)
Stream.null = Stream(null=True)
cuda.streams.append(Stream.null)
cuda.device = types.ModuleType("cupy.cuda.device")
cuda.device.Device = Device
cuda.device.get_cublas_handle = lambda: 1


# ---- as a module --------------------------------------------------------------------------

module = sys.modules[__name__]
module.__version__ = "14.0.0"
module.cuda = cuda
module.cublas = types.ModuleType("cupy.cublas")
module.cublas.gemm = gemm
ndarray.__module__ = "cupy"

def _library(name, version):
    library = types.ModuleType(f"cupy_backends.cuda.libs.{name}")
    library.getVersion = lambda *handle: version
    return library


_backends = [types.ModuleType(name) for name in ("cupy_backends", "cupy_backends.cuda")]
_libraries = types.ModuleType("cupy_backends.cuda.libs")

MODULES = {
    "cupy_backends": _backends[0],
    "cupy_backends.cuda": _backends[1],
    "cupy_backends.cuda.libs": _libraries,
    "cupy_backends.cuda.libs.cublas": _library("cublas", 120400),
    "cupy_backends.cuda.libs.nvrtc": _library("nvrtc", (12, 4)),
    "cupy_backends.cuda.libs.curand": _library("curand", 10305),
    "cupy": module,
    "cupy.cuda": cuda,
    "cupy.cuda.device": cuda.device,
    "cupy.cublas": module.cublas,
    "cupy.random": random,
    "cupy.linalg": linalg,
    "cupyx": cupyx,
    "cupyx.scipy": cupyx_scipy,
    "cupyx.scipy.special": cupyx_special,
}


def install(monkeypatch):
    """Let thinc find this module where it looks for CuPy. Undone by the monkeypatch."""
    from packaging.version import Version

    from thinc import compat
    from thinc.backends import CupyOps
    from thinc.optimizers import _ops_by_type

    for name, stand_in in MODULES.items():
        monkeypatch.setitem(sys.modules, name, stand_in)
    for name, value in {
        "cupy": module,
        "cupyx": cupyx,
        "cublas": module.cublas,
        "has_cupy": True,
        "cupy_problem": "",
        "has_cupy_gpu": True,
        "cupy_gpu_problem": "",
        "has_gpu": True,
        "cupy_version": Version(module.__version__),
        "cupy_from_dlpack": from_dlpack,
    }.items():
        monkeypatch.setitem(vars(compat), name, value)
    monkeypatch.setattr(CupyOps, "xp", module)
    monkeypatch.setattr(CupyOps, "_xp2", cupyx)
    for cls in [cls for cls in _ops_by_type if cls is ndarray]:
        monkeypatch.delitem(_ops_by_type, cls)
    from thinc.backends import captured_blas, cuda_launch, cupy_arrays

    monkeypatch.setattr(captured_blas, "_multiply", captured_multiply)

    monkeypatch.setattr(cuda_launch, "load", _find_loader())
    monkeypatch.setattr(cupy_arrays, "_starts", {})
    monkeypatch.setattr(cupy_arrays, "checks_arguments", True)
    STATS.__init__()
    random._state.seed(0)
    return module


@functools.cache
def _find_loader():
    """What stands for compiled kernels: emulators, or, in the folder that the environment
    variable THINC_HOST_KERNELS names, our CUDA sources compiled for the host."""
    import fake_kernels

    folder = os.environ.get("THINC_HOST_KERNELS")
    if not folder:
        return fake_kernels.load
    sys.path.append(str(pathlib.Path(__file__).parent / "cuda"))
    from host import HostKernels

    return fake_kernels.loader(HostKernels(pathlib.Path(folder)))
