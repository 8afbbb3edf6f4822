"""What is known of functions: a dict for callables of all kinds, also those that have no hash."""
from typing import Any, Callable, Dict, Generic, Iterator, Optional, TypeVar

ValueT = TypeVar("ValueT")


class FunctionTable(Generic[ValueT]):
    """Values by function. Functions are told apart by identity, and kept alive for that.

    by_id: the values by id(function), for those who look up often.
    """

    def __init__(self) -> None:
        self.by_id: Dict[int, ValueT] = {}
        self._functions: Dict[int, Callable] = {}

    def __setitem__(self, function: Callable, value: ValueT) -> None:
        self._functions[id(function)] = function
        self.by_id[id(function)] = value

    def __delitem__(self, function: Callable) -> None:
        del self.by_id[id(function)], self._functions[id(function)]

    def __contains__(self, function: Any) -> bool:
        return id(function) in self.by_id

    def __iter__(self) -> Iterator[Callable]:
        return iter(self._functions.values())

    def get(self, function: Any) -> Optional[ValueT]:
        """The value, or None."""
        return self.by_id.get(id(function))
