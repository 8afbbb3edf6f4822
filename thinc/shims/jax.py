"""JAX's shim: a function and a pytree of parameters, with gradients from jax.vjp."""

import contextlib
import copy
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy

from .. import compat
from ..interop import assert_jax_installed, get_jax_default_device, is_cupy_array
from ..types import ArgsKwargs
from .shim import Shim
from .weights import Expected, pack_weights, take_weights, unpack_weights


class JaxModel(NamedTuple):
    """What a JaxShim wraps.

    apply_fn: apply_fn(params, *args, **kwargs) -> Y; with a state apply_fn(params, state,
        *args, **kwargs) -> (Y, new state). It must be pure, as jax.jit demands.
    params: a pytree. Its floating-point arrays are trained; arrays of integers are kept and
        saved; everything else is part of the program.
    state: None, or a pytree of what changes in training without gradients.
    make_params: instead of params, a function from the arguments of the first call to
        (params, state).
    """

    apply_fn: Callable
    params: Any = None
    state: Any = None
    make_params: Optional[Callable] = None


class JaxShim(Shim):
    """A JAX function and its parameters inside a Model.

    model: a JaxModel. config: saved along. optimizer: kept, not used: finish_update is
    given thinc's. device: a jax.Device; by default the one of the current Ops.

    The function is compiled once for each combination of shapes and dtypes that it gets,
    in training and outside. Parameters named is_train and rng are filled in: whether the
    call is for training (a plain bool, so it may stand in an `if`), and, in training, a
    jax.random key that follows numpy's random seed (outside of it: None).
    """

    def __init__(
        self,
        model: JaxModel,
        config: Optional[Dict] = None,
        optimizer: Any = None,
        device: Any = None,
    ):
        assert_jax_installed()
        if not isinstance(model, JaxModel):
            raise TypeError(f"JaxShim expects a JaxModel, got {type(model).__name__}.")
        super().__init__(model, config, optimizer)
        self.device = get_jax_default_device() if device is None else device
        self._program: Any = None
        if model.make_params is None:
            self._set_up(model.params, model.state)

    def _set_up(self, params: Any, state: Any) -> None:
        from .jax_program import Program, take_apart

        leaves = take_apart(params, "params", self.device)
        if not leaves.arrays and any(isinstance(leaf, float) for leaf in leaves.others):
            raise ValueError(
                "JaxShim: there are numbers among the params, but no arrays, and only arrays are "
                "trained: write numpy.float32(0.5), not 0.5."
            )
        states = None if state is None else take_apart(state, "state", self.device)
        self._program = Program(self._model.apply_fn, leaves, states)
        self._arrays = leaves.arrays
        self._state = [] if states is None else states.arrays
        self._grads: Optional[List[Any]] = None  # one for each trained array

    @property
    def is_initialized(self) -> bool:
        """Whether there are parameters."""
        return self._program is not None

    def initialize(self, X: ArgsKwargs) -> None:
        """Make the parameters from a sample of the arguments, if there are none yet."""
        if self._program is None:
            self._set_up(*self._model.make_params(*X.args, **X.kwargs))

    def _get_program(self) -> Any:
        if self._program is None:
            raise ValueError("JaxShim has no parameters yet: call initialize(X) on the model.")
        return self._program

    @property
    def params(self) -> Any:
        """The parameters as a pytree, as the function gets them."""
        from .jax_program import put_together

        return put_together(self._get_program().params, self._arrays)

    @property
    def state(self) -> Any:
        """The state as a pytree, or None."""
        from .jax_program import put_together

        program = self._get_program()
        return None if program.state is None else put_together(program.state, self._state)

    @property
    def grads(self) -> Dict[str, Any]:
        """The gradients since the last finish_update, by the parameters' names."""
        if self._grads is None:
            return {}
        return dict(zip(self._trained_names(), self._grads, strict=True))

    def _trained_names(self) -> List[str]:
        program = self._get_program()
        return program.split(program.params.names)[0]

    # ---- forward and backward --------------------------------------------------

    def __call__(self, inputs: ArgsKwargs, is_train: bool) -> Tuple[Any, Callable]:
        """The output, a pytree of JAX arrays, and a callback.

        The callback takes the gradients of the outputs, in the output's structure (None
        counts as zero), adds to `grads` and returns the gradients of the inputs: ArgsKwargs
        with None for what is not floating point. After a call with is_train=False it
        raises ValueError.
        """
        return self.begin_update(inputs) if is_train else (self.predict(inputs), _no_backprop)

    def predict(self, inputs: ArgsKwargs) -> Any:
        """The output only."""
        from .jax_program import take_arguments

        program = self._get_program()
        arguments, floats, arrays = take_arguments(inputs.args, inputs.kwargs)
        trained, fixed = program.split(self._arrays)
        return program.predict(arguments, trained, fixed, self._state, floats, arrays)

    def begin_update(self, inputs: ArgsKwargs) -> Tuple[Any, Callable[[Any], ArgsKwargs]]:
        """See __call__. A new state replaces the one before."""
        from .jax_program import fill_slots, give_arguments, output_gradients, take_arguments

        program = self._get_program()
        arguments, floats, arrays = take_arguments(inputs.args, inputs.kwargs)
        trained, fixed = program.split(self._arrays)
        seed = None
        if "rng" in program.takes:
            seed = numpy.random.randint(0, 2**32, dtype="uint32")
        outputs, rest, self._state, vjp = program.forward(
            arguments, trained, fixed, self._state, seed, floats, arrays
        )

        def backprop(dY: Any) -> ArgsKwargs:
            d_outputs = output_gradients(rest, outputs, dY)
            d_params, d_floats = program.backward(vjp, d_outputs)
            self._grads = d_params if self._grads is None else program.add(self._grads, d_params)
            without = arguments._replace(others=(None,) * len(arguments.others))
            args, kwargs = give_arguments(without, d_floats, [None] * len(arrays))
            return ArgsKwargs(args, kwargs)

        return fill_slots(rest, outputs), backprop

    # ---- updates ---------------------------------------------------------------

    def finish_update(self, optimizer: Any) -> None:
        """Update every trained array, and clear the gradients.

        The optimizer is called with the key (id, name) for each, name being the place in
        the pytree, such as "layers/0/weight", and arrays of the parameter's shape: float32,
        or float64 if the parameter is. Without gradients nothing happens.
        """
        if self._grads is None:
            return
        program = self._get_program()
        grads = iter(self._grads)
        updated = list(self._arrays)
        for i, name in enumerate(program.params.names):
            if program.trained[i]:
                weights, grad = _writable(self._arrays[i]), _writable(next(grads))
                weights, _ = optimizer((self.id, name), weights, grad)
                updated[i] = self._put(weights, like=self._arrays[i])
        self._arrays, self._grads = updated, None

    @contextlib.contextmanager
    def use_params(self, params: Dict) -> Iterator[None]:
        """Use other parameters inside the block; afterwards the ones before, in any case.

        params: (id, name) -> array, as an optimizer's averages have them. What is not in
        there stays as it is, other keys do not matter.
        Raises ValueError for an array of another shape.
        """
        before = getattr(self, "_arrays", [])
        changed = list(before)
        for i, name in enumerate(self._program.params.names if self._program else ()):
            value = params.get((self.id, name))
            if value is not None:
                if tuple(value.shape) != before[i].shape:
                    raise ValueError(
                        f"JaxShim.use_params: {name!r} is of shape {before[i].shape}, got "
                        f"{tuple(value.shape)}."
                    )
                changed[i] = self._put(_copied(value), like=before[i])
        self._arrays = changed
        try:
            yield
        finally:
            self._arrays = before

    def _put(self, value: Any, like: Any) -> Any:
        """A numpy or cupy array, which nobody else will change, as a JAX array."""
        jax = compat.jax
        array = jax.dlpack.from_dlpack(value) if is_cupy_array(value) else value
        array = array if array.dtype == like.dtype else array.astype(like.dtype)
        return jax.device_put(array, self.device)

    # ---- copies and devices ----------------------------------------------------

    def copy(self) -> "JaxShim":
        """A shim with an id of its own. JAX's arrays never change, so they are shared until
        one of the two is updated; so is what has been compiled."""
        copied = self.__copy__()
        copied.id = self._new_id()
        copied.cfg = copy.deepcopy(self.cfg)
        return copied

    def __copy__(self) -> "JaxShim":
        # Not by __getstate__, which is for other processes.
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        return copied

    def __deepcopy__(self, memo: Dict) -> "JaxShim":
        memo[id(self)] = self.copy()
        return memo[id(self)]

    def __getstate__(self) -> Dict[str, Any]:
        """For pickle, which knows no devices and no compiled functions."""
        state = dict(self.__dict__)
        state["device"] = (self.device.platform, self.device.id)
        program = state.pop("_program")
        state["_trees"] = None if program is None else (self.params, self.state)
        for name in ("_arrays", "_state", "_grads"):
            state.pop(name, None)
        state["_model"] = self._model._replace(params=None, state=None)
        state["_saved_grads"] = None if program is None or self._grads is None else self._grads
        return state

    def __setstate__(self, state: Dict[str, Any]) -> None:
        assert_jax_installed()
        state = dict(state)
        trees, grads = state.pop("_trees"), state.pop("_saved_grads")
        platform, number = state.pop("device")
        self.__dict__.update(state)
        self.device = _find_device(platform, number)
        self._program = None
        if trees is not None:
            self._set_up(*trees)
            self._grads = None if grads is None else compat.jax.device_put(grads, self.device)

    def to_device(self, device_type: str, device_id: int) -> None:
        """Move the parameters: ("cpu", -1) or ("gpu", number).

        Raises ValueError for another type, and for a device that JAX does not see.
        """
        jax = compat.jax
        if device_type not in ("cpu", "gpu"):
            raise ValueError(f"Invalid device_type: {device_type}. Try 'cpu' or 'gpu'.")
        try:
            device = jax.devices(device_type)[max(device_id, 0) if device_type == "gpu" else 0]
        except (RuntimeError, IndexError) as error:
            raise ValueError(
                f"JAX does not see {device_type} {device_id}: it has {jax.devices()}."
            ) from error
        self.device = device
        if self._program is not None:
            self._arrays = jax.device_put(self._arrays, device)
            self._state = jax.device_put(self._state, device)
            self._grads = None if self._grads is None else jax.device_put(self._grads, device)

    # ---- saving and loading ----------------------------------------------------

    def to_bytes(self) -> bytes:
        """Config, parameters and state (not the function, which is code) as bytes.

        Raises ValueError if there are no parameters yet.
        """
        program = self._get_program()
        groups = {"params": list(zip(program.params.names, map(_saved, self._arrays), strict=True))}
        names = () if program.state is None else program.state.names
        groups["state"] = list(zip(names, map(_saved, self._state), strict=True))
        return pack_weights(self.cfg, groups)

    def from_bytes(self, data: Any) -> "JaxShim":
        """Load what to_bytes returned. Returns self. Runs no code of the data's.

        Arrays are matched by their places in the pytrees, their shapes and dtypes.
        Raises thinc.serialize.DeserializationError (a ValueError) if the data does not
        fit; then everything stays as it was.
        """
        program = self._get_program()
        config, groups = unpack_weights(data, ["params", "state"])
        arrays = self._load(groups["params"], program.params.names, self._arrays)
        names = () if program.state is None else program.state.names
        state = self._load(groups["state"], names, self._state)
        self.cfg, self._arrays, self._state, self._grads = config, arrays, state, None
        return self

    def _load(self, found: List, names: Any, current: List) -> List:
        jax = compat.jax
        expected = []
        for name, array in zip(names, current, strict=True):
            template = jax.eval_shape(jax.random.key_data, array) if _is_key(array) else array
            expected.append(Expected(name, template.shape, template.dtype))
        values = take_weights(found, expected)
        loaded = []
        for value, array in zip(values, current, strict=True):
            if _is_key(array):
                key = jax.random.wrap_key_data(value, impl=jax.random.key_impl(array))
                loaded.append(jax.device_put(key, self.device))
            else:
                loaded.append(jax.device_put(value, self.device))
        return loaded


def _find_device(platform: str, number: int) -> Any:
    """The device that another process has called so, or the default one."""
    try:
        return next(d for d in compat.jax.devices(platform) if d.id == number)
    except (RuntimeError, StopIteration):
        return get_jax_default_device()


def _no_backprop(dY: Any) -> Any:
    raise ValueError(
        "JAX recorded no gradients, because the model was not called with is_train=True: use "
        "begin_update."
    )


def _is_key(array: Any) -> bool:
    jax = compat.jax
    return jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key)


def _saved(array: Any) -> numpy.ndarray:
    return numpy.asarray(compat.jax.random.key_data(array) if _is_key(array) else array)


def _writable(array: Any) -> Any:
    """A copy that the optimizer can change, on the device if CuPy is there."""
    platform = next(iter(array.devices())).platform
    if platform != "cpu" and compat.has_cupy_gpu and array.dtype in ("float32", "float64"):
        return compat.cupy_from_dlpack(array).copy()
    array = numpy.asarray(array)
    copied = aligned(array.shape, "float64" if array.dtype == "float64" else "float32")
    copied[...] = array
    return copied


def _copied(value: Any) -> Any:
    """A copy that nobody else has, in memory that JAX can take as it is."""
    if is_cupy_array(value):
        return value.copy()
    copied = aligned(value.shape, value.dtype)
    copied[...] = value
    return copied


def aligned(shape: Tuple[int, ...], dtype: Any) -> numpy.ndarray:
    """An uninitialized array, aligned as JAX wants memory that it shares."""
    dtype = numpy.dtype(dtype)
    size = int(numpy.prod(shape, dtype="int64")) * dtype.itemsize
    memory = numpy.empty(size + 64, dtype="u1")
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)
