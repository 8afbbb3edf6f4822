"""What all dense layers share: Y = f(X W^T + b), and its gradients.

A dense layer is a constructor that names its activation and its default
initializers; parameters, shapes and products are the same for all and live here.
"""
from functools import partial
from typing import Any, Callable, Dict, Optional, Tuple, cast

from ..data_inputs import is_data, no_gradient
from ..freezing import Prediction, when_frozen
from ..initializers import zero_init
from ..model import Model
from ..predictions import predicted_by
from ..types import Floats2d
from ..util import get_width
from .chain import chain
from .dropout import Dropout
from .input_errors import usable_rows
from .layernorm import LayerNorm

InT = Floats2d
OutT = Floats2d


def dense_layer(
    name: str,
    forward: Callable,
    nO: Optional[int],
    nI: Optional[int],
    *,
    init_W: Optional[Callable],
    init_b: Optional[Callable],
    default_init_W: Callable,
    dropout: Optional[float] = None,
    normalize: bool = False,
    attrs: Optional[Dict[str, Any]] = None,
) -> Model[InT, OutT]:
    """A layer with parameters W (nO, nI) and b (nO,), and what its options add.

    init_W, init_b: callables (ops, shape) -> array; None selects default_init_W
    and zeros. normalize and dropout: see `with_options`.
    """
    model: Model = Model(
        name,
        forward,
        init=partial(
            init,
            init_W=default_init_W if init_W is None else init_W,
            init_b=zero_init if init_b is None else init_b,
        ),
        dims={"nO": nO, "nI": nI},
        params={"W": None, "b": None},
        attrs=attrs or {},
    )
    return with_options(model, nO, dropout=dropout, normalize=normalize)


def with_options(
    model: Model, nO: Optional[int], *, dropout: Optional[float], normalize: bool
) -> Model[InT, OutT]:
    """The layer, followed by LayerNorm if `normalize` and by Dropout if a rate is given.

    A rate of 0.0 adds the Dropout layer too, so that it can be raised later.
    """
    if normalize:
        model = chain(model, LayerNorm(nI=nO))
    if dropout is not None:
        model = chain(model, cast(Model[Floats2d, Floats2d], Dropout(dropout)))
    return model


def init(
    model: Model,
    X: Optional[InT] = None,
    Y: Optional[OutT] = None,
    *,
    init_W: Callable,
    init_b: Callable,
) -> None:
    """Take nI from X and nO from Y, then draw W and b, in this order.

    Raises ValueError if a sample contradicts a dimension, or nobody gave it.
    """
    if X is not None:
        model.set_dim("nI", get_width(X))
    if Y is not None:
        model.set_dim("nO", get_width(Y))
    nO = model.get_dim("nO")
    nI = model.get_dim("nI")
    model.set_param("W", init_W(model.ops, (nO, nI)))
    model.set_param("b", init_b(model.ops, (nO,)))


def affine(model: Model, X: InT, is_train: bool) -> Tuple[OutT, Callable]:
    """X W^T + b and its backprop, which adds to the gradients of W and b.

    X: (B, nI) floats. Returns a new (B, nO) array. No rows of unknown width count
    as (0, nI). Raises ValueError or TypeError for input that does not fit.
    """
    ops = model.ops
    W = model.get_param("W")
    b = model.get_param("b")
    try:
        Y = ops.affine(X, W, b)
    except (TypeError, ValueError, AttributeError, IndexError) as e:
        X = usable_rows(ops, X, W, e)
        Y = ops.affine(X, W, b)
    on_data = is_train and is_data(X)

    def backprop(dY: OutT) -> InT:
        accumulate_weight_grad(model, "W", dY, X)
        accumulate_bias_grad(model, "b", dY)
        return no_gradient(ops, X) if on_data else ops.gemm(dY, W)

    return Y, backprop


def activate(
    model: Model, X: InT, is_train: bool, activation: str, params: Tuple = ()
) -> Tuple[OutT, Callable]:
    """activation(X W^T + b) in one pass, and its backprop.

    activation, params: as for `Ops.affine_activation`. Otherwise like `affine`.
    """
    ops = model.ops
    W = model.get_param("W")
    b = model.get_param("b")
    compute: Callable = ops.affine_activation if is_train else ops.affine_value
    try:
        result = compute(activation, X, W, b, params)
    except (TypeError, ValueError, AttributeError, IndexError) as e:
        X = usable_rows(ops, X, W, e)
        result = compute(activation, X, W, b, params)
    Y, P = result if is_train else (result, None)
    on_data = is_train and is_data(X)

    def backprop(dY: OutT) -> InT:
        # What the slope of this activation is a function of. A prediction has not kept it.
        kept = P if is_train else ops.affine_activation(activation, X, W, b, params)[1]
        dP = ops.backprop_activation(activation, dY, Y if kept is None else kept, params)
        accumulate_weight_grad(model, "W", dP, X)
        accumulate_bias_grad(model, "b", dP)
        return no_gradient(ops, X) if on_data else ops.gemm(dP, W)

    return Y, backprop


def predictions_of_dense(activation: Optional[str] = None, params: Tuple = ()) -> Callable:
    """Decorator for the forward function of a layer activation(X W^T + b): how it predicts."""

    def decorate(forward: Callable) -> Callable:
        predicted_by(lambda model, X: predict_dense(model, X, activation, params))(forward)
        when_frozen(lambda model: frozen_dense(model, activation, params))(forward)
        return forward

    return decorate


def predict_dense(
    model: Model, X: InT, activation: Optional[str] = None, params: Tuple = ()
) -> OutT:
    """activation(X W^T + b)."""
    ops = model.ops
    W = model.get_param("W")
    b = model.get_param("b")
    try:
        if activation is None:
            return ops.affine(X, W, b)
        return ops.affine_value(activation, X, W, b, params)
    except (TypeError, ValueError, AttributeError, IndexError) as e:
        return predict_dense(model, usable_rows(ops, X, W, e), activation, params)


def frozen_dense(
    model: Model, activation: Optional[str] = None, params: Tuple = ()
) -> Prediction:
    """The prediction of a frozen layer: activation(X W^T + b)."""
    ops, W, b = model.ops, model.get_param("W"), model.get_param("b")
    return checked_rows(ops, W, ops.frozen_affine(W, b, activation, params))


def checked_rows(ops: Any, W: Any, compute: Prediction) -> Prediction:
    """compute, with the words of the layer for an X that does not fit the weights."""

    def predict(X: Any) -> Any:
        try:
            return compute(X)
        except (TypeError, ValueError, AttributeError, IndexError) as e:
            return compute(usable_rows(ops, X, W, e))

    return predict


def accumulate_weight_grad(model: Model, name: str, dY: Floats2d, X: Floats2d) -> None:
    """gradient += dY^T X, summed within the product where a buffer is there.

    dY: (B, O), X: (B, I); the parameter has O * I elements in that order.
    """
    if model.is_frozen:
        return
    ops = model.ops
    if model._params.proxy is None:
        grad = model.maybe_get_grad(name)
        if grad is not None:
            flat = _as_view(grad, (dY.shape[1], X.shape[1]))
            if flat is not None:
                ops.gemm_add(flat, dY, X, trans1=True)
                return
        else:
            product = ops.gemm(dY, X, trans1=True)
            model.set_grad(name, product.reshape(model.get_param(name).shape))
            return
    model.inc_grad(name, ops.gemm(dY, X, trans1=True).reshape(model.get_param(name).shape))


def accumulate_bias_grad(model: Model, name: str, dY: Floats2d) -> None:
    """gradient += the sum of dY's rows. dY: (B, O); the parameter has O elements."""
    if model.is_frozen:
        return
    ops = model.ops
    if model._params.proxy is None:
        grad = model.maybe_get_grad(name)
        if grad is None:
            grad = ops.alloc(model.get_param(name).shape, dtype=dY.dtype)
            model.set_grad(name, grad)
        flat = _as_view(grad, (dY.shape[1],))
        if flat is not None:
            ops.add_column_sums(flat, dY)
            return
    model.inc_grad(name, dY.sum(axis=0).reshape(model.get_param(name).shape))


def accumulate_grads(model: Model, names: Tuple[str, ...], add: Callable) -> Any:
    """add(*gradients) adds to the gradients of parameters in place. Returns what it returns."""
    ops = model.ops
    in_place = model._params.proxy is None and not model.is_frozen
    grads = []
    for name in names:
        grad = model.maybe_get_grad(name) if in_place else None
        if grad is None:
            param = model.get_param(name)
            grad = ops.alloc(param.shape, dtype=param.dtype)
            if in_place:
                model.set_grad(name, grad)
        grads.append(grad)
    result = add(*grads)
    if not in_place:
        for name, grad in zip(names, grads, strict=True):
            model.inc_grad(name, grad)
    return result


def _as_view(grad: Any, shape: Tuple[int, ...]) -> Any:
    """The gradient's own memory in another shape; None if that takes a copy."""
    if grad.shape == shape:
        return grad
    return grad.reshape(shape) if grad.flags.c_contiguous else None
