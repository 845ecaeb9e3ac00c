"""Quotients by a number that is known at launch are exact."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda
from test_emulator_numba import run

from fastnn.cuda import _compile
from fastnn.cuda.kernels.division import divide, magic

MOST = 2**56  # what is divided is less


def quotients(numbers: list[int], factors: list[int]) -> list[int]:
    """By a kernel."""
    n, m = np.array(numbers, np.int64), np.array(factors, np.int64)
    found = np.empty_like(n)

    def kernel(x: Any, factor: Any, y: Any) -> None:
        i = cuda.grid(1)
        if i < len(x):
            y[i] = divide(x[i], factor[i])

    with _compile._asked_for((9, 0)):
        run(kernel, -(-len(numbers) // 128), 128, n, m, found)
    return [int(q) for q in found]


def test_exact_quotients() -> None:
    random, pairs = np.random.default_rng(0), []
    some = [random.integers(1, 2**bits) for bits in random.integers(1, 56, 300)]
    for d in map(int, [1, 2, 3, 7, 49, 2**31 - 1, 2**32 + 1, 3**25, MOST // 2 + 1, MOST - 1, MOST, *some]):
        assert 0 < magic(d) < 2**63
        near = [0, 1, MOST // d - 1, MOST // d, *random.integers(0, MOST // d, 5).tolist()]
        pairs += [(n, d) for q in near for n in (q * d - 1, q * d, q * d + d - 1) if 0 <= n < MOST]
    numbers, divisors = map(list, zip(*pairs, strict=True))
    assert quotients(numbers, [magic(d) for d in divisors]) == [n // d for n, d in pairs]
