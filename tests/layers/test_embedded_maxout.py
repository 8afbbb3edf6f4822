"""Frozen hash embeddings and the Maxout above them predict as one layer."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from thinc.api import (
    Dropout,
    HashEmbed,
    LayerNorm,
    Linear,
    Maxout,
    Ops,
    Ragged,
    Relu,
    chain,
    concatenate,
    list2ragged,
    ragged2list,
    with_array,
    with_list,
)
from thinc.layers import embedded_maxout
from thinc.layers.row_blocks import MOST_ROWS

WIDTH, TABLES = 32, (50, 20, 30)
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def embed(tables=TABLES, width=WIDTH):
    return concatenate(*[HashEmbed(width, n, seed=i, column=i) for i, n in enumerate(tables)])


def ids(rows=7, columns=3, seed=0):
    return numpy.random.default_rng(seed).integers(0, 2**63, (rows, columns)).astype("uint64")


def docs(*lengths):
    return [ids(n, seed=n) for n in lengths]


def ragged(*lengths):
    return Ragged(numpy.concatenate(docs(*lengths)), numpy.array(lengths, dtype="int32"))


# What a tok2vec layer begins with, and an input for it.
MODELS = {
    "plain": (lambda: chain(embed(), Maxout(5)), ids()),
    "two pieces": (lambda: chain(embed(), Maxout(5, nP=2)), ids()),
    "one piece": (lambda: chain(embed(), Maxout(5, nP=1)), ids()),
    "one table": (lambda: chain(embed((40,)), Maxout(5)), ids(columns=1)),
    "one column": (lambda: chain(HashEmbed(WIDTH, 40, column=1), Maxout(5)), ids()),
    "normalized": (lambda: chain(embed(), Maxout(5, normalize=True, dropout=0.1)), ids()),
    "wrapped together": (lambda: with_array(chain(embed(), Maxout(5))), docs(3, 0, 4)),
    "wrapped": (
        lambda: chain(with_array(embed()), with_array(Maxout(5, normalize=True))),
        docs(3, 0, 4),
    ),
    "as in spaCy": (
        lambda: chain(
            list2ragged(),
            with_array(embed()),
            with_array(Maxout(5, nP=3, normalize=True, dropout=0.0)),
            ragged2list(),
        ),
        docs(3, 0, 4),
    ),
    "of a Ragged": (
        lambda: chain(with_array(embed()), with_array(chain(Maxout(5), Relu(3)))),
        ragged(2, 5),
    ),
    "in the middle": (
        lambda: chain(list2ragged(), with_array(chain(embed(), Maxout(4), LayerNorm(), Linear(3)))),
        docs(3, 4),
    ),
}


def made(name, dtype="float32"):
    make, X = MODELS[name]
    model = make().initialize(X=X)
    for node in model.walk():
        for i, param in enumerate(node.param_names):
            values = numpy.random.default_rng(i).normal(size=node.get_param(param).shape)
            node.set_param(param, values.astype(dtype))
    return model, X


@pytest.fixture
def fused():
    """How often two layers have been joined, and how often they have predicted as one."""
    counts = {"pairs": 0, "predictions": 0}
    original = embedded_maxout.fuse

    def counting(first, second):
        pair = original(first, second)
        if pair is None:
            return None

        def predict(X):
            counts["predictions"] += 1
            return pair.predict(X)

        counts["pairs"] += 1
        return pair._replace(predict=predict)

    embedded_maxout.FUSIONS[:] = [counting]
    yield counts
    embedded_maxout.FUSIONS[:] = [original]


def same(found, expected):
    if isinstance(expected, Ragged):
        same(found.dataXd, expected.dataXd)
        same(found.lengths, expected.lengths)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            same(a, b)
    else:
        assert found.dtype == expected.dtype and found.shape == expected.shape
        assert_allclose(found, expected, **CLOSE)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MODELS)
def test_as_before(name, dtype, fused):
    model, X = made(name, dtype)
    expected = model.predict(X)
    model.freeze()
    assert fused["pairs"] == 1
    same(model.predict(X), expected)
    assert fused["predictions"] == 1
    same(model(X, False)[0], expected)


@given(rows=st.sampled_from([0, 1, 2, 5, 64, MOST_ROWS + 1]), seed=st.integers(0, 99))
def test_any_number_of_rows(rows, seed):
    model, _ = made("normalized")
    X = ids(rows, seed=seed)
    same(model.freeze().predict(X), model.copy().predict(X))


@pytest.mark.parametrize("kind", ["int64", "fortran", "every second", "more columns"])
def test_any_ids(kind):
    model, X = made("plain")
    model.freeze()
    X = {
        "int64": X.astype("int64"),
        "fortran": numpy.asfortranarray(X),
        "every second": numpy.repeat(X, 2, axis=1)[:, ::2],
        "more columns": ids(columns=6),
    }[kind]
    same(model.predict(X), model.copy().predict(X))


@pytest.mark.parametrize("bad", [numpy.inf, -numpy.inf, numpy.nan])
def test_rows_that_are_not_finite(bad):
    model, X = made("plain")
    for node in model.walk():
        if node.has_param("E"):
            node.get_param("E")[3] = bad
    with numpy.errstate(all="ignore"):
        expected = model.predict(ids(50))
        found = model.freeze().predict(ids(50))
    finite = numpy.isfinite(expected)
    assert finite.any() and not finite.all()
    assert_allclose(found[finite], expected[finite], **CLOSE)
    assert not numpy.isfinite(found[~finite]).any()


NOT_ONE = {
    "another layer first": lambda: chain(embed(), Relu(6), Maxout(5)),
    "something beside the embeddings": lambda: chain(
        concatenate(HashEmbed(WIDTH, 20, column=0), chain(HashEmbed(6, 9, column=1), Relu(6))),
        Maxout(5),
    ),
    "no maxout": lambda: chain(embed(), Linear(5)),
    "narrow tables": lambda: chain(embed(width=8), Maxout(5)),
    "large tables": lambda: chain(embed((500_000, 9, 9)), Maxout(64)),
    "rows of zeros": lambda: with_array(chain(with_array(embed(), pad=1), with_array(Maxout(5)))),
    "wrapped in two ways": lambda: chain(with_array(embed()), Maxout(5)),
}


@pytest.mark.parametrize("name", NOT_ONE)
def test_what_is_not_joined(name, fused):
    model = NOT_ONE[name]().initialize(X=ids())
    expected = model.predict(ids())
    same(model.freeze().predict(ids()), expected)
    assert fused["pairs"] == 0


def test_the_generic_ops_do_not_join(fused):
    model, X = made("plain")
    for node in model.walk():
        node.ops = Ops()
        node.ops.xp = numpy
    expected = model.predict(X)
    same(model.freeze().predict(X), expected)
    assert fused["pairs"] == 0


def change_seed(model):
    model.layers[0].layers[1].layers[1].attrs["seed"] = 99


def change_column(model):
    model.layers[0].layers[1].layers[0].attrs["index"] = (slice(0, None), 0)


def replace_table(model):
    model.layers[0].layers[1].layers[1] = HashEmbed(WIDTH, 20, seed=5).initialize()


def unfreeze_table(model):
    node = model.layers[0].layers[2].layers[1].unfreeze()
    node.set_param("E", node.get_param("E") * 2)


def freeze_table_anew(model):
    unfreeze_table(model)
    model.layers[0].layers[2].layers[1].freeze()


def unfreeze_maxout(model):
    model.layers[1].unfreeze().set_param("b", numpy.ones((5, 3), "f"))


def freeze_maxout_anew(model):
    unfreeze_maxout(model)
    model.layers[1].freeze()


def append_layer(model):
    model.layers.append(Dropout())
    model.layers.append(Linear(2, 5).initialize())


def insert_layer(model):
    model.layers.insert(1, Relu(3 * WIDTH, 3 * WIDTH).initialize())


def replace_forward(model):
    forward = model.layers[1]._func
    model.layers[1].replace_callbacks(
        lambda model, X, is_train: (forward(model, X, is_train)[0] + 1, None)
    )


@pytest.mark.parametrize(
    "change",
    [
        change_seed,
        change_column,
        replace_table,
        unfreeze_table,
        freeze_table_anew,
        unfreeze_maxout,
        freeze_maxout_anew,
        append_layer,
        insert_layer,
        replace_forward,
    ],
)
def test_what_changes_is_noticed(change):
    model, X = made("plain")
    before = model.freeze().predict(X)
    change(model)
    after = model.predict(X)
    assert after.shape != before.shape or not numpy.allclose(after, before, **CLOSE)
    same(after, model.copy().predict(X))


@pytest.mark.parametrize("change", [freeze_maxout_anew, lambda model: model.to_cpu()])
def test_freezing_again_joins_them_again(change, fused):
    model, X = made("plain")
    model.freeze()
    change(model)
    model.freeze()
    fused["predictions"] = 0
    same(model.predict(X), model.copy().predict(X))
    assert fused["predictions"] == 1


@pytest.mark.parametrize(
    "bad", [None, "x", ids()[:, :2], ids()[0], numpy.ones((3, 3), "f"), [[1, 2, 3]]]
)
def test_wrong_input_gets_the_same_words(bad):
    model, _ = made("plain")

    def outcome():
        with pytest.raises((TypeError, ValueError, IndexError)) as error:
            model.predict(bad)
        return str(error.value)

    if isinstance(bad, numpy.ndarray) and bad.dtype == "float32":
        same(model.copy().predict(bad), model.freeze().predict(bad))
        return
    expected = outcome()
    model.freeze()
    assert outcome() == expected


def test_lists_of_one_document_are_predicted_so_too(fused):
    model = chain(
        with_array(chain(embed(), Maxout(4))), with_list(with_array(Relu(3, 4)))
    ).initialize(X=docs(3))
    expected = model.predict(docs(6))
    same(model.freeze().predict(docs(6)), expected)
    assert fused == {"pairs": 1, "predictions": 1}
