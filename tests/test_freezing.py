"""Frozen models predict what they did before, and keep their parameters."""

import copy
import pickle
import threading

import numpy
import pytest
from gpu_cases import CASES, arrays_in, gradient_of, ids, seqs, tagger
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from thinc import api, freezing
from thinc.api import Adam, Linear, Maxout, Model, Ops, Relu, Softmax, chain, fix_random_seed

CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def made(name, dtype="float32"):
    """A case's model, with parameters that are not zero, and its input."""
    fix_random_seed(0)
    X = CASES[name].X()
    model = CASES[name].make().initialize(X=X)
    for node in model.walk():
        for param in node.param_names:
            array = node.get_param(param).astype(dtype)
            noise = numpy.random.uniform(-0.5, 0.5, array.shape).astype(dtype)
            node.set_param(param, array + noise)
    return model, X


def assert_same(found, expected, **close):
    assert type(found) is type(expected)
    found, expected = arrays_in(found), arrays_in(expected)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        assert_allclose(a, b, **close or CLOSE)


def network():
    model = chain(Maxout(5), Relu(4), Softmax(3)).initialize(X=floats(), Y=floats(width=3))
    model.layers[2].set_param("W", floats(3, 4, seed=3))
    return model


def floats(rows=7, width=6, seed=0):
    return numpy.random.default_rng(seed).normal(size=(rows, width)).astype("float32")


def state(model):
    return [node.get_param(p).copy() for node in model.walk() for p in node.param_names]


# ---- predictions -------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_every_layer_predicts_the_same(name):
    model, X = made(name)
    expected = model.predict(X)
    assert model.freeze() is model
    for _ in range(2):  # the first may have prepared something
        assert_same(model.predict(X), expected)
    assert_same(model(X, False)[0], expected)
    assert_same(model(X, is_train=True)[0], model.copy()(X, is_train=True)[0])
    model.unfreeze()
    assert_same(model.predict(X), expected)


@pytest.mark.parametrize("name", ["Linear", "Relu", "Maxout", "tagger", "residual", "Gelu"])
def test_predictions_have_a_backward_pass(name):
    model, X = made(name)
    Y, backprop = model(X, False)
    expected = backprop(gradient_of(Y))
    model.freeze()
    Y, backprop = model(X, False)
    assert_same(backprop(gradient_of(Y)), expected)


@pytest.mark.parametrize("name", ["tagger", "Maxout", "SparseLinear_v2"])
def test_without_compiled_kernels(name):
    model, X = made(name)
    for node in model.walk():
        node.ops = Ops()
        node.ops.xp = numpy
    expected = model.predict(X)
    assert_same(model.freeze().predict(X), expected)


@pytest.mark.parametrize("name", ["Linear", "Mish", "Softmax", "Maxout", "MultiSoftmax"])
def test_float64(name):
    model, X = made(name, "float64")
    X = X.astype("float64")
    expected = model.predict(X)
    assert_same(model.freeze().predict(X), expected, rtol=1e-12)


@given(lengths=st.lists(st.integers(0, 40), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_documents_of_all_lengths(lengths, seed):
    model, _ = made("tagger")
    rng = numpy.random.default_rng(seed)
    docs = [rng.integers(0, 2**63, (n, 3)).astype("uint64") for n in lengths]
    expected = model.predict(docs)
    assert_same(model.freeze().predict(docs), expected)


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 4, 9, 64, 5000])
def test_batches_of_all_sizes(rows):
    model = network()
    expected = model.predict(floats(rows))
    assert_same(model.freeze().predict(floats(rows)), expected)
    assert_same(model.predict(numpy.asfortranarray(floats(rows))), expected)


def test_threads_share_a_frozen_model():
    model, X = made("tagger")
    expected = model.predict(X)
    model.freeze()
    found = []
    threads = [
        threading.Thread(target=lambda: found.extend(model.predict(X) for _ in range(20)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 80
    for Y in found:
        assert_same(Y, expected)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("bad", ["None", "text", "width", "ints", "no arrays"])
def test_wrong_input_gets_the_same_words(name, bad):
    model, _ = made(name)
    X = {
        "None": None,
        "text": "a text",
        "width": floats(4, 17),
        "ints": numpy.ones((3, 6), dtype="int64"),
        "no arrays": [[1.0, 2.0]],
    }[bad]

    def outcome():
        try:
            return arrays_in(model.predict(X))
        except Exception as error:
            return type(error), str(error)

    expected = outcome()
    model.freeze()
    found = outcome()
    if isinstance(expected, tuple):
        assert found == expected
    else:
        assert_same(found, expected)


# ---- what may still change ----------------------------------------------------


def test_layers_and_attributes_may_change():
    model = chain(api.expand_window(1), Linear(4)).initialize(X=floats())
    model.freeze()
    extra = Relu(2, 4).initialize()
    model.layers.append(extra)
    expected = model.copy().predict(floats())
    assert_same(model.predict(floats()), expected)
    model.layers.pop()
    softmax = Softmax(3, 4).initialize().freeze()
    before = softmax.predict(floats(width=4))
    softmax.attrs["softmax_normalize"] = False
    assert softmax.predict(floats(width=4)).sum() != pytest.approx(before.sum())


def embeddings():
    model = api.concatenate(*[api.HashEmbed(4, 30, seed=s, column=s) for s in range(3)])
    return model.initialize(X=ids()).freeze()


@pytest.mark.parametrize("change", ["seed", "column", "replaced", "removed", "added", "unfrozen"])
def test_hash_embeddings_side_by_side_may_change(change):
    model = embeddings()
    before = model.predict(ids())
    selected = model.layers[1]
    if change == "seed":
        selected.layers[1].attrs["seed"] = 77
    elif change == "column":
        selected.layers[0].attrs["index"] = (slice(0, None), 0)
    elif change == "replaced":
        selected.layers[1] = api.HashEmbed(4, 30, seed=9).initialize()
    elif change == "removed":
        model.layers.pop()
    elif change == "added":
        model.layers.append(api.HashEmbed(4, 30, seed=5, column=1).initialize())
    else:
        selected.unfreeze()
        selected.layers[1].set_param("E", floats(30, 4))
    after = model.predict(ids())
    assert after.shape != before.shape or not numpy.array_equal(after, before)
    assert_same(after, model.copy().predict(ids()))


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint32", "uint64"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_hash_embeddings_take_all_kinds_of_ids(dtype, order):
    model = embeddings()
    table = numpy.array(ids().astype(dtype), order=order)
    assert_array_equal(model.predict(table), model.copy().predict(table))
    with pytest.raises((IndexError, ValueError), match="layers"):
        model.predict(table[:, :2])


def test_a_new_forward_function_is_used():
    model = Linear(3, 6).initialize().freeze()
    model.replace_callbacks(lambda model, X, is_train: (X * 2, None))
    assert_array_equal(model.predict(floats()), floats() * 2)


# ---- parameters ---------------------------------------------------------------


def test_nobody_can_write_to_them():
    model = network()
    held = model.layers[0].get_param("W")
    view = held[0]
    model.freeze()
    assert model.is_frozen and all(node.is_frozen for node in model.walk())
    expected = model.predict(floats())
    W = model.layers[0].get_param("W")
    for write in (
        lambda: W.__setitem__(0, 1),
        lambda: W.__iadd__(1),
        lambda: W.setflags(write=True),
        lambda: W[0].setflags(write=True),
    ):
        with pytest.raises(ValueError, match="read-only|WRITEABLE"):
            write()
    held[:] = 7  # the arrays of before are the caller's
    view[:] = 8
    assert_array_equal(model.predict(floats()), expected)


def test_what_would_change_them_is_refused():
    model = network()
    data = model.to_bytes()
    other = network()
    other.layers[0].set_param("W", other.layers[0].get_param("W") + 1)
    model.freeze()
    before, expected = state(model), model.predict(floats())
    words = "maxout.*it is frozen. Call unfreeze"
    for change in (
        lambda: model.layers[0].set_param("W", numpy.ones((5, 3, 6), "f")),
        lambda: model.layers[0].set_param("W", None),
        lambda: model.use_params({(model.layers[0].id, "b"): numpy.ones((5, 3), "f")}).__enter__(),
    ):
        with pytest.raises(ValueError, match=words):
            change()
    for load in (
        lambda: model.from_bytes(other.to_bytes()),
        lambda: model.from_dict(other.to_dict()),
    ):
        with pytest.raises(ValueError, match="Cannot load model.*it is frozen. Call unfreeze"):
            load()
    for a, b in zip(state(model), before, strict=True):
        assert_array_equal(a, b)
    assert_array_equal(model.predict(floats()), expected)
    assert model.to_bytes() == data
    model.unfreeze().from_bytes(other.to_bytes())
    assert_same(model.predict(floats()), other.predict(floats()))


def test_a_model_without_parameters_yet_is_not_frozen():
    model = chain(Linear(3, 6).initialize(), Relu(4))
    with pytest.raises(ValueError, match="Cannot freeze model 'relu': parameter 'W' has not"):
        model.freeze()
    assert not any(node.is_frozen for node in model.walk())
    model.layers[0].get_param("W")[:] = 1
    model.initialize(X=floats()).freeze()


@pytest.mark.parametrize("fails", ["_protect", "_prepare"])
def test_without_memory_nothing_is_frozen(fails, monkeypatch):
    model = network()
    model.layers[1].freeze()
    before, expected = state(model), model.predict(floats())
    original = getattr(freezing, fails)

    def failing(node):
        if node is model.layers[2]:
            raise MemoryError
        original(node)

    with monkeypatch.context() as patch:
        patch.setattr(freezing, fails, failing)
        with pytest.raises(MemoryError):
            model.freeze()
    assert [node.is_frozen for node in model.layers] == [False, True, False]
    for a, b in zip(state(model), before, strict=True):
        assert_array_equal(a, b)
    assert_array_equal(model.predict(floats()), expected)
    model.layers[2].get_param("W")[0] += 1
    assert_same(model.freeze().predict(floats()), model.copy().predict(floats()))


def test_unfrozen_models_train():
    first, second = network(), None
    second = first.copy()
    first.freeze().freeze().unfreeze().unfreeze()
    for model in (first, second):
        Y, backprop = model.begin_update(floats())
        backprop(Y - 1)
        model.finish_update(Adam(0.01))
    for a, b in zip(state(first), state(second), strict=True):
        assert_array_equal(a, b)
        assert a.flags.writeable


@pytest.mark.parametrize(
    "make_copy",
    [Model.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_copies_are_not_frozen(make_copy):
    model = network().freeze()
    copied = make_copy(model)
    assert model.is_frozen and not any(node.is_frozen for node in copied.walk())
    copied.layers[0].get_param("W")[:] = 0
    copied.layers[0].set_param("b", numpy.ones((5, 3), "f"))
    assert not numpy.array_equal(model.predict(floats()), copied.predict(floats()))


def test_pickles_of_older_releases_are_not_frozen():
    model = network()
    old = {k: v for k, v in model.__getstate__().items() if k not in ("_frozen", "_prediction")}
    loaded = object.__new__(Model)
    loaded.__setstate__((None, old))
    assert not loaded.is_frozen
    assert_array_equal(loaded.predict(floats()), model.predict(floats()))


def test_moving_to_a_device_keeps_it_frozen():
    model = network().freeze()
    expected = model.predict(floats())
    model.to_cpu()
    assert all(node.is_frozen for node in model.walk())
    assert not model.layers[0].get_param("W").flags.writeable
    assert_same(model.predict(floats()), expected)


# ---- training around frozen layers ---------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_frozen_layers_pass_gradients_on_and_stay(name):
    model, X = made(name)
    Y, backprop = model.begin_update(X)
    expected = backprop(gradient_of(Y))
    model, X = made(name)
    model.freeze()
    before = state(model)
    Y, backprop = model.begin_update(X)
    found = backprop(gradient_of(Y))
    if arrays_in(expected):
        assert_same(arrays_in(found), arrays_in(expected))
    assert not any(node.grad_names for node in model.walk())
    model.finish_update(Adam(0.1))
    for a, b in zip(state(model), before, strict=True):
        assert_array_equal(a, b)


def test_the_layers_behind_a_frozen_one_are_trained():
    encoder = tagger().initialize(X=[ids(5)]).freeze()
    model = chain(encoder, api.with_array(Softmax(2))).initialize(X=[ids(5)])
    docs = [ids(9), ids(3)]
    head = model.layers[1]
    before, W = state(encoder), head.layers[0].get_param("W").copy()
    optimizer = Adam(0.01)
    for _ in range(3):
        Y, backprop = model.begin_update(docs)
        backprop([y - numpy.eye(2, dtype="f")[0] for y in Y])
        model.finish_update(optimizer)
    assert not numpy.array_equal(head.layers[0].get_param("W"), W)
    for a, b in zip(state(encoder), before, strict=True):
        assert_array_equal(a, b)


def test_freezing_forgets_gradients():
    model = network()
    Y, backprop = model.begin_update(floats())
    backprop(Y)
    assert model.layers[0].grad_names
    model.freeze()
    model.layers[0].set_grad("W", numpy.ones((5, 3, 6), "f"))  # by hand, and to no effect
    before = state(model)
    model.finish_update(Adam(0.1))
    for a, b in zip(state(model), before, strict=True):
        assert_array_equal(a, b)


def test_initialize_leaves_frozen_layers_as_they_are():
    encoder = Relu(4, 6).initialize().freeze()
    before = state(encoder)
    model = chain(encoder, Softmax()).initialize(X=floats(), Y=floats(width=3))
    assert model.layers[1].get_dim("nO") == 3
    for a, b in zip(state(encoder), before, strict=True):
        assert_array_equal(a, b)
    assert encoder.initialize(X=floats()) is encoder
    assert model.predict(floats()).shape == (7, 3)


def test_a_list_of_documents_is_a_list():
    model, X = made("with_array of a list")
    model.freeze()
    assert_same(model.predict(seqs()), model.copy().predict(seqs()))
    assert model.predict([]) == []
