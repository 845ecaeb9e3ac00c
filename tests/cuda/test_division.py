"""Quotients by a number that is known at launch are exact."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda, types

from fastnn.cuda._core import device_arrays
from fastnn.cuda._runtime import launch
from fastnn.cuda._runtime.compiler import Built, Template
from fastnn.cuda._runtime.ptx.integers import store_number, word_at
from fastnn.cuda.kernels.common.division import divide, magic

MOST, BLOCK = 2**56, 128  # what is divided is less


def kernel() -> Built:
    """(numbers, factors, quotients, n): arrays of int64."""
    write = store_number("int64")

    def quotients(numbers: int, factors: int, found: int, n: int) -> None:
        i = types.int64(cuda.grid(1))
        if i < n:
            at = types.uint64(8 * i)
            write(found + at, divide(word_at(numbers + at), word_at(factors + at)))

    return quotients, (*(types.uint64,) * 3, types.int64)


def quotients(cupy: Any, numbers: list[int], factors: list[int]) -> Any:
    arrays = [cupy.asarray(np.array(each, np.int64)) for each in (numbers, factors, [0] * len(numbers))]
    like, template = device_arrays.describe("numbers", arrays[0]), Template(kernel, tuple)
    Template.all.remove(template)
    grid, addresses = -(-like.size // BLOCK), [array.data.ptr for array in arrays]
    launch.run(template, (), like, grid, BLOCK, *addresses, like.size)
    return arrays[2].get()


def test_exact_quotients(cupy: Any) -> None:
    random, pairs = np.random.default_rng(0), []
    some = [random.integers(1, 2**bits) for bits in random.integers(1, 56, 300)]
    for d in map(int, [1, 2, 3, 7, 49, 2**31 - 1, 2**32 + 1, 3**25, MOST // 2 + 1, MOST - 1, MOST, *some]):
        assert 0 < magic(d) < 2**63
        near = [0, 1, MOST // d - 1, MOST // d, *random.integers(0, MOST // d, 5).tolist()]
        pairs += [(n, d) for q in near for n in (q * d - 1, q * d, q * d + d - 1) if 0 <= n < MOST]
    numbers, divisors = map(list, zip(*pairs, strict=True))
    found = quotients(cupy, numbers, [magic(d) for d in divisors])
    np.testing.assert_array_equal(found, [n // d for n, d in pairs])
