"""What optimizers and a few layers need besides: updates, norms, averages."""

from __future__ import annotations

from typing import Any, Dict, NamedTuple, Optional, Sequence, Tuple

import numpy

from ..types import Floats1d, Floats2d, FloatsXd

# Smaller than any norm that matters; keeps a zero gradient from becoming NaN.
TINY = 1e-300


class ParameterStep(NamedTuple):
    """The update of one parameter among many: the arguments of adam_step, or of sgd_step.

    use_variance: false for a step along the first moment alone, as RAdam's first steps.
    """

    weights: Any
    gradient: Any
    mom1: Any
    mom2: Any
    averages: Any
    learn_rate: float
    l2: float = 0.0
    decay: float = 0.0
    ema_rate: float = 0.0
    use_variance: bool = True


class TrainingMethods:
    """The part of Ops that updates weights, in place."""

    xp: Any

    def adam(
        self,
        weights: FloatsXd,
        gradient: FloatsXd,
        mom1: FloatsXd,
        mom2: FloatsXd,
        beta1: float,
        beta2: float,
        eps: float,
        learn_rate: float,
        mod_rate: float = 1.0,
    ) -> Tuple[FloatsXd, FloatsXd, FloatsXd, FloatsXd]:
        """One step of Adam. Kingma and Ba (2015), arXiv:1412.6980.

        m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
        w = w - learn_rate m / (sqrt(v) + eps).
        The caller folds the bias correction into learn_rate. mod_rate is accepted
        for compatibility and has no effect.
        All arrays have one shape. They are changed in place, the gradient to zero,
        and returned.
        """
        for array in (gradient, mom1, mom2):
            if array.shape != weights.shape:
                raise ValueError(
                    f"adam: the weights have shape {weights.shape}, but another argument "
                    f"{array.shape}."
                )
        self.adam_step(
            weights, gradient, mom1, mom2, learn_rate=learn_rate, beta1=beta1, beta2=beta2, eps=eps
        )
        return weights, gradient, mom1, mom2

    def adam_step(
        self,
        weights: FloatsXd,
        gradient: FloatsXd,
        mom1: FloatsXd,
        mom2: FloatsXd,
        averages: Optional[FloatsXd] = None,
        *,
        learn_rate: float,
        beta1: float,
        beta2: float,
        eps: float,
        gradient_scale: float = 1.0,
        l2: float = 0.0,
        decay: float = 0.0,
        ema_rate: float = 0.0,
    ) -> None:
        """Adam's whole update of one parameter, in place.

        g = gradient * gradient_scale + l2 * w; m, v and w as in adam, with step
        size learn_rate; then w -= decay * w; then averages -= ema_rate *
        (averages - w); the gradient becomes zero.
        weights, gradient and averages have one shape; mom1 and mom2 as many
        elements, in any shape. Raises ValueError if the sizes differ.
        """
        _check_sizes("adam_step", weights, gradient, averages, mom1, mom2)
        g = _scaled_gradient(weights, gradient, gradient_scale, l2)
        mom1 *= beta1
        mom1 += (1.0 - beta1) * g.reshape(mom1.shape)
        mom2 *= beta2
        mom2 += (1.0 - beta2) * self.xp.square(g).reshape(mom2.shape)
        step = mom1.reshape(weights.shape) / (self.xp.sqrt(mom2.reshape(weights.shape)) + eps)
        weights -= learn_rate * step
        _finish_step(weights, gradient, averages, decay, ema_rate)

    def sgd_step(
        self,
        weights: FloatsXd,
        gradient: FloatsXd,
        averages: Optional[FloatsXd] = None,
        *,
        learn_rate: float,
        gradient_scale: float = 1.0,
        l2: float = 0.0,
        decay: float = 0.0,
        ema_rate: float = 0.0,
    ) -> None:
        """The update of adam_step, with w -= learn_rate * g in place of Adam's."""
        _check_sizes("sgd_step", weights, gradient, averages)
        weights -= learn_rate * _scaled_gradient(weights, gradient, gradient_scale, l2)
        _finish_step(weights, gradient, averages, decay, ema_rate)

    def adam_steps(
        self,
        steps: Sequence[ParameterStep],
        *,
        beta1: float,
        beta2: float,
        eps: float,
        clip: float = 0.0,
    ) -> None:
        """adam_step of several parameters, each with its own rates.

        clip: a parameter's gradient + l2 * weights of a larger norm is scaled to this one
            first; 0: none is. Raises what adam_step raises.
        """
        for step in steps:
            around = _around(self, step, clip)
            arrays = (step.weights, step.gradient, step.mom1, step.mom2)
            if step.use_variance:
                rate = step.learn_rate
                self.adam_step(
                    *arrays, learn_rate=rate, beta1=beta1, beta2=beta2, eps=eps, **around
                )
            else:
                momentum_step(self, *arrays, step.learn_rate, beta1, beta2, around)

    def sgd_steps(self, steps: Sequence[ParameterStep], *, clip: float = 0.0) -> None:
        """sgd_step of several parameters, clipped as in adam_steps."""
        for step in steps:
            around = _around(self, step, clip)
            self.sgd_step(step.weights, step.gradient, learn_rate=step.learn_rate, **around)

    def norm(self, X: FloatsXd) -> float:
        """The square root of the sum of all squares, summed in double precision."""
        return self.xp.sqrt(self.xp.square(X, dtype="float64").sum())

    def clip_gradient(self, gradient: FloatsXd, threshold: float) -> FloatsXd:
        """gradient scaled down, in place, to a norm of threshold if it is above. Returns it."""
        # Without a branch on the norm, nothing waits for the device.
        norm = self.norm(gradient)
        scale = self.xp.where(norm >= threshold, threshold / self.xp.maximum(norm, TINY), 1.0)
        gradient *= scale.astype(gradient.dtype)
        return gradient

    def update_averages(
        self, ema: FloatsXd, weights: FloatsXd, t: int, max_decay: float = 0.9999
    ) -> None:
        """Move the running average ema towards weights, in place.

        ema -= (1 - d) (ema - weights), d = min((1 + t) / (10 + t), max_decay).
        """
        decay = min((1.0 + t) / (10.0 + t), max_decay)
        ema -= (1.0 - decay) * (ema - weights)

    def logloss(self, y_true: FloatsXd, y_pred: FloatsXd) -> FloatsXd:
        """-(y log(p + 1e-8) + (1 - y) log(1 - p + 1e-8)), element by element."""
        log = self.xp.log
        return -(y_true * log(y_pred + 1e-8) + (1 - y_true) * log((1 - y_pred) + 1e-8))

    # ---- recurrent and positional layers ----------------------------------

    def lstm_forward_training(
        self, params: Floats1d, H0: Any, C0: Any, X: Floats2d, size_at_t: Any
    ) -> Tuple[Floats2d, Tuple]:
        """An LSTM over packed sequences: (Y, state for backprop_lstm).

        X: (N, nI), all rows of time step 0, then step 1 ...; size_at_t[t] of them
        belong to step t, as in Padded. H0, C0: (depth, directions, nO), the
        initial hidden and cell states, the same for each sequence. params: all
        weights in one vector; see thinc.backends.lstm.
        Returns Y (N, nO * directions). Hochreiter and Schmidhuber (1997).
        """
        from . import lstm

        return lstm.lstm_forward_training(self, params, H0, C0, X, size_at_t)

    def lstm_forward_inference(
        self, params: Floats1d, H0: Any, C0: Any, X: Floats2d, size_at_t: Any
    ) -> Floats2d:
        """Y of lstm_forward_training, without the state."""
        from . import lstm

        return lstm.lstm_forward_inference(self, params, H0, C0, X, size_at_t)

    def backprop_lstm(
        self, dY: Floats2d, lengths: Any, params: Floats1d, fwd_state: Any
    ) -> Tuple[Floats2d, Floats1d]:
        """Gradients (dX, d_params) of an LSTM. lengths: size_at_t of the forward pass."""
        from . import lstm

        return lstm.backprop_lstm(self, dY, lengths, params, fwd_state)

    def _lstm_layer_forward(self, gates, Wh, h0, c0, size_at_t, backward: bool):
        from . import lstm

        return lstm.layer_forward(self, gates, Wh, h0, c0, size_at_t, backward)

    def _lstm_layer_backward(self, dY, H, C, gates, Wh, h0, c0, size_at_t, backward: bool):
        from . import lstm

        return lstm.layer_backward(self, dY, H, C, gates, Wh, h0, c0, size_at_t, backward)

    def position_encode(
        self, N: int, D: int, period: int = 10000, out: Optional[Floats2d] = None
    ) -> Floats2d:
        """Sines and cosines that tell positions apart: float32 (N, D).

        Columns j and j + 1 (j even) of row p are the sine and cosine of
        p / period^(2 j / D); a last single column repeats the last pair's sine.
        After Vaswani et al. (2017), arXiv:1706.03762, whose exponent is j / D.
        out: where to store the result: float32, (N, D), else ValueError.
        """
        if out is not None and (out.shape != (N, D) or out.dtype != "float32"):
            raise ValueError(
                f"position_encode: out must be float32 of shape {(N, D)}, got {out.dtype} of "
                f"shape {out.shape}."
            )
        columns = self.xp.arange(D)
        even = self.xp.minimum(columns - columns % 2, max(D - 2 - D % 2, 0))
        rates = float(period) ** (-2.0 * even / max(D, 1))
        angles = self.xp.arange(N)[:, None] * rates[None, :]
        waves = self.xp.where(columns % 2 == 0, self.xp.sin(angles), self.xp.cos(angles))
        if out is None:
            return waves.astype("float32")
        out[...] = waves
        return out


def momentum_step(
    ops: Any,
    weights: FloatsXd,
    gradient: FloatsXd,
    mom1: FloatsXd,
    mom2: FloatsXd,
    learn_rate: float,
    beta1: float,
    beta2: float,
    around: Dict[str, Any],
) -> None:
    """adam_step, with w -= learn_rate * m in place of Adam's.

    around: those of its arguments that have defaults.
    """
    # The moments by a step of size zero, then the step, then what follows a step. An eps
    # of 1, because zero times 0 / 0 is not zero.
    before = {name: around[name] for name in ("gradient_scale", "l2") if name in around}
    after = {name: value for name, value in around.items() if name not in before}
    ops.adam_step(
        weights, gradient, mom1, mom2, learn_rate=0.0, beta1=beta1, beta2=beta2, eps=1.0, **before
    )
    weights -= learn_rate * mom1.reshape(weights.shape)
    if after:
        ops.sgd_step(weights, gradient, learn_rate=0.0, **after)


def clip_scale(
    ops: Any, weights: FloatsXd, gradient: FloatsXd, threshold: float, around: Dict[str, Any]
) -> None:
    """Set gradient_scale, and scale l2, so that the norm of their sum is at most threshold.

    As the norm of NaN is not above the threshold, such a gradient is not scaled.
    """
    l2 = around.get("l2")
    norm = ops.norm(gradient if l2 is None else gradient + l2 * weights)
    if ops.xp is numpy:
        if norm < threshold or norm != norm:
            return
        scale: Any = threshold / norm
    else:
        # On a GPU a comparison in Python would wait for the device.
        xp: Any = ops.xp
        scale = xp.where(norm >= threshold, threshold / norm, 1.0).astype(gradient.dtype)
    around["gradient_scale"] = scale
    if l2 is not None:
        around["l2"] = scale * l2


def _around(ops: Any, step: ParameterStep, clip: float) -> Dict[str, Any]:
    """What goes around the step itself: scaling, decay, averages."""
    around: Dict[str, Any] = {"decay": step.decay}
    if step.l2:
        around["l2"] = step.l2
    if clip:
        clip_scale(ops, step.weights, step.gradient, clip, around)
    if step.averages is not None:
        around.update(averages=step.averages, ema_rate=step.ema_rate)
    return around


def _scaled_gradient(weights, gradient, gradient_scale: float, l2: Any):
    g = gradient * gradient_scale
    if not isinstance(l2, (int, float)) or l2:  # a number on a GPU would have to be waited for
        g += l2 * weights
    return g


def _finish_step(weights, gradient, averages, decay: float, ema_rate: float) -> None:
    if decay:
        weights -= decay * weights
    if averages is not None:
        averages -= ema_rate * (averages - weights)
    # Assigned, because NaN times zero is NaN.
    gradient[...] = 0


def _check_sizes(who: str, weights, gradient, averages, *moments) -> None:
    for array in (gradient, averages):
        if array is not None and array.shape != weights.shape:
            raise ValueError(
                f"{who}: the weights have shape {weights.shape}, but another argument "
                f"{array.shape}."
            )
    for moment in moments:
        if moment.size != weights.size:
            raise ValueError(
                f"{who}: the weights have {weights.size} elements, but a moment {moment.size}."
            )
