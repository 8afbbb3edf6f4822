"""A compiled client of thinc's C interface: what spaCy and others do, made for tests.

The modules beside this file are Cython; `compiled` builds one against the .pxd files of
the installed package, once per test run.
"""

import atexit
import functools
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import thinc

HERE = Path(__file__).parent
SETUP = """
import sys
import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

name, source = sys.argv[1:3]
sys.argv[1:] = ["-q", "build_ext", "--inplace"]
setup(
    name=name,
    py_modules=[],
    script_args=sys.argv[1:],
    ext_modules=cythonize(
        [Extension(name, [source], language="c++", extra_compile_args=["-O0", "-std=c++17"])],
        language_level=3,
        include_path=sys.path,
        quiet=True,
    ),
)
"""


@functools.cache
def compiled(name: str) -> ModuleType:
    """The client module of this name. Fails with the compiler's output."""
    return compiled_source(name, (HERE / f"{name}.pyx").read_text())


def compiled_source(name: str, source: str) -> ModuleType:
    """A module of this name from Cython source."""
    build = Path(tempfile.mkdtemp(prefix="thinc-c-client-"))
    atexit.register(shutil.rmtree, build, ignore_errors=True)
    (build / f"{name}.pyx").write_text(source)
    (build / "build.py").write_text(SETUP)
    root = Path(thinc.__file__).parents[1]
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "build.py", name, f"{name}.pyx"],
        cwd=build,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    if result.returncode:
        raise RuntimeError(f"{name}.pyx does not compile:\n{result.stdout}\n{result.stderr}")
    (library,) = [p for p in build.iterdir() if p.suffix in (".so", ".pyd")]
    spec = importlib.util.spec_from_file_location(name, library)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
