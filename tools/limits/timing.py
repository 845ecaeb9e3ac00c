"""The time of a call: the fastest of samples that are long enough for the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from timeit import Timer
from typing import Any

WARM = 5e-3  # seconds untimed
TIMED = 30e-3  # seconds of all samples
SAMPLE = 1e-3  # seconds of one
FEWEST = 4  # samples


def best(call: Callable[[], Any]) -> float:
    """Seconds of a call."""
    timer = Timer(call)
    end, once = time.perf_counter() + WARM, timer.timeit(1)
    while time.perf_counter() < end:
        once = min(once, timer.timeit(1))
    number = max(1, round(SAMPLE / once))
    samples: list[float] = []
    end = time.perf_counter() + TIMED
    while time.perf_counter() < end or len(samples) < FEWEST:
        samples.append(timer.timeit(number) / number)
    return min(samples)
