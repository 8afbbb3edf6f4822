"""Word vectors, whole words' and floret's, as input of a pipeline."""

import annotations
import corpus
import numpy
import pytest
import spacy
import train

WIDTH = 24


def words_of_the_corpus():
    docs = corpus.make_docs(spacy.blank("en").vocab, 400, train.TRAIN_SEED)
    return sorted({token.text for doc in docs for token in doc})


def write_word_vectors(path):
    words = words_of_the_corpus()
    table = numpy.random.default_rng(0).normal(size=(len(words), WIDTH))
    lines = [
        f"{word} {' '.join(f'{value:.5f}' for value in row)}"
        for word, row in zip(words, table, strict=True)
    ]
    path.write_text("\n".join([f"{len(words)} {WIDTH}", *lines]) + "\n", encoding="utf8")


def write_floret_vectors(path):
    rows, minn, maxn, hash_count, seed = 500, 3, 4, 2, 2166136261
    table = numpy.random.default_rng(0).normal(size=(rows, WIDTH))
    lines = [
        f"{i} {' '.join(f'{value:.5f}' for value in row)}" for i, row in enumerate(table)
    ]
    header = f"{rows} {WIDTH} {minn} {maxn} {hash_count} {seed} < >"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf8")


WRITERS = {"default": write_word_vectors, "floret": write_floret_vectors}


@pytest.fixture(scope="module", params=WRITERS)
def vectors(request, ours, tmp_path_factory):
    """The mode, and a folder with a pipeline that has nothing but vectors."""
    folder = tmp_path_factory.mktemp(request.param)
    WRITERS[request.param](folder / "vectors.txt")
    mode = ("--mode", request.param)
    ours.run("-m", "spacy", "init", "vectors", "en", folder / "vectors.txt", folder / "nlp", *mode)
    return request.param, folder / "nlp"


def test_vectors_are_what_the_file_says(vectors):
    mode, folder = vectors
    nlp = spacy.load(folder)
    assert nlp.vocab.vectors.mode == mode
    assert nlp.vocab.vectors_length == WIDTH
    doc = nlp("The runner nosuchword kicked")
    assert doc[1].has_vector and doc[1].vector_norm > 0
    assert doc[2].has_vector == (mode == "floret")
    assert doc.vector == pytest.approx(numpy.mean([token.vector for token in doc], axis=0))
    assert doc[1].similarity(doc[1]) == pytest.approx(1.0)


def test_a_pipeline_learns_on_them(vectors, ours, peer, texts, tmp_path):
    _, folder = vectors
    nlp, scores = train.train(
        ["tok2vec", "tagger", "parser", "ner"], epochs=6, docs=150, vectors=folder
    )
    assert scores["tag_acc"] > 0.98
    assert scores["dep_las"] > 0.95
    assert scores["ents_f"] > 0.95
    static = [n for n in nlp.get_pipe("tok2vec").model.walk() if n.name == "static_vectors"]
    assert len(static) == 1
    nlp.to_disk(tmp_path / "pipeline")
    here = ours.annotate(tmp_path / "pipeline", texts)
    assert here == annotations.annotations(nlp.pipe(texts, batch_size=32))
    there = peer.annotate(tmp_path / "pipeline", texts)
    assert annotations.labels(here) == annotations.labels(there)


def test_vectors_saved_there_are_the_same_here(vectors, peer, ours, texts, tmp_path):
    _, folder = vectors
    load_and_save = f"import spacy; spacy.load({str(folder)!r}).to_disk({str(tmp_path / 'x')!r})"
    peer.run("-c", load_and_save)
    one, other = spacy.load(folder), spacy.load(tmp_path / "x")
    for text in texts[:10]:
        for token, same in zip(one(text), other(text), strict=True):
            assert (token.vector == same.vector).all()
