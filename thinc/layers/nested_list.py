"""A list of lists as one list, and back."""
from typing import Any, List, Sequence


def flatten_nested(nested: Sequence[Sequence[Any]]) -> List[Any]:
    """All inner items in one list."""
    return [item for inner in nested for item in inner]


def cut(flat: Any, lengths: Sequence[int]) -> List[Any]:
    """A list, or an array along its first axis, in pieces of these lengths."""
    pieces = []
    start = 0
    for length in lengths:
        pieces.append(flat[start : start + length])
        start += length
    return pieces
