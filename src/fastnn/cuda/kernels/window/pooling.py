"""Pooling on a GPU: the largest or the mean element of windows or regions, and the way back.

Forward, a thread (or 32, for the mean of many elements) has one result; backward, a thread has one element
of the image and looks for the windows that it is in, in their order, so that nothing is written twice. A
plane is one channel of one image; places.py says where its windows are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from numba import cuda, types

from fastnn.cuda._runtime import launch
from fastnn.cuda._runtime.compiler import Built, Key, Template, template
from fastnn.cuda._runtime.dtypes import ITEMSIZE
from fastnn.cuda._runtime.memory import DeviceArray
from fastnn.cuda._runtime.ptx.access import load, store
from fastnn.cuda._runtime.ptx.arithmetic import like, quotient
from fastnn.cuda._runtime.ptx.functions import device, made_once
from fastnn.cuda._runtime.ptx.integers import store_number, whole_number
from fastnn.cuda._runtime.ptx.real import computing
from fastnn.cuda.kernels.window.places import PLACES, Axis

BLOCK, MOST_BLOCKS = 256, 65535
WARP = 32
NUMBERS = {"uint8": 1, "uint32": 4}  # bytes of a tap's number
_NARROW = "neighbours in memory are other threads': windows begin at any address"

_axis = types.UniTuple(types.int64, 6)
_word, _address = types.int64, types.uint64


@made_once
def _start(bits: int) -> Any:
    """(shift): a thread's (first plane, planes until the next, element of the plane, lane of 2^bits)."""

    @device
    def start(shift: int) -> tuple[int, int, int, int]:
        slot, lane = cuda.threadIdx.x >> bits, cuda.threadIdx.x & ((1 << bits) - 1)
        planes = (BLOCK >> bits) >> shift
        element = (types.int64(cuda.blockIdx.x) << shift) + (slot & ((1 << shift) - 1))
        return cuda.blockIdx.y * planes + (slot >> shift), cuda.gridDim.y * planes, element, lane

    return start


# ---- kernels -----------------------------------------------------------------------------------------------


def _largest_examples() -> Iterator[Key]:
    yield from ((dtype, "windows", "uint8") for dtype in ITEMSIZE)
    yield from (
        ("float32", places, number) for places, number in (("windows", "uint32"), ("regions", "uint8"))
    )


@template(_largest_examples, narrow=_NARROW, registers=80)
def pool_largest(dtype: str, places: str, number: str) -> Built:
    """y = the largest element of each window, and which it is: of equal ones the first, of NaNs the last."""
    size, read, write, real = ITEMSIZE[dtype], load(dtype, 1), store(dtype, 1), computing(dtype)
    span, inside = PLACES[places].span, PLACES[places].inside
    start, note, bytes_of = _start(0), store_number(number), NUMBERS[number]

    def kernel(x: int, y: int, where: int, planes: int, shift: int, rows: Any, columns: Any) -> None:
        plane, step, p, _ = start(shift)
        if p >= rows[1] * columns[1]:
            return
        i = quotient(p, columns[1])
        v, best = cuda.local.array(1, real), cuda.local.array(1, real)
        while plane < planes:
            top, high, down = span(rows, plane, i)
            left, broad, right = span(columns, plane, p - i * columns[1])
            image = plane * rows[0] * columns[0]
            best[0] = like(v[0], -math.inf)
            found = -1
            above, below = inside(rows, top, high, down)
            before, behind = inside(columns, left, broad, right)
            for a in range(above, below):
                line = image + (top + a * down) * columns[0] + left
                for b in range(before, behind):
                    read(x + types.uint64((line + b * right) * size), v, 0)
                    if found < 0 or v[0] > best[0] or v[0] != v[0]:
                        best[0], found = v[0], a * broad + b
            result = plane * rows[1] * columns[1] + p
            write(y + types.uint64(result * size), best, 0)
            note(where + types.uint64(result * bytes_of), found)
            plane += step

    return kernel, (_address, _address, _address, _word, _word, _axis, _axis)


def _mean_examples() -> Iterator[Key]:
    return ((dtype, places, 0) for dtype in ITEMSIZE for places in PLACES)


@template(lambda: (*_mean_examples(), ("float32", "regions", 5)), narrow=_NARROW)
def pool_mean(dtype: str, places: str, bits: int) -> Built:
    """y = the sum of each window, by 2^bits threads, divided by `divisor`, or if 0 by its elements."""
    size, read, write, real = ITEMSIZE[dtype], load(dtype, 1), store(dtype, 1), computing(dtype)
    place, start = PLACES[places], _start(bits)
    span, inside, count, lanes = place.span, place.inside, place.count, 1 << bits

    def kernel(
        x: int, y: int, planes: int, shift: int, divisor: float, padded: int, rows: Any, columns: Any
    ) -> None:
        plane, step, p, lane = start(shift)
        if p >= rows[1] * columns[1]:
            return
        i = quotient(p, columns[1])
        j = p - i * columns[1]
        v, total = cuda.local.array(1, real), cuda.local.array(1, real)
        while plane < planes:
            top, high, down = span(rows, plane, i)
            left, broad, right = span(columns, plane, j)
            image = plane * rows[0] * columns[0]
            total[0] = like(v[0], 0)
            above, below = inside(rows, top, high, down)
            before, behind = inside(columns, left, broad, right)
            for a in range(above, below):
                line = image + (top + a * down) * columns[0] + left
                row = like(v[0], 0)  # summed by itself: the error grows with rows plus columns
                b = before + lane
                while b < behind:
                    read(x + types.uint64((line + b * right) * size), v, 0)
                    row += v[0]
                    b += lanes
                total[0] += row
            for k in range(bits):
                total[0] += cuda.shfl_xor_sync(0xFFFFFFFF, total[0], 1 << k)
            elements = count(rows, plane, i, padded) * count(columns, plane, j, padded)
            total[0] /= like(v[0], divisor) if divisor != 0 else like(v[0], elements)
            if lane == 0:
                write(y + types.uint64((plane * rows[1] * columns[1] + p) * size), total, 0)
            plane += step

    return kernel, (_address, _address, _word, _word, types.float64, _word, _axis, _axis)


@device
def _tap(distance: int, apart: int) -> int:
    """Which tap of a window is so far behind its first one; -1 if none is."""
    tap = quotient(distance, apart)
    return tap if tap * apart == distance else -1


@template(_largest_examples, narrow=_NARROW, registers=80)
def spread_largest(dtype: str, places: str, number: str) -> Built:
    """dx = the sum of dy over the windows of which x is the largest element."""
    size, read, write, real = ITEMSIZE[dtype], load(dtype, 1), store(dtype, 1), computing(dtype)
    span, over, start = PLACES[places].span, PLACES[places].over, _start(0)
    noted, bytes_of = whole_number(number), NUMBERS[number]

    def kernel(dy: int, dx: int, where: int, planes: int, shift: int, rows: Any, columns: Any) -> None:
        plane, step, p, _ = start(shift)
        if p >= rows[0] * columns[0]:
            return
        h = quotient(p, columns[0])
        w = p - h * columns[0]
        v, total = cuda.local.array(1, real), cuda.local.array(1, real)
        while plane < planes:
            total[0] = like(v[0], 0)
            above, below = over(rows, plane, h)
            before, behind = over(columns, plane, w)
            for i in range(above, below):
                top, _, down = span(rows, plane, i)
                a = _tap(h - top, down)
                for j in range(before, behind):
                    left, broad, right = span(columns, plane, j)
                    b = _tap(w - left, right)
                    result = (plane * rows[1] + i) * columns[1] + j
                    if a < 0 or b < 0:
                        continue
                    if noted(where + types.uint64(result * bytes_of)) == a * broad + b:
                        read(dy + types.uint64(result * size), v, 0)
                        total[0] += v[0]
            write(dx + types.uint64((plane * rows[0] * columns[0] + p) * size), total, 0)
            plane += step

    return kernel, (_address, _address, _address, _word, _word, _axis, _axis)


@template(lambda: ((dtype, places) for dtype in ITEMSIZE for places in PLACES), narrow=_NARROW, registers=88)
def spread_mean(dtype: str, places: str) -> Built:
    """dx = the sum of dy, divided as the mean was, over the windows that x is in."""
    size, read, write, real = ITEMSIZE[dtype], load(dtype, 1), store(dtype, 1), computing(dtype)
    count, over, start = PLACES[places].count, PLACES[places].over, _start(0)

    def kernel(
        dy: int, dx: int, planes: int, shift: int, divisor: float, padded: int, rows: Any, columns: Any
    ) -> None:
        plane, step, p, _ = start(shift)
        if p >= rows[0] * columns[0]:
            return
        h = quotient(p, columns[0])
        v, total = cuda.local.array(1, real), cuda.local.array(1, real)
        while plane < planes:
            total[0] = like(v[0], 0)
            above, below = over(rows, plane, h)
            before, behind = over(columns, plane, p - h * columns[0])
            for i in range(above, below):
                for j in range(before, behind):
                    read(dy + types.uint64(((plane * rows[1] + i) * columns[1] + j) * size), v, 0)
                    elements = count(rows, plane, i, padded) * count(columns, plane, j, padded)
                    total[0] += v[0] / (like(v[0], divisor) if divisor != 0 else like(v[0], elements))
            write(dx + types.uint64((plane * rows[0] * columns[0] + p) * size), total, 0)
            plane += step

    return kernel, (_address, _address, _word, _word, types.float64, _word, _axis, _axis)


# ---- launches ----------------------------------------------------------------------------------------------


def _run(
    of: Template,
    key: Key,
    arrays: tuple[DeviceArray, ...],
    planes: int,
    elements: int,
    bits: int,
    *rest: float,
) -> None:
    """Launch with 2^bits threads for each element of a plane, and in a block as many planes as fit."""
    if planes * elements == 0:
        return
    slots = BLOCK >> bits
    shift = min(elements - 1, slots - 1).bit_length()
    grid = -(-elements // (1 << shift)), min(-(-planes // (slots >> shift)), MOST_BLOCKS)
    addresses = [array.address for array in arrays]
    launch.run(of, key, arrays[0], grid, BLOCK, *addresses, planes, shift, *rest)


class Pooling(NamedTuple):
    """Windows or regions of planes."""

    places: str  # "windows" or "regions"
    planes: int
    rows: Axis
    columns: Axis
    divisor: float = 0.0  # of means; 0: the number of elements
    padded: int = 0  # whether the padding counts: 1 or 0

    def _elements(self, which: int) -> int:
        """Of a plane of images, 0, or of results, 1."""
        return self.rows[which] * self.columns[which]

    def largest(self, x: DeviceArray, y: DeviceArray, where: DeviceArray) -> None:
        """y and `where` from x."""
        key, axes = (x.dtype, self.places, where.dtype), (*self.rows, *self.columns)
        _run(pool_largest, key, (x, y, where), self.planes, self._elements(1), 0, *axes)

    def spread_largest(self, dy: DeviceArray, dx: DeviceArray, where: DeviceArray) -> None:
        """dx from dy and `where`."""
        key, axes = (dy.dtype, self.places, where.dtype), (*self.rows, *self.columns)
        _run(spread_largest, key, (dy, dx, where), self.planes, self._elements(0), 0, *axes)

    def mean(self, x: DeviceArray, y: DeviceArray) -> None:
        """y from x."""
        many = self.places == "regions" and self._elements(0) >= WARP * self._elements(1)
        bits = WARP.bit_length() - 1 if many else 0
        rest = self.divisor, self.padded, *self.rows, *self.columns
        _run(pool_mean, (x.dtype, self.places, bits), (x, y), self.planes, self._elements(1), bits, *rest)

    def spread_mean(self, dy: DeviceArray, dx: DeviceArray) -> None:
        """dx from dy."""
        rest = self.divisor, self.padded, *self.rows, *self.columns
        _run(spread_mean, (dy.dtype, self.places), (dy, dx), self.planes, self._elements(0), 0, *rest)
