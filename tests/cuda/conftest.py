"""What takes long to compile is kept in pytest's cache between runs."""

import sys

import nvrtc
import pytest
from host import HostKernels


@pytest.fixture(scope="session", autouse=True)
def compiled_before(pytestconfig):
    nvrtc.folder = pytestconfig.cache.mkdir("thinc-nvrtc")


@pytest.fixture(scope="session")
def kernels(pytestconfig):
    if not sys.platform.startswith("linux"):
        pytest.skip("host_shim.hpp switches between stacks in the way of Linux")
    return HostKernels(pytestconfig.cache.mkdir("thinc-cuda-host"))
