"""explain_gpu, and that thinc is imported as if nothing were wrong where CUDA is broken."""

import subprocess
import sys
import textwrap

import fake_cupy
import pytest

import thinc
from thinc import compat, gpu_report
from thinc.__main__ import main
from thinc.backends import CupyOps
from thinc.gpu_report import GpuReport, explain_gpu

without_gpu = pytest.mark.skipif(compat.has_gpu, reason="there is a GPU here")

# What programs with a broken CUDA have been seen to meet when they import CuPy.
BROKEN = {
    "library missing": "raise ImportError('libcublas.so.12: cannot open shared object file')",
    "wrong numpy": "raise ValueError('numpy.dtype size changed, may indicate incompatibility')",
    "attribute": "raise AttributeError('module cupy_backends has no attribute cuda')",
    "driver": "raise RuntimeError('CUDA driver version is insufficient')",
    "os": "raise OSError('libcudart.so.12: invalid ELF header')",
    "empty module": "",
}


def run(code, *paths):
    code = f"import sys; sys.path[:0] = {[str(path) for path in paths]!r}\n" + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60
    )


@pytest.fixture(params=BROKEN, ids=lambda name: name.replace(" ", "-"))
def broken_cupy(request, tmp_path):
    package = tmp_path / "cupy"
    package.mkdir()
    marker = "import sys; sys.stderr.write('cupy was imported')\n"
    (package / "__init__.py").write_text(marker + BROKEN[request.param])
    return tmp_path


def test_importing_thinc_does_not_touch_a_broken_cupy(broken_cupy):
    code = """
        import thinc.api, numpy
        model = thinc.api.Relu(2, 2).initialize()
        assert model.predict(numpy.ones((1, 2), dtype="f")).shape == (1, 2)
    """
    found = run(code, broken_cupy)
    assert found.returncode == 0, found.stderr
    assert "cupy was imported" not in found.stderr


def test_a_broken_cupy_counts_as_absent_and_is_explained(broken_cupy):
    code = """
        import thinc, thinc.api
        from thinc import compat
        assert not compat.has_cupy and compat.cupy is None and not compat.has_gpu
        assert not thinc.api.prefer_gpu()
        thinc.api.get_ops("cupy")
        try:
            thinc.api.require_gpu()
        except ValueError as error:
            print(error)
        report = thinc.explain_gpu()
        assert not report.ok
        print(report)
    """
    found = run(code, broken_cupy)
    assert found.returncode == 0, found.stderr
    if sys.platform != "darwin":
        assert "Cannot use GPU, import cupy" in found.stdout
        assert "thinc.explain_gpu" in found.stdout
        assert "What to do:\n1. " in found.stdout


@without_gpu
@pytest.mark.skipif(sys.platform == "darwin", reason="macOS looks for PyTorch's Metal backend")
def test_the_report_says_what_to_install(monkeypatch):
    monkeypatch.setattr(gpu_report.ctypes, "CDLL", _raise_os_error)
    monkeypatch.setattr(gpu_report, "_installed", lambda prefix: [])
    monkeypatch.setattr(gpu_report.importlib.util, "find_spec", lambda name: None)
    report = explain_gpu()
    assert isinstance(report, GpuReport) and not report.ok
    text = str(report)
    assert "libcuda.so.1 is not found" in text
    assert "Install NVIDIA's driver" in text and "docker run --gpus all" in text
    assert "pip install 'thinc[cuda12x]'" in text
    assert text.index("NVIDIA driver") < text.index("CuPy") < text.index("What to do")


def _raise_os_error(*args):
    raise OSError("not found")


@without_gpu
def test_the_command_prints_the_report_and_fails_without_a_gpu(capsys):
    assert main(["gpu", "--no-self-test"]) == 1
    assert "No GPU can be used" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([])
    assert "gpu" in capsys.readouterr().err


def test_a_check_that_fails_is_a_finding():
    def odd_part():
        raise KeyError("what")

    finding = gpu_report._ask(odd_part)
    assert finding.what == "odd part" and "KeyError" in finding.found and finding.advice


def test_several_cupy_packages_are_found_out(monkeypatch):
    packages = [("cupy-cuda11x", "13.0"), ("cupy-cuda12x", "14.0")]
    monkeypatch.setattr(gpu_report, "_installed", lambda prefix: packages)
    finding = gpu_report._cupy()
    assert "pip uninstall cupy-cuda11x cupy-cuda12x" in finding.advice


@pytest.mark.parametrize(
    "problem, advice",
    [
        ("import cupy.cublas failed: ImportError: libcublas.so.12", "cupy-cuda12x[ctk]"),
        ("import cupy failed: ValueError: numpy.dtype size changed", "pip install -U cupy"),
        ("import cupy failed: RuntimeError: odd", "reinstall it"),
    ],
)
def test_advice_follows_the_reason(monkeypatch, problem, advice):
    monkeypatch.setitem(vars(compat), "has_cupy", False)
    monkeypatch.setitem(vars(compat), "cupy_problem", problem)
    monkeypatch.setattr(gpu_report, "_installed", lambda prefix: [("cupy-cuda12x", "14.0")])
    monkeypatch.setattr(gpu_report, "_driver_version", lambda: 12040)
    finding = gpu_report._cupy()
    assert advice in finding.advice
    assert problem in finding.found


def test_of_cupys_page_of_advice_the_reason_is_kept():
    page = """
================================================================
Failed to import CuPy.

If you installed CuPy via wheels, make sure that the package matches.

Original error:
  ImportError: libcudart.so.12: cannot open shared object file: No such file
================================================================
"""
    reason = "ImportError: libcudart.so.12: cannot open shared object file: No such file"
    assert compat._essence(page) == reason
    assert compat._essence("two\nlines") == "two lines"
    assert len(compat._essence("word " * 500)) < 320


def test_hidden_devices_are_mentioned(monkeypatch):
    monkeypatch.setattr(gpu_report.glob, "glob", lambda pattern: ["/dev/nvidia0"])
    for visible, hidden in (("", True), ("-1", True), ("0", False)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        finding = gpu_report._nvidia_files()
        assert ("Unset CUDA_VISIBLE_DEVICES" in finding.advice) == hidden
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert gpu_report._nvidia_files().advice == ""


def test_where_nothing_is_missing_the_device_is_named_and_tested(monkeypatch):
    """The words of a machine with a GPU; its parts are stand-ins."""
    fake_cupy.install(monkeypatch)
    monkeypatch.setattr(gpu_report, "_driver_version", lambda: 12040)
    monkeypatch.setattr(gpu_report.glob, "glob", lambda pattern: ["/dev/nvidia0"])
    monkeypatch.setattr(gpu_report, "_installed", lambda prefix: [("cupy-cuda12x", "14.0.0")])
    monkeypatch.setattr(gpu_report, "SELF_TEST_SECONDS", 0.01)
    report = explain_gpu()
    text = str(report)
    assert report.ok, text
    for part in (
        "supports CUDA up to 12.4", "cupy-cuda12x 14.0.0, for CUDA 12.4", "compute capability 9.0",
        "1.0 of 2.0 GiB free", "12.4", "results agree with the CPU's", "require_gpu() selects it",
    ):  # fmt: skip
        assert part in text, part


def test_a_device_that_computes_wrong_results_is_found_out(monkeypatch):
    fake_cupy.install(monkeypatch)
    monkeypatch.setattr(gpu_report, "_driver_version", lambda: 12040)
    monkeypatch.setattr(gpu_report.glob, "glob", lambda pattern: ["/dev/nvidia0"])
    monkeypatch.setattr(gpu_report, "_installed", lambda prefix: [("cupy-cuda12x", "14.0.0")])
    monkeypatch.setattr(CupyOps, "softmax", lambda self, x: x)
    report = explain_gpu()
    assert not report.ok
    assert "computes wrong results" in str(report)


def test_versions_of_cuda_are_read():
    assert gpu_report._dotted(12040) == "12.4"
    assert gpu_report._dotted(13000) == "13.0"


def test_it_is_a_name_of_the_package():
    assert thinc.explain_gpu is explain_gpu
