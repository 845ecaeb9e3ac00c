"""The base of the benchmark cases: a function in a direction, the sizes it takes, its arrays and its traffic.

The cases themselves are in activations.py, layers.py and training.py, their table in cases.py. This module
must not know which library is timed (peers/) or how (measure.py).
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastnn._core.typing import Array

Shape = tuple[int, ...]

DTYPES = ("float32", "float64")
DIRECTIONS = ("forward", "backward", "forward+backward")
LAST = ":last"

LINE = 64  # bytes of a cache line
NUMPY_OFFSET = 16  # bytes after a line at which NumPy's large arrays begin, behind malloc's header


@dataclass(frozen=True)
class Size:
    """A shape (one axis: a number of elements), and whether the channels, axis 1, lie last in memory."""

    shape: Shape
    channels_last: bool = False

    @classmethod
    def parse(cls, text: str) -> Size:
        """Return the size that `str` wrote: `64x64x32x32`, `64x64x32x32:last`."""
        shape = tuple(int(axis) for axis in text.removesuffix(LAST).split("x"))
        if min(shape) < 1 or (text.endswith(LAST) and len(shape) < 3):
            raise ValueError(f"sizes must be positive, with three axes for {LAST}, got {text}")
        return cls(shape, text.endswith(LAST))

    def __str__(self) -> str:
        return "x".join(map(str, self.shape)) + (LAST if self.channels_last else "")

    @property
    def elements(self) -> int:
        """Elements in all."""
        return math.prod(self.shape)

    def view(self, buffer: Array) -> Array:
        """Return the first elements of a flat buffer in this shape and order."""
        if not self.channels_last:
            return view(buffer, self.shape)
        n, c, *space = self.shape
        return np.moveaxis(view(buffer, (n, *space, c)), -1, 1)


@dataclass(frozen=True)
class Case(ABC):
    """One function in one direction."""

    group: ClassVar[str]  # the name of its table
    sample: ClassVar[float] = 200e-6  # seconds of a sample: far above the clock's resolution
    calls: ClassVar[int] = 1  # the contestants' results are compared after this many calls

    label: str
    function: str
    direction: str
    signature: inspect.Signature  # of the reference's function of the name `callee`

    @property
    def callee(self) -> str:
        """The function's name in `fastnn.functional` and `fastnn.reference`."""
        return callee(self.function, self.direction)

    @property
    @abstractmethod
    def random(self) -> bool:
        """Whether the draws of another library make its result differ from ours."""

    @property
    @abstractmethod
    def checks(self) -> tuple[Size, ...]:
        """Small sizes at which the contestants are compared."""

    @abstractmethod
    def sizes(self, *, quick: bool) -> tuple[Size, ...]:
        """The sizes at which it is timed by default."""

    @abstractmethod
    def takes(self, size: Size) -> bool:
        """Whether it can be timed at this size."""

    @abstractmethod
    def traffic(self) -> tuple[float, float]:
        """Elements that must be read and written, per input element."""

    @abstractmethod
    def data(self, buffers: Buffers, size: Size) -> Data:
        """Return views of the shared memory as this case's arguments."""


def callee(function: str, direction: str) -> str:
    """The name of a function in one direction; losses give their gradient with the forward pass."""
    return f"{function}_backward" if direction == "backward" else function


@dataclass(frozen=True)
class Data:
    """A case's arguments by parameter name (`input`, `dy`, `output`, ...), and the buffer for its result."""

    case: Case
    size: Size
    values: dict[str, Any]
    out: Array

    @property
    def elements(self) -> int:
        """Input elements."""
        return int(self.values["input"].size)

    @property
    def moved(self) -> int:
        """Bytes that must be read and written."""
        return round(sum(self.case.traffic()) * self.elements * self.out.itemsize)


class Buffers:
    """The memory that all cases of one dtype share: normal data (never zeros), reused for every size.

    offset: bytes after a cache line at which each array begins.
    """

    def __init__(self, dtype: str, elements: int, *, offset: int = NUMPY_OFFSET, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        normal: Any = dtype
        self.dtype = np.dtype(dtype)
        elements += 4  # what a layout may add by rounding up
        self.input, self.dy, self.output, self.out = (empty(elements, self.dtype, offset) for _ in range(4))
        for drawn in (self.input, self.dy):
            rng.standard_normal(out=drawn, dtype=normal)
        for result in (self.output, self.out):
            result.fill(1)


def empty(elements: int, dtype: np.dtype[Any], offset: int) -> Array:
    """Return a flat array that begins this many bytes after a cache line."""
    raw = np.empty(elements * dtype.itemsize + LINE, np.uint8)
    start = (offset - raw.ctypes.data) % LINE
    return raw[start : start + elements * dtype.itemsize].view(dtype)


def view(buffer: Array, shape: Shape) -> Array:
    """Return the first elements of a flat buffer in this shape."""
    return buffer[: math.prod(shape)].reshape(shape)
