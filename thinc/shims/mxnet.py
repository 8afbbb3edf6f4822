"""MXNet's shim: the name only. MXNet is retired and does not run with NumPy 2."""

from typing import Any, Dict, Optional

from ..interop import assert_mxnet_installed
from .shim import Shim


class MXNetShim(Shim):
    """Raises ImportError: MXNet is retired upstream. The message says what to use instead."""

    def __init__(self, model: Any, config: Optional[Dict] = None, optimizer: Any = None):
        assert_mxnet_installed()
