"""Losses: values and gradients, and the many forms of truths."""

import math
import pickle

import numpy
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from thinc import loss
from thinc.backends import NumpyOps
from thinc.config import registry
from thinc.loss import (
    CategoricalCrossentropy,
    CosineDistance,
    L2Distance,
    Loss,
    SequenceCategoricalCrossentropy,
)

NAMES = ["cat", "dog", "owl"]
G = numpy.array(
    [[0.2, 0.5, 0.3], [0.1, 0.1, 0.8], [0.6, 0.3, 0.1], [0.0, 1.0, 0.0]], dtype="float32"
)
LABELS = [1, 2, 0, 2]
ONE_HOT = numpy.eye(3, dtype="float32")[LABELS]


def numeric_gradient(f, X, eps=1e-6):
    """Central differences of a number by X."""
    gradient = numpy.zeros_like(X)
    for i in numpy.ndindex(X.shape):
        up, down = X.copy(), X.copy()
        up[i] += eps
        down[i] -= eps
        gradient[i] = (f(up) - f(down)) / (2 * eps)
    return gradient


def gradient_of(truths, guesses=G, **options):
    """get_grad without normalizing; checks that nothing given was changed, and the value."""
    before = guesses.copy(), truths.copy() if hasattr(truths, "copy") else truths
    function = CategoricalCrossentropy(normalize=False, **options)
    gradient = function.get_grad(guesses, truths)
    assert_array_equal(guesses, before[0])
    assert numpy.array_equal(truths, before[1]) or truths == before[1]
    assert gradient is not guesses
    both = function(guesses, truths)
    assert_array_equal(both[0], gradient)
    assert both[1] == function.get_loss(guesses, truths) == (gradient * gradient).sum()
    return gradient


# ---- cross-entropy: the mathematics -------------------------------------------------


@given(seed=st.integers(0, 1000), rows=st.integers(1, 5), K=st.integers(2, 5))
def test_gradient_is_that_of_the_cross_entropy_by_the_scores(seed, rows, K):
    rng = numpy.random.RandomState(seed)
    scores = rng.normal(size=(rows, K))
    targets = rng.dirichlet(numpy.ones(K), size=rows)

    def softmax(Z):
        return numpy.exp(Z) / numpy.exp(Z).sum(axis=1, keepdims=True)

    def cross_entropy(Z):
        return -(targets * numpy.log(softmax(Z))).sum() / rows

    ours = CategoricalCrossentropy().get_grad(softmax(scores), targets)
    assert_allclose(ours, numeric_gradient(cross_entropy, scores), atol=1e-8)


def test_normalizing_divides_by_the_rows():
    function = CategoricalCrossentropy(normalize=True)
    gradient, value = function(G, LABELS)
    assert_allclose(gradient, (G - ONE_HOT) / 4)
    assert_allclose(value, (((G - ONE_HOT) / 4) ** 2).sum(), rtol=1e-6)


def test_label_smoothing_shares_with_the_other_classes():
    T = ONE_HOT * 0.8 + (1 - ONE_HOT) * 0.1
    assert_allclose(gradient_of(LABELS, label_smoothing=0.2), G - T, rtol=1e-6)


# ---- cross-entropy: forms of truths -------------------------------------------------

FORMS = {
    "list": LABELS,
    "tuple": tuple(LABELS),
    "numpy ints in a list": [numpy.int64(i) for i in LABELS],
    "int32": numpy.array(LABELS, dtype="int32"),
    "int64": numpy.array(LABELS, dtype="int64"),
    "uint8": numpy.array(LABELS, dtype="uint8"),
    "uint64": numpy.array(LABELS, dtype="uint64"),
    "names": [NAMES[i] for i in LABELS],
    "tuple of names": tuple(NAMES[i] for i in LABELS),
    "array of names": numpy.array([NAMES[i] for i in LABELS]),
    "array of objects": numpy.array([NAMES[i] for i in LABELS], dtype=object),
    "one-hot": ONE_HOT,
    "one-hot ints": ONE_HOT.astype("int32"),
    "one-hot bools": ONE_HOT.astype(bool),
    "list of rows": list(ONE_HOT),
    "nested lists": ONE_HOT.tolist(),
}


@pytest.mark.parametrize("truths", FORMS.values(), ids=FORMS)
def test_all_forms_of_the_same_truths_give_the_same_gradient(truths):
    assert_allclose(gradient_of(truths, names=NAMES), G - ONE_HOT, rtol=1e-6)
    T, mask = CategoricalCrossentropy(names=NAMES).convert_truths(truths, G)
    assert_array_equal(T, ONE_HOT)
    assert_array_equal(mask, numpy.ones_like(G))
    assert T is not truths


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradient_has_the_dtype_of_the_guesses(dtype):
    for truths in (LABELS, ONE_HOT):
        gradient, value = CategoricalCrossentropy()(G.astype(dtype), truths)
        assert gradient.dtype == value.dtype == dtype


def test_bools_are_classes_0_and_1():
    for truths in ([True, False], numpy.array([True, False])):
        assert_allclose(gradient_of(truths, G[:2, :2]), G[:2, :2] - [[0, 1], [1, 0]])


@pytest.mark.parametrize(
    "truths", [[], (), numpy.zeros(0, "int32"), numpy.array([]), numpy.zeros((0, 3), "f")]
)
def test_no_rows(truths):
    gradient, value = CategoricalCrossentropy()(G[:0], truths)
    assert gradient.shape == (0, 3)
    assert value == 0.0


MISSING = {
    "None in names": (["dog", None, None, "owl"], {"names": NAMES}),
    "None first": ([None, None, None, 2], {}),
    "None in ints": ([1, None, None, 2], {}),
    "only None": ([None] * 4, {}),
    "empty name": (["dog", "", "", "owl"], {"names": NAMES, "missing_value": ""}),
    "a class": (["dog", "cat", "cat", "owl"], {"names": NAMES, "missing_value": "cat"}),
    "-1": ([1, -1, -1, 2], {"missing_value": -1}),
    "-1 in an array": (numpy.array([1, -1, -1, 2]), {"missing_value": -1}),
    "number": (numpy.array([1, 0, 0, 2], dtype="uint8"), {"missing_value": 0}),
    "beyond K": ([1, 99, 99, 2], {"missing_value": 99}),
    "row": (numpy.eye(3, dtype="f")[[1, 0, 0, 2]], {"missing_value": 0}),
    "number and None": ([1, 0, None, 2], {"missing_value": 0}),
}


@pytest.mark.parametrize("truths, options", MISSING.values(), ids=MISSING)
def test_missing_labels_have_no_gradient(truths, options):
    gradient = gradient_of(truths, **options)
    expected = G - numpy.eye(3)[[1, 0, 0, 2]]
    expected[[1, 2]] = 0
    for row in (0, 3):
        if truths[row] is None:
            expected[row] = 0
    assert_allclose(gradient, expected, rtol=1e-6)


def test_missing_rows_count_when_normalizing_and_hide_nan():
    guesses = G.copy()
    guesses[1] = math.nan
    gradient = CategoricalCrossentropy(missing_value=2).get_grad(guesses, LABELS)
    assert_array_equal(gradient[1], 0)
    assert_allclose(gradient[0], (G[0] - ONE_HOT[0]) / 4)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_negated_names_only_push_their_own_class_down(smoothing):
    truths = ["!dog", "owl", "!cat", None]
    gradient = gradient_of(truths, names=NAMES, neg_prefix="!", label_smoothing=smoothing)
    assert_array_equal(gradient[0], [0, G[0, 1], 0])
    assert_array_equal(gradient[2], [G[2, 0], 0, 0])
    assert_array_equal(gradient[3], 0)
    target = numpy.array([smoothing / 2, smoothing / 2, 1 - smoothing])
    assert_allclose(gradient[1], G[1] - target, rtol=1e-6)


def test_names_do_not_change_two_dimensional_truths():
    T = ONE_HOT.copy()
    T[0, 0] = -1
    before = T.copy()
    with pytest.raises(ValueError, match="truth values outside"):
        CategoricalCrossentropy(names=NAMES).get_grad(G, T)
    assert_array_equal(T, before)


# ---- cross-entropy: mistakes --------------------------------------------------------

WHO = "Cannot calculate CategoricalCrossentropy loss"


@pytest.mark.parametrize(
    "guesses, truths, options, error, message",
    [
        (G, ONE_HOT[:, :2], {}, ValueError, rf"{WHO}: mismatched shapes: \(4, 3\) vs \(4, 2\)"),
        (G, [1, 2], {}, ValueError, rf"{WHO}: mismatched shapes: \(4, 3\) vs \(2, 3\)"),
        (G, [], {}, ValueError, rf"{WHO}: mismatched shapes"),
        (G, numpy.ones(4, "f"), {}, ValueError, rf"{WHO}: mismatched shapes"),
        (G * 2, LABELS, {}, ValueError, rf"{WHO} with guesses outside the \[0,1\] interval"),
        (-G, LABELS, {}, ValueError, rf"{WHO} with guesses outside the \[0,1\] interval"),
        (G, ONE_HOT * 2, {}, ValueError, rf"{WHO} with truth values outside the \[0,1\]"),
        (G, (ONE_HOT * 2).tolist(), {}, ValueError, rf"{WHO} with truth values outside"),
        (G, -ONE_HOT, {}, ValueError, rf"{WHO} with truth values outside the \[0,1\]"),
        (G, [0, 1, 2, 3], {}, IndexError, "3 is out of range for 3 classes"),
        (G, [0, 1, 2, -1], {}, ValueError, "negative, got -1"),
        (G, numpy.array([0, 1, 2, -1]), {}, ValueError, "negative, got -1"),
        (G, [0, 1, 2.5, 1], {}, TypeError, "expected integers as truths, got"),
        (G, [0, "1", 2, 1], {}, TypeError, "expected integers as truths, got"),
        (G, "cat dog", {}, TypeError, "truths as an array or a list, got .*str"),
        (G, ["cat"] * 4, {}, ValueError, "^Cannot calculate loss from list of strings without"),
        (G, ["cow"] * 4, {"names": NAMES}, KeyError, "cow"),
        (G, LABELS, {"names": NAMES[:2]}, ValueError, r"there are 2 names, .*\(4, 3\)"),
        (G, ONE_HOT, {"label_smoothing": 0.1}, ValueError, "^Label smoothing is only applied"),
        (G, LABELS, {"label_smoothing": 0.9}, ValueError, "label_smoothing parameter"),
    ],
)
def test_mistakes_are_named(guesses, truths, options, error, message):
    function = CategoricalCrossentropy(**options)
    for method in (function, function.get_grad, function.get_loss):
        with pytest.raises(error, match=message):
            method(guesses, truths)


def test_nan_guesses_pass():
    guesses = G.copy()
    guesses[0, 0] = math.nan
    assert numpy.isnan(CategoricalCrossentropy().get_grad(guesses, LABELS)).sum() == 1


# ---- sequences ----------------------------------------------------------------------

SEQUENCES = {
    "arrays": [numpy.array(LABELS[:1]), numpy.array(LABELS[1:1]), numpy.array(LABELS[1:])],
    "lists": [LABELS[:1], LABELS[1:1], LABELS[1:]],
    "names": [[NAMES[i] for i in part] for part in (LABELS[:1], [], LABELS[1:])],
    "one-hot": [ONE_HOT[:1], ONE_HOT[1:1], ONE_HOT[1:]],
    "mixed": [["dog"], [], numpy.array(LABELS[1:])],
    "mixed lists": [["dog"], [], LABELS[1:]],
}


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("truths", SEQUENCES.values(), ids=SEQUENCES)
def test_sequences_have_the_gradients_of_their_rows(truths, normalize):
    guesses = [G[:1].copy(), G[1:1].copy(), G[1:].copy()]
    function = SequenceCategoricalCrossentropy(normalize=normalize, names=NAMES)
    gradients, value = function(guesses, truths)
    expected = (G - ONE_HOT) / (3 if normalize else 1)
    assert [g.shape for g in gradients] == [(1, 3), (0, 3), (3, 3)]
    assert_allclose(numpy.concatenate(gradients), expected, rtol=1e-6)
    assert_allclose(value, (expected**2).sum(), rtol=1e-6)
    assert function.get_loss(guesses, truths) == value
    assert_array_equal(numpy.concatenate(guesses), G)


def test_sequences_pass_the_options_on():
    function = SequenceCategoricalCrossentropy(
        normalize=False, names=NAMES, missing_value="", neg_prefix="!", label_smoothing=0.1
    )
    assert not function.cc.normalize
    rows = ["!dog", "owl", "", "cat"]
    expected = gradient_of(
        rows, names=NAMES, missing_value="", neg_prefix="!", label_smoothing=0.1
    )
    ours = function.get_grad([G[:3], G[3:]], [rows[:3], rows[3:]])
    assert_array_equal(numpy.concatenate(ours), expected)


def test_no_sequences():
    assert SequenceCategoricalCrossentropy()([], []) == ([], 0.0)


def test_sequences_that_do_not_match():
    with pytest.raises(ValueError, match="guesses and truths must be same length, got 2 and 1"):
        SequenceCategoricalCrossentropy()([G, G], [LABELS])
    # Lengths that agree only in total.
    with pytest.raises(ValueError, match=rf"{WHO}: mismatched shapes: \(1, 3\) vs \(2, 3\)"):
        SequenceCategoricalCrossentropy()([G[:1], G[1:3]], [[0, 1], [2]])


# ---- distances ----------------------------------------------------------------------


@given(X=strategies.floats2d(min_rows=1), normalize=st.booleans())
def test_l2_distance(X, normalize):
    T = numpy.roll(X, 1) + 0.5
    N = len(X) if normalize else 1
    gradient, value = L2Distance(normalize=normalize)(X, T)
    assert_allclose(gradient, (X - T) / N)
    assert_allclose(value, (((X - T) / N) ** 2).sum())
    # Half the derivative of the squared distance.
    half = numeric_gradient(lambda Y: 0.5 * ((Y - T) ** 2).sum(), X)
    assert_allclose(gradient * N, half, atol=1e-6)


@given(seed=st.integers(0, 1000), rows=st.integers(1, 5), width=st.integers(1, 5))
def test_cosine_gradient_is_the_derivative_of_its_value(seed, rows, width):
    rng = numpy.random.RandomState(seed)
    X, T = rng.uniform(0.5, 2.0, (2, rows, width)) * rng.choice([-1, 1], (2, rows, width))
    function = CosineDistance()
    expected = numeric_gradient(lambda Y: function.get_loss(Y, T), X)
    assert_allclose(function.get_grad(X, T), expected, atol=1e-7)


@given(X=strategies.floats2d(min_rows=0, low=0.5), scale=st.floats(0.1, 10))
def test_cosine_does_not_depend_on_lengths(X, scale):
    similarity = CosineDistance().get_similarity(X, X * scale)
    assert similarity.shape == (len(X), 1)
    assert_allclose(similarity, 1.0, rtol=1e-6)
    assert_allclose(CosineDistance(normalize=False).get_loss(X, -X), 2.0 * len(X), rtol=1e-6)


def test_cosine_by_hand():
    X, T = numpy.array([[1.0, 0.0], [1.0, 1.0]]), numpy.array([[0.0, 2.0], [3.0, 0.0]])
    gradient, value = CosineDistance(normalize=False)(X, T)
    assert_allclose(value, 1 + 1 - math.sqrt(0.5), rtol=1e-6)
    assert_allclose(gradient[0], [0.0, -1.0], atol=1e-6)
    normalized, half = CosineDistance()(X, T)
    assert_allclose(normalized, gradient / 2)
    assert_allclose(half, value / 2)


def test_cosine_can_ignore_truths_of_zeros():
    X = numpy.array([[1.0, 2.0], [3.0, -4.0]])
    T = numpy.array([[0.0, 0.0], [-3.0, 4.0]])
    gradient, value = CosineDistance(normalize=False, ignore_zeros=True)(X, T)
    assert_array_equal(gradient[0], 0)
    assert_allclose(value, 2.0)
    gradient, value = CosineDistance(normalize=False)(X, T)
    assert abs(gradient[0]).max() > 0.1
    # A zero vector acts as the direction of ones.
    assert_allclose(value, 2.0 + 1 - 3 / math.sqrt(2 * 5), rtol=1e-6)


@pytest.mark.parametrize(
    "function, message",
    [
        (L2Distance(), r"Cannot calculate L2 distance: mismatched shapes: \(4, 3\) vs \(4, 2\)"),
        (CosineDistance(), r"Cannot calculate cosine similarity: mismatched shapes: \(4, 3\) vs"),
    ],
)
def test_distances_need_equal_shapes(function, message):
    for method in (function, function.get_grad, function.get_loss):
        with pytest.raises(ValueError, match=message):
            method(G, G[:, :2])


@pytest.mark.parametrize("function", [L2Distance(), CosineDistance()])
def test_distances_of_no_rows(function):
    gradient, value = function(G[:0], G[:0])
    assert gradient.shape == (0, 3)
    assert value == 0.0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("function", [L2Distance(), CosineDistance()])
def test_distances_keep_the_dtype(function, dtype):
    gradient, value = function(G.astype(dtype), ONE_HOT.astype(dtype))
    assert gradient.dtype == value.dtype == dtype


# ---- registry -----------------------------------------------------------------------

OPTIONS_BY_NAME = {
    "CategoricalCrossentropy.v1": ["names", "missing_value"],
    "CategoricalCrossentropy.v2": ["names", "missing_value", "neg_prefix"],
    "CategoricalCrossentropy.v3": ["names", "missing_value", "neg_prefix", "label_smoothing"],
    "SequenceCategoricalCrossentropy.v1": ["names"],
    "SequenceCategoricalCrossentropy.v2": ["names", "neg_prefix"],
    "SequenceCategoricalCrossentropy.v3": [
        "names",
        "missing_value",
        "neg_prefix",
        "label_smoothing",
    ],
    "L2Distance.v1": [],
    "CosineDistance.v1": ["ignore_zeros"],
}
VALUES = {
    "names": NAMES,
    "missing_value": "",
    "neg_prefix": "!",
    "label_smoothing": 0.1,
    "ignore_zeros": True,
}


@pytest.mark.parametrize("name", OPTIONS_BY_NAME)
def test_registered_losses_pass_on_their_options(name):
    options = {option: VALUES[option] for option in OPTIONS_BY_NAME[name]} | {"normalize": False}
    function = registry.resolve({"loss": {"@losses": name, **options}})["loss"]
    assert type(function).__name__ == name.split(".")[0]
    assert not function.normalize
    holder = getattr(function, "cc", function)
    for option in OPTIONS_BY_NAME[name]:
        assert getattr(holder, option) == VALUES[option]


@pytest.mark.parametrize("name", loss.__all__)
def test_losses_are_pickled(name):
    function = getattr(loss, name)(normalize=False)
    assert not pickle.loads(pickle.dumps(function)).normalize
    assert isinstance(function, Loss)


def test_options_are_keyword_only():
    for name in loss.__all__:
        with pytest.raises(TypeError):
            getattr(loss, name)(True)


def test_base_class_calls_both_methods():
    assert Loss()(1, 2) == (None, None)


def test_arrays_of_the_ops():
    ops = NumpyOps()
    gradient = CategoricalCrossentropy().get_grad(ops.asarray2f(G), ops.asarray1i(LABELS))
    assert_allclose(gradient, (G - ONE_HOT) / 4)
