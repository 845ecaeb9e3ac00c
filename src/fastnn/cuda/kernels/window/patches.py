"""The patches of images that a convolution multiplies, as columns of a matrix, and the way back.

A patch is what a window's taps see: columns[c, i, j, p] is the element of channel c on which tap (i, j) of
window p falls, 0 in the padding. The way back is for each element of an image the sum over the taps that fall
on it, in their order, so that nothing is written twice. A thread has one window, or one element of an image,
in some channels.
"""

from __future__ import annotations

from typing import Any

from numba import cuda, types

from fastnn.cuda._runtime import launch
from fastnn.cuda._runtime.compiler import Built, template
from fastnn.cuda._runtime.dtypes import ITEMSIZE
from fastnn.cuda._runtime.memory import DeviceArray
from fastnn.cuda._runtime.ptx.access import load, store
from fastnn.cuda._runtime.ptx.arithmetic import like, quotient
from fastnn.cuda._runtime.ptx.functions import device
from fastnn.cuda._runtime.ptx.real import computing
from fastnn.cuda.kernels.window.places import Axis

BLOCK = 256
MOST = 65535  # blocks along the grid's second and third axes, so that many images at a time
CHANNELS = 4  # that a thread has, so that finding its place is worth while

_NARROW = "neighbours in memory are other threads': rows and strides begin at any address"

_axis = types.UniTuple(types.int64, 6)
_word = types.int64


@template(lambda: ((dtype,) for dtype in ITEMSIZE), narrow=_NARROW)
def gather_patches(dtype: str) -> Built:
    """columns[c, i, j, n, p], with distances of taps and of images, from x[n, c, h, w]."""
    size, read, write, real = ITEMSIZE[dtype], load(dtype, 1), store(dtype, 1), computing(dtype)

    def kernel(x: int, target: int, channels: int, tap: int, image: int, rows: Any, columns: Any) -> None:
        height, many, high, down, top, apart = rows
        width, wide, broad, right, left, aside = columns
        p = types.int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        if p >= many * wide:
            return
        row = quotient(p, wide)
        top, left = top + row * down, left + (p - row * wide) * right
        v = cuda.local.array(1, real)
        plane = (types.int64(cuda.blockIdx.z) * channels + cuda.blockIdx.y) * height * width
        place = cuda.blockIdx.y * high * broad * tap + cuda.blockIdx.z * image + p
        c = types.int64(cuda.blockIdx.y)
        while c < channels:
            for i in range(high):
                h = top + i * apart
                w = left
                for _ in range(broad):
                    v[0] = like(v[0], 0)
                    if h >= 0 and h < height and w >= 0 and w < width:
                        read(x + types.uint64((plane + h * width + w) * size), v, 0)
                    write(target + types.uint64(place * size), v, 0)
                    place += tap
                    w += aside
            plane += cuda.gridDim.y * height * width
            place += (cuda.gridDim.y - 1) * high * broad * tap
            c += cuda.gridDim.y

    return kernel, (types.uint64, types.uint64, _word, _word, _word, _axis, _axis)


def _place(strided: bool) -> Any:
    """(distance, stride, places): the window that is so far behind the first one; -1: there is none."""

    @device
    def each(distance: int, stride: int, places: int) -> int:
        return distance if distance >= 0 and distance < places else -1

    @device
    def some(distance: int, stride: int, places: int) -> int:
        if distance < 0:
            return -1
        place = quotient(distance, stride)
        return place if place * stride == distance and place < places else -1

    return some if strided else each


@template(lambda: ((dtype, strided) for dtype in ITEMSIZE for strided in (False, True)), narrow=_NARROW)
def sum_patches(dtype: str, strided: bool) -> Built:
    """dx[n, c, h, w] = the sum of columns[n, c, i, j, p] over the taps that fall on it."""
    size, read, write, real = ITEMSIZE[dtype], load(dtype, 1), store(dtype, 1), computing(dtype)
    place_of = _place(strided)

    def kernel(source: int, dx: int, channels: int, rows: Any, columns: Any) -> None:
        height, many, high, down, top, apart = rows
        width, wide, broad, right, left, aside = columns
        p = types.int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        if p >= height * width:
            return
        h = quotient(p, width)
        from_top, from_left = h - top, p - h * width - left
        v, total = cuda.local.array(1, real), cuda.local.array(1, real)
        c = types.int64(cuda.blockIdx.y)
        while c < channels:
            plane = cuda.blockIdx.z * channels + c
            total[0] = like(v[0], 0)
            for i in range(high):
                row = place_of(from_top - i * apart, down, many)
                if row < 0:
                    continue
                place = ((plane * high + i) * broad * many + row) * wide
                for j in range(broad):
                    column = place_of(from_left - j * aside, right, wide)
                    if column >= 0:
                        read(source + types.uint64((place + column) * size), v, 0)
                        total[0] += v[0]
                    place += many * wide
            write(dx + types.uint64((plane * height * width + p) * size), total, 0)
            c += cuda.gridDim.y

    return kernel, (types.uint64, types.uint64, _word, _axis, _axis)


def grid(elements: int, channels: int, images: int) -> tuple[tuple[int, int, int], int]:
    """Blocks and threads: for each element of a plane a thread, in some channels of an image."""
    block = min(BLOCK, -(-elements // 32) * 32)
    return (-(-elements // block), min(-(-channels // CHANNELS), MOST), images), block


def gather(
    x: DeviceArray, images: tuple[int, int], columns: DeviceArray, windows: tuple[Axis, Axis], together: bool
) -> None:
    """The patches of `images`, a first one and a number, of x, (N, C, H, W).

    columns: (C kH kW, images, windows) if they are to be `together`, else (images, C kH kW, windows).
    """
    rows, across = windows
    (first, count), (_, channels, height, width) = images, x.shape
    places, taps = rows[1] * across[1], channels * rows[2] * across[2]
    tap, image = (count * places, places) if together else (places, taps * places)
    address = x.address + first * channels * height * width * ITEMSIZE[x.dtype]
    if count * channels * places == 0:
        return
    blocks, block = grid(places, channels, count)
    numbers = address, columns.address, channels, tap, image, *rows, *across
    launch.run(gather_patches, (x.dtype,), x, blocks, block, *numbers)


def scatter(
    columns: DeviceArray, dx: DeviceArray, images: tuple[int, int], windows: tuple[Axis, Axis]
) -> None:
    """dx[images] from the gradients for their patches, (images, C kH kW, windows)."""
    rows, across = windows
    (first, count), (_, channels, height, width) = images, dx.shape
    address = dx.address + first * channels * height * width * ITEMSIZE[dx.dtype]
    if count * channels * height * width == 0:
        return
    blocks, block = grid(height * width, channels, count)
    numbers = columns.address, address, channels, *rows, *across
    key = dx.dtype, max(rows[3], across[3]) > 1
    launch.run(sum_patches, key, dx, blocks, block, *numbers)
