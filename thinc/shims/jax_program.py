"""A JAX function with its parameters, compiled: forward passes, and jax.vjp's backward pass.

The arrays are kept apart from the rest, because jax.jit compiles once for each structure,
and because only the arrays are trained, saved and moved.
"""

import functools
import inspect
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import jax
import jax.numpy as jnp
import numpy


class Leaves(NamedTuple):
    """A pytree taken apart."""

    treedef: Any
    names: Tuple[str, ...]  # of the arrays: their places in the tree, "layers/0/weight"
    arrays: List[Any]
    is_array: Tuple[bool, ...]  # of all leaves
    others: Tuple[Any, ...]  # the leaves that are no arrays: functions, strings, numbers


def take_apart(tree: Any, what: str, device: Any) -> Leaves:
    """The leaves of a pytree, arrays (copied to device) and others.

    what: the name of a tree that is only an array.
    """
    found, treedef = jax.tree_util.tree_flatten_with_path(tree)
    is_array = tuple(_is_array(leaf) for _, leaf in found)
    paths = [path for (path, _), flag in zip(found, is_array, strict=True) if flag]
    names = ["/".join(map(_key_name, path)) or what for path in paths]
    if len(set(names)) != len(names):  # a key contains the separator
        names = [jax.tree_util.keystr(path) for path in paths]
    arrays = [_own(leaf, device) for (_, leaf), flag in zip(found, is_array, strict=True) if flag]
    others = tuple(leaf for (_, leaf), flag in zip(found, is_array, strict=True) if not flag)
    return Leaves(treedef, tuple(names), arrays, is_array, others)


def _key_name(key: Any) -> str:
    """The key of a dict, the index in a list, the name of an attribute."""
    for kind in ("key", "idx", "name"):
        if hasattr(key, kind):
            return str(getattr(key, kind))
    return str(key)


def put_together(leaves: Leaves, arrays: Sequence[Any]) -> Any:
    """The pytree with these arrays."""
    rest, values = iter(leaves.others), iter(arrays)
    flat = [next(values) if flag else next(rest) for flag in leaves.is_array]
    return jax.tree_util.tree_unflatten(leaves.treedef, flat)


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, (jax.Array, numpy.ndarray, numpy.generic))


def _own(leaf: Any, device: Any) -> Any:
    if not isinstance(leaf, jax.Array):
        # JAX may share the caller's memory, which the caller may change.
        leaf = numpy.array(leaf, copy=True)
    return leaf if device is None else jax.device_put(leaf, device)


def is_trained(leaf: Any) -> bool:
    """Whether gradients exist for it: floats and complex numbers of any size."""
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


class Arguments(NamedTuple):
    """The arguments of a call taken apart; hashable, since jit compiles once for each."""

    treedef: Any
    kinds: Tuple[str, ...]  # of each leaf: "float", "array" (another one), "other"
    others: Tuple[Any, ...]


def take_arguments(args: Sequence[Any], kwargs: Dict) -> Tuple[Arguments, List, List]:
    """The structure of the arguments, their floating-point arrays, and their other arrays."""
    leaves, treedef = jax.tree_util.tree_flatten((tuple(args), dict(kwargs)))
    floats, arrays, others, kinds = [], [], [], []
    for leaf in leaves:
        if not _is_array(leaf):
            if getattr(type(leaf), "__hash__", None) is None:
                raise TypeError(
                    f"JaxShim: an argument of type {type(leaf).__name__} is neither an array nor "
                    "something that the compiled program could depend on, such as a string."
                )
            kinds.append("other")
            others.append(leaf)
        elif is_trained(leaf):
            kinds.append("float")
            floats.append(leaf)
        else:
            kinds.append("array")
            arrays.append(leaf)
    return Arguments(treedef, tuple(kinds), tuple(others)), floats, arrays


def give_arguments(arguments: Arguments, floats: Sequence, arrays: Sequence) -> Tuple[Tuple, Dict]:
    """The arguments again, or what stands for each."""
    values = {"float": iter(floats), "array": iter(arrays), "other": iter(arguments.others)}
    leaves = [next(values[kind]) for kind in arguments.kinds]
    return jax.tree_util.tree_unflatten(arguments.treedef, leaves)


@jax.tree_util.register_static
class _Slot:
    """Where a differentiable output stands in the output's structure."""

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, _Slot)

    def __hash__(self) -> int:
        return hash(_Slot)


def _is_slot(obj: Any) -> bool:
    return isinstance(obj, _Slot)


class Program:
    """The compiled functions for one apply_fn and one structure of params and state.

    apply_fn(params, *args, **kwargs) -> Y, or, with a state, apply_fn(params, state, *args,
    **kwargs) -> (Y, new state). Copies of a shim share the program, hence what is compiled.
    """

    def __init__(self, apply_fn: Callable, params: Leaves, state: Optional[Leaves]):
        self.apply_fn, self.params, self.state = apply_fn, params, state
        self.trained = tuple(is_trained(array) for array in params.arrays)
        self.takes = _keywords(apply_fn)
        self.predict = jax.jit(self._predict, static_argnums=0)
        self.forward = jax.jit(self._forward, static_argnums=0)
        self.backward = jax.jit(lambda vjp, dY: vjp(dY))
        self.add = jax.jit(lambda left, right: [a + b for a, b in zip(left, right, strict=True)])

    def split(self, arrays: Sequence[Any]) -> Tuple[List, List]:
        """The trained parameters and the other arrays among them."""
        pairs = list(zip(arrays, self.trained, strict=True))
        return [a for a, flag in pairs if flag], [a for a, flag in pairs if not flag]

    def _predict(self, arguments, trained, fixed, state, floats, arrays):
        return self._call(arguments, trained, fixed, state, None, floats, arrays, False)[0]

    def _forward(self, arguments, trained, fixed, state, seed, floats, arrays):
        """The differentiable outputs, the rest of the output, the new state, the vjp."""
        rng = None if seed is None else jax.random.key(seed)

        def run(trained, floats):
            Y, new_state = self._call(arguments, trained, fixed, state, rng, floats, arrays, True)
            leaves, treedef = jax.tree_util.tree_flatten(Y)
            flags = [_is_array(leaf) and is_trained(leaf) for leaf in leaves]
            outputs = [leaf for leaf, flag in zip(leaves, flags, strict=True) if flag]
            rest = [_Slot() if flag else leaf for leaf, flag in zip(leaves, flags, strict=True)]
            return outputs, (jax.tree_util.tree_unflatten(treedef, rest), new_state)

        outputs, vjp, (rest, new_state) = jax.vjp(run, trained, floats, has_aux=True)
        return outputs, rest, new_state, vjp

    def _call(self, arguments, trained, fixed, state, rng, floats, arrays, is_train):
        values = {True: iter(trained), False: iter(fixed)}
        params = put_together(self.params, [next(values[flag]) for flag in self.trained])
        args, kwargs = give_arguments(arguments, floats, arrays)
        if "is_train" in self.takes:
            kwargs["is_train"] = is_train
        if "rng" in self.takes:
            kwargs["rng"] = rng
        if self.state is None:
            return self.apply_fn(params, *args, **kwargs), []
        result = self.apply_fn(params, put_together(self.state, state), *args, **kwargs)
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(
                "A JAX function with a state returns a pair, the output and the new state; this "
                f"one returned {type(result).__name__}."
            )
        return result[0], self._state_arrays(result[1])

    def _state_arrays(self, state: Any) -> List[Any]:
        assert self.state is not None
        leaves = take_apart(state, "state", None)
        if leaves.names != self.state.names:
            raise ValueError(
                f"The new state has the arrays {list(leaves.names)}, the one before had "
                f"{list(self.state.names)}."
            )
        return leaves.arrays


def fill_slots(rest: Any, outputs: Sequence[Any]) -> Any:
    """The output of a forward pass in one piece."""
    values = iter(outputs)
    return jax.tree_util.tree_map(
        lambda leaf: next(values) if _is_slot(leaf) else leaf, rest, is_leaf=_is_slot
    )


def output_gradients(rest: Any, outputs: Sequence[Any], dY: Any) -> List[Any]:
    """The gradients of the differentiable outputs, in their dtypes: zero where dY has None.

    Raises ValueError if dY has another structure or other shapes than the output.
    """
    places = jax.tree_util.tree_leaves(rest, is_leaf=_is_slot)
    found = jax.tree_util.tree_leaves(dY, is_leaf=lambda leaf: leaf is None)
    if len(found) != len(places):
        raise ValueError(
            f"The model has {len(places)} outputs, but backprop got {len(found)} gradients."
        )
    grads = [g for g, place in zip(found, places, strict=True) if _is_slot(place)]
    result = []
    for y, dy in zip(outputs, grads, strict=True):
        if dy is not None and dy.shape != y.shape:
            raise ValueError(
                f"The gradient's shape {tuple(dy.shape)} differs from the output's, "
                f"{tuple(y.shape)}."
            )
        if dy is None:
            dy = jnp.zeros_like(y)
        result.append(dy if dy.dtype == y.dtype else dy.astype(y.dtype))
    return result


@functools.lru_cache(maxsize=256)
def _keywords(function: Callable) -> frozenset:
    """Which of is_train and rng a function has as parameters that may be given by name."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):
        return frozenset()
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = {parameter.name for parameter in parameters if parameter.kind in by_name}
    return frozenset(names & {"is_train", "rng"})
