"""Modules of Flax and Equinox as layers."""

import numpy
import pytest
from frameworks import import_or_skip
from numpy.testing import assert_allclose, assert_array_equal

jax = import_or_skip("jax")
linen = import_or_skip("flax.linen")
nnx = import_or_skip("flax.nnx")
equinox = import_or_skip("equinox")
import jax.numpy as jnp  # noqa: E402

from thinc.api import (  # noqa: E402
    Adam,
    ArgsKwargs,
    JaxWrapper,
    Relu,
    Softmax,
    chain,
    fix_random_seed,
)
from thinc.serialize import DeserializationError  # noqa: E402


@pytest.fixture(autouse=True)
def seeds():
    fix_random_seed(0)


class Linen(linen.Module):
    width: int = 8

    @linen.compact
    def __call__(self, X, train: bool):
        X = linen.Dense(self.width)(X)
        X = linen.BatchNorm(use_running_average=not train)(X)
        return linen.Dropout(0.3, deterministic=not train)(jnp.tanh(X))


class Deterministic(linen.Module):
    @linen.compact
    def __call__(self, X, deterministic):
        return linen.Dropout(0.5)(linen.Dense(8)(X), deterministic=deterministic)


class Nnx(nnx.Module):
    def __init__(self, rngs):
        self.dense = nnx.Linear(8, 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.dropout = nnx.Dropout(0.3, rngs=rngs)

    def __call__(self, X):
        return self.dropout(jnp.tanh(self.norm(self.dense(X))))


class Equinox(equinox.Module):
    linear: equinox.nn.Linear
    dropout: equinox.nn.Dropout

    def __init__(self, seed):
        self.linear = equinox.nn.Linear(8, 8, key=jax.random.key(seed))
        self.dropout = equinox.nn.Dropout(0.3)

    def __call__(self, x, *, key=None):
        return self.dropout(jnp.tanh(self.linear(x)), key=key)


MAKERS = {
    "linen": lambda seed: JaxWrapper(Linen()),
    "linen with variables": lambda seed: JaxWrapper(
        Linen(), Linen().init(jax.random.key(seed), jnp.ones((2, 8)), train=False)
    ),
    "nnx": lambda seed: JaxWrapper(Nnx(nnx.Rngs(seed))),
    "equinox": lambda seed: JaxWrapper(Equinox(seed)),
}


def data():
    X = numpy.random.default_rng(0).normal(size=(80, 8)).astype("f")
    return X, numpy.eye(3, dtype="f")[X[:, :3].argmax(axis=1)]


def built(kind, seed=0):
    X, Y = data()
    return chain(Relu(8), MAKERS[kind](seed), Softmax(3)).initialize(X, Y)


def train(model, epochs=60):
    X, Y = data()
    optimizer = Adam(0.02)
    for _ in range(epochs):
        guesses, backprop = model.begin_update(X)
        backprop((guesses - Y) / len(X))
        model.finish_update(optimizer)
    return optimizer


@pytest.mark.parametrize("kind", MAKERS)
def test_a_module_trains_saves_and_copies(kind):
    X, Y = data()
    model = built(kind)
    optimizer = train(model)
    predicted = model.predict(X)
    assert (predicted.argmax(axis=1) == Y.argmax(axis=1)).mean() > 0.85
    assert_array_equal(model.predict(X), predicted)  # outside of training nothing is random
    loaded = built(kind, seed=5)
    assert not numpy.allclose(loaded.predict(X), predicted)
    assert_array_equal(loaded.from_bytes(model.to_bytes()).predict(X), predicted)
    assert_array_equal(model.copy().predict(X), predicted)
    with model.use_params(optimizer.averages):
        assert not (model.predict(X) == predicted).all()
    assert_array_equal(model.predict(X), predicted)


@pytest.mark.parametrize("kind", MAKERS)
def test_dropout_is_for_training_and_follows_the_seed(kind):
    X, _ = data()
    layer = built(kind).layers[1]
    hidden = numpy.ascontiguousarray(X)

    def dropped():
        fix_random_seed(3)
        return layer.copy().begin_update(hidden)[0]

    first = dropped()
    assert 0.15 < (first == 0).mean() < 0.45
    assert_array_equal(dropped(), first)
    assert not (layer.predict(hidden) == 0).any()


@pytest.mark.parametrize("kind", ["linen", "linen with variables", "nnx"])
def test_running_averages_are_state_not_parameters(kind):
    X, _ = data()
    layer = built(kind).layers[1]
    shim = layer.shims[0]

    def mean():
        [value] = [
            numpy.asarray(leaf)
            for path, leaf in jax.tree_util.tree_leaves_with_path(shim.state)
            if "mean" in str(path)
        ]
        return value

    assert not mean().any()
    layer.predict(X)
    assert not mean().any()
    Y, backprop = layer.begin_update(X)
    backprop(Y)
    assert mean().any()
    assert not any("mean" in name for name in shim.grads)


def test_linen_modules_without_state():
    model = JaxWrapper(Deterministic()).initialize(data()[0])
    assert (model.begin_update(data()[0])[0] == 0).mean() > 0.3
    assert not (model.predict(data()[0]) == 0).any()


def test_a_linen_module_needs_a_sample_first():
    model = JaxWrapper(Linen())
    for use in (lambda: model.predict(data()[0]), model.to_bytes):
        with pytest.raises(ValueError, match=r"has no parameters yet: call initialize\(X\)"):
            use()
    saved = MAKERS["linen with variables"](0).to_bytes()
    with pytest.raises(DeserializationError, match=r"call initialize\(X\)"):
        model.from_bytes(saved)
    assert model.copy().initialize(data()[0]).from_bytes(saved).to_bytes() == saved
    with model.use_params({(1, "x"): 2}):
        pass
    model.to_cpu()


def test_wrong_parameters_of_modules():
    with pytest.raises(ValueError, match=r'a dict with the key "params". Got the keys \[.kernel'):
        JaxWrapper(Linen(), {"kernel": 1})
    with pytest.raises(ValueError, match="has its state among its variables"):
        JaxWrapper(Linen(), state={})
    with pytest.raises(ValueError, match="nnx brings its own"):
        JaxWrapper(Nnx(nnx.Rngs(0)), {})


def test_an_equinox_module_can_be_called_in_another_way():
    mlp = equinox.nn.MLP(4, 2, 8, 1, key=jax.random.key(0))
    X = numpy.ones((3, 5, 4), "f")
    model = JaxWrapper(lambda module, X: jax.vmap(jax.vmap(module))(X), mlp)
    Y, backprop = model.begin_update(X)
    assert Y.shape == (3, 5, 2) and backprop(Y).shape == X.shape
    assert_allclose(JaxWrapper(mlp).predict(X[0]), Y[0], rtol=1e-6)
    assert type(model.shims[0].params) is equinox.nn.MLP


def test_the_wrapped_module_stays_as_it_was():
    module = Nnx(nnx.Rngs(0))
    before = numpy.asarray(module.dense.kernel[...]).copy()
    model = chain(JaxWrapper(module), Softmax(3)).initialize(*data())
    train(model, epochs=2)
    assert_array_equal(module.dense.kernel[...], before)
    assert not module.norm.mean[...].any()


def test_keyword_arguments_reach_the_module():
    model = JaxWrapper(Deterministic()).initialize(data()[0])
    X = data()[0]
    asked = model.predict(ArgsKwargs((X,), {"deterministic": True}))
    assert_array_equal(asked, model.predict(X))
