"""MPSOps: for PyTorch modules on the Metal GPU of a Mac."""

from typing import TYPE_CHECKING

from ..config import registry
from .numpy_ops import NumpyOps

if TYPE_CHECKING:
    from .ops import Ops as NumpyOps  # noqa: F811


@registry.ops("MPSOps")
class MPSOps(NumpyOps):
    """NumpyOps, except that wrapped PyTorch modules run on the Metal GPU.

    While one of these is the current ops, get_torch_default_device() is "mps".
    """

    name = "mps"
