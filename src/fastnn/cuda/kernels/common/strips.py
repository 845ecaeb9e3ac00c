"""The kernel over arrays that are seen as (outer, middle, n) strips, each array with strides of its own.

So it works on halves of rows, or on rows that share a weight each. A thread holds `width` elements of every
operand in a local array v: v[j, k] is element k of operand j. They come by 16-byte accesses where all strips
begin at multiples of 16 bytes. It must not know what a body computes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from numba import cuda, types

from fastnn.cuda._runtime import launch
from fastnn.cuda._runtime.compiler import Built, Key, Template
from fastnn.cuda._runtime.dtypes import ITEMSIZE, WIDTH
from fastnn.cuda._runtime.memory import DeviceArray
from fastnn.cuda._runtime.ptx.access import load, store
from fastnn.cuda._runtime.ptx.functions import device, in_turn
from fastnn.cuda._runtime.ptx.real import computing

THREADS = 256
_MOST = 65535  # blocks in the grid's second and third dimension


class Strips(NamedTuple):
    """An operand: the address of its first element, and the elements between strips."""

    address: int
    outer: int
    middle: int


def strips(dtype: str, operands: str, body: Callable[[int], Any]) -> Built:
    """A kernel (addresses, strides, outer, middle, n) for arrays of one dtype.

    operands: a letter for each, in order: "w" is written, "r" is read, and of "s" one element is read for all
    of a strip. body(span) is a device function (v) that works on `span` elements in place.
    """
    real, width, count = computing(dtype), WIDTH[dtype], len(operands)
    read_whole, write_whole, run_whole = *_moves(dtype, operands, width), body(width)
    read_one, write_one, run_one = *_moves(dtype, operands, 1), body(1)
    misaligned, one = _misaligned(dtype, operands), 1

    def kernel(a: Any, s: Any, outer: int, middle: int, n: int) -> None:
        m = types.int64(cuda.blockIdx.x) * cuda.blockDim.y + cuda.threadIdx.y
        tile, whole = types.int64(cuda.blockDim.x) * width, misaligned(a, s) == 0
        o = types.int64(cuda.blockIdx.z)
        while m < middle and o < outer:  # a range with such steps would divide
            start = cuda.blockIdx.y * tile
            while start < n:
                i = start + cuda.threadIdx.x * (width if whole else 1)
                end, step = (min(i + width, n), 1) if whole else (min(start + tile, n), cuda.blockDim.x)
                if whole and i + width <= n:
                    v = cuda.local.array((count, width), real)
                    read_whole((a, s), v, (o, m, i))
                    run_whole(v)
                    write_whole((a, s), v, (o, m, i))
                    i = end
                while i < end:
                    w = cuda.local.array((count, one), real)
                    read_one((a, s), w, (o, m, i))
                    run_one(w)
                    write_one((a, s), w, (o, m, i))
                    i += step
                start += cuda.gridDim.y * tile
            o += cuda.gridDim.z

    strides = types.UniTuple(types.int64, 2 * count)
    return kernel, (types.UniTuple(types.uint64, count), strides, types.int64, types.int64, types.int64)


def _misaligned(dtype: str, operands: str) -> Any:
    """(addresses, strides): 0 if all strips begin at multiples of 16 bytes."""
    size, along = ITEMSIZE[dtype], tuple(j for j, letter in enumerate(operands) if letter != "s")
    places = len(along)

    @device
    def bits(a: Any, s: Any) -> Any:
        together = types.uint64(0)
        for k in range(places):
            j = along[k]
            together |= a[j] | types.uint64(s[2 * j] * size) | types.uint64(s[2 * j + 1] * size)
        return together & 15

    return bits


def _moves(dtype: str, operands: str, width: int) -> tuple[Any, Any]:
    """((addresses, strides), v, (o, m, i)): loads what is read, and stores what is written."""
    reads = [_move(j, dtype, width, letter) for j, letter in enumerate(operands) if letter != "w"]
    writes = [_move(j, dtype, width, letter) for j, letter in enumerate(operands) if letter == "w"]
    return in_turn(reads), in_turn(writes)


def _move(j: int, dtype: str, width: int, letter: str) -> Any:
    size, spread = ITEMSIZE[dtype], letter == "s"
    access = store(dtype, width) if letter == "w" else load(dtype, 1 if spread else width)
    along, copies = (0, width) if spread else (1, 1)

    @device
    def move(memory: Any, v: Any, at: Any) -> None:
        a, s = memory
        place = at[0] * s[2 * j] + at[1] * s[2 * j + 1] + at[2] * along
        access(a[j] + types.uint64(place * size), v, j * width)
        for k in range(1, copies):
            v[j, k] = v[j, 0]

    return move


def run(
    template: Template, key: Key, like: DeviceArray, operands: Sequence[Strips], shape: tuple[int, int, int]
) -> None:
    """Launch a kernel that `strips` made; shape: (outer, middle, n)."""
    outer, middle, n = shape
    if outer * middle * n == 0:
        return
    vectors = -(-n // WIDTH[like.dtype])
    across = min(THREADS, 1 << (vectors - 1).bit_length())
    down = THREADS // across
    grid = -(-middle // down), min(_MOST, -(-vectors // across)), min(_MOST, outer)
    addresses, strides = [o.address for o in operands], [s for o in operands for s in (o.outer, o.middle)]
    block = across, down
    launch.run(template, key, like, grid, block, *addresses, *strides, outer, middle, n)
