"""Ranks that are threads of one process: the stand-ins for those of MPI."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from fastnn._core.ranks import Ranks
from fastnn._core.typing import Array

T = TypeVar("T")


class ThreadRanks(Ranks):
    """One of several threads that add up. `calls` counts how often."""

    def __init__(self, rank: int, given: list[Array | None], barrier: threading.Barrier) -> None:
        super().__init__()
        self.rank, self.size = rank, len(given)
        self.calls = 0
        self._given, self._barrier = given, barrier

    def add_up(self, array: Array) -> None:
        assert array.dtype == np.float64
        assert array.flags.c_contiguous
        self.calls += 1
        self._given[self.rank] = array.copy()
        self._barrier.wait()
        array[...] = sum(self._given)  # type: ignore[arg-type]
        self._barrier.wait()


def thread_ranks(size: int) -> list[ThreadRanks]:
    """Ranks that wait for each other, and fail where one of them does not come."""
    given: list[Array | None] = [None] * size
    barrier = threading.Barrier(size, timeout=30)
    return [ThreadRanks(rank, given, barrier) for rank in range(size)]


def on_each(ranks: list[ThreadRanks], function: Callable[[ThreadRanks], T]) -> list[T]:
    """What the function returns on each rank; the first rank's error where it raises."""
    with ThreadPoolExecutor(len(ranks)) as pool:
        return [done.result() for done in [pool.submit(function, rank) for rank in ranks]]
