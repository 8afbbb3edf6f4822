from .shim import Shim

__all__ = ["Shim"]
