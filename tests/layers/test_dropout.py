import numpy
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from thinc.api import Dropout, NumpyOps, Padded, Ragged, fix_random_seed, set_dropout_rate
from thinc.testing import check_gradients


def inputs():
    rng = numpy.random.default_rng(0)
    X = rng.normal(0, 1, (6, 40)).astype("f")
    return {
        "array": X,
        "array3d": X.reshape(6, 4, 10),
        "list": [X[:2], X[2:2], X[2:]],
        "ragged": Ragged(X, numpy.array([2, 0, 4], "int32")),
        "ragged3d": Ragged(X.reshape(6, 4, 10), numpy.array([2, 4], "int32")),
        "padded": NumpyOps().list2padded([X[:2], X[2:]]),
        "no rows": X[:0],
        "empty list": [],
        "empty ragged": Ragged(X[:0], numpy.zeros(0, "int32")),
    }


def data_of(batch):
    if isinstance(batch, list):
        return numpy.concatenate([numpy.zeros((0, 40), "f"), *batch])
    if isinstance(batch, Ragged):
        return batch.dataXd
    return batch.data if isinstance(batch, Padded) else batch


@pytest.mark.parametrize("kind", inputs())
def test_training_drops_and_scales(kind):
    X = inputs()[kind]
    before = data_of(X).copy()
    Y, backprop = Dropout(0.25)(X, is_train=True)
    assert type(Y) is type(X)
    x, y = data_of(X), data_of(Y)
    assert y.shape == x.shape
    assert y.dtype == x.dtype
    kept = y != 0
    assert_allclose(y, x * kept / 0.75, rtol=1e-6)
    if x.size:
        assert 0.6 < kept.sum() / (x != 0).sum() < 0.9
    assert_array_equal(data_of(backprop(X)), y)
    assert_array_equal(data_of(X), before)


@pytest.mark.parametrize("kind", inputs())
def test_otherwise_the_same_object(kind):
    X = inputs()[kind]
    model = Dropout(0.5)
    assert model.predict(X) is X
    Y, backprop = model(X, is_train=False)
    assert backprop(Y) is Y
    model.attrs["is_enabled"] = False
    assert model.begin_update(X)[0] is X
    model.attrs["is_enabled"] = True
    set_dropout_rate(model, 0.0)
    assert model.begin_update(X)[0] is X


def test_a_tuple_gives_a_list():
    X = inputs()["list"]
    Y, backprop = Dropout(0.5).begin_update(tuple(X))
    assert [y.shape for y in Y] == [x.shape for x in X]
    assert [y.shape for y in backprop(Y)] == [x.shape for x in X]


@pytest.mark.parametrize("rate, factor", [(1.0, 0), (2.0, 0), (-0.5, 1), (None, 1)])
def test_rates_outside_the_range(rate, factor):
    X = inputs()["array"]
    assert_array_equal(Dropout(rate).begin_update(X)[0], factor * X)


def test_the_seed_decides():
    X = inputs()["array"]
    results = []
    for seed in (1, 1, 2):
        fix_random_seed(seed)
        results.append(Dropout(0.5).begin_update(X)[0])
    assert_array_equal(results[0], results[1])
    assert (results[0] != results[2]).any()


def test_attrs():
    assert Dropout(0.3).attrs == {"dropout_rate": 0.3, "is_enabled": True}


@pytest.mark.parametrize("bad", ["text", None, 3.0])
def test_other_input(bad):
    with pytest.raises(TypeError, match="expected an array, a list, Ragged or Padded, got"):
        Dropout(0.5).begin_update(bad)


@pytest.mark.parametrize("kind", inputs())
def test_gradients_match_central_differences(kind):
    check_gradients(Dropout(0.4).initialize(), inputs()[kind], max_entries=20)
