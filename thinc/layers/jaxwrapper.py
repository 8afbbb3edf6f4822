"""JaxWrapper: a JAX function with its parameters as a layer, trained by thinc's optimizer."""

from typing import Any, Callable, Optional, Tuple, Type

from .. import compat
from ..interop import (
    assert_jax_installed,
    is_jax_array,
    is_numpy_array,
    is_xp_array,
    jax2xp,
    xp2jax,
)
from ..model import Model
from ..registration import registry
from ..shims.jax import JaxModel, JaxShim
from ..types import ArgsKwargs, Padded, Ragged
from ..util import convert_recursive

SMALL_BYTES = 1 << 16


@registry.layers("JaxWrapper.v1")
def JaxWrapper(
    apply_fn: Callable,
    params: Optional[Any] = None,
    *,
    state: Optional[Any] = None,
    convert_inputs: Optional[Callable] = None,
    convert_outputs: Optional[Callable] = None,
    device: Optional[Any] = None,
    model_class: Type[Model] = Model,
    model_name: str = "jax",
) -> Model[Any, Any]:
    """A JAX function, or a module of Flax or Equinox, as a layer.

    apply_fn: a pure function, apply_fn(params, *args, **kwargs) -> Y. If it has parameters
        named is_train and rng they are filled in, see JaxShim. Or a module:
        flax.linen.Module: params are its variables, by default made by initialize(X);
            collections other than "params" become the state; call parameters named train,
            training, is_train, deterministic and use_running_average are filled in.
        flax.nnx.Module: it brings its own parameters; what is no nnx.Param is the state.
        equinox.Module: it brings its own parameters, and is applied to each row of the
            arguments (jax.vmap); in training a call parameter `key` gets a key for each row.
        For another way of calling a module give a function, and the module as params.
    params: a pytree. Its floating-point arrays are trained, other arrays are kept; all
        arrays are saved. What is no array is part of the function.
    state: a pytree of arrays that training changes without gradients (running averages).
        With it, apply_fn(params, state, *args, **kwargs) returns (Y, new state).
    convert_inputs: (model, X, is_train) -> (ArgsKwargs of JAX arrays, callback from the
        ArgsKwargs of their gradients to dX). By default an array is one argument, a list
        or tuple of arrays several, a dict keyword arguments; ArgsKwargs has both.
    convert_outputs: (model, (X, Y of JAX), is_train) -> (Y, callback from dY to gradients
        of the outputs). By default every JAX array becomes an array that shares its memory
        and is read-only, in the same structure.
    device: a jax.Device; by default the one of the current Ops.

    Raises ImportError if JAX is not installed, TypeError if apply_fn cannot be called,
    ValueError if there are no parameters.
    """
    assert_jax_installed()
    return model_class(
        model_name,
        forward,
        init=init,
        shims=[JaxShim(_as_model(apply_fn, params, state), device=device)],
        attrs={
            "convert_inputs": convert_inputs or convert_jax_default_inputs,
            "convert_outputs": convert_outputs or convert_jax_default_outputs,
        },
    )


def _as_model(apply_fn: Any, params: Any, state: Any) -> JaxModel:
    from ..shims.jax_modules import module_as_model

    model = module_as_model(apply_fn, params, state)
    if model is not None:
        return model
    if not callable(apply_fn):
        raise TypeError(
            f"JaxWrapper expects a function or a module, got {type(apply_fn).__name__}."
        )
    if params is None:
        raise ValueError("JaxWrapper needs the params of the function: a pytree of arrays.")
    return JaxModel(apply_fn, params, state)


def forward(model: Model, X: Any, is_train: bool) -> Tuple[Any, Callable]:
    """Convert, run the function, convert back; and the reverse for the gradients."""
    X_jax, get_dX = model.attrs["convert_inputs"](model, X, is_train)
    Y_jax, jax_backprop = model.shims[0](X_jax, is_train)
    Y, get_dY_jax = model.attrs["convert_outputs"](model, (X, Y_jax), is_train)

    def backprop(dY: Any) -> Any:
        return get_dX(jax_backprop(get_dY_jax(dY)))

    return Y, backprop


def init(model: Model, X: Any = None, Y: Any = None) -> None:
    """Make the parameters of a module that needs a sample of the input for it."""
    shim: Any = model.shims[0]
    if X is not None and not shim.is_initialized:
        X_jax, _ = model.attrs["convert_inputs"](model, X, False)
        shim.initialize(X_jax)


def convert_jax_default_inputs(
    model: Model, X: Any, is_train: bool
) -> Tuple[ArgsKwargs, Callable[[ArgsKwargs], Any]]:
    """Arrays of X to what JAX takes, and the gradients of the inputs to arrays of X's structure.

    The gradient of an integer input is None. Lists come back as tuples.
    Raises TypeError for Ragged and Padded, which JAX does not know.
    """
    if isinstance(X, (Ragged, Padded)):
        raise TypeError(
            f"JaxWrapper takes arrays, got {type(X).__name__}: wrap the layer in with_array if it "
            "works on rows, or give it a convert_inputs."
        )
    converted = convert_recursive(is_xp_array, _to_jax(model), X)
    if isinstance(converted, ArgsKwargs):
        return converted, _to_arrays
    if isinstance(converted, dict):
        return ArgsKwargs((), converted), lambda dX: _to_arrays(dX.kwargs)
    if isinstance(converted, (tuple, list)):
        return ArgsKwargs(tuple(converted), {}), lambda dX: _to_arrays(dX.args)
    return ArgsKwargs((converted,), {}), lambda dX: _to_arrays(dX.args[0])


def convert_jax_default_outputs(
    model: Model, X_Yjax: Any, is_train: bool
) -> Tuple[Any, Callable[[Any], Any]]:
    """JAX arrays of the output to arrays, and the arrays of its gradient to JAX's."""
    return _to_arrays(X_Yjax[1]), lambda dY: convert_recursive(is_xp_array, _to_jax(model), dY)


def _to_jax(model: Model) -> Callable[[Any], Any]:
    shim: Any = model.shims[0]

    def convert(array: Any) -> Any:
        # A compiled function takes numpy arrays itself, copies them, and is quicker at it
        # than device_put is at sharing a small one.
        small = is_numpy_array(array) and array.nbytes < SMALL_BYTES and array.dtype.isnative
        return array if small else xp2jax(array, shim.device)

    return convert


def _to_arrays(arrays: Any) -> Any:
    return convert_recursive(is_jax_array, _to_array, arrays)


def _to_array(array: Any) -> Any:
    if array.dtype == compat.jax.numpy.bfloat16:  # which numpy and the layers do not know
        array = array.astype("float32")
    return jax2xp(array)
