"""Where an instruction's addresses lead: the bytes of a state space, after the checks that find wrong
accesses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastnn._core.typing import Array
from support.ptx_emulator.machine import Machine
from support.ptx_emulator.memory import BASE, Bytes, DeviceMemoryError, memory
from support.ptx_emulator.program import LOCAL_WINDOW, SHARED_WINDOW

Offsets = NDArray[np.int64]


@dataclass(frozen=True)
class Access:
    """An instruction's access to `size` bytes per lane, in a state space ("" is generic).

    kind: "read", "write" or "atomic".
    """

    text: str
    space: str
    size: int
    kind: str

    def places(self, machine: Machine, addresses: Offsets) -> Iterator[tuple[Bytes, Offsets, Array | None]]:
        """Buffers, offsets into them, and which addresses those are (None: all)."""
        if self.space:
            yield *self._place(machine, self.space, addresses, machine.lane_numbers()), None
            return
        lanes = machine.lane_numbers() if len(addresses) > 1 else machine.lane_numbers()[:1]
        if addresses.min() >= BASE or addresses.max() < SHARED_WINDOW:
            yield *self._place(machine, "global", addresses, lanes), None
            return
        for space, low, high in (
            ("global", BASE, 1 << 62),
            ("shared", SHARED_WINDOW, LOCAL_WINDOW),
            ("local", LOCAL_WINDOW, BASE),
            ("global", 0, SHARED_WINDOW),
        ):
            chosen = (addresses >= low) & (addresses < high)
            if chosen.any():
                window = 0 if space == "global" else low
                yield *self._place(machine, space, addresses[chosen] - window, lanes[chosen]), chosen

    def _place(
        self, machine: Machine, space: str, at: Offsets, lanes: NDArray[np.intp]
    ) -> tuple[Bytes, Offsets]:
        if (at & self.size - 1).any():
            self._fail(machine, at, lanes, (at & self.size - 1) != 0, f"is not aligned to {self.size} bytes")
        if space in ("global", "const"):
            return memory.arena, self._global(machine, at, lanes)
        extent = machine.layout.shared if space == "shared" else machine.layout.local
        bad = (at < 0) | (at + self.size > extent)
        if bad.any():
            self._fail(machine, at, lanes, bad, f"is beyond the {extent} bytes of {space} memory")
        if space == "local":
            return machine.local, lanes * extent + at
        offsets = lanes // machine.size * extent + at
        if machine.races:
            machine.races.access(offsets, self.size, self.kind, lanes, self.text)
        return machine.shared, offsets

    def _global(self, machine: Machine, at: Offsets, lanes: NDArray[np.intp]) -> Offsets:
        if not memory.holds(int(at.min()), int(at.max()) + self.size):
            bad = ~memory.inside(at, self.size)
            if bad.any():
                self._fail(machine, at, lanes, bad, "is in no allocation")
        offsets = at - BASE
        if machine.launch.strict:
            word = np.dtype(f"u{min(self.size, 8)}")
            first, written = offsets >> int(word.itemsize).bit_length() - 1, memory.written.view(word)
            whole = word.type(int.from_bytes(b"\x01" * word.itemsize, "little"))
            for part in range(self.size // word.itemsize):
                if self.kind != "write" and (written[first + part] != whole).any():
                    self._fail(
                        machine, at, lanes, written[first + part] != whole, "holds what nothing has written"
                    )
                if self.kind != "read":
                    written[first + part] = whole
        if self.kind != "write":
            machine.bytes_read += self.size * len(at)
        if self.kind != "read":
            machine.bytes_written += self.size * len(at)
        return offsets

    def _fail(self, machine: Machine, at: Offsets, lanes: NDArray[np.intp], bad: Array, what: str) -> None:
        i = int(np.flatnonzero(bad)[0])
        lane = int(lanes[i if len(lanes) > 1 else 0])
        raise DeviceMemoryError(f"{self.text}: {machine.thread(lane)}: the address {int(at[i]):#x} {what}")
