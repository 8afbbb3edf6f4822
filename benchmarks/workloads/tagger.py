"""A part-of-speech tagger as spaCy's pipelines have: four hash embeddings, a mixing
Maxout, four residual windows of Maxout and layer normalization, a softmax of 17."""
import numpy
from work import Work

from .weights import load, set_weights

WIDTH, CLASSES, BATCH, DEPTH = 96, 17, 32, 4
ROWS = (5000, 2500, 2500, 2500)


def data(count=200, shortest=5, longest=40, seed=0):
    """Documents (words, 4) of uint64 ids, and one-hot truths."""
    rng = numpy.random.default_rng(seed)
    docs = [
        rng.integers(0, 2**63, (length, 4), dtype="uint64")
        for length in rng.integers(shortest, longest + 1, count)
    ]
    eye = numpy.eye(CLASSES, dtype="float32")
    return docs, [eye[rng.integers(0, CLASSES, len(doc))] for doc in docs]


def forward_flops(words, width=WIDTH):
    mixing = 4 * width * 3 * width
    window = 3 * width * 3 * width
    return 2.0 * words * (mixing + DEPTH * window + width * CLASSES)


def thinc_model(width=WIDTH, rows=ROWS):
    from thinc.api import (
        HashEmbed,
        Maxout,
        Softmax,
        chain,
        clone,
        concatenate,
        expand_window,
        residual,
        with_array,
    )

    embed = concatenate(
        *[HashEmbed(width, n, column=i, seed=i) for i, n in enumerate(rows)]
    )
    mix = Maxout(width, width * 4, nP=3, normalize=True)
    block = residual(chain(expand_window(1), Maxout(width, width * 3, nP=3, normalize=True)))
    model = chain(
        with_array(chain(embed, mix)),
        with_array(clone(block, DEPTH), pad=4),
        with_array(Softmax(CLASSES, width)),
    ).initialize(X=data(2)[0])
    set_weights(model)
    return model


def thinc_train():
    """One epoch over 200 documents of 5 to 40 words, batches of 32, with Adam."""
    from thinc.api import Adam

    docs, truths = data()
    model = thinc_model()
    optimizer = Adam(0.001)

    def epoch():
        for i in range(0, len(docs), BATCH):
            guesses, backprop = model.begin_update(docs[i : i + BATCH])
            backprop([g - t for g, t in zip(guesses, truths[i : i + BATCH], strict=True)])
            model.finish_update(optimizer)

    def result():
        other = thinc_model()
        guesses, backprop = other.begin_update(docs[:BATCH])
        backprop([g - t for g, t in zip(guesses, truths[:BATCH], strict=True)])
        mixing = next(node for node in other.walk() if node.name == "maxout")
        dW = mixing.get_grad("W").reshape(-1, 4 * WIDTH)
        return {"probabilities": numpy.concatenate(guesses), "dW": dW}

    words = sum(map(len, docs))
    return Work(epoch, result, flops=3 * forward_flops(words), units=words)


def thinc_predict(frozen=False):
    """200 documents in batches of 32."""
    docs, _ = data()
    model = thinc_model()
    if frozen:
        model.freeze()

    def predict():
        for i in range(0, len(docs), BATCH):
            model.predict(docs[i : i + BATCH])

    words = sum(map(len, docs))
    return Work(
        predict,
        lambda: {"probabilities": numpy.concatenate(model.predict(docs[:BATCH]))},
        flops=forward_flops(words),
        units=words,
    )


def thinc_latency(words, frozen=False):
    """One document: the median time of a call."""
    docs, _ = data(1, words, words)
    model = thinc_model()
    if frozen:
        model.freeze()
    return Work(
        lambda: model.predict(docs),
        lambda: {"probabilities": model.predict(docs)[0]},
        median_call=True,
        flops=forward_flops(words),
        units=words,
    )


def thinc_latency5():
    return thinc_latency(5)


def thinc_latency20():
    return thinc_latency(20)


def thinc_latency100():
    return thinc_latency(100)


def frozen_predict():
    return thinc_predict(frozen=True)


def frozen_latency5():
    return thinc_latency(5, frozen=True)


def frozen_latency20():
    return thinc_latency(20, frozen=True)


def frozen_latency100():
    return thinc_latency(100, frozen=True)


# ---- PyTorch. The rows of the hash tables are computed beforehand and cost it nothing ----


def torch_model():
    import torch

    class Windows(torch.nn.Module):
        """Residual blocks over documents that are separated by rows of zeros."""

        def __init__(self):
            super().__init__()
            nn = torch.nn
            self.maxouts = nn.ModuleList(
                nn.Linear(3 * WIDTH, 3 * WIDTH) for _ in range(DEPTH)
            )
            self.norms = nn.ModuleList(nn.LayerNorm(WIDTH, eps=1e-8) for _ in range(DEPTH))

        def forward(self, X):
            for linear, norm in zip(self.maxouts, self.norms, strict=True):
                padded = torch.nn.functional.pad(X, (0, 0, 1, 1))
                window = torch.cat([padded[:-2], X, padded[2:]], dim=1)
                X = X + norm(linear(window).view(-1, WIDTH, 3).amax(dim=2))
            return X

    class Tagger(torch.nn.Module):
        def __init__(self):
            super().__init__()
            nn = torch.nn
            self.embeds = nn.ModuleList(nn.EmbeddingBag(n, WIDTH, mode="sum") for n in ROWS)
            self.mix = nn.Linear(4 * WIDTH, 3 * WIDTH)
            self.norm = nn.LayerNorm(WIDTH, eps=1e-8)
            self.windows = Windows()
            self.output = nn.Linear(WIDTH, CLASSES)

        def forward(self, rows, places, length):
            """rows: (words, 4, 4). places: where each word stands in `length` padded rows."""
            embedded = torch.cat([e(rows[:, i]) for i, e in enumerate(self.embeds)], dim=1)
            X = self.norm(self.mix(embedded).view(-1, WIDTH, 3).amax(dim=2))
            padded = X.new_zeros((length, WIDTH)).index_copy(0, places, X)
            return self.output(self.windows(padded)[places])

    model = Tagger()
    for i, (embed, n) in enumerate(zip(model.embeds, ROWS, strict=True)):
        load(embed.weight, f"hashembed.E#{i}", n, WIDTH)
    linears = [model.mix, *model.windows.maxouts]
    norms = [model.norm, *model.windows.norms]
    for i, (linear, norm) in enumerate(zip(linears, norms, strict=True)):
        load(linear.weight, f"maxout.W#{i}", WIDTH, 3, linear.in_features)
        load(linear.bias, f"maxout.b#{i}", WIDTH, 3)
        load(norm.weight, f"layernorm.G#{i}", WIDTH)
        load(norm.bias, f"layernorm.b#{i}", WIDTH)
    load(model.output.weight, "softmax.W#0", CLASSES, WIDTH)
    load(model.output.bias, "softmax.b#0", CLASSES)
    return model


def torch_batch(docs):
    """What Tagger.forward takes for a list of documents."""
    import torch

    from thinc.api import NumpyOps

    ops = NumpyOps()
    ids = numpy.concatenate(docs)
    rows = numpy.stack(
        [
            ops.hash(numpy.ascontiguousarray(ids[:, i]), i) % numpy.uint32(n)
            for i, n in enumerate(ROWS)
        ],
        axis=1,
    )
    places, start = [], 4
    for doc in docs:
        places.append(numpy.arange(start, start + len(doc)))
        start += len(doc) + 4
    places = numpy.concatenate(places)
    return torch.from_numpy(rows.astype("int64")), torch.from_numpy(places), start


def torch_train(compiled=False):
    import torch

    docs, truths = data()
    starts = range(0, len(docs), BATCH)
    batches = [torch_batch(docs[i : i + BATCH]) for i in starts]
    labels = [
        torch.from_numpy(numpy.concatenate(truths[i : i + BATCH]).argmax(axis=1)) for i in starts
    ]
    model = torch_model()
    optimizer = torch.optim.Adam(model.parameters(), 0.001, fused=True)
    used = torch.compile(model, dynamic=True) if compiled else model

    def backward(model, batch, truth):
        logits = model(*batch)
        torch.nn.functional.cross_entropy(logits, truth, reduction="sum").backward()
        return logits.detach()

    def epoch():
        for batch, truth in zip(batches, labels, strict=True):
            optimizer.zero_grad()
            backward(used, batch, truth)
            optimizer.step()

    def result():
        other = torch_model()
        guesses = torch.softmax(backward(other, batches[0], labels[0]), 1)
        return {"probabilities": guesses.numpy(), "dW": other.mix.weight.grad.numpy()}

    return Work(epoch, result, units=sum(map(len, docs)))


def compiled_train():
    return torch_train(compiled=True)


def torch_predict_batches(batches, median_call=False, compiled=False):
    import torch

    model = torch_model().eval()
    if compiled:
        model = torch.compile(model, dynamic=True)

    def predict():
        with torch.inference_mode():
            for batch in batches:
                torch.softmax(model(*batch), 1)

    def result():
        with torch.inference_mode():
            return {"probabilities": torch.softmax(model(*batches[0]), 1).numpy()}

    words = sum(len(rows) for rows, _, _ in batches)
    return Work(predict, result, median_call=median_call, units=words)


def torch_predict():
    docs, _ = data()
    return torch_predict_batches(
        [torch_batch(docs[i : i + BATCH]) for i in range(0, len(docs), BATCH)]
    )


def compiled_predict():
    docs, _ = data()
    return torch_predict_batches(
        [torch_batch(docs[i : i + BATCH]) for i in range(0, len(docs), BATCH)], compiled=True
    )


def torch_latency5():
    return torch_predict_batches([torch_batch(data(1, 5, 5)[0])], median_call=True)


def torch_latency20():
    return torch_predict_batches([torch_batch(data(1, 20, 20)[0])], median_call=True)


def torch_latency100():
    return torch_predict_batches([torch_batch(data(1, 100, 100)[0])], median_call=True)
