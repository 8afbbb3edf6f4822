"""What optimizers and a few layers need besides: updates, norms, averages."""

from __future__ import annotations

from typing import Any, Optional, Tuple

from ..types import Floats1d, Floats2d, FloatsXd

# Smaller than any norm that matters; keeps a zero gradient from becoming NaN.
TINY = 1e-300


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


def _scaled_gradient(weights, gradient, gradient_scale: float, l2: float):
    g = gradient * gradient_scale
    if l2:
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
