from typing import Any, Tuple

class CBlas:
    __slots__: Tuple[()] = ()
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
