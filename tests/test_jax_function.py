"""as_jax_function: values, gradients, jit, vmap, and training in a loop of JAX's."""

import threading

import numpy
import pytest
from frameworks import import_or_skip
from numpy.testing import assert_allclose, assert_array_equal
from small_models import affine

jax = import_or_skip("jax")
HAS_X64 = hasattr(jax, "enable_x64")  # before 0.8 it was experimental
enable_x64 = jax.enable_x64 if HAS_X64 else jax.experimental.enable_x64
import jax.numpy as jnp  # noqa: E402
from jax.test_util import check_grads  # noqa: E402

from thinc.api import (  # noqa: E402
    LSTM,
    Embed,
    HashEmbed,
    JaxWrapper,
    LayerNorm,
    Linear,
    Maxout,
    Mish,
    Padded,
    Ragged,
    Relu,
    as_jax_function,
    chain,
    concatenate,
    expand_window,
    fix_random_seed,
    load_jax_params,
    reduce_max,
    reduce_mean,
    residual,
    tuplify,
    with_array,
    with_padded,
)


@pytest.fixture(autouse=True)
def seeds():
    fix_random_seed(0)


@pytest.fixture
def x64():
    with enable_x64(True):
        yield


def batch(rows=6, width=4, dtype="float32"):
    return numpy.random.default_rng(0).normal(size=(rows, width)).astype(dtype)


def network(dropout=0.0):
    return chain(
        Mish(8, dropout=dropout), residual(Maxout(8, normalize=True)), LayerNorm(), Linear(3)
    ).initialize(batch(), batch(width=3))


def to_float64(model):
    for node in model.walk():
        for name in node.param_names:
            node.set_param(name, node.get_param(name).astype("float64"))
    return model


# ---- values and gradients --------------------------------------------------------


def test_the_function_is_the_model():
    model = network()
    apply_fn, params = as_jax_function(model)
    for function in (apply_fn, jax.jit(apply_fn)):
        assert_array_equal(function(params, batch()), model.predict(batch()))


def test_names_are_the_places_of_the_nodes():
    shared = affine(4, 4).initialize()
    _, params = as_jax_function(chain(shared, chain(shared, affine(2, 4).initialize())))
    assert set(params) == {"layers.0.W", "layers.0.b", "layers.1.layers.1.W", "layers.1.layers.1.b"}
    _, params = as_jax_function(affine(2, 3).initialize())
    assert {name: value.shape for name, value in params.items()} == {"W": (2, 3), "b": (2,)}
    assert all(isinstance(value, jax.Array) for value in params.values())


@pytest.mark.parametrize("jit", [False, True])
def test_gradients_match_finite_differences(jit, x64):
    apply_fn, params = as_jax_function(to_float64(network()))
    function = jax.jit(apply_fn) if jit else apply_fn
    check_grads(function, (params, batch(3, dtype="float64")), order=1, modes=["rev"])


def test_gradients_under_dropout_match_finite_differences(x64):
    apply_fn, params = as_jax_function(to_float64(network(dropout=0.4)))
    key = jax.random.key(1)
    check_grads(
        lambda params, X: apply_fn(params, X, key), (params, batch(3, dtype="float64")), order=1,
        modes=["rev"],
    )  # fmt: skip


def test_gradients_of_shared_layers_add_up(x64):
    shared = to_float64(affine(4, 4).initialize())
    apply_fn, params = as_jax_function(chain(shared, shared, shared))
    check_grads(apply_fn, (params, batch(3, dtype="float64")), order=1, modes=["rev"])


def test_compositions_with_functions_of_jax(x64):
    apply_fn, params = as_jax_function(to_float64(network()))

    def loss(params, scale, X):
        hidden = apply_fn(params, jnp.tanh(X * scale))
        return (jax.nn.log_softmax(hidden) ** 2).sum()

    X = batch(3, dtype="float64")
    check_grads(loss, (params, jnp.array(0.7), X), order=1, modes=["rev"])


def test_gradients_are_compiled_once():
    traces = []
    apply_fn, params = as_jax_function(network())

    @jax.jit
    @jax.grad
    def gradient(params, X):
        traces.append(X.shape)
        return apply_fn(params, X).sum()

    for rows in (2, 3, 2, 3):
        gradient(params, batch(rows))
    assert traces == [(2, 4), (3, 4)]


def test_other_parameters_give_other_outputs_and_the_model_stays():
    model = network()
    before = model.to_bytes()
    apply_fn, params = as_jax_function(model)
    zeros = jax.tree_util.tree_map(jnp.zeros_like, params)
    assert not numpy.asarray(apply_fn(zeros, batch())).any()
    assert_array_equal(apply_fn(params, batch()), model.predict(batch()))
    assert model.to_bytes() == before
    model.layers[-1].get_param("W")[:] = 0  # neither does training here change them
    assert numpy.asarray(params["layers.3.W"]).any()


def test_vmap_calls_the_model_for_each_element():
    model = network()
    apply_fn, params = as_jax_function(model)
    X = batch(12).reshape(3, 4, 4)
    Y = jax.vmap(apply_fn, in_axes=(None, 0))(params, X)
    assert_allclose(Y, numpy.stack([model.predict(x) for x in X]), rtol=1e-5, atol=1e-6)


def test_large_batches_do_not_block():
    model = chain(Relu(256), Relu(256)).initialize(numpy.zeros((2, 512), "f"))
    apply_fn, params = as_jax_function(model)
    X = jnp.asarray(batch(2000, 512))
    step = jax.jit(jax.grad(lambda params, X: apply_fn(params, X).sum(), argnums=(0, 1)))
    for _ in range(3):
        d_params, dX = jax.block_until_ready(step(params, X))
    assert dX.shape == X.shape and set(d_params) == set(params)


def test_several_threads_get_their_own_results():
    apply_fn, params = as_jax_function(network())
    scaled = [jax.tree_util.tree_map(lambda leaf, k=k: leaf * k, params) for k in (1.0, 2.0)]
    expected = [numpy.asarray(apply_fn(p, batch())) for p in scaled]
    found = []

    def work(i):
        for _ in range(20):
            found.append((numpy.asarray(apply_fn(scaled[i], batch())) == expected[i]).all())

    threads = [threading.Thread(target=work, args=(i,)) for i in (0, 1, 0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 60 and all(found)


# ---- randomness ------------------------------------------------------------------


def test_dropout_follows_the_key():
    apply_fn, params = as_jax_function(network(dropout=0.5))
    X = batch()
    one, two = jax.random.key(1), jax.random.key(2)
    assert_array_equal(apply_fn(params, X, one), jax.jit(apply_fn)(params, X, one))
    assert not numpy.allclose(apply_fn(params, X, one), apply_fn(params, X, two))
    assert not numpy.allclose(apply_fn(params, X, one), apply_fn(params, X))


def test_predictions_have_gradients_without_dropout():
    """Those of the same network that has none."""
    with_dropout, params = as_jax_function(network(dropout=0.5))
    without, _ = as_jax_function(network())
    X = batch()
    grads, expected = (
        jax.grad(lambda params, f=f: (f(params, X) ** 2).sum())(params)
        for f in (with_dropout, without)
    )
    for name in params:
        assert_array_equal(grads[name], expected[name])
    key = jax.random.key(1)
    assert not numpy.allclose(with_dropout(params, X, key), with_dropout(params, X))


def test_numpys_random_state_is_left_alone():
    apply_fn, params = as_jax_function(network(dropout=0.5))
    numpy.random.seed(3)
    expected = numpy.random.random(3)
    numpy.random.seed(3)
    jax.grad(lambda params: apply_fn(params, batch(), jax.random.key(1)).sum())(params)
    assert_array_equal(numpy.random.random(3), expected)


# ---- batches of other kinds ------------------------------------------------------


LENGTHS = numpy.array([2, 0, 4], dtype="int32")


def test_ragged(x64):
    model = to_float64(chain(with_array(Linear(3, 4).initialize()), reduce_mean()))
    apply_fn, params = as_jax_function(model)
    X = batch(dtype="float64")
    assert_array_equal(
        jax.jit(apply_fn)(params, Ragged(X, LENGTHS)), model.predict(Ragged(X, LENGTHS))
    )
    check_grads(
        lambda params, X: apply_fn(params, Ragged(X, LENGTHS)), (params, X), order=1, modes=["rev"]
    )


def test_ragged_results_keep_lengths_and_gradients(x64):
    model = to_float64(with_array(Linear(3, 4).initialize()))
    apply_fn, params = as_jax_function(model)
    X = batch(dtype="float64")
    Y = jax.jit(apply_fn)(params, Ragged(X, LENGTHS))
    assert isinstance(Y, Ragged)
    assert_array_equal(Y.lengths, LENGTHS)
    check_grads(
        lambda params, X: apply_fn(params, Ragged(X, LENGTHS)).data, (params, X), order=1,
        modes=["rev"],
    )  # fmt: skip


def test_lists_and_padded(x64):
    model = with_padded(LSTM(3, 4).initialize())
    to_float64(model)
    apply_fn, params = as_jax_function(model)
    Xs = [batch(3, dtype="float64"), batch(2, dtype="float64")]
    for ours, theirs in zip(apply_fn(params, Xs), model.predict(Xs), strict=True):
        assert_allclose(ours, theirs, rtol=1e-12)
    check_grads(
        lambda weights, Xs: apply_fn({**params, "layers.0.LSTM": weights}, Xs),
        (params["layers.0.LSTM"], Xs), order=1, modes=["rev"],
    )  # fmt: skip
    # The starting state is a constant, in thinc and therefore here.
    grads = jax.grad(lambda params: apply_fn(params, Xs)[0].sum())(params)
    assert not numpy.asarray(grads["layers.0.HC0"]).any()
    inner, params = as_jax_function(model.layers[0])
    padded = model.ops.list2padded(Xs)
    Y = jax.jit(inner)(params, padded)
    assert isinstance(Y, Padded)
    assert_allclose(Y.data, model.layers[0].predict(padded).data, rtol=1e-12)


def test_tuples_of_outputs(x64):
    model = to_float64(tuplify(Linear(3, 4).initialize(), Linear(2, 4).initialize()))
    apply_fn, params = as_jax_function(model)
    Y = apply_fn(params, batch(dtype="float64"))
    assert isinstance(Y, tuple) and [y.shape for y in Y] == [(6, 3), (6, 2)]
    check_grads(apply_fn, (params, batch(3, dtype="float64")), order=1, modes=["rev"])


def test_integers_have_no_gradient():
    ids = numpy.array([3, 1, 3], dtype="int32")
    model = chain(Embed(4, 10), Linear(2)).initialize(ids)
    apply_fn, params = as_jax_function(model)
    grads = jax.jit(jax.grad(lambda params: apply_fn(params, ids).sum()))(params)
    touched = numpy.asarray(grads["layers.0.E"]).any(axis=1)
    assert_array_equal(numpy.flatnonzero(touched), [1, 3])
    (dX,) = jax.vjp(lambda ids: apply_fn(params, ids), jnp.asarray(ids))[1](jnp.ones((3, 2)))
    assert dX.dtype == jax.dtypes.float0


# ---- training --------------------------------------------------------------------


def sentences(n=40):
    """Words are numbers; a word's tag depends on it and on the one before."""
    rng = numpy.random.default_rng(0)
    ids = rng.integers(0, 30, size=(n, 7)).astype("uint64")
    before = numpy.concatenate([numpy.zeros((n, 1), "uint64"), ids[:, :-1]], axis=1)
    return ids, ((ids % 3 + before % 2) % 3).astype("int32")


def tagger():
    """Hashed embeddings, a window over the neighbours, a tag for each word."""
    embed = concatenate(HashEmbed(16, 200, seed=1, column=0), HashEmbed(16, 200, seed=2, column=0))
    model = chain(embed, expand_window(1), Maxout(32, dropout=0.1), Linear(3))
    return model.initialize(numpy.zeros((4, 1), "uint64"), numpy.zeros((4, 3), "f"))


def test_a_tagger_trains_in_a_loop_of_jax():
    ids, tags = sentences()
    X, Y = ids.reshape(-1, 1), tags.ravel()
    model = tagger()
    with enable_x64(True):  # for the 64 bits of the ids
        apply_fn, params = as_jax_function(model)

        def loss(params, key):
            scores = jax.nn.log_softmax(apply_fn(params, X, key))
            return -scores[jnp.arange(len(Y)), Y].mean()

        @jax.jit
        def step(params, momentum, key):
            value, grads = jax.value_and_grad(loss)(params, key)
            momentum = jax.tree_util.tree_map(lambda m, g: 0.9 * m + g, momentum, grads)
            params = jax.tree_util.tree_map(lambda p, m: p - 0.3 * m, params, momentum)
            return params, momentum, value

        momentum = jax.tree_util.tree_map(jnp.zeros_like, params)
        losses = []
        for i in range(80):
            params, momentum, value = step(params, momentum, jax.random.key(i))
            losses.append(float(value))
    assert losses[-1] < 0.3 < 0.9 < losses[0]
    untrained = (model.predict(X).argmax(axis=1) == Y).mean()
    assert load_jax_params(model, params) is model
    assert (model.predict(X).argmax(axis=1) == Y).mean() > 0.95 > 0.6 > untrained
    # and from here on it is a model like any other
    loaded = tagger().from_bytes(model.to_bytes())
    assert_array_equal(loaded.predict(X), model.predict(X))


def test_loading_parameters_that_do_not_fit_changes_nothing():
    model = network()
    _, params = as_jax_function(model)
    before = model.to_bytes()
    changed = {name: value + 1 for name, value in params.items()}
    with pytest.raises(ValueError, match=r"'layers.3.W' is of shape \(2,\), expected \(3, 8\)"):
        load_jax_params(model, {**changed, "layers.3.W": jnp.zeros(2)})
    with pytest.raises(ValueError, match=r"missing are \['layers.3.W'\], unknown are \['other'\]"):
        del changed["layers.3.W"]
        load_jax_params(model, {**changed, "other": 1})
    assert model.to_bytes() == before


def test_loaded_parameters_are_writable_and_in_the_models_dtype(x64):
    model = network()
    _, params = as_jax_function(model)
    load_jax_params(model, {name: value.astype("float64") for name, value in params.items()})
    W = model.layers[3].get_param("W")
    assert W.dtype == "float32" and W.flags.writeable


# ---- what cannot be done ---------------------------------------------------------


def test_models_that_cannot_be_a_function():
    wrapped = JaxWrapper(lambda params, X: X * params, numpy.ones(4, "f"))
    with pytest.raises(ValueError, match="as_jax_function: jax wraps a model of another framework"):
        as_jax_function(chain(Linear(4, 4).initialize(), wrapped))
    with pytest.raises(ValueError, match=r"W, b not allocated: call initialize\(X\) first"):
        as_jax_function(affine())


def test_wrong_parameters_and_inputs_are_reported():
    apply_fn, params = as_jax_function(network())
    with pytest.raises(ValueError, match=r"The params have the names \['W'\], expected \["):
        apply_fn({"W": jnp.zeros(2)}, batch())
    with pytest.raises(ValueError, match=r"mish.*does not match nI=4"):
        apply_fn(params, batch(width=5))
    assert apply_fn(params, batch()).shape == (6, 3)  # the error has released the model


def test_ids_that_need_64_bits_are_not_cut_off():
    X = numpy.array([[3], [2**40]], dtype="uint64")
    model = HashEmbed(4, 50, column=0).initialize(X)
    apply_fn, params = as_jax_function(model)
    assert_array_equal(apply_fn(params, X[:1]), model.predict(X[:1]))
    with pytest.raises(ValueError, match=f"need 64 bits, such as {2**40}, .*jax_enable_x64"):
        apply_fn(params, X)
    with enable_x64(True):
        apply_fn, params = as_jax_function(model)
        assert_array_equal(apply_fn(params, X), model.predict(X))


def test_numbers_as_input():
    apply_fn, params = as_jax_function(affine(2, 3).initialize())
    with pytest.raises((ValueError, AttributeError, IndexError)):
        apply_fn(params, 1.0)
    apply_fn, _ = as_jax_function(noop_of_lists())
    assert [float(y) for y in apply_fn({}, [1.0, 2])] == [1.0, 2.0]


def noop_of_lists():
    from thinc.api import Model

    return Model("noop", lambda model, X, is_train: (X, lambda dY: dY))


def test_a_reduction_over_sequences_of_one_length():
    model = reduce_max()
    apply_fn, params = as_jax_function(model)
    assert params == {}
    X = Ragged(batch(), numpy.array([6], "int32"))
    assert_array_equal(apply_fn(params, X), batch().max(axis=0, keepdims=True))
