"""Thinc, a functional deep-learning library. The public names are in thinc.api."""

from typing import TYPE_CHECKING

from .about import __version__
from .include_dir import get_include as get_include

if TYPE_CHECKING:
    from .config import registry
    from .gpu_report import explain_gpu as explain_gpu

__all__ = ["registry", "__version__"]


def __getattr__(name: str):
    # The registry costs as much to import as all of our own modules, and whoever
    # asks for the version or the headers (setup scripts do) needs none of it.
    if name == "registry":
        from . import api  # noqa: F401 - whoever looks a function up expects ours to be there
        from .config import registry

        globals()["registry"] = registry
        return registry
    if name == "explain_gpu":
        from .gpu_report import explain_gpu

        return explain_gpu
    raise AttributeError(f"module 'thinc' has no attribute {name!r}")
