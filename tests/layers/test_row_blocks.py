"""Predictions of many rows are made in blocks, and are what they would be at once."""

import numpy
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from thinc import api
from thinc.api import Model, Ragged, chain, clone, expand_window, residual, with_array
from thinc.layers import row_blocks
from thinc.layers.array_getitem import array_getitem
from thinc.layers.chain import _run_all
from thinc.layers.multisoftmax import MultiSoftmax
from thinc.layers.row_blocks import BLOCK_ROWS, MOST_ROWS, row_reach, rowwise

WIDTH = 6
MANY = MOST_ROWS + 1234
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def floats(rows=MANY, seed=0):
    return numpy.random.default_rng(seed).normal(size=(rows, WIDTH)).astype("float32")


def ids(rows=MANY):
    return numpy.random.default_rng(0).integers(0, 50, (rows, 3)).astype("uint64")


DENSE = ["ClippedLinear", "Dish", "Gelu", "HardSigmoid", "HardSwish", "HardSwishMobilenet"]
DENSE += ["HardTanh", "Linear", "Maxout", "Mish", "Relu", "ReluK", "Sigmoid", "Softmax"]
DENSE += ["Softmax_v2", "Swish"]
# Every layer that says which rows it depends on, with the distance it says.
LAYERS = {
    **{name: (lambda name=name: getattr(api, name)(WIDTH), 0) for name in DENSE},
    "LayerNorm": (lambda: api.LayerNorm(), 0),
    "Dropout": (lambda: api.Dropout(0.5), 0),
    "noop": (lambda: api.noop(), 0),
    "softmax_activation": (lambda: api.softmax_activation(), 0),
    "sigmoid_activation": (lambda: api.sigmoid_activation(), 0),
    "MultiSoftmax": (lambda: MultiSoftmax((2, 4)), 0),
    "array_getitem": (lambda: array_getitem((slice(0, None), slice(0, 2))), 0),
    "expand_window": (lambda: expand_window(3), 3),
    "chain": (lambda: chain(expand_window(2), api.Relu(WIDTH), expand_window(1)), 3),
    "residual": (lambda: residual(chain(expand_window(2), api.Relu(WIDTH))), 2),
    "concatenate": (lambda: api.concatenate(expand_window(1), expand_window(2)), 2),
    "add": (lambda: api.add(api.Linear(WIDTH), residual(api.Relu(WIDTH))), 0),
    "resizable": (lambda: api.resizable(api.Linear(WIDTH), None), 0),
    "clone": (lambda: clone(residual(chain(expand_window(1), api.Maxout(WIDTH))), 4), 4),
    "HashEmbed": (lambda: api.HashEmbed(WIDTH, 20, column=1), 0),
    "Embed": (lambda: api.Embed(WIDTH, 50, column=1), 0),
}


def make(name):
    build, reach = LAYERS[name]
    X = ids() if "Embed" in name else floats()
    model = build().initialize(X=X[:9])
    for node in model.walk():
        for param in node.param_names:  # some are zero
            shape = node.get_param(param).shape
            node.set_param(param, numpy.random.default_rng(1).normal(size=shape).astype("float32"))
    return model, X, reach


def at_once(model, X):
    """The prediction of all rows together."""
    return _run_all(model, X, False)[0]


def test_every_layer_that_makes_a_claim_is_tested():
    claimed = {forward.__module__ for forward in row_blocks._REACH if "thinc" in forward.__module__}
    tested = {node._func.__module__ for name in LAYERS for node in make(name)[0].walk()}
    assert claimed == tested


@pytest.mark.parametrize("name", LAYERS)
def test_a_row_depends_on_the_rows_it_says(name):
    model, X, reach = make(name)
    assert row_reach(model) == reach
    X, changed = X[:64].copy(), 30
    before = model.predict(X).copy()
    X[changed] = X[changed + 1] + 7
    after = model.predict(X)
    near = numpy.abs(numpy.arange(64) - changed) <= reach
    assert_array_equal(after[~near], before[~near])
    # As far as it says, unless a nonlinearity swallows it: the claim is not wider than needed.
    differs = (after[near] != before[near]).reshape((2 * reach + 1, -1)).any(axis=1)
    assert differs[reach] and (not reach or differs.sum() > 1)


@pytest.mark.parametrize("name", LAYERS)
def test_blocks_give_what_all_rows_give(name):
    model, X, _ = make(name)
    model = chain(model, residual(api.noop()))
    joined = model.predict(X)
    expected = at_once(model, X)
    assert joined.dtype == expected.dtype
    assert_allclose(joined, expected, **CLOSE)


class Spy:
    """A rowwise layer that keeps how many rows it got at a time."""

    def __init__(self, known=True):
        self.rows = []

        def forward(model, X, is_train):
            self.rows.append(len(X))
            return X, lambda dY: dY

        self.layer = Model("spy", rowwise(forward) if known else forward)
        self.forward = forward

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.forward in row_blocks._REACH:
            del row_blocks._REACH[self.forward]


@pytest.mark.parametrize(
    "rows", [MOST_ROWS, MOST_ROWS + 1, 3 * BLOCK_ROWS, 3 * BLOCK_ROWS + 1, 20_000]
)
def test_how_many_rows_a_layer_gets(rows):
    with Spy() as spy:
        model = chain(expand_window(2), spy.layer)
        X = floats(rows)
        assert_array_equal(model.predict(X), expand_window(2).predict(X))
        if rows <= MOST_ROWS:
            assert spy.rows == [rows]
        else:
            assert len(spy.rows) == -(-rows // BLOCK_ROWS)
            assert max(spy.rows) <= BLOCK_ROWS + 4
            assert sum(spy.rows) == rows + 4 * (len(spy.rows) - 1)


def test_layers_that_say_nothing_get_all_rows():
    with Spy(known=False) as spy:
        model = chain(api.Relu(WIDTH), spy.layer, api.Relu(WIDTH)).initialize(X=floats(3))
        model.predict(floats())
        assert spy.rows[1:] == [MANY]


def test_training_sees_all_rows():
    with Spy() as spy:
        model = chain(api.Relu(WIDTH), spy.layer).initialize(X=floats(3))
        model.begin_update(floats())
        assert spy.rows[1:] == [MANY]


def test_the_backward_pass_of_a_prediction():
    model = chain(residual(chain(expand_window(1), api.Maxout(WIDTH))), api.Linear(2))
    X = floats()
    model.initialize(X=X[:5])
    Y, backprop = model(X, False)
    Y2, backprop2 = model(X, True)
    assert_allclose(Y, Y2, **CLOSE)
    dY = floats()[:, :2]
    dX = backprop(dY)
    places = [(node, name) for node in model.walk() for name in node.grad_names]
    grads = [node.get_grad(name) for node, name in places]
    assert len(grads) == 4
    for node, name in places:
        node.set_grad(name, None)
    assert_allclose(dX, backprop2(dY), **CLOSE)
    for (node, name), grad in zip(places, grads, strict=True):
        assert_allclose(grad, node.get_grad(name), rtol=1e-3, atol=1e-3)


# ---- sequences ------------------------------------------------------------------------


def texts(count=150, longest=60):
    lengths = numpy.random.default_rng(1).integers(0, longest, count)
    assert lengths.sum() > MOST_ROWS
    return [ids(int(n)) for n in lengths], lengths.astype("int32")


def encoder():
    embed = api.concatenate(*(api.HashEmbed(WIDTH, 30, column=i, seed=i) for i in range(3)))
    block = residual(chain(expand_window(1), api.Maxout(WIDTH, nP=3, normalize=True)))
    return embed, api.Maxout(WIDTH, nP=2), clone(block, 2), api.Softmax(4)


def test_lists():
    embed, mix, blocks, scores = encoder()
    model = chain(with_array(chain(embed, mix)), with_array(blocks, pad=2), with_array(scores))
    Xs, lengths = texts()
    model.initialize(X=Xs[:4])
    found = model.predict(Xs)
    assert [len(Y) for Y in found] == lengths.tolist()
    for X, Y in zip(Xs, found, strict=True):
        assert_allclose(Y, model.predict([X])[0], **CLOSE)


def test_a_ragged_passes_several_layers_at_a_time():
    embed, mix, blocks, scores = encoder()
    with Spy() as spy:
        model = chain(
            api.list2ragged(),
            with_array(embed),
            with_array(spy.layer),
            with_array(chain(mix, blocks)),
            with_array(scores),
            api.ragged2list(),
        )
        Xs, lengths = texts()
        model.initialize(X=Xs[:4])
        del spy.rows[:]
        found = model.predict(Xs)
        assert len(spy.rows) > 1 and max(spy.rows) <= BLOCK_ROWS + 4
    for Y, expected in zip(found, at_once(model, Xs), strict=True):
        assert_allclose(Y, expected, **CLOSE)


def test_one_layer_between_others_is_run_at_once():
    with Spy() as spy:
        model = chain(api.list2ragged(), with_array(spy.layer), api.ragged2list())
        Xs, lengths = texts()
        model.predict(Xs)
        assert spy.rows == [lengths.sum()]


def test_a_ragged_of_another_rank_keeps_its_shape():
    data = numpy.random.default_rng(0).normal(size=(MANY, 2, 3)).astype("float32")
    lengths = numpy.array([MANY - 5, 0, 5], dtype="int32")
    model = chain(with_array(api.Dropout(0.1)), with_array(api.LayerNorm(3))).initialize(
        X=Ragged(data[:2], lengths[:0])
    )
    Y = model.predict(Ragged(data, lengths))
    assert Y.dataXd.shape == data.shape
    assert Y.lengths is lengths
    assert_allclose(Y.dataXd, model.layers[1].layers[0].predict(data), **CLOSE)


# ---- what cannot be done in blocks ----------------------------------------------------


def message(run, *args):
    with pytest.raises((ValueError, TypeError, IndexError)) as error:
        run(*args)
    return type(error.value), str(error.value)


def test_errors_speak_of_all_rows():
    model = chain(api.Relu(4, WIDTH), api.Linear(2, WIDTH))
    for layer in model.layers:
        layer.initialize()
    kind, text = message(model.predict, floats())
    assert kind is ValueError
    assert text == (
        'linear (layers[1] of "relu>>linear"): input width 4 does not match nI=6: '
        f"got float32 array of shape ({MANY}, 4)"
    )
    table = chain(api.Embed(WIDTH, 50, column=0), api.Relu(WIDTH)).initialize(X=ids(3))
    X = ids()
    X[MANY - 1, 0] = 50
    kind, text = message(table.predict, X)
    assert kind is IndexError and str(MANY - 1) in text


def test_a_layer_that_breaks_its_promise_about_rows_gets_them_all():
    calls = []

    @rowwise
    def halved(model, X, is_train):
        calls.append(len(X))
        return X[::2], lambda dY: dY

    model = chain(api.noop(), Model("halved", halved))
    assert_array_equal(model.predict(floats()), floats()[::2])
    assert calls == [BLOCK_ROWS if MANY % BLOCK_ROWS == 0 else -(-MANY // 3), MANY]
    del row_blocks._REACH[halved]


@pytest.mark.parametrize("index", [(3, slice(None)), (slice(1, None), 0), slice(None), 4, [1, 2]])
def test_an_index_may_choose_rows(index):
    model = chain(array_getitem(index), api.noop())
    assert row_reach(model) is None
    assert_array_equal(model.predict(floats()), floats()[index])


@pytest.mark.parametrize("X", [floats(0), numpy.float32(3), [], [1] * 40, None, "text" * 2000])
def test_other_inputs(X):
    model = chain(api.noop(), api.noop())
    assert model.predict(X) is X
