"""Optional packages: each is imported when something here is first asked for.

`from thinc.compat import has_torch` therefore imports torch, while `import
thinc.compat` imports nothing. TensorFlow counts as absent until it is enabled or
used, MXNet always: it is retired. Ask for these names where they are used, not when a
module is imported.
"""

import importlib
import importlib.util
import sys
import warnings
from typing import Any, Callable, Dict, Tuple

LONGEST_REASON = 300  # characters


def _import(name: str) -> Any:
    """The module, or None if it can't be imported."""
    try:
        return importlib.import_module(name)
    except (ImportError, AttributeError):
        return None


def _import_on_gpu(name: str) -> Tuple[Any, str]:
    """The module and "", or None and why it can't be imported.

    Whatever is raised: a CUDA library that fails to load, or belongs to another version,
    makes itself known in many ways, none of which may stop a program that runs on the CPU.
    """
    try:
        return importlib.import_module(name), ""
    except Exception as error:
        return None, f"import {name} failed: {type(error).__name__}: {_essence(str(error))}"


def _essence(message: str) -> str:
    """A message in one line: of CuPy's page of advice, the error that it quotes."""
    quoted = message.rpartition("Original error:")[2] or message
    words = [word for word in quoted.split() if set(word) != {"="}]
    line = " ".join(words)
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]} ..."


def _find_version(name: str) -> Callable[[], Dict[str, Any]]:
    def find() -> Dict[str, Any]:
        from packaging.version import Version

        version = getattr(_get(name), "__version__", "0.0.0")
        return {f"{name}_version": Version(version)}

    return find


# Each group of names is computed together, on first access to one of them.


def _find_cupy() -> Dict[str, Any]:
    modules: Dict[str, Any] = {}
    problem = "CuPy is not installed"
    if "cupy" in sys.modules or importlib.util.find_spec("cupy") is not None:
        for name, path in _CUPY_MODULES.items():
            modules[name], problem = _import_on_gpu(path)
            if problem:
                break
    found = not problem
    if not found:
        modules = dict.fromkeys(_CUPY_MODULES)
    cupy = modules["cupy"]
    return {
        **modules,
        "has_cupy": found,
        "cupy_problem": problem,
        "cupy_from_dlpack": getattr(cupy, "from_dlpack", getattr(cupy, "fromDlpack", None)),
    }


_CUPY_MODULES = {"cupy": "cupy", "cupyx": "cupyx", "cublas": "cupy.cublas"}


def _find_cupy_gpu() -> Dict[str, Any]:
    cupy, problem = _get("cupy"), _get("cupy_problem")
    if cupy is not None:
        try:
            count = cupy.cuda.runtime.getDeviceCount()
            problem = "" if count > 0 else "there is no CUDA device"
        except Exception as error:  # CUDARuntimeError, or what a half-installed CUDA raises
            problem = f"CUDA is not usable ({error})"
    return {"has_cupy_gpu": not problem, "cupy_gpu_problem": problem}


def _find_torch() -> Dict[str, Any]:
    torch = _import("torch")
    if torch is None or not hasattr(torch, "cuda"):  # a folder of that name is no PyTorch
        flags = dict.fromkeys(_TORCH_FLAGS, False)
        return {"torch": None, **flags}
    has_cuda = torch.cuda.device_count() != 0
    mps = getattr(torch.backends, "mps", None)
    built = mps is not None and mps.is_built()
    # Mixed precision came with torch 1.6, the function that denies it with 1.9.
    amp_missing = getattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: True)
    return {
        "torch": torch,
        "has_torch": True,
        "has_torch_cuda_gpu": has_cuda,
        "has_torch_gpu": has_cuda,
        "has_torch_mps": built,
        "has_torch_mps_gpu": built and mps is not None and mps.is_available(),
        "has_torch_amp": not amp_missing(),
    }


_TORCH_FLAGS = (
    "has_torch",
    "has_torch_cuda_gpu",
    "has_torch_gpu",
    "has_torch_mps",
    "has_torch_mps_gpu",
    "has_torch_amp",
)


def _find_any_gpu() -> Dict[str, Any]:
    return {"has_gpu": bool(_get("has_cupy_gpu") or _has_mps_gpu())}


def _has_mps_gpu() -> bool:
    # Metal exists on macOS only: elsewhere torch need not be imported to know.
    return sys.platform == "darwin" and bool(_get("has_torch_mps_gpu"))


def _find_optional(name: str) -> Callable[[], Dict[str, Any]]:
    def find() -> Dict[str, Any]:
        module = _import(name)
        return {name: module, f"has_{name}": module is not None}

    return find


_FINDERS: Tuple[Tuple[Tuple[str, ...], Callable[[], Dict[str, Any]]], ...] = (
    ((*_CUPY_MODULES, "has_cupy", "cupy_problem", "cupy_from_dlpack"), _find_cupy),
    (("cupy_version",), _find_version("cupy")),
    (("torch_version",), _find_version("torch")),
    (("has_cupy_gpu", "cupy_gpu_problem"), _find_cupy_gpu),
    (("torch", *_TORCH_FLAGS), _find_torch),
    (("has_gpu",), _find_any_gpu),
    (("h5py", "has_h5py"), _find_optional("h5py")),
    (("jax", "has_jax"), _find_optional("jax")),
    (("os_signpost", "has_os_signpost"), _find_optional("os_signpost")),
    (("blis", "has_blis"), _find_optional("blis")),
)
_FINDER_OF = {name: finder for names, finder in _FINDERS for name in names}


def _get(name: str) -> Any:
    """A name of this module, computed if need be."""
    if name not in globals():
        globals().update(_FINDER_OF[name]())
    return globals()[name]


def __getattr__(name: str) -> Any:
    if name in _FINDER_OF:
        return _get(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_FINDER_OF})


has_apple_ops = sys.platform == "darwin"

tensorflow: Any = None
has_tensorflow = False
has_tensorflow_gpu = False
mxnet: Any = None
has_mxnet = False


def enable_tensorflow() -> None:
    """Import TensorFlow and let thinc use it. ModuleNotFoundError if it is not installed.

    TensorFlowWrapper and the conversions do that by themselves when they are used.
    """
    warnings.warn(
        "Built-in TensorFlow support will be removed in Thinc v9. If you need TensorFlow "
        "support in the future, you can keep using a copy of the current implementation.",
        DeprecationWarning,
        stacklevel=2,
    )
    load_tensorflow()


def load_tensorflow() -> Any:
    """Import TensorFlow, note it in the flags, return the module."""
    global tensorflow, has_tensorflow, has_tensorflow_gpu
    if tensorflow is None:
        module = importlib.import_module("tensorflow")
        has_tensorflow_gpu = len(module.config.list_physical_devices("GPU")) > 0
        has_tensorflow = True
        tensorflow = module
    return tensorflow


MXNET_IS_RETIRED = (
    "MXNet is retired: the Apache Software Foundation ended the project in 2023, and its last "
    "release does not run with NumPy 2, so thinc cannot use it. Move the model to PyTorch "
    "(thinc[torch], PyTorchWrapper), JAX (thinc[jax], JaxWrapper) or TensorFlow "
    "(thinc[tensorflow], TensorFlowWrapper)."
)


def enable_mxnet() -> None:
    """Raises ImportError: MXNet is retired upstream. The message says what to use instead."""
    raise ModuleNotFoundError(MXNET_IS_RETIRED, name="mxnet")
