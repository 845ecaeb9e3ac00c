"""Interleaved timing: the contestants of a row take turns in one process, on the same memory and threads.

Machines are noisy, so only ratios within a row mean anything; the copy bandwidth is measured in the same run
for the same reason. Contestants are known only as calls without arguments, or through `Contestant`.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from timeit import Timer
from typing import Any, Protocol

import numpy as np

import fastnn
import fastnn.functional as F
from fastnn._core.typing import Array
from fastnn.bench.data import Buffers, Case, Data, Size
from fastnn.bench.peers import OURS, Call, Contestant, load

# Seconds: idle threads of a library spin for a few milliseconds and would hold a core of the next library.
SETTLE = 5e-3
FEWEST = 4  # samples: another process that takes a thread's core costs one sample tens of milliseconds
WARM_UP = 2e-3  # seconds of untimed calls before a sample of short ones: they wake the library's own threads
COPY_ELEMENTS = 2**25  # 128 MiB of float32, beyond any cache
BUDGET = 2.0  # seconds: a call that would take longer, by its time at the size before, is not made
KNOWN = 2**15  # elements: times of smaller sizes are overhead, from which no larger one can be estimated
TOLERANCE = {
    "float32": 1e-4,
    "float64": 1e-7,
    "float16": 2e-2,
    "bfloat16": 1e-1,
}  # those of half precision: for gradients
# Of means over about 4000 draws with a standard deviation of 1.4: seven times their standard error.
RANDOM_TOLERANCE = 0.15


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
    group: str
    size: str
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


class Clock(Protocol):
    """What `timeit.Timer` and the GPU's events have in common."""

    def timeit(self, number: int) -> float:
        """Seconds that this many calls take."""


def copied(value: Any) -> Array:
    """A NumPy copy of what is in the CPU's memory."""
    return np.asarray(value).copy()


@dataclass(frozen=True)
class Place:
    """The device that arrays are on, and how time is measured there."""

    name: str
    buffers: Callable[[str, int], Buffers]
    timer: Callable[[Call], Clock]
    data: Callable[[Case, Buffers, Size], Data]
    host: Callable[[Any], Array]  # copies an array to NumPy
    on_host: Callable[[Data], Data] | None  # for the reference; None where it is a contestant


CPU = Place("cpu", Buffers, Timer, lambda case, buffers, size: case.data(buffers, size), copied, None)


@dataclass(frozen=True)
class Plan:
    """What a run measures."""

    work: Sequence[tuple[Case, Sequence[Size]]]  # sizes from small to large
    dtypes: Sequence[str]
    threads: Sequence[int]
    out: bool
    seconds: float  # for a cell, shared by its contestants
    place: Place = CPU

    @property
    def cells(self) -> int:
        """Rows that the run will have."""
        return sum(len(sizes) for _, sizes in self.work) * len(self.dtypes) * len(self.threads)

    @property
    def elements(self) -> int:
        """Elements of the largest array."""
        return max(size.elements for case, sizes in self.work for size in (*sizes, *case.checks))


def run(plan: Plan, contestants: Sequence[Contestant]) -> Iterator[Cell]:
    """Measure every cell of the plan; the memory is allocated once per dtype."""
    for dtype in plan.dtypes:
        buffers = plan.place.buffers(dtype, plan.elements)
        for case, sizes in plan.work:
            check(case, contestants, buffers, plan.place)
            able, last = list(contestants), None
            for size in sizes:
                able = [c for c in able if last is None or affordable(c.name, last, size)]
                for last in rows(plan, case, size, buffers, able):
                    yield last


def affordable(name: str, last: Cell, size: Size) -> bool:
    """Whether a call at this size stays within BUDGET, by the time of a smaller one."""
    if name == "fastnn" or name not in last.timings or last.elements < KNOWN:
        return True
    return last.timings[name].minimum * size.elements / last.elements < BUDGET


def rows(
    plan: Plan, case: Case, size: Size, buffers: Buffers, contestants: Sequence[Contestant]
) -> Iterator[Cell]:
    """One cell for each thread count; contestants that do not depend on it are timed in the first alone."""
    data = plan.place.data(case, buffers, size)
    kept: dict[str, Timing] = {}
    for threads in plan.threads:
        calls = {}
        for contestant in contestants:
            if contestant.name in kept or not contestant.set_threads(threads):
                continue
            if call := contestant.prepare(data, out=plan.out):
                calls[contestant.name] = call
        timings = interleave(
            calls, plan.seconds, spinning=threads > 1, sample=case.sample, timer=plan.place.timer
        )
        kept |= {c.name: timings[c.name] for c in contestants if c.serial and c.name in timings}
        ordered = {c.name: (kept | timings)[c.name] for c in contestants if c.name in kept | timings}
        yield Cell(
            case.label,
            case.direction,
            case.group,
            str(data.size),
            data.elements,
            buffers.dtype.name,
            threads,
            data.moved,
            ordered,
        )


def interleave(
    calls: Mapping[str, Call],
    seconds: float,
    *,
    spinning: bool,
    sample: float = Case.sample,
    timer: Callable[[Call], Clock] = Timer,
) -> dict[str, Timing]:
    """Time the calls in turns, in random order, until each has used its share of the time.

    The first call is not counted, unless it alone takes several shares. `spinning`: the libraries' threads
    may spin, so each sample waits for those of the one before. sample: the seconds that one lasts at least.
    """
    share = seconds / max(len(calls), 1)
    order = random.Random(0)
    timers = {name: timer(call) for name, call in calls.items()}
    first = {name: each.timeit(1) for name, each in timers.items()}
    samples = {name: [seconds] if seconds > 5 * share else [] for name, seconds in first.items()}
    pending = [name for name in calls if not samples[name]]
    warm_up = max(WARM_UP, sample / 4)
    batch = {name: batch_size(timers[name], sample) if name in pending else 1 for name in calls}
    spent = dict.fromkeys(calls, 0.0)
    while pending:
        for name in order.sample(pending, len(pending)):
            start = time.perf_counter()
            if spinning:
                time.sleep(SETTLE)
            if first[name] < warm_up:
                timers[name].timeit(math.ceil(warm_up / max(first[name], 1e-7)))
            samples[name].append(timers[name].timeit(batch[name]) / batch[name])
            spent[name] += time.perf_counter() - start
        pending = [name for name in pending if spent[name] < share or len(samples[name]) < FEWEST]
    return {name: Timing(min(s), median(s), len(s), batch[name]) for name, s in samples.items()}


def batch_size(timer: Clock, sample: float) -> int:
    """Return how many calls last as long as a sample together."""
    size, seconds = 1, timer.timeit(1)
    while seconds < sample:
        size = max(2 * size, round(1.1 * size * sample / max(seconds, 1e-7)))
        seconds = timer.timeit(size)
    return size


def check(case: Case, contestants: Sequence[Contestant], buffers: Buffers, place: Place = CPU) -> None:
    """Raise ArithmeticError where one does not compute what the reference, or else the first, does."""
    for size in case.checks:
        data = place.data(case, buffers, size)
        results: dict[str, list[Array]] = {}
        if place.on_host:
            call = load("reference").prepare(place.on_host(data), out=False)
            results["reference (out=False)"] = floats(call()) if call else []
        for contestant in contestants:
            for out in (True, False):
                if call := contestant.prepare(data, out=out):
                    for _ in range(case.calls):
                        results[f"{contestant.name} (out={out})"] = floats(call(), place.host)
        seeded = "reference (out=False)" in results  # it draws the same numbers as fastnn
        expected = results["reference (out=False)"] if seeded else next(iter(results.values()))
        for name, got in results.items():
            drawn = case.random and not (seeded and name.startswith(OURS))
            if not (agree_in_distribution if drawn else agree)(got, expected, data):
                raise ArithmeticError(
                    f"{name} disagrees with the reference on {case.callee} ({case.label}, {size})"
                )


def agree(got: Sequence[Array], expected: Sequence[Array], data: Data) -> bool:
    """Whether these results are the expected ones; by-products may follow them.

    A library that keeps channels last by the order of the axes returns them so.
    """
    tolerance = TOLERANCE[data.out.dtype.name]
    for a, b in zip(got, expected, strict=False):
        same = a if a.shape == b.shape or a.ndim < 3 else np.moveaxis(a, -1, 1)
        if same.shape != b.shape or not np.allclose(same, b, rtol=tolerance, atol=tolerance):
            return False
    return len(got) >= len(expected)


def agree_in_distribution(got: Sequence[Array], expected: Sequence[Array], data: Data) -> bool:
    """Whether mean and deviation of the result are as expected, for a library that draws other numbers."""
    a, b = got[0], expected[0]
    return (
        a.size == b.size
        and abs(a.mean() - b.mean()) < RANDOM_TOLERANCE
        and abs(a.std() - b.std()) < RANDOM_TOLERANCE
    )


def floats(result: Any, host: Callable[[Any], Array] = copied) -> list[Array]:
    """Copy the floating-point results of a call, without what it saved for backward."""
    results = result if isinstance(result, tuple) else (result,)
    copies = [host(r) for r in results if isinstance(r, float) or hasattr(r, "__array__")]
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
    return fastest_copy(threads, 2 * x.nbytes, interleave(calls, seconds, spinning=threads > 1))


def fastest_copy(threads: int, moved: int, timings: Mapping[str, Timing]) -> Copy:
    """Return the fastest of several copies of `moved` bytes, read and written."""
    best = min(timings, key=lambda name: timings[name].minimum)
    return Copy(threads, moved / timings[best].minimum, best)
