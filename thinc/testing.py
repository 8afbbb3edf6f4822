"""Tools for testing layers. check_gradients compares backprop with finite differences."""

import random
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Sequence, Tuple, Union

import numpy

from .model import Model
from .model_errors import describe_node
from .types import ArgsKwargs, Padded, Pairs, Ragged
from .util import fix_random_seed

__all__ = ["check_gradients"]

# From the output to a number, and to what backprop takes.
Loss = Callable[[Any], Tuple[float, Any]]


def check_gradients(
    model: Model,
    X: Any,
    *,
    loss: Union[str, Loss] = "weighted_sum",
    is_train: bool = True,
    eps: float = 1e-5,
    rtol: float = 1e-5,
    atol: float = 1e-7,
    seed: int = 0,
    max_entries: int = 200,
    check_input: bool = True,
    skip_params: Sequence[str] = (),
) -> None:
    """Compare what backprop returns and accumulates with central finite differences.

    Everything happens in float64: the floating-point arrays of X and all floating-point
    parameters are converted for the duration of the check. Afterwards parameters,
    gradients and the state of the random generators are as before.

    model: an initialized model.
    X: its input: an array, Ragged, Padded, Pairs, ArgsKwargs, or lists and tuples of these.
        Arrays of integers are passed on and not checked.
    loss: the number to differentiate. "weighted_sum" multiplies the output by fixed random
        numbers. For layers whose backprop takes the gradient with respect to the logits:
        "softmax_crossentropy" and "sigmoid_crossentropy", against fixed random targets. Or a
        function from the output to a pair: the number, and what to give to backprop.
    is_train: passed to the model. Random numbers (dropout) are the same in every call.
    eps: step of the differences, relative to max(1, |x|). Where the results disagree, the
        step is made smaller once, in case it went across a kink.
    rtol, atol: a pair agrees if |difference| <= atol + rtol * (the larger magnitude).
    seed: of all random numbers.
    max_entries: of an array with more entries, so many random ones are checked.
    check_input: whether to check the gradient of X.
    skip_params: names of parameters not to check.

    Raises AssertionError with the array, the index and both numbers if they disagree;
    ValueError if the model does not compute in float64.
    """
    with _as_before(model):
        _convert_params(model)
        check = _Check(model, _map_floats(X, _to_float64), loss, is_train, eps, rtol, atol, seed)
        check.max_entries = max_entries
        if check_input:
            check.check_input()
        for node in model.walk():
            for name in node.param_names:
                if name not in skip_params and _is_float(node.maybe_get_param(name)):
                    check.check_param(node, name)


class _Check:
    """One model, one input, and the gradients that backprop gives for them."""

    max_entries = 200

    def __init__(self, model, X, loss, is_train, eps, rtol, atol, seed):
        self.model, self.X, self.is_train, self.seed = model, X, is_train, seed
        self.eps, self.rtol, self.atol = eps, rtol, atol
        self.loss: Loss = _named_loss(model, loss, seed) if isinstance(loss, str) else loss
        Y, backprop = self._forward(X)
        _require_float64(Y)
        self.dX = backprop(self.loss(Y)[1])
        self.grads = {
            (node.id, name): _to_host(node, node.get_grad(name))
            for node in model.walk()
            for name in node.grad_names
        }

    def _forward(self, X):
        fix_random_seed(self.seed)
        return self.model(X, is_train=self.is_train)

    def _loss_at(self, X) -> float:
        return float(self.loss(self._forward(X)[0])[0])

    def check_input(self) -> None:
        inputs, gradients = _floats(self.X, "X"), _floats(self.dX, "X")
        if inputs and len(inputs) != len(gradients):
            raise AssertionError(
                f'The input of "{self.model.name}" has {len(inputs)} floating-point arrays, but '
                f"backprop returned {len(gradients)} ({type(self.dX).__name__})."
            )
        for i, ((name, x), (_, dx)) in enumerate(zip(inputs, gradients, strict=False)):
            x, dx = _to_host(self.model, x), _to_host(self.model, dx)
            self._compare(
                f'gradient of the input {name} of "{self.model.name}"',
                x,
                dx,
                lambda value, i=i: self._loss_at(_replace_float(self.X, i, self._array(value))),
            )

    def check_param(self, node, name: str) -> None:
        original = node.get_param(name)
        value = _to_host(node, original)
        gradient = self.grads.get((node.id, name), numpy.zeros_like(value))

        def loss_at(changed):
            # A new array for each value: whatever a layer derives from its parameters
            # and keeps must follow set_param, but need not notice changes in place.
            node.set_param(name, self._array(changed))
            return self._loss_at(self.X)

        what = f"gradient of {name} of {describe_node(self.model, node)}"
        if (node.id, name) not in self.grads:
            what += " (none was stored)"
        try:
            self._compare(what, value, gradient, loss_at)
        finally:
            node.set_param(name, original)

    def _array(self, value):
        return self.model.ops.asarray(value)

    def _compare(self, what: str, value, gradient, loss_at: Callable) -> None:
        if gradient.shape != value.shape:
            raise AssertionError(
                f"The {what} has shape {gradient.shape}, the array itself {value.shape}."
            )
        wrong: List[Tuple[float, Tuple, float, float]] = []
        indices = self._choose(value)
        for index in indices:
            got = float(gradient[index])
            expected = _central_difference(loss_at, value, index, self.eps)
            if not self._close(got, expected):
                expected = _central_difference(loss_at, value, index, self.eps / 50)
            if not self._close(got, expected):
                wrong.append((abs(got - expected), index, got, expected))
        if wrong:
            # NaN compares as neither larger nor smaller, so it is put first by hand.
            worst = max(wrong, key=lambda entry: (entry[0] != entry[0], entry[0]))
            raise AssertionError(
                f"The {what} is wrong at {len(wrong)} of {len(indices)} checked entries. "
                f"Worst at index {worst[1]}: backprop gives {worst[2]!r}, "
                f"the central difference is {worst[3]!r}."
            )

    def _close(self, a: float, b: float) -> bool:
        return abs(a - b) <= self.atol + self.rtol * max(abs(a), abs(b))

    def _choose(self, value) -> List[Tuple[int, ...]]:
        flat = numpy.arange(value.size)
        if value.size > self.max_entries:
            rng = numpy.random.default_rng(self.seed)
            flat = numpy.sort(rng.choice(value.size, self.max_entries, replace=False))
        return [tuple(int(i) for i in numpy.unravel_index(k, value.shape)) for k in flat]


def _central_difference(loss_at: Callable, value, index, eps: float) -> float:
    h = eps * max(1.0, abs(float(value[index])))
    above, below = value.copy(), value.copy()
    above[index] += h
    below[index] -= h
    # What was really added, after rounding.
    return (loss_at(above) - loss_at(below)) / float(above[index] - below[index])


# Losses.


def _named_loss(model: Model, name: str, seed: int) -> Loss:
    if name not in _LOSSES:
        raise ValueError(f"loss is {name!r}, expected a function or one of {sorted(_LOSSES)}")
    one_array = _LOSSES[name]

    def loss(Y):
        rng = numpy.random.default_rng(seed)
        values = []

        def grad(y):
            value, d_y = one_array(rng, _to_host(model, y))
            values.append(value)
            return model.ops.asarray(d_y)

        dY = _map_floats(Y, grad)
        return sum(values), dY

    return loss


def _weighted_sum(rng, Y):
    # Away from zero, so that no entry of the output goes unnoticed.
    weights = rng.uniform(0.5, 1.5, Y.shape) * rng.choice([-1.0, 1.0], Y.shape)
    return (Y * weights).sum(), weights


def _softmax_crossentropy(rng, Y):
    target = rng.uniform(0.1, 1.0, Y.shape)
    target /= target.sum(axis=-1, keepdims=True)
    return -(target * numpy.log(Y)).sum(), Y - target


def _sigmoid_crossentropy(rng, Y):
    target = rng.uniform(0.0, 1.0, Y.shape)
    return -(target * numpy.log(Y) + (1 - target) * numpy.log1p(-Y)).sum(), Y - target


_LOSSES: Dict[str, Callable] = {
    "weighted_sum": _weighted_sum,
    "softmax_crossentropy": _softmax_crossentropy,
    "sigmoid_crossentropy": _sigmoid_crossentropy,
}


# Nested data.


def _is_float(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype") and value.dtype.kind == "f"


def _map_floats(data: Any, f: Callable) -> Any:
    """The same structure with `f` applied to its floating-point arrays, in a fixed order."""
    if _is_float(data):
        return f(data)
    if isinstance(data, (list, tuple)):
        return type(data)([_map_floats(item, f) for item in data])
    if isinstance(data, dict):
        return {key: _map_floats(value, f) for key, value in data.items()}
    if isinstance(data, Ragged):
        return Ragged(_map_floats(data.dataXd, f), data.lengths)
    if isinstance(data, Padded):
        return Padded(_map_floats(data.data, f), data.size_at_t, data.lengths, data.indices)
    if isinstance(data, Pairs):
        return Pairs(_map_floats(data.one, f), _map_floats(data.two, f))
    if isinstance(data, ArgsKwargs):
        return ArgsKwargs(_map_floats(data.args, f), _map_floats(data.kwargs, f))
    return data


class _Named(NamedTuple):
    name: str
    array: Any


def _floats(data: Any, name: str) -> List[_Named]:
    """The floating-point arrays in the order of _map_floats, as "X[0]", "X.data"..."""
    if _is_float(data):
        return [_Named(name, data)]
    if isinstance(data, (list, tuple)):
        parts = [(f"{name}[{i}]", item) for i, item in enumerate(data)]
    elif isinstance(data, dict):
        parts = [(f"{name}[{key!r}]", value) for key, value in data.items()]
    elif isinstance(data, Ragged):
        parts = [(f"{name}.data", data.dataXd)]
    elif isinstance(data, Padded):
        parts = [(f"{name}.data", data.data)]
    elif isinstance(data, Pairs):
        parts = [(f"{name}.one", data.one), (f"{name}.two", data.two)]
    elif isinstance(data, ArgsKwargs):
        parts = [(f"{name}.args", data.args), (f"{name}.kwargs", data.kwargs)]
    else:
        parts = []
    return [leaf for part_name, part in parts for leaf in _floats(part, part_name)]


def _replace_float(data: Any, position: int, value: Any) -> Any:
    """The same data with another array in the place of one of _floats(data)."""
    count = iter(range(len(_floats(data, ""))))
    return _map_floats(data, lambda array: value if next(count) == position else array)


def _to_float64(array: Any) -> Any:
    return array.astype("float64")


def _to_host(model: Model, array: Any) -> numpy.ndarray:
    return numpy.asarray(model.ops.to_numpy(array))


def _require_float64(Y: Any) -> None:
    for name, array in _floats(Y, "Y"):
        if array.dtype != numpy.float64:
            raise ValueError(
                f"The output {name} is {array.dtype} for float64 input and parameters. Finite "
                f"differences would measure the rounding."
            )


# Leaving no traces.


def _convert_params(model: Model) -> None:
    for node in model.walk():
        for name in node.param_names:
            if _is_float(node.maybe_get_param(name)):
                node.set_param(name, _to_float64(node.get_param(name)))


@contextmanager
def _as_before(model: Model) -> Iterator[None]:
    """Restore parameters, gradients and random states; inside, gradients start empty."""
    params, grads = [], []
    for node in model.walk():
        for name in node.param_names:
            params.append((node, name, node.maybe_get_param(name)))
            grads.append((node, name, node.maybe_get_grad(name)))
            node.set_grad(name, None)
    numpy_state, python_state = numpy.random.get_state(), random.getstate()
    try:
        yield
    finally:
        for node, name, value in params:
            node.set_param(name, value)
        for node, name, value in grads:
            node.set_grad(name, value)
        numpy.random.set_state(numpy_state)
        random.setstate(python_state)
