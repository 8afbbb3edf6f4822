"""docs/frameworks.md: its code runs as written, from top to bottom."""

import re
from pathlib import Path

import numpy
import pytest
from frameworks import import_or_skip

torch = import_or_skip("torch")

import thinc.config  # noqa: E402

PAGE = Path(__file__).parent.parent / "docs" / "frameworks.md"


@pytest.fixture
def registered():
    before = set(thinc.config.registry.layers.get_all())
    yield
    import catalogue

    for name in set(thinc.config.registry.layers.get_all()) - before:
        del catalogue.REGISTRY[("thinc", "layers", name)]


def test_the_code_of_the_page_runs(registered):
    torch.manual_seed(0)
    numpy.random.seed(0)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert len(blocks) == 7
    names = {"__name__": "page"}
    for number, block in enumerate(blocks):
        exec(compile(block, f"block {number}", "exec"), names)
    assert (names["model"].predict(names["X"]).argmax(1) == names["labels"].numpy()).mean() > 0.9
