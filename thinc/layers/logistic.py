from ..model import Model
from ..registration import registry
from ..types import FloatsXdT
from .sigmoid_activation import forward


@registry.layers("Logistic.v1")
def Logistic() -> Model[FloatsXdT, FloatsXdT]:
    """The older name of `sigmoid_activation`, kept for saved models and configs."""
    return Model("logistic", forward)
