"""Modules of Flax and Equinox as a function and its parameters.

None of these libraries is imported: a module of theirs exists only if it has been.
"""

import inspect
import sys
from typing import Any, Callable, Dict, Optional, Set

import numpy

from .jax import JaxModel

# Names that Flax's modules have for "this is (not) training".
_TRAIN_NAMES = {"train", "training", "is_train"}
_EVAL_NAMES = {"deterministic", "use_running_average"}


def module_as_model(module: Any, params: Any, state: Any) -> Optional[JaxModel]:
    """The JaxModel for a module of Flax or Equinox, None for anything else.

    Raises ValueError for params or a state where the module brings its own.
    """
    if _is_a(module, "flax.linen", "Module"):
        return _linen(module, params, state)
    for library, adapt in (("flax.nnx", _nnx), ("equinox", _equinox)):
        if _is_a(module, library, "Module"):
            if params is None and state is None:
                return adapt(module)
            if library == "flax.nnx":
                raise ValueError("A module of flax.nnx brings its own params and state.")
    return None


def _is_a(obj: Any, library: str, name: str) -> bool:
    cls = getattr(sys.modules.get(library), name, None)
    return isinstance(cls, type) and isinstance(obj, cls)


def _call_parameters(function: Callable) -> Set[str]:
    return set(inspect.signature(function).parameters)


# ---- Flax: linen ---------------------------------------------------------------


def _linen(module: Any, variables: Any, state: Any) -> JaxModel:
    if state is not None:
        raise ValueError("A module of flax.linen has its state among its variables: params.")
    names = _call_parameters(type(module).__call__)

    def mode(is_train: bool) -> Dict[str, bool]:
        given = dict.fromkeys(names & _TRAIN_NAMES, is_train)
        return {**given, **dict.fromkeys(names & _EVAL_NAMES, not is_train)}

    def apply_fn(params: Any, state: Any, *args: Any, is_train: bool, rng: Any, **kwargs: Any):
        rngs = None if rng is None else {"dropout": rng}
        kwargs = {**mode(is_train), **kwargs}
        variables = {"params": params, **state}
        if not is_train or not state:
            return module.apply(variables, *args, rngs=rngs, **kwargs), state
        return module.apply(variables, *args, rngs=rngs, mutable=list(state), **kwargs)

    def make(*args: Any, **kwargs: Any) -> Any:
        import jax

        seed = numpy.random.randint(0, 2**32, dtype="uint32")
        made = module.init(jax.random.key(seed), *args, **{**mode(False), **kwargs})
        return _split_variables(made)

    if variables is None:
        return JaxModel(apply_fn, make_params=make)
    if "params" not in variables:
        raise ValueError(
            "The params of a module of flax.linen are its variables, as its init returns them: "
            f'a dict with the key "params". Got the keys {sorted(variables)}.'
        )
    return JaxModel(apply_fn, *_split_variables(variables))


def _split_variables(variables: Any) -> Any:
    state = {name: value for name, value in variables.items() if name != "params"}
    return variables.get("params", {}), state


# ---- Flax: nnx -----------------------------------------------------------------


def _nnx(module: Any) -> JaxModel:
    nnx = sys.modules["flax.nnx"]
    graph, params, rest = nnx.split(module, nnx.Param, ...)

    def apply_fn(params: Any, state: Any, *args: Any, is_train: bool, **kwargs: Any):
        merged = nnx.merge(graph, params, state)
        if is_train:
            merged.train()
        else:
            merged.eval()
        Y = merged(*args, **kwargs)
        return Y, nnx.split(merged, nnx.Param, ...)[2]

    return JaxModel(apply_fn, params, rest)


# ---- Equinox -------------------------------------------------------------------


def _equinox(module: Any) -> JaxModel:
    equinox: Any = sys.modules["equinox"]
    takes_key = "key" in _call_parameters(type(module).__call__)

    def apply_fn(module: Any, *args: Any, is_train: bool, rng: Any):
        import jax

        module = equinox.nn.inference_mode(module, value=not is_train)
        if takes_key and rng is not None:
            keys = jax.random.split(rng, args[0].shape[0])
            return jax.vmap(lambda key, *row: module(*row, key=key))(keys, *args)
        return jax.vmap(module)(*args)

    return JaxModel(apply_fn, module)
