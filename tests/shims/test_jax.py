"""JaxShim and JaxWrapper with plain functions, on the CPU; modules are in test_jax_modules."""

import pickle
import threading

import numpy
import pytest
from frameworks import import_or_skip
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

jax = import_or_skip("jax")
HAS_X64 = hasattr(jax, "enable_x64")  # before 0.8 it was experimental
enable_x64 = jax.enable_x64 if HAS_X64 else jax.experimental.enable_x64
import jax.numpy as jnp  # noqa: E402

from thinc import util  # noqa: E402
from thinc.api import (  # noqa: E402
    SGD,
    Adam,
    ArgsKwargs,
    JaxShim,
    JaxWrapper,
    LayerNorm,
    Linear,
    Model,
    NumpyOps,
    Relu,
    Softmax,
    chain,
    fix_random_seed,
    jax2xp,
    with_array,
    xp2jax,
)
from thinc.serialize import DeserializationError, pack_value  # noqa: E402
from thinc.shims.jax import JaxModel, aligned  # noqa: E402
from thinc.testing import check_gradients  # noqa: E402


@pytest.fixture(autouse=True)
def seeds():
    fix_random_seed(0)


@pytest.fixture
def x64():
    with enable_x64(True):
        yield


def batch(rows=6, width=4, dtype="float32"):
    return numpy.random.default_rng(0).normal(size=(rows, width)).astype(dtype)


def network(params, X):
    hidden = jnp.tanh(X @ params["hidden"]["W"] + params["hidden"]["b"])
    return hidden @ params["out"]


def parameters(nI=4, nO=3, dtype="float32", seed=1):
    rng = numpy.random.default_rng(seed)
    hidden = {"W": rng.normal(size=(nI, 5)).astype(dtype), "b": rng.normal(size=5).astype(dtype)}
    return {"hidden": hidden, "out": rng.normal(size=(5, nO)).astype(dtype)}


def wrapped(**kwargs):
    return JaxWrapper(network, parameters(**kwargs))


def leaves(model):
    return [numpy.asarray(leaf) for leaf in jax.tree_util.tree_leaves(model.shims[0].params)]


# ---- forward and backward ------------------------------------------------------


def test_predicts_what_the_function_does():
    Y = wrapped().predict(batch())
    assert isinstance(Y, numpy.ndarray)
    assert_allclose(Y, network(parameters(), batch()), rtol=1e-5, atol=1e-6)


def test_gradient_of_the_input_matches_finite_differences(x64):
    check_gradients(wrapped(dtype="float64"), batch(dtype="float64"))


def test_gradients_of_the_parameters_match_finite_differences(x64):
    model = wrapped(dtype="float64")
    shim, X = model.shims[0], batch(3, dtype="float64")
    Y, backprop = model.begin_update(X)
    dY = numpy.random.default_rng(1).normal(size=Y.shape)
    backprop(dY)
    assert set(shim.grads) == {"hidden/W", "hidden/b", "out"}
    start = dict(zip(("hidden/W", "hidden/b", "out"), leaves(model), strict=True))
    for name, grad in shim.grads.items():
        for index in numpy.ndindex(*grad.shape):
            losses = []
            for step in (1e-6, -1e-6):
                changed = start[name].copy()
                changed[index] += step
                with model.use_params({(shim.id, name): changed}):
                    losses.append((model.predict(X) * dY).sum())
            slope = (losses[0] - losses[1]) / 2e-6
            assert_allclose(float(grad[index]), slope, rtol=1e-6, atol=1e-8)


def test_in_a_chain_of_native_layers(x64):
    model = chain(Linear(4, 4), wrapped(dtype="float64"), LayerNorm(3), Relu(2, 3))
    for layer in model.layers:
        layer.initialize()
    check_gradients(model, batch(dtype="float64"))


def test_compiles_once_for_each_shape():
    traces = []

    def counted(params, X):
        traces.append(X.shape)
        return network(params, X)

    model = JaxWrapper(counted, parameters())
    for _ in range(3):
        for rows in (2, 5):
            Y, backprop = model.begin_update(batch(rows))
            backprop(Y)
        model.finish_update(Adam(0.01))
    assert sorted(traces) == [(2, 4), (5, 4)]
    for rows in (2, 5, 2, 5):
        model.predict(batch(rows))
    assert len(traces) == 4
    # Neither copies nor other weights need another compilation.
    other = model.copy()
    other.from_bytes(JaxWrapper(network, parameters(seed=2)).to_bytes())
    other.predict(batch(5))
    other.begin_update(batch(5))[1](other.predict(batch(5)))
    assert len(traces) == 4
    program = model.shims[0]._program
    assert program.forward._cache_size() == program.backward._cache_size() == 2


def test_backprop_twice_adds_up():
    model = wrapped()
    Y, backprop = model.begin_update(batch())
    backprop(Y)
    once = model.shims[0].grads
    backprop(Y)
    for name, grad in model.shims[0].grads.items():
        assert_allclose(grad, 2 * once[name], rtol=1e-6)


def test_a_backward_pass_is_that_of_its_own_forward_pass():
    model = wrapped()
    alone = model.begin_update(batch())[1](numpy.ones((6, 3), "f"))
    _, backprop = model.begin_update(batch())
    model.begin_update(-batch())[1](numpy.ones((6, 3), "f"))
    model.finish_update(SGD(0.5))
    assert_array_equal(backprop(numpy.ones((6, 3), "f")), alone)


def two(params, left, right=None):
    return {"sum": left @ params["a"], "rest": (right * params["b"], jnp.arange(3))}


TWO = {"a": numpy.ones((4, 2), "f"), "b": numpy.full(2, 2.0, "f")}
LEFT, RIGHT = batch(), batch(width=2)


@pytest.mark.parametrize(
    "X",
    [
        (LEFT, RIGHT),
        [LEFT, RIGHT],
        {"left": LEFT, "right": RIGHT},
        ArgsKwargs((LEFT,), {"right": RIGHT}),
    ],
    ids=lambda X: type(X).__name__,
)
def test_several_inputs_and_outputs(X):
    model = JaxWrapper(two, TWO)
    Y, backprop = model.begin_update(X)
    assert set(Y) == {"sum", "rest"} and isinstance(Y["rest"], tuple)
    assert_array_equal(Y["rest"][1], [0, 1, 2])
    dX = backprop({"sum": numpy.ones((6, 2), "f"), "rest": (None, None)})
    if isinstance(X, dict):
        left, right = dX["left"], dX["right"]
    elif isinstance(X, ArgsKwargs):
        left, right = dX.args[0], dX.kwargs["right"]
    else:
        assert isinstance(dX, tuple)
        left, right = dX
    assert_array_equal(left, numpy.full((6, 4), 2))
    assert_array_equal(right, numpy.zeros((6, 2)))
    assert not model.shims[0].grads["b"].any() and model.shims[0].grads["a"].all()


def test_integer_inputs_have_no_gradient():
    model = JaxWrapper(lambda params, ids: params[ids], batch(5, 2))
    Y, backprop = model.begin_update(numpy.array([1, 1, 3], dtype="int32"))
    assert backprop(numpy.ones_like(Y)) is None
    assert_array_equal(model.shims[0].grads["params"][:, 0], [0, 2, 0, 1, 0])


def test_arguments_that_are_no_arrays_are_part_of_the_program():
    def scaled(params, X, mode, offset=0):
        return X * params + offset if mode == "scale" else X

    model = JaxWrapper(scaled, numpy.full(4, 3.0, "f"))
    X = batch()
    for mode, offset, expected in (("scale", 0, 3 * X), ("scale", 1, 3 * X + 1), ("no", 5, X)):
        Y, backprop = model.begin_update(ArgsKwargs((X, mode), {"offset": offset}))
        assert_allclose(Y, expected, rtol=1e-6)
        dX = backprop(Y)
        assert dX.args[1] is None and dX.kwargs == {"offset": None}


def test_constants_among_the_parameters_are_kept():
    tree = {
        "W": numpy.ones(4, "f"),
        "order": numpy.array([3, 2, 1, 0]),
        "activation": jnp.tanh,
        "n": 2,
    }

    def apply_fn(params, X):
        return params["activation"](X[:, params["order"]] * params["W"]) * params["n"]

    model = JaxWrapper(apply_fn, tree)
    Y, backprop = model.begin_update(batch())
    assert_allclose(Y, 2 * numpy.tanh(batch()[:, ::-1]), rtol=1e-5)
    backprop(Y)
    assert set(model.shims[0].grads) == {"W"}
    model.finish_update(SGD(0.1))
    assert model.shims[0].params["n"] == 2
    assert_array_equal(model.shims[0].params["order"], [3, 2, 1, 0])


def test_numbers_as_parameters():
    model = JaxWrapper(lambda params, X: X * params["a"], {"a": numpy.float32(2.0)})
    X = batch()
    for _ in range(3):
        Y, backprop = model.begin_update(X)
        assert_allclose(backprop(Y - 5 * X), (Y - 5 * X) * Y[0, 0] / X[0, 0], rtol=1e-5)
        model.finish_update(Adam(0.1))
    assert 2.1 < model.shims[0].params["a"] < 2.5
    assert model.copy().from_bytes(model.to_bytes()).predict(X).shape == X.shape
    with pytest.raises(ValueError, match="only arrays are trained: write numpy.float32"):
        JaxWrapper(lambda params, X: X * params["a"], {"a": 2.0})
    assert JaxWrapper(lambda params, X: -X, {}).predict(X).shape == X.shape


def test_errors_of_the_backward_pass():
    model = wrapped()
    Y, no_backprop = model(batch(), is_train=False)
    with pytest.raises(ValueError, match="was not called with is_train=True"):
        no_backprop(Y)
    Y, backprop = model.begin_update(batch())
    with pytest.raises(ValueError, match=r"gradient's shape \(6, 2\) differs .* \(6, 3\)"):
        backprop(Y[:, :2])
    with pytest.raises(ValueError, match="has 1 outputs, but backprop got 2 gradients"):
        backprop([Y, Y])
    assert backprop(Y.astype("float64")).dtype == "float32"  # in the output's dtype


def test_arguments_that_jax_does_not_know():
    from thinc.api import Ragged

    X = Ragged(batch(), numpy.array([2, 4], dtype="int32"))
    with pytest.raises(TypeError, match="takes arrays, got Ragged: wrap the layer in with_array"):
        wrapped().predict(X)
    assert with_array(wrapped()).predict(X).data.shape == (6, 3)
    with pytest.raises(TypeError, match="an argument of type bytearray is neither an array nor"):
        wrapped().predict((batch(), bytearray(b"1")))


def test_errors_of_the_forward_pass_have_the_place():
    model = chain(Linear(5, 4).initialize(), wrapped())
    with pytest.raises(TypeError, match=r'jax \(layers\[1\] of "linear>>jax"\): dot_general'):
        model.predict(batch())


def test_custom_converters():
    def convert_inputs(model, X, is_train):
        return ArgsKwargs((xp2jax(X["rows"]),), {}), lambda dX: {"rows": jax2xp(dX.args[0])}

    def convert_outputs(model, X_Y, is_train):
        return [jax2xp(X_Y[1])], lambda dY: xp2jax(dY[0])

    model = JaxWrapper(
        network, parameters(), convert_inputs=convert_inputs, convert_outputs=convert_outputs
    )
    [Y], backprop = model.begin_update({"rows": batch()})
    assert backprop([Y])["rows"].shape == (6, 4)


def test_sequences_through_with_array():
    model = with_array(wrapped())
    Ys, backprop = model.begin_update([batch(3), batch(5)])
    assert [Y.shape for Y in Ys] == [(3, 3), (5, 3)]
    assert [dX.shape for dX in backprop(Ys)] == [(3, 4), (5, 4)]


# ---- what the function asks for ------------------------------------------------


def noisy(params, X, is_train, rng):
    assert is_train is (rng is not None)  # plain bools, while it is compiled
    if is_train:
        X = X + jax.random.normal(rng, X.shape)
    return X * params


def test_mode_and_random_key():
    model = JaxWrapper(noisy, numpy.ones(4, "f"))
    X = batch()
    assert_array_equal(model.predict(X), X)
    first, second = model.begin_update(X)[0], model.begin_update(X)[0]
    assert not (first == X).any() and not (first == second).any()
    fix_random_seed(0)
    assert_array_equal(model.begin_update(X)[0], first)


def running(params, state, X, is_train=False):
    if is_train:
        state = {"mean": 0.9 * state["mean"] + 0.1 * X.mean(axis=0), "steps": state["steps"] + 1}
    return (X - state["mean"]) * params, state


STATE = {"mean": numpy.zeros(4, "f"), "steps": numpy.zeros((), "int32")}


def test_the_state_changes_in_training_only():
    model = JaxWrapper(running, numpy.ones(4, "f"), state=STATE)
    X = batch()
    model.predict(X)
    assert model.shims[0].state["steps"] == 0
    for _ in range(2):
        Y, backprop = model.begin_update(X)
        backprop(Y)
    model.finish_update(SGD(0.1))
    state = model.shims[0].state
    assert state["steps"] == 2
    assert_allclose(state["mean"], 0.19 * X.mean(axis=0), rtol=1e-5)
    assert not STATE["mean"].any()
    other = JaxWrapper(running, numpy.ones(4, "f"), state=STATE).from_bytes(model.to_bytes())
    assert_array_equal(other.predict(X), model.predict(X))
    assert model.copy().shims[0].state["steps"] == 2


def test_a_wrong_state_is_an_error():
    for result, message in (
        (lambda p, s, X: X, "returns a pair, the output and the new state"),
        (lambda p, s, X: (X, {"other": X}), r"new state has the arrays \['other'\]"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            JaxWrapper(result, numpy.ones(1, "f"), state=STATE).begin_update(batch())


def test_random_keys_are_saved_as_numbers():
    def apply_fn(params, state, X):
        return X * params, {"key": jax.random.split(state["key"])[0]}

    model = JaxWrapper(apply_fn, numpy.ones(4, "f"), state={"key": jax.random.key(3)})
    data = model.to_bytes()
    before = jax.random.key_data(model.shims[0].state["key"])
    model.begin_update(batch())
    assert (jax.random.key_data(model.shims[0].state["key"]) != before).any()
    model.from_bytes(data)
    assert_array_equal(jax.random.key_data(model.shims[0].state["key"]), before)


# ---- updates -------------------------------------------------------------------


class Recorder:
    def __init__(self):
        self.calls = []

    def __call__(self, key, param, grad):
        assert param.flags.writeable and grad.flags.writeable
        self.calls.append((key, param.copy(), grad.copy()))
        param -= grad
        grad[...] = 0
        return param, grad


def test_the_optimizer_gets_every_parameter_by_its_place():
    tree = parameters()
    model = JaxWrapper(network, tree)
    before = leaves(model)
    Y, backprop = model.begin_update(batch())
    backprop(Y)
    grads = [numpy.asarray(grad) for grad in model.shims[0].grads.values()]
    recorder = Recorder()
    model.finish_update(recorder)
    shim = model.shims[0]
    assert [key for key, _, _ in recorder.calls] == [
        (shim.id, "hidden/W"), (shim.id, "hidden/b"), (shim.id, "out"),
    ]  # fmt: skip
    for (_, param, grad), old, g, new in zip(
        recorder.calls, before, grads, leaves(model), strict=True
    ):
        assert_array_equal(param, old)
        assert_array_equal(grad, g)
        assert_array_equal(new, old - g)
    assert shim.grads == {}
    model.finish_update(recorder)
    assert len(recorder.calls) == 3
    assert_array_equal(tree["out"], before[2])  # the caller's arrays stay


def test_names_are_unique_even_if_keys_contain_the_separator():
    tree = {"a/b": numpy.zeros(2, "f"), "a": {"b": numpy.ones(2, "f")}}
    model = JaxWrapper(lambda params, X: X, tree)
    names = model.shims[0]._program.params.names
    assert len(set(names)) == 2
    assert model.copy().from_bytes(model.to_bytes()).to_bytes() == model.to_bytes()


def trained(epochs=60):
    X = numpy.random.default_rng(0).normal(size=(80, 8)).astype("f")
    Y = numpy.eye(3, dtype="f")[X[:, :3].argmax(axis=1)]
    model = chain(Relu(4), wrapped(), Softmax(3)).initialize(X, Y)
    optimizer = Adam(0.02)
    for _ in range(epochs):
        guesses, backprop = model.begin_update(X)
        backprop((guesses - Y) / len(X))
        model.finish_update(optimizer)
    return model, optimizer, X, Y


def test_trains_together_with_native_layers():
    model, optimizer, X, Y = trained()
    assert (model.predict(X).argmax(axis=1) == Y.argmax(axis=1)).mean() > 0.9
    assert len(optimizer.averages) == 7


def test_averages_are_used_and_the_parameters_come_back():
    model, optimizer, X, _ = trained()
    shim, before = model.layers[1].shims[0], leaves(model.layers[1])
    with pytest.raises(ZeroDivisionError):
        with model.use_params(optimizer.averages):
            assert_array_equal(shim.params["out"], optimizer.averages[shim.id, "out"])
            raise ZeroDivisionError
    for old, new in zip(before, leaves(model.layers[1]), strict=True):
        assert_array_equal(old, new)


def test_what_use_params_is_not_given_stays():
    model = wrapped()
    shim = model.shims[0]
    mine = numpy.zeros((5, 3), "f")
    with model.use_params({(shim.id, "out"): mine, (shim.id, "none"): 3, "else": 1}):
        mine[:] = 7  # JAX must not see this
        assert not model.predict(batch()).any()
        assert_array_equal(shim.params["hidden"]["b"], parameters()["hidden"]["b"])
    with pytest.raises(ValueError, match=r"'out' is of shape \(5, 3\), got \(3,\)"):
        with model.use_params({(shim.id, "out"): numpy.zeros(3)}):
            pass
    assert model.predict(batch()).any()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_parameters(dtype):
    tree = jax.tree_util.tree_map(lambda leaf: jnp.asarray(leaf, dtype=dtype), parameters())
    model = JaxWrapper(network, tree)
    X = batch(dtype="float16") if dtype == "float16" else jnp.asarray(batch(), dtype=dtype)
    Y, backprop = model.begin_update(X)
    assert Y.dtype == ("float32" if dtype == "bfloat16" else "float16")
    backprop(Y)
    recorder = Recorder()
    model.finish_update(recorder)
    assert {param.dtype.name for _, param, _ in recorder.calls} == {"float32"}
    assert {leaf.dtype.name for leaf in leaves(model)} == {dtype}
    other = JaxWrapper(network, tree).from_bytes(model.to_bytes())
    assert [a.tobytes() for a in leaves(other)] == [a.tobytes() for a in leaves(model)]


def test_predictions_from_several_threads():
    model, found = wrapped(), []
    expected = model.predict(batch())
    threads = [
        threading.Thread(target=lambda: found.extend(model.predict(batch()) for _ in range(20)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 60 and all((Y == expected).all() for Y in found)


# ---- copies and devices --------------------------------------------------------


def test_copies_are_independent_and_take_gradients_along():
    model = wrapped()
    Y, backprop = model.begin_update(batch())
    backprop(Y)
    copied = model.copy()
    assert copied.shims[0].id != model.shims[0].id
    before = leaves(model)
    copied.finish_update(SGD(0.1))
    for old, same, new in zip(before, leaves(model), leaves(copied), strict=True):
        assert_array_equal(old, same)
        assert not (old == new).all()
    model.finish_update(SGD(0.1))
    for a, b in zip(leaves(model), leaves(copied), strict=True):
        assert_array_equal(a, b)


def test_pickled_models_keep_parameters_state_and_gradients():
    model = chain(
        wrapped(),
        JaxWrapper(running, numpy.ones(3, "f"), state={**STATE, "mean": STATE["mean"][:3]}),
    )
    Y, backprop = model.begin_update(batch())
    backprop(Y)
    loaded = pickle.loads(pickle.dumps(model))
    assert loaded.to_bytes() == model.to_bytes()
    for one in (model, loaded):
        one.finish_update(SGD(0.1))
    assert_array_equal(loaded.predict(batch()), model.predict(batch()))
    assert loaded.layers[0].shims[0].device == model.layers[0].shims[0].device


def test_devices():
    model = wrapped()
    Y = model.predict(batch())
    model.to_cpu()
    assert model.shims[0].device.platform == "cpu"
    assert_array_equal(model.predict(batch()), Y)
    with pytest.raises(ValueError, match="Invalid device_type: tpu"):
        model.shims[0].to_device("tpu", 0)
    with pytest.raises(ValueError, match="JAX does not see gpu 99"):
        model.shims[0].to_device("gpu", 99)
    assert model.shims[0].device.platform == "cpu"


# ---- saving and loading --------------------------------------------------------


@pytest.mark.parametrize("via", ["bytes", "disk", "dict"])
def test_round_trip_of_a_trained_model(via, tmp_path):
    model, _, X, _ = trained()
    other, _, _, _ = trained(epochs=0)
    if via == "bytes":
        other.from_bytes(model.to_bytes())
    elif via == "disk":
        model.to_disk(tmp_path / "model")
        other.from_disk(tmp_path / "model")
    else:
        other.from_dict(model.to_dict())
    assert_array_equal(other.predict(X), model.predict(X))
    assert other.to_bytes() == model.to_bytes()


def test_config_and_files_of_the_shim_alone(tmp_path):
    shim = JaxShim(JaxModel(network, parameters()), config={"a": [1]})
    shim.to_disk(tmp_path / "shim")
    other = JaxShim(JaxModel(network, parameters(seed=3)))
    assert other.from_disk(tmp_path / "shim") is other and other.cfg == {"a": [1]}
    assert other.to_bytes() == shim.to_bytes()
    shim.cfg["b"] = len
    with pytest.raises(TypeError, match="the shim's config cannot be saved"):
        shim.to_bytes()


@pytest.mark.parametrize(
    "other, message",
    [
        (parameters(nO=2), r"'out' is of shape \(5, 2\), expected \(5, 3\)"),
        ({"out": numpy.ones(3, "f")}, r"has 3 weights, the data 1; missing: hidden/W, hidden/b"),
        ({**parameters(), "more": numpy.ones(3, "f")}, "has 3 weights, the data 4; unknown: more"),
        ({**parameters(), "out": numpy.ones((5, 3), "int32")}, "of dtype int32, expected float32"),
    ],
)
def test_parameters_of_another_model(other, message):
    model = wrapped()
    before = model.to_bytes()
    with pytest.raises(DeserializationError, match=f"jax: JaxShim cannot be loaded: .*{message}"):
        model.from_bytes(JaxWrapper(network, other).to_bytes())
    assert model.to_bytes() == before


def test_a_state_that_does_not_fit_leaves_the_parameters_as_they_were():
    model = JaxWrapper(running, numpy.ones(4, "f"), state=STATE)
    other = JaxWrapper(running, numpy.zeros(4, "f"), state={**STATE, "mean": numpy.zeros(3, "f")})
    before = model.to_bytes()
    with pytest.raises(DeserializationError, match=r"'mean' is of shape \(3,\), expected \(4,\)"):
        model.from_bytes(other.to_bytes())
    assert model.to_bytes() == before


def test_a_float_may_stand_for_another():
    model = wrapped()
    model.from_bytes(JaxWrapper(network, parameters(dtype="float16", seed=4)).to_bytes())
    assert {leaf.dtype.name for leaf in leaves(model)} == {"float32"}
    assert_array_equal(leaves(model)[2], parameters(dtype="float16", seed=4)["out"])


HOSTILE = [
    b"",
    b"\xdd\xff\xff\xff\xff",
    pickle.dumps({"config": {}}),
    pack_value([1]),
    pack_value({"config": {}, "params": []}),
    pack_value({"config": {}, "params": {}, "state": []}),
    pack_value({"config": [], "params": [], "state": []}),
    pack_value({"config": {}, "params": [["out", "float32", b"1234"]], "state": []}),
    pack_value({"config": {}, "params": [["out", "bfloat16", numpy.ones(3, "f")]], "state": []}),
]


@pytest.mark.parametrize("data", HOSTILE, ids=range(len(HOSTILE)))
def test_data_that_is_no_saved_shim(data):
    shim = JaxShim(JaxModel(network, parameters()))
    before = shim.to_bytes()
    with pytest.raises(DeserializationError):
        shim.from_bytes(data)
    assert shim.to_bytes() == before


TARGET = JaxShim(JaxModel(network, parameters()))
SAVED = JaxShim(JaxModel(network, parameters(seed=5))).to_bytes()


@given(st.data())
def test_damaged_data_is_rejected_or_loaded_whole(data):
    if data.draw(st.booleans()):
        damaged = SAVED[: data.draw(st.integers(0, len(SAVED) - 1))]
    else:
        place = data.draw(st.integers(0, len(SAVED) - 1))
        damaged = bytearray(SAVED)
        damaged[place] ^= data.draw(st.integers(1, 255))
    before = TARGET.to_bytes()
    try:
        TARGET.from_bytes(bytes(damaged))
    except DeserializationError:
        assert TARGET.to_bytes() == before
    TARGET.from_bytes(before)


def test_safetensors_have_every_parameter_by_its_place(tmp_path):
    from safetensors.numpy import load_file, save_file

    def make(seed):
        state = {**STATE, "mean": STATE["mean"][:3]}
        params = jnp.full(3, seed, dtype="bfloat16")
        return chain(wrapped(seed=seed), JaxWrapper(running, params, state=state))

    model, other, path = make(1), make(2), tmp_path / "model"
    model.layers[0].shims[0].cfg["note"] = "mine"
    model.to_safetensors(path)
    found = load_file(path)
    assert set(found) == {
        "layers.0.shims.0.params.hidden/W",
        "layers.0.shims.0.params.hidden/b",
        "layers.0.shims.0.params.out",
        "layers.1.shims.0.params.params",
        "layers.1.shims.0.state.mean",
        "layers.1.shims.0.state.steps",
    }
    assert found["layers.1.shims.0.params.params"].dtype.name == "bfloat16"
    assert_array_equal(found["layers.0.shims.0.params.out"], parameters()["out"])
    assert other.from_safetensors(path).to_bytes() == model.to_bytes()
    # Another program may change them, and drop our metadata.
    save_file({**found, "layers.0.shims.0.params.out": numpy.ones((5, 3), "f")}, path)
    other.from_safetensors(path)
    assert (leaves(other.layers[0])[2] == 1).all() and other.layers[0].shims[0].cfg[
        "note"
    ] == "mine"
    before = other.to_bytes()
    for wrong, message in (
        (numpy.ones((5, 2), "f"), r"params.out: it is of shape \(5, 2\), expected \(5, 3\)"),
        (numpy.ones((5, 3), "i4"), "'out' is of dtype int32, expected float32"),
    ):
        save_file({**found, "layers.0.shims.0.params.out": wrong}, path)
        with pytest.raises(DeserializationError, match=message):
            other.from_safetensors(path)
        assert other.to_bytes() == before


def test_a_failing_second_shim_undoes_the_first():
    model = chain(wrapped(), JaxWrapper(lambda p, X: X * p, numpy.ones(3, "f")))
    other = chain(wrapped(seed=8), JaxWrapper(lambda p, X: X * p, numpy.ones(2, "f")))
    before = model.to_bytes()
    with pytest.raises(DeserializationError, match=r"jax \(layers\[1\] of .*JaxShim cannot be"):
        model.from_bytes(other.to_bytes())
    assert model.to_bytes() == before


# ---- construction --------------------------------------------------------------


def test_wrong_arguments():
    with pytest.raises(TypeError, match="expects a function or a module, got int"):
        JaxWrapper(3, parameters())
    with pytest.raises(ValueError, match="needs the params of the function"):
        JaxWrapper(network)
    with pytest.raises(TypeError, match="JaxShim expects a JaxModel, got function"):
        JaxShim(network)


def test_class_name_and_config_of_the_layer():
    class Own(Model):
        pass

    model = JaxWrapper(network, parameters(), model_class=Own, model_name="mine")
    assert type(model) is Own and model.name == "mine" and wrapped().name == "jax"
    from thinc.api import registry

    assert registry.layers.get("JaxWrapper.v1") is JaxWrapper


# ---- conversions ---------------------------------------------------------------


def test_memory_is_shared_where_jax_can_take_it():
    X = aligned((100, 200), "float32")
    X[...] = 1
    assert xp2jax(X).unsafe_buffer_pointer() == X.ctypes.data
    Y = jnp.ones((50, 3))
    assert jax2xp(Y).ctypes.data == Y.unsafe_buffer_pointer()
    assert not jax2xp(Y).flags.writeable


def test_outputs_of_the_wrapper_share_memory_with_jax():
    seen = []

    def convert_outputs(model, X_Y, is_train):
        from thinc.layers.jaxwrapper import convert_jax_default_outputs

        seen.append(X_Y[1].unsafe_buffer_pointer())
        return convert_jax_default_outputs(model, X_Y, is_train)

    model = JaxWrapper(network, parameters(), convert_outputs=convert_outputs)
    assert model.predict(batch()).ctypes.data == seen[0]


def test_updated_parameters_are_not_copied_again():
    given = []

    class Keeper(Recorder):
        def __call__(self, key, param, grad):
            given.append(param.ctypes.data)
            return super().__call__(key, param, grad)

    model = JaxWrapper(lambda params, X: X @ params, numpy.ones((64, 64), "f"))
    Y, backprop = model.begin_update(batch(2, 64))
    backprop(Y)
    model.finish_update(Keeper())
    assert model.shims[0].params.unsafe_buffer_pointer() == given[0]


@pytest.mark.parametrize("dtype", ["float16", "float32", "int32", "uint8", "bool"])
def test_arrays_of_every_layout(dtype):
    base = numpy.arange(12).reshape(3, 4).astype(dtype)
    readonly = base.copy()
    readonly.flags.writeable = False
    foreign = base.astype(base.dtype.newbyteorder(">"))
    for X in (
        base,
        base[::-1],
        base[:, ::2],
        base.T,
        readonly,
        base[0, 0:0],
        base[1:, 1:],
        foreign,
    ):
        array = xp2jax(X)
        assert util.is_jax_array(array) and not util.is_jax_array(X)
        for back in (jax2xp(array), jax2xp(array, ops=NumpyOps())):
            assert_array_equal(back, X)
            assert back.dtype == dtype


def test_arrays_of_64_bits_become_shorter_unless_allowed(x64):
    assert xp2jax(numpy.zeros(2)).dtype == "float64"
    with enable_x64(False):
        assert xp2jax(numpy.zeros(2)).dtype == "float32"
        model = wrapped()
        Y, backprop = model.begin_update(batch(dtype="float64"))
        assert Y.dtype == "float32" and backprop(Y).shape == (6, 4)


def test_devices_of_arrays():
    cpu = jax.devices("cpu")[0]
    assert xp2jax(batch()).devices() == xp2jax(batch(), cpu).devices() == {cpu}
    assert util.get_jax_default_device() == cpu
