from typing import Callable, List, Tuple, TypeVar

import numpy
import pytest

from thinc.model import Model
from thinc.types import Floats1d, Floats2d, Floats3d, Ints1d, Padded, Ragged
from thinc.util import (
    DATA_VALIDATION,
    DataValidationError,
    data_validation,
    validate_fwd_input_output,
)

X2 = numpy.zeros((2, 3), dtype="float32")
OutT = TypeVar("OutT", bound=Floats2d)


def forward(model: Model, X: Floats2d, is_train: bool) -> Tuple[Ints1d, Callable]:
    raise NotImplementedError


def forward_lists(
    model: Model, X: List[Floats1d], is_train: bool
) -> Tuple[List[Floats1d], Callable]:
    raise NotImplementedError


def forward_strings(model: "Model", X: "Floats2d", is_train: "bool") -> "Tuple[OutT, Callable]":
    raise NotImplementedError


FloatsT = TypeVar("FloatsT", Floats1d, Floats2d)
AnyT = TypeVar("AnyT")


def forward_variables(model: Model, X: List[FloatsT], is_train: bool) -> Tuple[AnyT, Callable]:
    raise NotImplementedError


def check(func, X, Y=None):
    validate_fwd_input_output("mine", func, X, Y)


def test_fitting_samples_pass():
    check(forward, X2, numpy.zeros(2, "int64"))
    check(forward, None, None)
    check(forward_lists, [X2[0]], [X2[0]])
    check(forward_strings, X2, X2)
    check(forward_variables, [X2], X2[0])
    check(lambda model, X, is_train: None, "anything", "at all")
    check(lambda model, X, is_train, **kwargs: None, "anything")


@pytest.mark.parametrize(
    "func, X, Y, where",
    [
        (forward, X2[0], None, "X"),
        (forward, X2.astype("float64"), None, "X"),
        (forward, [X2], None, "X"),
        (forward, X2, X2, "Y"),
        (forward_lists, (X2[0],), None, "X"),
        (forward_lists, [X2[0], X2], None, "X"),
        (forward_lists, None, [X2], "Y"),
        (forward_variables, [X2[None]], None, "X"),
        (forward_strings, "text", None, "X"),
        (forward_strings, None, X2[0], "Y"),
    ],
)
def test_what_does_not_fit_is_named(func, X, Y, where):
    with pytest.raises(DataValidationError) as error:
        check(func, X, Y)
    text = str(error.value)
    assert text.startswith(f"\n\nData validation error in 'mine'\nX: {type(X)} Y: {type(Y)}\n")
    assert text.splitlines()[-1].startswith(where)
    assert error.value.errors[0]["loc"] == (where,)


def test_messages_are_short_and_say_what_came():
    with pytest.raises(DataValidationError, match=r"expected 2, got 1\), wrong array data type"):
        check(forward, numpy.zeros(2000))
    with pytest.raises(DataValidationError) as error:
        check(forward_lists, numpy.zeros((900, 2), "float32").tolist())
    assert len(error.value.errors[0]["msg"]) < 220


def test_both_problems_are_told():
    with pytest.raises(DataValidationError) as error:
        check(forward, X2[0], X2)
    assert [e["loc"] for e in error.value.errors] == [("X",), ("Y",)]


def test_only_the_start_of_long_lists_is_checked():
    wrong = [X2[0]] * 5 + [X2]
    check(forward_lists, wrong, wrong)
    with pytest.raises(DataValidationError):
        check(forward_lists, wrong[1:])


def test_containers_are_checked_field_by_field():
    def ragged(model, X: Ragged, is_train):
        raise NotImplementedError

    def padded(model, X: Padded, is_train) -> Tuple[Floats3d, Callable]:
        raise NotImplementedError

    lengths = numpy.array([2], "int32")
    check(ragged, Ragged(X2, lengths))
    for bad in (Ragged(X2.astype("float64"), lengths), Ragged(X2, lengths.astype("int8"))):
        with pytest.raises(DataValidationError):
            check(ragged, bad)
    X = numpy.zeros((2, 1, 3), "float32")
    check(padded, Padded(X, lengths, lengths, lengths), X)
    with pytest.raises(DataValidationError):
        check(padded, Padded(X2, lengths, lengths, lengths))
    with pytest.raises(DataValidationError):
        check(padded, None, X2)


@pytest.mark.parametrize(
    "func, found",
    [
        (lambda model, X: None, r"got 2 \(model, X\)"),
        (lambda model, X, is_train, more: None, r"got 4 \(model, X, is_train, more\)"),
    ],
)
def test_forward_takes_three_arguments(func, found):
    message = r"Expected 3 arguments \(model, X, is_train\), " + found
    with pytest.raises(DataValidationError, match=message):
        check(func, None)


def test_validation_is_off_unless_asked_for():
    model = Model("mine", forward)
    model.initialize(X="text")
    with data_validation(True):
        with pytest.raises(ValueError, match="Data validation error in 'mine'"):
            model.initialize(X="text")
        with data_validation(False):
            model.initialize(X="text")
        assert DATA_VALIDATION.get() is True


def test_validation_ends_with_the_block_even_after_an_error():
    with pytest.raises(ZeroDivisionError):
        with data_validation(True):
            raise ZeroDivisionError
    assert DATA_VALIDATION.get() is False


def test_error_without_details():
    error = DataValidationError("mine", 1, None)
    assert str(error) == f"\n\nData validation error in 'mine'\nX: {int} Y: {type(None)}"
    assert isinstance(error, ValueError)
