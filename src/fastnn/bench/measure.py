"""Timing in blocks: the contestants of a row take turns in one process, on the same memory and threads.

Machines are noisy, so only ratios within a row mean anything; copies are measured in the same run for the
same reason. Contestants are known only as calls without arguments, or through `Contestant`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from timeit import Timer
from typing import Any, Protocol

import numpy as np

import fastnn
import fastnn.functional as F
from fastnn._core.typing import Array
from fastnn.bench.data import NUMPY_OFFSET, Buffers, Case, Data, Size, empty
from fastnn.bench.peers import OURS, Call, Contestant, load

# A block is one contestant alone. Its first seconds are not timed: on several threads, those of the library
# before it spin for some milliseconds, and would hold a core of this one.
UNTIMED = 30e-3  # seconds, on several threads
WARM_UP = 2e-3  # seconds, on one thread
TIMED = 10e-3  # seconds of a block's samples, which are several where one call takes longer
BLOCKS = 2  # of each contestant, at least: another process may have a core in one of them
SAMPLES = 2  # of a block, at least

COPY_ELEMENTS = tuple(2**power for power in range(5, 26, 2))  # of float32: from the first cache to memory
# Times the median on fewer threads, above which a contestant has stalled and is timed again. OpenMP's threads
# wait for each other: a program which takes one of their cores costs every call a turn of the scheduler.
STALL = 4.0
REPEATS = 3
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
    stalled: bool = False  # its threads waited for a core that another program held


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
    """The best copy found of this size, at this thread count; read and written bytes both count."""

    threads: int
    moved: int  # bytes
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
    offset: int | None  # bytes after a cache line at which arrays begin; None where the device decides
    timer: Callable[[Call], Clock]
    data: Callable[[Case, Buffers, Size], Data]
    host: Callable[[Any], Array]  # copies an array to NumPy
    on_host: Callable[[Data], Data] | None  # for the reference; None where it is a contestant


def cpu(offset: int) -> Place:
    """Return the CPU, with arrays that begin this many bytes after a cache line."""
    make = partial(Buffers, offset=offset)
    return Place(
        "cpu", make, offset, Timer, lambda case, buffers, size: case.data(buffers, size), copied, None
    )


CPU = cpu(NUMPY_OFFSET)
ALIGNED = cpu(0)


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
    fewer: dict[str, Timing] = {}
    for threads in plan.threads:
        calls = {}
        for contestant in contestants:
            if contestant.name in kept or not contestant.set_threads(threads):
                continue
            if call := contestant.prepare(data, out=plan.out):
                calls[contestant.name] = call
        timed = partial(
            in_turns,
            seconds=plan.seconds,
            untimed=untimed(threads),
            sample=case.sample,
            timer=plan.place.timer,
        )
        timings = again_if_stalled(calls, timed, fewer)
        fewer = fewer or timings
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


def again_if_stalled(
    calls: Mapping[str, Call],
    measure: Callable[[Mapping[str, Call]], dict[str, Timing]],
    fewer: Mapping[str, Timing],
) -> dict[str, Timing]:
    """Measure the calls, and those that stalled again; marked are those that always did.

    fewer: what they took on fewer threads, as far as that is known.
    """
    timings: dict[str, Timing] = {}
    pending = list(calls)
    for _ in range(1 + REPEATS):
        timings |= measure({name: calls[name] for name in pending})
        known = [name for name in pending if name in fewer]
        pending = [name for name in known if timings[name].median > STALL * fewer[name].median]
        if not pending:
            break
    return timings | {name: replace(timings[name], stalled=True) for name in pending}


def untimed(threads: int) -> float:
    """Seconds at the beginning of a block that are not timed, on this many threads."""
    return UNTIMED if threads > 1 else WARM_UP


def in_turns(
    calls: Mapping[str, Call],
    seconds: float,
    *,
    untimed: float,
    sample: float = Case.sample,
    timer: Callable[[Call], Clock] = Timer,
) -> dict[str, Timing]:
    """Time the calls in blocks, in turns and in random order, until each has used its share of the time.

    The first call is not counted, unless it alone takes several shares. untimed: the seconds at the beginning
    of a block that are not timed. sample: the seconds that a sample lasts at least.
    """
    share = seconds / max(len(calls), 1)
    order = random.Random(0)
    timers = {name: timer(call) for name, call in calls.items()}
    first = {name: each.timeit(1) for name, each in timers.items()}
    samples = {name: [seconds] if seconds > 5 * share else [] for name, seconds in first.items()}
    pending = [name for name in calls if not samples[name]]
    batch = dict.fromkeys(calls, 1)
    spent = dict.fromkeys(calls, 0.0)
    blocks = 0
    while pending:
        for name in order.sample(pending, len(pending)):
            start = time.perf_counter()
            while time.perf_counter() - start < untimed:
                timers[name].timeit(1)
            if blocks == 0:
                batch[name] = batch_size(timers[name], sample)
            samples[name] += block(timers[name], batch[name])
            spent[name] += time.perf_counter() - start
        blocks += 1
        pending = [name for name in pending if spent[name] < share or blocks < BLOCKS]
    return {name: Timing(min(s), median(s), len(s), batch[name]) for name, s in samples.items()}


def block(timer: Clock, batch: int) -> list[float]:
    """Return the seconds of a call in each of some samples, one right after the other."""
    start = time.perf_counter()
    samples: list[float] = []
    while len(samples) < SAMPLES or time.perf_counter() - start < TIMED:
        samples.append(timer.timeit(batch) / batch)
    return samples


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


def copy_bandwidths(threads: int, offset: int, seconds: float = 0.1) -> Iterator[Copy]:
    """Measure the fastest copy of each of COPY_ELEMENTS: NumPy's (one thread) or fastnn's identity."""
    x, y = (empty(max(COPY_ELEMENTS), np.dtype(np.float32), offset) for _ in range(2))
    np.random.default_rng(0).standard_normal(out=x, dtype=np.float32)
    y.fill(1)
    fastnn.set_num_threads(threads)
    for elements in COPY_ELEMENTS:
        source, target = x[:elements], y[:elements]
        calls: dict[str, Callable[[], Any]] = {
            "numpy.copyto": partial(np.copyto, target, source),
            "fastnn.functional.identity": partial(F.identity, source, out=target),
        }
        timings = in_turns(calls, seconds, untimed=untimed(threads))
        yield fastest_copy(threads, 2 * source.nbytes, timings)


def fastest_copy(threads: int, moved: int, timings: Mapping[str, Timing]) -> Copy:
    """Return the fastest of several copies of `moved` bytes, read and written."""
    best = min(timings, key=lambda name: timings[name].minimum)
    return Copy(threads, moved, moved / timings[best].minimum, best)
