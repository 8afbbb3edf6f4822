"""MXNet's wrapper: the names only. MXNet is retired and does not run with NumPy 2."""

from typing import Any, Callable, Optional, Tuple, Type

from ..interop import assert_mxnet_installed
from ..model import Model
from ..registration import registry


@registry.layers("MXNetWrapper.v1")
def MXNetWrapper(
    mxnet_model: Any,
    convert_inputs: Optional[Callable] = None,
    convert_outputs: Optional[Callable] = None,
    model_class: Type[Model] = Model,
    model_name: str = "mxnet",
) -> Model[Any, Any]:
    """Raises ImportError: MXNet is retired upstream. The message says what to use instead."""
    assert_mxnet_installed()


def forward(model: Model, X: Any, is_train: bool) -> Tuple[Any, Callable]:
    """Raises ImportError, as everything here."""
    assert_mxnet_installed()


def convert_mxnet_default_inputs(model: Model, X: Any, is_train: bool) -> Any:
    """Raises ImportError, as everything here."""
    assert_mxnet_installed()


def convert_mxnet_default_outputs(model: Model, X_Ymxnet: Any, is_train: bool) -> Any:
    """Raises ImportError, as everything here."""
    assert_mxnet_installed()
