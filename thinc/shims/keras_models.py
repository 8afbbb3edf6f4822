"""What TensorFlowShim needs to know about Keras models: how to make another of the same."""

from typing import Any

from .. import compat
from ..serialize import DeserializationError
from ..types import ArgsKwargs


def clone_keras_model(model: Any) -> Any:
    """Another model of the same architecture, weights and seeds. `model` stays as it is.

    Functional and sequential models can be cloned, subclassed ones if their get_config
    works or their class is decorated with keras_subclass. Raises ValueError otherwise.
    """
    try:
        clone = _rebuild(model)
        if model.built and len(clone.weights) != len(model.weights):
            clone.build_from_config(model.get_build_config())
    except Exception as error:  # whatever the constructors of the layers raise
        raise ValueError(
            f"The Keras model {model.name!r} ({type(model).__name__}) cannot be built a second "
            f"time: {_first_line(error)} Decorate its class with keras_subclass, or give it (and "
            "its layers) a get_config that returns the arguments of the constructor."
        ) from error
    # Beyond the weights there are the states of random generators.
    names = "variables" if len(model.variables) == len(clone.variables) else "weights"
    ours, theirs = getattr(model, names), getattr(clone, names)
    if [tuple(v.shape) for v in ours] != [tuple(v.shape) for v in theirs]:
        raise ValueError(
            f"The Keras model {model.name!r} ({type(model).__name__}) cannot be built a second "
            "time: the new one has other weights."
        )
    for variable, twin in zip(ours, theirs, strict=True):
        twin.assign(variable)
    return clone


def _first_line(error: Exception) -> str:
    """Keras's messages may go on for pages."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".") + "."


def _rebuild(model: Any) -> Any:
    models = compat.tensorflow.keras.models
    if getattr(model, "catalogue_name", None) is not None:
        given = getattr(model, "eg_args", ArgsKwargs((), {}))
        return maybe_handshake_model(make_keras_model([model.catalogue_name, *_parts(given)]))
    if isinstance(model, models.Sequential) or _is_functional(model):
        clone = models.clone_model(model, clone_function=_clone_layer)
    else:
        clone = type(model).from_config(model.get_config())
    clone.trainable = model.trainable
    for layer, twin in zip(model.layers, clone.layers, strict=True):
        twin.trainable = layer.trainable
    return clone


def _parts(given: ArgsKwargs) -> Any:
    return list(given.args), given.kwargs


def _is_functional(model: Any) -> bool:
    # A subclass with a constructor of its own has its own way to be rebuilt.
    return type(model).__name__ == "Functional" and type(model).__module__.startswith("keras.")


def _clone_layer(layer: Any) -> Any:
    layers = compat.tensorflow.keras.layers
    if isinstance(layer, layers.Lambda) and type(layer) is layers.Lambda:
        # Its config is bytecode, which Keras refuses to load. The function is right here.
        config = {
            key: value
            for key, value in layer.get_config().items()
            if key in ("name", "trainable", "dtype")
        }
        return layers.Lambda(
            layer.function,
            output_shape=layer._output_shape,
            arguments=layer.arguments,
            **config,
        )
    return layer.__class__.from_config(layer.get_config())


def make_keras_model(factory: Any) -> Any:
    """A model from [name in keras_model_fns, args, kwargs].

    Raises DeserializationError if there is none of that name or it cannot be made.
    """
    from .keras_registry import keras_model_fns

    if not isinstance(factory, (list, tuple)) or len(factory) != 3:
        raise DeserializationError(
            "the shim has no model, and the data names no function that makes one: give it the "
            "Keras model first"
        )
    name, args, kwargs = factory
    if not isinstance(name, str) or not isinstance(args, list) or not isinstance(kwargs, dict):
        raise DeserializationError("the name or the arguments of the model's factory are malformed")
    if name not in keras_model_fns:
        raise DeserializationError(
            f"no model {name!r} in keras_model_fns: import the module that decorates its class "
            "with keras_subclass"
        )
    try:
        return maybe_handshake_model(keras_model_fns.get(name)(*args, **kwargs))
    except Exception as error:  # whatever the registered function raises
        raise DeserializationError(
            f"the model {name!r} cannot be made: {_first_line(error)}"
        ) from error


def maybe_handshake_model(keras_model: Any) -> Any:
    """The model, with weights if it can get them: run once on the sample of its class.

    A class decorated with keras_subclass brings the sample along; all other models are
    returned unchanged. Raises ValueError for a model that can neither be described by
    get_config nor was decorated, because it could not be copied.
    """
    if all(hasattr(keras_model, name) for name in ("catalogue_name", "eg_x", "eg_y", "eg_shape")):
        if not keras_model.built:
            keras_model.compile(**keras_model.eg_compile)
            keras_model.predict(keras_model.eg_x, verbose=0)
        return keras_model
    try:
        keras_model.get_config()
    except Exception as error:  # the class's own code
        raise ValueError(
            "Keras subclassed models are not whole-model serializable by TensorFlow. Decorate "
            f"{type(keras_model).__name__} with thinc.api.keras_subclass, or give it a get_config "
            "that returns the arguments of its constructor."
        ) from error
    return keras_model
