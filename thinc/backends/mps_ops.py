"""MPSOps: for PyTorch modules on the Metal GPU of a Mac."""

from ..registration import registry
from .numpy_ops import NumpyOps


@registry.ops("MPSOps")
class MPSOps(NumpyOps):
    """NumpyOps, except that wrapped PyTorch modules run on the Metal GPU.

    While one of these is the current ops, get_torch_default_device() is "mps".
    """

    name = "mps"
