import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from thinc.api import HashEmbed, Model, NumpyOps, Ops
from thinc.testing import check_gradients

# id: the four words of its hash with seed 0
WORDS = {
    0: (3428303819, 685728695, 3303603794, 4065689084),
    1: (4211459146, 4457399, 3547175942, 1032506804),
    10**12: (1320012386, 4108500821, 2801781056, 1598050848),
}


@pytest.mark.parametrize("nV", [1, 5, 1000])
@pytest.mark.parametrize("ops", [NumpyOps(), Ops()], ids=["numpy", "generic"])
def test_sum_of_four_rows(nV, ops):
    model = HashEmbed(3, nV, seed=0).initialize()
    model.ops = ops
    E = model.get_param("E")
    Y, backprop = model.begin_update(numpy.array(list(WORDS), "uint64"))
    for y, words in zip(Y, WORDS.values(), strict=True):
        assert_allclose(y, sum(E[word % nV] for word in words), rtol=1e-6, atol=1e-7)
    dY = numpy.arange(9, dtype="f").reshape(3, 3) + 1
    assert_array_equal(backprop(dY), numpy.zeros(3, "int32"))
    expected = numpy.zeros((nV, 3), "f")
    for d, words in zip(dY, WORDS.values(), strict=True):
        for word in words:
            expected[word % nV] += d
    assert_allclose(model.get_grad("E"), expected)


@given(ids=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=8), seed=st.integers(0, 2**32 - 1))
def test_signed_ids_wrap_and_backends_agree(ids, seed):
    model = HashEmbed(4, 17, seed=seed).initialize()
    signed = numpy.array(ids, "int64")
    Y = model.predict(signed)
    assert_array_equal(Y, model.predict(signed.astype("uint64")))
    model.ops = Ops()
    assert_allclose(model.predict(signed), Y, rtol=1e-6, atol=1e-7)


def test_seed():
    model = HashEmbed(3, 50)
    assert model.attrs["seed"] == model.id
    assert list(model.attrs) == ["column", "seed"]
    assert model.dim_names == ("nO", "nV", "nI")
    other = HashEmbed(3, 50, seed=7).initialize()
    again = HashEmbed(3, 50, seed=1).from_bytes(other.to_bytes())
    ids = numpy.arange(10, dtype="uint64")
    assert_array_equal(again.predict(ids), other.predict(ids))
    assert other.copy().attrs["seed"] == 7
    for bad in (-1, 2**32):
        with pytest.raises(OverflowError):
            HashEmbed(3, 50, seed=bad).initialize().predict(ids)


def test_no_ids():
    model = HashEmbed(3, 5).initialize()
    Y, backprop = model.begin_update(numpy.zeros(0, "uint64"))
    assert Y.shape == (0, 3)
    assert backprop(Y).shape == (0,)
    assert not model.get_grad("E").any()


def test_column():
    model = HashEmbed(3, 5, column=1, seed=0).initialize()
    assert model.name == "ints-getitem>>hashembed"
    assert model.attrs["column"] == model.layers[1].attrs["column"] == 1
    leaf: Model = model.layers[1]
    table = numpy.array([[0, 1], [2, 3]], "uint64")
    Y, backprop = model.begin_update(table)
    assert_array_equal(Y, leaf.predict(table[:, 1]))
    dX = backprop(Y)
    assert dX.shape == (2, 2)
    assert not dX.any()


def test_ids_of_the_wrong_kind():
    model = HashEmbed(3, 5).initialize()
    with pytest.raises(ValueError, match=r"shape \(batch,\), got int64 array of shape \(2, 2\)"):
        model.predict(numpy.zeros((2, 2), "int64"))
    with pytest.raises(TypeError, match="got list of length 1"):
        model.predict([1])


def test_dropout_drops_columns_in_training_only():
    model = HashEmbed(400, 50, dropout=0.5, seed=1).initialize()
    ids = numpy.arange(6, dtype="uint64")
    full = model.predict(ids)
    Y, backprop = model.begin_update(ids)
    kept = (Y != 0).any(axis=0)
    assert 100 < kept.sum() < 300
    assert_allclose(Y, full * kept * 2, rtol=1e-6)
    dY = numpy.ones_like(Y)
    backprop(dY)
    assert_array_equal(dY, numpy.ones_like(Y))
    assert_array_equal(model.get_grad("E").sum(axis=0), kept * 2 * 4 * 6)


def test_gradients_match_central_differences():
    ids = numpy.array([3, 1, 3, 2**63], "uint64")
    check_gradients(HashEmbed(3, 5, seed=2).initialize(), ids)
    check_gradients(HashEmbed(3, 2, seed=2, dropout=0.3).initialize(), ids)
