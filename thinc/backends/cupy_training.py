"""CupyOps: norms, and the optimizers' updates of any number of parameters in one launch."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence, Tuple

import numpy

from .cuda_geometry import parts_of
from .cupy_arrays import ACCUMULATORS, contiguous, kernel_dtype, launch, write_result
from .ops_training import ParameterStep

# Tables of parameters that are kept on the device; a model needs one for each dtype.
MOST_TABLES = 64
# Comparing a dtype with its name takes ten times as long.
_dtypes = {name: numpy.dtype(name) for name in ("float32", "float64")}
FLOAT32 = _dtypes["float32"]


class TrainingKernels:
    """The part of CupyOps that updates weights, in place."""

    xp: Any
    _tables: Dict[Tuple, Tuple[Any, int]]

    def norm(self, X):
        """As Ops.norm: an array of no dimensions, so that nothing waits for it."""
        dtype = kernel_dtype(X)
        if dtype is None:
            return super().norm(X)  # type: ignore[misc]
        return self._norm(dtype, contiguous(self.xp, X)).reshape(())

    def _norm(self, dtype: str, X) -> Any:
        parts = parts_of(X.size // 256)
        partials = self.xp.empty((parts,), dtype="float64")
        launch("squares", dtype, partials, X, X.size, parts)
        norm = self.xp.empty((1,), dtype="float64")
        launch("norm", (), norm, partials, parts)
        return norm

    def clip_gradient(self, gradient, threshold: float):
        """As Ops.clip_gradient; the norm never reaches the host."""
        dtype = kernel_dtype(gradient)
        if dtype is None or not isinstance(threshold, (int, float)):
            return super().clip_gradient(gradient, threshold)  # type: ignore[misc]

        def clip(X: Any) -> None:
            launch("clip_by_norm", dtype, X, X.size, self._norm(dtype, X), float(threshold))

        return write_result(gradient, clip, self.xp)

    def adam_step(
        self,
        weights,
        gradient,
        mom1,
        mom2,
        averages=None,
        *,
        learn_rate,
        beta1,
        beta2,
        eps,
        gradient_scale=1.0,
        l2=0.0,
        decay=0.0,
        ema_rate=0.0,
    ) -> None:
        """As Ops.adam_step."""
        step = ParameterStep(
            weights, gradient, mom1, mom2, averages, learn_rate, l2, decay, ema_rate
        )
        if _is_number(1.0, gradient_scale) and _is_fit(step):
            self._check_step("adam_step", step)
            self.adam_steps([step], beta1=beta1, beta2=beta2, eps=eps)
            return
        super().adam_step(  # type: ignore[misc]
            weights, gradient, mom1, mom2, averages, learn_rate=learn_rate, beta1=beta1,
            beta2=beta2, eps=eps, gradient_scale=gradient_scale, l2=l2, decay=decay,
            ema_rate=ema_rate,
        )  # fmt: skip

    def sgd_step(
        self,
        weights,
        gradient,
        averages=None,
        *,
        learn_rate,
        gradient_scale=1.0,
        l2=0.0,
        decay=0.0,
        ema_rate=0.0,
    ) -> None:
        """As Ops.sgd_step."""
        step = ParameterStep(
            weights, gradient, None, None, averages, learn_rate, l2, decay, ema_rate
        )
        if _is_number(1.0, gradient_scale) and _is_fit(step):
            self._check_step("sgd_step", step)
            self.sgd_steps([step])
            return
        super().sgd_step(  # type: ignore[misc]
            weights, gradient, averages, learn_rate=learn_rate, gradient_scale=gradient_scale,
            l2=l2, decay=decay, ema_rate=ema_rate,
        )  # fmt: skip

    def adam_steps(
        self, steps: Sequence[ParameterStep], *, beta1, beta2, eps, clip: float = 0.0
    ) -> None:
        """As Ops.adam_steps: one launch for all parameters of a dtype, three if clip is set."""
        rest = self._launch_steps("adam", steps, float(clip), (beta1, beta2, eps))
        if rest:
            super().adam_steps(rest, beta1=beta1, beta2=beta2, eps=eps, clip=clip)  # type: ignore[misc]

    def sgd_steps(self, steps: Sequence[ParameterStep], *, clip: float = 0.0) -> None:
        """As Ops.sgd_steps, launched as adam_steps."""
        rest = self._launch_steps("sgd", steps, float(clip), ())
        if rest:
            super().sgd_steps(rest, clip=clip)  # type: ignore[misc]

    def _launch_steps(
        self, kernel: str, steps: Sequence[ParameterStep], clip: float, numbers: Tuple[float, ...]
    ) -> List[ParameterStep]:
        """Take the steps that a kernel can take; returns the others."""
        groups: Dict[str, List[ParameterStep]] = {}
        rest = []
        for step in steps:
            if _is_fit(step):
                groups.setdefault(kernel_dtype(step.weights) or "", []).append(step)
            else:
                rest.append(step)
        for dtype, group in groups.items():
            table, chunks = self._table(group)
            rates = numpy.array(
                [
                    (s.learn_rate, s.l2, s.decay, s.ema_rate, 1.0 if s.use_variance else 0.0)
                    for s in group
                ],
                dtype="float64",
            )
            listed = (table, self.xp.asarray(rates), len(group), chunks)
            norms = self._norms(dtype, listed) if clip else None
            launch(kernel, dtype, *listed, norms, clip, *map(float, numbers))
        return rest

    def _norms(self, dtype: str, listed: Tuple[Any, Any, int, int]) -> Any:
        table, _, params, chunks = listed
        partials = self.xp.empty((chunks,), dtype="float64")
        launch("gradient_squares", dtype, partials, *listed)
        norms = self.xp.empty((params,), dtype="float64")
        launch("gradient_norms", (), norms, partials, table, params, chunks)
        return norms

    def _table(self, group: List[ParameterStep]) -> Tuple[Any, int]:
        """The addresses of all arrays on the device, and the number of chunks.

        They stay the same from step to step, and so does the table.
        """
        parameters = tuple(
            (
                *(0 if array is None else array.data.ptr for array in step[:5]),
                step.weights.size,
            )
            for step in group
        )
        known = self._tables.get(parameters)
        if known is None:
            from .cuda_launch import parameter_table

            if len(self._tables) >= MOST_TABLES:
                self._tables.clear()
            table, chunks = parameter_table(parameters)
            known = self._tables[parameters] = (self.xp.asarray(table), chunks)
        return known

    def _check_step(self, who: str, step: ParameterStep) -> None:
        from .ops_training import _check_sizes

        moments = [array for array in (step.mom1, step.mom2) if array is not None]
        _check_sizes(who, step.weights, step.gradient, step.averages, *moments)

    def position_encode(self, N, D, period=10000, out=None):
        """As Ops.position_encode; an `out` on the host is filled there."""
        if isinstance(out, numpy.ndarray):
            from .ops import Ops

            host: Any = out
            return Ops().position_encode(N, D, period=period, out=host)
        if out is not None and (out.shape != (N, D) or out.dtype != "float32"):
            return super().position_encode(N, D, period=period, out=out)  # type: ignore[misc]
        Y = self.xp.empty((N, D), dtype="float32") if out is None else out

        def encode(rows: Any) -> None:
            launch("position_encode", (), rows, N, D, float(period))

        return write_result(Y, encode, self.xp)


def _is_number(value: float, given: Any) -> bool:
    return isinstance(given, (int, float)) and given == value


def _is_fit(step: ParameterStep) -> bool:
    """Whether a kernel can update the parameter: contiguous arrays of the expected dtypes."""
    weights, gradient = step.weights, step.gradient
    dtype = kernel_dtype(weights, gradient)
    if dtype is None or not weights.size or gradient.shape != weights.shape:
        return False
    if not weights.flags.c_contiguous or not gradient.flags.c_contiguous:
        return False
    sums = _dtypes[ACCUMULATORS[dtype]]
    for array, wanted in ((step.mom1, sums), (step.mom2, sums), (step.averages, FLOAT32)):
        if array is None:
            continue
        if array.dtype != wanted or array.size != weights.size or not array.flags.c_contiguous:
            return False
    numbers = (step.learn_rate, step.l2, step.decay, step.ema_rate)
    return all(isinstance(number, (int, float)) for number in numbers)
