"""with_array, with_array2d, with_list, with_ragged and with_padded on every kind of batch."""
import numpy
import pytest
from batches import (
    KINDS,
    as_fields,
    as_padded,
    as_pair,
    as_ragged,
    assert_same,
    make_list,
    to_list,
)
from numpy.testing import assert_allclose, assert_array_equal

from thinc.api import (
    Embed,
    Linear,
    Model,
    NumpyOps,
    Padded,
    ParametricAttention,
    Ragged,
    chain,
    expand_window,
    map_list,
    noop,
    with_array,
    with_array2d,
    with_list,
    with_padded,
    with_ragged,
)
from thinc.testing import check_gradients

WRAPPERS = {
    "with_array": with_array,
    "with_array2d": with_array2d,
    "with_list": with_list,
    "with_ragged": with_ragged,
    "with_padded": with_padded,
}
# A layer that is linear in each row, in the form that each wrapper's child takes.
ROW_LAYERS = {
    "with_array": lambda: Linear(4, 3),
    "with_array2d": lambda: Linear(4, 3),
    "with_list": lambda: map_list(Linear(4, 3)),
    "with_ragged": lambda: with_array(Linear(4, 3)),
    "with_padded": lambda: with_array2d(Linear(4, 3)),
}
ACCEPTED = [
    (name, kind)
    for name in WRAPPERS
    for kind in KINDS
    if not (kind == "pair" and name != "with_ragged")
    and not (kind == "fields" and name != "with_padded")
    and not (kind == "padded" and name == "with_array")
]


def row_model(name, bias=1.5):
    model = WRAPPERS[name](ROW_LAYERS[name]()).initialize()
    for node in model.walk():
        if node.name == "linear":
            node.set_param("b", numpy.full((4,), bias, dtype="float32"))
    return model


def linear_of(model):
    return next(node for node in model.walk() if node.name == "linear")


@pytest.mark.parametrize("name,kind", ACCEPTED)
@pytest.mark.parametrize("lengths", [(2, 0, 4, 1, 4), (3,), (1, 1), (0, 0)])
def test_every_kind_gives_the_rows_results_in_its_own_form(name, kind, lengths):
    Xs = make_list(lengths)
    model = row_model(name)
    linear = linear_of(model)
    W, b = linear.get_param("W"), linear.get_param("b")
    Y = model.predict(KINDS[kind](Xs))
    assert type(Y) is type(KINDS[kind](Xs))
    assert_same(to_list(Y), [X @ W.T + b for X in Xs])


@pytest.mark.parametrize("name,kind", ACCEPTED)
@pytest.mark.parametrize("lengths", [(2, 0, 4, 1, 4), (3,), (0, 0)])
def test_gradients_of_every_kind(name, kind, lengths):
    check_gradients(row_model(name), KINDS[kind](make_list(lengths)))


@pytest.mark.parametrize("name,kind", ACCEPTED)
def test_empty_batch(name, kind):
    model = row_model(name)
    Y, backprop = model.begin_update(KINDS[kind]([]))
    assert to_list(Y) == []
    assert to_list(backprop(Y)) == []


@pytest.mark.parametrize("name,kind", ACCEPTED)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_identity_gives_everything_back(name, kind, dtype):
    X = KINDS[kind]([x.astype(dtype) for x in make_list()])
    model = WRAPPERS[name](noop())
    Y, backprop = model.begin_update(X)
    assert_same(Y, X)
    assert_same(backprop(Y), X)


@pytest.mark.parametrize("name", ["with_array", "with_array2d", "with_list", "with_ragged"])
@pytest.mark.parametrize("trailing", [(), (2, 3)])
def test_trailing_shape_of_a_ragged_is_kept(name, trailing):
    X = Ragged(numpy.ones((5, *trailing), dtype="float32"), numpy.array([2, 3], dtype="int32"))
    model = WRAPPERS[name](noop())
    Y, backprop = model.begin_update(X)
    if name != "with_array2d":  # whose layer's output is 2-d, and stays as it is
        assert Y.dataXd.shape == (5, *trailing)
    assert backprop(Y).dataXd.shape == (5, *trailing)


@pytest.mark.parametrize("trailing", [(), (2, 3)])
def test_with_padded_gives_gradients_the_trailing_shape_of_a_ragged(trailing):
    X = Ragged(numpy.ones((5, *trailing), dtype="float32"), numpy.array([2, 3], dtype="int32"))
    Y, backprop = with_padded(noop()).begin_update(X)
    assert backprop(Y).dataXd.shape == (5, *trailing)


@pytest.mark.parametrize("trailing", [(), (2, 3)])
def test_with_ragged_gives_list_items_their_shape_back(trailing):
    Xs = [numpy.ones((n, *trailing), dtype="float32") for n in (2, 0, 1)]
    Y, backprop = with_ragged(noop()).begin_update(Xs)
    assert [y.shape for y in Y] == [x.shape for x in Xs]
    assert [dx.shape for dx in backprop(Y)] == [x.shape for x in Xs]


def spy(seen):
    """An identity that notes what it gets in both directions."""

    def forward(model, X, is_train):
        seen.append(X)

        def backprop(dY):
            seen.append(dY)
            return dY

        return X, backprop

    return Model("spy", forward)


def test_with_ragged_hands_over_int32_lengths_in_both_directions():
    seen = []
    Xs = make_list()
    Y, backprop = with_ragged(spy(seen)).begin_update(Xs)
    backprop(Y)
    assert len(seen) == 2
    for R in seen:
        assert isinstance(R, Ragged)
        assert R.lengths.dtype == "int32"
        assert_array_equal(R.lengths, [len(X) for X in Xs])


def test_with_ragged_and_with_list_see_a_padded_in_its_original_order():
    Xs = make_list()
    seen = []
    with_list(spy(seen)).predict(as_padded(Xs))
    assert_same(seen[0], Xs)
    with_ragged(spy(seen)).predict(as_padded(Xs))
    assert_same(seen[1], as_ragged(Xs))


@pytest.mark.parametrize("wrapper", [with_list, with_ragged])
def test_columns_of_a_padded_keep_their_order(wrapper):
    # Sequences of one length in an order that list2padded would not choose.
    data = numpy.arange(12, dtype="float32").reshape((2, 3, 2))
    two, three = numpy.full(3, 2, dtype="int32"), numpy.full(2, 3, dtype="int32")
    X = Padded(data, three, two, numpy.arange(3, dtype="int32"))
    Y, backprop = wrapper(noop()).begin_update(X)
    assert_array_equal(Y.data, data)
    assert_array_equal(backprop(Y).data, data)


def test_time_steps_behind_the_longest_sequence_are_kept():
    X = as_padded(make_list((1, 3)))[1:]
    assert X.data.shape == (3, 1, 3)
    Y, backprop = with_list(noop()).begin_update(X)
    assert_same(Y, X)
    assert_same(backprop(Y), X)


def test_array_through_with_padded_and_with_list_keeps_its_columns():
    X = numpy.arange(12, dtype="float32").reshape((2, 3, 2))
    model = with_padded(with_list(noop()))
    Y, backprop = model.begin_update(X)
    assert_array_equal(Y, X)
    assert_array_equal(backprop(Y), X)


@pytest.mark.parametrize("wrapper", [with_array, with_array2d])
def test_padding_is_zero_in_the_output_and_has_no_gradient(wrapper):
    model = wrapper(with_array(noop()) if wrapper is with_array else Linear(2, 3)).initialize()
    X = as_padded(make_list((3, 1)))
    if wrapper is with_array:
        X.data[1:, 1] = 7.0  # behind the end of the second sequence
    else:
        model.layers[0].set_param("b", numpy.ones(2, dtype="float32"))
    Y, backprop = model.begin_update(X)
    assert_array_equal(Y.data[1:, 1], 0.0)
    assert (Y.data[0, 1] != 0).all()
    dY = Padded(numpy.ones_like(Y.data), Y.size_at_t, Y.lengths, Y.indices)
    dX = backprop(dY)
    assert_array_equal(dX.data[1:, 1], 0.0)
    if wrapper is with_array2d:
        # Four real rows: those of the padding must not be counted.
        assert_allclose(model.layers[0].get_grad("b"), [4.0, 4.0])


def test_input_is_left_alone():
    X = as_padded(make_list((3, 1)))
    X.data[1:, 1] = 7.0
    with_array(noop()).predict(X)
    assert_array_equal(X.data[1:, 1], 7.0)


def test_pad_keeps_the_sequences_of_a_list_apart():
    Xs = [numpy.array([[1.0]]), numpy.zeros((0, 1)), numpy.array([[10.0], [20.0]])]
    seen = []
    model = with_array(chain(spy(seen), expand_window(1)), pad=1)
    Y = model.predict(Xs)
    assert_array_equal(seen[0].ravel(), [0, 1, 0, 10, 20, 0])
    assert_array_equal(Y[0], [[0, 1, 0]])
    assert Y[1].shape == (0, 3)
    assert_array_equal(Y[2], [[0, 10, 20], [10, 20, 0]])
    check_gradients(with_array(expand_window(1), pad=1), Xs)
    # Without pad the window reaches into the neighbour.
    model.attrs["pad"] = 0
    assert_array_equal(model.predict(Xs)[0], [[0, 1, 10]])


@pytest.mark.parametrize("wrapper", [with_array, with_array2d])
def test_pad_does_not_touch_other_kinds(wrapper):
    Xs = make_list((2, 3))
    layer = Linear(4, 3).initialize()
    for kind in (as_ragged, as_padded) if wrapper is with_array2d else (as_ragged,):
        assert_same(wrapper(layer, pad=2).predict(kind(Xs)), wrapper(layer).predict(kind(Xs)))


@pytest.mark.parametrize("wrapper", [with_array, with_array2d])
def test_array_is_passed_to_the_layer(wrapper):
    X = numpy.concatenate(make_list())
    model = wrapper(Linear(4)).initialize(X=X)
    assert_array_equal(model.predict(X), model.layers[0].predict(X))
    check_gradients(model, X)


def test_with_padded_takes_an_array_as_time_first():
    X = numpy.random.default_rng(0).normal(size=(4, 2, 3)).astype("float32")
    seen = []
    Y, backprop = with_padded(spy(seen)).begin_update(X)
    assert isinstance(Y, numpy.ndarray)
    backprop(Y)
    for P in seen:
        assert_array_equal(P.size_at_t, [2, 2, 2, 2])
        assert_array_equal(P.lengths, [4, 4])
        assert_array_equal(P.indices, [0, 1])
    check_gradients(with_padded(with_array2d(Linear(2))).initialize(X=X), X)


def test_with_ragged_takes_an_array_as_a_list():
    X = numpy.random.default_rng(0).normal(size=(4, 2, 3)).astype("float32")
    Y = with_ragged(ParametricAttention(3)).initialize().predict(X)
    assert isinstance(Y, list)
    assert [y.shape for y in Y] == [(2, 3)] * 4
    check_gradients(with_ragged(ParametricAttention(3)).initialize(), list(X))


def test_two_arrays_in_a_tuple_are_data_and_lengths():
    model = with_ragged(ParametricAttention(3)).initialize()
    R = as_ragged(make_list())
    data, lengths = model.predict((R.data, R.lengths))
    assert_array_equal(data, model.predict(R).data)
    assert_array_equal(lengths, R.lengths)


def test_tuples_count_as_lists():
    Xs = make_list((2, 1, 3))
    for name in ("with_array", "with_array2d", "with_ragged", "with_padded"):
        model = row_model(name)
        Y, backprop = model.begin_update(tuple(Xs))
        assert isinstance(Y, list)
        assert_same(Y, model.predict(Xs))
        assert isinstance(backprop(Y), list)


def test_ids_of_empty_documents_stay_integers():
    model = with_array(Embed(3, 5)).initialize()
    Y = model.predict([numpy.zeros((0,), dtype="int64")] * 2)
    assert [y.shape for y in Y] == [(0, 3), (0, 3)]


@pytest.mark.parametrize(
    "name,kind", [(n, k) for n, k in ACCEPTED if k in ("list", "ragged", "padded")]
)
def test_initialize_converts_the_samples(name, kind):
    Xs, Ys = make_list(width=3), make_list(width=2)
    layer = {"with_list": map_list, "with_ragged": with_array, "with_padded": with_array2d}
    child = Linear() if name.startswith("with_array") else layer[name](Linear())
    model = WRAPPERS[name](child).initialize(X=KINDS[kind](Xs), Y=KINDS[kind](Ys))
    linear = linear_of(model)
    assert (linear.get_dim("nI"), linear.get_dim("nO")) == (3, 2)


@pytest.mark.parametrize("wrapper", [with_array, with_array2d, with_list, with_padded])
def test_dims_are_those_of_the_layer(wrapper):
    inner = with_array(Linear(4))
    model = wrapper(inner)
    assert model.dim_names == ("nO", "nI")
    assert model.get_dim("nO") == 4
    assert model.has_dim("nI") is None
    model.initialize(X=as_ragged(make_list(width=3)))
    assert model.get_dim("nI") == 3


def test_structure():
    assert with_array(Linear(), pad=2).attrs == {"pad": 2}
    assert with_array2d(Linear()).name == "with_array(linear)"
    assert with_list(noop()).name == "with_list(noop)"
    assert with_padded(noop()).attrs == {}
    # As in thinc 8, whose loader refuses dims that it does not know.
    assert with_ragged(Linear(2, 3)).dim_names == ()


@pytest.mark.parametrize(
    "make,X,error,message",
    [
        (with_ragged, numpy.zeros(3), TypeError, r"with_ragged\(noop\).*expected a Ragged, Padded"),
        (with_ragged, "text", TypeError, "got str of length 4"),
        (with_ragged, None, TypeError, "got None"),
        (with_padded, numpy.zeros(3), IndexError, r"\(time, batch, \.\.\.\), got \(3,\)"),
        (with_padded, 3, TypeError, "expected a Padded, Ragged"),
        (with_array, [1, 2], TypeError, "expected a list of arrays, got list of length 2"),
        (with_array, ["a", "b"], ValueError, "expects a sequence of arrays"),
    ],
)
def test_wrong_input_is_named(make, X, error, message):
    with pytest.raises(error, match=message):
        make(noop()).predict(X)


def test_none_is_an_empty_list_for_with_padded():
    assert with_padded(noop()).predict(None) == []


def test_wrong_width_names_the_place():
    model = with_array(Linear(4, 3)).initialize()
    with pytest.raises(ValueError, match=r"linear \(layers\[0\].*width 5 does not match nI=3"):
        model.predict([numpy.zeros((2, 5), dtype="float32")])


def test_lengths_that_do_not_fit_are_refused():
    X = Ragged(numpy.zeros((3, 2), dtype="float32"), numpy.array([2, 2], dtype="int32"))
    with pytest.raises(ValueError, match="lengths must sum up"):
        with_list(noop()).predict(X)


def test_backprop_does_not_hold_the_rows():
    import gc
    import weakref

    class Rows(numpy.ndarray):
        pass

    cases = [(with_array, as_ragged), (with_array2d, as_padded), (with_list, as_ragged)]
    for wrapper, kind in cases:
        X = kind([numpy.ones((2, 3), dtype="float32").view(Rows)])
        alive = weakref.ref(X)
        _, backprop = wrapper(noop()).begin_update(X)
        del X
        gc.collect()
        assert alive() is None, wrapper.__name__
        del backprop


def test_fields_and_pairs_are_returned_as_tuples():
    Xs = make_list()
    Y, backprop = row_model("with_padded").begin_update(as_fields(Xs))
    assert isinstance(Y, tuple) and len(Y) == 4
    assert isinstance(backprop(Y), tuple)
    Y, backprop = row_model("with_ragged").begin_update(as_pair(Xs))
    assert isinstance(Y, tuple) and len(Y) == 2
    assert isinstance(backprop(Y), tuple)


def test_ops_of_the_wrapper_make_the_batches():
    class CountingOps(NumpyOps):
        calls = 0

        def flatten(self, *args, **kwargs):
            type(self).calls += 1
            return super().flatten(*args, **kwargs)

    model = with_array(noop())
    model.ops = CountingOps()
    model.predict(make_list())
    assert CountingOps.calls == 1
