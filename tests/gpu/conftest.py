"""The suite that needs a CUDA device: `pytest -m gpu`, in a place where there is one.

Everywhere else it is skipped. THINC_FAKE_GPU=1 runs it on tests/fake_cupy.py instead, to
find mistakes in the tests themselves: that says nothing about CUDA. THINC_GPU_NO_POOL=1
gives each array memory of its own, so that compute-sanitizer sees reads beyond its end.

Tolerances, relative to the CPU's float32 results: TOLERANCE for one forward and backward
pass, LOOSE after several steps of training. Sums have another order on a GPU, and exp, tanh
and erf are other implementations, each within a few ulp.
"""

import contextlib
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from thinc import compat

HERE = Path(__file__).parent
FAKE = bool(os.environ.get("THINC_FAKE_GPU"))
TOLERANCE = {"rtol": 1e-4, "atol": 2e-5}
LOOSE = {"rtol": 2e-3, "atol": 2e-4}


def pytest_collection_modifyitems(items):
    missing = not FAKE and not compat.has_cupy_gpu
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            if missing:
                reason = f"needs a CUDA device: {compat.cupy_gpu_problem}"
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def device(monkeypatch):
    """ops, and no_waiting(): a block in which waiting for the device raises."""
    from thinc.api import set_deterministic, set_gpu_checks
    from thinc.backends import CupyOps

    if FAKE:
        import fake_cupy

        fake_cupy.install(monkeypatch)
        no_waiting, sync = fake_cupy.no_waiting, lambda: None
    else:
        import cupyx

        if os.environ.get("THINC_GPU_NO_POOL"):
            compat.cupy.cuda.set_allocator(None)

        def no_waiting():
            if os.environ.get("THINC_GPU_NO_POOL"):
                return contextlib.nullcontext()  # freeing memory waits
            return cupyx.allow_synchronize(False)

        def sync():
            compat.cupy.cuda.runtime.deviceSynchronize()

    yield SimpleNamespace(ops=CupyOps(), no_waiting=no_waiting, is_fake=FAKE, synchronize=sync)
    with contextlib.suppress(Exception):
        set_deterministic(False)
    set_gpu_checks(None)
