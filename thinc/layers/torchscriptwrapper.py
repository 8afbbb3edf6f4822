"""Layers made of TorchScript programs. PyTorch is imported when one is constructed."""

from typing import Any, Callable, Optional

from .. import compat
from ..model import Model
from ..shims.pytorch import PyTorchShim
from ..shims.torchscript import TorchScriptShim
from .pytorchwrapper import shim_model


def TorchScriptWrapper_v1(
    torchscript_model: Optional[Any] = None,
    convert_inputs: Optional[Callable] = None,
    convert_outputs: Optional[Callable] = None,
    mixed_precision: bool = False,
    grad_scaler: Optional[Any] = None,
    device: Optional[Any] = None,
) -> Model[Any, Any]:
    """A torch.jit.ScriptModule as a layer: like PyTorchWrapper_v3, but saved with its code.

    torchscript_model: None for an empty layer to load into.
    The other arguments, the input and the output are those of PyTorchWrapper_v3.

    Raises ValueError if torchscript_model is no ScriptModule, ImportError if PyTorch is not
    installed.
    """
    shim = TorchScriptShim(
        torchscript_model,
        mixed_precision=mixed_precision,
        grad_scaler=grad_scaler,
        device=device,
    )
    return shim_model("pytorch_script", shim, convert_inputs, convert_outputs)


def pytorch_to_torchscript_wrapper(model: Model) -> Model[Any, Any]:
    """A PyTorchWrapper compiled to TorchScript, with the same weights and conversions.

    The weights are shared with the original, which stays as it is.

    Raises ValueError if the model has no PyTorchShim of a torch.nn.Module; what
    torch.jit.script says if it cannot compile the module.
    """
    if not model.shims:
        raise ValueError(f'Expected a PyTorch wrapper, but "{model.name}" has no shim')
    shim = model.shims[0]
    if not isinstance(shim, PyTorchShim):
        raise ValueError(
            "Expected PyTorchShim when converting a PyTorch wrapper, got a "
            f"{type(shim).__name__}"
        )
    if shim._model is None:
        raise ValueError("PyTorchShim does not wrap a PyTorch module")
    return TorchScriptWrapper_v1(
        compat.torch.jit.script(shim._model),
        convert_inputs=model.attrs["convert_inputs"],
        convert_outputs=model.attrs["convert_outputs"],
        mixed_precision=shim._mixed_precision,
        grad_scaler=None if shim._has_own_scaler else shim._grad_scaler,
        device=shim.device,
    )
