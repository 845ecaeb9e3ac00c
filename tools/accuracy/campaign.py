"""Runs a row: its points, exact values, columns and measure together. Must not know files or processes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from mpmath import mp
from numpy.typing import NDArray

from fastnn import _kernels
from fastnn._core.typing import Array

from . import columns, points, truth
from .definitions import DEFINITIONS
from .measure import Worst, errors, ulp
from .rows import DIRECTIONS, ROWS, Row

Calls = dict[str, columns.Call]

DTYPES = ("float32", "float64")
POINTS = 10**7  # of a row that is not exhaustive
TRUTH_LIMIT = 0.01  # ULP: what the exact values may be off


@dataclass(frozen=True)
class Task:
    """A row of a table."""

    row: Row
    direction: str
    dtype: str

    @property
    def exhaustive(self) -> bool:
        """Whether all arguments can be tried."""
        return self.dtype == "float32" and not self.row.paired

    @property
    def name(self) -> str:
        """For messages and file names."""
        return f"{self.dtype} {self.direction} {self.row.label}"


@dataclass
class Column:
    """A column's worst: in ULP of the result; where a gradient's terms cancel, in ULP of the larger one."""

    plain: Worst = field(default_factory=Worst)
    cancelling: Worst = field(default_factory=Worst)

    @property
    def bound(self) -> float:
        """What the limit is for."""
        return max(self.plain.bound, self.cancelling.bound)


@dataclass
class Result:
    """What was measured for a task."""

    arguments: int = 0
    columns: dict[str, Column] = field(default_factory=dict)


def tasks(functions: Iterable[str] = ()) -> list[Task]:
    """All tasks, or those of these functions; an unknown one raises ValueError."""
    known, wanted = {row.function for row in ROWS}, set(functions)
    if wanted - known:
        raise ValueError(f"unknown function {min(wanted - known)!r}; known are {', '.join(sorted(known))}")
    rows = [row for row in ROWS if not wanted or row.function in wanted]
    return [Task(row, direction, dtype) for dtype in DTYPES for direction in DIRECTIONS for row in rows]


def calls_of(task: Task, *, peers: bool) -> Calls:
    """The columns: every instruction set, and others to compare with."""
    of = task.row, task.direction, np.dtype(task.dtype)
    return columns.fastnn_calls(*of) | (columns.peer_calls(*of) if peers else {})


def quick(
    task: Task, *, peers: bool = False, count: int = 2**20, seed: int = 0, calls: Calls | None = None
) -> Result:
    """Measure `count` random and hard points, and as many bit patterns; fewer where longdouble is needed.

    calls: other columns than those of `calls_of`.
    """
    rng, dtype = np.random.default_rng(seed), np.dtype(task.dtype)
    hard = count if task.exhaustive else count // 8
    chunks = points.sampled(task.row, task.direction, dtype, hard, rng)
    if task.exhaustive:
        chunks = chain(points.spread(task.row, task.direction, count, rng), chunks)
    return measure(task, chunks, calls_of(task, peers=peers) if calls is None else calls)


def full(task: Task, *, patterns: int = 2**32, seed: int = 0) -> Result:
    """Measure every float32 argument, or else POINTS random and hard ones."""
    rng = np.random.default_rng(seed)
    chunks = (
        points.exhaustive(task.row, task.direction, patterns)
        if task.exhaustive
        else points.sampled(task.row, task.direction, np.dtype(task.dtype), POINTS, rng)
    )
    return measure(task, chunks, calls_of(task, peers=True))


def measure(task: Task, chunks: Iterable[Array], calls: Calls) -> Result:
    """Measure every column on these arguments."""
    row = task.row
    result = Result(columns={name: Column() for name in calls})
    selected = _kernels.isa()
    try:
        with np.errstate(all="ignore"):
            for saved in chunks:
                if saved.size:
                    result.arguments += saved.size // (2 if row.paired else 1)
                    _measure_chunk(task, result, calls, saved)
    finally:
        _kernels.select_isa(selected)
    return result


def _measure_chunk(task: Task, result: Result, calls: Calls, saved: Array) -> None:
    row, dtype = task.row, saved.dtype
    dy = np.ones(saved.size // (2 if row.paired else 1), dtype)
    exact = truth.exact(row, task.direction, saved)
    unit = ulp(exact, dtype)
    larger = row.cancelling(saved) if task.direction == "backward" else None
    near = np.array([], np.intp) if larger is None else np.flatnonzero(larger)
    near_unit = ulp(larger[near].astype(exact.dtype), dtype) if larger is not None else unit[near]
    for name, call in calls.items():
        got, column = call(dy, saved), result.columns[name]
        if near.size:
            error = errors(got[near], exact[near], near_unit)
            column.cancelling.add(error, got[near], exact[near], lambda i: row.inputs_of(saved, near[i]))
        error = errors(got, exact, unit)
        error[near] = 0
        column.plain.add(error, got, exact, lambda i: row.inputs_of(saved, i))


def check_truth(task: Task, count: int = 300, seed: int = 0) -> float:
    """Compare the exact values with mpmath at random points; return the largest error, in ULP of the dtype.

    Raises RuntimeError if one is off by more than a hundredth of that.
    """
    row, direction, dtype = task.row, task.direction, np.dtype(task.dtype)
    saved = _points_to_check(task, count, seed)
    with np.errstate(all="ignore"):
        exact = truth.exact(row, direction, saved)
        larger = row.cancelling(saved) if direction == "backward" else None
        unit = ulp(exact if larger is None else np.maximum(np.abs(exact), larger), dtype)
    definition = DEFINITIONS[row.function][DIRECTIONS.index(direction)]
    worst = 0.0
    with mp.workdps(200):  # x - tanh(x) at 2^-60 takes 60 digits
        parameters = {name: _mpf(value) for name, value in row.arguments(dtype).items()}
        for i in map(int, np.flatnonzero(np.isfinite(exact))):
            value = definition(*map(mp.mpf, row.inputs_of(saved, i)), **parameters)
            if isinstance(value, tuple):  # the gradients for both of a pair
                value = value[i // (exact.size // 2)]
            error = float(abs(truth.from_longdouble(exact[i]) - value) / truth.from_longdouble(unit[i]))
            if not error <= TRUTH_LIMIT:
                at = row.inputs_of(saved, i)
                raise RuntimeError(f"{task.name} of {at}: the exact value is {error:.3g} ULP off")
            worst = max(worst, error)
    return worst


def _mpf(value: Any) -> Any:
    """A parameter in mpmath."""
    return value if isinstance(value, str) else mp.mpf(float(np.ravel(value)[0]))


def _points_to_check(task: Task, count: int, seed: int) -> Array:
    """Finite arguments of moderate size, whose results mpmath can compute with the same digits."""
    rng = np.random.default_rng(seed)
    (x,) = points.sampled(task.row, task.direction, np.dtype(task.dtype), 1, rng)
    if task.row.paired:
        a, b = np.split(x, 2)
        a, b = a[_ordinary(a) & _ordinary(b)], b[_ordinary(a) & _ordinary(b)]
        return np.concatenate([a[:count], b[:count]])
    return x[_ordinary(x)][:count]


def _ordinary(x: Array) -> NDArray[np.bool_]:
    """Finite, and neither tiny nor huge."""
    size = np.abs(x)
    result: NDArray[np.bool_] = (size < 2000) & ((size > 1e-18) | (size == 0))
    return result
