import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from thinc.api import SparseLinear, SparseLinear_v2
from thinc.backends.murmur import murmur3_of_keys
from thinc.testing import check_gradients

# key: hash with seed 0, hash with seed 1
HASHES = {
    0: (1669671676, 3935659133),
    1: (1392991556, 3741873941),
    2: (3323962100, 4172908620),
    2**40 + 7: (4101885666, 1518023636),
    2**64 - 1: (1651860712, 2540302534),
}
KEYS = numpy.array(list(HASHES), "uint64")
VALUES = numpy.array([1.0, 0.5, -2.0, 3.0, 0.25], "f")
LENGTHS = numpy.array([2, 0, 3], "int32")
X = (KEYS, VALUES, LENGTHS)


def sparse(layer, nO=3, length=16):
    model = layer(nO, length).initialize()
    rng = numpy.random.default_rng(0)
    for name in model.param_names:
        model.set_param(name, rng.normal(0, 1, model.get_param(name).shape).astype("f"))
    return model


def cell(layer, key, seed, c, length):
    h = HASHES[int(key)][seed]
    return (h & (length - 1)) + c if layer is SparseLinear else c * length + h % length


@pytest.mark.parametrize("seed", [0, 1])
def test_hashes(seed):
    hashes = murmur3_of_keys(numpy, KEYS, seed)
    assert hashes.dtype == "uint32"
    assert_array_equal(hashes, [pair[seed] for pair in HASHES.values()])


@pytest.mark.parametrize("layer", [SparseLinear, SparseLinear_v2])
@pytest.mark.parametrize("nO, length", [(3, 16), (1, 7), (2, 1), (5, 64)])
def test_sum_of_weights(layer, nO, length):
    model = sparse(layer, nO, length)
    W, b = model.get_param("W"), model.get_param("b")
    rows = numpy.repeat(numpy.arange(3), LENGTHS)
    Y = numpy.tile(b.astype("d"), (3, 1))
    dY = numpy.random.default_rng(1).normal(0, 1, (3, nO)).astype("f")
    dW = numpy.zeros_like(W, dtype="d")
    for key, value, row in zip(KEYS, VALUES, rows, strict=True):
        for seed in (0, 1):
            for c in range(nO):
                at = cell(layer, key, seed, c, length)
                Y[row, c] += W[at] * value
                dW[at] += dY[row, c] * value
    got, backprop = model.begin_update(X)
    assert_allclose(got, Y, rtol=1e-5, atol=1e-5)
    assert backprop(dY) is X
    assert_allclose(model.get_grad("W"), dW, rtol=1e-5, atol=1e-5)
    assert_allclose(model.get_grad("b"), dY.sum(axis=0), rtol=1e-5, atol=1e-6)
    backprop(dY)
    assert_allclose(model.get_grad("W"), 2 * dW, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layer", [SparseLinear, SparseLinear_v2])
def test_gradients_match_central_differences(layer):
    check_gradients(sparse(layer), X, check_input=False)


@pytest.mark.parametrize("layer", [SparseLinear, SparseLinear_v2])
def test_no_rows_and_no_features(layer):
    model = sparse(layer)
    empty = (KEYS[:0], VALUES[:0], LENGTHS[:0])
    Y, backprop = model.begin_update(empty)
    assert Y.shape == (0, 3)
    assert backprop(Y) is empty
    assert not model.get_grad("W").any()
    Y = model.predict((KEYS[:0], VALUES[:0], numpy.zeros(2, "int32")))
    assert_array_equal(Y, numpy.tile(model.get_param("b"), (2, 1)))


@given(dtypes=st.sampled_from([("int64", "float64", "int64"), ("uint64", "float32", "uint32")]))
def test_dtypes_are_converted(dtypes):
    model = sparse(SparseLinear_v2)
    converted = tuple(part.astype(dtype) for part, dtype in zip(X, dtypes, strict=True))
    assert_array_equal(model.predict(converted), model.predict(X))


def test_structure():
    model = SparseLinear()
    assert model.name == "sparse_linear"
    assert model.get_dim("length") == 2**18
    assert model.attrs == {"v1_indexing": True}
    assert SparseLinear_v2().attrs == {"v1_indexing": False}
    model.initialize(X=X, Y=numpy.zeros((3, 2), "f"))
    assert model.get_param("W").shape == (2 * 2**18,)
    assert not model.get_param("W").any()
    with pytest.raises(ValueError, match="'nO'.*unset"):
        SparseLinear().initialize(X=X)


@pytest.mark.parametrize(
    "bad, error, words",
    [
        ((KEYS, VALUES), TypeError, "got tuple of length 2"),
        (KEYS, TypeError, "got uint64 array"),
        ((KEYS.tolist(), VALUES, LENGTHS), TypeError, "got list of length 5"),
        ((KEYS, VALUES[:4], LENGTHS), ValueError, r"values \(m,\).*float32 array of shape \(4,\)"),
        ((KEYS.reshape(1, 5), VALUES, LENGTHS), ValueError, r"uint64 array of shape \(1, 5\)"),
        ((KEYS.astype("d"), VALUES, LENGTHS), ValueError, "integer keys, got float64"),
        ((KEYS, VALUES, LENGTHS.astype("f")), ValueError, "integer lengths, got float32"),
    ],
)
def test_mistakes(bad, error, words):
    with pytest.raises(error, match=words):
        sparse(SparseLinear_v2).predict(bad)


@pytest.mark.parametrize("lengths", [[2, 4], [2, 2], [-1, 6]])
def test_lengths_must_fit(lengths):
    with pytest.raises((ValueError, IndexError), match="length"):
        sparse(SparseLinear_v2).predict((KEYS, VALUES, numpy.array(lengths, "int32")))


def test_gradient_must_fit():
    _, backprop = sparse(SparseLinear_v2).begin_update(X)
    with pytest.raises(ValueError, match=r"gradient of shape \(3, 3\), got .*\(2, 3\)"):
        backprop(numpy.zeros((2, 3), "f"))
