"""ParametricAttention, both versions, and CauchySimilarity."""
import numpy
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from thinc.api import (
    CauchySimilarity,
    Gelu,
    Linear,
    ParametricAttention,
    ParametricAttention_v2,
    Ragged,
    chain,
    noop,
)
from thinc.testing import check_gradients


def ragged(*lengths, width=3):
    rng = numpy.random.default_rng(len(lengths))
    X = rng.normal(0, 1, (sum(lengths), width)).astype("f")
    return Ragged(X, numpy.array(lengths, "int32"))


def attention(version, nO=3):
    models = {
        "v1": lambda: ParametricAttention(nO),
        "v2": lambda: ParametricAttention_v2(nO=nO),
        "v2 transform": lambda: ParametricAttention_v2(key_transform=Gelu(nO, nO), nO=nO),
    }
    model = models[version]().initialize(X=ragged(2, width=nO))
    model.set_param("Q", numpy.random.default_rng(4).normal(0, 1, nO).astype("f"))
    return model


versions = pytest.mark.parametrize("version", ["v1", "v2", "v2 transform"])


@versions
@pytest.mark.parametrize("lengths", [(2, 3), (1,), (0, 2, 0, 1), (4, 0)])
def test_rows_are_weighted_by_softmax(version, lengths):
    model = attention(version)
    X = ragged(*lengths)
    Y = model.predict(X)
    K = model.layers[0].predict(X.data) if version != "v1" else X.data
    scores = K @ model.get_param("Q")
    start = 0
    for n in lengths:
        weights = numpy.exp(scores[start : start + n])
        weights /= weights.sum()
        expected = X.data[start : start + n] * weights[:, None]
        assert_allclose(Y.data[start : start + n], expected, rtol=1e-5, atol=1e-6)
        start += n
    assert_array_equal(Y.lengths, X.lengths)


@versions
@pytest.mark.parametrize("lengths", [(2, 3), (1,), (0, 2, 0, 1)])
def test_gradients_match_central_differences(version, lengths):
    check_gradients(attention(version), ragged(*lengths))


@versions
@pytest.mark.parametrize(
    "X",
    [
        ragged(),
        ragged(0, 0),
        Ragged(numpy.zeros((0, 0), "f"), numpy.zeros(0, "int32")),
    ],
)
def test_no_rows(version, X):
    model = attention(version)
    Y, backprop = model.begin_update(X)
    assert Y.data.shape[0] == 0
    assert len(Y) == len(X)
    assert backprop(ragged(*X.lengths)).data.shape == (0, 3)


@versions
def test_trailing_shape_is_kept(version):
    model = attention(version, nO=6)
    X = Ragged(ragged(2, 3, width=6).data.reshape(5, 2, 3), numpy.array([2, 3]))
    Y, backprop = model.begin_update(X)
    assert Y.dataXd.shape == (5, 2, 3)
    assert backprop(Y).dataXd.shape == (5, 2, 3)


@versions
def test_mistakes(version):
    model = attention(version)
    with pytest.raises(TypeError, match="expected a Ragged of width nO=3, got float32 array"):
        model.predict(numpy.zeros((2, 3), "f"))
    with pytest.raises(ValueError, match="input width 4 does not match nO=3"):
        model.predict(ragged(2, width=4))
    with pytest.raises(ValueError, match="from 3 to 4"):
        model.initialize(X=ragged(2, width=4))
    with pytest.raises((ValueError, IndexError)):
        model.predict(Ragged(numpy.zeros((3, 3), "f"), numpy.array([1, 1])))


def test_v2_structure():
    model = ParametricAttention_v2()
    assert model.name == "para-attn"
    assert model.layers[0].name == "noop"
    assert model.get_ref("key_transform") is model.layers[0]
    with pytest.raises(TypeError):
        ParametricAttention_v2(noop())


@pytest.mark.parametrize(
    "transform", [lambda: Linear(), lambda: Linear(nI=3), lambda: chain(Linear(5), Linear())]
)
def test_key_transform_learns_its_width(transform):
    for X, nO in ((ragged(2, 1), None), (ragged(2, 1), 3)):
        model = ParametricAttention_v2(key_transform=transform(), nO=nO).initialize(X=X)
        assert model.layers[0].get_dim("nO") == 3
        assert model.predict(X).data.shape == (3, 3)
    model = ParametricAttention_v2(key_transform=Linear(nI=3), nO=3).initialize()
    assert model.layers[0].get_param("W").shape == (3, 3)
    with pytest.raises(ValueError, match="keys of width nO=3, but its nO is 5"):
        ParametricAttention_v2(key_transform=Linear(5)).initialize(X=ragged(2))


def test_a_copy_runs():
    model = attention("v2 transform")
    again = model.copy()
    assert again.get_ref("key_transform") is again.layers[0]
    X = ragged(2, 3)
    assert_array_equal(again.predict(X).data, model.predict(X).data)
    other = ParametricAttention_v2(key_transform=Gelu(3, 3), nO=3).from_bytes(model.to_bytes())
    assert_array_equal(other.predict(X).data, model.predict(X).data)


def similarity(W=(0.5, 2.0, 1.0)):
    model = CauchySimilarity().initialize(X=pair(1))
    model.set_param("W", numpy.array(W, "f"))
    return model


def pair(n, width=3):
    rng = numpy.random.default_rng(n)
    return tuple(rng.normal(0, 1, (n, width)).astype("f") for _ in range(2))


@pytest.mark.parametrize("n", [0, 1, 4])
def test_cauchy_similarity(n):
    model = similarity()
    A, B = pair(n)
    distance = (model.get_param("W") * (A - B) ** 2).sum(axis=1)
    Y = model.predict((A, B))
    assert_allclose(Y, 1 / (1 + distance), rtol=1e-5)
    assert_array_equal(model.predict((A, A)), numpy.ones(n))
    check_gradients(model, (A, B))
    dA, dB = model.begin_update((A, B))[1](numpy.ones(n, "f"))
    assert_array_equal(dA, -dB)


def test_cauchy_similarity_dims_and_mistakes():
    model = CauchySimilarity()
    assert model.get_dim("nO") == 1
    with pytest.raises(ValueError, match="'nI'.*unset"):
        model.initialize()
    A, B = pair(4)
    with pytest.raises(ValueError, match=r"nI=3, got .*\(4, 3\) and .*\(3, 3\)"):
        similarity().predict((A, B[:3]))
    with pytest.raises(ValueError, match=r"nI=3, got .*\(4, 2\)"):
        similarity().predict(pair(4, width=2))
    with pytest.raises(ValueError, match="expected a pair"):
        similarity().predict(A)
    with pytest.raises(TypeError, match="got list"):
        similarity().predict((A.tolist(), B.tolist()))
