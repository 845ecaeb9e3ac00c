"""Philox4x32-10, the counter-based random generator behind rrelu and dropout, in NumPy.

It knows words and counters only: what a draw is used for is the caller's business.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Key = tuple[int, int] | tuple[int, int, int]  # seed, offset and row

_ROUNDS = 10
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_KEY_STEP = np.array([0x9E3779B9, 0xBB67AE85], np.uint32)  # the golden ratio and sqrt(3), fractions


def _words(value: int) -> tuple[int, int]:
    """Split a 64-bit integer into its low and high 32-bit words."""
    return value & 0xFFFFFFFF, (value >> 32) & 0xFFFFFFFF


def _product(multiplier: np.uint64, word: NDArray[np.uint32]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the high and the low word of a 32 x 32 bit product."""
    product = multiplier * word.astype(np.uint64)
    return (product >> np.uint64(32)).astype(np.uint32), product.astype(np.uint32)


def philox4x32(counter: ArrayLike, key: ArrayLike) -> NDArray[np.uint32]:
    """Encrypt counters (..., 4) with keys (..., 2), all words uint32: four random words (..., 4) for each."""
    word = np.moveaxis(np.asarray(counter, np.uint32), -1, 0)
    key = np.asarray(key, np.uint32)
    for _ in range(_ROUNDS):
        high0, low0 = _product(_MULTIPLIERS[0], word[0])
        high1, low1 = _product(_MULTIPLIERS[1], word[2])
        word = np.stack([high1 ^ word[1] ^ key[..., 0], low1, high0 ^ word[3] ^ key[..., 1], low0])
        key = key + _KEY_STEP
    return np.moveaxis(word, 0, -1)


def random_draws(n: int, seed: int, offset: int, first: int = 0) -> NDArray[np.uint16]:
    """Return n 16-bit draws from number `first` on.

    Draw i is number i % 8 of the block i // 8, the low half of word 0 first. The key is (seed low, seed
    high), the counter (block low, block high, offset low, offset high).
    """
    skip = first % 8
    block = np.arange(-(-(skip + n) // 8), dtype=np.uint64) + np.uint64(first // 8)
    counter = np.empty((block.size, 4), np.uint32)
    counter[:, 0], counter[:, 1] = block & np.uint64(0xFFFFFFFF), block >> np.uint64(32)
    counter[:, 2:] = _words(offset)
    words = np.ascontiguousarray(philox4x32(counter, _words(seed)), "<u4")
    return words.view("<u2").astype(np.uint16).reshape(-1)[skip : skip + n]


def draws_of_samples(samples: int, each: int, key: Key) -> NDArray[np.uint16]:
    """Return the draws of these samples, `each` of a sample, which begin with sample `row` of a batch.

    The key is (seed, offset) or (seed, offset, row).
    """
    seed, offset, row = (*key, 0)[:3]
    return random_draws(samples * each, seed, offset, row * each)
