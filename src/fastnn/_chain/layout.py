"""How a chain sees an array's memory, whose channels are axis 1 in shape and may be last in memory.

It knows shapes and memory, and nothing of stages.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastnn import _kernels
from fastnn._core.typing import Array


class Layout(NamedTuple):
    """An array's memory as three dimensions: (outer, channels, inner), or (outer, inner, channels).

    For (N, C, H, W) outer is N and inner H W.
    """

    shape: tuple[int, ...]
    outer: int
    channels: int
    inner: int
    channels_last: bool  # in memory; also where inner is 1, where both are the same

    @property
    def usual(self) -> bool:
        """Whether memory is in the order of the axes."""
        return not self.channels_last or len(self.shape) == 2

    def empty(self, dtype: np.dtype[Any]) -> Array:
        """A new array of this layout."""
        if self.usual:
            return _kernels.empty(self.shape, dtype)
        n, c, *positions = self.shape
        return np.moveaxis(_kernels.empty((n, *positions, c), dtype), -1, 1)

    def holds(self, array: Array, dtype: np.dtype[Any]) -> bool:
        """Whether the array already is of this layout, and of this dtype."""
        if array.dtype != dtype or not array.flags.aligned:
            return False
        return array.flags.c_contiguous if self.usual else _channels_last(array)

    def arrange(self, array: Array, dtype: np.dtype[Any]) -> Array:
        """The same values in this layout and dtype."""
        if self.holds(array, dtype):
            return array
        copy = self.empty(dtype)
        copy[...] = array
        return copy


def _channels_last(array: Array) -> bool:
    return np.moveaxis(array, 1, -1).flags.c_contiguous


def layout_of(array: Array) -> Layout:
    """The layout of an array's memory; the usual one where neither layout fits, as with gaps."""
    last = array.ndim > 2 and not array.flags.c_contiguous and _channels_last(array)
    return layout(array.shape, array.size, last)


def layout(shape: tuple[int, ...], size: int, channels_last: bool) -> Layout:
    """The layout of an array whose memory has the channels last, or is in the order of the axes."""
    if len(shape) < 2 or shape[1] == 1:
        return Layout(shape, 1, 1, size, False)
    if size == 0:
        return Layout(shape, 0, shape[1], 0, False)
    outer, channels = shape[0], shape[1]
    inner = size // (outer * channels)
    return Layout(shape, outer, channels, inner, inner == 1 or channels_last)
