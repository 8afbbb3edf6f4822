"""TensorFlowWrapper: a Keras 3 model as a layer, trained by thinc's optimizer."""

import functools
import inspect
import json
from typing import Any, Callable, Dict, Optional, Sequence, Tuple, Type

from .. import compat
from ..interop import (
    assert_tensorflow_installed,
    is_xp_array,
    tensorflow2xp,
    xp2tensorflow,
)
from ..model import Model
from ..shims.keras_models import maybe_handshake_model
from ..shims.tensorflow import TensorFlowShim
from ..types import ArgsKwargs
from ..util import convert_recursive


def TensorFlowWrapper(
    tensorflow_model: Any,
    convert_inputs: Optional[Callable] = None,
    convert_outputs: Optional[Callable] = None,
    optimizer: Any = None,
    model_class: Type[Model] = Model,
    model_name: str = "tensorflow",
) -> Model[Any, Any]:
    """A Keras model (Keras 3 on the TensorFlow backend) as a layer.

    tensorflow_model: the keras.Model: functional, sequential or subclassed.
    convert_inputs: (model, X, is_train) -> (ArgsKwargs of tensors, callback from the
        ArgsKwargs of their gradients to dX). By default an array is one argument, a list
        or tuple of arrays several, a dict keyword arguments; ArgsKwargs has both.
    convert_outputs: (model, Y of Keras, is_train) -> (Y, callback from dY to gradients of
        the outputs). By default every tensor becomes an array, in the same structure.
    optimizer: kept in the shim, not used. model_class, model_name: of the layer.

    initialize(X) runs the model once if it has no weights yet. Everything that is saved is
    weights: the architecture comes from your code.
    Raises ImportError if TensorFlow is not installed, ValueError if it is not given a
    keras.Model or Keras runs on another backend.
    """
    assert_tensorflow_installed()
    keras = compat.tensorflow.keras
    if not isinstance(tensorflow_model, keras.models.Model):
        raise ValueError(f"Expected tf.keras.models.Model, got: {type(tensorflow_model)}")
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"TensorFlowWrapper needs Keras on the backend 'tensorflow', not "
            f"{keras.backend.backend()!r}: set the environment variable KERAS_BACKEND."
        )
    return model_class(
        model_name,
        forward,
        init=init,
        shims=[TensorFlowShim(maybe_handshake_model(tensorflow_model), optimizer=optimizer)],
        attrs={
            "convert_inputs": convert_inputs or convert_tensorflow_default_inputs,
            "convert_outputs": convert_outputs or convert_tensorflow_default_outputs,
        },
    )


def forward(model: Model, X: Any, is_train: bool) -> Tuple[Any, Callable]:
    """Convert, run Keras, convert back; and the reverse for the gradients."""
    shim = model.shims[0]
    X_tf, get_dX = model.attrs["convert_inputs"](model, X, is_train)
    if is_train:
        Y_tf, tensorflow_backprop = shim(X_tf, is_train)
    else:
        Y_tf, tensorflow_backprop = shim(X_tf, is_train), _no_backprop
    Y, get_dY_tf = model.attrs["convert_outputs"](model, Y_tf, is_train)

    def backprop(dY: Any) -> Any:
        return get_dX(tensorflow_backprop(get_dY_tf(dY)))

    return Y, backprop


def _no_backprop(dY: Any) -> Any:
    raise ValueError(
        "TensorFlow recorded no gradients, because the model was not called with is_train=True: "
        "use begin_update."
    )


def init(model: Model, X: Any = None, Y: Any = None) -> None:
    """Let Keras make the weights of a model that has not seen an input yet."""
    if X is not None and not model.shims[0]._model.built:
        forward(model, X, is_train=False)


def convert_tensorflow_default_inputs(
    model: Model, X: Any, is_train: bool
) -> Tuple[ArgsKwargs, Callable[[ArgsKwargs], Any]]:
    """Arrays of X to tensors, and the gradients of the inputs to arrays of X's structure.

    The gradient of an integer input is None. Lists come back as tuples.
    """
    to_tensor = functools.partial(xp2tensorflow, requires_grad=is_train)
    converted = convert_recursive(is_xp_array, to_tensor, X)
    if isinstance(converted, ArgsKwargs):
        return converted, lambda dX: _to_arrays(model, dX)
    if isinstance(converted, dict):
        return ArgsKwargs((), converted), lambda dX: _to_arrays(model, dX.kwargs)
    if isinstance(converted, (tuple, list)):
        return ArgsKwargs(tuple(converted), {}), lambda dX: _to_arrays(model, dX.args)
    return ArgsKwargs((converted,), {}), lambda dX: _to_arrays(model, dX.args[0])


def convert_tensorflow_default_outputs(
    model: Model, Y_tf: Any, is_train: bool
) -> Tuple[Any, Callable[[Any], Any]]:
    """Tensors of the output to arrays, and the arrays of its gradient to tensors."""
    return _to_arrays(model, Y_tf), functools.partial(convert_recursive, is_xp_array, xp2tensorflow)


def _to_arrays(model: Model, tensors: Any) -> Any:
    return convert_recursive(compat.tensorflow.is_tensor, _to_array, tensors)


def _to_array(tensor: Any) -> Any:
    if tensor.dtype == "bfloat16":  # which numpy and the layers do not know
        tensor = compat.tensorflow.cast(tensor, "float32")
    return tensorflow2xp(tensor)


def keras_subclass(
    name: str,
    X: Any,
    Y: Any,
    input_shape: Sequence[Optional[int]],
    compile_args: Optional[Dict[str, Any]] = None,
) -> Callable[[Type], Type]:
    """Decorate a class of Keras models so that it can be copied, and made when loading.

    name: what the class is registered as in keras_model_fns. X, Y: samples of input and
    output; X is run through each new model to give it its weights. input_shape: of the
    input, with None for the batch. compile_args: of keras.Model.compile, instead of
    optimizer="adam" and loss="mse".

    The class gets the properties catalogue_name, eg_x, eg_y, eg_shape and eg_compile, its
    instances the attribute eg_args with the arguments they were made with. The constructor
    raises ValueError for arguments that JSON cannot represent.
    """
    from ..shims.keras_registry import keras_model_fns

    settings = {"optimizer": "adam", "loss": "mse", **(compile_args or {})}

    def decorate(cls: Type) -> Type:
        for attribute, value in (
            ("catalogue_name", name),
            ("eg_shape", input_shape),
            ("eg_compile", settings),
            ("eg_x", X),
            ("eg_y", Y),
        ):
            setattr(cls, attribute, _constant(value))
        original = cls.__init__

        @functools.wraps(original)
        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
            _check_json(args, kwargs)
            original(self, *args, **kwargs)
            # A subclass's arguments are those of the outermost constructor, which ends last.
            object.__setattr__(self, "eg_args", ArgsKwargs(args, kwargs))

        # Keras looks at the names of the parameters.
        __init__.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]
        cls.__init__ = __init__
        keras_model_fns.register(name, func=cls)
        return cls

    return decorate


def _constant(value: Any) -> property:
    return property(lambda self: value)


def _check_json(args: Any, kwargs: Any) -> None:
    try:
        json.dumps([args, kwargs])
    except (TypeError, ValueError) as error:
        raise ValueError(
            "In order to serialize Keras Subclass models, the constructor arguments must be "
            f"serializable. This one is not: {error}."
        ) from error
