"""The code of docs/c-interface.md compiles and does what the page says."""

import itertools
import re
from pathlib import Path

import numpy
import pytest
from c_client import compiled_source

from thinc.api import NumpyOps

PAGE = Path(__file__).parents[1] / "docs" / "c-interface.md"


@pytest.fixture(scope="module")
def page():
    blocks = re.findall(r"```cython\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert len(blocks) == 2
    return compiled_source("page", "\n".join(blocks))


def test_products(page):
    rng = numpy.random.default_rng(0)
    states, weights = (rng.normal(size=shape).astype("f") for shape in [(6, 32), (9, 32)])
    scores = numpy.full((6, 9), numpy.nan, dtype="f")
    best = page.best_classes(NumpyOps().cblas(), states, weights, scores)
    assert best == (states @ weights.T).argmax(axis=1).tolist()


def test_search(page):
    gains = numpy.random.default_rng(0).normal(size=(4, 4)).astype("f")

    def gain(walk):
        return sum(gains[here, there] for here, there in zip((0, *walk), walk, strict=False))

    best = {}
    for walk in itertools.product(range(4), repeat=5):
        best[walk[-1]] = max(walk, best.get(walk[-1], walk), key=gain)
    found = page.best_walks(gains.tolist(), 5, width=4)
    expected = sorted(best.values(), key=gain, reverse=True)
    assert [tuple(walk) for walk, _ in found] == expected
    assert [score for _, score in found] == pytest.approx([gain(walk) for walk in expected])


def test_links_lead_to_files():
    for target in re.findall(r"\]\((\.\./[^)]+)\)", PAGE.read_text(encoding="utf-8")):
        assert (PAGE.parent / target).is_file(), target
