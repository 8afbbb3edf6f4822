import numpy
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from thinc.api import Embed, HashEmbed, NumpyOps, Ops, set_dropout_rate, uniqued
from thinc.testing import check_gradients

IDS = numpy.array([2, 0, 2, 4], dtype="int32")


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint32", "uint64"])
@pytest.mark.parametrize("ops", [NumpyOps(), Ops()], ids=["numpy", "generic"])
def test_rows_of_the_table(dtype, ops):
    model = Embed(3, 5).initialize()
    model.ops = ops
    E = model.get_param("E")
    Y, backprop = model.begin_update(IDS.astype(dtype))
    assert_array_equal(Y, E[IDS])
    dY = numpy.arange(12, dtype="f").reshape(4, 3)
    d_ids = backprop(dY)
    assert_array_equal(d_ids, numpy.zeros(4, "int32"))
    expected = numpy.zeros((5, 3), "f")
    numpy.add.at(expected, IDS, dY)
    assert_array_equal(model.get_grad("E"), expected)
    backprop(dY)
    assert_array_equal(model.get_grad("E"), 2 * expected)


def test_initial_values_and_dims():
    model = Embed(nV=100).initialize(Y=numpy.zeros((1, 7), "f"))
    E = model.get_param("E")
    assert E.shape == (100, 7)
    assert -0.1 <= E.min() < -0.05 < 0.05 < E.max() <= 0.1
    assert model.attrs == {"column": None}
    with pytest.raises(ValueError, match="'nV'.*unset"):
        Embed(3).initialize(X=IDS)

    def ones(ops, shape):
        return ops.alloc_f(shape) + 1

    model = Embed(2, 3, initializer=ones).initialize()
    assert_array_equal(model.get_param("E"), numpy.ones((3, 2)))


@pytest.mark.parametrize("ops", [NumpyOps(), Ops()], ids=["numpy", "generic"])
@pytest.mark.parametrize("bad", [5, -1, 2**31, 2**40])
def test_ids_outside_the_table(ops, bad):
    model = Embed(3, 5).initialize()
    model.ops = ops
    with pytest.raises(IndexError, match=f"{bad}"):
        model.predict(numpy.array([0, bad], dtype="int64"))


def test_ids_of_the_wrong_kind():
    model = Embed(3, 5).initialize()
    with pytest.raises(IndexError, match="integer ids, got float32 array"):
        model.predict(IDS.astype("f"))
    with pytest.raises(TypeError, match="integer ids, got list of length 2"):
        model.predict([0, 1])


@pytest.mark.parametrize(
    "ids", [numpy.zeros(0, "int32"), numpy.zeros(0, "f"), numpy.zeros((0, 0), "f")]
)
def test_no_ids(ids):
    model = Embed(3, 5).initialize()
    Y, backprop = model.begin_update(ids)
    assert Y.shape == (0, 3)
    assert backprop(Y).shape == (0,)
    assert not model.get_grad("E").any()


@pytest.mark.parametrize("column", [0, 1])
def test_column(column):
    model = Embed(3, 5, column=column).initialize()
    assert model.name == "ints-getitem>>embed"
    assert model.attrs["column"] == column
    assert model.dim_names == ("nO",)
    leaf = model.layers[1]
    assert "column" not in leaf.attrs
    table = numpy.array([[0, 1], [2, 3], [2, 1]])
    Y, backprop = model.begin_update(table)
    assert_array_equal(Y, leaf.get_param("E")[table[:, column]])
    assert_array_equal(backprop(Y), numpy.zeros_like(table))
    Y, backprop = model.begin_update(table[:0])
    assert Y.shape == (0, 3)
    assert backprop(Y).shape == (0, 2)


def test_dropout_drops_columns_in_training_only():
    model = Embed(400, 5, dropout=0.5).initialize()
    assert list(model.attrs) == ["dropout_rate", "column"]
    E = model.get_param("E")
    assert_array_equal(model.predict(IDS), E[IDS])
    Y, backprop = model.begin_update(IDS)
    kept = (Y != 0).any(axis=0)
    assert 100 < kept.sum() < 300
    assert_allclose(Y, E[IDS] * kept * 2, rtol=1e-6)
    dY = numpy.ones_like(Y)
    backprop(dY)
    assert_array_equal(dY, numpy.ones_like(Y))
    assert_array_equal(model.get_grad("E")[0], kept * 2)
    set_dropout_rate(model, 0.0)
    assert_array_equal(model.begin_update(IDS)[0], E[IDS])


@pytest.mark.parametrize("layer", [Embed, HashEmbed])
def test_dropout_leaves_the_gradient_given_alone(layer):
    model = layer(3, 5, dropout=0.5).initialize()
    Y, backprop = model.begin_update(IDS)
    dY = numpy.ones_like(Y)
    backprop(dY)
    assert_array_equal(dY, 1)


def test_without_dropout_nothing_is_random():
    model = Embed(3, 5).initialize()
    set_dropout_rate(model, 0.5)
    state = numpy.random.get_state()[1].copy()
    model.begin_update(IDS)
    assert_array_equal(numpy.random.get_state()[1], state)


def test_gradients_match_central_differences():
    check_gradients(Embed(3, 5).initialize(), IDS)
    check_gradients(Embed(3, 5, dropout=0.4).initialize(), IDS)
    check_gradients(uniqued(Embed(3, 5, column=0)).initialize(), IDS.reshape(-1, 1))
