"""A tagger, parser and entity recognizer under spaCy: width 96, depth 4, as in its small
pipelines. Runs where spaCy is installed; the corpus is that of tests/spacy."""
import functools
import itertools
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "spacy" / "jobs"))

import corpus  # noqa: E402 - found through the line above
import pipelines  # noqa: E402
from spacy.training.batchers import minibatch_by_words  # noqa: E402
from spacy.util import fix_random_seed  # noqa: E402
from work import Work  # noqa: E402

COMPONENTS = ["tok2vec", "tagger", "parser", "ner"]
WORDS_A_BATCH = 1000


def make_pipeline():
    return pipelines.make_pipeline(COMPONENTS, width=96, depth=4)


@functools.cache
def trained(frozen=False):
    """Trained enough that it parses as it should: what comes out decides how many
    transitions a text takes. frozen: where the library knows how."""
    nlp = make_pipeline()
    pipelines.train(nlp, corpus.make_examples(nlp, 300, seed=1), epochs=3)
    for _, pipe in nlp.pipeline:
        if frozen and hasattr(pipe.model, "freeze"):
            pipe.model.freeze()
    return nlp


def train():
    """An epoch from one turn to the next, starting with new weights."""
    nlp = make_pipeline()
    examples = corpus.make_examples(nlp, 200, seed=1)
    fix_random_seed(0)
    nlp.initialize(lambda: examples)
    optimizer = nlp.create_optimizer()
    rng = random.Random(0)

    def run():
        rng.shuffle(examples)
        for batch in minibatch_by_words(examples, WORDS_A_BATCH):
            nlp.update(batch, sgd=optimizer, drop=0.1)

    return Work(run, units=sum(len(example.reference) for example in examples))


def pipe(frozen=False):
    nlp = trained(frozen)
    texts = texts_of(50, count=200)
    words = sum(len(nlp.make_doc(text)) for text in texts)

    def run():
        for _ in nlp.pipe(texts):
            pass

    return Work(run, units=words)


def latency(words, frozen=False):
    nlp = trained(frozen)
    texts = itertools.cycle(texts_of(words, count=50))
    return Work(lambda: nlp(next(texts)), median_call=True, units=words)


def texts_of(words, count):
    """Texts of exactly so many words, sentence after sentence of the corpus."""
    docs = corpus.make_docs(trained().vocab, count * (1 + words // 5), seed=5)
    stream = (token.text for doc in docs for token in doc)
    return [" ".join(itertools.islice(stream, words)) for _ in range(count)]


CASES = {
    "train": train,
    "pipe": pipe,
    **{f"latency_{words}": functools.partial(latency, words) for words in (5, 20, 100)},
    "frozen_pipe": functools.partial(pipe, frozen=True),
    **{
        f"frozen_latency_{words}": functools.partial(latency, words, frozen=True)
        for words in (5, 20, 100)
    },
}
