"""From how many elements on threads pay: the numbers of `serial_elements` in csrc/activation/elementwise.c.

Prints the ratio of one thread's time to two threads', for functions of each cost class. Set `serial_elements`
to 1024 for all classes first, run `python tools/serial_threshold.py` on an idle machine, and take the size
from which on the ratio stays well above 1.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable
from typing import Any

import numpy as np

import fastnn
import fastnn.functional as F

FUNCTIONS: dict[str, tuple[Callable[..., Any], ...]] = {
    "cheap": (F.relu, F.square),
    "medium": (F.elu, F.sigmoid),
    "costly": (F.softplus, F.gelu),
}
SIZES = [2**k * step for k in range(12, 18) for step in (2, 3)]
CALLS, REPEATS = 50, 40


def seconds(function: Callable[..., Any], size: int, threads: int) -> float:
    """The shortest time of CALLS calls."""
    x = np.random.default_rng(0).standard_normal(size, np.float32)
    y = np.empty_like(x)
    fastnn.set_num_threads(threads)
    return min(timeit.repeat(lambda: function(x, out=y), number=CALLS, repeat=REPEATS))


def main() -> None:
    """Print a line for each function."""
    for cost, functions in FUNCTIONS.items():
        for function in functions:
            cells = [f"{n}: {seconds(function, n, 1) / seconds(function, n, 2):.2f}" for n in SIZES]
            print(f"{cost:7} {getattr(function, '__name__', ''):9}", "  ".join(cells))


if __name__ == "__main__":
    main()
