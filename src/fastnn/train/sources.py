"""Where the batches of fit and evaluate come from: samples that can be had by their numbers.

Batches that come in a stream are in stream.py, and what users give in data_forms.py. Knows nothing of models.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from fastnn._core.stored import Stored
from fastnn._core.typing import Array
from fastnn.random import Key
from fastnn.train.batches import cut, grouped, shuffled, steps_per_epoch, take
from fastnn.train.nested import Nested, as_arrays, leaves, length, mapped

Batch = tuple[Nested, Nested]  # x, y


class Plan(NamedTuple):
    """How an epoch is cut: samples of a batch, batches of a step, and samples of a block that is shuffled."""

    batch_size: int
    accumulate: int
    shuffle_block: int | None


class Part(NamedTuple):
    """A batch of an epoch, or a rank's rows of it."""

    x: Nested
    y: Nested
    number: int  # of the batch in its epoch
    share: float  # that the whole batch has of the samples of its step
    begins: bool  # its step
    ends: bool
    rows: slice  # of the whole batch; where there are none, x and y have one, for its shape
    mark: int | None = None  # a checksum of a whole batch that all ranks are to have alike

    def cut(self, rows: slice) -> Part:
        """Return a part with these rows of a whole batch."""
        return self._replace(**dict(zip("xy", rows_of(self[:2], rows), strict=True)), rows=rows)

    def batch(self) -> Batch:
        """Return x and y, with as many rows as `rows` has."""
        return self[:2] if self.rows.start < self.rows.stop else _without_rows(self[:2])


#: Which of so many rows are to be read: of several ranks each one has a function of its own.
Share = Callable[[int], slice]


def all_rows(samples: int) -> slice:
    """Return the share of a process that is alone."""
    return slice(0, samples)


def filled(rows: slice) -> slice:
    """Return `rows`, or the first row instead of none: shapes and dtypes are known of a row alone."""
    return rows if rows.start < rows.stop else slice(0, 1)


def rows_of(batch: Batch, rows: slice) -> Batch:
    """Return these rows of a batch, or for none the first one."""
    return mapped(itemgetter(filled(rows)), batch)  # type: ignore[no-any-return]


def _without_rows(batch: Batch) -> Batch:
    return mapped(itemgetter(slice(0, 0)), batch)  # type: ignore[no-any-return]


class Source(ABC):
    """Where batches come from."""

    samples: int | None = None  # None: nobody knows
    y: Nested = None  # all targets, where they are known without reading samples
    reads_ahead = True  # whether a thread may read batches before their turn, which pays for slow ones

    @abstractmethod
    def epoch(self, plan: Plan, order: Key, epoch: int, step: int, share: Share = all_rows) -> Iterator[Part]:
        """Yield the batches of an epoch (from 1) from a step (from 0) on; the order follows from `order`.

        share: which rows of each batch are wanted.
        """

    @abstractmethod
    def in_order(self, size: int, share: Share = all_rows) -> Iterator[Batch]:
        """Yield all samples once, `size` at a time where that can be chosen; of each batch `share`."""

    @abstractmethod
    def steps(self, plan: Plan) -> int | None:
        """Return how many steps an epoch has; None where nobody knows."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed epoch needs besides its order and its step."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027 - only streams have one
        """Take what `state_dict` returned."""


class Rows(Source):
    """Samples that can be had by their numbers, in any order."""

    @abstractmethod
    def take(self, rows: Array) -> Batch:
        """Return the samples of these numbers."""

    @abstractmethod
    def part(self, rows: slice) -> Batch:
        """Return the samples from one number to another."""

    def __len__(self) -> int:
        assert self.samples is not None
        return self.samples

    def epoch(self, plan: Plan, order: Key, epoch: int, step: int, share: Share = all_rows) -> Iterator[Part]:
        """Yield batches of shuffled samples."""
        batches = cut(shuffled(len(self), order, plan.shuffle_block), plan.batch_size)
        for place, group in enumerate(grouped(batches, plan.accumulate)[step:], start=step):
            samples = sum(map(len, group))
            for index, batch in enumerate(group):
                number, rows = place * plan.accumulate + index, share(len(batch))
                x, y = self.take(batch[filled(rows)])
                ends = index == len(group) - 1
                yield Part(x, y, number, len(batch) / samples, index == 0, ends, rows)

    def in_order(self, size: int, share: Share = all_rows) -> Iterator[Batch]:
        """Yield the samples by number."""
        for start in range(0, len(self), size):
            rows = share(min(size, len(self) - start))
            if rows.start < rows.stop:
                yield self.part(slice(start + rows.start, start + rows.stop))
            else:
                yield _without_rows(self.part(slice(start, start + 1)))

    def steps(self, plan: Plan) -> int:
        """Return how many steps an epoch has."""
        return steps_per_epoch(len(self), plan.batch_size, plan.accumulate)


class Arrays(Rows):
    """(x, y): arrays in memory or in files, or tuples of them."""

    def __init__(self, x: Nested, y: Nested) -> None:
        self.x, self.y, self.samples = x, y, length(x)
        self.reads_ahead = any(isinstance(array, Stored) for array in leaves((x, y)))

    def take(self, rows: Array) -> Batch:
        """Return copies of the samples of these numbers."""
        return mapped(partial(take, rows=rows), (self.x, self.y))  # type: ignore[no-any-return]

    def part(self, rows: slice) -> Batch:
        """Return views of the samples from one number to another, where they are in memory."""
        return mapped(itemgetter(rows), (self.x, self.y))  # type: ignore[no-any-return]


class Dataset(Rows):
    """An object with len() and [i], which gives the sample (x, y), as torch's Dataset."""

    def __init__(self, name: str, data: Any) -> None:
        self._name, self._data, self.samples = name, data, len(data)
        if not self.samples:
            raise ValueError(f"{name} must have a sample at least, got a {type(data).__name__} of length 0")

    def take(self, rows: Array) -> Batch:
        """Return the samples of these numbers, stacked."""
        pairs = [self._sample(number) for number in rows.tolist()]
        x, y = (_stacked(f"{self._name}: {part}", [p[i] for p in pairs]) for i, part in enumerate("xy"))
        return x, y

    def part(self, rows: slice) -> Batch:
        """Return the samples from one number to another, stacked."""
        return self.take(np.arange(*rows.indices(len(self))))

    def _sample(self, number: int) -> Batch:
        sample = self._data[number]
        return as_pair(f"{self._name}[{number}] must be a sample (x, y)", sample)


class Subset(Rows):
    """Some of the rows of another source."""

    def __init__(self, base: Rows, rows: Array) -> None:
        self._base, self._rows = base, rows
        self.samples, self.reads_ahead = len(rows), base.reads_ahead

    def take(self, rows: Array) -> Batch:
        """Return copies of the samples of these numbers."""
        return self._base.take(self._rows[rows])

    def part(self, rows: slice) -> Batch:
        """Return copies of the samples from one number to another."""
        return self._base.take(self._rows[rows])


def check_rows(name: str, batch: Batch) -> None:
    """Raise ValueError unless all arrays have as many rows as the first, and that is one at least."""
    shapes = [array.shape for array in leaves(batch)]
    if any(shape[:1] != shapes[0][:1] or not shape or not shape[0] for shape in shapes):
        *first, last = map(str, shapes)
        raise ValueError(
            f"{name} must be x and y with a row for each sample, got shapes {', '.join(first)} and {last}"
        )


def _stacked(name: str, values: list[Any]) -> Nested:
    """The arrays of samples as one array, or of several inputs as a tuple of them."""
    if isinstance(values[0], tuple):
        return tuple(_stacked(f"{name}[{i}]", [value[i] for value in values]) for i in range(len(values[0])))
    arrays = [as_arrays(name, value) for value in values]
    shapes = {array.shape: None for array in arrays}
    if len(shapes) > 1:
        found = " and ".join(map(str, [*shapes][:2]))
        raise ValueError(f"{name} must have one shape for all samples of a batch, got {found}")
    return np.stack(arrays)


def as_pair(what: str, value: Any) -> Batch:
    """`value` as (x, y); lists in it become tuples, as torch's DataLoader gives lists for several inputs."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        keys = f" with the keys {', '.join(map(str, value))}" if isinstance(value, Mapping) else ""
        raise TypeError(f"{what}, got {described(value)}{keys}")
    x, y = (tuple(part) if _is_several(part) else part for part in value)
    return x, y


def _is_several(part: object) -> bool:
    return isinstance(part, list) and bool(part) and all(hasattr(one, "shape") for one in part)


def described(value: object) -> str:
    """What an error says that it got: the type, and the types in a tuple or a list."""
    if isinstance(value, tuple | list):
        inner = ", ".join(type(one).__name__ for one in value[:3]) + (", ..." if len(value) > 3 else "")
        return f"a {type(value).__name__} of {len(value)} ({inner})"
    return f"a {type(value).__name__}"
