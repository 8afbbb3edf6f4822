from functools import partial
from typing import Any, Callable, List, Optional, Tuple

from ..initializers import glorot_uniform_init, zero_init
from ..model import Model
from ..registration import registry
from ..types import Floats1d, Floats2d, Floats3d, Padded
from ..util import get_width
from .containers import padded_like
from .input_errors import describe

GATES = 4  # forget, input, output, candidate


@registry.layers("LSTM.v1")
def LSTM(
    nO: Optional[int] = None,
    nI: Optional[int] = None,
    *,
    bi: bool = False,
    depth: int = 1,
    dropout: float = 0.0,
    init_W: Optional[Callable] = None,
    init_b: Optional[Callable] = None,
) -> Model[Padded, Padded]:
    """Long short-term memory, one or both directions, one layer or a stack.

    a = Wx x + bx + Wh h + bh, in four gates; f, i, o = sigmoid(a_f, a_i, a_o);
    c' = f c + i tanh(a_c); h' = o tanh(c'). The output is h'. From Hochreiter and
    Schmidhuber, 1997, with the forget gate of Gers, Schmidhuber and Cummins, 2000.
    Input: Padded of width nI; output: Padded of width nO, of which each direction gives
    half if `bi`. For lists, Ragged or arrays, wrap the layer in `with_padded`.
    Parameters: `LSTM`, all weights in one vector: layer by layer, direction by
    direction, Wx (4, nH, inputs), bx (4, nH), Wh (4, nH, nH), bh (4, nH), the gates
    in the order above; each matrix by init_W (Glorot uniform by default), each bias
    by init_b (zeros). `HC0` (2, depth, directions, nH), zeros: the hidden and cell states
    that every sequence starts from. They are constants; no gradient reaches them.
    dropout applies to the weights, while training: one mask for the whole batch.
    backprop needs a forward pass with is_train=True, and raises ValueError otherwise.
    Raises ValueError for an odd nO with bi, depth below 1, or an input whose width is not
    nI; TypeError if the input is no Padded.
    """
    if depth < 1:
        raise ValueError(f"LSTM expects a depth of at least 1, got {depth}")
    if bi and nO is not None:
        _check_even(nO)
    return Model(
        "lstm",
        forward,
        dims={"nO": nO, "nI": nI, "depth": depth, "dirs": 1 + int(bi)},
        attrs={"registry_name": "LSTM.v1", "dropout_rate": dropout},
        params={"LSTM": None, "HC0": None},
        init=partial(
            init,
            init_W=glorot_uniform_init if init_W is None else init_W,
            init_b=zero_init if init_b is None else init_b,
        ),
    )


def forward(model: Model[Padded, Padded], Xp: Padded, is_train: bool) -> Tuple[Padded, Callable]:
    ops = model.ops
    weights = model.get_param("LSTM")
    H0, C0 = model.get_param("HC0")
    nI, nO = model.get_dim("nI"), model.get_dim("nO")
    _check_input(Xp, nI)
    packing = _Packing(ops, Xp)
    if packing.size == 0:
        return _empty(model, Xp, nO)
    X = packing.pack(Xp.data)
    if not is_train:
        Y = ops.lstm_forward_inference(weights, H0, C0, X, Xp.size_at_t)
        return padded_like(Xp, packing.unpack(Y)), _refuse
    rate = model.attrs["dropout_rate"]
    mask = ops.get_dropout_mask(weights.shape, rate) if rate else None
    used = weights if mask is None else weights * mask
    Y, state = ops.lstm_forward_training(used, H0, C0, X, Xp.size_at_t)

    def backprop(dYp: Padded) -> Padded:
        dY = packing.pack(dYp.data)
        dX, d_weights = ops.backprop_lstm(dY, dYp.size_at_t, used, state)
        model.inc_grad("LSTM", d_weights if mask is None else d_weights * mask)
        return padded_like(dYp, packing.unpack(dX))

    return padded_like(Xp, packing.unpack(Y)), backprop


def init(
    model: Model[Padded, Padded],
    X: Optional[Padded] = None,
    Y: Optional[Padded] = None,
    *,
    init_W: Callable,
    init_b: Callable,
) -> None:
    if X is not None:
        model.set_dim("nI", get_width(X))
    if Y is not None:
        model.set_dim("nO", get_width(Y))
    ops = model.ops
    depth, dirs = model.get_dim("depth"), model.get_dim("dirs")
    nO = model.get_dim("nO")
    if dirs == 2:
        _check_even(nO)
    nH = nO // dirs
    parts: List[Floats1d] = []
    for i in range(depth):
        inputs = model.get_dim("nI") if i == 0 else nH * dirs
        for _ in range(dirs):
            for width in (inputs, nH):
                parts.extend(init_W(ops, (nH, width)).reshape(-1) for _ in range(GATES))
                parts.extend(init_b(ops, (nH,)) for _ in range(GATES))
    model.set_param("LSTM", ops.xp.concatenate(parts))
    model.set_param("HC0", ops.alloc4f(2, depth, dirs, nH))


class _Packing:
    """The way between (time, batch, width) and the real rows alone, step by step.

    Columns are sorted by decreasing length, so the real rows of step t are the
    first size_at_t[t].
    """

    def __init__(self, ops: Any, Xp: Padded):
        xp = ops.xp
        self.steps, self.batch = Xp.data.shape[:2]
        sizes = Xp.size_at_t
        if sizes.shape != (self.steps,) or Xp.lengths.shape != (self.batch,):
            raise ValueError(
                f"expected size_at_t of shape ({self.steps},) and lengths of shape "
                f"({self.batch},), as data of shape {Xp.data.shape} has steps and sequences, "
                f"got {sizes.shape} and {Xp.lengths.shape}"
            )
        real = xp.arange(self.batch) < sizes.reshape((-1, 1))
        self.rows = xp.flatnonzero(real)
        self.size = self.rows.shape[0]
        if int(Xp.lengths.sum()) != self.size:
            raise ValueError(
                f"lengths sum to {int(Xp.lengths.sum())}, but size_at_t to {self.size}"
            )
        self.is_full = self.size == self.steps * self.batch
        self.ops = ops

    def pack(self, data: Any) -> Any:
        """The real rows: (size, width)."""
        flat = data.reshape((self.steps * self.batch, data.shape[2]))
        return self.ops.as_contig(flat) if self.is_full else flat[self.rows]

    def unpack(self, rows: Floats2d) -> Floats3d:
        """(steps, batch, width), with zeros where nothing is real."""
        shape = (self.steps, self.batch, rows.shape[1])
        if self.is_full:
            return rows.reshape(shape)
        data = self.ops.alloc((self.steps * self.batch, rows.shape[1]), dtype=rows.dtype)
        data[self.rows] = rows
        return data.reshape(shape)


def _empty(model: Model, Xp: Padded, nO: int) -> Tuple[Padded, Callable]:
    """The result without any time step: nothing to compute, nothing to learn."""
    shape = Xp.data.shape

    def backprop(dYp: Padded) -> Padded:
        return padded_like(dYp, model.ops.alloc(shape, dtype=dYp.data.dtype))

    return padded_like(Xp, model.ops.alloc(shape[:2] + (nO,), dtype=Xp.data.dtype)), backprop


def _refuse(dY: Padded) -> Padded:
    raise ValueError("LSTM: backprop needs a forward pass with is_train=True")


def _check_even(nO: int) -> None:
    if nO % 2:
        raise ValueError(f"a bidirectional LSTM expects an even nO, half for each way, got {nO}")


def _check_input(Xp: Any, nI: int) -> None:
    if not isinstance(Xp, Padded):
        raise TypeError(f"expected a Padded of width nI={nI}, got {describe(Xp)}")
    data = Xp.data
    if data.ndim != 3:
        raise ValueError(f"expected data of shape (steps, batch, {nI}), got {describe(data)}")
    if data.shape[2] != nI and data.shape[0] * data.shape[1]:
        raise ValueError(f"input width {data.shape[2]} does not match nI={nI}")
