"""Predictions and training steps as CUDA graphs: one launch in place of hundreds.

A small model on a fast GPU spends its time on launching kernels from Python. For a model
that does the same for every batch of one shape, the launches can be recorded once and
repeated by a single call:

    predict = CapturedPredict(model, row_buckets=(32, 128, 512))
    Y = predict(X)                                  # as model.predict(X)

    update = CapturedUpdate(model, lambda Y, T: Y - T)
    Y = update(X, T)                                # forward, gradient, backward
    model.finish_update(optimizer)                  # as ever: one launch for all parameters

What can be captured, and what not:

- Input: an array, a tuple of arrays, or a Ragged. The first axis is the batch. A Ragged is
  captured for its very lengths.
- With row_buckets, a batch is filled up with zeros to the next bucket. So each row has to be
  computed from itself alone: no windows, no attention, no Ragged. Without, every number of
  rows is a graph of its own.
- The model must not look at values on the host, nor send anything from there: no lists, no
  Padded, no uniqued, no with_cpu, no wrapped models of other frameworks. It is checked when
  the graph is captured, and NotCapturable says what was in the way.
- What Python does in the model is done at the capture only. Dropout draws anew for each
  launch all the same. Parameters and gradients that have been exchanged for other arrays,
  and other dropout rates, are noticed, and lead to a new capture; other attrs are not.
- Each graph keeps memory of its own, as much as the step takes.

Where the model is not on a GPU, or a batch is larger than the largest bucket, the same calls
just run it.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Callable, Dict, Generic, List, NamedTuple, Optional, Sequence, Tuple

import numpy

from .backends.captured_blas import WORKSPACE_BYTES
from .backends.captures import (
    NotCapturable,
    capturing,
    counting_dropout,
    refuse_if_capturing,
)
from .backends.device_facts import facts_of, without_checks
from .model import InT, Model, OutT
from .types import Padded, Ragged
from .util import convert_recursive

__all__ = ["CapturedPredict", "CapturedUpdate", "NotCapturable"]

# Runs before the capture: kernels compile, and gradients come into being, in the first.
WARM_UPS = 2


class _Graph(NamedTuple):
    """A captured graph, the arrays that it reads and writes, and the memory it works in."""

    graph: Any
    inputs: List[Any]
    output: Any
    memory: Any
    weights: Any = None
    step: Any = None


class _Captured(Generic[InT, OutT]):
    """What prediction and update share: buckets, keys, the capture itself."""

    def __init__(
        self,
        model: Model[InT, OutT],
        *,
        row_buckets: Optional[Sequence[int]] = None,
        max_graphs: int = 16,
    ):
        """row_buckets: the numbers of rows to capture; None: whatever comes.

        max_graphs: the oldest is given up when there would be more.
        Raises ValueError for a bucket or a number below 1.
        """
        buckets = None if row_buckets is None else sorted(set(map(int, row_buckets)))
        if buckets is not None and (not buckets or buckets[0] < 1):
            raise ValueError(f"row_buckets must be numbers of at least 1, got {row_buckets}.")
        if max_graphs < 1:
            raise ValueError(f"max_graphs must be at least 1, got {max_graphs}.")
        self.model = model
        self.row_buckets = buckets
        self.max_graphs = max_graphs
        self._graphs: Dict[Tuple, _Graph] = {}

    @property
    def n_graphs(self) -> int:
        """How many graphs are kept."""
        return len(self._graphs)

    def clear(self) -> None:
        """Give up all graphs and their memory."""
        self._graphs.clear()

    def _bucket(self, rows: int) -> Optional[int]:
        """The number of rows to compute; None if the batch is not to be captured."""
        if rows == 0 or self.model.ops.name != "cupy":
            return None
        if self.row_buckets is None:
            return rows
        return next((bucket for bucket in self.row_buckets if bucket >= rows), None)

    def _state(self, with_gradients: bool) -> Tuple:
        """What of the model is written down in a graph: addresses and dropout rates."""
        state: List[Any] = []
        for node in self.model.walk():
            for name in node.param_names:
                if node.has_param(name):
                    state.append(node.get_param(name).data.ptr)
                if with_gradients:
                    gradient = node.maybe_get_grad(name)
                    state.append(0 if gradient is None else gradient.data.ptr)
            state.append(node.attrs.get("dropout_rate"))
        return tuple(state)

    def _kinds(self, arrays: List[Any]) -> Tuple:
        """dtypes and shapes; of these not the rows, where a bucket decides them."""
        start = 0 if self.row_buckets is None else 1
        return tuple((array.shape[start:], array.dtype.str) for array in arrays)

    def _keep(self, key: Tuple, graph: _Graph) -> None:
        while len(self._graphs) >= self.max_graphs:
            del self._graphs[next(iter(self._graphs))]
        self._graphs[key] = graph


class CapturedPredict(_Captured[InT, OutT]):
    """model.predict, by CUDA graphs. See the module for what can be captured."""

    def __call__(self, X: InT) -> OutT:
        """The output: new memory, as from model.predict. Raises NotCapturable."""
        arrays, restore, kind = _dissect(X)
        rows = arrays[0].shape[0] if arrays else 0
        bucket = self._bucket(rows)
        if bucket is None:
            return self.model.predict(X)
        _require_rows(arrays, kind, self.row_buckets)
        arrays = [self.model.ops.asarray(array) for array in arrays]
        key = (bucket, kind, self._kinds(arrays), self._state(False))
        xp, room = self.model.ops.xp, None if self.row_buckets is None else bucket
        if key not in self._graphs:
            self._keep(key, _capture(xp, arrays, room, lambda X: self.model.predict(restore(X))))
        return _run(xp, self._graphs[key], arrays, rows, bucket)


class CapturedUpdate(_Captured[InT, OutT]):
    """Forward pass, gradient of a loss and backward pass, by CUDA graphs.

    get_gradient: called as get_gradient(Y, truths) at the capture, with arrays on the GPU;
        returns the gradient of each row by itself, like Y: (Y - truths), and not divided
        by the number of rows, which is done here.
    mean: divide the gradient by the number of rows.
    """

    def __init__(
        self,
        model: Model[InT, OutT],
        get_gradient: Callable[[OutT, Any], OutT],
        *,
        mean: bool = True,
        row_buckets: Optional[Sequence[int]] = None,
        max_graphs: int = 16,
    ):
        super().__init__(model, row_buckets=row_buckets, max_graphs=max_graphs)
        self.get_gradient = get_gradient
        self.mean = mean

    def __call__(self, X: InT, truths: Any) -> OutT:
        """Add to the gradients of the parameters. Returns the output Y: new memory.

        truths: an array or a tuple of arrays with a row for each row of the output.
        Raises NotCapturable.
        """
        arrays, restore, kind = _dissect(X)
        targets, restore_truths, truths_kind = _dissect(truths)
        rows = arrays[0].shape[0] if arrays else 0
        bucket = self._bucket(rows)
        ops = self.model.ops
        if bucket is None:
            return self._update(X, truths)
        _require_rows([*arrays, *(targets if self.row_buckets else [])], kind, self.row_buckets)
        n_inputs = len(arrays)
        arrays = [ops.asarray(array) for array in (*arrays, *targets)]

        key = (bucket, kind, truths_kind, self._kinds(arrays))
        graph = self._graphs.get((*key, self._state(True)))
        if graph is None:
            # Of the rows that fill the bucket up the weight is zero.
            weights = ops.xp.zeros((bucket,), dtype="float32")
            step = ops.xp.zeros((1,), dtype="int64")

            def work(inputs: List[Any]) -> Any:
                ops.xp.add(step, 1, out=step)
                Y, backprop = self.model.begin_update(restore(inputs[:n_inputs]))
                dY = self.get_gradient(Y, restore_truths(inputs[n_inputs:]))
                backprop(_map_arrays(lambda part: self._weighted(part, weights), dY))
                return Y

            with _as_before(self.model), counting_dropout(step):
                room = None if self.row_buckets is None else bucket
                graph = _capture(ops.xp, arrays, room, work)
            graph = graph._replace(weights=weights, step=step)
            # The capture may have brought gradients into being.
            self._keep((*key, self._state(True)), graph)
        graph.weights[:rows] = 1.0 / rows if self.mean else 1.0
        if rows < bucket:
            graph.weights[rows:] = 0.0
        return _run(ops.xp, graph, arrays, rows, bucket)

    def _weighted(self, dY: Any, weights: Any) -> Any:
        """dY with each row multiplied by its weight."""
        if dY.shape[0] != weights.shape[0]:
            return self._averaged(dY)
        weights = weights.reshape((-1,) + (1,) * (dY.ndim - 1))
        return dY * weights.astype(dY.dtype, copy=False)

    def _averaged(self, dY: Any) -> Any:
        return dY / dY.dtype.type(max(dY.shape[0], 1)) if self.mean else dY

    def _update(self, X: Any, truths: Any) -> Any:
        """The same without a graph."""
        Y, backprop = self.model.begin_update(X)
        backprop(_map_arrays(self._averaged, self.get_gradient(Y, truths)))
        return Y


# ---- the capture ------------------------------------------------------------------------


def _capture(
    xp: Any, arrays: List[Any], rows: Optional[int], work: Callable[[List[Any]], Any]
) -> _Graph:
    """Run work(inputs) until it can be recorded, then record it.

    rows: that each input gets; None: as many as it has.
    """
    cuda = xp.cuda
    stream, pool = cuda.Stream(non_blocking=True), cuda.MemoryPool()
    stream.wait_event(cuda.get_current_stream().record())
    with ExitStack() as stack:
        stack.enter_context(stream)
        stack.enter_context(cuda.using_allocator(pool.malloc))
        stack.enter_context(without_checks())
        inputs = [_room_for(xp, array, rows) for array in arrays]
        for _ in range(WARM_UPS):
            work(inputs)
        workspace = xp.empty((WORKSPACE_BYTES,), dtype="uint8")
        stack.enter_context(capturing(workspace))
        stack.callback(_allow_uploads, xp)
        xp.cuda.set_pinned_memory_allocator(_no_upload_while_capturing(xp))
        stream.begin_capture()
        try:
            output = work(inputs)
        except Exception as error:
            _give_up(stream)
            # It ran without a capture just before.
            raise NotCapturable(
                f"This model cannot be captured as a CUDA graph: {error}. thinc.cuda_graphs says "
                "what can be."
            ) from error
        graph = stream.end_capture()
    cuda.get_current_stream().wait_event(stream.record())
    return _Graph(graph, inputs, output, (pool, workspace))


def _no_upload_while_capturing(xp: Any) -> Callable[[int], Any]:
    """An allocator of the memory through which CuPy sends arrays to the device.

    What is sent while a graph is captured would be sent again by every launch, from memory
    that has long been used for something else.
    """
    allocate = xp.get_default_pinned_memory_pool().malloc

    def allocate_unless_capturing(size: int) -> Any:
        refuse_if_capturing("an array is sent from the host")  # by this thread
        return allocate(size)

    return allocate_unless_capturing


def _allow_uploads(xp: Any) -> None:
    xp.cuda.set_pinned_memory_allocator(xp.get_default_pinned_memory_pool().malloc)


def _give_up(stream: Any) -> None:
    """End a capture that has failed; CUDA says once more that it has."""
    try:
        stream.end_capture()
    except Exception:
        pass


def _room_for(xp: Any, array: Any, rows: Optional[int]) -> Any:
    """Where a graph finds an input: with so many rows, zeros at the end."""
    if rows is None or array.shape[0] == rows:
        return array.copy()
    room = xp.zeros((rows, *array.shape[1:]), dtype=array.dtype)
    room[: array.shape[0]] = array
    return room


def _run(xp: Any, graph: _Graph, arrays: List[Any], rows: int, bucket: int) -> Any:
    """Launch a graph with new inputs on the current stream. Returns a copy of its output."""
    for place, array in zip(graph.inputs, arrays, strict=False):
        if array.shape[0] == place.shape[0]:
            place[...] = array
        else:
            place[: array.shape[0]] = array
            place[array.shape[0] :] = 0
    graph.graph.launch(xp.cuda.get_current_stream())

    def real_rows(array: Any) -> Any:
        return (array if rows == bucket or array.shape[0] != bucket else array[:rows]).copy()

    return _map_arrays(real_rows, graph.output)


class _as_before:
    """The gradients are after the block as they were before; those that are new are zero."""

    def __init__(self, model: Model):
        self.model = model

    def __enter__(self) -> None:
        self.before = {
            (node.id, name): node.get_grad(name).copy()
            for node in self.model.walk()
            for name in node.grad_names
        }

    def __exit__(self, *error: Any) -> None:
        for node in self.model.walk():
            for name in node.grad_names:
                before = self.before.get((node.id, name))
                node.get_grad(name)[...] = 0 if before is None else before


# ---- inputs and outputs --------------------------------------------------------------------


def _dissect(X: Any) -> Tuple[List[Any], Callable[[List[Any]], Any], Tuple]:
    """The arrays of an input, how to put it together again, and what tells it from others."""
    if isinstance(X, Ragged):
        lengths, shape = X.lengths, X.data_shape
        # The lengths stay what they are at the capture, hence the host's own copy.
        host = facts_of(lengths).host if hasattr(lengths, "get") else numpy.asarray(lengths)
        if host is None:
            host = lengths.get()

        def restore(arrays: List[Any]) -> Ragged:
            ragged = Ragged(arrays[0], lengths)
            ragged.data_shape = shape
            return ragged

        return [X.data], restore, ("ragged", host.tobytes(), shape)
    if isinstance(X, tuple) and all(hasattr(item, "dtype") for item in X):
        return list(X), tuple, ("tuple", len(X))
    if hasattr(X, "dtype"):
        return [X], lambda arrays: arrays[0], ("array",)
    raise NotCapturable(
        "CUDA graphs take an array, a tuple of arrays or a Ragged, got "
        f"{type(X).__name__}: run the model without a graph."
    )


def _require_rows(arrays: List[Any], kind: Tuple, row_buckets: Optional[List[int]]) -> None:
    if row_buckets is None:
        return
    if kind[0] == "ragged":
        raise NotCapturable("A Ragged cannot be filled up to a bucket: leave row_buckets out.")
    rows = [array.shape[0] for array in arrays]
    if len(set(rows)) > 1:
        raise ValueError(f"All arrays need the same number of rows to be captured, got {rows}.")


def _map_arrays(function: Callable[[Any], Any], data: Any) -> Any:
    def convert(value: Any) -> Any:
        if isinstance(value, Ragged):
            changed = Ragged(function(value.data), value.lengths)
            changed.data_shape = value.data_shape
            return changed
        return function(value)

    def is_match(value: Any) -> bool:
        return isinstance(value, Ragged) or (
            hasattr(value, "dtype") and not isinstance(value, Padded)
        )

    return convert_recursive(is_match, convert, data)
