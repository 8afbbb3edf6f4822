"""NVIDIA's run-time compiler, from its pip package, through ctypes. It needs no device."""

import ctypes
import functools
import hashlib
import pickle
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence

# Version of CUDA -> file. The packages nvidia-cuda-nvrtc-cu12 and nvidia-cuda-nvrtc (13).
LIBRARIES = {12: "cuda_nvrtc/lib/libnvrtc.so.12", 13: "cu13/lib/libnvrtc.so.13"}


class Compiled(NamedTuple):
    """ptx, or for a real architecture cubin: text and machine code. names: of the kernels."""

    code: bytes
    log: str
    names: Dict[str, str]  # C++ expression -> mangled


def library_path(cuda: int):
    """Where the compiler of a version of CUDA is installed, or None."""
    try:
        spec = find_spec("nvidia")
    except ModuleNotFoundError:
        return None
    for folder in spec.submodule_search_locations or () if spec else ():
        path = Path(folder) / LIBRARIES[cuda]
        if path.is_file():
            return path
    return None


@functools.cache
def library(cuda: int) -> ctypes.CDLL:
    path = library_path(cuda)
    assert path is not None, f"NVRTC of CUDA {cuda} is not installed"
    return ctypes.CDLL(str(path))


def version(cuda: int) -> str:
    major, minor = ctypes.c_int(), ctypes.c_int()
    _check(library(cuda), library(cuda).nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
    return f"{major.value}.{minor.value}"


def compile_source(
    source: str, expressions: Sequence[str], options: Sequence[str], cuda: int = 12
) -> Compiled:
    """Compile, with one kernel for each expression. AssertionError with the log if it fails.

    The result is a cubin for --gpu-architecture=sm_NN, PTX for compute_NN.
    """
    what = (source, tuple(expressions), tuple(options), version(cuda))
    found = _kept(what)
    if found is None:
        found = _compile(source, expressions, options, cuda)
        _keep(what, found)
    return found


# Where results are kept for the next run, if anywhere: one for a number of kernels and
# options, so that those of earlier sources are replaced. The sources that a program
# includes have to show in its text, as those of cuda_launch.source_code do.
folder: Optional[Path] = None


def _place(what) -> Optional[Path]:
    if folder is None or len(what[1]) < 2:
        return None
    return folder / hashlib.sha256(repr((what[1][0], what[2:])).encode()).hexdigest()[:24]


def _kept(what) -> Optional[Compiled]:
    path = _place(what)
    if path is None or not path.is_file():
        return None
    try:
        key, *fields = pickle.loads(zlib.decompress(path.read_bytes()))
    except (zlib.error, pickle.UnpicklingError, EOFError):
        return None  # written by a run that was interrupted
    return Compiled(*fields) if key == what else None


def _keep(what, compiled: Compiled) -> None:
    path = _place(what)
    if path is not None:
        path.write_bytes(zlib.compress(pickle.dumps((what, *compiled)), 1))


def _compile(
    source: str, expressions: Sequence[str], options: Sequence[str], cuda: int
) -> Compiled:
    rt = library(cuda)
    program = ctypes.c_void_p()
    _check(
        rt,
        rt.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None),
    )
    try:
        for expression in expressions:
            _check(rt, rt.nvrtcAddNameExpression(program, expression.encode()))
        arguments = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
        status = rt.nvrtcCompileProgram(program, len(options), arguments)
        log = _text(rt, program, "ProgramLog").decode()
        assert status == 0, f"NVRTC {version(cuda)} {' '.join(options)}:\n{log[:6000]}"
        names = {}
        for expression in expressions:
            lowered = ctypes.c_char_p()
            _check(
                rt,
                rt.nvrtcGetLoweredName(program, expression.encode(), ctypes.byref(lowered)),
            )
            names[expression] = lowered.value.decode()
        real = any("=sm_" in option for option in options)
        return Compiled(_text(rt, program, "CUBIN" if real else "PTX"), log, names)
    finally:
        rt.nvrtcDestroyProgram(ctypes.byref(program))


def _text(rt, program, what: str) -> bytes:
    size = ctypes.c_size_t()
    _check(rt, getattr(rt, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _check(rt, getattr(rt, f"nvrtcGet{what}")(program, buffer))
    return buffer.raw if what == "CUBIN" else buffer.value


def _check(rt, status: int) -> None:
    rt.nvrtcGetErrorString.restype = ctypes.c_char_p
    assert status == 0, f"NVRTC: {rt.nvrtcGetErrorString(status).decode()}"


def installed() -> List[int]:
    """The versions of CUDA whose compiler is there."""
    return [cuda for cuda in LIBRARIES if library_path(cuda)]
