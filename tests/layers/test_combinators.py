"""chain, clone, concatenate, add, residual, tuplify, siamese, bidirectional, and others."""
import numpy
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from thinc.api import (
    CauchySimilarity,
    Embed,
    Linear,
    Model,
    NumpyOps,
    Padded,
    Ragged,
    Relu,
    Softmax,
    SparseLinear,
    SparseLinear_v2,
    add,
    bidirectional,
    chain,
    clone,
    concatenate,
    map_list,
    noop,
    residual,
    resizable,
    siamese,
    tuplify,
    uniqued,
    with_array2d,
)
from thinc.layers.resizable import resize_linear_weighted, resize_model
from thinc.testing import check_gradients

ROWS = numpy.random.default_rng(0).normal(0, 1, (5, 3)).astype("f")
KINDS = {
    "array": ROWS,
    "no rows": ROWS[:0],
    "list": [ROWS[:2], ROWS[2:2], ROWS[2:]],
    "empty list": [],
    "ragged": Ragged(ROWS, numpy.array([2, 0, 3], "int32")),
    "padded": NumpyOps().list2padded([ROWS[:2], ROWS[2:2], ROWS[2:]]),
}
COMBINATIONS = {
    "add": lambda: add(layer(3), layer(3), noop()),
    "concatenate": lambda: concatenate(layer(2), layer(4), noop()),
    "residual": lambda: residual(layer(3)),
    "residual noop": lambda: residual(noop()),
    "chain": lambda: chain(layer(3), layer(3)),
}


def layer(nO):
    return with_array2d(Linear(nO, 3))


def datas(batch):
    if isinstance(batch, (list, tuple)):
        return [data for item in batch for data in datas(item)]
    return [batch.data if isinstance(batch, (Ragged, Padded)) else batch]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", COMBINATIONS)
def test_every_kind_of_batch(name, kind):
    model = COMBINATIONS[name]().initialize()
    X = KINDS[kind]
    before = [data.copy() for data in datas(X)]
    Y, backprop = model.begin_update(X)
    dX = backprop(Y)
    assert type(dX) is type(Y) is type(X)
    for got, want in zip(datas(X), before, strict=True):
        assert_array_equal(got, want)
    for dx, x in zip(datas(dX), before, strict=True):
        assert dx.shape == x.shape
    check_gradients(model, X)


def test_values():
    X = ROWS
    f, g = Linear(3, 3).initialize(), Linear(3, 3).initialize()
    assert_allclose(add(f, g).predict(X), f.predict(X) + g.predict(X))
    joined = numpy.hstack([f.predict(X), g.predict(X)])
    assert_array_equal(concatenate(f, g).predict(X), joined)
    assert_allclose(residual(f).predict(X), X + f.predict(X))
    assert_array_equal(chain(f, g).predict(X), g.predict(f.predict(X)))


def test_construction():
    assert concatenate().name == "noop"
    f, g = Linear(2, 3), Relu(2, 3)
    assert concatenate(f) is f
    assert clone(f, 1) is f
    assert clone(f, 0).name == "noop"
    assert clone(f, 3).name == "linear>>linear>>linear"
    with pytest.raises(ValueError, match="got -1"):
        clone(f, -1)
    with pytest.raises(TypeError):
        chain(f)
    total = add(f, g)
    assert add(total, f) is total
    assert len(total.layers) == 3
    joined = concatenate(f, g)
    assert concatenate(joined, f) is joined
    named = Linear(2, 3)
    named.name = "add"
    assert add(named, f) is not named


def test_shape_mismatch():
    with pytest.raises(ValueError, match=r"\(5, 2\).*\(5, 4\)"):
        add(Linear(2, 3), Linear(4, 3)).initialize().predict(ROWS)
    with pytest.raises(ValueError, match=r"\(5, 3\).*\(5, 1\)"):
        residual(Linear(1, 3)).initialize().predict(ROWS)


def test_initialize_once_without_data():
    drawn = []

    def record(ops, shape):
        drawn.append(shape)
        return ops.alloc_f(shape)

    chain(Linear(2, 3, init_W=record), Linear(4, 2, init_W=record)).initialize()
    assert drawn == [(2, 3), (4, 2)]


def test_widths_flow():
    model = chain(Relu(4, dropout=0.1), Linear()).initialize(X=ROWS, Y=numpy.zeros((5, 2), "f"))
    assert (model.get_dim("nI"), model.get_dim("nO")) == (3, 2)
    # In a chain the sample output is the last layer's: spaCy's text categorizers count
    # on one column a class here, whatever the other layers have.
    first = concatenate(chain(Relu(9), noop()), Linear())
    assert first.layers[0].has_dim("nO") is None
    chain(first, Softmax()).initialize(X=ROWS, Y=numpy.zeros((5, 6), "f"))
    assert [layer.get_dim("nO") for layer in first.layers] == [9, 6]
    assert first.get_dim("nO") == 15


def test_two_unset_widths_are_not_guessed():
    Y = numpy.zeros((5, 6), "f")
    with pytest.raises(ValueError, match=r"layers\[0\].*'nO'.*unset"):
        concatenate(Linear(), Linear()).initialize(X=ROWS, Y=Y)


def test_a_chain_is_as_wide_as_its_last_layer_with_a_width():
    model = chain(Relu(4, 3), Relu(2, 4, dropout=0.1)).initialize()
    assert model.get_dim("nO") == 2


def test_values_of_a_vector_are_no_width():
    first = Model("first", lambda model, X, is_train: (X[:, 0] * 100, None))
    assert chain(Linear(2, 3), first).initialize(X=ROWS).maybe_get_dim("nO") is None
    ids = Model("ids", lambda model, X, is_train: (numpy.array([3, 1]), None))
    assert chain(Linear(2, 3), ids).initialize(X=ROWS).get_dim("nO") == 4


@pytest.mark.parametrize("combine", [add, tuplify])
def test_neither_input_nor_gradient_is_summed_into(combine):
    model = combine(noop(), noop())
    X, before = ROWS.copy(), ROWS.copy()
    Y, backprop = model.begin_update(X)
    dY = (ROWS.copy(), ROWS.copy()) if combine is tuplify else ROWS.copy()
    assert_array_equal(backprop(dY), 2 * ROWS)
    for kept in (X, *(dY if combine is tuplify else (dY,))):
        assert_array_equal(kept, before)


def test_items_of_lists_and_tuples_are_added():
    items = [ROWS[:2], ROWS[2:]]
    for combine in (add, concatenate, tuplify):
        Y, backprop = combine(noop(), noop()).begin_update(items)
        for dx, x in zip(backprop(items if combine is add else Y), items, strict=True):
            assert_array_equal(dx, 2 * x)
    Y, backprop = residual(noop()).begin_update(tuple(items))
    for result in (Y, backprop(Y)):
        assert len(result) == 2
    assert_array_equal(Y[1], 2 * items[1])


def test_tuplify_and_siamese():
    model = tuplify(noop(), Linear(2, 3), Linear(4, 3)).initialize()
    assert model.name == "tuple(noop, linear, linear)"
    check_gradients(model, ROWS)
    pair = (ROWS, ROWS[::-1].copy())
    model = siamese(Linear(4), CauchySimilarity()).initialize(X=pair)
    assert model.name == "siamese(linear, cauchy_similarity)"
    assert (model.get_dim("nI"), model.get_dim("nO")) == (3, 1)
    check_gradients(model, pair)


def test_bidirectional_reverses_within_lengths():
    padded = KINDS["padded"]
    model = bidirectional(running_sum(), running_sum())
    for x, y in zip(KINDS["list"], NumpyOps().padded2list(model.predict(padded)), strict=True):
        assert_allclose(y[:, :3], numpy.cumsum(x, axis=0), rtol=1e-5, atol=1e-6)
        assert_allclose(y[:, 3:], numpy.cumsum(x[::-1], axis=0)[::-1], rtol=1e-5, atol=1e-6)


def running_sum():
    def forward(model, X, is_train):
        Y = Padded(numpy.cumsum(X.data, axis=0), X.size_at_t, X.lengths, X.indices)
        return Y, lambda dY: dY

    return Model("running_sum", forward)


def test_uniqued_and_map_list():
    ids = numpy.array([[3, 0], [1, 0], [3, 0]], "int32")
    embed = Embed(2, 5, column=0).initialize()
    model = uniqued(embed)
    Y, backprop = model.begin_update(ids)
    assert_array_equal(Y, embed.predict(ids))
    assert backprop(Y).dtype == "int32"
    for few in (ids[:0], ids[:1]):
        assert model.predict(few).shape == (len(few), 2)
    with pytest.raises(IndexError):
        uniqued(embed, column=2).predict(ids)
    model = map_list(Linear(2)).initialize(X=[ROWS])
    check_gradients(model, [ROWS, ROWS[:0], ROWS[:1]])
    assert model.predict([]) == []


@pytest.mark.parametrize("layer", [SparseLinear, SparseLinear_v2])
def test_resizable_sparse_layers_keep_what_they_know(layer):
    keys = numpy.array([0, 1, 2**64 - 1], "uint64")
    X = (keys, numpy.ones(3, "f"), numpy.array([2, 1], "int32"))
    model = resizable(
        layer(2, 16), lambda old, nO: resize_linear_weighted(old, nO, fill_defaults={"b": -7.0})
    ).initialize()
    known = model.layers[0]
    for name in known.param_names:
        shape = known.get_param(name).shape
        known.set_param(name, numpy.random.default_rng(0).normal(0, 1, shape).astype("f"))
    before = model.predict(X)
    resize_model(model, 5)
    after = model.predict(X)
    assert_array_equal(after[:, :2], before)
    assert_array_equal(model.layers[0].get_param("b")[2:], [-7.0] * 3)
    if layer is SparseLinear_v2:  # each class has cells of its own
        assert_array_equal(after[:, 2:], numpy.full((2, 3), -7.0))


def test_resizable():
    model = resizable(Linear(2, 3), resize_linear_weighted).initialize()
    before = model.predict(ROWS)
    assert resize_model(model, 4) is model
    assert model.get_dim("nO") == 4
    assert_allclose(model.predict(ROWS), numpy.hstack([before, numpy.zeros((5, 2))]), rtol=1e-5)
    with pytest.raises(ValueError, match="cannot shrink 'linear' from nO=4 to 3"):
        resize_model(model, 3)


@pytest.mark.parametrize("combine", [add, concatenate])
def test_samples_need_no_width_if_no_layer_measures_them(combine):
    """Layers may take whatever they like: spaCy's take documents."""

    def characters(width):
        def forward(model, texts, is_train):
            Y = model.ops.alloc2f(len(texts), width)
            Y[:, 0] = [len(text.text) for text in texts]
            return Y, lambda dY: []

        return Model(f"characters{width}", forward, dims={"nO": width})

    class Text:
        def __init__(self, text):
            self.text = text

    texts = [Text("a"), Text("bcd")]
    model = combine(characters(2), characters(2)).initialize(X=texts)
    assert not model.has_dim("nI")
    expected = [[1, 0, 1, 0], [3, 0, 3, 0]] if combine is concatenate else [[2, 0], [6, 0]]
    assert model.predict(texts).tolist() == expected
