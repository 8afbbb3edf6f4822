"""The page about frozen models, docs/frozen-models.md: its code runs as written."""

import re
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy
import pytest
from gpu_cases import ids, tagger
from numpy.testing import assert_allclose

from thinc import api
from thinc.api import Relu, Softmax, chain

PAGE = Path(__file__).parent.parent / "docs" / "frozen-models.md"
BLOCKS = [
    textwrap.dedent(block)
    for block in re.findall(r" *```python\n(.*?) *```", PAGE.read_text(encoding="utf8"), re.S)
]


def test_the_page_has_three_examples():
    assert len(BLOCKS) == 3


def test_loading_freezing_predicting(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    docs = [ids(5), ids(3)]
    model = tagger().initialize(X=docs)
    expected = model.predict(docs)
    model.to_disk("tagger.model")
    names = {"model": model.copy(), "docs": docs}
    exec(BLOCKS[0], names)
    assert names["model"].is_frozen
    for found, wanted in zip(names["tags"], expected, strict=True):
        assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_training_around_it():
    rng = numpy.random.default_rng(0)
    X = rng.normal(size=(20, 32)).astype("f")
    Y = numpy.eye(3, dtype="f")[rng.integers(0, 3, 20)]
    names = {"X": X, "Y": Y, "Relu": Relu, "Softmax": Softmax, "chain": chain}
    exec(BLOCKS[1], names)
    model, encoder = names["model"], names["encoder"]
    before = encoder.get_param("W").copy()
    guesses, backprop = model.begin_update(X)
    backprop(guesses - Y)
    model.finish_update(api.Adam(0.1))
    assert numpy.array_equal(encoder.get_param("W"), before)
    assert model.layers[1].get_param("W").any()
    with pytest.raises(ValueError, match=r"it is frozen. Call\s+unfreeze\(\) first."):
        encoder.set_param("W", before)


def test_a_pipeline():
    components = [("tok2vec", SimpleNamespace(model=Relu(2, 2).initialize())), ("rules", object())]
    exec(BLOCKS[2], {"nlp": SimpleNamespace(pipeline=components)})
    assert components[0][1].model.is_frozen
