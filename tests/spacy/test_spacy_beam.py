"""Beam search: parser and entity recognizer learn with it, and say how sure they are."""

import annotations
import corpus
import pipelines
import pytest
import spacy
import train


@pytest.fixture(scope="module")
def beam():
    return train.train(["tok2vec", "beam_parser", "beam_ner"], epochs=8, docs=200)


def test_scores_on_unseen_texts(beam):
    _, scores = beam
    assert scores["dep_las"] >= 0.97
    assert scores["ents_f"] >= 0.97
    assert scores["sents_f"] >= 0.97


def test_the_default_is_a_beam(beam):
    nlp, _ = beam
    assert nlp.get_pipe("beam_ner").cfg["beam_width"] > 1
    assert nlp.get_pipe("beam_parser").cfg["beam_width"] > 1


def test_beams_are_distributions_over_parses(beam, texts):
    nlp, _ = beam
    ner = nlp.get_pipe("beam_ner")
    docs = [nlp.make_doc(text) for text in texts[:10]]
    for name in ("tok2vec", "beam_parser"):
        docs = list(nlp.get_pipe(name).pipe(docs))
    for doc, found in zip(docs, ner.beam_parse(docs, beam_width=8), strict=True):
        assert found.is_done
        assert sum(found.probs) == pytest.approx(1.0)
        assert sorted(found.probs, reverse=True) == pytest.approx(found.probs)
        parses = ner.moves.get_beam_parses(found)
        best = max(parses)[1]
        assert [tuple(ent) for ent in best] == [
            (ent.start, ent.end, ent.label_) for ent in nlp(doc.text).ents
        ]


def test_entities_have_confidences(beam, texts):
    nlp, _ = beam
    ner = nlp.get_pipe("beam_ner")
    for text in texts[:10]:
        doc = nlp(text)
        (scores,) = ner.scored_ents(ner.beam_parse([doc], beam_width=8))
        for ent in doc.ents:
            assert 0.5 < scores[(ent.start, ent.end, ent.label_)] <= 1.0 + 1e-6


def test_a_beam_of_one_is_greedy(beam, texts):
    nlp, _ = beam
    ner = nlp.get_pipe("beam_ner")
    docs = [nlp(text) for text in texts[:20]]
    ones = ner.beam_parse(docs, beam_width=1)
    greedy = ner.greedy_parse(docs)
    for doc, found, state in zip(docs, ones, greedy, strict=True):
        (parse,) = ner.moves.get_beam_parses(found)
        one = [(start, end, label) for start, end, label in parse[1]]
        plain = nlp.make_doc(doc.text)
        ner.set_annotations([plain], [state])
        assert one == [(ent.start, ent.end, ent.label_) for ent in plain.ents]


def test_here_and_there_agree(beam, peer, ours, texts, tmp_path):
    beam[0].to_disk(tmp_path / "beam")
    here = ours.annotate(tmp_path / "beam", texts)
    there = peer.annotate(tmp_path / "beam", texts)
    assert annotations.labels(here) == annotations.labels(there)


@pytest.mark.parametrize(("name", "score"), [("parser", "dep_las"), ("ner", "ents_f")])
@pytest.mark.parametrize("density", [0.0, 0.01, 0.5])
def test_training_with_a_width_set_by_hand(name, score, density):
    nlp = spacy.blank("en")
    config = pipelines.component_configs(pipelines.hash_embed_cnn(32, 2))[name]
    nlp.add_pipe(f"beam_{name}", config={**config, "beam_width": 4, "beam_density": density})
    pipelines.train(nlp, corpus.make_examples(nlp, 100, seed=1), epochs=6)
    assert nlp.evaluate(corpus.make_examples(nlp, 50, seed=2))[score] > 0.85
