"""The documentation keeps up with the code."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

import thinc.api
from thinc.api import Model, Ops

ROOT = Path(__file__).parent.parent
# A flag, None and a registry: what they mean is said in docs/api.md.
WITHOUT_DOCSTRING = {"has_cupy", "AppleOps", "keras_model_fns"}


def test_the_list_of_names_is_current():
    # In a process of its own: other tests register functions.
    command = [sys.executable, str(ROOT / "docs" / "make_api.py"), "--check"]
    paths = {**os.environ, "PYTHONPATH": str(Path(thinc.api.__file__).parent.parent)}
    done = subprocess.run(command, env=paths, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_list_has_every_name():
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(\w+)", text, re.M))
    assert set(thinc.api.__all__) <= listed
    for cls in (Model, Ops):
        assert {name for name in dir(cls) if not name.startswith("_")} <= listed


@pytest.mark.parametrize("name", sorted(set(thinc.api.__all__) - WITHOUT_DOCSTRING))
def test_a_public_name_has_a_docstring(name):
    assert inspect.getdoc(getattr(thinc.api, name))


@pytest.mark.parametrize("cls", [Model, Ops])
def test_a_public_method_has_a_docstring(cls):
    methods = inspect.getmembers(cls, lambda value: callable(value) or isinstance(value, property))
    assert [n for n, value in methods if not n.startswith("_") and not inspect.getdoc(value)] == []


def python_blocks(path: Path):
    return re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.S)


def run_blocks(blocks, names) -> None:
    """Execute the blocks one after another, as a reader would who types them in."""
    for number, block in enumerate(blocks):
        exec(compile(block, f"block {number}", "exec"), names)


def test_the_code_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # where the model is saved
    rng = numpy.random.default_rng(0)
    X = rng.normal(size=(60, 8)).astype("float32")
    Y = numpy.eye(3, dtype="float32")[X[:, :3].argmax(axis=1)]
    names = {"train_X": X[:40], "train_Y": Y[:40], "dev_X": X[40:], "dev_Y": Y[40:]}
    blocks = python_blocks(ROOT / "README.md")
    assert len(blocks) == 2
    # As in a module of the reader's: functions see one another.
    run_blocks(blocks, {"__name__": "readme", **names})
    assert (tmp_path / "digits.model").stat().st_size > 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [str(epoch) for epoch in range(10)]
