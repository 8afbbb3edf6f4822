"""A small tagger trained until it knows its task, with compiled or generic operations.

The task can be learned but not by looking at one word: the tag depends on the classes of
a word and of the word before it. New documents are made of the same words.
"""
import numpy
from work import Work

from .weights import set_weights

WORDS, TAGS, WIDTH, EPOCHS, BATCH = 400, 17, 48, 12, 16


def corpus(count, seed):
    rng = numpy.random.default_rng(seed)
    classes = numpy.random.default_rng(99).integers(0, 8, WORDS)
    docs, tags = [], []
    for length in rng.integers(5, 41, count):
        words = rng.integers(0, WORDS, length)
        before = numpy.concatenate([[0], classes[words[:-1]]])
        docs.append(words.astype("uint64").reshape(-1, 1) + numpy.uint64(1))
        tags.append((3 * classes[words] + 5 * before) % TAGS)
    return docs, tags


def build_model(docs):
    from thinc.api import (
        HashEmbed,
        Maxout,
        Softmax,
        chain,
        expand_window,
        residual,
        with_array,
    )

    block = residual(chain(expand_window(1), Maxout(WIDTH, 3 * WIDTH, nP=3, normalize=True)))
    model = chain(
        with_array(
            chain(
                HashEmbed(WIDTH, 1000, column=0, seed=1),
                Maxout(WIDTH, WIDTH, nP=3, normalize=True),
            )
        ),
        with_array(block, pad=1),
        with_array(Softmax(TAGS, WIDTH)),
    ).initialize(X=docs[:2])
    set_weights(model)
    return model


def train():
    """Accuracies on new documents and losses, epoch by epoch."""
    from thinc.api import Adam

    docs, tags = corpus(240, 1)
    dev_docs, dev_tags = corpus(80, 2)
    eye = numpy.eye(TAGS, dtype="float32")
    model, optimizer = build_model(docs), Adam(0.003)
    order = numpy.random.default_rng(3)
    accuracies, losses = [], []
    for _ in range(EPOCHS):
        loss = 0.0
        shuffled = order.permutation(len(docs))
        for start in range(0, len(docs), BATCH):
            chosen = shuffled[start : start + BATCH]
            guesses, backprop = model.begin_update([docs[i] for i in chosen])
            d_guesses = [g - eye[tags[i]] for g, i in zip(guesses, chosen, strict=True)]
            loss += sum(
                float(-numpy.log(g[numpy.arange(len(g)), tags[i]] + 1e-8).sum())
                for g, i in zip(guesses, chosen, strict=True)
            )
            backprop(d_guesses)
            model.finish_update(optimizer)
        found = numpy.concatenate(model.predict(dev_docs)).argmax(axis=1)
        accuracies.append(float((found == numpy.concatenate(dev_tags)).mean()))
        losses.append(loss / sum(map(len, docs)))
    return {"accuracies": numpy.array(accuracies), "losses": numpy.array(losses)}


def fast():
    return Work(train, train)


def generic():
    """All layers on the class Ops itself, which has array language only."""

    def run():
        from thinc.api import Ops, get_current_ops, set_current_ops

        before = get_current_ops()
        set_current_ops(Ops())
        try:
            return train()
        finally:
            set_current_ops(before)

    return Work(run, run)
