"""Feed-forward networks: the README's (784-128-128-10), a wide one, thirty tiny layers."""
import inspect
import os

import numpy
from work import Work

from .weights import drawn, load, set_weights

SMALL = {"widths": (784, 128, 128, 10), "batch": 128, "rows": 5120}
WIDE = {"widths": (1024, 1024, 1024, 10), "batch": 256, "rows": 1280}


def data(widths, rows, **_):
    rng = numpy.random.default_rng(0)
    X = rng.uniform(0, 1, (rows, widths[0])).astype("float32")
    labels = rng.integers(0, widths[-1], rows)
    return X, numpy.eye(widths[-1], dtype="float32")[labels], labels


def forward_flops(widths, rows, **_):
    return 2.0 * rows * sum(i * o for i, o in zip(widths[:-1], widths[1:], strict=True))


def thinc_model(widths, dropout):
    from thinc.api import Relu, Softmax, chain

    hidden = [Relu(nO, nI, dropout=dropout) for nI, nO in zip(widths, widths[1:-1], strict=False)]
    model = chain(*hidden, Softmax(widths[-1], widths[-2])).initialize()
    set_weights(model)
    return model


def thinc_train(config, dropout=0.2, input_gradient=True):
    """One epoch in shuffled batches, with Adam.

    input_gradient: whether the gradient of the inputs is computed too, for nobody. thinc 8.3.14
    cannot but do it; PyTorch never does.
    """
    from thinc.api import Adam, Model

    can_choose = "input_gradient" in inspect.signature(Model.begin_update).parameters
    options = {"input_gradient": input_gradient} if can_choose else {}
    X, Y, _ = data(**config)
    model = thinc_model(config["widths"], dropout)
    optimizer = Adam(0.001)
    n, batch = config["rows"], config["batch"]

    def step(rows):
        guess, backprop = model.begin_update(X[rows], **options)
        backprop((guess - Y[rows]) / guess.shape[0])
        model.finish_update(optimizer)

    def epoch():
        order = numpy.random.permutation(n)
        for i in range(0, n, batch):
            step(order[i : i + batch])

    def result():
        other = thinc_model(config["widths"], 0.0)
        guess, backprop = other.begin_update(X[:batch], **options)
        backprop(guess - Y[:batch])
        first = next(node for node in other.layers[0].walk() if node.has_param("W"))
        return {"probabilities": guess, "dW": first.get_grad("W")}

    # Forward, the weights' gradient and the input's: three products of a size.
    flops = 3 * forward_flops(**config)
    if can_choose and not input_gradient:
        flops -= 2.0 * n * config["widths"][0] * config["widths"][1]
    return Work(epoch, result, flops=flops, units=n)


def torch_model(widths, dropout, softmax=False):
    import torch

    layers = []
    for nI, nO in zip(widths, widths[1:-1], strict=False):
        layers += [torch.nn.Linear(nI, nO), torch.nn.ReLU(), torch.nn.Dropout(dropout)]
    layers.append(torch.nn.Linear(widths[-2], widths[-1]))
    linear = [layer for layer in layers if isinstance(layer, torch.nn.Linear)]
    for n, layer in enumerate(linear):
        name, n = ("softmax", 0) if n == len(linear) - 1 else ("relu", n)
        load(layer.weight, f"{name}.W#{n}", *layer.weight.shape)
        load(layer.bias, f"{name}.b#{n}", *layer.bias.shape)
    if softmax:
        layers.append(torch.nn.Softmax(dim=1))
    return torch.nn.Sequential(*layers)


def torch_train(config, dropout=0.2, compiled=False):
    import torch

    X, _, labels = data(**config)
    X, labels = torch.from_numpy(X), torch.from_numpy(labels)
    model = torch_model(config["widths"], dropout)
    optimizer = torch.optim.Adam(model.parameters(), 0.001, fused=True)
    loss = torch.nn.CrossEntropyLoss()
    n, batch = config["rows"], config["batch"]
    used = torch.compile(model, dynamic=False) if compiled else model

    def epoch():
        order = torch.randperm(n)
        for i in range(0, n, batch):
            rows = order[i : i + batch]
            optimizer.zero_grad()
            loss(used(X[rows]), labels[rows]).backward()
            optimizer.step()

    def result():
        other = torch_model(config["widths"], 0.0)
        logits = other(X[:batch])
        (batch * loss(logits, labels[:batch])).backward()
        guess = torch.softmax(logits.detach(), 1)
        return {"probabilities": guess.numpy(), "dW": other[0].weight.grad.numpy()}

    return Work(epoch, result, units=n)


def jax_train(config, dropout=0.2):
    """The same step in one jitted function: Adam written out, dropout by jax.random."""
    if os.environ.get("OMP_NUM_THREADS") == "1":
        # XLA makes a thread for each core it may use, and has no variable for their number.
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    import jax
    import jax.numpy as jnp

    X, Y, _ = data(**config)
    X, Y = jnp.asarray(X), jnp.asarray(Y)
    widths, n, batch = config["widths"], config["rows"], config["batch"]
    pairs = list(zip(widths[:-1], widths[1:], strict=True))
    names = [("relu", i) for i in range(len(pairs) - 1)] + [("softmax", 0)]
    weights = [
        (jnp.asarray(drawn(f"{name}.W#{k}", nO, nI)), jnp.asarray(drawn(f"{name}.b#{k}", nO)))
        for (name, k), (nI, nO) in zip(names, pairs, strict=True)
    ]

    def logits(weights, X, key, rate):
        for W, b in weights[:-1]:
            X = jax.nn.relu(X @ W.T + b)
            if rate:
                key, used = jax.random.split(key)
                X = X * jax.random.bernoulli(used, 1 - rate, X.shape) / (1 - rate)
        return X @ weights[-1][0].T + weights[-1][1]

    def loss(weights, X, Y, key, rate):
        return -(Y * jax.nn.log_softmax(logits(weights, X, key, rate))).sum(1).mean()

    @jax.jit
    def step(state, X, Y, key):
        weights, m, v, t = state
        gradient = jax.grad(loss)(weights, X, Y, key, dropout)
        t = t + 1
        tree = jax.tree_util.tree_map
        m = tree(lambda m, g: 0.9 * m + 0.1 * g, m, gradient)
        v = tree(lambda v, g: 0.999 * v + 0.001 * g * g, v, gradient)
        rate = 0.001 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        weights = tree(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-8), weights, m, v)
        return weights, m, v, t

    zeros = jax.tree_util.tree_map(jnp.zeros_like, weights)
    state = [(weights, zeros, zeros, jnp.zeros(()))]

    def epoch():
        order = numpy.random.permutation(n)
        for i in range(0, n, batch):
            rows = order[i : i + batch]
            state[0] = step(state[0], X[rows], Y[rows], jax.random.key(i))
        jax.block_until_ready(state[0])

    def result():
        guess = jax.nn.softmax(logits(weights, X[:batch], None, 0.0))
        gradient = jax.grad(loss)(weights, X[:batch], Y[:batch], None, 0.0)
        return {"probabilities": numpy.asarray(guess), "dW": batch * numpy.asarray(gradient[0][0])}

    return Work(epoch, result, units=n)


def thinc_small_train():
    return thinc_train(SMALL)


def torch_small_train():
    return torch_train(SMALL)


def compiled_small_train():
    return torch_train(SMALL, compiled=True)


def jax_small_train():
    return jax_train(SMALL)


def thinc_wide_train():
    return thinc_train(WIDE)


def torch_wide_train():
    return torch_train(WIDE)


def compiled_wide_train():
    return torch_train(WIDE, compiled=True)


def jax_wide_train():
    return jax_train(WIDE)


def thinc_small_train_on_data():
    return thinc_train(SMALL, input_gradient=False)


def thinc_wide_train_on_data():
    return thinc_train(WIDE, input_gradient=False)


torch_small_train_on_data, torch_wide_train_on_data = torch_small_train, torch_wide_train
compiled_small_train_on_data = compiled_small_train
compiled_wide_train_on_data = compiled_wide_train
jax_small_train_on_data, jax_wide_train_on_data = jax_small_train, jax_wide_train


def thinc_small_predict(frozen=False):
    """5,120 rows in batches of 128."""
    X = data(**SMALL)[0]
    model = thinc_model(SMALL["widths"], 0.2)
    if frozen:
        model.freeze()

    def predict():
        for i in range(0, len(X), 128):
            model.predict(X[i : i + 128])

    flops = forward_flops(**SMALL)
    return Work(predict, lambda: {"Y": model.predict(X[:128])}, flops=flops, units=len(X))


def frozen_small_predict():
    return thinc_small_predict(frozen=True)


def torch_small_predict():
    import torch

    X = torch.from_numpy(data(**SMALL)[0])
    model = torch_model(SMALL["widths"], 0.2, softmax=True).eval()

    def predict():
        with torch.inference_mode():
            for i in range(0, len(X), 128):
                model(X[i : i + 128])

    def result():
        with torch.inference_mode():
            return {"Y": model(X[:128]).numpy()}

    return Work(predict, result, units=len(X))


# ---- thirty tiny layers: what a layer costs besides its arithmetic -----------------


def thinc_tiny(repeat=100):
    from thinc.api import Linear, chain

    model = chain(*[Linear(4, 4) for _ in range(30)]).initialize()
    set_weights(model)
    return model, numpy.ones((1, 4), dtype="float32"), repeat


def torch_tiny(repeat=100):
    import torch

    model = torch.nn.Sequential(*[torch.nn.Linear(4, 4) for _ in range(30)])
    for n, layer in enumerate(model):
        load(layer.weight, f"linear.W#{n}", 4, 4)
        load(layer.bias, f"linear.b#{n}", 4)
    return model, torch.ones((1, 4)), repeat


def thinc_tiny_predict():
    """Thirty chained Linear(4, 4) on one row, 100 times."""
    model, X, repeat = thinc_tiny()

    def predict():
        for _ in range(repeat):
            model.predict(X)

    return Work(predict, lambda: {"Y": model.predict(X)}, units=30 * repeat)


def torch_tiny_predict():
    import torch

    model, X, repeat = torch_tiny()

    def predict():
        with torch.inference_mode():
            for _ in range(repeat):
                model(X)

    return Work(predict, lambda: {"Y": model(X).detach().numpy()}, units=30 * repeat)


def thinc_tiny_update():
    """Forward and backward through them, 100 times, the gradients adding up."""
    model, X, repeat = thinc_tiny()

    def update():
        for _ in range(repeat):
            Y, backprop = model.begin_update(X)
            backprop(Y)

    def clear():
        for node in model.walk():
            for name in node.param_names:
                node.set_grad(name, 0 * node.get_param(name))

    def result():
        Y, backprop = model.begin_update(X)
        return {"Y": Y, "dX": backprop(Y)}

    return Work(update, result, prepare=clear, max_repeat=50, units=30 * repeat)


def torch_tiny_update():
    model, X, repeat = torch_tiny()
    X.requires_grad_()

    def update():
        for _ in range(repeat):
            Y = model(X)
            Y.backward(Y.detach())

    def clear():
        model.zero_grad(set_to_none=False)

    def result():
        X.grad = None
        Y = model(X)
        Y.backward(Y.detach())
        return {"Y": Y.detach().numpy(), "dX": X.grad.numpy().copy()}

    return Work(update, result, prepare=clear, max_repeat=50, units=30 * repeat)
