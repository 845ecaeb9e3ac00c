"""The global memory of the emulated device: allocations in one large arena, every access to which is
checked.

Freed memory is never used again, a gap separates allocations, and new memory holds 0xff bytes (NaN, or -1),
so that a kernel that reads what it must not is caught or shows. This file knows nothing of kernels.
"""

from __future__ import annotations

import mmap
from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

BASE = 1 << 44  # no address of the host, so that a device address used there is seen
_CAPACITY = 64 << 30  # of addresses; the system gives memory to what is touched
_ALIGN = 256
_GAP = 512


class DeviceMemoryError(RuntimeError):
    """A kernel's access that a device would refuse or give garbage for."""


class GlobalMemory:
    """Memory that kernels address: `allocate` and `free` it, and `view` it as the host."""

    def __init__(self) -> None:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE
        self._map = mmap.mmap(-1, _CAPACITY, flags=flags)
        self._map_written = mmap.mmap(-1, _CAPACITY, flags=flags)
        self.arena: Bytes = np.frombuffer(self._map, np.uint8)
        self.written: NDArray[np.bool_] = np.frombuffer(self._map_written, np.bool_)
        self._next = _GAP
        self._starts: list[int] = []  # offsets into the arena, ascending
        self._ends: list[int] = []

    def allocate(self, size: int) -> int:
        """The address of `size` new bytes, aligned to 256."""
        start, end = self._next, self._next + size
        self._next = -(-(end + _GAP) // _ALIGN) * _ALIGN
        if self._next > _CAPACITY:
            raise MemoryError("the emulated device has given out all of its addresses")
        self._starts.append(start)
        self._ends.append(end)
        self.arena[start:end] = 0xFF
        return BASE + start

    def free(self, address: int) -> None:
        """Ends the allocation at `address`; ValueError if there is none."""
        i = self._index(address - BASE)
        if i is None or self._starts[i] != address - BASE:
            raise ValueError(f"no allocation begins at {address:#x}")
        start, end = self._starts.pop(i), self._ends.pop(i)
        first, last = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE, end // mmap.PAGESIZE * mmap.PAGESIZE
        if last > first:
            self._map.madvise(mmap.MADV_DONTNEED, first, last - first)
            self._map_written.madvise(mmap.MADV_DONTNEED, first, last - first)

    def view(self, address: int, size: int) -> Bytes:
        """Bytes as the host sees them; ValueError unless they lie in one allocation."""
        start = address - BASE
        if size and not self.holds(address, address + size):
            raise ValueError(f"{size} bytes at {address:#x} are not of one allocation")
        return self.arena[start : start + size]

    def mark(self, address: int, size: int) -> None:
        """Notes that the host has written these bytes: kernels may read them."""
        self.written[address - BASE : address - BASE + size] = True

    def holds(self, first: int, end: int) -> bool:
        """Whether the bytes from `first` up to `end` lie in one allocation."""
        i = self._index(first - BASE)
        return i is not None and end - BASE <= self._ends[i]

    def inside(self, addresses: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
        """Which of the accesses to `size` bytes lie in one allocation each."""
        starts, ends = np.array([0, *self._starts]), np.array([0, *self._ends])
        i = np.searchsorted(starts, addresses - BASE, side="right") - 1
        return (addresses >= BASE) & (addresses - BASE + size <= ends[np.maximum(i, 0)])

    def _index(self, offset: int) -> int | None:
        i = bisect_right(self._starts, offset) - 1
        return i if i >= 0 and offset < self._ends[i] else None


memory = GlobalMemory()
"""The memory of the emulated device."""
