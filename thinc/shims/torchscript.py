"""TorchScriptShim: a TorchScript program, saved with its code."""

import io
from typing import Any, Dict, Optional

from .. import compat, serialize
from ..interop import assert_pytorch_installed
from ..serialize import DeserializationError
from .pytorch import PyTorchShim, unpack_state
from .pytorch_grad_scaler import PyTorchGradScaler


class TorchScriptShim(PyTorchShim):
    """A torch.jit.ScriptModule as part of a Model.

    Unlike PyTorchShim it saves the whole program, so that it can be loaded into a shim of
    None. That is a program in TorchScript's own language, run by PyTorch when the model
    is called: load it from where you trust.

    The arguments are those of PyTorchShim. Raises ValueError if model is neither a
    ScriptModule nor None, ImportError if PyTorch is not installed.
    """

    def __init__(
        self,
        model: Any,
        config: Optional[Dict[str, Any]] = None,
        optimizer: Any = None,
        mixed_precision: bool = False,
        grad_scaler: Optional[PyTorchGradScaler] = None,
        device: Any = None,
    ):
        assert_pytorch_installed()
        if model is not None and not isinstance(model, compat.torch.jit.ScriptModule):
            raise ValueError(
                "PyTorchScriptShim must be initialized with ScriptModule or None (for "
                f"deserialization), got an object of type {type(model).__name__}. "
                "torch.jit.script(module) makes a ScriptModule."
            )
        super().__init__(model, config, optimizer, mixed_precision, grad_scaler, device)

    def copy(self) -> "TorchScriptShim":
        """A deep copy with an id of its own, without gradients."""
        copied: Any = super().copy()
        if self._model is not None:
            # torch.jit's deep copies are results of the original's weights, not weights.
            pairs = zip(self._model.parameters(), copied._model.parameters(), strict=True)
            for original, parameter in pairs:
                parameter.detach_().requires_grad_(original.requires_grad)
        return copied

    def to_bytes(self) -> bytes:
        """The config and the program with its weights, as msgpack."""
        buffer = io.BytesIO()
        compat.torch.jit.save(self._require_model(), buffer)
        return serialize.pack_value({"config": self.cfg, "model": buffer.getvalue()})

    def from_bytes(self, data: bytes) -> "TorchScriptShim":
        """Load what to_bytes returned, in place of the program so far. Returns self.

        Raises DeserializationError (a ValueError), and changes nothing, if that is not
        possible.
        """
        config, program = unpack_state(data, "model")
        device = self.device
        # TorchScript's archives hold float64, which an MPS device cannot be given directly.
        map_location = "cpu" if device.type == "mps" else device
        try:
            model = compat.torch.jit.load(io.BytesIO(program), map_location=map_location)
        except (RuntimeError, ValueError) as error:
            raise DeserializationError(f"not a TorchScript program: {error}") from error
        self._model = model.to(device)
        self.cfg = config
        self._prepare_scaler(device)
        return self
