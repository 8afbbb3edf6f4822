"""LSTM over packed sequences: stacked layers, one or two directions.

Hochreiter and Schmidhuber (1997), with forget gates (Gers et al., 2000). At each step

    a = Wx x + bx + Wh h + bh        four groups of nO: forget, input, output, candidate
    f, i, o = sigmoid(a_f, a_i, a_o);  g = tanh(a_g)
    c' = f * c + i * g;  h' = o * tanh(c')

Packed: X (N, nI) holds all rows of time step 0, then those of step 1 and so on;
size_at_t[t] of them belong to step t. Sequences are sorted by decreasing length, so
the sizes never grow, and row r of step t continues row r of step t - 1.

params is one vector: for each layer, for each direction, Wx (4 nO, n), bx (4 nO),
Wh (4 nO, nO), bh (4 nO). n is nI in the first layer, then nO * directions. Direction
0 runs from the first step to the last, direction 1 from the last to the first.

The recurrence of one layer in one direction is a hook, ops._lstm_layer_forward and
ops._lstm_layer_backward. layer_forward and layer_backward are it in array language;
everything around it is a few large matrix products.
"""

import math
from typing import Any, Iterator, List, NamedTuple, Tuple

import numpy

from ..types import Floats1d, Floats2d, Floats3d

GATES = 4


class Weights(NamedTuple):
    """Of one layer and direction: views of the parameter vector, or of its gradient."""

    Wx: Any
    bx: Any
    Wh: Any
    bh: Any


class State(NamedTuple):
    """What the backward pass needs. The arrays start with axes (depth, directions)."""

    Y: Any  # (.., N, nO) outputs
    G: Any  # (.., N, 4 nO) gates after their non-linearities, group after group
    C: Any  # (.., N, nO) cells
    X: Any  # (N, nI)
    H0: Any  # (.., nO)
    C0: Any  # (.., nO)


# ---- all layers --------------------------------------------------------------


def lstm_forward_training(
    ops, params: Floats1d, H0: Floats3d, C0: Floats3d, X: Floats2d, size_at_t
) -> Tuple[Floats2d, State]:
    """(Y, state for backprop_lstm) of an LSTM.

    params: (P,), laid out as the module says; surplus elements are ignored.
    H0, C0: (depth, directions, nO), initial hidden and cell states, the same for all
    sequences. X: (N, nI). size_at_t: integers (T,), not increasing, summing to N.
    Returns Y (N, nO * directions), new memory: float64 if params, H0, C0 and X all
    are, else float32. Without rows the result is empty.
    Raises ValueError for shapes or sizes that do not fit, or too few parameters.
    """
    params, H0, C0, X = _as_floats(ops, params, H0, C0, X)
    sizes = _checked_sizes(ops, size_at_t, X)
    layers = _split(params, X, H0, C0)
    (depth, dirs, nO), N, xp = H0.shape, X.shape[0], ops.xp
    Y = xp.empty((depth, dirs, N, nO), dtype=X.dtype)
    C = xp.empty((depth, dirs, N, nO), dtype=X.dtype)
    G = xp.empty((depth, dirs, N, GATES * nO), dtype=X.dtype)
    inputs = X
    for layer, directions in enumerate(layers):
        for d, w in enumerate(directions):
            gates = G[layer, d]
            gates[...] = w.bx + w.bh
            ops.gemm_add(gates, inputs, w.Wx, trans2=True)
            Y[layer, d], C[layer, d] = ops._lstm_layer_forward(
                gates, w.Wh, H0[layer, d], C0[layer, d], sizes, d == 1
            )
        inputs = _side_by_side(xp, Y[layer])
    # The caller may write into the result, which must not reach the state.
    output = inputs.copy() if dirs == 1 else inputs
    return output, State(Y, G, C, X, H0, C0)


def lstm_forward_inference(
    ops, params: Floats1d, H0: Floats3d, C0: Floats3d, X: Floats2d, size_at_t
) -> Floats2d:
    """Y of lstm_forward_training, keeping nothing."""
    params, H0, C0, X = _as_floats(ops, params, H0, C0, X)
    sizes = _checked_sizes(ops, size_at_t, X)
    Y = X
    for layer, directions in enumerate(_split(params, X, H0, C0)):
        outputs = []
        for d, w in enumerate(directions):
            gates = ops.affine(Y, w.Wx, w.bx + w.bh)
            H, _ = ops._lstm_layer_forward(gates, w.Wh, H0[layer, d], C0[layer, d], sizes, d == 1)
            outputs.append(H)
        Y = _side_by_side(ops.xp, outputs)
    return Y


def backprop_lstm(
    ops, dY: Floats2d, lengths, params: Floats1d, fwd_state: State
) -> Tuple[Floats2d, Floats1d]:
    """Gradients (dX, d_params) by back-propagation through time.

    dY: (N, nO * directions). lengths: the size_at_t of the forward pass. params: as
    then. fwd_state: what lstm_forward_training returned.
    Returns dX (N, nI) and d_params, shaped and laid out like params, both new, in the
    dtype of the forward pass; no argument is changed.
    Raises ValueError if dY, lengths or params do not fit fwd_state.
    """
    if len(fwd_state) != len(State._fields):
        raise ValueError(
            f"backprop_lstm: expected a state of {len(State._fields)} arrays, as "
            f"lstm_forward_training returns it, got {len(fwd_state)}."
        )
    state = State(*fwd_state)
    xp, dtype = ops.xp, state.X.dtype
    depth, dirs, N, nO = state.Y.shape
    dY = xp.ascontiguousarray(dY, dtype=dtype)
    if dY.shape != (N, nO * dirs):
        raise ValueError(f"backprop_lstm: expected dY of shape {(N, nO * dirs)}, got {dY.shape}.")
    sizes = _checked_sizes(ops, lengths, state.X)
    params = xp.ascontiguousarray(params, dtype=dtype)
    layers = _split(params, state.X, state.H0, state.C0)
    d_params = xp.zeros(params.shape, dtype=dtype)
    d_layers = _split(d_params, state.X, state.H0, state.C0)
    dX = dY
    for layer in reversed(range(depth)):
        inputs = _side_by_side(xp, state.Y[layer - 1]) if layer else state.X
        d_outputs, dX = dX, xp.zeros(inputs.shape, dtype=dtype)
        for d in range(dirs):
            w, dw = layers[layer][d], d_layers[layer][d]
            H, h0 = state.Y[layer, d], state.H0[layer, d]
            d_gates, _, _ = ops._lstm_layer_backward(
                xp.ascontiguousarray(d_outputs[:, d * nO : (d + 1) * nO]),
                H,
                state.C[layer, d],
                state.G[layer, d],
                w.Wh,
                h0,
                state.C0[layer, d],
                sizes,
                d == 1,
            )
            ops.gemm_add(dw.Wx, d_gates, inputs, trans1=True)
            ops.gemm_add(dw.Wh, d_gates, _entering(xp, H, h0, sizes, d == 1), trans1=True)
            ops.add_column_sums(dw.bx, d_gates)
            dw.bh[...] = dw.bx
            ops.gemm_add(dX, d_gates, w.Wx)
    return dX, d_params


# ---- one layer, one direction ------------------------------------------------


def layer_forward(
    ops, gates: Floats2d, Wh: Floats2d, h0: Floats1d, c0: Floats1d, size_at_t, backward: bool
) -> Tuple[Floats2d, Floats2d]:
    """Outputs and cells (H, C), each (N, nO), of one layer in one direction.

    gates: (N, 4 nO), on entry X Wx^T + bx + bh; changed in place to the gates after
    their non-linearities. Wh: (4 nO, nO). h0, c0: (nO,). backward: from the last step
    to the first; rows that appear on the way start from h0 and c0.
    """
    xp, nO = ops.xp, Wh.shape[1]
    H = xp.empty((gates.shape[0], nO), dtype=gates.dtype)
    C = xp.empty_like(H)
    for rows, previous in _steps(size_at_t, backward):
        size = rows.stop - rows.start
        a = gates[rows]
        ops.gemm_add(a, _after(xp, H[previous], h0, size), Wh, trans2=True)
        a[:, : 3 * nO] = ops.sigmoid(a[:, : 3 * nO])
        a[:, 3 * nO :] = xp.tanh(a[:, 3 * nO :])
        f, i, o, g = _groups(a, nO)
        C[rows] = f * _after(xp, C[previous], c0, size) + i * g
        H[rows] = o * xp.tanh(C[rows])
    return H, C


def layer_backward(
    ops,
    dY: Floats2d,
    H: Floats2d,
    C: Floats2d,
    gates: Floats2d,
    Wh: Floats2d,
    h0: Floats1d,
    c0: Floats1d,
    size_at_t,
    backward: bool,
) -> Tuple[Floats2d, Floats1d, Floats1d]:
    """(d_gates, dh0, dc0) of layer_forward, whose results and arguments H to backward are.

    d_gates: (N, 4 nO), the gradient before the gates' non-linearities. dh0, dc0: (nO,),
    summed over the sequences. dY: (N, nO), not changed.
    """
    xp, nO = ops.xp, Wh.shape[1]
    d_gates = xp.empty_like(gates)
    # Rows collect what the step after them sends back.
    dH = dY.copy()
    dC = xp.zeros_like(dH)
    dh0, dc0 = xp.zeros_like(h0), xp.zeros_like(c0)
    for rows, previous in reversed(list(_steps(size_at_t, backward))):
        f, i, o, g = _groups(gates[rows], nO)
        c_before = _after(xp, C[previous], c0, rows.stop - rows.start)
        tanh_c = xp.tanh(C[rows])
        dh = dH[rows]
        dc = dC[rows] + dh * o * (1 - tanh_c**2)
        da = d_gates[rows]
        da[:, :nO] = dc * c_before * f * (1 - f)
        da[:, nO : 2 * nO] = dc * g * i * (1 - i)
        da[:, 2 * nO : 3 * nO] = dh * tanh_c * o * (1 - o)
        da[:, 3 * nO :] = dc * i * (1 - g**2)
        dh_before, dc_before = ops.gemm(da, Wh), dc * f
        continuing = previous.stop - previous.start
        dH[previous] += dh_before[:continuing]
        dC[previous] += dc_before[:continuing]
        dh0 += dh_before[continuing:].sum(axis=0)
        dc0 += dc_before[continuing:].sum(axis=0)
    return d_gates, dh0, dc0


def _steps(size_at_t, backward: bool) -> Iterator[Tuple[slice, slice]]:
    """(rows, previous) of each step, in the order of processing.

    previous: the rows of the step before that the first of these rows continue. Any
    other of these rows are the first of their sequence.
    """
    sizes = [int(size) for size in size_at_t]
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + size)
    order = reversed(range(len(sizes))) if backward else range(len(sizes))
    before = slice(0, 0)
    for t in order:
        rows = slice(starts[t], starts[t + 1])
        yield rows, slice(before.start, before.start + min(before.stop - before.start, sizes[t]))
        before = rows


def _after(xp, states: Floats2d, initial: Floats1d, size: int) -> Floats2d:
    """The given states, followed by the initial one for the rows up to `size`."""
    entering = xp.empty((size, initial.shape[0]), dtype=states.dtype)
    entering[: states.shape[0]] = states
    entering[states.shape[0] :] = initial
    return entering


def _groups(gates: Floats2d, nO: int) -> List[Floats2d]:
    return [gates[:, k * nO : (k + 1) * nO] for k in range(GATES)]


# ---- arguments ---------------------------------------------------------------


def _as_floats(ops, *arrays) -> List[Any]:
    """The arrays, contiguous: as float64 if all of them are, else as float32."""
    every_double = all(getattr(a, "dtype", None) == numpy.float64 for a in arrays)
    dtype = numpy.float64 if every_double else numpy.float32
    return [ops.xp.ascontiguousarray(a, dtype=dtype) for a in arrays]


def _checked_sizes(ops, size_at_t, X: Floats2d) -> numpy.ndarray:
    """size_at_t on the host, as int32: Python loops over it."""
    sizes = numpy.asarray(ops._on_host(size_at_t))
    if sizes.ndim != 1 or (sizes.size and sizes.dtype.kind not in "iu"):
        raise ValueError(
            f"lstm: size_at_t must be integers (steps,), got {sizes.dtype} of shape {sizes.shape}."
        )
    sizes = sizes.astype("int64")
    if (sizes < 0).any() or (sizes[1:] > sizes[:-1]).any():
        raise ValueError(f"lstm: size_at_t must not be negative or grow, got {sizes.tolist()}.")
    if X.ndim != 2 or int(sizes.sum()) != X.shape[0]:
        raise ValueError(
            f"lstm: size_at_t sums to {int(sizes.sum())}, but X has shape {X.shape}: expected "
            "(rows of all steps, nI)."
        )
    return numpy.ascontiguousarray(sizes, dtype="int32")


def _split(params: Floats1d, X: Floats2d, H0: Floats3d, C0: Floats3d) -> List[List[Weights]]:
    """params[layer][direction] as views, for the shapes of the other arguments."""
    if H0.ndim != 3 or H0.shape != C0.shape or H0.shape[0] < 1 or H0.shape[1] not in (1, 2):
        raise ValueError(
            f"lstm: H0 and C0 must both have shape (depth, 1 or 2 directions, nO), got "
            f"{H0.shape} and {C0.shape}."
        )
    if params.ndim != 1:
        raise ValueError(f"lstm: params must be a vector, got shape {params.shape}.")
    depth, dirs, nO = H0.shape
    nI = X.shape[1]
    widths = [nI] + [nO * dirs] * (depth - 1)
    expected = sum(dirs * GATES * nO * (width + nO + 2) for width in widths)
    if params.shape[0] < expected:
        raise ValueError(
            f"lstm: depth {depth}, {dirs} direction(s), nI={nI} and nO={nO} need {expected} "
            f"parameters, got {params.shape[0]}."
        )
    rest = params

    def take(*shape):
        nonlocal rest
        size = math.prod(shape)
        block, rest = rest[:size].reshape(shape), rest[size:]
        return block

    rows = GATES * nO
    return [
        [Weights(take(rows, width), take(rows), take(rows, nO), take(rows)) for _ in range(dirs)]
        for width in widths
    ]


def _side_by_side(xp, outputs) -> Floats2d:
    """One output for each direction (N, nO) -> (N, nO * directions)."""
    return outputs[0] if len(outputs) == 1 else xp.concatenate(list(outputs), axis=1)


def _entering(xp, H: Floats2d, h0: Floats1d, size_at_t, backward: bool) -> Floats2d:
    """The hidden state that each row started its step with."""
    if H.shape[0] == 0:
        return H
    ends = numpy.cumsum(size_at_t)
    starts = ends - size_at_t
    none = numpy.zeros(1, dtype="int64")
    if backward:
        start_before = ends
        size_before = numpy.concatenate((size_at_t[1:], none))
    else:
        start_before = numpy.concatenate((none, starts[:-1]))
        size_before = numpy.concatenate((none, size_at_t[:-1]))
    place = numpy.arange(H.shape[0]) - numpy.repeat(starts, size_at_t)
    continues = place < numpy.repeat(size_before, size_at_t)
    previous = numpy.repeat(start_before, size_at_t) + place
    states = xp.concatenate((H, h0[None]))  # h0 being row N
    return states[xp.asarray(numpy.where(continues, previous, H.shape[0]))]
