from typing import Any, Callable, Tuple

from .. import compat
from ..backends import Ops
from ..interop import assert_pytorch_installed
from ..model import Model
from ..registration import registry
from ..types import ArgsKwargs, Padded
from ..util import torch2xp, xp2torch
from .containers import padded_like
from .noop import noop
from .packing import Packing, check_even, check_input, empty_output
from .pytorchwrapper import PyTorchRNNWrapper, forward, torch_device
from .with_padded import with_padded


@registry.layers("PyTorchLSTM.v1")
def PyTorchLSTM(
    nO: int, nI: int, *, bi: bool = False, depth: int = 1, dropout: float = 0.0
) -> Model[Padded, Padded]:
    """PyTorch's long short-term memory, one or both directions, one layer or a stack.

    Input: any batch of sequences that with_padded takes, of width nI; the output is of the
    same kind and of width nO, of which each direction gives half if `bi`. Padding is not
    computed: the output of a sequence does not depend on the others in its batch.
    dropout: between the layers of a stack, while training. depth 0 gives noop().
    Raises ImportError if PyTorch is not installed; ValueError for a negative depth, an odd
    nO with bi, or an input whose width is not nI; TypeError if nO or nI is no int.
    """
    if depth == 0:
        return noop()
    assert_pytorch_installed()
    for name, size in (("nO", nO), ("nI", nI)):
        if not isinstance(size, int):
            raise TypeError(f"PyTorchLSTM expects an int as {name}, got {size!r}")
    if depth < 0:
        raise ValueError(f"PyTorchLSTM expects a depth of at least 0, got {depth}")
    if bi:
        check_even(nO)
    module = compat.torch.nn.LSTM(
        nI, nO // 2 if bi else nO, depth, bidirectional=bi, dropout=dropout
    )
    model = PyTorchRNNWrapper(module, convert_packed_inputs, convert_packed_outputs)
    model.replace_callbacks(forward_lstm)
    model.set_dim("nO", nO)
    model.set_dim("nI", nI)
    return with_padded(model)


def forward_lstm(
    model: Model[Padded, Padded], Xp: Padded, is_train: bool
) -> Tuple[Padded, Callable]:
    check_input(Xp, model.get_dim("nI"))
    if not Xp.data.size or not int(Xp.lengths.sum()):
        return empty_output(model, Xp, model.get_dim("nO"))
    return forward(model, Xp, is_train)


def convert_packed_inputs(
    model: Model, Xp: Padded, is_train: bool
) -> Tuple[ArgsKwargs, Callable[[ArgsKwargs], Padded]]:
    """The real rows of a Padded as torch's PackedSequence."""
    torch = compat.torch
    packing = Packing(model.ops, Xp)
    data = xp2torch(
        packing.pack(Xp.data), requires_grad=is_train, device=torch_device(model)
    )
    # How many sequences each step has; torch wants that on the host.
    sizes = torch.tensor(_steps(model.ops, Xp), dtype=torch.int64)
    packed = torch.nn.utils.rnn.PackedSequence(data, sizes)

    def get_dX(gradients: ArgsKwargs) -> Padded:
        return padded_like(Xp, packing.unpack(torch2xp(gradients.args[0][0])))

    return ArgsKwargs(args=(packed,), kwargs={}), get_dX


def _steps(ops: Ops, Xp: Padded) -> Any:
    sizes = ops.to_numpy(Xp.size_at_t)
    return sizes[sizes > 0].tolist()


def convert_packed_outputs(
    model: Model, inputs_outputs: Tuple[Padded, Any], is_train: bool
) -> Tuple[Padded, Callable[[Padded], ArgsKwargs]]:
    Xp, (packed, _) = inputs_outputs
    packing = Packing(model.ops, Xp)

    def get_dYtorch(dYp: Padded) -> ArgsKwargs:
        gradient = xp2torch(packing.pack(dYp.data), device=packed.data.device)
        return ArgsKwargs(args=((packed.data,),), kwargs={"grad_tensors": gradient})

    return padded_like(Xp, packing.unpack(torch2xp(packed.data))), get_dYtorch
