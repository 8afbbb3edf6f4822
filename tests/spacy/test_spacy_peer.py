"""Pipelines go from here to the thinc that spaCy was published with, and back.

Labels are equal. Numbers differ by how sums of the same weights were rounded, which is
less than NUMBERS_ATOL; margins between labels are larger in a pipeline that has learned.
"""

import annotations
import corpus
import numpy
import pytest
import spacy
import train
from spacy.util import minibatch

NUMBERS_ATOL = 1e-4


@pytest.fixture(scope="module")
def from_peer(peer, tmp_path_factory):
    """A folder with a pipeline of all components, trained and saved by the peer."""
    folder = tmp_path_factory.mktemp("from-peer") / "pipeline"
    scores = peer.train(folder)
    assert scores["dep_las"] > 0.98, "the peer itself has not learned"
    return folder


def assert_same(one, other):
    assert annotations.labels(one) == annotations.labels(other)
    for a, b in zip(one, other, strict=True):
        assert a["scores"].keys() == b["scores"].keys()
        for key in a["scores"]:
            numpy.testing.assert_allclose(a["scores"][key], b["scores"][key], atol=NUMBERS_ATOL)
        numpy.testing.assert_allclose(
            list(a["cats"].values()), list(b["cats"].values()), atol=NUMBERS_ATOL
        )
        numpy.testing.assert_allclose(a["tensor"], b["tensor"], rtol=1e-4, atol=NUMBERS_ATOL)


def test_the_peer_is_what_it_should_be(peer):
    versions = "import spacy, thinc; print(spacy.__version__, thinc.__version__)"
    assert peer.run("-c", versions).split() == ["3.8.18", "8.3.14"]


def test_trained_there_runs_here(peer, ours, from_peer, texts):
    assert_same(ours.annotate(from_peer, texts), peer.annotate(from_peer, texts))


def test_trained_here_runs_there(peer, ours, saved, texts):
    assert_same(peer.annotate(saved, texts), ours.annotate(saved, texts))


def test_saved_again_here_is_the_same_there(peer, from_peer, texts, tmp_path):
    spacy.load(from_peer).to_disk(tmp_path / "again")
    there = peer.annotate(from_peer, texts)
    assert peer.annotate(tmp_path / "again", texts) == there
    for path in sorted(from_peer.rglob("model")):
        name = path.relative_to(from_peer)
        assert (tmp_path / "again" / name).read_bytes() == path.read_bytes(), name


def test_training_goes_on_here(from_peer):
    nlp = spacy.load(from_peer)
    optimizer = nlp.resume_training()
    for batch in minibatch(corpus.make_examples(nlp, 100, seed=4), 16):
        nlp.update(batch, sgd=optimizer)
    scores = nlp.evaluate(corpus.make_examples(nlp, 100, train.DEV_SEED))
    assert scores["tag_acc"] > 0.98
    assert scores["dep_las"] > 0.97
    assert scores["ents_f"] > 0.97
