"""explain_gpu: what of a GPU can be used here, and what to install where something is missing.

Every question is asked by itself and may fail: this is for machines where something is
wrong. Nothing of this is imported before it is asked for.
"""

import ctypes
import glob
import importlib
import importlib.util
import os
import sys
import time
from importlib import metadata
from typing import Any, Callable, List, NamedTuple, Optional, Tuple

from . import compat
from .about import __version__

OLDEST_CUPY = 13
CUDA_LIBRARIES = ("cublas", "nvrtc", "curand")
SELF_TEST_SECONDS = 1.0
CUDA_TOOLKIT = (
    "With CuPy 14: `pip install 'cupy-{extra}[ctk]'`; with CuPy 13, which does not look into "
    "pip's packages: install NVIDIA's CUDA toolkit, or update CuPy."
)


class Finding(NamedTuple):
    """One line of the report. advice: what to do about it; "" where nothing is wrong."""

    what: str
    found: str
    advice: str = ""


class GpuReport(NamedTuple):
    """What explain_gpu returns: its text is str(report), ok whether a GPU can be used."""

    findings: Tuple[Finding, ...]
    ok: bool

    def __str__(self) -> str:
        width = max(len(finding.what) for finding in self.findings)
        lines = [f"{finding.what:<{width}}  {finding.found}" for finding in self.findings]
        advice = [finding.advice for finding in self.findings if finding.advice]
        verdict = "The GPU works: thinc.api.require_gpu() selects it."
        if not self.ok:
            verdict = "No GPU can be used; everything works on the CPU. What to do:"
        elif advice:
            verdict += " Still worth doing:"
        numbered = [f"{i}. {text}" for i, text in enumerate(advice, 1)]
        return "\n".join([*lines, "", verdict, *numbered])


def explain_gpu(self_test: bool = True) -> GpuReport:
    """Look for all that using a GPU takes. Prints nothing: print(thinc.explain_gpu()).

    The driver, the devices, CuPy, the CUDA libraries it needs (cuBLAS, NVRTC, cuRAND),
    PyTorch if it is installed, and their versions; where something is missing, what to
    install. self_test: also run kernels of our own for a second and compare their results
    with the CPU's.

    Never raises. `python -m thinc gpu` prints the report.
    """
    findings = [Finding("thinc", f"{__version__}, Python {sys.version.split()[0]}")]
    if sys.platform == "darwin":
        findings.append(_metal())
        return GpuReport(tuple(findings), not findings[-1].advice)
    checks: List[Callable[[], Finding]] = [_driver, _nvidia_files, _cupy, *_libraries(), _devices]
    findings += [_ask(check) for check in checks]
    ok = not any(finding.advice for finding in findings) and bool(compat.has_cupy_gpu)
    if ok and self_test:
        findings.append(_ask(_self_test))
        ok = not findings[-1].advice
    findings.append(_ask(_torch))
    return GpuReport(tuple(findings), ok)


def _ask(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:
        name = check.__name__.strip("_").replace("_", " ")
        problem = f"{type(error).__name__}: {error}"
        return Finding(name, problem, f"Find out why asking for the {name} fails: {problem}")


# ---- the driver ------------------------------------------------------------------------


def _driver_version() -> Optional[int]:
    """The newest CUDA that the driver supports, 12040 for 12.4; None without a driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None
    version = ctypes.c_int(0)
    driver.cuDriverGetVersion(ctypes.byref(version))
    return version.value


def _driver() -> Finding:
    version = _driver_version()
    if version is None:
        return Finding(
            "NVIDIA driver",
            "none (libcuda.so.1 is not found)",
            "Install NVIDIA's driver: on Ubuntu `sudo ubuntu-drivers install`, else see "
            "https://www.nvidia.com/drivers. In a container, start it with GPU access "
            "(`docker run --gpus all`) on a host that has the driver. It cannot be installed "
            "with pip.",
        )
    return Finding("NVIDIA driver", f"supports CUDA up to {_dotted(version)}")


def _nvidia_files() -> Finding:
    devices = sorted(glob.glob("/dev/nvidia[0-9]*"))
    found = ", ".join(devices) or "none"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        found += f"; CUDA_VISIBLE_DEVICES={visible!r}"
    advice = ""
    if devices and visible is not None and not visible.strip(" -1"):
        advice = "Unset CUDA_VISIBLE_DEVICES: its present value hides all devices."
    elif not devices and sys.platform.startswith("linux") and not os.path.exists("/dev/dxg"):
        advice = (
            "This machine shows no NVIDIA device (/dev/nvidia0). Check `lspci | grep -i nvidia`; "
            "on a rented machine choose one with an NVIDIA GPU."
        )
    return Finding("device files", found, advice)


def _dotted(version: int) -> str:
    """CUDA's 12040 as '12.4'."""
    return f"{version // 1000}.{version % 1000 // 10}"


def _driver_cuda() -> int:
    """The newest major version of CUDA that the driver supports; 0 without a driver."""
    return (_driver_version() or 0) // 1000


# ---- CuPy and the CUDA libraries -----------------------------------------------------------


def _extra() -> str:
    return "cuda13x" if _driver_cuda() >= 13 else "cuda12x"


def _cupy() -> Finding:
    packages = _installed("cupy")
    install = (
        f"Install CuPy: `pip install 'thinc[{_extra()}]'` (cuda12x for CUDA 12, cuda13x for 13)."
    )
    if not packages and "cupy" not in sys.modules:
        return Finding("CuPy", "not installed", install)
    found = ", ".join(f"{name} {version}" for name, version in packages) or "not from a package"
    if len(packages) > 1:
        names = " ".join(name for name, _ in packages)
        advice = f"Several CuPy packages overwrite each other: `pip uninstall {names}`. {install}"
        return Finding("CuPy", found, advice)
    if not compat.has_cupy:
        problem = compat.cupy_problem.strip().splitlines()[0]
        return Finding("CuPy", f"{found}, but {problem}", _advice_for_import(install))
    if compat.cupy_version.major < OLDEST_CUPY:
        return Finding("CuPy", found, f"CuPy {OLDEST_CUPY} or newer is needed. {install}")
    built_for = compat.cupy.cuda.runtime.runtimeGetVersion()
    advice = ""
    if 0 < _driver_cuda() < built_for // 1000:
        advice = (
            f"CuPy was built for CUDA {_dotted(built_for)}, which the driver is too old for: "
            f"update the driver, or `pip install cupy-cuda{_driver_cuda()}x`."
        )
    return Finding("CuPy", f"{found}, for CUDA {_dotted(built_for)}", advice)


def _advice_for_import(install: str) -> str:
    problem = compat.cupy_problem
    if any(f"lib{name}" in problem for name in ("cublas", "nvrtc", "curand", "cudart", "cusparse")):
        return f"A library of CUDA is missing. {CUDA_TOOLKIT.format(extra=_extra())}"
    if "numpy" in problem.lower():
        return f"CuPy and numpy do not fit together: `pip install -U cupy-{_extra()} numpy`."
    return f"CuPy cannot be imported: reinstall it. {install}"


def _installed(prefix: str) -> List[Tuple[str, str]]:
    """(name, version) of the installed packages of that name, or that name and a suffix."""
    names = {}
    for package in metadata.distributions():
        name = (package.metadata["Name"] or "").lower()
        if name == prefix or name.startswith(f"{prefix}-cuda") or name.startswith(f"{prefix}-rocm"):
            names[name] = package.version
    return sorted(names.items())


def _libraries() -> List[Callable[[], Finding]]:
    def check(name: str) -> Callable[[], Finding]:
        def library() -> Finding:
            return _library(name)

        library.__name__ = name
        return library

    return [check(name) for name in CUDA_LIBRARIES]


_LABELS = {"cublas": "cuBLAS", "nvrtc": "NVRTC", "curand": "cuRAND"}


def _library(name: str) -> Finding:
    """Whether CuPy can load one of the libraries of CUDA that we use."""
    label = _LABELS[name]
    if "cupy" not in sys.modules and importlib.util.find_spec("cupy") is None:
        return Finding(label, "not looked for, without CuPy")
    try:
        module = importlib.import_module(f"cupy_backends.cuda.libs.{name}")
        version: Any = module.getVersion() if name != "cublas" else module.getVersion(_cublas())
    except Exception as error:
        if name == "cublas" and not compat.has_cupy_gpu and compat.has_cupy:
            return Finding(label, "loads; its version needs a device")
        # Where CuPy cannot be imported, the advice is given there.
        advice = f"{label} is missing. {CUDA_TOOLKIT.format(extra=_extra())}"
        return Finding(
            label,
            f"cannot be loaded ({_first_line(error)})",
            advice if compat.has_cupy else "",
        )
    return Finding(
        label, ".".join(map(str, version)) if isinstance(version, tuple) else f"{version}"
    )


def _cublas() -> int:
    return compat.cupy.cuda.device.get_cublas_handle()


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"


# ---- devices ---------------------------------------------------------------------------


def _devices() -> Finding:
    if not compat.has_cupy:
        return Finding("devices", "not looked for, without CuPy")
    if not compat.has_cupy_gpu:
        problem = compat.cupy_gpu_problem
        advice = "" if not _driver_cuda() else f"CuPy finds no device: {problem}."
        return Finding("devices", problem, advice)
    runtime = compat.cupy.cuda.runtime
    found = []
    for i in range(runtime.getDeviceCount()):
        facts = runtime.getDeviceProperties(i)
        with compat.cupy.cuda.Device(i):
            free, total = runtime.memGetInfo()
        name = facts["name"].decode() if isinstance(facts["name"], bytes) else facts["name"]
        found.append(
            f"{i}: {name}, compute capability {facts['major']}.{facts['minor']}, "
            f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
        )
    return Finding("devices", "; ".join(found))


def _self_test() -> Finding:
    """Operations of several kinds on the device, compared with the CPU's."""
    import numpy

    from .backends import CupyOps, NumpyOps

    gpu, cpu = CupyOps(), NumpyOps()
    rng = numpy.random.RandomState(0)
    X, W = rng.normal(size=(256, 96)).astype("f"), rng.normal(size=(96, 96)).astype("f")
    b, ids = rng.normal(size=96).astype("f"), rng.randint(0, 10**6, 256).astype("uint64")
    lengths = numpy.array([100, 0, 156], dtype="int32")

    def run(ops: Any) -> List[Any]:
        x, w, bias = ops.asarray(X), ops.asarray(W), ops.asarray(b)
        return [
            ops.affine_activation("mish", x, w, bias)[0],
            ops.maxout(ops.reshape3f(x, 256, 32, 3))[0],
            ops.softmax(x),
            ops.layer_norm(x, bias, bias)[0],
            ops.reduce_mean(x, ops.asarray(lengths)),
            ops.seq2col(x, 1, lengths=ops.asarray(lengths)),
            ops.hash_embed(w, ops.asarray(ids), 1)[0],
        ]

    compiled_from = time.perf_counter()
    results = [gpu.to_numpy(Y) for Y in run(gpu)]  # the kernels compile here
    started = time.perf_counter()
    for Y, expected in zip(results, run(cpu), strict=True):
        # A product in TensorFloat-32, if that is switched on, keeps ten bits.
        if not numpy.allclose(Y, expected, rtol=1e-2, atol=1e-2):
            worst = float(numpy.abs(Y - expected).max())
            return Finding(
                "self-test",
                f"a result is off by {worst:g}",
                "The device computes wrong results: check the driver and `nvidia-smi -q -d ECC`, "
                "and report it with this text.",
            )
    rounds = 0
    while time.perf_counter() - started < SELF_TEST_SECONDS:
        gpu.to_numpy(run(gpu)[0])
        rounds += 1
    return Finding(
        "self-test",
        f"results agree with the CPU's; first run {started - compiled_from:.1f} s (compiles the "
        f"kernels, cached), then {rounds * 7 / SELF_TEST_SECONDS:.0f} operations a second",
    )


# ---- the rest ----------------------------------------------------------------------------


def _torch() -> Finding:
    """PyTorch is optional: nothing about it is wrong unless it cannot share the GPU."""
    if "torch" not in sys.modules and importlib.util.find_spec("torch") is None:
        return Finding("PyTorch", "not installed (only needed to wrap its models)")
    if not compat.has_torch:
        return Finding("PyTorch", "cannot be imported")
    built_for: Optional[str] = compat.torch.version.cuda
    found = f"{compat.torch.__version__}, {f'for CUDA {built_for}' if built_for else 'for the CPU'}"
    if compat.has_torch_cuda_gpu:
        return Finding("PyTorch", f"{found}, sees the GPU")
    advice = ""
    if compat.has_cupy_gpu:
        advice = (
            "PyTorch does not see the GPU that CuPy sees, so wrapped models cannot run on it: "
            "install a CUDA build, see https://pytorch.org/get-started/locally."
        )
    return Finding("PyTorch", found, advice)


def _metal() -> Finding:
    if not compat.has_torch:
        return Finding("Metal", "PyTorch is not installed", "`pip install 'thinc[torch]'`")
    if not compat.has_torch_mps_gpu:
        return Finding(
            "Metal",
            f"PyTorch {compat.torch.__version__} cannot use it",
            "Use a PyTorch built for Metal, on macOS 12.3 or newer and Apple silicon.",
        )
    return Finding("Metal", "usable for wrapped PyTorch models; our own layers run on the CPU")
