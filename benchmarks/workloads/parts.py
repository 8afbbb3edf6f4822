"""Single parts of training: an optimizer's step, a dropout mask, saving and loading."""
import os
import subprocess
import sys

import numpy
from work import Work

N = 1_000_000


def adam_data():
    """Weights, and gradients far from zero: there the libraries' epsilons differ."""
    rng = numpy.random.default_rng(0)
    gradient = rng.uniform(0.5, 1.5, N) * rng.choice([-1, 1], N)
    return rng.normal(size=N).astype("float32"), gradient.astype("float32")


def thinc_adam():
    """Adam on one parameter of a million float32, without averages."""
    from thinc.api import Adam

    weights, start = adam_data()
    gradient = start.copy()
    optimizer = Adam(0.001, use_averages=False)

    def refill():
        gradient[...] = start

    def result():
        fresh, W, g = Adam(0.001, use_averages=False), weights.copy(), start.copy()
        fresh((0, "W"), W, g)
        g[...] = start
        return {"W": fresh((0, "W"), W, g)[0]}

    def step():
        optimizer((0, "W"), weights, gradient)

    # Moved: weights and both moments read and written, the gradient read (and zeroed).
    # Of a zero gradient the moments decay; prepare comes before they are denormal.
    return Work(step, result, prepare=refill, max_repeat=200, moved=28e6)


def torch_adam(fused=True):
    import torch

    weights, start = map(torch.from_numpy, adam_data())
    parameter = torch.nn.Parameter(weights)
    parameter.grad = start.clone()
    optimizer = torch.optim.Adam([parameter], 0.001, fused=fused)

    def result():
        W = torch.nn.Parameter(weights.clone())
        fresh = torch.optim.Adam([W], 0.001, fused=fused)
        W.grad = start.clone()
        fresh.step()
        fresh.step()
        return {"W": W.detach().numpy()}

    return Work(optimizer.step, result)


def thinc_dropout():
    """A dropout mask of 2000 x 384."""
    from thinc.api import get_current_ops

    ops = get_current_ops()

    def result():
        mask = ops.get_dropout_mask((2000, 384), 0.2)
        return {"values": numpy.unique(mask), "kept": numpy.array((mask > 0).mean().round(2))}

    return Work(lambda: ops.get_dropout_mask((2000, 384), 0.2), result, moved=2000 * 384 * 4)


def torch_dropout():
    import torch

    ones = torch.ones((2000, 384))
    # The natural mask in PyTorch: dropout of ones, in one call.
    dropout = torch.nn.functional.dropout

    def result():
        mask = dropout(ones, 0.2).numpy()
        return {"values": numpy.unique(mask), "kept": numpy.array((mask > 0).mean().round(2))}

    return Work(lambda: dropout(ones, 0.2), result)


def thinc_bytes():
    """to_bytes and from_bytes of 84 MB of weights."""
    from thinc.api import Linear, chain

    model = chain(*[Linear(1024, 1024) for _ in range(20)]).initialize()
    other = chain(*[Linear(1024, 1024) for _ in range(20)]).initialize()

    def there_and_back():
        other.from_bytes(model.to_bytes())

    def result():
        there_and_back()
        same = all(
            numpy.array_equal(a.get_param("W"), b.get_param("W"))
            for a, b in zip(model.layers, other.layers, strict=True)
        )
        return {"same": numpy.array(same), "size": numpy.array(len(model.to_bytes()))}

    # Three copies: into the bytes, out of them, into the parameters; a copy moves twice.
    return Work(there_and_back, result, moved=3 * 2 * 20 * 1024 * 1025 * 4)


# ---- a new interpreter, and what it imports -------------------------------------------


def importing(module):
    command = [sys.executable, "-c", f"import {module}"]
    return Work(lambda: subprocess.run(command, check=True, env=os.environ, cwd="/"))


def import_thinc():
    return importing("thinc.api")


def import_numpy():
    return importing("numpy")


def import_nothing():
    return importing("sys")
