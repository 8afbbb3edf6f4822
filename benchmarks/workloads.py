"""The work that is timed. Each workload builds its data and model once and returns a
function that does the work; its name says what one call is.

The `thinc` ones run unchanged on this project and on the peer release.
"""
import os
import subprocess
import sys

import numpy


def random_mlp_data(n=10000, width=784, classes=10):
    rng = numpy.random.default_rng(0)
    X = rng.uniform(0, 1, (n, width)).astype("float32")
    labels = rng.integers(0, classes, n)
    return X, numpy.eye(classes, dtype="float32")[labels], labels


def thinc_mlp_train_epoch(width=128, batch=128, n=10000, nI=784):
    """One epoch of the README's network: 784 -> 128 -> 128 -> 10, dropout 0.2, Adam."""
    from thinc.api import Adam, Relu, Softmax, chain

    X, Y, _ = random_mlp_data(n, nI)
    model = chain(Relu(width, dropout=0.2), Relu(width, dropout=0.2), Softmax())
    model.initialize(X=X[:5], Y=Y[:5])
    optimizer = Adam(0.001)

    def epoch():
        order = numpy.random.permutation(n)
        for i in range(0, n, batch):
            rows = order[i : i + batch]
            truth = Y[rows]
            guess, backprop = model.begin_update(X[rows])
            backprop((guess - truth) / guess.shape[0])
            model.finish_update(optimizer)

    return epoch


def torch_mlp_train_epoch(width=128, batch=128, n=10000, nI=784):
    import torch

    torch.set_num_threads(1)
    X, _, labels = random_mlp_data(n, nI)
    X, labels = torch.from_numpy(X), torch.from_numpy(labels)
    model = torch.nn.Sequential(
        torch.nn.Linear(nI, width),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.2),
        torch.nn.Linear(width, width),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.2),
        torch.nn.Linear(width, 10),
    )
    optimizer = torch.optim.Adam(model.parameters(), 0.001)
    loss = torch.nn.CrossEntropyLoss()

    def epoch():
        order = torch.randperm(n)
        for i in range(0, n, batch):
            rows = order[i : i + batch]
            optimizer.zero_grad()
            loss(model(X[rows]), labels[rows]).backward()
            optimizer.step()

    return epoch


def thinc_mlp_predict():
    """10,000 rows through the README's network, in batches of 128."""
    from thinc.api import Relu, Softmax, chain

    X, Y, _ = random_mlp_data()
    model = chain(Relu(128, dropout=0.2), Relu(128, dropout=0.2), Softmax())
    model.initialize(X=X[:5], Y=Y[:5])

    def predict():
        for i in range(0, len(X), 128):
            model.predict(X[i : i + 128])

    return predict


def torch_mlp_predict():
    import torch

    torch.set_num_threads(1)
    X = torch.from_numpy(random_mlp_data()[0])
    model = torch.nn.Sequential(
        torch.nn.Linear(784, 128),
        torch.nn.ReLU(),
        torch.nn.Linear(128, 128),
        torch.nn.ReLU(),
        torch.nn.Linear(128, 10),
        torch.nn.Softmax(dim=1),
    )

    def predict():
        with torch.inference_mode():
            for i in range(0, len(X), 128):
                model(X[i : i + 128])

    return predict


def thinc_tiny_layers_predict(repeat=300):
    """Thirty chained Linear(4, 4) on one row, 300 times."""
    from thinc.api import Linear, chain

    X = numpy.ones((1, 4), dtype="float32")
    model = chain(*[Linear(4, 4) for _ in range(30)]).initialize(X=X)

    def predict():
        for _ in range(repeat):
            model.predict(X)

    return predict


def torch_tiny_layers_predict(repeat=300):
    import torch

    torch.set_num_threads(1)
    model = torch.nn.Sequential(*[torch.nn.Linear(4, 4) for _ in range(30)])
    X = torch.ones((1, 4))

    def predict():
        with torch.inference_mode():
            for _ in range(repeat):
                model(X)

    return predict


def thinc_tiny_layers_update(repeat=100):
    """Forward and backward through thirty chained Linear(4, 4) on one row, 100 times."""
    from thinc.api import Linear, chain

    X = numpy.ones((1, 4), dtype="float32")
    model = chain(*[Linear(4, 4) for _ in range(30)]).initialize(X=X)

    def update():
        for _ in range(repeat):
            Y, backprop = model.begin_update(X)
            backprop(Y)

    return update


def thinc_adam(n=1_000_000):
    """Adam on one parameter of a million float32."""
    from thinc.api import Adam

    rng = numpy.random.default_rng(0)
    weights = rng.normal(size=n).astype("float32")
    start = rng.normal(size=n).astype("float32")
    optimizer = Adam(0.001)

    def step():
        optimizer((0, "W"), weights, start)

    return step


def thinc_dropout_mask():
    """A dropout mask of 2000 x 384."""
    from thinc.api import get_current_ops

    ops = get_current_ops()
    return lambda: ops.get_dropout_mask((2000, 384), 0.2)


def tagger_data():
    rng = numpy.random.default_rng(0)
    docs = [
        rng.integers(0, 2**63, (length, 4), dtype="uint64")
        for length in rng.integers(5, 41, 200)
    ]
    truths = [numpy.eye(17, dtype="float32")[rng.integers(0, 17, len(doc))] for doc in docs]
    return docs, truths


def thinc_tagger_model(docs, width=96):
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

    embed = with_array(
        chain(
            concatenate(
                *[
                    HashEmbed(width, rows, column=i, seed=i)
                    for i, rows in enumerate([5000, 2500, 2500, 2500])
                ]
            ),
            Maxout(width, width * 4, nP=3, normalize=True, dropout=0.0),
        )
    )
    block = residual(
        chain(expand_window(1), Maxout(width, width * 3, nP=3, normalize=True, dropout=0.0))
    )
    encode = with_array(clone(block, 4), pad=4)
    return chain(embed, encode, with_array(Softmax(17, width))).initialize(X=docs[:2])


def thinc_tagger_train_epoch():
    """One epoch of a tagger over 200 documents of 5 to 40 words, batches of 32."""
    from thinc.api import Adam

    docs, truths = tagger_data()
    model = thinc_tagger_model(docs)
    optimizer = Adam(0.001)

    def epoch():
        for i in range(0, len(docs), 32):
            guesses, backprop = model.begin_update(docs[i : i + 32])
            backprop([g - t for g, t in zip(guesses, truths[i : i + 32], strict=True)])
            model.finish_update(optimizer)

    return epoch


def thinc_tagger_predict():
    """The tagger's predictions for 200 documents, batches of 32."""
    docs, _ = tagger_data()
    model = thinc_tagger_model(docs)

    def predict():
        for i in range(0, len(docs), 32):
            model.predict(docs[i : i + 32])

    return predict


def import_api(module):
    """A new interpreter that imports one module, its own start included."""
    command = [sys.executable, "-c", f"import {module}"]
    return lambda: subprocess.run(command, check=True, env=os.environ)


def thinc_import():
    return import_api("thinc.api")


def numpy_import():
    return import_api("numpy")


def python_start():
    return import_api("sys")
