"""The gradients of several ranks, added up in one array that every `Parameter.grad` is a part of.

It knows ranks and parameters, and no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn._core.devices import device_of, dtype_name, moved, on_host
from fastnn._core.ranks import Ranks
from fastnn._core.typing import Array
from fastnn.nn.parameter import Parameter

#: Bytes of gradients that are added up together while backward goes on: few messages, that begin early.
BUCKET = 2**20


class Slot:
    """The part of a bucket that is one parameter's gradient."""

    def __init__(self, gradients: Gradients, array: Array) -> None:
        self._gradients, self.array = gradients, array
        self.bucket: _Bucket

    def fill(self, gradient: Array) -> Array:
        """Return `array` with these elements, which can be in it already."""
        mine = self.array
        if gradient.shape != mine.shape or gradient.dtype != mine.dtype:
            ours, theirs = f"{mine.shape} and {mine.dtype}", f"{gradient.shape} and {gradient.dtype}"
            raise ValueError(f"grad must have the shape and dtype of its parameter, {ours}, got {theirs}")
        if not np.may_share_memory(gradient, mine):
            mine[...] = gradient
        return self._gradients.filled(self)

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return type(None), ()  # a copy of a parameter is not added up


class _Bucket:
    """Gradients that lie side by side, and are added up by one message."""

    def __init__(self, array: Array, slots: list[Slot]) -> None:
        self.array, self.room = array, len(slots)
        self.missing = 0  # gradients of the present pass
        self.request: Any = None
        for slot in slots:
            slot.bucket = self


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
        data, sizes = parameters[0].data, [p.size for p in parameters]
        counts = len(self._parameters) if last else 0
        flat = moved(np.zeros(sum(sizes) + counts, dtype_name(data)), device_of(data))
        limit = BUCKET // flat.itemsize if self._ranks.overlap else flat.size
        start = begin = 0
        slots: list[Slot] = []
        for parameter, size in zip(parameters, sizes, strict=True):
            slot = parameter.slot = Slot(self, flat[start : start + size].reshape(parameter.shape))
            slots.append(slot)
            start += size
            if start - begin >= limit and parameter is not parameters[-1]:
                self._buckets.append(_Bucket(flat[begin:start], slots))
                begin, slots = start, []
        self._buckets.append(_Bucket(flat[begin:], slots))
        self._counts = flat[flat.size - counts :]

    def begin(self, *, whole: bool) -> None:
        """Forget all gradients. whole: the step is this one pass, so full buckets can be added up early."""
        for parameter in self._parameters:
            parameter.grad = None
        self._started, self._is_early = 0, whole and self._ranks.overlap
        for bucket in self._buckets:
            bucket.missing = bucket.room

    def filled(self, slot: Slot) -> Array:
        """Note that a gradient is there; return it, read-only where ranks add it up from now on."""
        if not self._is_early:
            return slot.array
        slot.bucket.missing -= 1
        for bucket in self._buckets[: self._started]:
            self._ranks.is_done(bucket.request)  # asking is what lets messages go on
        while self._started < len(self._buckets) - 1 and not self._buckets[self._started].missing:
            self._start()
        view = slot.array[...]
        if isinstance(view, np.ndarray):
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


def _slot(parameter: Parameter) -> Any:
    assert parameter.slot is not None
    return parameter.slot
