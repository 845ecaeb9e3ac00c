"""Races in shared memory: two threads access a place, one writes, and no barrier lies between.

Time is a count of accesses. For each place the last writer and two readers are remembered (the first and
the last since a barrier), so that a race among several readers can escape. Lanes of a warp are ordered by
shuffles, votes and `bar.warp.sync` as well; atomic operations do not race with one another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from support.ptx_emulator.machine import Machine

_ATOMIC = -1  # the writer that an atomic operation leaves: all of them are one


class RaceError(RuntimeError):
    """Two threads of a block race for a place in shared memory."""


class Races:
    """The history of a machine's shared memory, in units of `unit` bytes."""

    def __init__(self, machine: Machine, unit: int) -> None:
        places = machine.shared.size // unit
        self.machine, self.unit, self.now = machine, unit, 1
        self.write_time, self.writer = np.zeros(places, np.int64), np.zeros(places, np.int64)
        self.first_time, self.first_reader = np.zeros(places, np.int64), np.zeros(places, np.int64)
        self.last_time, self.last_reader = np.zeros(places, np.int64), np.zeros(places, np.int64)
        self.block_time = np.zeros(machine.blocks, np.int64)  # of the last barrier
        self.warp_time = np.zeros(machine.lanes // 32, np.int64)

    def barrier(self, blocks: NDArray[np.bool_]) -> None:
        """All lanes of these blocks have met."""
        self.block_time[blocks] = self.now
        self.warp_time.reshape(self.machine.blocks, -1)[blocks] = self.now

    def warps(self, lanes: NDArray[np.bool_]) -> None:
        """The lanes of these warps have met."""
        self.warp_time[lanes.reshape(-1, 32).any(1)] = self.now

    def access(
        self, offsets: NDArray[np.int64], size: int, kind: str, lanes: NDArray[np.intp], text: str
    ) -> None:
        """Lanes access `size` bytes each, at offsets into all blocks' memory.

        kind: "read", "write" or "atomic".
        """
        self.now += 1
        first = offsets // self.unit
        for place in range(max(1, size // self.unit)):
            self._access(first + place, lanes, kind, text)

    def _access(self, places: NDArray[np.int64], lanes: NDArray[np.intp], kind: str, text: str) -> None:
        met_block, met_warp = self.block_time[lanes // self.machine.size], self.warp_time[lanes // 32]

        def check(others: NDArray[np.int64], times: NDArray[np.int64]) -> None:
            met = np.where(others // 32 == lanes // 32, met_warp, met_block)
            bad = (others != lanes) & (times > met)
            if kind == "atomic":
                bad &= others != _ATOMIC
            if bad.any():
                self._report(places[bad][0], lanes[bad][0], others[bad][0], kind, text)

        check(self.writer[places], self.write_time[places])
        if kind == "read":
            early = self.first_time[places] <= met_block
            self.first_reader[places[early][::-1]] = lanes[early][::-1]
            self.first_time[places[early]] = self.now
            self.last_reader[places], self.last_time[places] = lanes, self.now
            return
        check(self.first_reader[places], self.first_time[places])
        check(self.last_reader[places], self.last_time[places])
        self.writer[places] = _ATOMIC if kind == "atomic" else lanes
        self.write_time[places] = self.now
        if kind == "write":
            check(self.writer[places], self.write_time[places])  # two lanes at once

    def _report(self, place: int, lane: int, other: int, kind: str, text: str) -> None:
        machine = self.machine
        offset = place * self.unit % machine.layout.shared
        whom = "an atomic operation" if other == _ATOMIC else machine.thread(int(other))
        raise RaceError(
            f"race: {text}: {kind} of shared byte {offset} by {machine.thread(int(lane))}, "
            f"and no barrier since {whom} accessed it"
        )
