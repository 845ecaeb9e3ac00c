"""Batches that come in a stream: from a DataLoader, tf.data, a function that makes a generator."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from operator import itemgetter
from typing import Any

from fastnn.random import Key
from fastnn.train.nested import as_arrays, leaves, length, mapped
from fastnn.train.sources import (
    Batch,
    Part,
    Plan,
    Share,
    Source,
    all_rows,
    as_pair,
    check_rows,
    rows_of,
)


class Stream(Source):
    """Batches (x, y) as they come from an iterable; a function makes one for each epoch.

    `set_epoch` is called where the iterable or its sampler has it, with epochs from 0, as torch's and Hugging
    Face's want it. Its `state_dict` and `load_state_dict` make a resumed epoch exact.
    """

    def __init__(self, name: str, data: Any) -> None:
        self._name, self._data = name, data
        self._is_stateful = hasattr(data, "state_dict") and hasattr(data, "load_state_dict")
        self.reads_ahead = not self._is_stateful  # its state is that of the batch that was read last

    def epoch(self, plan: Plan, order: Key, epoch: int, step: int, share: Share = all_rows) -> Iterator[Part]:
        """Yield the stream's batches; those of the steps that a resumed run has made are passed over.

        All ranks read the whole stream. The mark of an epoch's first batch shows whether theirs are the same.
        """
        is_set = self._set_epoch(epoch - 1)
        batches = self._batches(may_be_empty=step > 0)
        if step and not self._is_stateful:
            if not is_set:
                warnings.warn(
                    f"{self._name}: a {type(self._data).__name__} has no state_dict() to go on from within an"
                    " epoch: its first batches are passed over, and are those of the interrupted run only if"
                    " it gives the same in each process",
                    stacklevel=2,
                )
            batches = islice(batches, step * plan.accumulate, None)
        number, is_first = step * plan.accumulate, True
        while group := list(islice(batches, plan.accumulate)):
            samples = sum(length(y) for _, y in group)
            for index, batch in enumerate(group):
                rows, ends = share(length(batch[1])), index == len(group) - 1
                mark = _checksum(batch) if is_first and share is not all_rows else None
                whole = length(batch[1]) / samples
                yield Part(*rows_of(batch, rows), number, whole, index == 0, ends, rows, mark)
                number, is_first = number + 1, False

    def in_order(self, size: int, share: Share = all_rows) -> Iterator[Batch]:
        """Yield the batches as they come."""
        for x, y in self._batches():
            rows = share(length(y))
            yield mapped(itemgetter(rows), (x, y))

    def steps(self, plan: Plan) -> int | None:
        """Return how many steps an epoch has, where the iterable has a length."""
        try:
            return -(-len(self._data) // plan.accumulate)
        except TypeError:  # no len(), or a DataLoader's of a stream without one
            return None

    def state_dict(self) -> dict[str, Any]:
        """Return the iterable's own state."""
        return {"stream": self._data.state_dict()} if self._is_stateful else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Give the iterable its state back."""
        if self._is_stateful and "stream" in state:
            self._data.load_state_dict(state["stream"])

    def _set_epoch(self, epoch: int) -> bool:
        objects = (self._data, *(getattr(self._data, name, None) for name in ("sampler", "batch_sampler")))
        found = [one.set_epoch for one in objects if hasattr(one, "set_epoch")]
        for set_epoch in found:
            set_epoch(epoch)
        return bool(found)

    def _batches(self, *, may_be_empty: bool = False) -> Iterator[Batch]:
        """The batches as arrays; may_be_empty: a run is resumed, maybe after the epoch's last batch."""
        data = self._data() if is_function(self._data) else self._data
        empty = True
        for number, item in enumerate(data):
            x, y = as_pair(f"{self._name} must give batches (x, y)", item)
            batch = as_arrays(f"{self._name}: x", x), as_arrays(f"{self._name}: y", y)
            check_rows(f"{self._name}: batch {number}", batch)
            empty = False
            yield batch
        if empty and not may_be_empty:
            raise ValueError(
                f"{self._name} must give a batch at least in each epoch, got none from a"
                f" {type(self._data).__name__}: an iterator can be used once only; give what makes it"
            )


def _checksum(batch: Batch) -> int:
    """What two batches have alike, as good as certainly, only if they are the same."""
    found = 0
    for array in leaves(batch):
        found = zlib.crc32(array.tobytes(), found)
    return found


def is_function(data: object) -> bool:
    """Whether it makes what batches come from."""
    return callable(data) and not isinstance(data, type | Iterable)
