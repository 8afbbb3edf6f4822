from typing import Callable, Tuple

from ..model import Model
from ..registration import registry
from ..types import ListXd, Ragged
from .input_errors import describe
from .sequence_conversion import RaggedAsList


@registry.layers("ragged2list.v1")
def ragged2list() -> Model[Ragged, ListXd]:
    """The sequences of a Ragged as a list of arrays: views of its data.

    Raises TypeError if the input is not a Ragged, ValueError if the lengths do not sum
    to the rows.
    """
    return Model("ragged2list", forward)


def forward(
    model: Model[Ragged, ListXd], Xr: Ragged, is_train: bool
) -> Tuple[ListXd, Callable[[ListXd], Ragged]]:
    if not isinstance(Xr, Ragged):
        raise TypeError(f"expected a Ragged, got {describe(Xr)}")
    conversion = RaggedAsList(model.ops, Xr)
    return conversion.enter(Xr), conversion.leave_gradient
