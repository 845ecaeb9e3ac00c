"""Which memory an array takes, and whether a kernel may write to one while it reads others."""

from __future__ import annotations

from collections.abc import Iterable

from fastnn.cuda._runtime.dtypes import ITEMSIZE
from fastnn.cuda._runtime.memory import DeviceArray, empty_like


def is_dense(array: DeviceArray) -> bool:
    """Whether its elements lie without gaps, in any order of the axes."""
    if array.contiguous:
        return True
    expected = 1
    for stride, length in sorted((s, n) for s, n in zip(array.strides(), array.shape, strict=True) if n != 1):
        if stride != expected:
            return False
        expected *= length
    return True


def extent(array: DeviceArray) -> tuple[int, int]:
    """The first address, and the first one behind the array."""
    size = ITEMSIZE.get(array.dtype, 8)
    if array.size == 0:
        return array.address, array.address
    steps = [(n - 1) * s * size for n, s in zip(array.shape, array.strides(), strict=True)]
    return array.address + sum(min(s, 0) for s in steps), array.address + sum(max(s, 0) for s in steps) + size


def may_overlap(a: DeviceArray, b: DeviceArray) -> bool:
    """Whether the two might share memory."""
    (a_first, a_end), (b_first, b_end) = extent(a), extent(b)
    return a_first < b_end and b_first < a_end


def is_harmless(
    out: DeviceArray, in_place: Iterable[DeviceArray | None], apart: Iterable[DeviceArray | None] = ()
) -> bool:
    """Whether a kernel that reads all these arrays may write to `out`, which may be one of `in_place`."""
    others = [array for array in in_place if array is not None and array.address != out.address]
    return not any(array is not None and may_overlap(out, array) for array in (*others, *apart))


def apart(array: DeviceArray, target: DeviceArray) -> DeviceArray:
    """The array, as a copy where writing to the target would change it."""
    if not may_overlap(array, target):
        return array
    copy = empty_like(array)
    copy.library.assign(copy.owner, array.owner)
    return copy
