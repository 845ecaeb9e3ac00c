"""Threads of some blocks that run a program side by side: which of them go on, which wait, and where.

A lane is a thread. Lanes at the same instruction form a group; the group that is furthest back runs first,
which brings the sides of a branch together again. A group that runs in circles waits now and then, so that
lanes that spin on memory let those come that write it. Arrays that hold a register are never changed in
place, and hold one element where all lanes have the same value. This file knows no instruction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fastnn._core.typing import Array
from support.ptx_emulator.races import Races

Mask = NDArray[np.bool_]
Step = Callable[["Machine"], None]
End = Callable[["Machine"], int | None]
"""What ends a basic block: gives where the group goes on, or None if it is split or has to wait."""

WARP = 32
_MULTIPROCESSORS = 132
_TURNS = 64  # times round a loop until other groups get their turn
_PATIENCE = 4000  # turns of all groups without progress until spinning is called a deadlock


@dataclass
class Block:
    """Instructions that run one after the other, from `start`, and what follows."""

    start: int
    steps: list[Step]
    end: End
    opcodes: list[str]


@dataclass
class Layout:
    """What a machine needs to know of its program: basic blocks, memory, registers' first values."""

    blocks: dict[int, Block]
    registers: list[Array]
    special: dict[str, int]  # special registers that are used: their place among the registers
    shared: int  # bytes of a block
    local: int  # bytes of a lane
    unit: int  # smallest access to shared memory
    texts: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Launch:
    """What is the same for all blocks of a launch."""

    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int  # bytes of dynamic shared memory
    parameters: NDArray[np.uint8]
    strict: bool
    races: bool
    cooperative: bool


class Machine:
    """Blocks `first` to `first + blocks` of a launch."""

    def __init__(self, layout: Layout, launch: Launch, first: int, blocks: int) -> None:
        self.layout, self.launch, self.first, self.blocks = layout, launch, first, blocks
        self.threads = int(np.prod(launch.block))
        self.size = -(-self.threads // WARP) * WARP  # lanes of a block: whole warps
        self.lanes = blocks * self.size
        self.regs = list(layout.registers)
        for name, slot in layout.special.items():
            self.regs[slot] = self._special(name)
        self.shared = np.full(blocks * layout.shared, 0xFF, np.uint8)
        self.local = np.full(self.lanes * layout.local, 0xFF, np.uint8)
        self.races = Races(self, layout.unit) if launch.races and layout.shared else None
        self.executed: dict[int, int] = {}  # lanes that have run the block that begins there
        self.bytes_read = self.bytes_written = 0

        self.alive: Mask = np.tile(np.arange(self.size) < self.threads, blocks)
        self.slow: Mask = (np.arange(self.lanes) < self.size) & launch.cooperative & (blocks > 1)
        self.ready: dict[int, Mask] = {0: self.alive & ~self.slow}
        self.held: dict[int, Mask] = {0: self.alive & self.slow} if self.slow.any() else {}
        self.waiting: Mask = np.zeros(self.lanes, bool)
        self.waiting_at = np.zeros(self.lanes, np.int64)
        self.barriers: dict[int, Callable[[Machine], int]] = {}
        self._any_waiting = False
        self._idle = 0  # turns without progress
        self.enter(self.ready[0])

    def enter(self, mask: Mask) -> None:
        """Makes `mask` the group that runs."""
        self.mask = mask
        self.partial = bool(self.ready) or bool(self.held) or self._any_waiting
        self.count = int(np.count_nonzero(mask))
        self.active: NDArray[np.intp] | None = None if self.count == self.lanes else np.flatnonzero(mask)

    def narrowed(self, condition: Array, step: Step) -> None:
        """Runs `step` on the lanes of the group for which the condition holds."""
        if condition.shape[0] == 1:
            if condition[0]:
                step(self)
            return
        before = self.mask, self.partial, self.count, self.active
        mask = self.mask & condition
        count = int(np.count_nonzero(mask))
        if count == self.count:
            step(self)
        elif count:
            self.mask, self.partial, self.count, self.active = mask, True, count, np.flatnonzero(mask)
            step(self)
            self.mask, self.partial, self.count, self.active = before

    def spread(self, values: Array) -> Array:
        """One element per lane of the machine."""
        return values if values.shape[0] == self.lanes else np.repeat(values, self.lanes)

    def pick(self, values: Array) -> Array:
        """One element per lane of the group."""
        if values.shape[0] != self.lanes:
            return np.repeat(values, self.count)
        return values if self.active is None else values[self.active]

    def scatter(self, values: Array) -> Array:
        """Values of the group's lanes, in their places among all."""
        if self.active is None:
            return values
        everywhere = np.zeros(self.lanes, values.dtype)
        everywhere[self.active] = values
        return everywhere

    def lane_numbers(self) -> NDArray[np.intp]:
        """The numbers of the group's lanes."""
        return np.arange(self.lanes) if self.active is None else self.active

    def thread(self, lane: int) -> str:
        """The lane as users name it."""
        block, thread = divmod(lane, self.size)
        launch = self.launch
        where = _position(thread, launch.block), _position(block + self.first, launch.grid)
        return f"thread {where[0]} of block {where[1]}"

    def run(self) -> None:
        """Runs all lanes to their end.

        Raises RuntimeError if lanes wait or spin for ever.
        """
        blocks = self.layout.blocks
        while self._next():
            pc, turns = self.start, 0
            while True:
                block = blocks[pc]
                self.executed[pc] = self.executed.get(pc, 0) + self.count
                for step in block.steps:
                    step(self)
                following = block.end(self)
                if following is None:
                    break
                if following <= pc:
                    turns += 1
                    if turns > _TURNS and (self.ready or self.held or self._any_waiting):
                        self.place(following, self.mask, held=True)
                        break
                if self.ready and min(self.ready) <= following:
                    self.place(following, self.mask)
                    break
                pc = following

    def _next(self) -> bool:
        if not self.ready:
            if not self.held:
                if self._any_waiting:
                    raise RuntimeError("threads wait at a barrier that the others of their block never reach")
                return False
            self.ready, self.held = self.held, self.ready
            self._idle += 1
            if self._idle > _PATIENCE:
                places = ", ".join(self.layout.texts[pc] for pc in self.ready)
                raise RuntimeError(f"deadlock: threads spin or wait for ever at {places}")
        self.start = min(self.ready)
        self.enter(self.ready.pop(self.start))
        return True

    def place(self, pc: int, mask: Mask, held: bool = False) -> None:
        """Lets the lanes go on at `pc` later; after all others' if `held`, or if their block is slow."""
        slow = mask if held else mask & self.slow
        for groups, lanes in ((self.held, slow), (self.ready, mask & ~slow)):
            if lanes.any():
                groups[pc] = groups[pc] | lanes if pc in groups else lanes

    def progress(self) -> None:
        """Notes that something has happened for which spinning lanes may wait."""
        self._idle = 0

    def leave(self) -> None:
        """Ends the lanes of the group."""
        self.alive = self.alive & ~self.mask
        self._idle = 0
        if self._any_waiting:
            self._release()

    def wait(self, pc: int, passed: Callable[[Machine], int]) -> int | None:
        """Lets the group wait for the rest of its blocks; `passed` runs on lanes set free, and says where."""
        if not self.partial:
            self._synchronised(self.mask)
            return passed(self)
        self.waiting = self.waiting | self.mask
        self.waiting_at[self.mask] = pc
        self.barriers[pc] = passed
        self._any_waiting = True
        self._release()
        return None

    def _release(self) -> None:
        """Sends on the lanes of blocks all of whose lanes wait."""
        here = (self.waiting | ~self.alive).reshape(self.blocks, self.size).all(1)
        lanes = np.repeat(here, self.size) & self.waiting
        if not lanes.any():
            return
        self._idle = 0
        self._synchronised(lanes)
        self.waiting = self.waiting & ~lanes
        for pc in np.unique(self.waiting_at[lanes]):
            group = lanes & (self.waiting_at == pc)
            self.enter(group)
            self.partial = True
            self.place(self.barriers[int(pc)](self), group)
        self._any_waiting = bool(self.waiting.any())

    def _synchronised(self, lanes: Mask) -> None:
        if self.races:
            self.races.barrier(np.any(lanes.reshape(self.blocks, self.size), axis=1))

    def _special(self, name: str) -> Array:
        """The values of a special register such as %tid.x."""
        base, _, axis = name.partition(".")
        thread = np.tile(np.arange(self.size), self.blocks)
        block = np.repeat(np.arange(self.first, self.first + self.blocks), self.size)
        if base in ("%tid", "%ctaid", "%ntid", "%nctaid"):
            extent = self.launch.block if base in ("%tid", "%ntid") else self.launch.grid
            i = "xyz".index(axis)
            if base in ("%ntid", "%nctaid"):
                return np.array([extent[i]], np.uint32)
            linear = thread if base == "%tid" else block
            return (linear // int(np.prod(extent[:i])) % extent[i]).astype(np.uint32)
        lane = (thread % WARP).astype(np.uint32)
        bit = np.left_shift(np.uint32(1), lane)
        below = bit - np.uint32(1)
        masks = {"eq": bit, "lt": below, "le": below | bit, "ge": ~below, "gt": ~(below | bit)}
        if base.startswith("%lanemask_"):
            return masks[base.removeprefix("%lanemask_")]
        if base in ("%laneid", "%warpid"):
            return lane if base == "%laneid" else (thread // WARP).astype(np.uint32)
        if base in ("%clock", "%clock64", "%globaltimer", "%gridid"):  # there is no time
            return np.zeros(1, np.uint64 if base in ("%clock64", "%globaltimer", "%gridid") else np.uint32)
        if base == "%smid":
            return (block % _MULTIPROCESSORS).astype(np.uint32)
        constants = {"%nsmid": _MULTIPROCESSORS, "%dynamic_smem_size": self.launch.shared, "WARP_SZ": WARP}
        if base in constants:
            return np.array([constants[base]], np.uint32)
        raise NotImplementedError(f"the special register {name}")


def _position(linear: int, extent: tuple[int, int, int]) -> tuple[int, int, int]:
    x, y, _ = extent
    return linear % x, linear // x % y, linear // (x * y)
