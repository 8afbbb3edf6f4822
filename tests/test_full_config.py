"""A whole training described in a config: model, optimizer, schedules, loss."""
import numpy
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import thinc.api  # noqa: F401  (registers everything)
from thinc.api import Config, ConfigValidationError, Model, Optimizer, fix_random_seed, registry

TEXT = """
[hyper_params]
width = 16
n_classes = 3
dropout = 0.1
rate = 0.01

[training]
n_epochs = 2
batch_size = 8
seed = 5

[training.optimizer]
@optimizers = "Adam.v1"
L2 = 1e-4
grad_clip = 1.0

[training.optimizer.learn_rate]
@schedules = "warmup_linear.v1"
initial_rate = ${hyper_params.rate}
warmup_steps = 4
total_steps = 100

[training.batch_sizes]
@schedules = "compounding.v1"
start = 1
stop = ${training.batch_size}
compound = 2

[training.loss]
@losses = "CategoricalCrossentropy.v3"
label_smoothing = 0.1

[model]
@layers = "chain.v1"

[model.*.embed]
@layers = "with_array.v1"

[model.*.embed.layer]
@layers = "HashEmbed.v1"
nO = ${hyper_params.width}
nV = 100
seed = 3
column = 0

[model.*.encode]
@layers = "with_array.v1"
pad = 1

[model.*.encode.layer]
@layers = "residual.v1"

[model.*.encode.layer.layer]
@layers = "chain.v1"

[model.*.encode.layer.layer.*.window]
@layers = "expand_window.v1"
window_size = 1

[model.*.encode.layer.layer.*.mix]
@layers = "Maxout.v1"
nO = ${hyper_params.width}
nP = 2
normalize = true
dropout = ${hyper_params.dropout}

[model.*.encode.layer.layer.*.mix.init_W]
@initializers = "glorot_uniform_init.v1"

[model.*.ragged]
@layers = "list2ragged.v1"

[model.*.pool]
@layers = "reduce_mean.v1"

[model.*.output]
@layers = "Softmax.v2"
nO = ${hyper_params.n_classes}
"""


def documents(n=24, seed=0):
    """Random word ids, and for each document the class of its first word."""
    rng = numpy.random.default_rng(seed)
    ids = [rng.integers(0, 9, (rng.integers(1, 6), 1)).astype("uint64") for _ in range(n)]
    return ids, numpy.array([int(doc[0, 0] % 3) for doc in ids])


def train(config):
    """Losses of the training that the config describes, and the model."""
    resolved = registry.resolve(config)
    settings = resolved["training"]
    fix_random_seed(settings["seed"])
    model, optimizer, loss = resolved["model"], settings["optimizer"], settings["loss"]
    X, Y = documents()
    model.initialize(X=X)
    losses = []
    for _ in range(settings["n_epochs"]):
        total = 0.0
        for indices in model.ops.minibatch(
            settings["batch_sizes"], numpy.arange(len(X)), shuffle=True
        ):
            guesses, backprop = model.begin_update([X[i] for i in indices])
            gradient, value = loss(guesses, Y[indices])
            backprop(gradient)
            model.finish_update(optimizer)
            optimizer.step_schedules()
            total += float(value)
        losses.append(total)
    return losses, model


def test_everything_resolves_to_what_it_says():
    resolved = registry.resolve(Config().from_str(TEXT))
    model, training = resolved["model"], resolved["training"]
    assert isinstance(model, Model)
    names = [layer.name for layer in model.layers]
    assert names[:2] == [
        "with_array(ints-getitem>>hashembed)",
        "with_array(residual(expand_window>>maxout>>layernorm>>dropout))",
    ]
    assert names[2:] == ["list2ragged", "reduce_mean", "softmax"]
    assert model.get_dim("nO") == 3
    assert model.layers[1].attrs == {"pad": 1}
    assert isinstance(training["optimizer"], Optimizer)
    assert training["optimizer"].learn_rate == pytest.approx(0.0)
    assert training["optimizer"].L2 == 1e-4
    sizes = training["batch_sizes"]
    assert [next(sizes) for _ in range(5)] == [1, 2, 4, 8, 8]


def test_it_trains():
    config = Config().from_str(TEXT, overrides={"training.n_epochs": 30})
    losses, model = train(config)
    assert losses[-1] < losses[0]
    X, Y = documents()
    assert (model.predict(X).argmax(axis=1) == Y).mean() > 0.9


def test_filled_with_defaults():
    config = Config().from_str(TEXT)
    filled = registry.fill(config)
    assert filled["training"]["optimizer"]["beta1"] == 0.9
    assert filled["training"]["optimizer"]["use_averages"] is True
    assert filled["model"]["*"]["output"]["temperature"] == 1.0
    assert filled["model"]["*"]["embed"]["pad"] == 0
    assert filled["model"]["*"]["embed"]["layer"]["initializer"] is None
    assert "beta1" not in config["training"]["optimizer"]
    # Filling again changes nothing.
    assert registry.fill(filled) == filled


def test_variables_stay_variables():
    filled = registry.fill(Config().from_str(TEXT, interpolate=False))
    assert not filled.is_interpolated
    assert filled["model"]["*"]["output"]["nO"] == "${hyper_params.n_classes}"
    filled["hyper_params"]["n_classes"] = 7
    assert registry.resolve(filled)["model"].get_dim("nO") == 7


@pytest.mark.parametrize("interpolate", [True, False])
def test_round_trips_through_text(tmp_path, interpolate):
    config = registry.fill(Config().from_str(TEXT, interpolate=interpolate))
    again = Config().from_str(config.to_str(), interpolate=interpolate)
    assert again == config
    assert Config().from_bytes(config.to_bytes(), interpolate=interpolate) == config
    config.to_disk(tmp_path / "config.cfg")
    from_disk = Config().from_disk(tmp_path / "config.cfg", interpolate=interpolate)
    assert from_disk == config
    losses, model = train(config)
    losses_again, model_again = train(again)
    assert_allclose(losses, losses_again)
    X, _ = documents(seed=1)
    assert_array_equal(model.predict(X), model_again.predict(X))


def test_overrides():
    config = Config().from_str(
        TEXT, overrides={"hyper_params.width": 4, "training.optimizer.L2": 0.5}
    )
    resolved = registry.resolve(config)
    assert resolved["training"]["optimizer"].L2 == 0.5
    model = resolved["model"].initialize(X=documents()[0])
    maxout = next(node for node in model.walk() if node.name == "maxout")
    assert (maxout.get_dim("nO"), maxout.get_dim("nI")) == (4, 12)


@pytest.mark.parametrize(
    "old,new,place,message",
    [
        ("n_classes = 3", 'n_classes = "three"', "nO", "three"),
        ("nV = 100", "", "nV", "missing|required"),
        ("window_size = 1", "window_width = 1", "window_width", "unexpected|not permitted"),
        ('initial_rate = ${hyper_params.rate}', "initial_rate = [1]", "initial_rate", ""),
    ],
)
def test_mistakes_are_placed(old, new, place, message):
    with pytest.raises(ConfigValidationError, match=f"{place}.*({message})"):
        registry.resolve(Config().from_str(TEXT.replace(old, new)))


@pytest.mark.parametrize(
    "old,new",
    [('"Softmax.v2"', '"Softmaxx.v2"'), ('"Adam.v1"', '"Adamm.v1"')],
)
def test_unknown_functions_are_named(old, new):
    with pytest.raises(ValueError, match=new.strip('"')):
        registry.resolve(Config().from_str(TEXT.replace(old, new)))


# One block for every registered layer of this package that takes no other framework.
CHILD = {"@layers": "Linear.v1", "nO": 3, "nI": 3}
ARGUMENTS = {
    "Embed.v1": {"nO": 3, "nV": 5},
    "HashEmbed.v1": {"nO": 3, "nV": 5},
    "MultiSoftmax.v1": {"nOs": [2, 3]},
    "LSTM.v1": {"nO": 4, "nI": 4, "bi": True},
    "premap_ids.v1": None,  # its table has ints as keys, and a config has only strings
    "remap_ids.v2": {"mapping_table": {"a": 1}},
    "JaxWrapper.v1": None,  # takes a function
    "resizable.v1": None,  # likewise
    "siamese.v1": {"layer": CHILD, "similarity": {"@layers": "CauchySimilarity.v1"}},
    "bidirectional.v1": {"l2r": {"@layers": "LSTM.v1", "nO": 4, "nI": 4}},
    "clone.v1": {"orig": CHILD, "n": 2},
    "with_getitem.v1": {"idx": 0, "layer": CHILD},
    "with_cpu.v1": {"layer": CHILD, "ops": {"@ops": "NumpyOps"}},
    **{
        name: {"*": {"one": CHILD, "two": CHILD}}
        for name in ("add.v1", "chain.v1", "concatenate.v1", "noop.v1", "tuplify.v1")
    },
    **{
        name: {"layer": CHILD}
        for name in (
            "residual.v1",
            "uniqued.v1",
            "with_array.v1",
            "with_array2d.v1",
            "with_flatten.v1",
            "with_flatten.v2",
            "with_list.v1",
            "with_padded.v1",
            "with_ragged.v1",
            "with_reshape.v1",
        )
    },
}
LAYERS = sorted(
    name
    for name, layer in registry.layers.get_all().items()
    if layer.__module__.startswith("thinc.")
    and not name.startswith(("PyTorch", "TensorFlow", "MXNet", "TorchScript"))
    and ARGUMENTS.get(name, {}) is not None
)


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_can_be_described_in_a_config(name):
    config = Config({"model": {"@layers": name, **ARGUMENTS.get(name, {})}})
    filled = registry.fill(config)
    again = Config().from_str(filled.to_str())
    model = registry.resolve(config)["model"]
    model_again = registry.resolve(again)["model"]
    assert isinstance(model, Model)
    described = [
        [(node.name, node.dim_names, node.param_names, list(node.attrs)) for node in m.walk()]
        for m in (model, model_again)
    ]
    assert described[0] == described[1]
