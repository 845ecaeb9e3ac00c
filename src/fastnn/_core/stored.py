"""Arrays that are read from a file by rows: np.memmap, those of h5py and zarr, and what is like them."""

from __future__ import annotations

import mmap
import sys
from typing import Any

import numpy as np

from fastnn._core.typing import Array

ADVISED = 512 * 1024  # bytes; of a longer advice Linux follows the first part alone
CACHED_BLOCKS = 4  # a batch lies in two blocks at most, and in three where every fifth row is held out


def is_stored(value: Any) -> bool:
    """Whether its rows are read when they are asked for; arrays and tensors in memory are not.

    It has `shape`, `dtype` and rows by index, and none of the ways by which libraries pass memory on.
    """
    if isinstance(value, np.memmap | Stored):
        return True
    parts = ("shape", "dtype", "__len__", "__getitem__")
    in_memory = ("__dlpack__", "__array_interface__", "__array_priority__", "iloc")
    return all(hasattr(value, part) for part in parts) and not any(hasattr(value, part) for part in in_memory)


class Stored:
    """The rows of a stored array; like an array it has shape, ndim, dtype, len() and slices of rows.

    block: samples are shuffled in blocks of this many rows, of which each is read at once. It is kept for a
    while; of a memory-mapped file the operating system keeps the pages.
    """

    def __init__(self, array: Any, block: int | None = None) -> None:
        self._array = np.asarray(array) if isinstance(array, np.memmap) else array
        self._block, self._blocks = block, dict[int, Array]()
        self.shape: tuple[int, ...] = tuple(array.shape)
        self.ndim, self.dtype = len(self.shape), np.dtype(array.dtype)
        self._pages = Pages(array) if isinstance(array, np.memmap) and block is not None else None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Array:
        """Return these rows as an array."""
        return np.asarray(self._array[rows])

    def take(self, rows: Array) -> Array:
        """Return the rows of these numbers, of which none occurs twice, in this order.

        They are read in the order of the file: h5py takes no other, and it is the quickest of a disk.
        """
        order = np.argsort(rows)
        read = self._read(rows[order])
        out = np.empty_like(read)
        out[order] = read
        return out

    def _read(self, rows: Array) -> Array:
        if self._block is None:
            return np.asarray(self._array[rows])
        blocks = rows // self._block
        found = [self._block_of(b)[rows[blocks == b] - b * self._block] for b in np.unique(blocks).tolist()]
        return np.concatenate(found)

    def _block_of(self, number: int) -> Array:
        assert self._block is not None
        if number not in self._blocks:
            while len(self._blocks) >= CACHED_BLOCKS:
                del self._blocks[next(iter(self._blocks))]
            block = self[number * self._block : (number + 1) * self._block]
            if self._pages is not None:
                self._pages.read(block)
            self._blocks[number] = block
        return self._blocks[number]


def by_rows(value: Any) -> Any:
    """`value`, or if it is stored what reads it by rows."""
    return Stored(value) if is_stored(value) else value


class Selection:
    """Some rows of a stored array, as a stored array."""

    def __init__(self, array: Any, rows: Array) -> None:
        self._array, self._rows = array, rows
        self.shape: tuple[int, ...] = (len(rows), *array.shape[1:])
        self.dtype = np.dtype(array.dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | Array) -> Array:
        """Return these of the rows as an array."""
        return np.asarray(self._array[self._rows[rows]])


def selected(array: Any, rows: Array) -> Any:
    """array[rows], rows increasing; of a stored array nothing is read."""
    return Selection(array, rows) if is_stored(array) else array[rows]


class Pages:
    """What the operating system is told of a memory-mapped file: which rows to read at once.

    Otherwise it reads what lies around each row that is touched. Windows takes no such advice.
    """

    def __init__(self, array: np.memmap[Any, Any]) -> None:
        base: Any = array
        while base is not None and not isinstance(base, mmap.mmap):
            base = base.base
        self._map: mmap.mmap | None = base  # a copy of a memory-mapped array has none
        self._start = 0 if base is None else np.frombuffer(base, np.uint8).ctypes.data

    def read(self, block: Array) -> None:
        """Have these rows read at once."""
        if sys.platform != "win32" and self._map is not None and block.flags.c_contiguous:
            start = block.ctypes.data - self._start
            end = start + block.nbytes
            for place in range(start // ADVISED * ADVISED, end, ADVISED):
                self._map.madvise(mmap.MADV_WILLNEED, place, min(ADVISED, end - place))
