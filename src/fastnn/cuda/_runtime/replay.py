"""What changes from one replay of a recorded graph to the next: random keys, and the numbers of optimizers.

A kernel that is recorded keeps its arguments. So what changes lies in device memory, in slots: kernels
get a slot's address (0 outside a recording), and before each replay the host fills the slots anew, by a
kernel whose arguments are the values. It must not know any operation.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from numba import cuda, types

from fastnn import random
from fastnn.cuda._runtime import launch, memory
from fastnn.cuda._runtime.compiler import Built, template
from fastnn.cuda._runtime.memory import DeviceArray
from fastnn.cuda._runtime.ptx.integers import store_integers
from fastnn.random import Generator, Key

_WORDS = 16  # that one launch writes


@template(lambda: [(_WORDS,), (256,)], narrow="one thread writes words that are anywhere")
def write_words(count: int) -> Built:
    """Writes the first n of `count` 64-bit words to an address."""
    store = store_integers(1)

    def kernel(address: int, n: int, words: Any) -> None:
        word = cuda.local.array(1, types.int64)
        for k in range(count):
            if k < n:
                word[0] = words[k]
                store(address + types.uint64(8 * k), word)

    return kernel, (types.uint64, types.int64, types.UniTuple(types.int64, count))


def write(array: DeviceArray, words: Sequence[int]) -> None:
    """Writes 64-bit integers to device memory, on the current stream."""
    room = _WORDS if len(words) <= _WORDS else 256
    for first in range(0, len(words), room):
        part = words[first : first + room]
        filled = [*part, *[0] * (room - len(part))]
        launch.run(
            write_words,
            (room,),
            array,
            1,
            1,
            array.address + 8 * first,
            len(part),
            *map(launch.signed, filled),
        )


def words_of(numbers: Sequence[float]) -> list[int]:
    """The bits of float64 numbers."""
    return list(struct.unpack(f"{len(numbers)}q", struct.pack(f"{len(numbers)}d", *numbers)))


class _Slot:
    """Words in device memory, and their values in the next replay."""

    def __init__(self, purpose: Any, array: DeviceArray, words: Sequence[int]) -> None:
        self.purpose, self.array, self.words = purpose, array, words


class _Stream:
    """What a graph takes of one generator: keys from `first` on, one after another."""

    def __init__(self, first: Key) -> None:
        self.first, self.count = first, 0
        self.slot: _Slot | None = None

    def go_on(self, generator: Generator) -> None:
        """Takes the keys of the next replay."""
        start = generator.take(self.count)
        if self.slot is not None:
            self.slot.words = [start.seed - self.first.seed, start.offset - self.first.offset]


class Recording:
    """The slots of one graph. As a context manager: what is launched meanwhile is being recorded."""

    current: Recording | None = None

    def __init__(self) -> None:
        self.kept: list[Any] = []  # what the graph's kernels use
        self._slots: list[_Slot] = []
        self._steps: list[Callable[[], None]] = []
        self._generators: dict[Generator, _Stream] = {}
        self._streams: dict[tuple[int, int], _Stream] = {}  # of a key's seed and offset
        self._place: int | None = None  # among the slots, while steps are computed for a replay

    def __enter__(self) -> Recording:
        if Recording.current is not None:
            raise RuntimeError("a graph is being captured already; one at a time")
        Recording.current, random.watch = self, self._drew
        return self

    def __exit__(self, *error: object) -> None:
        Recording.current, random.watch = None, None

    def fill(self) -> None:
        """Write all slots, on the current stream."""
        for slot in self._slots:
            write(slot.array, slot.words)

    def go_on(self) -> None:
        """Compute what the slots must have for the next replay."""
        for generator, stream in self._generators.items():
            stream.go_on(generator)
        Recording.current, self._place = self, 0
        try:
            for step in self._steps:
                step()
        finally:
            Recording.current, self._place = None, None

    # ---- what is launched asks here

    @property
    def replays(self) -> bool:
        """Whether numbers are wanted, and no launches."""
        return self._place is not None

    def step(self, step: Callable[[], None]) -> None:
        """Runs a step, and does so again for each replay: its numbers go to its slots."""
        if not self.replays:
            self._steps.append(step)
        step()

    def numbers(self, purpose: Any, words: Sequence[int], like: DeviceArray) -> int:
        """The address of a slot with these words. `purpose` must be the same in each replay."""
        if self._place is None:
            return self._new(purpose, words, like).array.address
        while self._slots[self._place].purpose is None:
            self._place += 1
        slot = self._slots[self._place]
        if slot.purpose != purpose:
            raise RuntimeError(
                f"the graph was captured with {slot.purpose}, and now there is {purpose}: capture it again"
            )
        slot.words = words
        self._place += 1
        return slot.array.address

    def key(self, key: Key, like: DeviceArray) -> int:
        """The address of what is added to this key in each replay; 0 for one from before the capture."""
        stream = self._streams.get((key.seed, key.offset))
        if stream is None:
            return 0
        if stream.slot is None:
            stream.slot = self._new(None, (0, 0), like)
        return stream.slot.array.address

    def _new(self, purpose: Any, words: Sequence[int], like: DeviceArray) -> _Slot:
        self._slots.append(_Slot(purpose, memory.empty(like, (len(words),), "int64"), words))
        return self._slots[-1]

    def _drew(self, generator: Generator, key: Key) -> None:
        stream = self._generators.setdefault(generator, _Stream(key))
        stream.count += 1
        self._streams[key.seed, key.offset] = stream


def growth(key: Key, like: DeviceArray) -> int:
    """The address of the two words, of seed and offset, to be added to a key; 0: nothing is to be added."""
    return 0 if Recording.current is None else Recording.current.key(key, like)
