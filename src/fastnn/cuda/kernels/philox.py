"""Philox4x32-10 (Salmon, Moraes, Dror and Shaw, 2011): the CPU's bits, from key and index alone."""

from __future__ import annotations

import functools
from typing import Any

from numba import types

from fastnn.cuda._ptx import device, product_64

_u32 = types.uint32
_MULTIPLY_0, _MULTIPLY_1 = 0xD2511F53, 0xCD9E8D57
_WEYL_0, _WEYL_1 = 0x9E3779B9, 0xBB67AE85


@device
def philox(seed: int, offset: int, block: int) -> tuple[int, int, int, int]:
    """Four words of 32 bits for a key (seed, offset) and a block."""
    c0, c1, c2, c3 = _u32(block), _u32(block >> 32), _u32(offset), _u32(offset >> 32)
    k0, k1 = _u32(seed), _u32(seed >> 32)
    for _ in range(10):
        low, high = product_64(_u32(_MULTIPLY_0), c0), product_64(_u32(_MULTIPLY_1), c2)
        c0, c1 = _u32(_u32(high >> 32) ^ c1 ^ k0), _u32(high)
        c2, c3 = _u32(_u32(low >> 32) ^ c3 ^ k1), _u32(low)
        k0, k1 = _u32(k0 + _WEYL_0), _u32(k1 + _WEYL_1)
    return c0, c1, c2, c3


@device
def _draw(words: tuple[int, int, int, int], place: int) -> int:
    """Draw `place`, 0 to 7, of a block: 16 bits."""
    half = place >> 1
    word = words[0] if half == 0 else words[1] if half == 1 else words[2] if half == 2 else words[3]
    return (word >> (16 * (place & 1))) & 0xFFFF


@functools.cache
def keep(width: int) -> Any:
    """keep(seed, offset, index, threshold): bit k tells whether element index + k is kept, for k < width.

    index is a multiple of width, which divides 8.
    """

    @device
    def keep_bits(seed: int, offset: int, index: int, threshold: int) -> int:
        words = philox(seed, offset, index >> 3)
        bits = 0
        for k in range(width):
            if _draw(words, (index & 7) + k) < threshold:
                bits |= 1 << k
        return bits

    return keep_bits
