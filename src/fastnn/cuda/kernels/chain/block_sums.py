"""Sums over the threads of a block, for each channel of its tile, in an order that the cut alone decides."""

from __future__ import annotations

from typing import Any

from numba import cuda, types

from fastnn.cuda._runtime.ptx.arithmetic import like, quotient
from fastnn.cuda._runtime.ptx.functions import device, made_once
from fastnn.cuda.kernels.chain.channels import ACROSS, INNER, LINES, THREADS


@device
def warp_sum(x: float) -> float:
    """The sum over a warp, the same in all of its threads."""
    for k in range(5):
        x += cuda.shfl_xor_sync(0xFFFFFFFF, x, 16 >> k)
    return x


def room(width: int, single: bool) -> tuple[int, int]:
    """The shape of the shared memory that a sum takes, an array of the computing type."""
    return 2, THREADS // 32 if single else THREADS * width


@made_once
def sums(width: int, single: bool, put: Any) -> Any:
    """(v, g, channels, room, to): sums of the two rows of v, (2, width), for each channel of a block's tile.

    One thread of each channel gets both: put(to, channel, first, second), where channel counts from the
    tile's first. Between two sums in one room, threads must wait for each other.
    """
    return _sums_of_one(width, put) if single else _sums_of_several(width, put)


def _sums_of_one(width: int, put: Any) -> Any:
    warps = THREADS // 32

    @device
    def reduce(v: Any, g: Any, channels: int, room: Any, to: Any) -> None:
        thread = cuda.threadIdx.x
        for j in range(2):
            total = v[j, 0]
            for k in range(1, width):
                total += v[j, k]
            total = warp_sum(total)
            if thread & 31 == 0:
                room[j, thread >> 5] = total
        cuda.syncthreads()
        if thread == 0:
            first, second = room[0, 0], room[1, 0]
            for k in range(1, warps):
                first, second = first + room[0, k], second + room[1, k]
            put(to, types.int64(0), first, second)

    return reduce


def _sums_of_several(width: int, put: Any) -> Any:
    warps = THREADS // 32

    @device
    def reduce(v: Any, g: Any, channels: int, room: Any, to: Any) -> None:
        thread, inner = types.int32(cuda.threadIdx.x), types.int32(g[INNER])
        for j in range(2):
            for k in range(width):
                room[j, thread * width + k] = v[j, k]
        cuda.syncthreads()
        row, entries = types.int32(g[ACROSS]) * width, types.int32(g[LINES]) * inner
        for slot in range(thread >> 5, channels, warps):
            first, second = like(v[0, 0], 0), like(v[0, 0], 0)
            for entry in range(thread & 31, entries, 32):
                line = types.int32(quotient(entry, inner))
                place = line * row + slot * inner + (entry - line * inner)
                first, second = first + room[0, place], second + room[1, place]
            first, second = warp_sum(first), warp_sum(second)
            if thread & 31 == 0:
                put(to, types.int64(slot), first, second)

    return reduce
