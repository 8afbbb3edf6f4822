import traceback

import numpy
import pytest
from small_models import affine, carrier, pipeline, two_layers

from thinc.model import Model

WRONG = numpy.zeros((2, 5), dtype="f")
CALLS = {
    "call": lambda model, X: model(X, is_train=False),
    "predict": lambda model, X: model.predict(X),
    "begin_update": lambda model, X: model.begin_update(X),
}


def failing(error, name="bad"):
    def forward(model, X, is_train):
        raise error

    return Model(name, forward)


@pytest.mark.parametrize("call", CALLS)
def test_a_single_layer_is_named(call):
    with pytest.raises(ValueError) as caught:
        CALLS[call](affine(2, 3, "lonely").initialize(), WRONG)
    assert str(caught.value) == "lonely: input width 5 does not match nI=3"


@pytest.mark.parametrize("call", CALLS)
def test_every_level_adds_its_part_of_the_path(call):
    model = two_layers()
    model.layers[1].layers[1].set_param("W", numpy.zeros((2, 6), dtype="f"))
    with pytest.raises(ValueError) as caught:
        CALLS[call](model, numpy.zeros((2, 3), dtype="f"))
    assert str(caught.value) == (
        'third (layers[1].layers[1] of "outer"): input width 4 does not match nI=6'
    )


def test_initialize_names_the_place():
    model = pipeline(affine(4, 3, "one"), pipeline(affine(2, 6, "two"), name="inner"), name="outer")
    with pytest.raises(ValueError) as caught:
        model.initialize(X=numpy.zeros((1, 3), dtype="f"))
    assert str(caught.value) == (
        "two (layers[1].layers[0] of \"outer\"): Attempt to change dimension 'nI' for model "
        "'two' from 6 to 4"
    )


def test_a_missing_parameter_names_the_place():
    model = pipeline(carrier(), affine(2, 3, "raw"), name="outer")
    with pytest.raises(KeyError) as caught:
        model.predict(WRONG)
    assert caught.value.args == (
        "raw (layers[1] of \"outer\"): Parameter 'W' for model 'raw' has not been allocated yet.",
    )


@pytest.mark.parametrize("kind", [ValueError, TypeError, KeyError, IndexError])
def test_the_exception_stays_the_same_object_with_its_traceback(kind):
    error = kind("the fact")
    with pytest.raises(kind) as caught:
        pipeline(failing(error), name="outer").predict(0)
    assert caught.value is error
    assert error.args == ('bad (layers[0] of "outer"): the fact',)
    innermost = traceback.extract_tb(error.__traceback__)[-1]
    assert innermost.name == "forward" and innermost.line == "raise error"
    assert error.__cause__ is None and error.__context__ is None


@pytest.mark.parametrize(
    "error",
    [RuntimeError("text"), ValueError(), ValueError(1), ValueError("a", "b"), OSError(2, "x")],
    ids=repr,
)
def test_other_exceptions_pass_untouched(error):
    args = error.args
    with pytest.raises(type(error)) as caught:
        pipeline(failing(error)).predict(0)
    assert caught.value is error and error.args == args


def test_a_subclass_of_value_error_keeps_its_class_and_attributes():
    class MyError(ValueError):
        def __init__(self, message, code):
            super().__init__(message)
            self.code = code

    with pytest.raises(MyError, match=r'^bad \(layers\[0\] of "outer"\): text$') as caught:
        pipeline(failing(MyError("text", 7)), name="outer").predict(0)
    assert caught.value.code == 7


def test_a_call_to_a_grandchild_is_placed():
    inner = pipeline(affine(2, 3, "deep").initialize(), name="inner")

    def forward(model, X, is_train):
        return model.layers[1].layers[0](X, is_train)

    model = Model("outer", forward, layers=[carrier(), inner])
    with pytest.raises(ValueError, match=r'^deep \(layers\[1\]\.layers\[0\] of "outer"\): input'):
        model.predict(WRONG)


def test_a_node_outside_of_the_tree_is_given_by_name():
    hidden = pipeline(affine(2, 3, "leaf").initialize(), name="hidden")

    def forward(model, X, is_train):
        return model.attrs["hidden"](X, is_train)

    model = pipeline(Model("holder", forward, attrs={"hidden": hidden}), name="outer")
    with pytest.raises(ValueError) as caught:
        model.predict(WRONG)
    assert str(caught.value) == (
        'leaf (layers[0]."hidden".layers[0] of "outer"): input width 5 does not match nI=3'
    )


def test_a_layer_that_calls_itself_again_counts_once():
    def forward(model, X, is_train):
        if X:
            return model(X - 1, is_train)
        raise ValueError("the end")

    with pytest.raises(ValueError) as caught:
        pipeline(Model("loop", forward), name="outer").predict(3)
    assert str(caught.value) == 'loop (layers[0] of "outer"): the end'


def test_an_exception_raised_again_elsewhere_starts_afresh():
    error = ValueError("first")
    with pytest.raises(ValueError):
        pipeline(failing(error), name="outer").predict(0)
    error.args = ("second",)
    with pytest.raises(ValueError) as caught:
        pipeline(failing(error, "other"), name="elsewhere").predict(0)
    assert str(caught.value) == 'other (layers[0] of "elsewhere"): second'


def test_errors_inside_a_shared_layer_and_a_cycle():
    shared = affine(2, 3, "shared").initialize()
    model = pipeline(carrier(), shared, shared, name="outer")
    model.layers.append(model)
    with pytest.raises(ValueError, match=r'^shared \(layers\[1\] of "outer"\)'):
        model.predict(WRONG)
