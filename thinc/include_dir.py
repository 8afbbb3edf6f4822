"""Where the C++ headers are: thinc/*.hpp, the formulas shared by CPU and CUDA."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
# An installed wheel carries the headers inside the package, a source tree beside it.
_CANDIDATES = (_PACKAGE / "include", _PACKAGE.parent / "include")


def get_include() -> str:
    """The folder to pass to a compiler as -I, so that `#include <thinc/....hpp>` works.

    Raises FileNotFoundError if this installation has no headers.
    """
    for folder in _CANDIDATES:
        if any((folder / "thinc").glob("*.hpp")):
            return str(folder)
    looked = " or ".join(str(folder / "thinc") for folder in _CANDIDATES)
    raise FileNotFoundError(f"thinc's C++ headers are missing: no .hpp file in {looked}.")
