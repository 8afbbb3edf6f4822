"""MurmurHash3 for 32 bits, written for any array module and for strings.

Austin Appleby's algorithm, https://github.com/aappleby/smhasher (public domain).
"""

from typing import Any

MASK = 0xFFFFFFFF


def murmur3_of_keys(xp: Any, keys: Any, seed: int) -> Any:
    """MurmurHash3 (x86, 32 bits) of the eight little-endian bytes of each key.

    keys: uint64 of any shape; returns uint32 of that shape.
    """
    u32 = xp.uint32
    h = xp.full(keys.shape, seed, dtype="uint32")
    for shift in (0, 32):
        k = (keys >> xp.uint64(shift)).astype("uint32") * u32(0xCC9E2D51)
        k = (k << u32(15) | k >> u32(17)) * u32(0x1B873593)
        h = h ^ k
        h = (h << u32(13) | h >> u32(19)) * u32(5) + u32(0xE6546B64)
    h = h ^ u32(8)
    h = (h ^ h >> u32(16)) * u32(0x85EBCA6B)
    h = (h ^ h >> u32(13)) * u32(0xC2B2AE35)
    return h ^ h >> u32(16)


def murmur3_of_bytes(data: bytes, seed: int = 0) -> int:
    """MurmurHash3 (x86, 32 bits) of any bytes: an unsigned integer of 32 bits."""
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
