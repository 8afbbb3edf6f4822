from functools import partial
from typing import Any, Callable, Optional, Tuple, cast

from ..freezing import Prediction, when_frozen
from ..initializers import zero_init
from ..model import Model
from ..predictions import predicted_by
from ..registration import registry
from ..types import Floats2d
from .dense import affine, frozen_dense, init, predict_dense
from .input_errors import describe
from .row_blocks import rowwise


@registry.layers("Softmax.v1")
def Softmax(
    nO: Optional[int] = None,
    nI: Optional[int] = None,
    *,
    init_W: Optional[Callable] = None,
    init_b: Optional[Callable] = None,
) -> Model[Floats2d, Floats2d]:
    """Class probabilities: each row is softmax(X W^T + b).

    Input: floats of shape (batch, nI); output (batch, nO), rows sum to one.
    Parameters: W (nO, nI) and b (nO,), both zeros by default.

    backprop expects the gradient of the logits, not of the probabilities: for
    cross-entropy that is (probabilities - truth), which losses give directly.
    Raises ValueError for input of another width than nI or another dtype than W,
    and for a gradient whose shape or dtype is not the output's.
    """
    return _softmax(nO, nI, init_W, init_b, normalize_outputs=True, temperature=1.0)


@registry.layers("Softmax.v2")
def Softmax_v2(
    nO: Optional[int] = None,
    nI: Optional[int] = None,
    *,
    init_W: Optional[Callable] = None,
    init_b: Optional[Callable] = None,
    normalize_outputs: bool = True,
    temperature: float = 1.0,
) -> Model[Floats2d, Floats2d]:
    """Class probabilities: each row is softmax((X W^T + b) / temperature).

    Like Softmax, with two options. Without normalize_outputs, prediction gives the
    raw logits X W^T + b, cheaper where only the best class matters; training
    normalizes all the same, and backprop from raw logits raises ValueError.
    Temperatures above one make the distribution flatter, below one sharper.
    Raises ValueError if the temperature is not positive.
    """
    return _softmax(
        nO, nI, init_W, init_b, normalize_outputs=normalize_outputs, temperature=temperature
    )


def _softmax(nO, nI, init_W, init_b, *, normalize_outputs: bool, temperature: float) -> Model:
    _check_temperature(temperature)
    return Model(
        "softmax",
        forward,
        init=partial(
            init,
            init_W=zero_init if init_W is None else init_W,
            init_b=zero_init if init_b is None else init_b,
        ),
        dims={"nO": nO, "nI": nI},
        params={"W": None, "b": None},
        attrs={"softmax_normalize": normalize_outputs, "softmax_temperature": temperature},
    )


def _predict(model: Model, X: Any) -> Any:
    return _probabilities(model, X, partial(predict_dense, model))


def _frozen(model: Model) -> Prediction:
    logits = frozen_dense(model)
    return lambda X: _probabilities(model, X, logits)


def _probabilities(model: Model, X: Any, logits: Prediction) -> Any:
    attrs = model.attrs
    temperature = attrs["softmax_temperature"]
    _check_temperature(temperature)
    Y = logits(X)
    if not attrs["softmax_normalize"]:
        return Y
    return model.ops.softmax(Y, inplace=True, temperature=temperature)


@predicted_by(_predict)
@when_frozen(_frozen)
@rowwise
def forward(model: Model, X: Floats2d, is_train: bool) -> Tuple[Floats2d, Callable]:
    attrs = model.attrs
    temperature = attrs["softmax_temperature"]
    _check_temperature(temperature)
    Y, backprop_affine = affine(model, X, is_train)
    if not (is_train or attrs["softmax_normalize"]):
        return Y, _refuse_raw
    Y = cast(Floats2d, model.ops.softmax(Y, inplace=True, temperature=temperature))
    shape, dtype = Y.shape, Y.dtype

    def backprop(dY: Floats2d) -> Floats2d:
        if getattr(dY, "shape", None) != shape or dY.dtype != dtype:
            raise ValueError(
                f"expected a gradient of the output's kind, {dtype} of shape {shape}, "
                f"got {describe(dY)}"
            )
        return backprop_affine(dY if temperature == 1.0 else dY / temperature)

    return Y, backprop


def _refuse_raw(dY: Floats2d) -> Floats2d:
    raise ValueError(
        "softmax cannot backpropagate from raw logits: they come from prediction with "
        "softmax_normalize off. Run the forward pass with is_train=True."
    )


def _check_temperature(temperature: float) -> None:
    if temperature <= 0.0:
        raise ValueError(f"softmax temperature must be positive, got {temperature}")
