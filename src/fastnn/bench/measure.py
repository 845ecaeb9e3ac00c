"""Interleaved timing: the contestants of a row take turns in one process, on the same memory and threads.

Machines are noisy, so only ratios within a row mean anything; the copy bandwidth is measured in the same run
for the same reason. Knows contestants only as calls without arguments, or through `Contestant`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from timeit import Timer
from typing import Any

import numpy as np

import fastnn
import fastnn.functional as F
from fastnn.bench.cases import Array, Buffers, Case
from fastnn.bench.peers import Call, Contestant

SAMPLE = 200e-6  # seconds that a sample lasts at least: far above the clock's resolution
SETTLE = (
    5e-3  # idle threads of another library spin for a few milliseconds and would hold a core of the next one
)
WARM_UP = 5e-3  # a shorter call is preceded by an untimed one, which wakes its own library's threads
COPY_ELEMENTS = 2**25  # 128 MiB of float32, beyond any cache
CHECK_ELEMENTS = 4096
TOLERANCE = {"float32": 1e-4, "float64": 1e-7}
RANDOM_TOLERANCE = 2.0  # slopes drawn from [1/8, 1/3]: the larger is within 2 times the smaller of it


@dataclass(frozen=True)
class Timing:
    """Seconds for one call."""

    minimum: float
    median: float
    samples: int
    batch: int  # calls in a sample


@dataclass(frozen=True)
class Cell:
    """One row of the table: a case at one size, dtype and thread count."""

    label: str
    direction: str
    elements: int
    dtype: str
    threads: int
    moved: int  # bytes
    timings: dict[str, Timing]


@dataclass(frozen=True)
class Copy:
    """The best copy found at this thread count; read and written bytes both count."""

    threads: int
    bytes_per_second: float
    by: str


@dataclass(frozen=True)
class Plan:
    """What a run measures."""

    cases: Sequence[Case]
    sizes: Sequence[int]
    dtypes: Sequence[str]
    threads: Sequence[int]
    out: bool
    seconds: float  # for a cell, shared by its contestants

    @property
    def cells(self) -> int:
        """Rows that the run will have."""
        return len(self.cases) * len(self.sizes) * len(self.dtypes) * len(self.threads)


def run(plan: Plan, contestants: Sequence[Contestant]) -> Iterator[Cell]:
    """Measure every cell of the plan; the memory is allocated once per dtype."""
    for dtype in plan.dtypes:
        buffers = Buffers(dtype, max(*plan.sizes, CHECK_ELEMENTS))
        for case in plan.cases:
            check(case, contestants, buffers)
            for size in plan.sizes:
                yield from rows(plan, case, size, buffers, contestants)


def rows(
    plan: Plan, case: Case, size: int, buffers: Buffers, contestants: Sequence[Contestant]
) -> Iterator[Cell]:
    """One cell for each thread count; what does not depend on it is timed in the first."""
    data = buffers.data(case, size)
    kept: dict[str, Timing] = {}
    for threads in plan.threads:
        calls = {}
        for contestant in contestants:
            if contestant.name in kept or not contestant.set_threads(threads):
                continue
            if call := contestant.prepare(data, out=plan.out):
                calls[contestant.name] = call
        timings = interleave(calls, plan.seconds, spinning=threads > 1)
        kept |= {c.name: timings[c.name] for c in contestants if c.serial and c.name in timings}
        ordered = {c.name: (kept | timings)[c.name] for c in contestants if c.name in kept | timings}
        yield Cell(
            case.label, case.direction, data.elements, buffers.dtype.name, threads, data.moved, ordered
        )


def interleave(calls: Mapping[str, Call], seconds: float, *, spinning: bool) -> dict[str, Timing]:
    """Time the calls in turns, in random order, until each has had its share of the time.

    The first call is not counted, unless it alone takes several shares. `spinning`: the libraries' threads
    may spin, so each sample waits for those of the one before.
    """
    share = seconds / max(len(calls), 1)
    order = random.Random(0)
    timers = {name: Timer(call) for name, call in calls.items()}
    first = {name: timer.timeit(1) for name, timer in timers.items()}
    samples = {name: [seconds] if seconds > 5 * share else [] for name, seconds in first.items()}
    pending = [name for name in calls if not samples[name]]
    batch = {name: batch_size(timers[name]) if name in pending else 1 for name in calls}
    spent = dict.fromkeys(calls, 0.0)
    while pending:
        for name in order.sample(pending, len(pending)):
            start = time.perf_counter()
            if spinning:
                time.sleep(SETTLE)
            if first[name] < WARM_UP:
                timers[name].timeit(1)
            samples[name].append(timers[name].timeit(batch[name]) / batch[name])
            spent[name] += time.perf_counter() - start
        pending = [name for name in pending if spent[name] < share or len(samples[name]) < 2]
    return {name: Timing(min(s), median(s), len(s), batch[name]) for name, s in samples.items()}


def batch_size(timer: Timer) -> int:
    """Return how many calls last SAMPLE together."""
    size, seconds = 1, timer.timeit(1)
    while seconds < SAMPLE:
        size = max(2 * size, round(1.1 * size * SAMPLE / max(seconds, 1e-7)))
        seconds = timer.timeit(size)
    return size


def check(case: Case, contestants: Sequence[Contestant], buffers: Buffers) -> None:
    """Raise ArithmeticError where a contestant does not compute what the reference does."""
    data = buffers.data(case, CHECK_ELEMENTS)
    results: dict[str, list[Array]] = {}
    for contestant in contestants:
        for out in (True, False):
            if call := contestant.prepare(data, out=out):
                results[f"{contestant.name} (out={out})"] = floats(call())
    expected = results["reference (out=False)"]
    tolerance = RANDOM_TOLERANCE if case.random else TOLERANCE[buffers.dtype.name]
    for name, got in results.items():
        for a, b in zip(got, expected, strict=True):
            if a.shape != b.shape or not np.allclose(a, b, rtol=tolerance, atol=tolerance):
                raise ArithmeticError(f"{name} disagrees with the reference on {case.callee} ({case.label})")


def floats(result: Any) -> list[Array]:
    """Copy the floating-point arrays that a call returned; what it saved for backward is its own affair."""
    results = result if isinstance(result, tuple) else (result,)
    copies = [np.asarray(r).copy() for r in results if hasattr(r, "__array__")]
    return [a for a in copies if a.dtype.kind == "f"]


def copy_bandwidth(threads: int, seconds: float = 0.5) -> Copy:
    """Measure the fastest copy of COPY_ELEMENTS float32: NumPy's (one thread) or fastnn's identity."""
    x = np.random.default_rng(0).standard_normal(COPY_ELEMENTS, np.float32)
    y = np.ones_like(x)
    fastnn.set_num_threads(threads)
    calls: dict[str, Callable[[], Any]] = {
        "numpy.copyto": partial(np.copyto, y, x),
        "fastnn.functional.identity": partial(F.identity, x, out=y),
    }
    timings = interleave(calls, seconds, spinning=threads > 1)
    best = min(timings, key=lambda name: timings[name].minimum)
    return Copy(threads, 2 * x.nbytes / timings[best].minimum, best)
