"""The flat namespace: what it exports, and what importing it costs."""
import ast
import subprocess
import sys
from pathlib import Path

import pytest

import thinc
import thinc.api

FRAMEWORKS = ["torch", "tensorflow", "jax", "cupy", "scipy", "mxnet"]


def imported_names(module):
    """Names that the module imports from ours, those for type checkers included."""
    tree = ast.parse(Path(module.__file__).read_text())
    return {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }


def test_all_is_what_is_imported():
    assert set(thinc.api.__all__) == imported_names(thinc.api)


@pytest.mark.parametrize("name", thinc.api.__all__)
def test_every_name_can_be_imported(name):
    getattr(thinc.api, name)


def test_importing_the_api_loads_no_other_framework():
    code = f"import sys, thinc.api; print([m for m in {FRAMEWORKS} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert loaded.stdout.strip() == "[]", loaded.stderr


def test_early_spellings_are_the_same_objects():
    assert thinc.api.ReLu is thinc.api.Relu
    assert thinc.registry is thinc.api.registry


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Lineer'"):
        getattr(thinc.api, "Lineer")  # noqa: B009


@pytest.mark.parametrize("first", ["thinc.config", "thinc.api", "thinc"])
def test_our_functions_are_registered_whichever_module_comes_first(first):
    code = f"import {first}, thinc; print(thinc.registry.layers.get('Relu.v1').__name__)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout.strip() == "Relu", found.stderr


def test_importing_the_api_does_not_load_the_config_system():
    code = "import sys, thinc.api; print('confection' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert loaded.stdout.strip() == "False", loaded.stderr
