"""Optimizers: Adam, RAdam and SGD, with clipping, weight decay and averages around them."""

import functools
import math
from collections import defaultdict
from typing import (
    Any,
    Callable,
    DefaultDict,
    Dict,
    List,
    Literal,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
)

import numpy

from . import compat
from .backends import get_array_ops, get_ops
from .backends.ops import Ops
from .backends.ops_training import ParameterStep, clip_scale, momentum_step
from .hyperparameters import Hyperparameter, HyperparameterSource
from .hyperparameters import wrap_items as _wrap_generator  # noqa: F401  thinc 9's name
from .registration import registry
from .types import FloatsXd
from .util import to_numpy

__all__ = ["Adam", "RAdam", "SGD", "Optimizer", "ADAM_DEFAULTS", "SGD_DEFAULTS"]

KeyT = Tuple[int, str]
MakerT = TypeVar("MakerT", bound=Callable[..., "Optimizer"])

SGD_DEFAULTS: Dict[str, Any] = {"L2": 0.0, "L2_is_weight_decay": True, "grad_clip": 1.0}

ADAM_DEFAULTS: Dict[str, Any] = {
    "learn_rate": 0.001,
    "beta1": 0.9,
    "beta2": 0.999,
    "eps": 1e-08,
    "L2": SGD_DEFAULTS["L2"],
    "grad_clip": SGD_DEFAULTS["grad_clip"],
    "L2_is_weight_decay": True,
}


def _accepts_ops(make: MakerT) -> MakerT:
    """Let a factory be called with `ops`, as programs of thinc's first days do; ignore it.

    Not a parameter, because filling a config would then write it there.
    """

    @functools.wraps(make)
    def make_without_ops(*args: Any, ops: Any = None, **kwargs: Any) -> "Optimizer":
        return make(*args, **kwargs)

    return make_without_ops  # type: ignore[return-value]


@_accepts_ops
@registry.optimizers("Adam.v1")
def Adam(
    learn_rate: HyperparameterSource = ADAM_DEFAULTS["learn_rate"],
    *,
    L2: HyperparameterSource = ADAM_DEFAULTS["L2"],
    beta1: HyperparameterSource = ADAM_DEFAULTS["beta1"],
    beta2: HyperparameterSource = ADAM_DEFAULTS["beta2"],
    eps: HyperparameterSource = ADAM_DEFAULTS["eps"],
    grad_clip: HyperparameterSource = ADAM_DEFAULTS["grad_clip"],
    L2_is_weight_decay: bool = ADAM_DEFAULTS["L2_is_weight_decay"],
    use_averages: bool = True,
) -> "Optimizer":
    """Adam, by Kingma and Ba (2015), arXiv:1412.6980.

    With L2 and L2_is_weight_decay it is AdamW: Loshchilov and Hutter, arXiv:1711.05101.
    The options are those of Optimizer.
    """
    return Optimizer(
        learn_rate,
        L2=L2,
        beta1=beta1,
        beta2=beta2,
        eps=eps,
        grad_clip=grad_clip,
        L2_is_weight_decay=L2_is_weight_decay,
        use_averages=use_averages,
        use_radam=False,
    )


@_accepts_ops
@registry.optimizers("RAdam.v1")
def RAdam(
    learn_rate: HyperparameterSource = ADAM_DEFAULTS["learn_rate"],
    *,
    L2: HyperparameterSource = ADAM_DEFAULTS["L2"],
    beta1: HyperparameterSource = ADAM_DEFAULTS["beta1"],
    beta2: HyperparameterSource = ADAM_DEFAULTS["beta2"],
    eps: HyperparameterSource = ADAM_DEFAULTS["eps"],
    grad_clip: HyperparameterSource = ADAM_DEFAULTS["grad_clip"],
    L2_is_weight_decay: bool = ADAM_DEFAULTS["L2_is_weight_decay"],
    use_averages: bool = True,
) -> "Optimizer":
    """Rectified Adam, by Liu et al. (2020), arXiv:1908.03265, algorithm 2.

    The options are those of Optimizer.
    """
    return Optimizer(
        learn_rate,
        L2=L2,
        beta1=beta1,
        beta2=beta2,
        eps=eps,
        grad_clip=grad_clip,
        L2_is_weight_decay=L2_is_weight_decay,
        use_averages=use_averages,
        use_radam=True,
    )


@_accepts_ops
@registry.optimizers("SGD.v1")
def SGD(
    learn_rate: HyperparameterSource,
    *,
    L2: HyperparameterSource = SGD_DEFAULTS["L2"],
    grad_clip: HyperparameterSource = SGD_DEFAULTS["grad_clip"],
    L2_is_weight_decay: bool = SGD_DEFAULTS["L2_is_weight_decay"],
    use_averages: bool = True,
) -> "Optimizer":
    """Stochastic gradient descent without momentum: w -= learn_rate * gradient.

    The options are those of Optimizer.
    """
    return Optimizer(
        learn_rate,
        L2=L2,
        beta1=0.0,
        beta2=0.0,
        grad_clip=grad_clip,
        L2_is_weight_decay=L2_is_weight_decay,
        use_averages=use_averages,
    )


def _scheduled(index: int, doc: str) -> Any:
    """A property for Optimizer._hyper[index]."""

    def read(optimizer: "Optimizer") -> Any:
        return optimizer._hyper[index].read(optimizer._step, optimizer._last_score)

    def assign(optimizer: "Optimizer", value: HyperparameterSource) -> None:
        optimizer._hyper[index].set(value)
        optimizer._find_constants()

    return property(read, assign, doc=doc)


class Optimizer:
    """Updates parameters by their gradients: optimizer(key, weights, gradient).

    learn_rate: how far to go.
    L2: strength of the pull towards zero: of weight decay (w -= learn_rate * L2 * w after
        the step) if L2_is_weight_decay, else of L2 regularization (gradient += L2 * w).
    beta1, beta2: how much of Adam's running averages of the gradient, and of its square,
        is kept in each step, in [0, 1). beta2 = 0 makes it SGD, without momentum.
    eps: added to the root of the averaged square, against division by zero.
    grad_clip: a longer gradient of a parameter is cut to this norm. 0: never.
    use_averages: whether to keep a running average of the weights in `averages`; use
        them by Model.use_params.
    use_radam: rectify Adam's step.
    ops: ignored.

    Each of the six numbers may be a Schedule, a list or an iterator instead: a value for
    each step, that is, until the next `step_schedules`; after the last, that one stays.
    Reading the attribute gives the current value, a float that is also callable as the
    schedule. Assigning a number to an attribute that has a schedule counts until the next
    step_schedules only. Raises ValueError for a source of another kind, and for a beta
    outside [0, 1).

    mom1, mom2: Adam's running averages, by key: 1-d, float32 (float64 for such weights).
    averages: the running averages of the weights, by key, float32; None if not kept.
    nr_update: the number of updates, by key.
    """

    __slots__ = [
        "mom1",
        "mom2",
        "averages",
        "nr_update",
        "last_seen",
        "use_radam",
        "L2_is_weight_decay",
        "_hyper",
        "_numbers",
        "_live",
        "_step",
        "_last_score",
    ]

    # A promise to Model.finish_update: the gradient given is zero afterwards.
    zeroes_gradients = True

    mom1: Dict[KeyT, FloatsXd]
    mom2: Dict[KeyT, FloatsXd]
    averages: Optional[Dict[KeyT, FloatsXd]]
    nr_update: DefaultDict[KeyT, int]
    last_seen: DefaultDict[KeyT, int]
    _numbers: List[float]
    _live: List[Tuple[int, Hyperparameter]]

    def __init__(
        self,
        learn_rate: HyperparameterSource,
        *,
        L2: HyperparameterSource = ADAM_DEFAULTS["L2"],
        beta1: HyperparameterSource = ADAM_DEFAULTS["beta1"],
        beta2: HyperparameterSource = ADAM_DEFAULTS["beta2"],
        eps: HyperparameterSource = ADAM_DEFAULTS["eps"],
        grad_clip: HyperparameterSource = ADAM_DEFAULTS["grad_clip"],
        use_averages: bool = True,
        use_radam: bool = False,
        L2_is_weight_decay: bool = True,
        ops: Any = None,
    ) -> None:
        self.mom1 = {}
        self.mom2 = {}
        self.averages = {} if use_averages else None
        self.nr_update = defaultdict(int)
        self.last_seen = defaultdict(int)
        self.use_radam = use_radam
        self.L2_is_weight_decay = L2_is_weight_decay
        self._step = 0
        self._last_score: Optional[Tuple[int, float]] = None
        self._hyper = (
            Hyperparameter("learn_rate", learn_rate),
            Hyperparameter("b1", beta1),
            Hyperparameter("b2", beta2),
            Hyperparameter("eps", eps),
            Hyperparameter("L2", L2),
            Hyperparameter("grad_clip", grad_clip),
        )
        for name, beta in (("beta1", self._hyper[1]), ("beta2", self._hyper[2])):
            if beta.is_constant and not 0.0 <= beta.number < 1.0:
                raise ValueError(f"Optimizer: {name} must be in [0, 1), got {beta.number}.")
        self._find_constants()

    learn_rate = _scheduled(0, "How far to go.")
    b1 = _scheduled(1, "beta1 of Adam.")
    b2 = _scheduled(2, "beta2 of Adam.")
    eps = _scheduled(3, "What Adam adds to the denominator.")
    L2 = _scheduled(4, "Strength of weight decay or L2 regularization.")
    grad_clip = _scheduled(5, "Largest norm of a gradient; 0 for none.")

    def _find_constants(self) -> None:
        """Note the six numbers, and which of them can change before the next call."""
        self._numbers = [hyper.number for hyper in self._hyper]
        self._live = [(i, hyper) for i, hyper in enumerate(self._hyper) if not hyper.is_constant]

    def _evaluate(self, key: KeyT) -> None:
        for i, hyper in self._live:
            self._numbers[i] = hyper.at(self._step, key, self._last_score)

    # ---- schedules --------------------------------------------------------------

    @property
    def step(self) -> int:
        """How often step_schedules was called."""
        return self._step

    @property
    def schedules(self) -> Dict[str, Any]:
        """The sources of the hyperparameters that are not plain numbers, by attribute."""
        return {hyper.name: hyper.source for hyper in self._hyper if hyper.source is not None}

    @property
    def last_score(self) -> Optional[Tuple[int, float]]:
        """The newest evaluation, (step, score), for schedules that look at it.

        Assign a score, which is then taken to belong to the present step, or a pair.
        """
        return self._last_score

    @last_score.setter
    def last_score(self, score: Any) -> None:
        if score is None or isinstance(score, (tuple, list)):
            if score is not None and len(score) != 2:
                raise ValueError(f"last_score: expected (step, score), got {score!r}.")
            self._last_score = None if score is None else (score[0], score[1])
        else:
            self._last_score = (self._step, score)

    def step_schedules(self) -> None:
        """Go on to the next step of all schedules."""
        self._step += 1
        for hyper in self._hyper:
            hyper.resume()
        self._find_constants()

    # ---- devices ----------------------------------------------------------------

    def to_gpu(self) -> None:
        """Move mom1, mom2 and averages to the GPU. ValueError if CuPy cannot use one."""
        if not compat.has_cupy_gpu:
            raise ValueError("Optimizer.to_gpu: there is no GPU that CuPy can use.")
        self._move(get_ops("cupy").asarray)

    def to_cpu(self) -> None:
        """Move mom1, mom2 and averages to numpy arrays."""
        self._move(to_numpy)

    def _move(self, convert: Callable[[Any], Any]) -> None:
        for arrays in (self.mom1, self.mom2, self.averages or {}):
            for key, array in arrays.items():
                arrays[key] = convert(array)

    # ---- the update -------------------------------------------------------------

    def __call__(
        self, key: KeyT, weights: FloatsXd, gradient: FloatsXd, *, lr_scale: float = 1.0
    ) -> Tuple[FloatsXd, FloatsXd]:
        """Update a parameter. Both arrays are changed in place and returned.

        key: tells the parameters apart; usually (model id, parameter name).
        weights: floats of any shape. gradient: the same shape; it becomes zero.
        lr_scale: multiplies learn_rate, this once.

        In this order: L2 regularization, clipping, the step, weight decay, averages.
        An empty parameter is left alone and not counted.
        Raises ValueError if the shapes differ, also from those seen before under this key.
        """
        if weights.shape != gradient.shape:
            raise ValueError(
                f"Optimizer: arrays have incompatible shapes: weights {weights.shape}, "
                f"gradient {gradient.shape}."
            )
        if not weights.size:
            return weights, gradient
        if self._live:
            self._evaluate(key)
        rate, b1, b2, eps, l2, clip = self._numbers
        ops = _ops_by_type.get(type(weights)) or _find_ops(weights)
        if ops.xp is not numpy:
            self._update_on_device([(key, weights, gradient)], lr_scale)
            return weights, gradient
        moments = self._moments(ops, key, weights) if b2 or self.use_radam else None
        averages = None if self.averages is None else self._average(ops, key, weights)
        t = self.nr_update[key] = self.nr_update[key] + 1

        rate *= lr_scale
        around: Dict[str, Any] = {}
        if l2 and self.L2_is_weight_decay:
            around["decay"] = rate * l2
        elif l2:
            around["l2"] = l2
        if clip:
            clip_scale(ops, weights, gradient, clip, around)
        # float32 averages of other weights are no part of the fused kernels.
        fused = averages is not None and averages.dtype == weights.dtype
        if fused:
            around["averages"] = averages
            around["ema_rate"] = 1.0 - min((1.0 + t) / (10.0 + t), 0.9999)

        if moments is None:
            ops.sgd_step(weights, gradient, learn_rate=rate, **around)
        elif self.use_radam:
            _radam_step(ops, weights, gradient, moments, t, rate, b1, b2, eps, around)
        else:
            rate *= math.sqrt(1.0 - b2**t) / (1.0 - b1**t)
            ops.adam_step(
                weights, gradient, *moments, learn_rate=rate, beta1=b1, beta2=b2, eps=eps, **around
            )
        if averages is not None and not fused:
            ops.update_averages(averages, weights, t)
        # After a step with moments thinc 8 returns another view of the memory, so do we.
        return (weights if moments is None else weights.view()), gradient

    def update_many(self, parameters: Sequence[Tuple[KeyT, FloatsXd, FloatsXd]]) -> None:
        """Update several parameters, (key, weights, gradient) each, as by as many calls.

        On a GPU all of them take one launch, or three with grad_clip. Raises what a call
        raises; of those on the GPU then none is updated.
        """
        on_device = []
        for key, weights, gradient in parameters:
            if type(weights) is numpy.ndarray:
                self(key, weights, gradient)
            else:
                on_device.append((key, weights, gradient))
        if on_device:
            self._update_on_device(on_device, 1.0)

    def _update_on_device(
        self, parameters: Sequence[Tuple[KeyT, FloatsXd, FloatsXd]], lr_scale: float
    ) -> None:
        """What __call__ does, of parameters that the host does not look at."""
        found = []
        for key, weights, gradient in parameters:
            if weights.shape != gradient.shape:
                raise ValueError(
                    f"Optimizer: arrays have incompatible shapes: weights {weights.shape}, "
                    f"gradient {gradient.shape}."
                )
            if not weights.size:
                continue
            if self._live:
                self._evaluate(key)
            ops = _ops_by_type.get(type(weights)) or _find_ops(weights)
            moments = None
            if self._numbers[2] or self.use_radam:
                moments = self._moments(ops, key, weights)
            averages = None if self.averages is None else self._average(ops, key, weights)
            found.append((ops, key, weights, gradient, moments, averages, tuple(self._numbers)))

        # What is the same for all parameters of a launch, and the parameters.
        launches: Dict[Tuple, Tuple[Ops, List[ParameterStep]]] = {}
        late_averages = []
        for ops, key, weights, gradient, moments, averages, numbers in found:
            rate, b1, b2, eps, l2, clip = numbers
            t = self.nr_update[key] = self.nr_update[key] + 1
            rate *= lr_scale
            decay = rate * l2 if l2 and self.L2_is_weight_decay else 0.0
            use_variance = True
            if self.use_radam:
                use_variance, factor = _rectification(t, b1, b2)
                rate *= factor
            elif moments is not None:
                rate *= math.sqrt(1.0 - b2**t) / (1.0 - b1**t)
            ema_rate = 1.0 - min((1.0 + t) / (10.0 + t), 0.9999)
            if averages is not None and not _are_averages_fused(ops, averages, weights):
                late_averages.append((ops, averages, weights, t))
                averages = None
            kind = (id(ops), moments is None, b1, b2, eps, clip)
            launches.setdefault(kind, (ops, []))[1].append(
                ParameterStep(
                    weights,
                    gradient,
                    None if moments is None else moments[0],
                    None if moments is None else moments[1],
                    averages,
                    rate,
                    l2=0.0 if decay else l2 * (not self.L2_is_weight_decay),
                    decay=decay,
                    ema_rate=ema_rate,
                    use_variance=use_variance,
                )
            )
        for (_, is_sgd, b1, b2, eps, clip), (ops, steps) in launches.items():
            if is_sgd:
                ops.sgd_steps(steps, clip=clip)
            else:
                ops.adam_steps(steps, beta1=b1, beta2=b2, eps=eps, clip=clip)
        for ops, averages, weights, t in late_averages:
            ops.update_averages(averages, weights, t)

    def _moments(self, ops: Ops, key: KeyT, weights: FloatsXd) -> Tuple[FloatsXd, FloatsXd]:
        if key not in self.mom1:
            dtype: Literal["float32", "float64"]
            dtype = "float64" if weights.dtype == "float64" else "float32"
            self.mom1[key] = ops.alloc((weights.size,), dtype=dtype)
            self.mom2[key] = ops.alloc((weights.size,), dtype=dtype)
        mom1 = self.mom1[key]
        if mom1.size != weights.size:
            raise ValueError(
                f"Optimizer: arrays have incompatible shapes: {key} had {mom1.size} elements "
                f"before, now it has {weights.size}."
            )
        return mom1, self.mom2[key]

    def _average(self, ops: Ops, key: KeyT, weights: FloatsXd) -> FloatsXd:
        assert self.averages is not None
        average = self.averages.get(key)
        if average is None:
            average = self.averages[key] = ops.alloc(weights.shape, dtype="float32")
        elif average.shape != weights.shape:
            raise ValueError(
                f"Optimizer: arrays have incompatible shapes: {key} had shape {average.shape} "
                f"before, now it has {weights.shape}."
            )
        return average


def _are_averages_fused(ops: Ops, averages: FloatsXd, weights: FloatsXd) -> bool:
    """Whether the backend's step updates the float32 averages of these weights as well."""
    return averages.dtype == weights.dtype or ops.name == "cupy"


# One Ops serves all arrays of a type.
_ops_by_type: Dict[type, Ops] = {}


def _find_ops(array: FloatsXd) -> Ops:
    return _ops_by_type.setdefault(type(array), get_array_ops(array))


# ---- RAdam --------------------------------------------------------------------------


def _rectification(t: int, b1: float, b2: float) -> Tuple[bool, float]:
    """How to take step t: whether by the variance, and by which factor of the learning rate.

    rho is the length of the approximated simple moving average. The variance is used from
    5 on, as in the authors' program; the paper has 4, where the factor is still near 0.
    """
    debias = 1.0 / (1.0 - b1**t)
    decayed = b2**t
    rho_inf = 2.0 / (1.0 - b2) - 1.0
    rho = rho_inf - 2.0 * t * decayed / (1.0 - decayed)
    if rho < 5.0:
        return False, debias
    r = math.sqrt((rho - 4.0) * (rho - 2.0) * rho_inf / ((rho_inf - 4.0) * (rho_inf - 2.0) * rho))
    return True, debias * r * math.sqrt(1.0 - decayed)


def _radam_step(
    ops: Ops,
    weights: FloatsXd,
    gradient: FloatsXd,
    moments: Tuple[FloatsXd, FloatsXd],
    t: int,
    rate: float,
    b1: float,
    b2: float,
    eps: float,
    around: Dict[str, Any],
) -> None:
    """A step of adam_step at the rectified rate, or, in the first steps, along the momentum."""
    use_variance, factor = _rectification(t, b1, b2)
    if use_variance:
        ops.adam_step(
            weights,
            gradient,
            *moments,
            learn_rate=rate * factor,
            beta1=b1,
            beta2=b2,
            eps=eps,
            **around,
        )
        return
    momentum_step(ops, weights, gradient, *moments, rate * factor, b1, b2, around)
