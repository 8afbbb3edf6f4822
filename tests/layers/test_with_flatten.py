import numpy
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from thinc.api import (
    Embed,
    Linear,
    Model,
    chain,
    list2array,
    map_list,
    remap_ids,
    with_flatten,
    with_flatten_v2,
)
from thinc.testing import check_gradients

TABLE = {"a": 1, "b": 2}


def nested(counts, width=3):
    rng = numpy.random.default_rng(0)
    return [[rng.normal(size=width).astype("float32") for _ in range(n)] for n in counts]


def items(counts, width=3):
    rng = numpy.random.default_rng(0)
    return [[rng.normal(size=(2, width)).astype("float32") for _ in range(n)] for n in counts]


def test_version_1_gives_the_rows_of_each_inner_list():
    model = with_flatten(remap_ids(TABLE))
    Y = model.predict([["a", "b"], [], ["c"]])
    assert isinstance(Y, list)
    assert [y.tolist() for y in Y] == [[[1], [2]], [], [[0]]]
    assert Y[1].shape == (0, 1)


@pytest.mark.parametrize("counts", [(2, 1, 4), (2, 0, 1), (1,)])
def test_version_1_gradients(counts):
    rows = Model("rows", forward_rows)
    check_gradients(with_flatten(chain(rows, Linear(2, 3)).initialize()), nested(counts))


def forward_rows(model, X, is_train):
    """A list of rows as one array, and its gradient likewise."""
    return numpy.stack(X), lambda dY: list(dY)


def test_version_1_cuts_an_array_of_gradients_by_items():
    def forward(model, X, is_train):
        return numpy.stack(X), lambda dY: 2 * dY

    Y, backprop = with_flatten(Model("stack", forward)).begin_update(nested((2, 0, 1)))
    dX = backprop(Y)
    assert [dx.shape for dx in dX] == [(2, 3), (0, 3), (1, 3)]
    assert_allclose(dX[2], 2 * Y[2])


def test_version_1_embeds_words():
    model = with_flatten(chain(remap_ids(TABLE), Embed(3, 5, column=0)))
    X = [["a", "b"], ["c"], ["b", "b"]]
    model.initialize(X=X, Y=[numpy.zeros((len(x), 3), dtype="float32") for x in X])
    Y, backprop = model.begin_update(X)
    assert [y.shape for y in Y] == [(2, 3), (1, 3), (2, 3)]
    assert_array_equal(Y[0][1], Y[2][0])
    backprop([numpy.ones_like(y) for y in Y])
    embed = next(node for node in model.walk() if node.name == "embed")
    assert_array_equal(embed.get_grad("E")[:3, 0], [1, 1, 3])


@pytest.mark.parametrize("counts", [(2, 1, 4), (2, 0, 1), (1,), (0, 0)])
def test_version_2_nests_lists(counts):
    model = with_flatten_v2(map_list(Linear(2, 3))).initialize()
    X = items(counts)
    Y = model.predict(X)
    assert [len(y) for y in Y] == list(counts)
    assert all(isinstance(y, list) for y in Y)
    linear = model.layers[0].layers[0]
    for inner, outputs in zip(X, Y, strict=False):
        for x, y in zip(inner, outputs, strict=False):
            assert_allclose(y, linear.predict(x), rtol=1e-6)
    check_gradients(model, X)


@pytest.mark.parametrize("make", [with_flatten, with_flatten_v2])
def test_empty_batch(make):
    Y, backprop = make(chain(list2array(), Linear(2, 3))).begin_update([])
    assert Y == []
    assert backprop([]) == []


def noting(seen):
    def init(model, X=None, Y=None):
        seen.update(X=X, Y=Y)

    return Model("noting", lambda model, X, is_train: (X, lambda dY: dY), init=init)


def test_samples_are_flattened():
    seen = {}
    with_flatten(noting(seen)).initialize(
        X=[[1, 2], [3]], Y=[numpy.zeros((2, 4)), numpy.ones((1, 4))]
    )
    assert seen["X"] == [1, 2, 3]
    assert_array_equal(seen["Y"], [[0] * 4, [0] * 4, [1] * 4])
    with_flatten_v2(noting(seen)).initialize(X=[[1, 2], [3]], Y=[["a", "b"], ["c"]])
    assert seen == {"X": [1, 2, 3], "Y": ["a", "b", "c"]}
    with_flatten_v2(noting(seen)).initialize()
    assert seen == {"X": None, "Y": None}


@pytest.mark.parametrize("make", [with_flatten, with_flatten_v2])
def test_structure(make):
    model = make(Linear(2, 3))
    assert model.name == "with_flatten(linear)"
    # As in thinc 8, whose loader refuses dims that it does not know.
    assert (model.dim_names, model.attrs) == ((), {})
