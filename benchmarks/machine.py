"""What machine this is, which builds are compared, and the machine's own limits."""
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List

from .duel import ONE_THREAD, Worker

VERSIONS = """
import importlib.metadata as m, sys
def v(n):
    try: return f'{n} {m.version(n)}'
    except m.PackageNotFoundError: return ''
names = ['thinc', 'numpy', 'blis', 'torch', 'jax', 'jaxlib']
print(', '.join(filter(None, map(v, names))), '/ Python', sys.version.split()[0])
"""
BLIS = """
import numpy
from thinc.api import NumpyOps
NumpyOps().gemm(numpy.ones((8, 8), 'f'), numpy.ones((8, 8), 'f'))
"""
OPENBLAS = """
import numpy, threadpoolctl
for pool in threadpoolctl.threadpool_info():
    if pool['user_api'] == 'blas':
        print(pool['internal_api'], pool['version'], pool['architecture'],
              pool['num_threads'], 'thread(s)')
"""


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def output(python: str, code: str, env: Dict[str, str]) -> str:
    # Elsewhere, so that a checkout in the current folder is not taken for what is installed.
    result = subprocess.run(
        [python, "-c", code], capture_output=True, text=True, cwd="/", env={**os.environ, **env}
    )
    return (result.stdout + result.stderr).strip()


def describe(peer: str, env: Dict[str, str]) -> List[str]:
    """Lines for the head of a report."""
    from thinc.backends.cpu_kernels import current_level

    log = output(peer, BLIS, {**env, "BLIS_ARCH_DEBUG": "1"})
    blis = re.search(r"sub-configuration '(\w+)'", log)
    openblas = output(sys.executable, OPENBLAS, env).splitlines()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return [
        f"CPU: {cpu_name()}, {os.cpu_count()} cores, our kernels: {current_level()}; "
        f"load before the run {load:.1f}",
        f"ours: {output(sys.executable, VERSIONS, env)}",
        f"peers: {output(peer, VERSIONS, env)}",
        f"thinc 8.3.14's BLIS: sub-configuration {blis.group(1) if blis else 'unknown'}; NumPy's "
        f"BLAS: {openblas[0] if openblas and 'Error' not in openblas[-1] else 'unknown'}",
    ]


class Limits:
    """The best speeds of this machine at this moment, one thread.

    flops: of the faster of our sgemm and NumPy's, 512 x 512 x 512, FLOP/s.
    near, far: of copying 8 MB and 84 MB, bytes read and written a second.
    measure() takes them anew, as a machine's speed changes.
    """

    def __init__(self, env: Dict[str, str] = ONE_THREAD):
        self.worker = Worker("limits", sys.executable, env)
        self.flops = self.near = self.far = 0.0
        self.measure(0.5)

    def __enter__(self) -> "Limits":
        return self

    def __exit__(self, *error) -> None:
        self.worker.__exit__(*error)

    def measure(self, seconds: float = 0.05) -> None:
        ours, numpys = (self._rate(name, seconds) for name in ("sgemm_ours", "sgemm_numpy"))
        self.flops = max(ours, numpys)
        self.near = self._rate("copy_near", seconds)
        self.far = self._rate("copy_far", seconds)

    def _rate(self, name: str, seconds: float) -> float:
        work = f"workloads.limits:{name}"
        sizes = self.worker.ask("build", work)
        best, end = float("inf"), time.monotonic() + seconds
        while time.monotonic() < end:
            best = min(best, self.worker.ask("time", work, 3))
        return (sizes["flops"] or sizes["moved"]) / best

    def __str__(self) -> str:
        return (
            f"limits: sgemm {self.flops / 1e9:.0f} GFLOP/s; copying 8 MB "
            f"{self.near / 1e9:.0f} GB/s, 84 MB {self.far / 1e9:.0f} GB/s, read and written "
            "bytes together"
        )
