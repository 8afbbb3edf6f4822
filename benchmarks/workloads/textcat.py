"""Classifiers of documents: hash embedding with attention, and sparse linear."""
import numpy
from work import Work

from .weights import load, set_weights

WIDTH, ROWS, CLASSES, DOCS, SEED = 64, 5000, 4, 128, 7


def data():
    """128 documents of 20 to 200 words, (words, 1) uint64, and one-hot truths."""
    rng = numpy.random.default_rng(0)
    docs = [rng.integers(0, 2**63, (n, 1), dtype="uint64") for n in rng.integers(20, 201, DOCS)]
    return docs, numpy.eye(CLASSES, dtype="float32")[rng.integers(0, CLASSES, DOCS)]


def forward_flops(docs):
    return 2.0 * sum(map(len, docs)) * WIDTH * 3 * WIDTH


def thinc_model():
    from thinc.api import (
        HashEmbed,
        Maxout,
        ParametricAttention,
        Softmax,
        chain,
        list2ragged,
        reduce_sum,
        with_array,
    )

    model = chain(
        list2ragged(),
        with_array(chain(HashEmbed(WIDTH, ROWS, column=0, seed=SEED), Maxout(WIDTH, WIDTH, nP=3))),
        ParametricAttention(WIDTH),
        reduce_sum(),
        Softmax(CLASSES, WIDTH),
    ).initialize()
    set_weights(model)
    return model


def thinc_attention_train():
    """One step with Adam on all 128 documents."""
    from thinc.api import Adam

    docs, truths = data()
    model, optimizer = thinc_model(), Adam(0.001)

    def step(model, optimizer):
        guesses, backprop = model.begin_update(docs)
        backprop((guesses - truths) / len(docs))
        model.finish_update(optimizer)

    def result():
        other, fresh = thinc_model(), Adam(0.001)
        step(other, fresh)
        return {"probabilities": other.predict(docs)}

    words = sum(map(len, docs))
    return Work(
        lambda: step(model, optimizer), result, flops=3 * forward_flops(docs), units=words
    )


def thinc_attention_predict():
    docs, _ = data()
    model = thinc_model()
    return Work(
        lambda: model.predict(docs),
        lambda: {"probabilities": model.predict(docs)},
        flops=forward_flops(docs),
        units=sum(map(len, docs)),
    )


def torch_model():
    import torch

    class Classifier(torch.nn.Module):
        def __init__(self):
            super().__init__()
            nn = torch.nn
            self.embed = nn.EmbeddingBag(ROWS, WIDTH, mode="sum")
            self.maxout = nn.Linear(WIDTH, 3 * WIDTH)
            self.Q = nn.Parameter(torch.zeros(WIDTH))
            self.output = nn.Linear(WIDTH, CLASSES)

        def forward(self, rows, document, offsets):
            """rows: (words, 4); document: the document of each word; offsets: its start."""
            X = self.maxout(self.embed(rows)).view(-1, WIDTH, 3).amax(dim=2)
            scores = X @ self.Q
            count = offsets.shape[0]
            highest = torch.zeros(count).scatter_reduce(
                0, document, scores.detach(), "amax", include_self=False
            )
            weights = torch.exp(scores - highest[document])
            weights = weights / torch.zeros(count).index_add(0, document, weights)[document]
            summed = torch.zeros((count, WIDTH)).index_add(0, document, X * weights[:, None])
            return self.output(summed)

    model = Classifier()
    load(model.embed.weight, "hashembed.E#0", ROWS, WIDTH)
    load(model.maxout.weight, "maxout.W#0", WIDTH, 3, WIDTH)
    load(model.maxout.bias, "maxout.b#0", WIDTH, 3)
    load(model.Q, "para-attn.Q#0", WIDTH)
    load(model.output.weight, "softmax.W#0", CLASSES, WIDTH)
    load(model.output.bias, "softmax.b#0", CLASSES)
    return model


def torch_data():
    """The rows of the hash table are computed beforehand and cost PyTorch nothing."""
    import torch

    from thinc.api import NumpyOps

    docs, truths = data()
    ids = numpy.concatenate(docs)[:, 0]
    rows = NumpyOps().hash(numpy.ascontiguousarray(ids), SEED) % numpy.uint32(ROWS)
    lengths = [len(doc) for doc in docs]
    document = numpy.repeat(numpy.arange(len(docs)), lengths)
    offsets = numpy.cumsum([0, *lengths[:-1]])
    inputs = tuple(map(torch.from_numpy, (rows.astype("int64"), document, offsets)))
    return inputs, torch.from_numpy(truths.argmax(axis=1))


def torch_attention_train():
    import torch

    inputs, labels = torch_data()
    model = torch_model()
    optimizer = torch.optim.Adam(model.parameters(), 0.001, fused=True)

    def step(model, optimizer):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(*inputs), labels).backward()
        optimizer.step()

    def result():
        other = torch_model()
        step(other, torch.optim.Adam(other.parameters(), 0.001, fused=True))
        with torch.inference_mode():
            return {"probabilities": torch.softmax(other(*inputs), 1).numpy()}

    return Work(lambda: step(model, optimizer), result, units=len(inputs[0]))


def torch_attention_predict():
    import torch

    inputs, _ = torch_data()
    model = torch_model().eval()

    def predict():
        with torch.inference_mode():
            return torch.softmax(model(*inputs), 1)

    return Work(predict, lambda: {"probabilities": predict().numpy()}, units=len(inputs[0]))


# ---- sparse linear ------------------------------------------------------------------

SPARSE_CLASSES, LENGTH, SPARSE_DOCS = 10, 2**18, 128


def sparse_data():
    """Keys, values and lengths of 128 documents of 20 to 200 features, and truths."""
    rng = numpy.random.default_rng(0)
    lengths = rng.integers(20, 201, SPARSE_DOCS).astype("int32")
    total = int(lengths.sum())
    keys = rng.integers(0, 2**63, total, dtype="uint64")
    values = rng.random(total, "float32")
    labels = rng.integers(0, SPARSE_CLASSES, SPARSE_DOCS)
    return (keys, values, lengths), numpy.eye(SPARSE_CLASSES, dtype="float32")[labels]


def sparse_model():
    from thinc.api import Logistic, SparseLinear_v2, chain

    model = chain(SparseLinear_v2(SPARSE_CLASSES, LENGTH), Logistic()).initialize()
    set_weights(model)
    return model


def thinc_sparse_train():
    """One step with Adam: 128 documents, 10 classes, 2^18 cells each."""
    from thinc.api import Adam

    X, truths = sparse_data()
    model, optimizer = sparse_model(), Adam(0.001)

    def step(model, optimizer):
        guesses, backprop = model.begin_update(X)
        backprop((guesses - truths) / len(truths))
        model.finish_update(optimizer)

    # Not the weights after a step: with gradients this small, the places where the libraries'
    # Adams add epsilon make a difference.
    def result():
        other = sparse_model()
        guesses, backprop = other.begin_update(X)
        backprop(guesses - truths)
        return {"scores": guesses, "dW": other.layers[0].get_grad("W")}

    return Work(lambda: step(model, optimizer), result, units=len(X[0]))


def thinc_sparse_update():
    """Forward and backward without an optimizer."""
    X, truths = sparse_data()
    model = sparse_model()

    def update():
        guesses, backprop = model.begin_update(X)
        backprop(guesses - truths)

    def clear():
        for node in model.walk():
            for name in node.param_names:
                node.set_grad(name, 0 * node.get_param(name))

    def result():
        clear()
        update()
        return {"dW": model.layers[0].get_grad("W")}

    return Work(update, result, prepare=clear, units=len(X[0]))


def thinc_sparse_predict(frozen=False):
    X, _ = sparse_data()
    model = sparse_model()
    if frozen:
        model.freeze()
    return Work(
        lambda: model.predict(X), lambda: {"scores": model.predict(X)}, units=len(X[0])
    )


def frozen_sparse_predict():
    return thinc_sparse_predict(frozen=True)


def torch_sparse(compute_gradient):
    """EmbeddingBag over the 2^18 cells, its two rows of each feature hashed beforehand."""
    import torch

    (keys, values, lengths), truths = sparse_data()
    rows = numpy.stack([murmur3_32(keys, seed) % LENGTH for seed in (0, 1)], axis=1)
    rows = torch.from_numpy(rows.astype("int64").reshape(-1))
    values = torch.from_numpy(numpy.repeat(values, 2))
    offsets = torch.from_numpy(2 * numpy.cumsum([0, *lengths[:-1]]).astype("int64"))
    truths = torch.from_numpy(truths)

    class Sparse(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bag = torch.nn.EmbeddingBag(LENGTH, SPARSE_CLASSES, mode="sum")
            self.b = torch.nn.Parameter(torch.zeros(SPARSE_CLASSES))

        def forward(self):
            return self.bag(rows, offsets, per_sample_weights=values) + self.b

    def make():
        from .weights import drawn

        model = Sparse()
        W = drawn("sparse_linear.W#0", SPARSE_CLASSES * LENGTH).reshape(SPARSE_CLASSES, LENGTH)
        with torch.no_grad():
            model.bag.weight.copy_(torch.from_numpy(W.T.copy()))
        load(model.b, "sparse_linear.b#0", SPARSE_CLASSES)
        return model

    model = make()
    if not compute_gradient:
        def predict():
            with torch.inference_mode():
                return torch.sigmoid(model())

        return Work(predict, lambda: {"scores": predict().numpy()}, units=len(rows) // 2)

    def backward(model, scale):
        scores = torch.sigmoid(model())
        (0.5 * (scores - truths).square().sum() / scale).backward()
        return scores.detach()

    def step():
        optimizer.zero_grad()
        backward(model, len(truths))
        optimizer.step()

    optimizer = torch.optim.Adam(model.parameters(), 0.001, fused=True)

    def result():
        other = make()
        scores = backward(other, 1).numpy()
        return {"scores": scores, "dW": other.bag.weight.grad.T.numpy().reshape(-1)}

    return Work(step, result, units=len(rows) // 2)


def torch_sparse_train():
    return torch_sparse(True)


def torch_sparse_predict():
    return torch_sparse(False)


def murmur3_32(keys, seed):
    """MurmurHash3 (x86, 32 bits) of the eight bytes of each key, Austin Appleby's."""
    u32 = numpy.uint32
    h = numpy.full(keys.shape, seed, dtype="uint32")
    for shift in (0, 32):
        k = (keys >> numpy.uint64(shift)).astype("uint32") * u32(0xCC9E2D51)
        k = (k << u32(15) | k >> u32(17)) * u32(0x1B873593)
        h ^= k
        h = (h << u32(13) | h >> u32(19)) * u32(5) + u32(0xE6546B64)
    h ^= u32(8)
    h = (h ^ h >> u32(16)) * u32(0x85EBCA6B)
    h = (h ^ h >> u32(13)) * u32(0xC2B2AE35)
    return h ^ h >> u32(16)
