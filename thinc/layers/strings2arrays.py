from typing import Callable, List, Sequence, Tuple, cast

from ..model import Model
from ..registration import registry
from ..types import Ints2d


@registry.layers("strings2arrays.v1")
def strings2arrays() -> Model[Sequence[Sequence[str]], List[Ints2d]]:
    """Hash strings to ids.

    Input: a sequence of sequences of strings. Output: for each an array (len, 1) of
    uint64: the 32-bit MurmurHash3 of the UTF-8 bytes, extended to 64 bits by its sign.
    backprop returns []: strings have no gradient. Raises TypeError for what is no string.
    """
    return Model("strings2arrays", forward)


def forward(
    model: Model[Sequence[Sequence[str]], List[Ints2d]],
    Xs: Sequence[Sequence[str]],
    is_train: bool,
) -> Tuple[List[Ints2d], Callable]:
    ops = model.ops
    Ys = [cast(Ints2d, ops.hash_strings(strings).reshape((-1, 1))) for strings in Xs]
    return Ys, _no_items


def _no_items(dYs: List[Ints2d]) -> list:
    return []
