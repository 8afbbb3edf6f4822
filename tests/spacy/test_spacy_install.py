"""What is installed, and that all of spaCy can be imported on it."""

import importlib
import importlib.metadata
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
import spacy

import thinc

EXTENSIONS = sorted(
    ".".join(path.relative_to(Path(spacy.__file__).parents[1]).parts).partition(".cpython")[0]
    for path in Path(spacy.__file__).parent.rglob("*.so")
)
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(spacy.__path__, "spacy.")
    if not module.name.startswith(("spacy.tests.", "spacy.__main__"))
)


def test_the_installed_package_is_tested_not_the_source_tree():
    assert Path(thinc.__file__).is_relative_to(sys.prefix)
    assert importlib.metadata.version("thinc") == thinc.__version__
    major, minor, patch = map(int, thinc.__version__.split("."))
    assert (major, minor) == (8, 3) and patch >= 100  # ours begin at 8.3.100
    assert importlib.metadata.version("spacy") == "3.8.18"


def test_requirements_agree():
    result = subprocess.run(
        [sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout


def test_nothing_brought_blis():
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("blis")


def test_all_of_spacy_is_looked_at():
    assert len(EXTENSIONS) == 46
    assert len(MODULES) > 500


@pytest.mark.parametrize("name", EXTENSIONS)
def test_every_extension_imports_first(name, ours):
    # In a process of its own: after a failed import, another fails for a wrong reason.
    # Only a size or signature that does not match is a warning of ours.
    ours.run("-W", "error::RuntimeWarning", "-c", f"import {name}")


def test_every_module_imports():
    problems = {}
    for name in MODULES:
        try:
            importlib.import_module(name)
        except Exception as error:
            problems[name] = repr(error)
    assert problems == {}
