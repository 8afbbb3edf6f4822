"""Models of other frameworks as part of a Model. Each module here needs one framework, which
it imports when it is used."""

from typing import TYPE_CHECKING

from ..late_names import late_getattr
from .shim import Shim

if TYPE_CHECKING:
    from .jax import JaxShim
    from .keras_models import maybe_handshake_model
    from .keras_registry import keras_model_fns
    from .mxnet import MXNetShim
    from .pytorch import PyTorchShim
    from .pytorch_grad_scaler import PyTorchGradScaler
    from .tensorflow import TensorFlowShim
    from .torchscript import TorchScriptShim

__all__ = [
    "JaxShim",
    "MXNetShim",
    "PyTorchGradScaler",
    "PyTorchShim",
    "Shim",
    "TensorFlowShim",
    "TorchScriptShim",
    "keras_model_fns",
    "maybe_handshake_model",
]

LATE = {
    "JaxShim": ".jax",
    "MXNetShim": ".mxnet",
    "PyTorchGradScaler": ".pytorch_grad_scaler",
    "PyTorchShim": ".pytorch",
    "TensorFlowShim": ".tensorflow",
    "TorchScriptShim": ".torchscript",
    "keras_model_fns": ".keras_registry",
    "maybe_handshake_model": ".keras_models",
}

__getattr__ = late_getattr(__name__, __package__, LATE)
