from functools import lru_cache
from typing import Callable, List, Sequence, Tuple

from ..model import Model
from ..registration import registry
from ..types import Ints2d
from .input_errors import describe

MASK = 0xFFFFFFFF
HASH_CACHE_SIZE = 1 << 16


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
    hashes = [[hash_string(string) for string in strings] for strings in Xs]
    Ys = [ops.asarray(ids, dtype="uint64").reshape((len(ids), 1)) for ids in hashes]
    return Ys, _no_items


def _no_items(dYs: List[Ints2d]) -> list:
    return []


@lru_cache(maxsize=HASH_CACHE_SIZE)
def hash_string(string: str) -> int:
    """The id of a string, in [0, 2^64). Words recur, hence the cache."""
    if not isinstance(string, str):
        raise TypeError(f"expected strings, got {describe(string)}")
    h = murmur3_x86_32(string.encode("utf8"))
    return h if h < 1 << 31 else h | (MASK << 32)


def murmur3_x86_32(data: bytes, seed: int = 0) -> int:
    """MurmurHash3, the variant for 32 bits: an unsigned 32-bit integer.

    Austin Appleby, https://github.com/aappleby/smhasher (public domain).
    """
    h = seed & MASK
    n_blocks, n_rest = divmod(len(data), 4)
    for i in range(n_blocks):
        h ^= _mix_block(int.from_bytes(data[4 * i : 4 * i + 4], "little"))
        h = (_rotate_left(h, 13) * 5 + 0xE6546B64) & MASK
    if n_rest:
        h ^= _mix_block(int.from_bytes(data[-n_rest:], "little"))
    h ^= len(data)
    h ^= h >> 16
    h = (h * 0x85EBCA6B) & MASK
    h ^= h >> 13
    h = (h * 0xC2B2AE35) & MASK
    return h ^ (h >> 16)


def _mix_block(block: int) -> int:
    return (_rotate_left((block * 0xCC9E2D51) & MASK, 15) * 0x1B873593) & MASK


def _rotate_left(x: int, n_bits: int) -> int:
    return ((x << n_bits) | (x >> (32 - n_bits))) & MASK
