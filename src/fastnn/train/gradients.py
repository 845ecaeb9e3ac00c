"""The gradients of several ranks, added up in one array that every `Parameter.grad` is a part of.

It knows ranks and parameters, and no model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from types import EllipsisType
from typing import Any

import numpy as np

from fastnn._core.devices import device_of, dtype_name, moved, on_host
from fastnn._core.ranks import Ranks
from fastnn._core.typing import Array
from fastnn.nn.parameter import Parameter

#: Bytes of gradients that are added up together while backward goes on: few messages, which begin early.
BUCKET = 2**20


Rows = slice | EllipsisType


class Slot:
    """The place of one parameter's gradient, in a bucket or, by its rows, in several."""

    def __init__(self, gradients: Gradients, array: Array) -> None:
        self._gradients, self.array = gradients, array
        self.pieces: list[tuple[Rows, _Bucket]] = []

    def fill(self, gradient: Array) -> Array:
        """Return what is to be the parameter's grad, with these elements."""
        mine = self.array
        if gradient.shape != mine.shape or gradient.dtype != mine.dtype:
            ours, theirs = f"{mine.shape} and {mine.dtype}", f"{gradient.shape} and {gradient.dtype}"
            raise ValueError(f"grad must have the shape and dtype of its parameter, {ours}, got {theirs}")
        return self.make(lambda rows, out: out.__setitem__(..., gradient[rows]))

    def make(self, function: Callable[[Rows, Array], object]) -> Array:
        """Return it with what `function(rows, out)` writes into `out`, the place of these rows."""
        for rows, bucket in self.pieces:
            function(rows, self.array[rows])
            self._gradients.filled(bucket)
        return self._gradients.shown(self.array)

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return type(None), ()  # a copy of a parameter is not added up


class _Bucket:
    """Gradients that lie side by side, and are added up by one message."""

    def __init__(self) -> None:
        self.array: Array
        self.room = self.missing = 0  # pieces, and those of the present pass that are not there yet
        self.request: Any = None


class Gradients:
    """Adds up the gradients of all ranks.

    They lie in the order in which backward makes them. Behind them is a number for each parameter: how many
    ranks have a gradient of it. Where none has, its grad stays None.

    Raises TypeError for parameters that are not float32 or float64.
    """

    def __init__(self, parameters: Sequence[Parameter], ranks: Ranks) -> None:
        self._ranks = ranks
        self._parameters = [p for p in reversed(parameters) if p.requires_grad]
        self._buckets: list[_Bucket] = []
        self._started = 0
        self._is_early = False  # whether a full bucket is added up at once
        kinds = sorted({(str(device_of(p.data)), dtype_name(p.data)) for p in self._parameters})
        for _, dtype in kinds:
            if dtype not in ("float32", "float64"):
                raise TypeError(f"model must have parameters of float32 or float64 with ranks, got {dtype}")
        for kind in kinds:
            same = [p for p in self._parameters if (str(device_of(p.data)), dtype_name(p.data)) == kind]
            self._lay_out(same, last=kind == kinds[-1])

    def _lay_out(self, parameters: list[Parameter], *, last: bool) -> None:
        """Make room for the gradients of one device and dtype, behind the last ones for the numbers."""
        data, total = parameters[0].data, sum(p.size for p in parameters)
        counts = len(self._parameters) if last else 0
        flat = moved(np.zeros(total + counts, dtype_name(data)), device_of(data))
        limit = BUCKET // flat.itemsize if self._ranks.overlap else 2 * flat.size
        bucket, begin, end = _Bucket(), 0, 0
        for parameter in parameters:
            slot = parameter.slot = Slot(self, flat[end : end + parameter.size].reshape(parameter.shape))
            for rows in _cut(slot.array, limit):
                end += slot.array[rows].size
                bucket.room += 1
                slot.pieces.append((rows, bucket))
                if end - begin >= limit * 3 // 4 and end < total:
                    bucket.array = flat[begin:end]
                    self._buckets.append(bucket)
                    bucket, begin = _Bucket(), end
        bucket.array = flat[begin:]
        self._buckets.append(bucket)
        self._counts = flat[total:]

    def begin(self, *, whole: bool) -> None:
        """Forget all gradients. whole: the step is this one pass, so full buckets can be added up early."""
        for parameter in self._parameters:
            parameter.grad = None
        self._started, self._is_early = 0, whole and self._ranks.overlap
        for bucket in self._buckets:
            bucket.missing = bucket.room

    def filled(self, bucket: _Bucket) -> None:
        """Note that a piece is there; add up what is full."""
        if not self._is_early:
            return
        bucket.missing -= 1
        for one in self._buckets[: self._started]:
            self._ranks.is_done(one.request)  # asking is what lets messages go on
        while self._started < len(self._buckets) - 1 and not self._buckets[self._started].missing:
            self._start()

    def shown(self, array: Array) -> Array:
        """Return a gradient, read-only where it may be added up already."""
        view = array[...]
        if self._is_early and isinstance(view, np.ndarray):
            view.flags.writeable = False
        return view

    def finish(self) -> None:
        """Add up what has not begun, and wait for all; each grad is the sum of all ranks' afterwards."""
        self._counts[...] = moved(
            np.array([p.grad is not None for p in self._parameters], self._counts.dtype),
            device_of(self._counts),
        )
        for parameter in self._parameters:
            if parameter.grad is None:
                _slot(parameter).array[...] = 0
        while self._started < len(self._buckets):
            self._start()
        for bucket in self._buckets:
            self._ranks.wait(bucket.request)
        for parameter, count in zip(self._parameters, on_host(self._counts).tolist(), strict=True):
            parameter.grad = _slot(parameter).array if count else None

    def _start(self) -> None:
        bucket = self._buckets[self._started]
        bucket.request = self._ranks.start_adding(bucket.array, aside=self._ranks.overlap)
        self._started += 1

    def release(self) -> None:
        """Let gradients have memory of their own again."""
        for parameter in self._parameters:
            parameter.slot = None


def _cut(array: Array, limit: int) -> list[Rows]:
    """The rows of an array in pieces of about `limit` elements; all of one that is not much larger."""
    pieces = min(round(array.size / limit), len(array)) if array.ndim else 1
    if pieces < 2:
        return [...]
    ends = [len(array) * piece // pieces for piece in range(pieces + 1)]
    return [slice(*pair) for pair in pairwise(ends)]


def _slot(parameter: Parameter) -> Any:
    assert parameter.slot is not None
    return parameter.slot
