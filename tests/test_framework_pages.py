"""The code on the pages about other frameworks runs as written."""

import os
from pathlib import Path

import pytest
from frameworks import import_or_skip
from test_docs import python_blocks, run_blocks

DOCS = Path(__file__).parent.parent / "docs"

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.mark.parametrize(
    "page, frameworks",
    [
        ("frameworks-jax.md", ["jax", "flax.linen", "equinox"]),
        ("frameworks-tensorflow.md", ["tensorflow"]),
        ("safetensors.md", ["safetensors"]),
    ],
    ids=["jax", "tensorflow", "safetensors"],
)
@pytest.mark.filterwarnings("default")  # what the frameworks say among themselves
def test_the_code_of_a_page_runs(page, frameworks, tmp_path, monkeypatch, capsys):
    for name in frameworks:
        import_or_skip(name)
    monkeypatch.chdir(tmp_path)
    blocks = python_blocks(DOCS / page)
    assert blocks
    run_blocks(blocks, {"__name__": "page"})
    assert capsys.readouterr().out.strip()
