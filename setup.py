"""Build of the compiled modules.

The CPU kernels (thinc/backends/cpu/kernels.cpp) are compiled several times, once
per instruction-set level, into one extension module that picks the best level at
import. Everything else about the package stands in pyproject.toml.
"""
import os
import platform
import sys
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

KERNELS = "thinc.backends.cpu_kernels"
CPU = Path("thinc") / "backends" / "cpu"
INCLUDE_DIRS = [numpy.get_include(), "include", str(CPU)]
# NaN and infinity must behave, so no -ffast-math: only what lets loops vectorize
# without changing a result that a caller could see.
COMPILE_ARGS = ["-O3", "-std=c++17", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"]
WARNINGS = ["-Wall", "-Wextra", "-Wdouble-promotion"]
LINK_ARGS = []
if sys.platform.startswith("linux"):
    LINK_ARGS += ["-Wl,--strip-debug"]
if os.environ.get("THINC_SANITIZE"):
    SANITIZE = [f"-fsanitize={os.environ['THINC_SANITIZE']}", "-g", "-fno-omit-frame-pointer"]
    COMPILE_ARGS += SANITIZE
    LINK_ARGS = SANITIZE


def kernel_levels():
    """Name and extra compiler flags of each instruction-set level to build."""
    machine = platform.machine().lower()
    if machine in ("x86_64", "amd64"):
        return {
            "baseline": [],
            "avx2": ["-mavx2", "-mfma"],
            "avx512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"]
            + ["-mprefer-vector-width=512"],
        }
    if machine in ("aarch64", "arm64"):
        return {"neon": []}
    return {"baseline": []}


class build_ext_with_levels(build_ext):
    """Adds one object file per kernel level to the extension that holds the kernels."""

    def build_extension(self, ext):
        if ext.name == KERNELS:
            levels = kernel_levels()
            if "avx2" in levels:
                ext.define_macros.append(("THINC_X86_LEVELS", "1"))
            for level, flags in levels.items():
                ext.extra_objects += self.compiler.compile(
                    [str(CPU / "kernels.cpp")],
                    output_dir=str(Path(self.build_temp) / level),
                    include_dirs=ext.include_dirs,
                    macros=[("THINC_LEVEL", level)],
                    extra_postargs=COMPILE_ARGS + WARNINGS + flags,
                    depends=ext.depends,
                )
        super().build_extension(ext)


def extension(name, sources=()):
    path = Path(*name.split(".")).with_suffix(".pyx")
    return Extension(
        name,
        [str(path), *map(str, sources)],
        language="c++",
        include_dirs=INCLUDE_DIRS,
        define_macros=[
            ("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION"),
            ("NPY_TARGET_VERSION", "NPY_1_22_API_VERSION"),  # memory handlers
        ],
        extra_compile_args=COMPILE_ARGS,
        extra_link_args=LINK_ARGS,
        depends=[str(p) for p in [*CPU.glob("*.hpp"), *Path("include", "thinc").glob("*.hpp")]],
    )


setup(
    ext_modules=cythonize(
        [
            extension(KERNELS, [CPU / "dispatch.cpp"]),
            extension("thinc.backends.array_memory"),
            extension("thinc.backends.numpy_arrays"),
            extension("thinc.backends.prepacked"),
            extension("thinc.backends.numpy_ops"),
            extension("thinc.backends.cblas"),
            extension("thinc.backends.linalg"),
            extension("thinc.extra.search"),
        ],
        language_level=3,
        compiler_directives={
            "embedsignature": False,
            "binding": True,
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
        },
    ),
    cmdclass={"build_ext": build_ext_with_levels},
)
