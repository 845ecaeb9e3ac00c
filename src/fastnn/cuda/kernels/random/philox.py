"""Philox4x32-10 (Salmon, Moraes, Dror and Shaw, 2011): the CPU's bits, from key and index alone."""

from __future__ import annotations

from typing import Any

from numba import types

from fastnn.cuda._runtime.ptx.arithmetic import product_64
from fastnn.cuda._runtime.ptx.functions import device, made_once

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
def keep_bits(seed: int, offset: int, block: int, threshold: int) -> int:
    """Bit k tells whether draw k of a block is below threshold, 0 to 65536.

    A draw is compared where it stands in its word, or as the upper half of a word.
    """
    words, last, bits = philox(seed, offset, block), _u32((threshold << 16) - 1), 0
    for k in range(4):
        if _u32(words[k] << 16) <= last:
            bits |= 1 << (2 * k)
        if words[k] <= last:
            bits |= 2 << (2 * k)
    return bits if threshold > 0 else 0


@device
def kept(seed: int, offset: int, index: int, threshold: int) -> int:
    """Whether the draw of element `index` is below threshold: 0 or 1."""
    words, half = philox(seed, offset, index >> 3), (index >> 1) & 3
    word = words[0] if half == 0 else words[1] if half == 1 else words[2] if half == 2 else words[3]
    return 1 if ((word >> _u32(16 * (index & 1))) & _u32(0xFFFF)) < threshold else 0


@made_once
def keep(width: int) -> Any:
    """keep(seed, offset, index, threshold): bit k tells whether element index + k is kept, for k < width.

    index is a multiple of width, which divides 8.
    """
    mask = (1 << width) - 1

    @device
    def keep_some(seed: int, offset: int, index: int, threshold: int) -> int:
        return (keep_bits(seed, offset, index >> 3, threshold) >> (index & 7)) & mask

    return kept if width == 1 else keep_some
