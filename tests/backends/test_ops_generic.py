"""The generic Ops against mathematics, hand-made values and plain loops.

What holds for any backend runs on every one in BACKENDS; the reference is then
itself tested like the others.
"""

import inspect
import math

import numpy
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from on_device import DEVICE, FAKE, marked

from thinc.backends import CupyOps, NumpyOps, Ops
from thinc.backends.formulas import FORMULAS, erf, erfc
from thinc.types import Padded, Pairs, Ragged

HOST_BACKENDS = [Ops(), NumpyOps()]
BACKENDS = [*HOST_BACKENDS, FAKE, *DEVICE]
every_backend = pytest.mark.parametrize("ops", marked(BACKENDS), ids=lambda ops: ops.name)
every_host_backend = pytest.mark.parametrize("ops", HOST_BACKENDS, ids=lambda ops: ops.name)
every_formula = pytest.mark.parametrize("formula", FORMULAS.values(), ids=lambda f: f.name)
every_float = pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])

ACTIVATIONS = [
    "sigmoid",
    "relu",
    "relu_k",
    "clipped_linear",
    "hard_sigmoid",
    "hard_tanh",
    "swish",
    "hard_swish",
    "hard_swish_mobilenet",
    "dish",
    "gelu",
    "gelu_approx",
    "mish",
]
every_activation = pytest.mark.parametrize("name", ACTIVATIONS)


def f32(*values):
    return numpy.array(values, dtype="float32")


def i32(*values):
    return numpy.array(values, dtype="int32")


# ---- formulas ------------------------------


@given(st.floats(-10, 10))
def test_error_functions_match_the_c_library(x):
    X = numpy.array([x])
    assert_allclose(erf(numpy, X), [math.erf(x)], rtol=1e-15, atol=1e-300)
    assert_allclose(erfc(numpy, X), [math.erfc(x)], rtol=3e-13)


VALUES_AT_ONE = {
    "dish": 0.8535533906,
    "gelu": 0.8413447461,
    "gelu_approx": 0.8411919906,
    "mish": 0.8650983883,
    "swish": 0.7310585786,
    "hard_swish": 0.7,
    "hard_swish_mobilenet": 2 / 3,
    "sigmoid": 0.7310585786,
    "tanh": 0.7615941560,
    "relu": 1.0,
    "clipped_linear": 1.0,
    "identity": 1.0,
}


@every_formula
def test_value_at_one(formula):
    Y = formula.value(numpy, numpy.array([1.0]), *formula.defaults)
    assert_allclose(Y, [VALUES_AT_ONE[formula.name]], rtol=1e-9)


# Where a formula has a corner, finite differences say nothing.
CORNERS = {
    "relu": [0.0],
    "clipped_linear": [0.0, 1.0],
    "hard_swish": [-2.5, 2.5],
    "hard_swish_mobilenet": [-3.0, 3.0],
    "mish": [20.0],
    "swish": [-20.0, 20.0],
    "sigmoid": [-20.0, 20.0],
}


@every_formula
@given(x=st.floats(-30, 30))
def test_slope_is_the_derivative(formula, x):
    if any(abs(x - corner) < 1e-3 for corner in CORNERS.get(formula.name, [])):
        return
    X = numpy.array([x], dtype="longdouble")
    eps = numpy.longdouble("1e-5")
    up = formula.value(numpy, X + eps, *formula.defaults)
    down = formula.value(numpy, X - eps, *formula.defaults)
    Z = X if formula.slope_of == "X" else formula.value(numpy, X, *formula.defaults)
    slope = formula.slope(numpy, Z, *formula.defaults)
    # The logistic's limits at +-20 leave a step of 2e-9 that swish's slope ignores.
    assert_allclose(slope, (up - down) / (2 * eps), rtol=1e-7, atol=1e-7)


@every_formula
@every_float
def test_formulas_keep_the_dtype(formula, dtype):
    X = numpy.linspace(-4, 4, 9).astype(dtype)
    for ops in BACKENDS:
        Y = ops._map(formula, X, formula.defaults, False)
        dX = ops._map_slope(formula, X, X, formula.defaults, False)
        assert (Y.dtype, dX.dtype) == (dtype, dtype)


# ---- activations ------------------------------


def backward(ops, name, dY, X, **kwargs):
    """backprop_<name>, whichever of X and Y it takes."""
    Y = getattr(ops, name)(X)
    method = getattr(ops, f"backprop_{name}")
    if name == "swish":
        return method(dY, X, Y, **kwargs)
    return method(dY, Y if name in ("relu", "sigmoid") else X, **kwargs)


@every_backend
@every_activation
@every_float
def test_activation_in_place_returns_the_same_object(ops, name, dtype):
    X = numpy.linspace(-6, 6, 13).astype(dtype)
    kept = X.copy()
    Y = getattr(ops, name)(X)
    assert Y.dtype == dtype and Y is not X
    assert_array_equal(X, kept)
    assert getattr(ops, name)(X, inplace=True) is X
    assert_array_equal(X, Y)


@every_backend
@every_activation
@every_float
def test_gradient_in_place_overwrites_dY_only(ops, name, dtype):
    X = numpy.linspace(-6, 6, 13).astype(dtype)
    dY = numpy.linspace(1, 2, 13).astype(dtype)
    kept_X, kept_dY = X.copy(), dY.copy()
    dX = backward(ops, name, dY, X)
    assert dX.dtype == dtype
    assert_array_equal(dY, kept_dY)
    assert backward(ops, name, dY, X, inplace=True) is dY
    assert_array_equal(dY, dX)
    assert_array_equal(X, kept_X)


@every_backend
@every_activation
def test_activations_agree_in_every_memory_layout(ops, name):
    X = numpy.linspace(-5, 5, 12).reshape(3, 4).astype("float32")
    Y = getattr(ops, name)(X)
    dX = backward(ops, name, X, X)
    for layout, same in strategies.layouts(X).items():
        assert_array_equal(getattr(ops, name)(same), Y, err_msg=layout)
        assert_array_equal(backward(ops, name, X, same), dX, err_msg=layout)
        assert_array_equal(same, X)


@every_backend
def test_activation_in_place_on_a_strided_view_leaves_the_gaps_alone(ops):
    for name in ACTIVATIONS:
        buffer = numpy.full(8, -3, dtype="float32")
        buffer[::2] = [-1, 0, 1, 2]
        expected = getattr(ops, name)(f32(-1, 0, 1, 2))
        getattr(ops, name)(buffer[::2], inplace=True)
        assert_allclose(buffer[::2], expected, rtol=1e-6)
        assert_array_equal(buffer[1::2], -3)


@every_backend
def test_activation_in_place_refuses_read_only_arrays(ops):
    X = f32(-1, 1)
    X.flags.writeable = False
    for name in ACTIVATIONS:
        with pytest.raises(ValueError):
            getattr(ops, name)(X, inplace=True)
    assert_array_equal(X, [-1, 1])


@every_backend
@every_activation
def test_gradient_of_another_shape_is_refused(ops, name):
    with pytest.raises(ValueError, match=r"\(2,\)|shape"):
        backward(ops, name, numpy.ones(2, "float32"), numpy.ones(3, "float32"))


@every_backend
@every_activation
def test_activations_of_nothing(ops, name):
    X = numpy.zeros((0, 3), dtype="float32")
    assert getattr(ops, name)(X).shape == (0, 3)
    assert backward(ops, name, X, X).shape == (0, 3)


@every_backend
def test_relu_selects_instead_of_multiplying(ops):
    Y = ops.relu(f32(-numpy.inf, -1, -0.0, 2, numpy.inf, numpy.nan))
    assert_array_equal(Y, f32(0, 0, 0, 2, numpy.inf, numpy.nan))
    assert not numpy.signbit(Y[:3]).any()
    assert_array_equal(ops.backprop_relu(f32(numpy.inf, 1), f32(0, 1)), f32(0, 1))


def test_integers_give_floats_or_stay_integers():
    X = numpy.array([-1, 0, 3])
    ops = Ops()
    assert ops.sigmoid(X).dtype == "float64"
    for name in ("relu", "erf", "gelu_approx", "dtanh"):
        assert getattr(ops, name)(X).dtype == X.dtype
    with pytest.raises(TypeError):
        ops.sigmoid(X, inplace=True)


@every_backend
def test_clipped_linear_gradient_with_negative_and_zero_slope(ops):
    X, dY = f32(-2, -0.5, 0.5, 2), f32(1, 1, 1, 1)
    negative = ops.backprop_clipped_linear(dY, X, slope=-3.0, min_val=-3.0, max_val=3.0)
    assert_array_equal(negative, [0, -3, -3, 0])
    assert_array_equal(ops.backprop_clipped_linear(dY, X, slope=0.0), [0, 0, 0, 0])


@every_backend
def test_mish_threshold_is_honoured_for_every_dtype(ops):
    for dtype in ("float16", "float32", "float64", "int64"):
        assert_array_equal(ops.mish(numpy.array([3], dtype=dtype), threshold=2.0), [3])
        assert ops.mish(numpy.array([3], dtype=dtype), threshold=4.0)[0] < 3


@every_backend
def test_gelu_approx_gradient_keeps_float64_precision(ops):
    X = numpy.array([0.7])
    eps = 1e-6
    numeric = (ops.gelu_approx(X + eps) - ops.gelu_approx(X - eps)) / (2 * eps)
    assert_allclose(ops.backprop_gelu_approx(numpy.ones(1), X), numeric, rtol=1e-9)


@every_backend
def test_small_helpers(ops):
    Y = numpy.array([0.25, 0.5])
    assert_allclose(ops.dsigmoid(Y), [0.1875, 0.25])
    assert_allclose(ops.dtanh(Y), [0.9375, 0.75])
    assert ops.dtanh(Y, inplace=True) is Y
    assert_allclose(ops.sechsq(numpy.array([1.0])), [0.4199743416], rtol=1e-9)
    assert_allclose(ops.erf(numpy.array([0.5])), [math.erf(0.5)], rtol=3e-7)


# ---- softmax, maxout, layer norm, dropout ------------------------------


@every_backend
@given(X=strategies.floats2d(min_rows=1, low=-50, high=50), temperature=st.floats(0.25, 4))
def test_softmax_rows_sum_to_one_and_keep_order(ops, X, temperature):
    Y = ops.softmax(X, temperature=temperature)
    assert_allclose(Y.sum(axis=1), 1)
    expected = numpy.exp(X / temperature - (X / temperature).max(axis=1, keepdims=True))
    assert_allclose(Y, expected / expected.sum(axis=1, keepdims=True), rtol=1e-9, atol=1e-300)


@every_backend
def test_softmax_in_place_over_other_axes(ops):
    X = numpy.random.RandomState(0).normal(size=(3, 4, 2))
    Y = ops.softmax(X, axis=(0, 1))
    assert_allclose(Y.sum(axis=(0, 1)), [1, 1])
    assert ops.softmax(X, axis=(0, 1), inplace=True) is X
    assert_array_equal(X, Y)


@every_backend
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_softmax_gradient(ops, temperature):
    rng = numpy.random.RandomState(0)
    X, dY = rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
    Y = ops.softmax(X, temperature=temperature)
    dX = ops.backprop_softmax(Y, dY, temperature=temperature)

    def f(X):
        return ops.softmax(X, temperature=temperature)

    assert_allclose(dX, numeric_gradient(f, X, dY), rtol=1e-6, atol=1e-9)
    with pytest.raises(ValueError, match="shape"):
        ops.backprop_softmax(Y, dY[:1])


def numeric_gradient(f, X, dY, eps=1e-6):
    """Central differences of sum(f(X) * dY)."""
    dX = numpy.zeros_like(X)
    for i in numpy.ndindex(X.shape):
        step = numpy.zeros_like(X)
        step[i] = eps
        dX[i] = ((f(X + step) - f(X - step)) * dY).sum() / (2 * eps)
    return dX


@every_backend
def test_maxout_takes_the_first_of_equal_pieces_and_the_first_nan(ops):
    X = f32(1, 3, 3, 2, 2, 2, 5, numpy.nan, numpy.nan).reshape(1, 3, 3)
    best, which = ops.maxout(X)
    assert which.dtype == "int32"
    assert_array_equal(which, [[1, 0, 1]])
    assert_array_equal(best, [[3, 2, numpy.nan]])


@every_backend
@every_float
def test_maxout_gradient_goes_to_the_chosen_piece(ops, dtype):
    dY = numpy.array([[1, 2], [3, 4]], dtype=dtype)
    dX = ops.backprop_maxout(dY, numpy.array([[0, 2], [1, 1]], dtype="int32"), 3)
    expected = numpy.zeros((2, 2, 3))
    expected[0, 0, 0], expected[0, 1, 2], expected[1, 0, 1], expected[1, 1, 1] = 1, 2, 3, 4
    assert dX.dtype == dtype
    assert_array_equal(dX, expected)


@every_backend
def test_maxout_refuses_bad_pieces_and_shapes(ops):
    dY = numpy.ones((1, 2), dtype="float32")
    for bad in (i32(0, 3), i32(-1, 0)):
        with pytest.raises(IndexError):
            ops.backprop_maxout(dY, bad.reshape(1, 2), 3)
    with pytest.raises(ValueError, match="shape"):
        ops.backprop_maxout(dY, i32(0).reshape(1, 1), 3)
    with pytest.raises(ValueError, match=r"\(1, 2, 0\)"):
        ops.maxout(numpy.zeros((1, 2, 0), dtype="float32"))


@every_backend
@pytest.mark.parametrize("shape", [(0, 2, 3), (2, 0, 3)])
def test_maxout_of_nothing(ops, shape):
    best, which = ops.maxout(numpy.zeros(shape, dtype="float32"))
    assert best.shape == which.shape == shape[:2]
    assert ops.backprop_maxout(best, which, 3).shape == shape


@every_backend
@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 5), (0, 5)])
def test_layer_norm_and_its_gradients(ops, shape):
    rng = numpy.random.RandomState(0)
    X, dY = rng.normal(size=shape), rng.normal(size=shape)
    G, b = rng.normal(size=5), rng.normal(size=5)
    Y, mean, rstd = ops.layer_norm(X, G, b)
    assert mean.shape == rstd.shape == shape[:-1]
    normal = (X - X.mean(-1, keepdims=True)) / numpy.sqrt(X.var(-1, keepdims=True) + 1e-8)
    assert_allclose(Y, normal * G + b)
    dX, dG, db = ops.backprop_layer_norm(dY, X, mean, rstd, G)
    assert_allclose(
        dX, numeric_gradient(lambda X: ops.layer_norm(X, G, b)[0], X, dY), rtol=1e-5, atol=1e-7
    )
    rows = tuple(range(len(shape) - 1))
    assert_allclose(dG, (normal * dY).sum(rows), atol=1e-12)
    assert_allclose(db, dY.sum(rows), atol=1e-12)


@every_backend
def test_layer_norm_names_the_width(ops):
    with pytest.raises(ValueError, match=r"\(4,\)"):
        ops.layer_norm(numpy.ones((2, 3)), numpy.ones(4), numpy.ones(3))


@every_host_backend
def test_dropout_mask_draws_from_numpy(ops):
    for drop, value in ((None, 1), (0.0, 1), (-1, 1), (1.0, 0), (2.0, 0)):
        assert_array_equal(ops.get_dropout_mask((2, 3), drop), numpy.full((2, 3), value))
    numpy.random.seed(3)
    expected = (numpy.random.uniform(0.0, 1.0, (40, 5)) >= 0.25) / 0.75
    numpy.random.seed(3)
    mask = ops.get_dropout_mask((40, 5), 0.25)
    assert mask.dtype == "float32"
    assert_allclose(mask, expected, rtol=1e-6)
    assert ops.get_dropout_mask(4, 0.5).shape == (4,)


# ---- arrays ------------------------------


@every_backend
def test_alloc(ops):
    assert ops.alloc((2, 3)).dtype == "float32"
    assert ops.alloc(4, dtype="int64").shape == (4,)
    assert ops.alloc([2], dtype=None).dtype == "float64"
    assert ops.alloc(()).shape == ()
    assert not ops.alloc((2, 3)).any()
    assert ops.alloc2i(2, 3).dtype == "int32" and ops.alloc4f(1, 2, 3, 4).shape == (1, 2, 3, 4)
    with pytest.raises(ValueError):
        ops.alloc((-1,))
    with pytest.raises(TypeError):
        ops.alloc((1.5,))


@every_backend
def test_asarray(ops):
    X = f32(1, 2)
    assert ops.asarray(X) is X
    assert ops.asarray(X, dtype="float32") is X
    assert ops.asarray(X, dtype="float64").dtype == "float64"
    assert_array_equal(ops.asarray1i([1.9, -1.9]), [1, -1])
    assert ops.asarray2f([[1, 2]]).dtype == "float32"
    with pytest.raises(ValueError):
        ops.asarray([[1, 2], [3]])


@every_backend
def test_asarray_casts_what_another_library_hands_over(ops):
    class Tensor:
        def numpy(self):
            return numpy.array([1.5, 2.5])

    assert_array_equal(ops.asarray(Tensor(), dtype="int32"), [1, 2])
    assert ops.asarray(Tensor(), dtype="int32").dtype == "int32"


@every_host_backend
def test_as_contig_and_to_numpy(ops):
    X = numpy.arange(6.0).reshape(2, 3)
    assert ops.as_contig(X) is X
    assert ops.as_contig(X.T).flags.c_contiguous
    assert ops.as_contig(X, dtype="float32").dtype == "float32"
    assert ops.to_numpy(X) is X
    big = ops.to_numpy(X, byte_order=">")
    assert big.dtype.byteorder == ">"
    assert_array_equal(big, X)
    with pytest.raises(ValueError, match="list"):
        ops.to_numpy([1])


@every_backend
def test_reshape_and_tile(ops):
    X = numpy.arange(6)
    assert ops.reshape2(X, 2, -1).shape == (2, 3)
    assert ops.reshape_f(X, 6).shape == (6,)
    assert ops.reshape3i(X, 1, 2, 3).shape == (1, 2, 3)
    assert_array_equal(ops.tile(X[:2], 2), [0, 1, 0, 1])


# ---- batches ------------------------------


def test_minibatch_covers_the_sequence_in_order():
    ops = Ops()
    batches = ops.minibatch(3, list(range(8)))
    assert len(batches) == 3
    assert list(batches) == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert list(batches) == list(batches)
    assert list(ops.minibatch(5, ())) == []
    assert list(ops.minibatch(2, ("a", "b", "c"))) == [("a", "b"), ("c",)]
    assert list(ops.minibatch(numpy.int64(4), list(range(5)))) == [[0, 1, 2, 3], [4]]


def test_minibatch_sizes_in_turn():
    ops = Ops()
    for sizes in ([1, 2, 9], iter([1, 2, 9]), numpy.array([1, 2, 9])):
        assert list(ops.minibatch(sizes, list(range(5)))) == [[0], [1, 2], [3, 4]]
    with pytest.raises(ValueError, match="ended after 3 of 5"):
        ops.minibatch(iter([1, 2]), list(range(5)))
    for bad in (0, -1, [0]):
        with pytest.raises(ValueError, match="at least 1"):
            ops.minibatch(bad, [1, 2])
    with pytest.raises(TypeError, match="batch size"):
        ops.minibatch("2", [1, 2])
    with pytest.raises(ValueError, match="no length"):
        ops.minibatch(2, iter([1, 2]))


@given(n=st.integers(0, 20), size=st.integers(1, 7), buffer=st.integers(0, 4))
def test_shuffled_minibatch_is_a_permutation(n, size, buffer):
    X = numpy.arange(n)
    batches = Ops().minibatch(size, X, shuffle=True, buffer=buffer)
    found = list(batches)
    assert len(found) == len(batches)
    assert sorted(numpy.concatenate([X[:0], *found])) == list(range(n))


def test_every_iteration_shuffles_anew_with_numpys_generator():
    batches = Ops().minibatch(50, numpy.arange(50), shuffle=True)
    order = numpy.arange(50)
    numpy.random.seed(1)
    found = [next(iter(batches)) for _ in range(2)]
    numpy.random.seed(1)
    for batch in found:
        numpy.random.shuffle(order)
        assert_array_equal(batch, order)


def test_buffer_fetches_ahead():
    fetched = []

    class Items(list):
        def __getitem__(self, i):
            fetched.append(i)
            return super().__getitem__(i)

    iterator = iter(Ops().minibatch(1, Items("abcde"), buffer=2))
    next(iterator)
    assert len(fetched) == 2


def test_minibatch_of_containers():
    ops = Ops()
    ragged = Ragged(numpy.arange(6.0).reshape(3, 2), i32(1, 0, 2))
    batches = list(ops.minibatch(2, ragged))
    assert [list(batch.lengths) for batch in batches] == [[1, 0], [2]]
    pairs = Pairs(numpy.arange(3), numpy.arange(3) * 10)
    assert_array_equal(list(ops.minibatch(2, pairs))[0].two, [0, 10])
    padded = ops.list2padded([numpy.ones((2, 1)), numpy.ones((3, 1)), numpy.ones((1, 1))])
    batches = list(ops.minibatch(2, padded))
    assert [list(batch.lengths) for batch in batches] == [[3, 2], [1]]
    assert [list(batch.size_at_t) for batch in batches] == [[2, 2, 1], [1, 0, 0]]


def test_multibatch_keeps_sequences_in_step():
    X, Y = numpy.arange(10), [str(i) for i in range(10)]
    for xs, ys in Ops().multibatch(3, X, Y, shuffle=True):
        assert [str(x) for x in xs] == ys
    with pytest.raises(IndexError):
        list(Ops().multibatch(2, X, Y[:3]))


# ---- layouts ------------------------------


@every_backend
@given(seqs=strategies.sequences(min_size=1), pad=st.integers(0, 2))
def test_unflatten_is_the_inverse_of_flatten(ops, seqs, pad):
    flat = ops.flatten(seqs, pad=pad)
    parts = ops.unflatten(flat, numpy.array([len(s) for s in seqs], dtype="int32"), pad=pad)
    assert len(parts) == len(seqs)
    for part, seq in zip(parts, seqs, strict=True):
        assert_array_equal(part, seq)


@every_backend
def test_flatten(ops):
    a, b = numpy.ones((2, 3), "float32"), numpy.full((1, 3), 2, "float32")
    assert_array_equal(ops.flatten([a, b], pad=1)[:, 0], [0, 1, 1, 0, 2, 0])
    assert ops.flatten([], ndim_if_empty=3).shape == (0, 0, 0)
    assert ops.flatten([a], dtype="float64").dtype == "float64"
    assert ops.flatten([a[:, :0], numpy.ones((3, 0), "float32")]).shape == (5, 0)
    assert ops.flatten([numpy.zeros((0, 3), "int32")]).dtype == "int32"
    with pytest.raises(ValueError, match="list"):
        ops.flatten([[1]])
    with pytest.raises(ValueError):
        ops.flatten([a, numpy.ones((2, 4))])


@every_backend
def test_unflatten_needs_lengths_that_fit(ops):
    for lengths in (i32(1), i32(5), i32(4, -1)):
        with pytest.raises(ValueError, match="lengths must"):
            ops.unflatten(numpy.ones((3, 2)), lengths)


@every_backend
@given(seqs=strategies.sequences(min_size=1), round_to=st.integers(1, 4))
def test_pad_and_unpad(ops, seqs, round_to):
    padded = ops.pad(seqs, round_to)
    longest = max(len(s) for s in seqs)
    assert padded.shape[1] % round_to == 0 and longest <= padded.shape[1] < longest + round_to
    for seq, back, row in zip(seqs, ops.unpad(padded, [len(s) for s in seqs]), padded, strict=True):
        assert_array_equal(back, seq)
        assert not row[len(seq) :].any()


@every_backend
def test_pad_says_what_is_wrong(ops):
    a = numpy.ones((2, 3), "float32")
    with pytest.raises(ValueError, match="Rounding for padding must at least be 1"):
        ops.pad([a], 0)
    with pytest.raises(ValueError, match="empty"):
        ops.pad([])
    with pytest.raises(ValueError, match="float64"):
        ops.pad([a, a.astype("float64")])
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        ops.pad([a, a[:, :2]])


@every_backend
@given(seqs=strategies.sequences())
def test_padded2list_is_the_inverse_of_list2padded(ops, seqs):
    padded = ops.list2padded(seqs)
    assert isinstance(padded, Padded)
    back = ops.padded2list(padded)
    assert len(back) == len(seqs)
    for a, b in zip(back, seqs, strict=True):
        assert_array_equal(a, b)


@every_backend
def test_list2padded_order(ops):
    seqs = [numpy.full((n, 2), n, "float32") for n in (2, 3, 1, 3)]
    padded = ops.list2padded(seqs)
    assert_array_equal(padded.lengths, [3, 3, 2, 1])
    assert_array_equal(padded.indices, [3, 1, 0, 2])
    assert_array_equal(padded.size_at_t, [4, 3, 2])
    for array in (padded.lengths, padded.indices, padded.size_at_t):
        assert array.dtype == "int32"
    back = ops.padded2list(padded[1:3])
    assert [len(seq) for seq in back] == [2, 3]


@every_backend
def test_insert_into(ops):
    out = ops.insert_into((2, 3, 1), [numpy.ones((1, 1), "float32"), numpy.ones((3, 1), "float32")])
    assert_array_equal(out[:, :, 0], [[1, 0, 0], [1, 1, 1]])
    with pytest.raises(ValueError, match="4 rows"):
        ops.insert_into((1, 3, 1), [numpy.ones((4, 1))])


# ---- windows and reductions: against plain loops ------------------------------


def plain_seq2col(X, nW, lengths):
    Y = numpy.zeros((len(X), (2 * nW + 1) * X.shape[1]), dtype=X.dtype)
    start = 0
    for n in lengths:
        for t in range(n):
            for k in range(-nW, nW + 1):
                if 0 <= t + k < n:
                    at = (k + nW) * X.shape[1]
                    Y[start + t, at : at + X.shape[1]] = X[start + t + k]
        start += n
    return Y


@every_backend
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@given(data=strategies.ragged(), nW=st.integers(0, 3))
def test_seq2col_matches_a_plain_loop(ops, dtype, data, nW):
    X, lengths = data
    X = X.astype(dtype)
    Y = ops.seq2col(X, nW, lengths=lengths)
    assert Y.dtype == dtype
    assert_array_equal(Y, plain_seq2col(X, nW, lengths))
    assert_array_equal(ops.seq2col(X, nW), plain_seq2col(X, nW, [len(X)]))


@every_backend
@given(data=strategies.ragged(), nW=st.integers(0, 3))
def test_backprop_seq2col_is_the_adjoint(ops, data, nW):
    X, lengths = data
    dY = numpy.random.RandomState(0).normal(size=(len(X), (2 * nW + 1) * X.shape[1]))
    dX = ops.backprop_seq2col(dY, nW, lengths=lengths)
    assert dX.shape == X.shape
    assert_allclose(
        (ops.seq2col(X, nW, lengths=lengths) * dY).sum(), (X * dX).sum(), rtol=1e-9, atol=1e-9
    )


@every_backend
def test_seq2col_says_what_is_wrong(ops):
    X = numpy.ones((3, 2), "float32")
    with pytest.raises(IndexError, match="sum"):
        ops.seq2col(X, 1, lengths=i32(1, 1))
    with pytest.raises(ValueError, match="lengths must be"):
        ops.seq2col(X, 1, lengths=i32(4, -1))
    with pytest.raises(ValueError, match="nW"):
        ops.seq2col(X, -1)
    with pytest.raises(ValueError, match="multiple"):
        ops.backprop_seq2col(X, 1)


def split(X, lengths):
    ends = numpy.cumsum(lengths, dtype="int64")
    return [X[end - n : end] for n, end in zip(lengths, ends, strict=True)]


@every_backend
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@given(data=strategies.ragged())
def test_reduce_sum_and_mean(ops, dtype, data):
    X, lengths = data[0].astype(dtype), data[1]
    rtol = {"float16": 2e-2, "float32": 1e-5, "float64": 1e-12}[dtype]
    width = X.shape[1]
    sums = ops.reduce_sum(X, lengths)
    means = ops.reduce_mean(X, lengths)
    assert sums.dtype == means.dtype == dtype
    assert sums.shape == means.shape == (len(lengths), width)
    for total, mean, rows in zip(sums, means, split(X.astype("float64"), lengths), strict=True):
        assert_allclose(total, rows.sum(axis=0), rtol=rtol, atol=rtol * 20)
        expected = rows.mean(axis=0) if len(rows) else numpy.zeros(width)
        assert_allclose(mean, expected, rtol=rtol, atol=rtol * 20)


@every_backend
@pytest.mark.parametrize("name", ["sum", "mean"])
@given(data=strategies.ragged())
def test_gradients_of_sum_and_mean_are_the_adjoint(ops, name, data):
    X, lengths = data
    dY = numpy.random.RandomState(0).normal(size=(len(lengths), X.shape[1]))
    dX = getattr(ops, f"backprop_reduce_{name}")(dY, lengths)
    assert dX.shape == X.shape
    Y = getattr(ops, f"reduce_{name}")(X, lengths)
    assert_allclose((Y * dY).sum(), (X * dX).sum(), rtol=1e-9, atol=1e-9)


@every_backend
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@given(data=strategies.ragged(min_length=1))
def test_reduce_max_first_last(ops, dtype, data):
    X, lengths = data[0].astype(dtype), data[1]
    parts = split(X, lengths)
    Y, which = ops.reduce_max(X, lengths)
    assert (Y.dtype, which.dtype) == (dtype, "int32")
    first, starts_ends = ops.reduce_first(X, lengths)
    last, lasts = ops.reduce_last(X, lengths)
    assert first.dtype == last.dtype == dtype
    for b, rows in enumerate(parts):
        assert_array_equal(Y[b], rows.max(axis=0))
        assert_array_equal(which[b], rows.argmax(axis=0))
        assert_array_equal(first[b], rows[0])
        assert_array_equal(last[b], rows[-1])
    picked = [rows * _is_first_max(rows) for rows in parts]
    assert_array_equal(ops.backprop_reduce_max(Y, which, lengths), join(picked, X))
    firsts = [rows * (numpy.arange(len(rows)) == 0)[:, None] for rows in parts]
    assert_array_equal(ops.backprop_reduce_first(first, starts_ends), join(firsts, X))
    lasts_only = [rows * (numpy.arange(len(rows)) == len(rows) - 1)[:, None] for rows in parts]
    assert_array_equal(ops.backprop_reduce_last(last, lasts), join(lasts_only, X))


def join(parts, X):
    return numpy.concatenate([X[:0], *parts])


def _is_first_max(rows):
    return rows.argmax(axis=0)[None, :] == numpy.arange(len(rows))[:, None]


@every_backend
def test_reductions_check_lengths(ops):
    X = numpy.ones((3, 2), dtype="float32")
    for name in ("sum", "mean", "max", "first", "last"):
        reduce = getattr(ops, f"reduce_{name}")
        with pytest.raises(ValueError, match="lengths must be"):
            reduce(X, i32(4, -1))
        for wrong in (i32(2, 2), i32(1, 1)):
            with pytest.raises(IndexError, match="lengths must sum up to the number of rows"):
                reduce(X, wrong)
    for name in ("max", "first", "last"):
        with pytest.raises(ValueError, match="all sequence lengths must be > 0"):
            getattr(ops, f"reduce_{name}")(X, i32(3, 0))


@every_backend
def test_gradients_of_reductions_check_their_arguments(ops):
    dY = numpy.ones((2, 3), dtype="float32")
    for name in ("sum", "mean"):
        backprop = getattr(ops, f"backprop_reduce_{name}")
        with pytest.raises(ValueError, match="lengths must be"):
            backprop(dY, i32(1, -1))
        for wrong in (i32(1), i32(1, 1, 1)):
            with pytest.raises(ValueError, match="gradient"):
                backprop(dY, wrong)
    which = numpy.zeros((2, 3), dtype="int32")
    with pytest.raises(ValueError, match="lengths must be > 0"):
        ops.backprop_reduce_max(dY, which, i32(1, 0))
    for bad in (1, -1):
        with pytest.raises(IndexError, match="which"):
            ops.backprop_reduce_max(dY, which + i32(bad), i32(1, 1))
    with pytest.raises(ValueError, match="which"):
        ops.backprop_reduce_max(dY, which[:1], i32(1, 1))


@every_backend
@pytest.mark.parametrize("width", [0, 3])
def test_reductions_of_no_sequences_and_back(ops, width):
    X = numpy.zeros((0, width), dtype="float32")
    none = i32()
    for name in ("sum", "mean"):
        Y = getattr(ops, f"reduce_{name}")(X, none)
        assert Y.shape == getattr(ops, f"backprop_reduce_{name}")(Y, none).shape == (0, width)
        empty = getattr(ops, f"reduce_{name}")(X, i32(0, 0))
        assert_array_equal(empty, numpy.zeros((2, width)))
    Y, which = ops.reduce_max(X, none)
    assert Y.shape == which.shape == ops.backprop_reduce_max(Y, which, none).shape == (0, width)
    for name in ("first", "last"):
        Y, state = getattr(ops, f"reduce_{name}")(X, none)
        assert Y.shape == getattr(ops, f"backprop_reduce_{name}")(Y, state).shape == (0, width)


@every_backend
@given(data=strategies.ragged())
def test_softmax_sequences(ops, data):
    X, lengths = data
    Y = ops.softmax_sequences(X * 10, lengths)
    dY = numpy.random.RandomState(0).normal(size=X.shape)
    dX = ops.backprop_softmax_sequences(dY, Y, lengths)
    for rows, scores, d, g in zip(
        split(Y, lengths),
        split(X * 10, lengths),
        split(dX, lengths),
        split(dY, lengths),
        strict=True,
    ):
        if len(rows):
            expected = ops.softmax(scores, axis=0)
            assert_allclose(rows, expected, rtol=1e-9, atol=1e-300)
            assert_allclose(d, ops.backprop_softmax(expected, g, axis=0), rtol=1e-7, atol=1e-12)


@every_backend
def test_softmax_sequences_does_not_saturate(ops):
    X = f32(30, 25).reshape(2, 1)
    Y = ops.softmax_sequences(X, i32(2))
    assert_allclose(Y[:, 0], [0.9933071, 0.0066929], rtol=1e-5)
    assert ops.softmax_sequences(X, i32(2), inplace=True) is X
    assert_array_equal(X, Y)
    with pytest.raises(NotImplementedError):
        ops.softmax_sequences(numpy.ones((1, 1, 1)), i32(1))


# ---- products ------------------------------


@every_backend
@pytest.mark.parametrize("trans1", [False, True])
@pytest.mark.parametrize("trans2", [False, True])
@pytest.mark.parametrize("shape", [(2, 3, 4), (0, 3, 4), (2, 0, 4), (2, 3, 0)])
def test_gemm(ops, trans1, trans2, shape):
    m, k, n = shape
    rng = numpy.random.RandomState(0)
    x, y = rng.normal(size=(m, k)), rng.normal(size=(k, n))
    expected = x @ y
    x, y = (x.T if trans1 else x), (y.T if trans2 else y)
    assert_allclose(ops.gemm(x, y, trans1=trans1, trans2=trans2), expected)
    for out in (numpy.full((m, n), numpy.nan), numpy.full((m, 2 * n), numpy.nan)[:, ::2]):
        assert ops.gemm(x, y, out=out, trans1=trans1, trans2=trans2) is out
        assert_allclose(out, expected)
    out = numpy.ones((m, n))
    assert ops.gemm_add(out, x, y, trans1=trans1, trans2=trans2) is out
    assert_allclose(out, 1 + expected)


@every_backend
def test_gemm_checks_shapes(ops):
    x = numpy.ones((2, 3), "float32")
    with pytest.raises(ValueError):
        ops.gemm(x, x)
    with pytest.raises(ValueError):
        ops.gemm(x, x[0])
    for out in (numpy.ones((2, 3), "float32"), numpy.ones((2, 2), "float64")):
        with pytest.raises(ValueError):
            ops.gemm(x, x, out=out, trans2=True)


@every_backend
def test_affine_and_column_sums(ops):
    X, W, b = numpy.ones((2, 3)), numpy.arange(6.0).reshape(2, 3), numpy.array([1.0, 2.0])
    assert_allclose(ops.affine(X, W, b), [[4, 14], [4, 14]])
    out = numpy.array([1.0, 1.0, 1.0])
    assert ops.add_column_sums(out, X) is out
    assert_allclose(out, [3, 3, 3])
    with pytest.raises(ValueError):
        ops.add_column_sums(out, numpy.ones((2, 4)))


@every_backend
@every_formula
def test_affine_activation_and_its_gradient(ops, formula):
    if formula.name == "identity":
        return
    rng = numpy.random.RandomState(0)
    X, W, b = rng.normal(size=(4, 3)), rng.normal(size=(2, 3)), rng.normal(size=2)
    P = X @ W.T + b
    Y, kept = ops.affine_activation(formula.name, X, W, b)
    assert_allclose(Y, formula.value(numpy, P, *formula.defaults), rtol=1e-9, atol=1e-12)
    assert (kept is None) == (formula.slope_of == "Y")
    dY = rng.normal(size=Y.shape)
    dP = ops.backprop_activation(formula.name, dY, Y if kept is None else kept)
    Z = Y if kept is None else P
    expected = dY * formula.slope(numpy, Z, *formula.defaults)
    assert_allclose(dP, expected, rtol=1e-9, atol=1e-12)


@every_backend
def test_affine_activation_takes_parameters(ops):
    X, W, b = numpy.array([[2.0]]), numpy.array([[1.0]]), numpy.array([0.0])
    Y, P = ops.affine_activation("clipped_linear", X, W, b, (0.5, 1.0, -9.0, 9.0))
    assert_allclose(Y, [[2.0]])
    dP = ops.backprop_activation("clipped_linear", numpy.ones((1, 1)), P, (0.5, 1.0, -9.0, 9.0))
    assert_allclose(dP, [[0.5]])


@every_backend
def test_affine_maxout(ops):
    rng = numpy.random.RandomState(0)
    X, W, b = rng.normal(size=(4, 5)), rng.normal(size=(3, 2, 5)), rng.normal(size=(3, 2))
    best, which = ops.affine_maxout(X, W, b)
    pieces = numpy.einsum("bi,opi->bop", X, W) + b
    assert_allclose(best, pieces.max(axis=2))
    assert_array_equal(which, pieces.argmax(axis=2))


# ---- tables and hashes ------------------------------


@every_backend
@pytest.mark.parametrize("ints", ["int32", "int64", "uint32"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gather_add_and_its_gradient(ops, ints, dtype):
    rng = numpy.random.RandomState(0)
    table = rng.normal(size=(5, 3)).astype(dtype)
    indices = rng.randint(0, 5, (4, 2)).astype(ints)
    Y = ops.gather_add(table, indices)
    assert Y.dtype == dtype
    assert_allclose(Y, table[indices].sum(axis=1), rtol=1e-6)
    d_table = numpy.zeros_like(table)
    dY = rng.normal(size=Y.shape).astype(dtype)
    assert ops.backprop_gather_add(d_table, dY, indices) is d_table
    expected = numpy.zeros((5, 3))
    for b in range(4):
        for k in range(2):
            expected[indices[b, k]] += dY[b]
    assert_allclose(d_table, expected, rtol=1e-5, atol=1e-6)


@every_backend
def test_gather_add_never_leaves_the_table(ops):
    table = numpy.ones((5, 3), dtype="float32")
    for bad in (5, -1, 2**31 - 1):
        indices = i32(0, bad).reshape(1, 2)
        with pytest.raises(IndexError):
            ops.gather_add(table, indices)
        with pytest.raises(IndexError):
            ops.backprop_gather_add(table, table[:1], indices)
    assert_array_equal(table, 1)


@every_backend
@pytest.mark.parametrize("B, K, width", [(0, 2, 3), (2, 0, 3), (2, 2, 0)])
def test_gather_add_of_nothing(ops, B, K, width):
    table = numpy.ones((5, width), dtype="float32")
    indices = numpy.zeros((B, K), dtype="int32")
    Y = ops.gather_add(table, indices)
    assert_array_equal(Y, numpy.full((B, width), K))
    ops.backprop_gather_add(table, Y, indices)


@every_backend
@pytest.mark.parametrize("ints", ["int32", "int64"])
def test_scatter_add(ops, ints):
    table = numpy.zeros((3, 2), dtype="float32")
    indices = numpy.array([0, 2, 0], dtype=ints)
    assert ops.scatter_add(table, indices, numpy.ones((3, 2), "float32")) is None
    assert_array_equal(table, [[2, 2], [0, 0], [1, 1]])
    ops.scatter_add(table, numpy.array([-1], dtype=ints), numpy.ones((1, 2), "float32"))
    assert_array_equal(table[2], [2, 2])
    with pytest.raises(IndexError):
        ops.scatter_add(table, numpy.array([3], dtype=ints), numpy.ones((1, 2), "float32"))


# MurmurHash3_x64_128 of the ids' eight bytes.
HASHES = {
    (0, 0): [3428303819, 685728695, 3303603794, 4065689084],
    (1, 0): [4211459146, 4457399, 3547175942, 1032506804],
    (2**64 - 1, 0): [448458099, 2699342458, 1800029871, 1763775177],
    (1, 1): [4080786504, 1033735080, 580658153, 4247176725],
}


@every_backend
def test_hash(ops):
    for (key, seed), words in HASHES.items():
        found = ops.hash(numpy.array([key], dtype="uint64"), seed)
        assert found.dtype == "uint32"
        assert_array_equal(found, [words])
    assert ops.hash(numpy.zeros(0, dtype="uint64"), 0).shape == (0, 4)
    for seed in (-1, 2**32):
        with pytest.raises(OverflowError):
            ops.hash(numpy.zeros(1, dtype="uint64"), seed)


@every_backend
def test_ngrams(ops):
    assert_array_equal(ops.ngrams(1, numpy.array([1], dtype="uint64")), [10357027354812746030])
    pairs = ops.ngrams(2, numpy.array([1, 2, 3], dtype="uint64"))
    assert pairs.dtype == "uint64"
    assert_array_equal(pairs, numpy.array([2346165840139155392, 16863871380863422640], "uint64"))
    for n, m in ((0, 3), (-1, 3), (4, 3), (1, 0)):
        assert ops.ngrams(n, numpy.zeros(m, dtype="uint64")).shape == (0,)


@every_backend
@pytest.mark.parametrize("ints", ["uint64", "int32", "int64", "float32"])
def test_hash_embed(ops, ints):
    E = numpy.random.RandomState(0).normal(size=(7, 3)).astype("float32")
    ids = numpy.array([0, 1, 900, 1], dtype=ints)
    Y, rows = ops.hash_embed(E, ids, 5)
    expected = ops.hash(ids.astype("uint64"), 5) % numpy.uint32(7)
    assert rows.dtype == "uint32"
    assert_array_equal(rows, expected)
    assert_allclose(Y, E[expected].sum(axis=1), rtol=1e-6)
    Y, rows = ops.hash_embed(E, ids[:0], 5)
    assert (Y.shape, rows.shape) == ((0, 3), (0, 4))
    with pytest.raises(IndexError, match="no rows"):
        ops.hash_embed(E[:0], ids, 5)


@every_backend
def test_hash_embed_takes_negative_ids_modulo_2_64(ops):
    E = numpy.random.RandomState(0).normal(size=(7, 3)).astype("float32")
    _, rows = ops.hash_embed(E, numpy.array([-1]), 0)
    assert_array_equal(
        rows, ops.hash(numpy.array([2**64 - 1], dtype="uint64"), 0) % numpy.uint32(7)
    )


# ---- what arguments may look like ------------------------------

SEQUENCES = {
    "reduce_sum": lambda ops, X, lengths: ops.reduce_sum(X, lengths),
    "reduce_mean": lambda ops, X, lengths: ops.reduce_mean(X, lengths),
    "reduce_max": lambda ops, X, lengths: ops.reduce_max(X, lengths)[0],
    "seq2col": lambda ops, X, lengths: ops.seq2col(X, 1, lengths=lengths),
    "maxout": lambda ops, X, lengths: ops.maxout(X.reshape(2, 2, 2))[0],
    "gather_add": lambda ops, X, lengths: ops.gather_add(X, lengths.reshape(1, 2)),
    "relu": lambda ops, X, lengths: ops.relu(X),
    "mish": lambda ops, X, lengths: ops.mish(X),
    "hash": lambda ops, X, lengths: ops.hash(lengths.astype("uint64"), 0),
}


@every_backend
@pytest.mark.parametrize("name", SEQUENCES)
def test_arguments_may_be_read_only_strided_half_precision_or_of_other_integers(ops, name):
    function = SEQUENCES[name]
    X, lengths = numpy.arange(8, dtype="float32").reshape(4, 2) - 3, i32(1, 3)
    expected = function(ops, X, lengths)
    fixed, fixed_lengths = X.copy(), lengths.copy()
    fixed.flags.writeable = fixed_lengths.flags.writeable = False
    assert_array_equal(function(ops, fixed, fixed_lengths), expected)
    strided = numpy.repeat(X, 2, axis=1)[:, ::2]
    for ints in ("int64", "uint32"):
        strided_lengths = numpy.repeat(lengths, 2)[::2].astype(ints)
        assert_array_equal(function(ops, strided, strided_lengths), expected)
    half = function(ops, X.astype("float16"), lengths)
    assert_allclose(half, expected, rtol=2e-3)
    assert half.dtype == (expected.dtype if name == "hash" else "float16")


# ---- training ------------------------------


@every_backend
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_adam_by_hand(ops, dtype):
    w, g, m, v = (numpy.array([x], dtype=dtype) for x in (1.0, 0.5, 0.1, 0.2))
    result = ops.adam(w, g, m, v, 0.9, 0.999, 1e-8, 0.001)
    assert all(a is b for a, b in zip(result, (w, g, m, v), strict=True))
    assert_allclose([w[0], g[0], m[0], v[0]], [0.999687, 0, 0.14, 0.20005], rtol=1e-6)
    with pytest.raises(ValueError):
        ops.adam(w, numpy.ones(2, dtype), m, v, 0.9, 0.999, 1e-8, 0.001)


def test_adam_has_one_meaning_of_mod_rate():
    results = []
    for ops in BACKENDS:
        w, g, m, v = (numpy.array([x], dtype="float32") for x in (1.0, 0.5, 0.1, 0.2))
        ops.adam(w, g, m, v, 0.9, 0.999, 1e-8, 0.001, 0.5)
        results.append(float(w[0]))
    assert_allclose(results, numpy.full(len(BACKENDS), 0.999687), rtol=1e-6)  # it does not count


@every_backend
def test_adam_writes_into_strided_arrays(ops):
    buffers = [numpy.ones((2, 4), "float32") for _ in range(4)]
    ops.adam(*(buffer[:, ::2] for buffer in buffers), 0.9, 0.999, 1e-8, 0.1)
    for buffer, value in zip(buffers, (0.9, 0, 1, 1), strict=True):
        assert_allclose(buffer[:, ::2], value, rtol=1e-5)
        assert_array_equal(buffer[:, 1::2], 1)


@every_backend
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("averaged", [False, True])
def test_adam_step_is_the_whole_update(ops, dtype, averaged):
    rng = numpy.random.RandomState(0)
    w, g = (rng.normal(size=(2, 3)).astype(dtype) for _ in range(2))
    m, v = rng.normal(size=6).astype(dtype), rng.uniform(size=6).astype(dtype)
    ema = rng.normal(size=(2, 3)).astype(dtype) if averaged else None
    W, M, V = w.astype("float64"), m.reshape(2, 3) * 1.0, v.reshape(2, 3) * 1.0
    G = g * 0.5 + 0.01 * W
    M = 0.9 * M + 0.1 * G
    V = 0.99 * V + 0.01 * G**2
    W = W - 0.1 * M / (numpy.sqrt(V) + 1e-3)
    W = W - 0.02 * W
    E = ema - 0.3 * (ema - W) if averaged else None
    ops.adam_step(
        w, g, m, v, ema, learn_rate=0.1, beta1=0.9, beta2=0.99, eps=1e-3,
        gradient_scale=0.5, l2=0.01, decay=0.02, ema_rate=0.3,
    )  # fmt: skip
    assert_allclose(w, W, rtol=1e-5)
    assert_allclose(m, M.reshape(6), rtol=1e-5)
    assert_allclose(v, V.reshape(6), rtol=1e-5)
    assert not g.any()
    if averaged:
        assert_allclose(ema, E, rtol=1e-5)


@every_backend
def test_sgd_step_clears_even_a_nan_gradient(ops):
    w, g, ema = f32(1, 2), f32(0.5, -1), f32(0, 0)
    ops.sgd_step(w, g, ema, learn_rate=0.1, gradient_scale=2.0, l2=0.5, decay=0.1, ema_rate=0.5)
    expected = numpy.array([1 - 0.1 * (1 + 0.5), 2 - 0.1 * (-2 + 1)]) * 0.9
    assert_allclose(w, expected, rtol=1e-6)
    assert_allclose(ema, expected / 2, rtol=1e-6)
    g[:] = numpy.nan
    ops.sgd_step(w, g, learn_rate=0.0)
    assert_array_equal(g, [0, 0])


@every_backend
@given(X=strategies.arrays(dtype="float32"), threshold=st.floats(0.0625, 20))
def test_clipped_gradient_is_no_longer_than_the_threshold(ops, X, threshold):
    before = X.astype("float64")
    length = numpy.sqrt((before**2).sum())
    assert_allclose(ops.norm(X), length, rtol=1e-6)
    assert ops.clip_gradient(X, threshold) is X
    assert numpy.sqrt((X.astype("float64") ** 2).sum()) <= threshold * (1 + 1e-5) or (
        length <= threshold
    )
    assert_allclose(X, before * min(1.0, threshold / length) if length else before, rtol=1e-5)


@every_backend
def test_clip_gradient_of_zeros_with_threshold_zero(ops):
    assert_array_equal(ops.clip_gradient(f32(0, 0), 0.0), [0, 0])


@every_backend
def test_update_averages_and_logloss(ops):
    ema, weights = f32(1, 2), f32(3, 3)
    assert ops.update_averages(ema, weights, 5) is None
    assert_allclose(ema, [1 + 0.6 * 2, 2 + 0.6], rtol=1e-6)
    loss = ops.logloss(numpy.array([1.0, 0.0]), numpy.array([0.5, 0.25]))
    assert_allclose(loss, [0.6931472, 0.2876821], rtol=1e-6)


@every_backend
def test_position_encode(ops):
    assert_allclose(
        ops.position_encode(2, 4, 100)[1],
        [0.84147096, 0.54030228, 0.00999983, 0.99994999],
        rtol=1e-5,
    )
    odd = ops.position_encode(2, 5)
    assert odd.dtype == "float32"
    assert_allclose(odd[1], [0.84147096, 0.54030228, 0.00063096, 0.99999982, 0.00063096], rtol=1e-5)
    assert_allclose(ops.position_encode(2, 1)[:, 0], numpy.sin([0, 1]), rtol=1e-6)
    assert ops.position_encode(0, 4).shape == (0, 4)
    out = numpy.zeros((2, 4), dtype="float32")
    assert ops.position_encode(2, 4, out=out) is out
    for bad in (numpy.zeros((2, 3), "float32"), numpy.zeros((2, 4))):
        with pytest.raises(ValueError):
            ops.position_encode(2, 4, out=bad)


# ---- the contract ------------------------------


@pytest.mark.parametrize("cls", [NumpyOps, CupyOps])
def test_backends_have_the_signatures_of_ops(cls):
    for name in dir(cls):
        method = getattr(cls, name)
        if name.startswith("_") or not callable(method):
            continue
        assert hasattr(Ops, name), name
        expected = inspect.signature(getattr(Ops, name)).parameters.values()
        found = inspect.signature(method).parameters.values()
        assert [(p.name, p.default) for p in found] == [(p.name, p.default) for p in expected], name


def test_every_public_method_is_documented():
    families = ("alloc", "reshape", "asarray")
    for name, method in inspect.getmembers(Ops, inspect.isfunction):
        if not name.startswith("_") and not name.startswith(families):
            assert method.__doc__, name


def test_generic_ops_have_no_cblas():
    with pytest.raises(NotImplementedError, match="Ops"):
        Ops().cblas()
