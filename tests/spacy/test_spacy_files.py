"""Saving and loading: disk, bytes, pickle and copies give the same pipeline."""

import pickle

import annotations
import pytest
import spacy


def annotate(nlp, texts):
    return annotations.annotations(nlp(text) for text in texts)


def test_disk(saved, texts, expected):
    assert annotate(spacy.load(saved), texts) == expected


def test_bytes(nlp, saved, texts, expected):
    data = nlp.to_bytes()
    again = spacy.blank("en").from_config(nlp.config)
    again.from_bytes(data)
    assert annotate(again, texts) == expected
    assert again.to_bytes() == data


def test_disk_in_another_process(ours, saved, texts, nlp):
    here = annotations.annotations(nlp.pipe(texts, batch_size=32))
    assert ours.annotate(saved, texts) == here


def test_weights_of_a_component_survive_pickling(nlp, texts):
    tok2vec = nlp.get_pipe("tok2vec").model
    docs = [nlp.make_doc(text) for text in texts[:5]]
    again = pickle.loads(pickle.dumps(tok2vec.get_ref("embed")))
    assert again.to_bytes() == tok2vec.get_ref("embed").to_bytes()
    for one, other in zip(
        tok2vec.get_ref("embed").predict(docs), again.predict(docs), strict=True
    ):
        assert (one == other).all()


def test_loading_with_a_component_disabled(saved, texts, expected):
    nlp = spacy.load(saved, exclude=["ner", "entity_linker"])
    for doc, everything in zip(annotate(nlp, texts), expected, strict=True):
        assert doc["entities"] == []
        assert doc["tags"] == everything["tags"]
        assert doc["heads"] == everything["heads"]


def test_a_damaged_file_is_refused(saved, tmp_path):
    nlp = spacy.load(saved)
    tagger = nlp.get_pipe("tagger")
    before = tagger.model.to_bytes()
    tagger.to_disk(tmp_path)
    weights = (tmp_path / "model").read_bytes()
    (tmp_path / "model").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ValueError):
        tagger.from_disk(tmp_path)
    assert tagger.model.to_bytes() == before
