"""Matrix products, and the dense layers built on them."""

from __future__ import annotations

from typing import Any, Callable, Optional, Sequence, Tuple

from ..types import Floats1d, Floats2d, Floats3d, Ints2d
from .formulas import FORMULAS


class ProductMethods:
    """The part of Ops that multiplies matrices."""

    xp: Any
    backprop_relu: Any
    maxout: Any
    backprop_maxout: Any
    _map: Any
    _map_slope: Any

    def gemm(
        self,
        x: Floats2d,
        y: Floats2d,
        out: Optional[Floats2d] = None,
        trans1: bool = False,
        trans2: bool = False,
    ) -> Floats2d:
        """The matrix product x @ y, either operand transposed first on request.

        x, y: matrices of any layout. out: where to store the product; it must
        have the product's shape and dtype, and is returned.
        Raises ValueError if an operand is not 2-d or the sizes do not match.
        """
        x, y = _operands(x, y, trans1, trans2)
        if out is None:
            return self.xp.dot(x, y)
        _check_output(out, x, y)
        if out.flags["C_CONTIGUOUS"]:
            return self.xp.dot(x, y, out=out)
        out[...] = self.xp.dot(x, y)
        return out

    def gemm_add(
        self,
        out: Floats2d,
        x: Floats2d,
        y: Floats2d,
        trans1: bool = False,
        trans2: bool = False,
    ) -> Floats2d:
        """out += x @ y in place, either operand transposed first on request. Returns out."""
        x, y = _operands(x, y, trans1, trans2)
        _check_output(out, x, y)
        out += self.xp.dot(x, y)
        return out

    def add_column_sums(self, out: Floats1d, X: Floats2d) -> Floats1d:
        """out += X.sum(axis=0) in place: X is (B, O), out (O,). Returns out."""
        if X.ndim != 2 or out.shape != X.shape[1:]:
            raise ValueError(
                f"add_column_sums: out has shape {out.shape}, but X is {X.shape}: expected "
                "X (rows, width) and out (width,)."
            )
        out += X.sum(axis=0)
        return out

    def affine(self, X: Floats2d, W: Floats2d, b: Floats1d) -> Floats2d:
        """X @ W^T + b. X: (B, I), W: (O, I), b: (O,). Returns a new (B, O) array."""
        Y = self.gemm(X, W, trans2=True)
        Y += b
        return Y

    def affine_activation(
        self, name: str, X: Floats2d, W: Floats2d, b: Floats1d, params: Sequence[float] = ()
    ) -> Tuple[Floats2d, Optional[Floats2d]]:
        """Y = f(P), P = X @ W^T + b, f being the activation of that name.

        name: a name of formulas.FORMULAS. params: its parameters (clipped_linear:
        slope, offset, min_val, max_val; mish: threshold) or () for the defaults.
        Returns (Y, P); P is None where the slope is a function of Y (relu,
        sigmoid, tanh). backprop_activation takes whichever is there.
        """
        formula = FORMULAS[name]
        P = self.affine(X, W, b)
        params = params or formula.defaults
        if formula.slope_of == "Y":
            return self._map(formula, P, params, True), None
        return self._map(formula, P, params, False), P

    def affine_value(
        self, name: str, X: Floats2d, W: Floats2d, b: Floats1d, params: Sequence[float] = ()
    ) -> Floats2d:
        """The Y of affine_activation, for predictions: keeps nothing for a backward pass."""
        return self.affine_activation(name, X, W, b, params)[0]

    def backprop_activation(
        self, name: str, dY: Floats2d, Z: Floats2d, params: Sequence[float] = ()
    ) -> Floats2d:
        """dY times the slope of the named activation: a new array.

        Z: the activation's value for relu, sigmoid and tanh, else its input.
        """
        if name == "relu":
            return self.backprop_relu(dY, Z)
        formula = FORMULAS[name]
        return self._map_slope(formula, dY, Z, params or formula.defaults, False)

    def affine_maxout(self, X: Floats2d, W: Floats3d, b: Floats2d) -> Tuple[Floats2d, Ints2d]:
        """maxout of X @ W^T + b. X: (B, I), W: (O, P, I), b: (O, P).

        Returns (best, which), both (B, O); which is int32.
        """
        if W.ndim != 3 or b.shape != W.shape[:2]:
            raise ValueError(
                "affine_maxout: expected W (outputs, pieces, inputs) and b (outputs, pieces), "
                f"got {W.shape} and {b.shape}."
            )
        nO, nP, nI = W.shape
        Y = self.affine(X, W.reshape((nO * nP, nI)), b.reshape((nO * nP,)))
        return self.maxout(Y.reshape((X.shape[0], nO, nP)))

    def affine_maximum(self, X: Floats2d, W: Floats3d, b: Floats2d) -> Floats2d:
        """The best of affine_maxout, for predictions: keeps nothing for a backward pass."""
        return self.affine_maxout(X, W, b)[0]

    def frozen_affine(
        self,
        W: Floats2d,
        b: Floats1d,
        activation: Optional[str] = None,
        params: Sequence[float] = (),
    ) -> Callable[[Floats2d], Floats2d]:
        """affine, or affine_value with an activation, for weights that will not change any
        more: a function of X alone, which may keep W in a layout of its own."""
        if activation is None:
            return lambda X: self.affine(X, W, b)
        return lambda X: self.affine_value(activation, X, W, b, params)

    def frozen_maximum(self, W: Floats3d, b: Floats2d) -> Callable[[Floats2d], Floats2d]:
        """affine_maximum for weights that will not change any more: a function of X alone,
        which may keep W in a layout of its own."""
        return lambda X: self.affine_maximum(X, W, b)

    def frozen_embedded_maximum(
        self,
        tables: Sequence[Floats2d],
        columns: Sequence[int],
        seeds: Sequence[int],
        W: Floats3d,
        b: Floats2d,
    ) -> Optional[Callable[[Ints2d], Floats2d]]:
        """affine_maximum of hash_embed_columns, for parameters that will not change any more:
        a function of ids (n, columns) that adds up rows which have met the weights
        beforehand. None where that does not pay."""
        return None

    def backprop_affine_maxout(
        self,
        dY: Floats2d,
        which: Ints2d,
        X: Floats2d,
        W: Floats3d,
        dW: Floats3d,
        db: Floats2d,
        *,
        input_gradient: bool = True,
    ) -> Optional[Floats2d]:
        """The gradient of affine_maxout's X; those of W and b are added to dW and db in place.

        dY, which: (B, O). X: (B, I), W and dW: (O, P, I), db: (O, P). Returns (B, I), or None
        if no input_gradient is asked for.
        Raises IndexError for a choice outside [0, P), ValueError for shapes that do not fit; then
        nothing has been added.
        """
        nO, nP, nI = W.shape
        if dW.shape != W.shape or db.shape != (nO, nP) or X.shape != (dY.shape[0], nI):
            raise ValueError(
                f"backprop_affine_maxout: W {W.shape} and dY {dY.shape} do not fit "
                f"X {X.shape}, dW {dW.shape} and db {db.shape}."
            )
        dP = self.backprop_maxout(dY, which, nP).reshape((dY.shape[0], nO * nP))
        dX = self.gemm(dP, W.reshape((nO * nP, nI))) if input_gradient else None
        if dW.flags.c_contiguous:
            self.gemm_add(dW.reshape((nO * nP, nI)), dP, X, trans1=True)
        else:
            dW += self.gemm(dP, X, trans1=True).reshape(W.shape)
        db += dP.sum(axis=0).reshape((nO, nP))
        return dX


def _operands(x, y, trans1: bool, trans2: bool):
    if x.ndim != 2 or y.ndim != 2:
        raise ValueError(
            f"gemm: expected two matrices, got arrays with {x.ndim} and {y.ndim} dimensions."
        )
    x = x.T if trans1 else x
    y = y.T if trans2 else y
    if x.shape[1] != y.shape[0]:
        raise ValueError(f"gemm: can't multiply {x.shape} by {y.shape}: inner sizes differ.")
    return x, y


def _check_output(out, x, y) -> None:
    shape = (x.shape[0], y.shape[1])
    if out.shape != shape:
        raise ValueError(f"gemm: out has shape {out.shape}, but the product has {shape}.")
    if x.dtype == y.dtype and out.dtype != x.dtype:
        raise ValueError(f"gemm: out has dtype {out.dtype}, but the product has {x.dtype}.")
