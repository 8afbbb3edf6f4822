"""Tests that need another framework: skipped where it is not installed, unless the
environment says that it has to be there."""

import importlib
import os
from typing import Any

import pytest


def import_or_skip(name: str) -> Any:
    """The module; without it, the importing test module is skipped.

    THINC_REQUIRE, a list of names with commas between them, says what may not be missing:
    scripts that install a framework set it, so that no test of theirs is skipped.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if name in os.environ.get("THINC_REQUIRE", "").split(","):
            raise
        pytest.skip(f"{name} is not installed ({error})", allow_module_level=True)
