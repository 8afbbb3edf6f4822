"""Where the C++ headers are: thinc/*.hpp, the formulas shared by CPU and CUDA."""


def get_include() -> str:
    """The folder to pass to a compiler as -I, so that `#include <thinc/....hpp>` works.

    Raises FileNotFoundError if this installation has no headers.
    """
    candidates = _candidates()
    for folder in candidates:
        if any((folder / "thinc").glob("*.hpp")):
            return str(folder)
    looked = " or ".join(str(folder / "thinc") for folder in candidates)
    raise FileNotFoundError(f"thinc's C++ headers are missing: no .hpp file in {looked}.")


def _candidates():
    from pathlib import Path  # here, because every `import thinc` would pay for it

    package = Path(__file__).resolve().parent
    # An installed wheel carries the headers inside the package, a source tree beside it.
    return package / "include", package.parent / "include"
