from typing import Dict

from ..types import DeviceTypes
from .ops import Ops

ACTIVATIONS: Dict[str, int]

class NumpyOps(Ops):
    use_blis: bool
    def __init__(
        self, device_type: DeviceTypes = "cpu", device_id: int = -1, *, use_blis: bool = True
    ) -> None: ...
