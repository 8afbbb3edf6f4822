"""Names of a module that are imported when somebody asks for them.

So that `import thinc.api` loads what programs without other frameworks use, and no more.
"""

from importlib import import_module
from typing import Any, Callable, Mapping, Optional


def late_getattr(
    module: str, package: Optional[str], home_of: Mapping[str, str]
) -> Callable[[str], Any]:
    """A __getattr__ for a module.

    home_of: name -> where it is defined, relative to package, such as ".pytorch".
    """

    def __getattr__(name: str) -> Any:
        if name in home_of:
            return getattr(import_module(home_of[name], package), name)
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return __getattr__
