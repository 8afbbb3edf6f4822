"""TensorFlow's shim: a Keras 3 model, with gradients from tf.GradientTape."""

import contextlib
import copy
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy

from .. import compat
from ..interop import assert_tensorflow_installed
from ..serialize import DeserializationError
from ..types import ArgsKwargs
from .keras_models import clone_keras_model, make_keras_model, maybe_handshake_model
from .shim import Shim
from .weights import Expected, pack_weights, take_weights, unpack_weights

__all__ = ["TensorFlowShim", "maybe_handshake_model"]

# All trainable variables are one parameter for the optimizer, under this name.
PARAM = "tensorflow-shim"


class TensorFlowShim(Shim):
    """A Keras model inside a Model.

    model: a keras.Model on the TensorFlow backend, or None for one that from_bytes makes
        (of a class decorated with keras_subclass). config: saved along. optimizer: kept,
        not used: finish_update is given thinc's.

    gradients: None, or a list of tf.Variable, one for each trainable variable that a
        backward pass has reached: the sums since the last finish_update.
    """

    gradients: Optional[List[Any]]

    def __init__(self, model: Any, config: Optional[Dict] = None, optimizer: Any = None):
        assert_tensorflow_installed()
        super().__init__(model, config, optimizer)
        self._clear_gradients()

    def __str__(self) -> str:
        """Keras's summary of the model."""
        lines: List[str] = []
        self._model.summary(print_fn=lambda line, line_break=True: lines.append(str(line)))
        return "\n".join(lines)

    # ---- forward and backward --------------------------------------------------

    def __call__(self, X: ArgsKwargs, is_train: bool) -> Any:
        """The output and its callback in training; otherwise, other than Shim, only the
        output: that is how wrappers written for thinc 8 call this shim."""
        return self.begin_update(X) if is_train else self.predict(X)

    def predict(self, X: ArgsKwargs) -> Any:
        """The model's output, computed with training=False: tensors, in its structure."""
        return self._run(X, training=False)

    def begin_update(self, X: ArgsKwargs) -> Tuple[Any, Callable[[Any], ArgsKwargs]]:
        """The output, computed with training=True, and a callback.

        The callback takes the gradients of the outputs, in the output's structure (None
        where there is none), adds to `gradients`, and returns those of the inputs: None
        for one that is not floating point. It can be called once.
        """
        tf = compat.tensorflow
        inputs = [t for t in tf.nest.flatten([X.args, X.kwargs]) if _is_float(t)]
        with tf.GradientTape() as tape:
            for tensor in inputs:
                tape.watch(tensor)
            Y = self._run(X, training=True)
        variables = list(self._model.trainable_variables)
        done = False

        def backprop(dY: Any) -> ArgsKwargs:
            nonlocal done
            if done:
                raise ValueError(
                    "TensorFlow has dropped what it recorded: the callback of begin_update can be "
                    "called once."
                )
            outputs, d_outputs = _pair_gradients(Y, dY)
            sources = [*inputs, *(variable.value for variable in variables)]
            done = True
            found = tape.gradient(outputs, sources, output_gradients=d_outputs)
            grads = [None if grad is None else tf.convert_to_tensor(grad) for grad in found]
            self._add_gradients(variables, grads[len(inputs) :])
            rest = iter(grads[: len(inputs)])
            args, kwargs = tf.nest.map_structure(
                lambda t: next(rest) if _is_float(t) else None, [list(X.args), X.kwargs]
            )
            return ArgsKwargs(args=tuple(args), kwargs=kwargs)

        return Y, backprop

    def _run(self, X: ArgsKwargs, training: bool) -> Any:
        args, kwargs = tuple(X.args), dict(X.kwargs)
        # A functional model takes all its inputs as one argument.
        inputs = _inputs(self._model)
        if len(args) == len(inputs) > 1:
            args = (list(args),)
        elif not args and len(inputs) == len(kwargs) > 0:
            names = [tensor.name for tensor in inputs]
            if isinstance(self._model.input, dict):
                args, kwargs = (kwargs,), {}
            elif set(names) == set(kwargs):
                args, kwargs = ([kwargs[name] for name in names],), {}
        elif inputs and len(args) > 1:
            raise ValueError(
                f"The Keras model {self._model.name!r} has {len(inputs)} inputs, but got "
                f"{len(args)}: a list or tuple of arrays counts as several."
            )
        return self._model(*args, training=training, **kwargs)

    # ---- gradients and updates ---------------------------------------------------

    def _clear_gradients(self) -> None:
        self.gradients = None
        self._reached: List[Any] = []  # the variables that `gradients` belong to

    def _add_gradients(self, variables: Sequence[Any], grads: Sequence[Any]) -> None:
        tf = compat.tensorflow
        if self.gradients is None:
            self._clear_gradients()
            self.gradients = []
        place = {id(variable): i for i, variable in enumerate(self._reached)}
        for variable, grad in zip(variables, grads, strict=True):
            i = place.get(id(variable))
            if i is not None:
                if grad is not None:
                    self.gradients[i].assign_add(grad)
            else:
                start = tf.zeros_like(variable.value) if grad is None else grad
                with tf.device(variable.value.device):
                    self.gradients.append(tf.Variable(start, trainable=False))
                self._reached.append(variable)

    def finish_update(self, optimizer: Any) -> None:
        """Update all trainable variables at once, and clear the gradients.

        The optimizer is called with the key (id, "tensorflow-shim") and 1-d arrays: the
        variables and their gradients, flattened, one after another.
        Raises ValueError if there was no backward pass since the last update.
        """
        if self.gradients is None:
            raise ValueError(
                "There are no gradients for optimization. Be sure to call begin_update before "
                "calling finish_update."
            )
        variables = self._reached
        if variables:
            weights = _flatten([variable.value for variable in variables])
            weights, _ = optimizer((self.id, PARAM), weights, _flatten(self.gradients))
            _assign(variables, weights)
        self._clear_gradients()

    @contextlib.contextmanager
    def use_params(self, params: Dict) -> Iterator[None]:
        """Use other weights inside the block; afterwards the ones before, in any case.

        params: (id, "tensorflow-shim") -> 1-d array of all trainable variables, as an
        optimizer's averages have it; or "tensorflow_{id}_{path or name of a variable}" ->
        array. What is not in there stays as it is, other keys do not matter.
        Raises ValueError for an array of the wrong size.
        """
        changes = self._changes(params)
        before = [(variable, variable.numpy().copy()) for variable, _ in changes]
        try:
            for variable, value in changes:
                variable.assign(value)
            yield
        finally:
            for variable, value in before:
                variable.assign(value)

    def _changes(self, params: Dict) -> List[Tuple[Any, Any]]:
        """(variable, new value) pairs, checked."""
        found = []
        flat = params.get((self.id, PARAM))
        if flat is not None:
            variables = self._model.trainable_variables
            flat, size = _to_host(flat).ravel(), sum(_size(v) for v in variables)
            if flat.size != size:
                raise ValueError(
                    f"TensorFlowShim.use_params: expected {size} weights, got {flat.size}."
                )
            found += list(zip(variables, _split(flat, variables), strict=True))
        for variable in self._model.weights:
            for name in (variable.path, variable.name):
                value = params.get(f"tensorflow_{self.id}_{name}")
                if value is not None:
                    value = _to_host(value)
                    if tuple(value.shape) != tuple(variable.shape):
                        raise ValueError(
                            f"TensorFlowShim.use_params: {variable.path!r} is of shape "
                            f"{tuple(variable.shape)}, got {tuple(value.shape)}."
                        )
                    found.append((variable, value))
                    break
        return found

    # ---- copies and devices ----------------------------------------------------

    def copy(self) -> "TensorFlowShim":
        """A shim of its own, with its own id and its own model of the same weights.

        Raises ValueError if Keras cannot make such a model: see clone_keras_model.
        """
        copied = self.__copy__()
        copied.id = self._new_id()
        copied.cfg = copy.deepcopy(self.cfg)
        copied._model = None if self._model is None else clone_keras_model(self._model)
        self._give_gradients(copied)
        return copied

    def __copy__(self) -> "TensorFlowShim":
        # Not by __getstate__, which is for other processes.
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        return copied

    def __deepcopy__(self, memo: Dict) -> "TensorFlowShim":
        memo[id(self)] = self.copy()
        return memo[id(self)]

    def __getstate__(self) -> Dict[str, Any]:
        """For pickle, which keeps what a variable is, but not that it is the model's."""
        state = dict(self.__dict__)
        index = {id(v): i for i, v in enumerate(self._model.variables)} if self._model else {}
        state["_reached"] = [index[id(variable)] for variable in self._reached]
        state["gradients"] = self.gradients and [grad.numpy() for grad in self.gradients]
        if getattr(self._model, "catalogue_name", None) is not None:
            # Keras could not pickle it: it is made again by its registered class.
            state["_model"] = None
            state["_saved"] = self.to_bytes()
        return state

    def __setstate__(self, state: Dict[str, Any]) -> None:
        assert_tensorflow_installed()
        state = dict(state)
        saved, reached = state.pop("_saved", None), state.pop("_reached")
        gradients = state.pop("gradients")
        self.__dict__.update(state)
        self._clear_gradients()
        if saved is not None:
            self.from_bytes(saved)
        if gradients is not None:
            variables = self._model.variables
            to_tensor = compat.tensorflow.convert_to_tensor
            self._add_gradients([variables[i] for i in reached], [to_tensor(g) for g in gradients])

    def _give_gradients(self, other: "TensorFlowShim") -> None:
        """Copy the gradients for the same variables of the other shim's model."""
        gradients, reached = self.gradients, self._reached
        other._clear_gradients()
        if gradients is not None:
            index = {id(v): i for i, v in enumerate(self._model.variables)}
            twins = other._model.variables
            other._add_gradients(
                [twins[index[id(v)]] for v in reached], [g.value() for g in gradients]
            )

    def to_device(self, device_type: str, device_id: int) -> None:
        """Move the weights: ("cpu", -1) or ("gpu", number).

        TensorFlow's variables stay where they were made, so that a move makes a new model
        of the same weights; where they are already there, nothing happens.
        Raises ValueError for another type, and for a device that TensorFlow does not see.
        """
        tf = compat.tensorflow
        if device_type not in ("cpu", "gpu"):
            raise ValueError(f"Invalid device_type: {device_type}. Try 'cpu' or 'gpu'.")
        index = max(device_id, 0) if device_type == "gpu" else 0
        present = tf.config.list_logical_devices(device_type.upper())
        if index >= len(present):
            raise ValueError(
                f"TensorFlow does not see {device_type} {index}: it has "
                f"{[device.name for device in tf.config.list_logical_devices()]}."
            )
        suffix = f"{device_type.upper()}:{index}"
        if self._model is None or all(v.value.device.endswith(suffix) for v in self._model.weights):
            return
        with tf.device(present[index].name):
            moved = self.__copy__()
            moved._model = clone_keras_model(self._model)
            self._give_gradients(moved)
        self._model, self.gradients, self._reached = moved._model, moved.gradients, moved._reached

    # ---- saving and loading ----------------------------------------------------

    def to_bytes(self) -> bytes:
        """Config and weights (not the architecture, which is code) as bytes.

        Of a class decorated with keras_subclass also the name and the arguments of the
        constructor, so that from_bytes can make a missing model.
        Raises ValueError if the model has no weights yet.
        """
        model = self._model
        if not _has_weights(model):
            raise ValueError(_NO_WEIGHTS.format(model.name))
        factory = None
        if getattr(model, "catalogue_name", None) is not None:
            given = getattr(model, "eg_args", ArgsKwargs((), {}))
            factory = [model.catalogue_name, list(given.args), given.kwargs]
        weights = [(f"{i}.{v.name}", v.numpy()) for i, v in enumerate(model.weights)]
        return pack_weights({"shim": self.cfg, "factory": factory}, {"weights": weights})

    def from_bytes(self, data: Any) -> "TensorFlowShim":
        """Load what to_bytes returned, or the pair (name, weights) of thinc 8's subclassed
        models. Returns self. Runs no code of the data's.

        Weights are matched by their order, names, shapes and dtypes. If the shim has no
        model, it is made by the function that is registered in keras_model_fns.
        Raises thinc.serialize.DeserializationError (a ValueError) if the data does not
        fit; then everything stays as it was.
        """
        config, factory, weights = _parse(data)
        model = self._model
        if model is None:
            model = make_keras_model(factory)
        if not _has_weights(model):
            raise DeserializationError(_NO_WEIGHTS.format(model.name))
        expected = [
            Expected(f"{i}.{v.name}", tuple(v.shape), v.numpy().dtype)
            for i, v in enumerate(model.weights)
        ]
        if weights and not weights[0][0]:  # thinc 8 saved no names
            weights = [
                (expected[i].name if i < len(expected) else str(i), *weight[1:])
                for i, weight in enumerate(weights)
            ]
        arrays = take_weights(weights, expected)
        for variable, array in zip(model.weights, arrays, strict=True):
            variable.assign(array)
        self._model = model
        if config is not None:
            self.cfg = config
        self._clear_gradients()
        return self


_NO_WEIGHTS = (
    "The Keras model {!r} has no weights yet: give it an Input layer, or call initialize(X) on "
    "the Model around it, before you save or load it."
)


def _has_weights(model: Any) -> bool:
    """Whether the model is built; one of a decorated class then is."""
    if not model.built and getattr(model, "catalogue_name", None) is not None:
        maybe_handshake_model(model)
    return model.built or bool(model.weights)


def _parse(data: Any) -> Tuple[Optional[Dict], Any, List]:
    """Config, factory and weights of anything that from_bytes takes."""
    if isinstance(data, (list, tuple)):
        if len(data) != 2 or not isinstance(data[0], str) or not isinstance(data[1], (list, tuple)):
            raise DeserializationError("expected bytes, or a pair of a name and weights")
        for array in data[1]:
            if not isinstance(array, numpy.ndarray):
                raise DeserializationError(f"a weight is {type(array).__name__}, not an array")
        return None, [data[0], [], {}], [("", a.dtype.name, a) for a in data[1]]
    if bytes(data[:8]) == b"\x89HDF\r\n\x1a\n":
        raise DeserializationError(
            "this is a Keras model in HDF5, as thinc 8 saved them. Loading it could run code "
            "that it brings along: open it with Keras, set its weights in this model, save again"
        )
    settings, groups = unpack_weights(data, ["weights"])
    config, factory = settings.get("shim"), settings.get("factory")
    if not isinstance(config, dict):
        raise DeserializationError("the shim's config is no map")
    return config, factory, groups["weights"]


# ---- tensors -------------------------------------------------------------------


def _inputs(model: Any) -> List:
    """The inputs of a functional or sequential model, nothing for others."""
    try:
        return model.inputs or []
    except (AttributeError, ValueError):  # an unbuilt Sequential, in some releases
        return []


def _is_float(obj: Any) -> bool:
    return compat.tensorflow.is_tensor(obj) and obj.dtype.is_floating


def _pair_gradients(Y: Any, dY: Any) -> Tuple[List, List]:
    """The outputs that have a gradient, and the gradients in the outputs' dtypes."""
    tf = compat.tensorflow
    outputs, d_outputs = tf.nest.flatten(Y), tf.nest.flatten(dY)
    if len(outputs) != len(d_outputs):
        raise ValueError(
            f"The model has {len(outputs)} outputs, but backprop got {len(d_outputs)} gradients."
        )
    pairs = []
    for y, dy in zip(outputs, d_outputs, strict=True):
        if dy is None or not _is_float(y):
            continue
        if tuple(y.shape) != tuple(dy.shape):
            raise ValueError(
                f"The gradient's shape {tuple(dy.shape)} differs from the output's, "
                f"{tuple(y.shape)}."
            )
        pairs.append((y, tf.cast(dy, y.dtype)))
    return [y for y, _ in pairs], [dy for _, dy in pairs]


def _flatten(tensors: Sequence[Any]) -> Any:
    """All elements in one new 1-d array: float64 if one of them is, else float32."""
    arrays = [tensor.numpy() for tensor in tensors]
    double = any(array.dtype == "float64" for array in arrays)
    flat = [
        array.ravel().astype("float64" if double else "float32", copy=False) for array in arrays
    ]
    return numpy.concatenate(flat)


def _assign(variables: Sequence[Any], flat: Any) -> None:
    for variable, value in zip(variables, _split(_to_host(flat), variables), strict=True):
        variable.assign(value)


def _split(flat: numpy.ndarray, variables: Sequence[Any]) -> List[numpy.ndarray]:
    ends = numpy.cumsum([_size(variable) for variable in variables])[:-1]
    parts = numpy.split(flat, ends) if variables else []
    return [part.reshape(tuple(v.shape)) for part, v in zip(parts, variables, strict=True)]


def _size(variable: Any) -> int:
    return int(numpy.prod(tuple(variable.shape), dtype="int64"))


def _to_host(array: Any) -> numpy.ndarray:
    return array.get() if hasattr(array, "get") else numpy.asarray(array)
