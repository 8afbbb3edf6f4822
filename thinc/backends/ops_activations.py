"""Element-wise functions, softmax, maxout, layer normalization and dropout."""

from __future__ import annotations

from typing import Any, Optional, Sequence, Tuple, TypeVar, Union

from ..types import Floats1d, Floats2d, Floats3d, FloatsXd, Ints2d
from . import formulas
from .formulas import Formula

LAYER_NORM_EPSILON = 1e-8

# Whatever rank goes in comes out.
FloatsT = TypeVar("FloatsT", bound=FloatsXd)


class ActivationMethods:
    """The part of Ops that computes activations and their gradients.

    Forward: X is an array of any shape, the result has its shape; float16,
    float32 and float64 are kept, integers give float64 unless stated. With
    inplace=True the result overwrites X, and X itself is returned.

    Backward: the result is dY times the function's slope, element by element.
    With inplace=True it overwrites dY, and dY itself is returned. Arrays of
    different shapes raise ValueError.
    """

    xp: Any

    # ---- hooks: a backend replaces these for the whole family ----------------

    def _map(self, formula: Formula, X, params: Sequence[float], inplace: bool):
        """formula of each element of X."""
        Y = formula.value(self.xp, _wide(X), *params)
        return self._store(Y, X, X.dtype, inplace)

    def _map_slope(self, formula: Formula, dY, Z, params: Sequence[float], inplace: bool):
        """dY times the formula's slope at Z (its X or its Y, as formula.slope_of says)."""
        _check_same_shape(f"backprop_{formula.name}", dY, Z)
        dX = formula.slope(self.xp, _wide(Z), *params) * dY
        return self._store(dX, dY, self.xp.promote_types(dY.dtype, Z.dtype), inplace)

    def _store(self, result, target, dtype, inplace: bool):
        """result written into target, or as it is, narrowed to dtype if that is float16."""
        if inplace:
            self.xp.copyto(target, result, casting="same_kind")
            return target
        return result.astype("float16") if dtype == "float16" else result

    # ---- one method per function ----------------------------------------

    def sigmoid(self, X: FloatsT, *, inplace: bool = False) -> FloatsT:
        """1 / (1 + exp(-x)), x limited to [-20, 20]."""
        return self._map(formulas.SIGMOID, X, (), inplace)

    def backprop_sigmoid(self, dY: FloatsT, Y: FloatsT, *, inplace: bool = False) -> FloatsT:
        """dY * Y * (1 - Y)"""
        return self._map_slope(formulas.SIGMOID, dY, Y, (), inplace)

    def dsigmoid(self, Y: FloatsT, *, inplace: bool = False) -> FloatsT:
        """Y * (1 - Y), the slope of sigmoid from its value Y."""
        return self._store(Y * (1 - Y), Y, Y.dtype, inplace)

    def dtanh(self, Y: FloatsT, *, inplace: bool = False) -> FloatsT:
        """1 - Y^2, the slope of tanh from its value Y. Integers stay integers."""
        return self._store(1 - Y * Y, Y, Y.dtype, inplace)

    def relu(self, X: FloatsT, inplace: bool = False) -> FloatsT:
        """max(x, 0). NaN stays NaN, integers stay integers."""
        return self._map(formulas.RELU, X, (), inplace)

    def backprop_relu(self, dY: FloatsT, Y: FloatsT, inplace: bool = False) -> FloatsT:
        """dY where Y, the value of relu, is positive, else zero."""
        _check_same_shape("backprop_relu", dY, Y)
        # A selection, because infinity times zero is NaN.
        dX = self.xp.where(Y <= 0, dY.dtype.type(0), dY)
        return self._store(dX, dY, dY.dtype, inplace)

    def clipped_linear(
        self,
        X: FloatsT,
        slope: float = 1.0,
        offset: float = 0.0,
        min_val: float = 0.0,
        max_val: float = 1.0,
        inplace: bool = False,
    ) -> FloatsT:
        """min(max(slope * x + offset, min_val), max_val)"""
        return self._map(formulas.CLIPPED_LINEAR, X, (slope, offset, min_val, max_val), inplace)

    def backprop_clipped_linear(
        self,
        dY: FloatsT,
        X: FloatsT,
        slope: float = 1.0,
        offset: float = 0.0,
        min_val: float = 0.0,
        max_val: float = 1.0,
        inplace: bool = False,
    ) -> FloatsT:
        """dY * slope where slope * X + offset lies strictly inside the limits, else zero."""
        params = (slope, offset, min_val, max_val)
        return self._map_slope(formulas.CLIPPED_LINEAR, dY, X, params, inplace)

    def relu_k(self, X: FloatsT, n: float = 6.0, inplace: bool = False) -> FloatsT:
        """min(max(x, 0), n)"""
        return self.clipped_linear(X, max_val=n, inplace=inplace)

    def backprop_relu_k(
        self, dY: FloatsT, X: FloatsT, n: float = 6.0, inplace: bool = False
    ) -> FloatsT:
        """dY where 0 < X < n, else zero."""
        return self.backprop_clipped_linear(dY, X, max_val=n, inplace=inplace)

    def hard_sigmoid(self, X: FloatsT, inplace: bool = False) -> FloatsT:
        """min(max(0.2 x + 0.5, 0), 1)"""
        return self.clipped_linear(X, slope=0.2, offset=0.5, inplace=inplace)

    def backprop_hard_sigmoid(self, dY: FloatsT, X: FloatsT, inplace: bool = False) -> FloatsT:
        """0.2 dY where -2.5 < X < 2.5, else zero."""
        return self.backprop_clipped_linear(dY, X, slope=0.2, offset=0.5, inplace=inplace)

    def hard_tanh(self, X: FloatsT, inplace: bool = False) -> FloatsT:
        """min(max(x, -1), 1)"""
        return self.clipped_linear(X, min_val=-1.0, max_val=1.0, inplace=inplace)

    def backprop_hard_tanh(self, dY: FloatsT, X: FloatsT, inplace: bool = False) -> FloatsT:
        """dY where -1 < X < 1, else zero."""
        return self.backprop_clipped_linear(dY, X, min_val=-1.0, max_val=1.0, inplace=inplace)

    def swish(self, X: FloatsT, inplace: bool = False) -> FloatsT:
        """x * sigmoid(x). Ramachandran et al. (2017), arXiv:1710.05941."""
        return self._map(formulas.SWISH, X, (), inplace)

    def backprop_swish(self, dY: FloatsT, X: FloatsT, Y: FloatsT, inplace: bool = False) -> FloatsT:
        """dY * (Y + sigmoid(X) * (1 - Y)), Y being swish(X)."""
        _check_same_shape("backprop_swish", dY, Y)
        return self._map_slope(formulas.SWISH, dY, X, (), inplace)

    def hard_swish(self, X: FloatsT, inplace: bool = False) -> FloatsT:
        """x * hard_sigmoid(x)"""
        return self._map(formulas.HARD_SWISH, X, (), inplace)

    def backprop_hard_swish(self, dY: FloatsT, X: FloatsT, inplace: bool = False) -> FloatsT:
        """dY * (0.4 X + 0.5) for X in [-2.5, 2.5]; zero below, dY above."""
        return self._map_slope(formulas.HARD_SWISH, dY, X, (), inplace)

    def hard_swish_mobilenet(self, X: FloatsT, inplace: bool = False) -> FloatsT:
        """x * min(max(x + 3, 0), 6) / 6. Howard et al. (2019), arXiv:1905.02244."""
        return self._map(formulas.HARD_SWISH_MOBILENET, X, (), inplace)

    def backprop_hard_swish_mobilenet(
        self, dY: FloatsT, X: FloatsT, inplace: bool = False
    ) -> FloatsT:
        """dY * (2 X + 3) / 6 for X in [-3, 3]; zero below, dY above."""
        return self._map_slope(formulas.HARD_SWISH_MOBILENET, dY, X, (), inplace)

    def dish(self, X: FloatsT, inplace: bool = False) -> FloatsT:
        """x / 2 * (x / sqrt(1 + x^2) + 1)"""
        return self._map(formulas.DISH, X, (), inplace)

    def backprop_dish(self, dY: FloatsT, X: FloatsT, inplace: bool = False) -> FloatsT:
        """dY * (1/2 + x/h - x^3 / (2 h^3)), h = sqrt(1 + x^2)."""
        return self._map_slope(formulas.DISH, dY, X, (), inplace)

    def gelu(self, X: FloatsT, inplace: bool = False) -> FloatsT:
        """x times the normal distribution function at x.

        Hendrycks and Gimpel (2016), arXiv:1606.08415.
        """
        return self._map(formulas.GELU, X, (), inplace)

    def backprop_gelu(self, dY: FloatsT, X: FloatsT, inplace: bool = False) -> FloatsT:
        """dY * (cdf(X) + X * density(X)) of the normal distribution."""
        return self._map_slope(formulas.GELU, dY, X, (), inplace)

    def gelu_approx(self, X: FloatsT, inplace: bool = False) -> FloatsT:
        """x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))). Integers stay integers."""
        Y = self._map(formulas.GELU_APPROX, X, (), inplace)
        return Y if Y.dtype == X.dtype else Y.astype(X.dtype)

    def backprop_gelu_approx(self, dY: FloatsT, X: FloatsT, inplace: bool = False) -> FloatsT:
        """dY times the derivative of gelu_approx at X."""
        return self._map_slope(formulas.GELU_APPROX, dY, X, (), inplace)

    def mish(self, X: FloatsT, threshold: float = 20.0, inplace: bool = False) -> FloatsT:
        """x * tanh(log(1 + exp(x))), and x itself from threshold on.

        Misra (2019), arXiv:1908.08681.
        """
        return self._map(formulas.MISH, X, (threshold,), inplace)

    def backprop_mish(
        self, dY: FloatsT, X: FloatsT, threshold: float = 20.0, inplace: bool = False
    ) -> FloatsT:
        """dY times the derivative of mish at X; dY itself from threshold on. Keeps dY's dtype."""
        dX = self._map_slope(formulas.MISH, dY, X, (threshold,), inplace)
        return dX.astype(dY.dtype, copy=False)

    def erf(self, X: FloatsT) -> FloatsT:
        """The error function. X's dtype is kept: integers are truncated."""
        return formulas.erf(self.xp, _wide(X)).astype(X.dtype)

    def sechsq(self, X: FloatsT) -> FloatsT:
        """(1 / cosh(x))^2, x limited to [-20, 20]."""
        return self._store(formulas.squared_sech(self.xp, _wide(X)), X, X.dtype, False)

    # ---- softmax -----------------------------------------------------------

    def softmax(
        self,
        x: FloatsT,
        *,
        inplace: bool = False,
        axis: Union[int, Tuple[int, ...]] = -1,
        temperature: float = 1.0,
    ) -> FloatsT:
        """exp(x / temperature), divided by its sum along axis.

        x: floats of any shape. Returns a new array, or x itself if inplace.
        """
        scores = x if temperature == 1.0 else x / temperature
        scores = scores - scores.max(axis=axis, keepdims=True)
        scores = self.xp.exp(scores)
        return self._store(scores / scores.sum(axis=axis, keepdims=True), x, x.dtype, inplace)

    def backprop_softmax(
        self,
        Y: FloatsT,
        dY: FloatsT,
        *,
        axis: Union[int, Tuple[int, ...]] = -1,
        temperature: float = 1.0,
    ) -> FloatsT:
        """Gradient of softmax at its value Y (the first argument): a new array.

        Y * g - Y * sum(Y * g) along axis, g = dY / temperature.
        """
        _check_same_shape("backprop_softmax", dY, Y)
        if temperature != 1.0:
            dY = dY / temperature
        dX = Y * dY
        return dX - Y * dX.sum(axis=axis, keepdims=True)

    # ---- maxout --------------------------------------------------------------

    def maxout(self, X: Floats3d) -> Tuple[Floats2d, Ints2d]:
        """The largest piece of each output. Goodfellow et al. (2013), arXiv:1302.4389.

        X: (B, O, P). Returns (best, which): the maximum over P, of X's dtype, and
        the index of the first piece attaining it, int32; both (B, O). The first
        NaN wins. Raises ValueError if X is not 3-d or has no pieces.
        """
        if X.ndim != 3 or X.shape[2] == 0:
            raise ValueError(
                f"maxout: X must have shape (batch, outputs, pieces >= 1), got {X.shape}."
            )
        which = X.argmax(axis=2)
        best = self.xp.take_along_axis(X, which[:, :, None], axis=2)[:, :, 0]
        return best, which.astype("int32")

    def backprop_maxout(self, dY: Floats2d, which: Ints2d, P: int) -> Floats3d:
        """Zeros (B, O, P), with dY[b, o] at piece which[b, o].

        dY, which: (B, O). Raises ValueError if their shapes differ, IndexError
        for a piece outside [0, P).
        """
        _check_same_shape("backprop_maxout", dY, which, names=("dY", "which"))
        self._check_in_range("backprop_maxout: which", which, P)
        chosen = which[:, :, None] == self.xp.arange(P)
        return self.xp.where(chosen, dY[:, :, None], dY.dtype.type(0))

    # ---- layer normalization -------------------------------------------------

    def layer_norm(
        self, X: FloatsT, G: Floats1d, b: Floats1d
    ) -> Tuple[FloatsT, FloatsXd, FloatsXd]:
        """Each row of the last axis, normalized, scaled by G and shifted by b.

        Y = (X - mean) * rstd * G + b with rstd = 1 / sqrt(variance + 1e-8), the
        population variance. Ba et al. (2016), arXiv:1607.06450.
        X: (..., O). G, b: (O,). Returns (Y, mean, rstd), the latter two of shape
        X.shape[:-1]. Raises ValueError if G or b does not match X's width.
        """
        _check_width("layer_norm", X, G, b)
        mean = X.mean(axis=-1)
        rstd = 1.0 / self.xp.sqrt(X.var(axis=-1) + LAYER_NORM_EPSILON)
        return (X - mean[..., None]) * rstd[..., None] * G + b, mean, rstd

    def backprop_layer_norm(
        self, dY: FloatsT, X: FloatsT, mean: FloatsXd, rstd: FloatsXd, G: Floats1d
    ) -> Tuple[FloatsT, Floats1d, Floats1d]:
        """Gradients (dX, dG, db) of layer_norm; mean and rstd are what it returned."""
        _check_same_shape("backprop_layer_norm", dY, X)
        _check_width("backprop_layer_norm", X, G)
        rows = tuple(range(X.ndim - 1))
        normal = (X - mean[..., None]) * rstd[..., None]
        d_normal = dY * G
        centre = d_normal.mean(axis=-1, keepdims=True) if X.shape[-1] else 0.0
        along = (d_normal * normal).mean(axis=-1, keepdims=True) if X.shape[-1] else 0.0
        dX = (d_normal - centre - normal * along) * rstd[..., None]
        return dX, (dY * normal).sum(axis=rows), dY.sum(axis=rows)

    # ---- dropout -------------------------------------------------------------

    def get_dropout_mask(
        self, shape: Union[int, Tuple[int, ...]], drop: Optional[float]
    ) -> FloatsXd:
        """A float32 mask to multiply with: 0 with probability drop, else 1 / (1 - drop).

        drop None or <= 0: ones. drop >= 1: zeros. The random numbers are the next
        of the array library's global generator. Srivastava et al. (2014).
        """
        if drop is None or drop <= 0:
            return self.xp.ones(shape, dtype="float32")
        if drop >= 1:
            return self.xp.zeros(shape, dtype="float32")
        uniform = self.xp.random.uniform(0.0, 1.0, shape)
        return self.xp.asarray((uniform >= drop) / (1.0 - drop), dtype="float32")

    # ---- checks --------------------------------------------------------------

    def _check_in_range(self, what: str, indices, limit: int) -> None:
        """IndexError unless all indices lie in [0, limit)."""
        if indices.size:
            low, high = int(indices.min()), int(indices.max())
            if low < 0 or high >= limit:
                raise IndexError(
                    f"{what} must lie in [0, {limit}), got {low if low < 0 else high}."
                )


def _wide(X):
    """X in the precision to compute in: float16 is too coarse for intermediates."""
    return X.astype("float32") if X.dtype == "float16" else X


def _check_same_shape(who: str, a, b, names=("gradient", "values")) -> None:
    if a.shape != b.shape:
        raise ValueError(
            f"{who}: {names[0]} and {names[1]} differ in shape: {a.shape} and {b.shape}."
        )


def _check_width(who: str, X, *vectors) -> None:
    for vector in vectors:
        if X.ndim < 1 or vector.shape != X.shape[-1:]:
            raise ValueError(
                f"{who}: the scale and shift must have shape {X.shape[-1:]}, "
                f"one for each feature of X {X.shape}, got {vector.shape}."
            )
