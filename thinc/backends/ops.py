"""Ops: every operation on arrays that thinc needs, on any array module."""

from typing import Any

import numpy

from ..types import DeviceTypes
from .ops_activations import ActivationMethods
from .ops_arrays import ArrayMethods
from .ops_batches import BatchMethods
from .ops_products import ProductMethods
from .ops_sequences import SequenceMethods
from .ops_tables import TableMethods
from .ops_training import TrainingMethods


class Ops(
    ArrayMethods,
    BatchMethods,
    SequenceMethods,
    ProductMethods,
    ActivationMethods,
    TableMethods,
    TrainingMethods,
):
    """The contract of a backend, and its reference implementation.

    Every method works through the array module `xp` alone, so a subclass that
    sets `name` and `xp` is a complete backend; it then overrides what it can do
    faster. Rules for all methods:

    - float16, float32 and float64 stay what they are; there is no silent
      detour through another precision.
    - Arguments are not changed unless the method says so (inplace=True, out=,
      the optimizer's updates).
    - Arrays of any memory layout are accepted, and empty ones are normal input.
    - A wrong value or shape is a ValueError, an index outside its table an
      IndexError, a wrong kind of argument a TypeError.
    """

    name: str = "base"
    xp: Any = numpy

    def __init__(
        self, device_type: DeviceTypes = "cpu", device_id: int = -1, **kwargs: Any
    ) -> None:
        """device_type and device_id are labels. Further arguments are ignored."""
        self.device_type = device_type
        self.device_id = device_id

    def cblas(self) -> Any:
        """A new CBlas: the C functions behind the products of this backend, for Cython code.

        Raises NotImplementedError if the backend has none.
        """
        raise NotImplementedError(f"{type(self).__name__} does not provide C BLAS functions")
