from functools import partial
from typing import Callable, List, Optional, Tuple

from ..initializers import glorot_uniform_init, zero_init
from ..late_names import late_getattr
from ..model import Model
from ..registration import registry
from ..types import Floats1d, Padded
from ..util import get_width
from .containers import padded_like
from .packing import Packing, check_even, check_input, empty_output

# PyTorchLSTM is here by tradition.
__getattr__ = late_getattr(__name__, __package__, {"PyTorchLSTM": ".pytorchlstm"})

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
        check_even(nO)
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
    check_input(Xp, nI)
    packing = Packing(ops, Xp)
    if packing.size == 0:
        return empty_output(model, Xp, nO)
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
        check_even(nO)
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


def _refuse(dY: Padded) -> Padded:
    raise ValueError("LSTM: backprop needs a forward pass with is_train=True")
