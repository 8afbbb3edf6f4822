"""The kernels on the host, compiled once and kept in pytest's cache between runs."""

import pytest
from host import HostKernels


@pytest.fixture(scope="session")
def kernels(pytestconfig):
    return HostKernels(pytestconfig.cache.mkdir("thinc-cuda-host"))
