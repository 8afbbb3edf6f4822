from typing import Any, Callable, Sequence

class PrepackedAffine:
    def __init__(
        self, f: int, W: Any, b: Any, params: Sequence[float], otherwise: Callable
    ) -> None: ...
    def __call__(self, X: Any) -> Any: ...

class PrepackedMaxout:
    def __init__(self, W: Any, b: Any, otherwise: Callable) -> None: ...
    def __call__(self, X: Any) -> Any: ...

class EmbeddedMaxout:
    def __init__(
        self,
        products: Any,
        bias: Any,
        sizes: Sequence[int],
        columns: Sequence[int],
        seeds: Sequence[int],
        otherwise: Callable,
    ) -> None: ...
    def __call__(self, ids: Any) -> Any: ...
