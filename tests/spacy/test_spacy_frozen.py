"""Pipelines whose models are frozen annotate as before, and faster."""

import annotations
import corpus
import numpy
import pipelines
import pytest
import spacy


def models(nlp):
    return [pipe.model for _, pipe in nlp.pipeline if hasattr(pipe, "model")]


@pytest.fixture(scope="module")
def frozen(saved):
    nlp = spacy.load(saved)
    for model in models(nlp):
        model.freeze()
    return nlp


def test_every_component_annotates_the_same(frozen, saved, texts):
    plain = spacy.load(saved)
    for annotate in (lambda nlp: nlp.pipe(texts), lambda nlp: [nlp(text) for text in texts]):
        expected = annotations.labels(annotations.annotations(annotate(plain)))
        assert annotations.labels(annotations.annotations(annotate(frozen))) == expected


def test_vectors_are_close(frozen, saved, texts):
    plain = spacy.load(saved)
    for text in texts[:5]:
        expected = plain(text).tensor
        assert expected.any()
        numpy.testing.assert_allclose(frozen(text).tensor, expected, rtol=1e-3, atol=1e-4)


def test_two_processes(frozen, texts):
    one = annotations.annotations(frozen.pipe(texts))
    assert annotations.annotations(frozen.pipe(texts, n_process=2)) == one


def test_files_are_the_same_and_load_unfrozen(frozen, saved, tmp_path):
    frozen.to_disk(tmp_path)
    for name, pipe in frozen.pipeline:
        if hasattr(pipe, "model"):
            assert (tmp_path / name / "model").read_bytes() == (saved / name / "model").read_bytes()
    assert not any(model.is_frozen for model in models(spacy.load(tmp_path)))


def test_loading_into_it_is_refused(frozen, saved, texts):
    before = [token.tag_ for token in frozen(texts[0])]
    with pytest.raises(ValueError, match="it is frozen. Call unfreeze"):
        frozen.get_pipe("tagger").from_bytes(spacy.load(saved).get_pipe("tagger").to_bytes())
    assert [token.tag_ for token in frozen(texts[0])] == before


def test_a_frozen_tok2vec_stays_while_the_others_learn():
    nlp = pipelines.make_pipeline(["tok2vec", "tagger", "ner"], width=16)
    examples = corpus.make_examples(nlp, 30, seed=1)
    nlp.initialize(lambda: examples)
    tok2vec, tagger = (nlp.get_pipe(name).model for name in ("tok2vec", "tagger"))
    tok2vec.freeze()
    before = tok2vec.to_bytes(), tagger.to_bytes()
    optimizer = nlp.create_optimizer()
    losses = [nlp.update(examples, sgd=optimizer, losses={}) for _ in range(5)]
    assert tok2vec.to_bytes() == before[0]
    assert tagger.to_bytes() != before[1]
    assert losses[-1]["tagger"] < losses[0]["tagger"]
