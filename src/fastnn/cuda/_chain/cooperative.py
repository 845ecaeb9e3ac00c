"""Whether a kernel of kernels/chain/resident.py can take an array, in how many blocks, and where these wait.

It must not know what the kernels compute.
"""

from __future__ import annotations

import functools
import itertools
import math
import threading
from typing import NamedTuple

from fastnn.cuda._runtime import launch, memory
from fastnn.cuda._runtime.compiler import Key, Template
from fastnn.cuda._runtime.memory import DeviceArray
from fastnn.cuda._runtime.replay import write
from fastnn.cuda.kernels.chain.channels import THREADS, Cut
from fastnn.cuda.kernels.chain.walks import LAYER


class Plan(NamedTuple):
    """Blocks that run at once and take the pieces of an array in turns."""

    blocks: int
    turns: int
    slab: int  # bytes of a block for each turn

    def numbers(self, cut: Cut) -> tuple[int, ...]:
        """What kernels take as `turns`."""
        return *cut.grid, self.turns, self.slab


@functools.lru_cache(1024)
def plan(template: Template, key: Key, device: int, fast: bool, cut: Cut, layers: int) -> Plan | None:
    """The plan with the fewest turns; None if what the blocks keep does not fit on the chip.

    layers: arrays that they keep. fast: as fast_math is.
    """
    if cut.width == 1:
        return None
    pieces, slab, has = math.prod(cut.grid), cut.most_visits * layers * LAYER, launch.properties(device)
    if pieces * slab > has.multiprocessors * has.shared_memory:
        return None  # without compiling anything
    for turns in itertools.count(1):
        room = launch.at_once(template, key, device, fast, THREADS, turns * slab)
        if room * turns >= pieces:
            return Plan(-(-pieces // turns), turns, slab)
        if room == 0:
            return None
    raise AssertionError


class _Counters(threading.local):
    """Of each stream that this thread has used, by device and handle: kernels of a stream never overlap."""

    def __init__(self) -> None:
        self.found: dict[tuple[int, int], DeviceArray] = {}


_COUNTERS = _Counters()


def counter(like: DeviceArray) -> DeviceArray:
    """The word in which blocks count; a kernel leaves it ready for the next one.

    A captured graph, which may run in any stream, has its own for each kernel, and sets it to 0.
    """
    if like.library.captures(like.device):
        return _zero(like)
    place = like.device, memory.stream(like)
    if place not in _COUNTERS.found:
        _COUNTERS.found[place] = _zero(like)
    return _COUNTERS.found[place]


def _zero(like: DeviceArray) -> DeviceArray:
    word = memory.empty(like, (1,), "int64")
    write(word, [0])
    return word
