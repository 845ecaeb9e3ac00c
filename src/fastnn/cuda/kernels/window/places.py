"""Where windows and adaptive regions of images are, axis by axis, as device functions.

An axis, of rows or of columns, is six numbers: of windows those of fastnn.functional.conv.Axis; of regions
(size, places, address of where they begin, of where they end, places of a plane, or 0 if all planes have the
same, 0). A plane is one channel of one image.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import types

from fastnn.cuda._runtime.ptx.arithmetic import quotient
from fastnn.cuda._runtime.ptx.functions import device
from fastnn.cuda._runtime.ptx.integers import word_at

#: The numbers of an axis.
Axis = tuple[int, int, int, int, int, int]


class Places(NamedTuple):
    """Device functions. span(axis, plane, i): (first element, how many, distance) of window i.

    inside(axis, first, many, distance): (first, behind the last) of its elements that are in the image.
    count(axis, plane, i, padded): its elements for a mean, with those in the padding if padded is 1.
    over(axis, plane, at): (first, behind the last) of the windows that may have element `at`.
    """

    span: Any
    inside: Any
    count: Any
    over: Any


@device
def _window(axis: Any, plane: int, i: int) -> tuple[int, int, int]:
    return axis[4] + i * axis[3], axis[2], axis[5]


@device
def _window_inside(axis: Any, first: int, many: int, apart: int) -> tuple[int, int]:
    before = quotient(apart - 1 - first, apart) if first < 0 else 0
    return before, min(quotient(axis[0] - first + apart - 1, apart), many)


@device
def _window_count(axis: Any, plane: int, i: int, padded: int) -> Any:
    around, begin = axis[4] * padded, axis[4] + i * axis[3]
    return min(begin + axis[2], axis[0] - around) - max(begin, around)


@device
def _windows_over(axis: Any, plane: int, at: int) -> tuple[int, int]:
    distance, stride = at - axis[4], axis[3]
    behind = distance - (axis[2] - 1) * axis[5] + stride - 1
    first = quotient(behind, stride) if behind > 0 else 0
    return first, min(quotient(distance, stride) + 1, axis[1])


@device
def _region(axis: Any, plane: int, i: int) -> tuple[int, int, int]:
    at = types.uint64(8 * (plane * axis[4] + i))
    begin = word_at(types.uint64(axis[2]) + at)
    return begin, word_at(types.uint64(axis[3]) + at) - begin, 1


@device
def _region_inside(axis: Any, first: int, many: int, apart: int) -> tuple[int, int]:
    return 0, many


@device
def _region_count(axis: Any, plane: int, i: int, padded: int) -> Any:
    return _region(axis, plane, i)[1]


@device
def _count_up_to(numbers: int, count: int, at: int) -> int:
    """How many of the rising numbers are not above `at`."""
    low, high = 0, count
    while low < high:
        middle = (low + high) >> 1
        if word_at(types.uint64(numbers + 8 * middle)) <= at:
            low = middle + 1
        else:
            high = middle
    return low


@device
def _regions_over(axis: Any, plane: int, at: int) -> tuple[int, int]:
    shift = 8 * plane * axis[4]
    return _count_up_to(axis[3] + shift, axis[1], at), _count_up_to(axis[2] + shift, axis[1], at)


PLACES = {
    "windows": Places(_window, _window_inside, _window_count, _windows_over),
    "regions": Places(_region, _region_inside, _region_count, _regions_over),
}
