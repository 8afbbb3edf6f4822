"""The tagger at many sizes: CASES, "predict length 100" -> Work, and so on.

length: one document of so many words. batch: so many documents of 20 words. rows: 4,000
words, so many rows in the first hash table. width: 400 words, layers so wide.
"""
from functools import partial

from work import Work

from . import tagger

LENGTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
ROWS = (1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
WIDTHS = (32, 33, 47, 48, 63, 64, 65, 95, 96, 97, 127, 128, 129, 191, 192, 193, 255, 256, 257,
          383, 384, 385, 511, 512, 513, 767, 768, 769, 1023, 1024)
# Training at these keeps all layers' outputs, and would need gigabytes.
ONLY_PREDICT = {("batch", 2048), ("batch", 4096), ("rows", 300_000), ("rows", 1_000_000)}
SIZES = {"length": LENGTHS, "batch": BATCHES, "rows": ROWS, "width": WIDTHS}
CASES = {}


def make(kind, size):
    """(model, documents, truths)"""
    width = size if kind == "width" else tagger.WIDTH
    rows = (size, 1000, 1000, 1000) if kind == "rows" else tagger.ROWS
    count, length = {
        "length": (1, size), "batch": (size, 20), "rows": (200, 20), "width": (20, 20)
    }[kind]
    docs, truths = tagger.data(count, length, length)
    return tagger.thinc_model(width, rows), docs, truths


def predict(kind, size):
    model, docs, _ = make(kind, size)
    words = sum(map(len, docs))
    width = size if kind == "width" else tagger.WIDTH
    flops = tagger.forward_flops(words, width)
    return Work(lambda: model.predict(docs), flops=flops, units=words)


def train(kind, size):
    from thinc.api import Adam

    model, docs, truths = make(kind, size)
    optimizer = Adam(0.001, use_averages=False)
    words = sum(map(len, docs))
    width = size if kind == "width" else tagger.WIDTH

    def step():
        guesses, backprop = model.begin_update(docs)
        backprop([g - t for g, t in zip(guesses, truths, strict=True)])
        model.finish_update(optimizer)

    flops = 3 * tagger.forward_flops(words, width)
    return Work(step, flops=flops, units=words)


for kind, sizes in SIZES.items():
    for size in sizes:
        CASES[f"predict {kind} {size}"] = partial(predict, kind, size)
        if (kind, size) not in ONLY_PREDICT:
            CASES[f"train {kind} {size}"] = partial(train, kind, size)


