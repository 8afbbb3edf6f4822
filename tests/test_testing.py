import random

import numpy
import pytest
from numpy.testing import assert_array_equal
from small_models import affine, carrier, identity_forward, pipeline, two_layers

from thinc.model import Model
from thinc.testing import check_gradients
from thinc.types import ArgsKwargs, Padded, Pairs, Ragged

X = numpy.linspace(-2, 2, 12, dtype="f").reshape(4, 3)


def square(name="square", factor=2.0):
    """Y = X * X; the gradient is right for factor 2."""

    def forward(model, X, is_train):
        return X * X, lambda dY: factor * X * dY

    return Model(name, forward)


# It finds mistakes


def test_a_wrong_input_gradient_is_reported_with_both_numbers():
    with pytest.raises(AssertionError) as caught:
        check_gradients(square(factor=2.1), numpy.array([[0.0, 3.0]]))
    message = str(caught.value)
    assert 'gradient of the input X of "square" is wrong at 1 of 2 checked entries' in message
    assert "index (0, 1)" in message
    assert "backprop gives " in message and "the central difference is " in message


def broken_affine(what):
    def forward(model, X, is_train):
        W, b = model.get_param("W"), model.get_param("b")

        def backprop(dY):
            model.inc_grad("W", dY.T @ X + (what == "W"))
            if what != "missing":
                model.inc_grad("b", dY.mean(axis=0) if what == "b" else dY.sum(axis=0))
            if what == "shape":
                model.set_grad("b", dY.sum(axis=0, keepdims=True))
            return dY @ W if what != "dX" else dY @ W * (numpy.arange(3) != 1)

        return X @ W.T + b, backprop

    model = affine(2, 3, "broken").initialize()
    model.replace_callbacks(forward)
    return model


@pytest.mark.parametrize(
    "what, message",
    [
        ("W", r"gradient of W of broken \(layers\[0\] of \"outer\"\) is wrong at 6 of 6"),
        ("b", r"gradient of b of broken \(layers\[0\] of \"outer\"\) is wrong at 2 of 2"),
        ("missing", r"gradient of b of broken .* \(none was stored\) is wrong at 2 of 2"),
        ("shape", r"gradient of b of broken .* has shape \(1, 2\), the array itself \(2,\)"),
        ("dX", r"gradient of the input X of \"outer\" is wrong at 4 of 12"),
    ],
)
def test_mistakes_in_one_array_are_found_and_named(what, message):
    with pytest.raises(AssertionError, match=message):
        check_gradients(pipeline(broken_affine(what), name="outer"), X)


def test_nan_is_wrong():
    def forward(model, X, is_train):
        return X * 1.0, lambda dY: numpy.where(X > 1, numpy.nan, dY)

    with pytest.raises(AssertionError, match="backprop gives nan"):
        check_gradients(Model("nan", forward), X)


def test_an_error_of_one_in_ten_thousand_is_found():
    with pytest.raises(AssertionError, match="wrong at"):
        check_gradients(square(factor=2.0002), X)


def test_a_mistake_in_one_part_of_structured_input_is_named():
    def forward(model, Xs, is_train):
        return [x * x for x in Xs], lambda dYs: [2 * dYs[0] * Xs[0], dYs[1] * Xs[1]]

    with pytest.raises(AssertionError, match=r"gradient of the input X\[1\] of"):
        check_gradients(Model("pair", forward), [X, X])


def test_lost_parts_are_reported():
    def forward(model, Xs, is_train):
        return Xs[0] + Xs[1], lambda dY: [dY]

    with pytest.raises(AssertionError, match="has 2 floating-point arrays, .* returned 1"):
        check_gradients(Model("lost", forward), [X, X])


# It accepts what is right


def test_right_gradients_pass():
    check_gradients(square(), X)
    check_gradients(two_layers(), X)


def ragged_forward(model, X, is_train):
    Y, backprop = model.layers[0](X.dataXd, is_train)
    return Ragged(Y, X.lengths), lambda dY: Ragged(backprop(dY.dataXd), dY.lengths)


def padded_forward(model, X, is_train):
    def rebuild(data):
        return Padded(data, X.size_at_t, X.lengths, X.indices)

    return rebuild(X.data**2), lambda dY: rebuild(2 * X.data * dY.data)


def test_ragged_and_padded():
    lengths = numpy.array([3, 1], dtype="i")
    model = Model("ragged", ragged_forward, layers=[affine(2, 3).initialize()])
    check_gradients(model, Ragged(X, lengths))
    padded = Padded(X.reshape(2, 2, 3), lengths, lengths, lengths)
    check_gradients(Model("padded", padded_forward), padded)


def test_tuples_dicts_pairs_and_args_kwargs():
    check_gradients(carrier(), (X, [X, 3 * X]))
    check_gradients(carrier(), {"a": X})
    check_gradients(carrier(), Pairs(X, X))
    check_gradients(carrier(), ArgsKwargs((X,), {"b": X}))


def test_integer_input_is_not_differentiated():
    def forward(model, ids, is_train):
        E = model.get_param("E")

        def backprop(dY):
            dE = numpy.zeros_like(E)
            numpy.add.at(dE, ids, dY)
            model.inc_grad("E", dE)
            return []

        return E[ids], backprop

    model = Model("embed", forward, params={"E": numpy.ones((4, 2), dtype="f")})
    check_gradients(model, numpy.array([0, 2, 2]))


def dropout(same_mask=True):
    def forward(model, X, is_train):
        if not is_train:
            return X, lambda dY: dY
        mask = (numpy.random.uniform(size=X.shape) > 0.5) * 2.0

        def backprop(dY):
            return dY * (mask if same_mask else numpy.roll(mask, 1))

        return X * mask, backprop

    return Model("dropout", forward)


def test_dropout_is_the_same_in_every_call():
    check_gradients(dropout(), X)
    with pytest.raises(AssertionError):
        check_gradients(dropout(same_mask=False), X)
    check_gradients(dropout(same_mask=False), X, is_train=False)


def softmax():
    def forward(model, X, is_train):
        Y = numpy.exp(X - X.max(axis=-1, keepdims=True))
        return Y / Y.sum(axis=-1, keepdims=True), lambda dY: dY

    return Model("softmax", forward)


def logistic():
    return Model("logistic", lambda model, X, is_train: (1 / (1 + numpy.exp(-X)), lambda dY: dY))


def test_gradients_of_logits():
    check_gradients(softmax(), X, loss="softmax_crossentropy")
    check_gradients(logistic(), X, loss="sigmoid_crossentropy")
    for model in (softmax(), logistic()):
        with pytest.raises(AssertionError):
            check_gradients(model, X)
    check_gradients(square(), X, loss=lambda Y: ((Y**3).sum(), 3 * Y**2))
    with pytest.raises(ValueError, match="loss is 'cosine', expected a function or one of"):
        check_gradients(square(), X, loss="cosine")


def test_a_kink_that_the_step_crosses_is_no_mistake():
    relu = Model("relu", lambda model, X, is_train: (X * (X > 0), lambda dY: dY * (X > 0)))
    check_gradients(relu, numpy.array([[2e-6, -2e-6, 1.0]]))


# Options and traces


def test_large_arrays_are_sampled():
    calls = []

    def forward(model, X, is_train):
        calls.append(1)
        return X * X, lambda dY: 2 * X * dY

    check_gradients(Model("big", forward), numpy.ones((100, 100)), max_entries=5)
    assert len(calls) == 1 + 2 * 5


def test_parts_can_be_left_out():
    check_gradients(broken_affine("b"), X, skip_params=["b"])
    check_gradients(broken_affine("dX"), X, check_input=False)


def test_everything_is_restored_also_after_a_failure():
    model = broken_affine("b")
    W, grad = model.get_param("W"), numpy.full((2, 3), 7.0, dtype="f")
    model.set_grad("W", grad)
    numpy.random.seed(3)
    random.seed(3)
    expected = numpy.random.uniform(), random.random()
    numpy.random.seed(3)
    random.seed(3)
    with pytest.raises(AssertionError):
        check_gradients(model, X)
    assert (numpy.random.uniform(), random.random()) == expected
    assert model.get_param("W") is W and W.dtype == "float32"
    assert model.get_grad("W") is grad and not model.has_grad("b")
    assert_array_equal(grad, 7.0)


def test_a_model_that_rounds_to_float32_is_refused():
    rounding = Model("low", lambda model, X, is_train: (X.astype("f"), lambda dY: dY))
    with pytest.raises(ValueError, match="The output Y is float32 for float64 input"):
        check_gradients(rounding, X)


def test_the_empty_batch_passes():
    check_gradients(Model("same", identity_forward), numpy.zeros((0, 3)))
    check_gradients(two_layers(), numpy.zeros((0, 3)))
