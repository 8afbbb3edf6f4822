"""Helpers without a better home. Other modules' functions can be imported from here too."""

from .backends.selection import (
    gpu_is_available,
    prefer_gpu,
    require_cpu,
    require_gpu,
    set_active_gpu,
)
