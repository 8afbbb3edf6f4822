"""A Model as a pure JAX function of its parameters and its input."""

import threading
from contextlib import contextmanager, nullcontext
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy

from . import compat
from .interop import assert_jax_installed, to_numpy
from .model import Model, set_dropout_rate
from .node_paths import parameter_names
from .types import Padded, Ragged


def as_jax_function(model: Model) -> Tuple[Callable[..., Any], Dict[str, Any]]:
    """A model as a JAX function, and its parameters.

    model: an initialized model without shims. The function works on a copy of it, so that
        neither changes the other; load_jax_params puts parameters back into the model.

    Returns (function, params). params is a dict from names by node path, such as
    "layers.1.W", to JAX arrays; the floating-point ones can be trained. `function(params,
    X, rng=None)` is pure: it may stand under jax.jit, jax.grad and jax.vmap (which calls it
    once for each element). X and the result are pytrees of arrays; Ragged and Padded count
    as such. The model itself runs on the host, through jax.pure_callback.

    rng: None to predict, that is without dropout; or a jax.random key, for training: the
        same key gives the same dropout, in the forward and in the backward pass.

    The gradients are those of the model's backprop. Of a parameter that gets none from it
    they are zero; of layers that take a loss's gradient with respect to something else than
    their output (Softmax, Sigmoid) they are as meaningful as in thinc. The backward pass
    runs the forward pass again. How the output's shapes follow from the input's is found
    out by running the model on zeros of the input's shapes, once for each.

    There are first derivatives, in reverse mode: no jax.jvp, no second derivatives.
    Integers of 64 bits (hashes of words) need JAX's option jax_enable_x64; the function
    raises ValueError for a numpy array of such that would be cut off.

    Raises ImportError if JAX is not installed, ValueError for a model that has shims or
    parameters that are not allocated yet.
    """
    assert_jax_installed()
    _register_batches()
    names = parameter_names(model)
    _check(model, names)
    params = {
        # A copy: JAX might share the memory, which training in thinc changes.
        name: compat.jax.numpy.array(to_numpy(node.get_param(param)), copy=True)
        for name, (node, param) in names.items()
    }
    return _JaxFunction(model.copy()), params


def load_jax_params(model: Model, params: Dict[str, Any]) -> Model:
    """Put parameters, named as by as_jax_function, into a model of the same structure.

    Each is copied and takes the dtype of the model's. Returns the model.
    Raises ValueError, and changes nothing, if a name or a shape does not fit.
    """
    names = parameter_names(model)
    missing, unknown = sorted(set(names) - set(params)), sorted(set(params) - set(names))
    if missing or unknown:
        raise ValueError(
            f"load_jax_params: missing are {missing or 'none'}, unknown are {unknown or 'none'}."
        )
    new = {}
    for name, (node, param) in names.items():
        value = numpy.asarray(params[name])
        current = node.maybe_get_param(param)
        if current is not None:
            if tuple(current.shape) != value.shape:
                raise ValueError(
                    f"load_jax_params: {name!r} is of shape {value.shape}, expected "
                    f"{tuple(current.shape)}."
                )
            value = value.astype(current.dtype)
        new[name] = node.ops.asarray(numpy.array(value, copy=True))
    for name, (node, param) in names.items():
        node.set_param(param, new[name])
    return model


def _check(model: Model, names: Dict[str, Tuple[Model, str]]) -> None:
    with_shims = [node.name for node in model.walk() if node.shims]
    if with_shims:
        raise ValueError(
            f"as_jax_function: {', '.join(with_shims)} wraps a model of another framework, whose "
            "weights JAX cannot hold. JAX's own functions can call each other directly."
        )
    missing = [name for name, (node, param) in names.items() if not node.has_param(param)]
    if missing:
        raise ValueError(
            f"as_jax_function: {', '.join(missing)} not allocated: call initialize(X) first."
        )


class _JaxFunction:
    """The function. Its model is its own; the lock lets one call at a time use it."""

    def __init__(self, model: Model):
        jax = compat.jax
        self.model = model
        self._lock = threading.Lock()
        self._outputs: Dict[Any, Any] = {}
        self._call = jax.custom_vjp(self._forward)
        self._call.defvjp(self._forward_with_residuals, self._backward)

    def __call__(self, params: Dict[str, Any], X: Any, rng: Optional[Any] = None) -> Any:
        """The model's output for these parameters and this input: see as_jax_function."""
        jax = compat.jax
        expected = parameter_names(self.model)
        if set(params) != set(expected):
            raise ValueError(
                f"The params have the names {sorted(params)}, expected {sorted(expected)}."
            )
        X = jax.tree_util.tree_map(_checked_input, X)
        seed = None if rng is None else jax.random.bits(rng, dtype="uint32")
        return self._call(params, X, seed)

    # What JAX traces.

    def _forward(self, params: Any, X: Any, seed: Any) -> Any:
        callback = compat.jax.pure_callback
        return callback(
            self._run, self._output_like(params, X), params, X, seed, vmap_method="sequential"
        )

    def _forward_with_residuals(self, params: Any, X: Any, seed: Any) -> Any:
        return self._forward(params, X, seed), (params, X, seed)

    def _backward(self, residuals: Any, dY: Any) -> Any:
        jax = compat.jax
        params, X, seed = residuals
        floats, put_back = _split_floats((params, X))
        grads = jax.pure_callback(
            self._run_back, [_like(x) for x in floats], params, X, seed, dY,
            vmap_method="sequential",
        )  # fmt: skip
        d_params, dX = put_back(grads)
        return d_params, dX, None if seed is None else _no_gradient(seed)

    def _output_like(self, params: Any, X: Any) -> Any:
        """Shapes and dtypes of the output, from a run on zeros."""
        jax = compat.jax
        leaves, treedef = jax.tree_util.tree_flatten((params, X))
        key = (treedef, tuple((tuple(leaf.shape), str(leaf.dtype)) for leaf in leaves))
        if key not in self._outputs:
            zeros = [numpy.zeros(leaf.shape, dtype=leaf.dtype) for leaf in leaves]
            params, X = jax.tree_util.tree_unflatten(treedef, zeros)
            Y = self._run(params, _consistent(X), None)
            self._outputs[key] = jax.tree_util.tree_map(_like, Y)
        return self._outputs[key]

    # What runs on the host.

    def _run(self, params: Any, X: Any, seed: Any) -> Any:
        with self._lock, _Seeded(seed):
            self._set_params(params)
            Y, _ = self.model(self._to_host(X), is_train=seed is not None)
            return self._from_host(Y)

    def _run_back(self, params: Any, X: Any, seed: Any, dY: Any) -> Any:
        jax = compat.jax
        with self._lock:
            self._set_params(params)
            # Layers may remember what backprop needs in training only: to differentiate a
            # prediction, train without dropout.
            with _Seeded(seed), nullcontext() if seed is not None else _no_dropout(self.model):
                Y, backprop = self.model.begin_update(self._to_host(X))
            dX = backprop(self._gradient(Y, dY))
            names = parameter_names(self.model)
            grads = {name: node.maybe_get_grad(param) for name, (node, param) in names.items()}
        inputs = jax.tree_util.tree_leaves(X)
        found = jax.tree_util.tree_leaves(dX, is_leaf=lambda leaf: leaf is None)
        if len(found) != len(inputs):  # backprop returns nothing for strings, integers ...
            found = [None] * len(inputs)
        values = [(params[name], grads[name]) for name in sorted(params)]
        values += list(zip(inputs, found, strict=True))
        return [_as_gradient(value, grad) for value, grad in values if _is_float(value)]

    def _set_params(self, params: Any) -> None:
        for name, (node, param) in parameter_names(self.model).items():
            node.set_grad(param, None)
            node.set_param(param, node.ops.asarray(numpy.asarray(params[name])))

    def _to_host(self, X: Any) -> Any:
        ops = self.model.ops
        return compat.jax.tree_util.tree_map(lambda leaf: ops.asarray(numpy.asarray(leaf)), X)

    def _from_host(self, Y: Any) -> Any:
        return compat.jax.tree_util.tree_map(_canonical, Y)

    def _gradient(self, Y: Any, dY: Any) -> Any:
        """dY in Y's dtypes. The gradient of an output of integers is the output itself,
        as backprop expects of the lengths of a Ragged."""
        tree, ops = compat.jax.tree_util, self.model.ops
        leaves, treedef = tree.tree_flatten(Y)
        grads = tree.tree_leaves(dY)
        return tree.tree_unflatten(
            treedef,
            [
                ops.asarray(numpy.asarray(dy).astype(y.dtype)) if _is_float(y) else y
                for y, dy in zip(leaves, grads, strict=True)
            ],
        )


@contextmanager
def _no_dropout(model: Model) -> Iterator[None]:
    """Inside the block all dropout rates are zero."""
    nodes = [node for node in model.walk() if "dropout_rate" in node.attrs]
    rates = [node.attrs["dropout_rate"] for node in nodes]
    set_dropout_rate(model, 0.0)
    try:
        yield
    finally:
        for node, rate in zip(nodes, rates, strict=True):
            node.attrs["dropout_rate"] = rate


class _Seeded:
    """Inside the block numpy's random state follows from the seed; afterwards it is back."""

    def __init__(self, seed: Any):
        self.seed = seed

    def __enter__(self) -> None:
        if self.seed is not None:
            self.state = numpy.random.get_state()
            numpy.random.seed(int(self.seed))

    def __exit__(self, *error: Any) -> None:
        if self.seed is not None:
            numpy.random.set_state(self.state)


# ---- arrays ----------------------------------------------------------------------


def _is_float(leaf: Any) -> bool:
    return leaf.dtype.kind == "f"


def _checked_input(leaf: Any) -> Any:
    """The leaf as an array. Raises ValueError for integers that JAX would cut off."""
    leaf = leaf if hasattr(leaf, "shape") else numpy.asarray(leaf)
    if isinstance(leaf, numpy.ndarray) and leaf.dtype.kind in "iu" and leaf.size:
        dtype = compat.jax.dtypes.canonicalize_dtype(leaf.dtype)
        bounds = numpy.iinfo(dtype)
        if dtype != leaf.dtype and (leaf.max() > bounds.max or leaf.min() < bounds.min):
            raise ValueError(
                f"The input holds integers that need 64 bits, such as {leaf.max()}, but JAX would "
                'keep 32 of them: call jax.config.update("jax_enable_x64", True) first.'
            )
    return leaf


def _canonical(leaf: Any) -> numpy.ndarray:
    """On the host, with 32 bits unless JAX allows 64."""
    array = to_numpy(leaf)
    return array.astype(compat.jax.dtypes.canonicalize_dtype(array.dtype), copy=False)


def _like(leaf: Any) -> Any:
    return compat.jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)


def _as_gradient(value: Any, grad: Any) -> numpy.ndarray:
    if grad is None:
        return numpy.zeros(value.shape, dtype=value.dtype)
    return to_numpy(grad).astype(value.dtype, copy=False).reshape(value.shape)


def _no_gradient(leaf: Any) -> numpy.ndarray:
    """What JAX takes for the gradient of integers."""
    return numpy.zeros(leaf.shape, dtype=compat.jax.dtypes.float0)


def _split_floats(tree: Any) -> Tuple[List[Any], Callable[[Sequence[Any]], Any]]:
    """The floating-point leaves, and the way back from their gradients to the tree's."""
    leaves, treedef = compat.jax.tree_util.tree_flatten(tree)

    def put_back(grads: Sequence[Any]) -> Any:
        values = iter(grads)
        return treedef.unflatten(
            [next(values) if _is_float(leaf) else _no_gradient(leaf) for leaf in leaves]
        )

    return [leaf for leaf in leaves if _is_float(leaf)], put_back


# ---- batches -----------------------------------------------------------------------


def _register_batches() -> None:
    """Make Ragged and Padded pytrees. Once for the process, as JAX wants it."""
    register = compat.jax.tree_util.register_pytree_node
    try:
        register(
            Ragged,
            lambda ragged: ((ragged.data, ragged.lengths), ragged.data_shape),
            _make_ragged,
        )
        register(
            Padded,
            lambda p: ((p.data, p.size_at_t, p.lengths, p.indices), None),
            lambda _, arrays: Padded(*arrays),
        )
    except ValueError:  # they are registered
        pass


def _make_ragged(data_shape: Tuple[int, ...], arrays: Sequence[Any]) -> Ragged:
    # Not by the constructor: JAX also puts other things than arrays into its trees.
    ragged = object.__new__(Ragged)
    ragged.data, ragged.lengths = arrays  # type: ignore[misc]
    ragged.data_shape, ragged.starts_ends = data_shape, None
    return ragged


def _consistent(X: Any) -> Any:
    """A batch of zeros whose lengths go together with its data: one sequence has all rows."""
    if isinstance(X, Ragged) and X.lengths.shape[0]:
        X.lengths[0] = X.data.shape[0]
    elif isinstance(X, Padded):
        X.lengths[:] = X.data.shape[0]
        X.size_at_t[:] = X.data.shape[1]
        X.indices[:] = numpy.arange(X.indices.shape[0])
    elif isinstance(X, (list, tuple)):
        for item in X:
            _consistent(item)
    elif isinstance(X, dict):
        for item in X.values():
            _consistent(item)
    return X
