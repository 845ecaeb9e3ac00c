"""Which arguments: every float32, or random and hard points; in chunks whose temporaries fit the cache."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastnn._core.typing import Array

from .rows import DType, Row

Random = np.random.Generator

CHUNK = 2**15

# Where kernels change formula, results saturate, underflow or overflow, or a gradient has its kink or root.
_HARD = np.array(
    [0, 0.3, 0.5, 0.55, 0.75, 1, 1.05, 1.19, 1.28, 1.5, 1.76, 2, 3, 6, 9, 12, 13.5, 15, 16.6, 20, 22, 37.5]
    + [39, 40, 87.3, 88.7, 103.3, 104, 120, 708.4, 709.8, 745.1, 770, 2.0**24, 2.0**53, 2.0**63, 1e19, 1e154]
    + [k * np.log(2) / 2 for k in range(1, 8)]
)


def exhaustive(row: Row, direction: str, patterns: int = 2**32) -> Iterator[Array]:
    """Every float32 argument; with fewer than all patterns, those chunks of them that lie evenly apart."""
    offsets = np.arange(CHUNK, dtype=np.uint32)
    for first in range(0, 2**32, CHUNK * (2**32 // patterns)):
        yield _valid((np.uint32(first) + offsets).view(np.float32), direction)


def spread(row: Row, direction: str, count: int, rng: Random) -> Iterator[Array]:
    """A float32 from each of `count` equal cells of bit patterns; a power of two, and at least CHUNK."""
    patterns = _bit_patterns(np.dtype(np.float32), count, rng)
    for x in patterns.reshape(-1, CHUNK):
        yield _valid(x, direction)


def sampled(row: Row, direction: str, dtype: DType, count: int, rng: Random) -> Iterator[Array]:
    """About `count` random and hard arguments; for a function of pairs as many pairs."""
    for _ in range(-(-count // CHUNK)):
        yield _pairs(dtype, direction, rng) if row.paired else _valid(_line(rng, dtype, CHUNK), direction)


def _valid(x: Array, direction: str) -> Array:
    """Drop NaN for a gradient."""
    return x if direction == "forward" else x[x == x]


def _bit_patterns(dtype: DType, count: int, rng: Random) -> Array:
    """One random bit pattern in each of `count` equal cells, in order; count is a power of two."""
    integers = np.dtype(f"u{dtype.itemsize}")
    cell = 2 ** (8 * dtype.itemsize) // count
    starts = np.arange(count, dtype=integers) * integers.type(cell)
    x: Array = (starts + rng.integers(0, cell, count, dtype=integers)).view(dtype)
    return x


def _line(rng: Random, dtype: DType, count: int) -> Array:
    """Random and hard points of the whole line, shuffled; count is a power of two."""
    part, eps = count // 8, np.finfo(dtype).eps
    sign = rng.choice([-1.0, 1.0], part)
    hard = rng.choice(np.concatenate([_HARD, -_HARD]), part)
    near = hard * (1 + eps * rng.integers(-50, 51, part)) + (hard == 0) * eps * rng.standard_normal(part)
    parts = [
        near,
        hard * (1 + 0.01 * rng.standard_normal(part)),
        sign * 2 ** rng.uniform(-60, 10, part),
        sign * 2 ** rng.uniform(-8, 6, part),
        rng.uniform(-750, 750, part),
        rng.uniform(-8, 8, part),
        rng.uniform(-40, 40, part),
    ]
    with np.errstate(over="ignore"):
        x = np.concatenate([_bit_patterns(dtype, part, rng), np.concatenate(parts).astype(dtype)])
    x[:5] = [0.0, -0.0, np.inf, -np.inf, np.nan]
    return rng.permutation(x)


def _pairs(dtype: DType, direction: str, rng: Random) -> Array:
    """Two numbers or NaN for each result, both where no sigmoid and no product on the way is subnormal."""
    x, tiny = _line(rng, dtype, 2 * CHUNK), np.finfo(dtype).tiny
    outside = (np.abs(x) > -0.9 * np.log(tiny)) | (np.abs(x) < tiny**0.25)
    return np.where(outside | ((direction == "backward") & np.isnan(x)), 1, x)
