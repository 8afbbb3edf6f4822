"""TensorFlowShim and TensorFlowWrapper with real Keras models, on the CPU."""

import os
import pickle
import threading
import warnings

import numpy
import pytest
from frameworks import import_or_skip
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what TensorFlow's own imports say
    tf = import_or_skip("tensorflow")
    keras = import_or_skip("keras")

from shims.keras_examples import (  # noqa: E402
    Decorated,
    Described,
    Undescribed,
    dense,
    two_inputs_two_outputs,
    with_statistics,
)

from thinc import compat, util  # noqa: E402
from thinc.api import (  # noqa: E402
    SGD,
    Adam,
    ArgsKwargs,
    Linear,
    Model,
    Relu,
    Softmax,
    TensorFlowShim,
    TensorFlowWrapper,
    chain,
    fix_random_seed,
    keras_model_fns,
    keras_subclass,
    maybe_handshake_model,
    tensorflow2xp,
    with_array,
    xp2tensorflow,
)
from thinc.serialize import DeserializationError, pack_value  # noqa: E402
from thinc.testing import check_gradients  # noqa: E402


@pytest.fixture(autouse=True)
def seeds():
    fix_random_seed(0)
    keras.utils.set_random_seed(0)


def batch(rows=6, width=4, dtype="float32"):
    return numpy.random.default_rng(0).normal(size=(rows, width)).astype(dtype)


def weights(model):
    return [variable.numpy() for variable in model.shims[0]._model.weights]


def keras_of(model):
    return model.shims[0]._model


# ---- forward and backward ------------------------------------------------------


def test_predicts_what_keras_does():
    network = dense()
    X = batch()
    Y = TensorFlowWrapper(network).predict(X)
    assert isinstance(Y, numpy.ndarray) and Y.flags.writeable
    assert_allclose(Y, network(X).numpy(), rtol=1e-6)


def test_gradient_of_the_input_matches_finite_differences():
    check_gradients(TensorFlowWrapper(dense(dtype="float64")), batch(3, dtype="float64"))


def test_gradients_of_the_weights_match_finite_differences():
    model = TensorFlowWrapper(dense(dtype="float64"))
    X = batch(3, dtype="float64")
    Y, backprop = model.begin_update(X)
    dY = numpy.random.default_rng(1).normal(size=Y.shape)
    backprop(dY)
    for variable, grad in zip(keras_of(model).trainable_variables, model.shims[0].gradients):  # noqa: B905
        start, grad = variable.numpy(), grad.numpy()
        for index in numpy.ndindex(*start.shape):
            losses = []
            for step in (1e-6, -1e-6):
                changed = start.copy()
                changed[index] += step
                variable.assign(changed)
                losses.append((model.predict(X) * dY).sum())
            variable.assign(start)
            assert_allclose(grad[index], (losses[0] - losses[1]) / 2e-6, rtol=1e-5, atol=1e-7)


def test_in_a_chain_the_gradient_reaches_the_layers_before():
    X = batch(3)
    before, after = Linear(4, 4).initialize(), Linear(2, 3).initialize()
    model = chain(before, TensorFlowWrapper(dense(dtype="float64")), after)
    check_gradients(model, X.astype("float64"))


def test_backprop_twice_adds_up():
    once, twice = (TensorFlowWrapper(dense()) for _ in range(2))
    X = batch()
    for model, n in ((once, 1), (twice, 2)):
        for _ in range(n):
            Y, backprop = model.begin_update(X)
            backprop(Y)
    for one, two in zip(once.shims[0].gradients, twice.shims[0].gradients, strict=True):
        assert isinstance(two, tf.Variable)
        assert_allclose(two.numpy(), 2 * one.numpy(), rtol=1e-5)


def test_two_open_batches_do_not_mix():
    model = TensorFlowWrapper(dense(dtype="float64"))
    X1, X2 = batch(dtype="float64"), -2 * batch(dtype="float64")
    alone = model.begin_update(X1)[1](numpy.ones((6, 3)))
    _, backprop1 = model.begin_update(X1)
    _, backprop2 = model.begin_update(X2)
    backprop2(numpy.ones((6, 3)))
    assert_array_equal(backprop1(numpy.ones((6, 3))), alone)


LEFT, RIGHT = batch(), batch(width=2)


@pytest.mark.parametrize(
    "X, as_dict",
    [
        ((LEFT, RIGHT), False),
        ([LEFT, RIGHT], False),
        ({"left": LEFT, "right": RIGHT}, False),
        ({"right": RIGHT, "left": LEFT}, False),
        (ArgsKwargs((LEFT, RIGHT), {}), False),
        ({"left": LEFT, "right": RIGHT}, True),
        ({"right": RIGHT, "left": LEFT}, True),
    ],
    ids=lambda value: str(value) if isinstance(value, bool) else type(value).__name__,
)
def test_several_inputs_and_outputs(X, as_dict):
    network = two_inputs_two_outputs(as_dict=as_dict)
    inputs = {"left": LEFT, "right": RIGHT} if as_dict else [LEFT, RIGHT]
    model = TensorFlowWrapper(network)
    Y, backprop = model.begin_update(X)
    for ours, keras_output in zip(Y, network(inputs), strict=True):
        assert_allclose(ours, keras_output.numpy(), rtol=1e-6)
    dX = backprop([numpy.ones_like(Y[0]), None])
    kernel = next(v for v in network.weights if tuple(v.shape) == (6, 3)).numpy()
    expected = numpy.broadcast_to(kernel.sum(axis=1), (6, 6))
    if isinstance(X, dict):
        left, right = dX["left"], dX["right"]
    else:
        left, right = dX.args if isinstance(X, ArgsKwargs) else dX
    assert_allclose(numpy.hstack([left, right]), expected, rtol=1e-5)


def test_an_output_without_gradient_leaves_its_weights_alone():
    model = TensorFlowWrapper(two_inputs_two_outputs())
    before = weights(model)
    Y, backprop = model.begin_update((batch(), batch(width=2)))
    backprop([Y[0], None])
    model.finish_update(SGD(0.1))
    changed = [not (a == b).all() for a, b in zip(before, weights(model), strict=True)]
    shapes = [w.shape for w in before]
    assert [s for s, flag in zip(shapes, changed, strict=True) if flag] == [(6, 3), (3,)]


def test_integer_input_has_no_gradient_and_embeddings_get_dense_ones():
    network = keras.Sequential(
        [keras.layers.Input((2,), dtype="int32"), keras.layers.Embedding(5, 3)]
    )
    model = TensorFlowWrapper(network)
    ids = numpy.array([[1, 1], [3, 1]], dtype="int32")
    Y, backprop = model.begin_update(ids)
    assert Y.shape == (2, 2, 3)
    assert backprop(numpy.ones_like(Y)) is None
    assert_array_equal(model.shims[0].gradients[0].numpy()[:, 0], [0, 3, 0, 1, 0])


def test_keyword_arguments_reach_a_subclassed_model():
    class Scaled(Described):
        def call(self, X, scale):
            return self.dense(X) * scale

    model = TensorFlowWrapper(Scaled(2))
    X, scale = batch(), numpy.full((6, 1), 2.0, dtype="f")
    Y, backprop = model.begin_update(ArgsKwargs((X,), {"scale": scale}))
    dX = backprop(numpy.ones_like(Y))
    assert dX.args[0].shape == X.shape and dX.kwargs["scale"].shape == scale.shape
    assert_allclose(dX.kwargs["scale"][:, 0], Y.sum(axis=1) / 2, rtol=1e-5)


def test_training_mode_is_a_matter_of_each_call():
    model = TensorFlowWrapper(with_statistics())
    X = 3 + batch(64)
    before = model.predict(X)
    assert_array_equal(model.predict(X), before)
    Y, _ = model.begin_update(X)
    assert not numpy.allclose(Y, before)  # dropout, and the batch's own statistics
    mean = next(v for v in keras_of(model).weights if v.name == "moving_mean").numpy()
    assert (mean > 0).all()


def test_custom_converters():
    def convert_inputs(model, X, is_train):
        return ArgsKwargs((xp2tensorflow(X["rows"], requires_grad=is_train),), {}), lambda dX: {
            "rows": tensorflow2xp(dX.args[0])
        }

    def convert_outputs(model, Y, is_train):
        return {"out": tensorflow2xp(Y)}, lambda dY: xp2tensorflow(dY["out"])

    model = TensorFlowWrapper(dense(), convert_inputs, convert_outputs)
    Y, backprop = model.begin_update({"rows": batch()})
    assert set(Y) == {"out"} and backprop(Y)["rows"].shape == (6, 4)


def test_errors_of_the_backward_pass():
    model = TensorFlowWrapper(dense())
    X = batch()
    with pytest.raises(ValueError, match="was not called with is_train=True"):
        model(X, is_train=False)[1](X)
    Y, backprop = model.begin_update(X)
    with pytest.raises(ValueError, match=r"gradient's shape \(6, 2\) differs .* \(6, 3\)"):
        backprop(Y[:, :2])
    with pytest.raises(ValueError, match="has 1 outputs, but backprop got 2 gradients"):
        backprop([Y, Y])
    assert backprop(Y).shape == X.shape
    with pytest.raises(ValueError, match="callback of begin_update can be called once"):
        backprop(Y)


def test_too_many_inputs_are_counted():
    for model, n in (
        (TensorFlowWrapper(dense()), 1),
        (TensorFlowWrapper(two_inputs_two_outputs()), 2),
    ):
        with pytest.raises(ValueError, match=f"has {n} inputs, but got 3: a list or tuple of arr"):
            model.predict([LEFT, LEFT, LEFT])


def test_a_sequential_model_without_an_input_layer():
    model = TensorFlowWrapper(keras.Sequential([keras.layers.Dense(3)]))
    assert model.copy().initialize(LEFT).predict(LEFT).shape == (6, 3)
    model.initialize(LEFT)
    assert_array_equal(model.copy().predict(LEFT), model.predict(LEFT))
    other = TensorFlowWrapper(keras.Sequential([keras.layers.Dense(3)])).initialize(LEFT)
    assert_array_equal(other.from_bytes(model.to_bytes()).predict(LEFT), model.predict(LEFT))


def test_recurrent_nested_and_compiled_models():
    X = numpy.random.default_rng(0).normal(size=(2, 5, 4)).astype("f")
    inner = keras.Sequential([keras.layers.Input((None, 3)), keras.layers.Dense(3)])
    network = keras.Sequential(
        [
            keras.layers.Input((None, 4)),
            keras.layers.LSTM(3, return_sequences=True),
            inner,
            keras.layers.Dense(2),
        ]
    )
    network.compile(optimizer="adam", loss="mse")
    network.fit(X, numpy.zeros((2, 5, 2)), verbose=0)
    model = TensorFlowWrapper(network)
    Y, backprop = model.begin_update(X)
    assert backprop(Y).shape == X.shape
    model.finish_update(SGD(0.1))
    copied = model.copy()
    assert_array_equal(copied.predict(X), model.predict(X))
    assert copied.to_bytes() == model.to_bytes()


def test_the_shim_itself_can_be_called_as_thinc_8_does():
    shim = TensorFlowShim(dense())
    X = ArgsKwargs((tf.constant(batch()),), {})
    assert tf.is_tensor(shim(X, False)) and tf.is_tensor(shim.predict(X))
    Y, backprop = shim(X, True)
    dX = backprop(Y)
    assert isinstance(dX, ArgsKwargs) and tuple(dX.args[0].shape) == (6, 4) and dX.kwargs == {}
    assert "Total params" in str(shim)


def test_predictions_from_several_threads():
    model = TensorFlowWrapper(with_statistics())
    X, found = batch(200), []
    expected = model.predict(X)
    threads = [
        threading.Thread(target=lambda: found.extend(model.predict(X) for _ in range(5)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 15 and all((Y == expected).all() for Y in found)


# ---- updates -------------------------------------------------------------------


class Recorder:
    def __init__(self):
        self.calls = []

    def __call__(self, key, param, grad):
        self.calls.append((key, param.copy(), grad.copy()))
        return param - grad, grad * 0


def test_the_optimizer_gets_all_variables_in_one_call():
    model = TensorFlowWrapper(dense())
    before = weights(model)
    Y, backprop = model.begin_update(batch())
    backprop(Y)
    grads = [grad.numpy() for grad in model.shims[0].gradients]
    recorder = Recorder()
    model.finish_update(recorder)
    [(key, param, grad)] = recorder.calls
    assert key == (model.shims[0].id, "tensorflow-shim")
    assert_array_equal(param, numpy.concatenate([w.ravel() for w in before]))
    assert_array_equal(grad, numpy.concatenate([g.ravel() for g in grads]))
    for old, grad, new in zip(before, grads, weights(model), strict=True):
        assert_allclose(new, old - grad, rtol=1e-6, atol=1e-7)
    assert model.shims[0].gradients is None


def test_an_update_without_gradients_is_an_error():
    with pytest.raises(ValueError, match="There are no gradients for optimization"):
        TensorFlowWrapper(dense()).finish_update(SGD(0.1))


def test_frozen_layers_stay():
    network = dense()
    network.layers[0].trainable = False
    model = TensorFlowWrapper(network)
    before = weights(model)
    Y, backprop = model.begin_update(batch())
    backprop(Y)
    assert len(model.shims[0].gradients) == 2
    model.finish_update(SGD(0.1))
    changed = [not (a == b).all() for a, b in zip(before, weights(model), strict=True)]
    assert changed == [False, False, True, True]


def test_a_model_without_variables_is_updated_without_complaint():
    network = keras.Sequential([keras.layers.Input((4,)), keras.layers.Rescaling(2.0)])
    model = TensorFlowWrapper(network)
    Y, backprop = model.begin_update(batch())
    assert_allclose(backprop(Y), 2 * Y)
    model.finish_update(SGD(0.1))
    assert TensorFlowWrapper(network).from_bytes(model.to_bytes())


def trained(make=with_statistics, epochs=60):
    X = numpy.random.default_rng(0).normal(size=(80, 8)).astype("f")
    Y = numpy.eye(3, dtype="f")[X[:, :3].argmax(axis=1)]
    model = chain(Relu(4), TensorFlowWrapper(make()), Softmax(3)).initialize(X, Y)
    optimizer = Adam(0.02)
    for _ in range(epochs):
        guesses, backprop = model.begin_update(X)
        backprop((guesses - Y) / len(X))
        model.finish_update(optimizer)
    return model, optimizer, X, Y


def test_trains_together_with_native_layers():
    model, optimizer, X, Y = trained(dense)
    accuracy = (model.predict(X).argmax(axis=1) == Y.argmax(axis=1)).mean()
    assert accuracy > 0.9
    # One optimizer knows them all, each under its own key.
    keys = set(optimizer.averages)
    assert (model.layers[1].shims[0].id, "tensorflow-shim") in keys and len(keys) == 5


# ---- other parameters ----------------------------------------------------------


def test_averages_are_used_and_the_weights_come_back():
    model, optimizer, X, _ = trained()
    before = weights(model.layers[1])
    key = (model.layers[1].shims[0].id, "tensorflow-shim")
    with model.use_params(optimizer.averages):
        variables = keras_of(model.layers[1]).trainable_variables
        flat = numpy.concatenate([v.numpy().ravel() for v in variables])
        assert_array_equal(flat, optimizer.averages[key])
    for old, new in zip(before, weights(model.layers[1]), strict=True):
        assert_array_equal(old, new)


def test_parameters_by_name():
    model = TensorFlowWrapper(dense())
    shim = model.shims[0]
    path = keras_of(model).weights[0].path
    before = weights(model)
    with pytest.raises(ZeroDivisionError):
        with model.use_params({f"tensorflow_{shim.id}_{path}": numpy.zeros((4, 5)), "other": 1}):
            assert not weights(model)[0].any()
            assert_array_equal(weights(model)[2], before[2])
            raise ZeroDivisionError
    assert_array_equal(weights(model)[0], before[0])


@pytest.mark.parametrize("name", ["flat", "by name"])
def test_parameters_of_a_wrong_size_change_nothing(name):
    model = TensorFlowWrapper(dense())
    shim = model.shims[0]
    key = (shim.id, "tensorflow-shim")
    if name == "by name":
        key = f"tensorflow_{shim.id}_{keras_of(model).weights[0].path}"
    before = weights(model)
    with pytest.raises(ValueError, match="TensorFlowShim.use_params: .*got"):
        with model.use_params({key: numpy.zeros(3)}):
            pass
    assert_array_equal(weights(model)[0], before[0])


# ---- copies --------------------------------------------------------------------


def lambda_model():
    return keras.Sequential(
        [keras.layers.Input((4,)), keras.layers.Dense(3), keras.layers.Lambda(lambda x: 2 * x)]
    )


@pytest.mark.parametrize(
    "make",
    [dense, with_statistics, two_inputs_two_outputs, lambda_model, lambda: Decorated(3)],
    ids=["sequential", "statistics", "functional", "lambda", "keras_subclass"],
)
def test_copies_keep_the_weights_and_are_independent(make):
    model = TensorFlowWrapper(make())
    original = keras_of(model)
    X = (LEFT, RIGHT) if make is two_inputs_two_outputs else LEFT
    before, Y = weights(model), model.predict(X)
    copied = model.copy()
    assert keras_of(model) is original
    assert copied.shims[0].id != model.shims[0].id
    for a, b in zip(Y, copied.predict(X), strict=True):
        assert_array_equal(a, b)
    dY, backprop = copied.begin_update(X)
    backprop(dY)
    copied.finish_update(SGD(0.1))
    for old, new in zip(before, weights(model), strict=True):
        assert_array_equal(old, new)
    assert not (weights(copied)[-2] == before[-2]).all()


def test_a_subclassed_model_with_a_config_can_be_copied_built_or_not():
    model = TensorFlowWrapper(Described(3))
    assert model.copy().initialize(batch()).predict(batch()).shape == (6, 3)
    model.initialize(batch())
    assert_array_equal(model.copy().predict(batch()), model.predict(batch()))


def test_a_copy_takes_the_gradients_along():
    model = TensorFlowWrapper(dense())
    Y, backprop = model.begin_update(batch())
    backprop(Y)
    copied = model.copy()
    for one in (model, copied):
        one.finish_update(SGD(0.1))
    for a, b in zip(weights(model), weights(copied), strict=True):
        assert_array_equal(a, b)


# Keras's own, with NumPy 2.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("make", [dense, with_statistics, lambda: Decorated(3)])
def test_pickled_models_keep_weights_and_gradients(make):
    model = TensorFlowWrapper(make())
    Y, backprop = model.begin_update(batch())
    backprop(Y)
    loaded = pickle.loads(pickle.dumps(model))
    assert_array_equal(loaded.predict(batch()), model.predict(batch()))
    for one in (model, loaded):
        one.finish_update(SGD(0.1))
    assert_array_equal(loaded.predict(batch()), model.predict(batch()))
    assert not (loaded.predict(batch()) == Y).all()


def test_the_random_seed_decides_about_weights_and_dropout():
    outputs = []
    for _ in range(2):
        fix_random_seed(5)
        network = keras.Sequential(
            [keras.layers.Input((4,)), keras.layers.Dense(3), keras.layers.Dropout(0.5)]
        )
        outputs.append(TensorFlowWrapper(network).begin_update(batch())[0])
    assert_array_equal(*outputs)
    assert (outputs[0] == 0).any()


def test_frozen_layers_of_a_copy_are_frozen():
    network = dense()
    network.layers[0].trainable = False
    copied = TensorFlowWrapper(network).copy()
    assert [len(layer.trainable_variables) for layer in keras_of(copied).layers] == [0, 2]


def test_a_model_that_cannot_be_built_again_says_so():
    class Once(Described):
        def get_config(self):
            return {"unknown": 1}

    model = TensorFlowWrapper(Once(3)).initialize(batch())
    with pytest.raises(ValueError, match="'once.*' .Once. cannot be built a second time.*keras_su"):
        model.copy()
    assert model.predict(batch()).shape == (6, 3)


# ---- devices -------------------------------------------------------------------


def test_a_move_to_where_the_weights_are_changes_nothing():
    model = TensorFlowWrapper(dense())
    network = keras_of(model)
    model.to_cpu()
    assert keras_of(model) is network


def test_devices_that_do_not_exist():
    shim = TensorFlowShim(dense())
    with pytest.raises(ValueError, match="Invalid device_type: tpu. Try 'cpu' or 'gpu'"):
        shim.to_device("tpu", 0)
    if not tf.config.list_logical_devices("GPU"):
        with pytest.raises(ValueError, match="TensorFlow does not see gpu 0"):
            shim.to_device("gpu", 0)


def test_a_move_keeps_weights_and_gradients(monkeypatch):
    model = TensorFlowWrapper(dense())
    X = batch()
    Y, backprop = model.begin_update(X)
    backprop(Y)
    shim, network = model.shims[0], keras_of(model)
    grads = [grad.numpy() for grad in shim.gradients]
    # On a machine with one device: pretend that the weights are elsewhere.
    cpu = tf.config.list_logical_devices("CPU")
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: cpu)
    shim.to_device("gpu", 0)
    assert keras_of(model) is not network
    assert_array_equal(model.predict(X), Y)
    for old, new in zip(grads, shim.gradients, strict=True):
        assert_array_equal(old, new.numpy())
    model.finish_update(SGD(0.1))
    assert not (model.predict(X) == Y).all()


# ---- saving and loading --------------------------------------------------------


@pytest.mark.parametrize("via", ["bytes", "disk", "dict"])
def test_round_trip_of_a_trained_model(via, tmp_path):
    model, _, X, _ = trained()
    other, _, _, _ = trained(epochs=0)
    assert not numpy.allclose(model.predict(X), other.predict(X))
    if via == "bytes":
        assert other.from_bytes(model.to_bytes()) is other
    elif via == "disk":
        model.to_disk(tmp_path / "model")
        other.from_disk(tmp_path / "model")
    else:
        other.from_dict(model.to_dict())
    assert_array_equal(other.predict(X), model.predict(X))
    assert other.to_bytes() == model.to_bytes()


def test_safetensors_have_every_weight(tmp_path):
    from safetensors.numpy import load_file

    model, _, X, _ = trained()
    other, _, _, _ = trained(epochs=0)
    model.to_safetensors(tmp_path / "model")
    names = {name for name in load_file(tmp_path / "model") if ".shims." in name}
    assert names == {
        f"layers.1.shims.0.weights.{i}.{name}"
        for i, name in enumerate(
            ["gamma", "beta", "moving_mean", "moving_variance", "kernel", "bias"]
        )
    }
    other.from_safetensors(tmp_path / "model")
    assert_array_equal(other.predict(X), model.predict(X))
    assert other.to_bytes() == model.to_bytes()


def test_the_shim_alone_goes_to_disk_and_back(tmp_path):
    shim = TensorFlowShim(dense(), config={"a": [1, 2]})
    shim.to_disk(tmp_path / "shim")
    other = TensorFlowShim(dense(seed=5))
    assert other.from_disk(tmp_path / "shim") is other
    assert other.cfg == {"a": [1, 2]} and other.to_bytes() == shim.to_bytes()


def test_saved_bytes_contain_no_code():
    data = TensorFlowShim(lambda_model()).to_bytes()
    assert b"lambda" not in data and b"keras" not in data and b"pickle" not in data


def state(model):
    return [w.tobytes() for w in weights(model)]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: dense(nO=4), r"weight '2.kernel' is of shape \(5, 4\), expected \(5, 3\)"),
        (with_statistics, "the model has 4 weights, the data 6; missing: 0.kernel"),
        (lambda: dense(dtype="float64"), None),
    ],
)
def test_weights_of_another_model(make, message):
    model, data = TensorFlowWrapper(dense()), TensorFlowWrapper(make()).to_bytes()
    before = state(model)
    if message is None:  # a float may stand for another
        assert model.from_bytes(data) is model
        assert weights(model)[0].dtype == "float32"
        return
    with pytest.raises(DeserializationError, match=f"tensorflow: TensorFlowShim.*{message}"):
        model.from_bytes(data)
    assert state(model) == before


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "incomplete input"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "Keras model in HDF5.*could run code"),
        (pickle.dumps([1, 2]), "DeserializationError|unexpected|incomplete|goes on|twice|map"),
        (pack_value({"config": {}}), "expected a map of config and weights"),
        (pack_value({"config": 1, "weights": []}), "config is no map"),
        (pack_value({"config": {}, "weights": []}), "the shim's config is no map"),
        (pack_value({"config": {"shim": {}}, "weights": 3}), "weights are int, not a list"),
        (pack_value({"config": {"shim": {}}, "weights": [[1, 2]]}), "no triple"),
        (pack_value({"config": {"shim": {}}, "weights": [["a", "f", 2]]}), "is int, not an array"),
        (
            pack_value({"config": {"shim": {}}, "weights": [["a", "int8", numpy.zeros(2)]]}),
            "is float64, but said to be int8",
        ),
        (
            pack_value({"config": {"shim": {}}, "weights": []}),
            "the model has 4 weights, the data 0",
        ),
        (["name"], "a pair of a name and weights"),
        (("name", [1]), "a weight is int"),
    ],
)
def test_data_that_is_no_saved_shim(data, message):
    shim = TensorFlowShim(dense())
    before = shim.to_bytes()
    with pytest.raises(DeserializationError, match=message):
        shim.from_bytes(data)
    assert shim.to_bytes() == before


SAVED = TensorFlowShim(dense()).to_bytes()
TARGET = TensorFlowShim(dense(seed=9))


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


def test_pairs_of_thinc_8_can_be_loaded():
    source, target = maybe_handshake_model(Decorated(3)), TensorFlowShim(Decorated(3))
    assert target.from_bytes(("thinc_tests.v1", source.get_weights())) is target
    for a, b in zip(source.get_weights(), target._model.get_weights(), strict=True):
        assert_array_equal(a, b)


def test_bfloat16_weights_keep_their_bits():
    network = dense(dtype="bfloat16")
    model = TensorFlowWrapper(network)
    Y = model.predict(batch())
    assert Y.dtype == "float32"
    other = TensorFlowWrapper(dense(dtype="bfloat16", seed=7)).from_bytes(model.to_bytes())
    assert [w.tobytes() for w in weights(other)] == [w.tobytes() for w in weights(model)]
    Y, backprop = model.begin_update(batch())
    assert backprop(Y).dtype == "float32"
    model.finish_update(SGD(0.5))
    assert weights(model)[0].dtype.name == "bfloat16"
    assert weights(model)[0].tobytes() != weights(other)[0].tobytes()


# ---- models that are made when they are needed ---------------------------------


def test_a_missing_model_is_made_by_its_registered_class():
    source = TensorFlowShim(Decorated(3, activation="relu"))
    made = TensorFlowShim(None).from_bytes(source.to_bytes())
    assert type(made._model) is Decorated and made._model.eg_args.kwargs == {"activation": "relu"}
    X = ArgsKwargs((tf.constant(batch()),), {})
    assert_array_equal(made.predict(X).numpy(), source.predict(X).numpy())


def test_a_missing_model_that_cannot_be_made():
    with pytest.raises(DeserializationError, match="names no function that makes one"):
        TensorFlowShim(None).from_bytes(TensorFlowShim(dense()).to_bytes())
    for args, message in (
        (["nobody.v1", [], {}], "no model 'nobody.v1' in keras_model_fns"),
        (["thinc_tests.v1", [], {}], "the model 'thinc_tests.v1' cannot be made"),
        (["thinc_tests.v1", 1, {}], "malformed"),
    ):
        data = pack_value({"config": {"shim": {}, "factory": args}, "weights": []})
        shim = TensorFlowShim(None)
        with pytest.raises(DeserializationError, match=message):
            shim.from_bytes(data)
        assert shim._model is None


def test_models_without_weights_say_what_to_do():
    model = TensorFlowWrapper(Described(3))
    with pytest.raises(ValueError, match=r"has no weights yet: give it an Input layer"):
        model.to_bytes()
    saved = TensorFlowWrapper(Described(3)).initialize(batch()).to_bytes()
    with pytest.raises(DeserializationError, match=r"call initialize\(X\)"):
        model.from_bytes(saved)
    model.initialize(batch()).from_bytes(saved)


def test_keras_subclass_describes_the_class():
    model = Decorated(3)
    assert model.catalogue_name == "thinc_tests.v1" and model.eg_shape == (None, 4)
    assert model.eg_x.shape == (2, 4) and model.eg_y.shape == (2, 3)
    assert model.eg_compile == {"optimizer": "adam", "loss": "mse"}
    assert model.eg_args == ArgsKwargs((3,), {})
    assert keras_model_fns.get("thinc_tests.v1") is Decorated
    with pytest.raises(ValueError, match="the constructor arguments must be serializable"):
        Decorated(object())


def test_compile_args_change_the_defaults():
    @keras_subclass(
        "thinc_tests.v2", batch(), batch(), (None, 4), {"optimizer": "sgd", "jit_compile": False}
    )
    class Other(Described):
        pass

    model = maybe_handshake_model(Other(3))
    assert model.eg_compile == {"optimizer": "sgd", "loss": "mse", "jit_compile": False}
    assert model.built and len(model.weights) == 2 and model.optimizer.name.lower() == "sgd"


def test_handshake():
    network = dense()
    assert maybe_handshake_model(network) is network
    with pytest.raises(ValueError, match="not whole-model serializable.*Decorate Undescribed with"):
        TensorFlowWrapper(Undescribed(keras.layers.Dense(2)))


@pytest.mark.parametrize("wrong", [None, 3, tf.constant([1.0]), Linear(2)])
def test_only_keras_models_can_be_wrapped(wrong):
    with pytest.raises(ValueError, match="Expected tf.keras.models.Model, got: <class"):
        TensorFlowWrapper(wrong)


def test_another_backend_of_keras_is_refused(monkeypatch):
    monkeypatch.setattr(compat.load_tensorflow().keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="on the backend 'tensorflow', not 'jax'"):
        TensorFlowWrapper(dense())


def test_class_and_name_of_the_layer():
    class Own(Model):
        pass

    model = TensorFlowWrapper(dense(), model_class=Own, model_name="mine", optimizer="kept")
    assert type(model) is Own and model.name == "mine" and model.shims[0]._optimizer == "kept"
    assert TensorFlowWrapper(dense()).name == "tensorflow"
    assert model.dim_names == ()


def test_sequences_through_with_array():
    model = with_array(TensorFlowWrapper(dense()))
    Xs = [batch(3), batch(5)]
    Ys, backprop = model.begin_update(Xs)
    assert [Y.shape for Y in Ys] == [(3, 3), (5, 3)]
    assert [dX.shape for dX in backprop(Ys)] == [(3, 4), (5, 4)]


# ---- conversions ---------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "int64", "bool"])
def test_arrays_of_every_layout(dtype):
    base = numpy.arange(12).reshape(3, 4).astype(dtype)
    readonly = base.copy()
    readonly.flags.writeable = False
    layouts = [base, base[::-1], base[:, ::2], base.T, readonly, base[0, 0:0], base[1:, 1:]]
    for offset in (1, 4, 8, 12, 32):  # TensorFlow wants 64 bytes
        memory = numpy.zeros(200, dtype="u1")[offset:]
        layouts.append(memory[: 4 * base.itemsize].view(dtype))
    for X in layouts:
        tensor = xp2tensorflow(X)
        assert util.is_tensorflow_array(tensor) and not util.is_tensorflow_gpu_array(tensor)
        back = tensorflow2xp(tensor)
        assert_array_equal(back, X)
        assert back.dtype == X.dtype and back.flags.writeable
        if back.size:
            before = X.copy()
            back[...] = 1
            assert_array_equal(X, before)
            assert_array_equal(tensor.numpy(), before)


def test_variables():
    variable = xp2tensorflow(batch(), requires_grad=True, as_variable=True)
    assert isinstance(variable, tf.Variable) and variable.trainable
    assert not xp2tensorflow(batch(), as_variable=True).trainable
    assert not util.is_tensorflow_array(variable)
    assert_array_equal(tensorflow2xp(variable), batch())


def test_gradients_stop_unless_asked_for():
    for requires_grad in (False, True):
        with tf.GradientTape() as tape:
            X = tf.constant([1.0])
            tape.watch(X)
            Y = xp2tensorflow(X, requires_grad=requires_grad) * 2
        assert (tape.gradient(Y, X) is not None) == requires_grad


def test_enabling_after_the_fact_works():
    with pytest.warns(DeprecationWarning, match="will be removed in Thinc v9"):
        assert compat.enable_tensorflow() is None
    assert compat.has_tensorflow and compat.tensorflow is tf
