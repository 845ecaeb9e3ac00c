"""Arrays in a GPU's memory as kernels take them, and what is wanted of the library that made them.

It knows no library (fastnn.cuda._core.libraries has those of CuPy and torch), and no operation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

Shape = tuple[int, ...]


class Library(Protocol):
    """What fastnn needs of a library of arrays. An array here is the library's own."""

    def describe(self, name: str, value: Any) -> DeviceArray:
        """The array as kernels need it; an error that names the argument for one that they cannot take."""

    def strides(self, value: Any) -> Shape:
        """Its strides, in elements."""

    def empty(self, shape: Shape, dtype: str, device: int) -> Any:
        """A new C-ordered array."""

    def empty_like(self, value: Any, dtype: str) -> Any:
        """A new array of this shape, with its axes in the same order in memory."""

    def astype(self, value: Any, dtype: str) -> Any:
        """A copy in another dtype."""

    def contiguous(self, value: Any) -> Any:
        """The array if it is C-contiguous, else a copy."""

    def broadcast(self, value: Any, shape: Shape) -> Any:
        """A view of this shape; ValueError or RuntimeError for one that does not fit."""

    def assign(self, target: Any, value: Any) -> None:
        """target[...] = value."""

    def stream(self, device: int) -> int:
        """The handle of the current stream."""

    def captures(self, device: int) -> bool:
        """Whether what is launched on the current stream is captured for a graph."""

    def alike(self, first: Any, others: Sequence[Any], out: Any) -> Alike | None:
        """What fastnn.cuda._core.device_arrays.alike returns, for a first array of this library."""


class DeviceArray(NamedTuple):
    """What kernels need to know of an array."""

    address: int
    shape: Shape
    dtype: str  # NumPy's name
    contiguous: bool  # in C order
    device: int
    library: Library
    owner: Any

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    def strides(self) -> Shape:
        """Strides in elements."""
        return self.library.strides(self.owner)


#: Arrays that a kernel can take as they are, C-contiguous, of one library, dtype and shape, on one GPU: the
#: result, addresses of it and of the inputs, dtype, size, device, stream. A named tuple takes longer.
Alike = tuple[Any, list[int], str, int, int, int]


def stream(like: DeviceArray) -> int:
    """The current stream of the array's library."""
    return like.library.stream(like.device)


def empty(like: DeviceArray, shape: Shape, dtype: str) -> DeviceArray:
    """A new C-ordered array of the library and on the device of `like`."""
    return like.library.describe("a result", like.library.empty(shape, dtype, like.device))


def empty_like(like: DeviceArray, dtype: str | None = None) -> DeviceArray:
    """A new array of this form, with its axes in the same order in memory."""
    return like.library.describe("a result", like.library.empty_like(like.owner, dtype or like.dtype))
