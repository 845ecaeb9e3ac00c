"""The kernel that goes over arrays element by element: operands to registers, a body, and back.

A thread holds `span` elements of every operand, in a local array v: v[j, k] is element k of operand j. They
come by 16-byte accesses where all addresses are multiples of 16 and the block's tile is whole, else one by
one. Where a tile begins is counted in 64 bits, the places in it in 32. It must not know what a body computes.
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
from fastnn.cuda._runtime.ptx.functions import device, in_turn, made_once
from fastnn.cuda._runtime.ptx.real import computing

THREADS = 256
#: Chunks of a thread, a block's width apart, so that two loads are in flight.
CHUNKS = 2


class Operand(NamedTuple):
    """One array of a kernel."""

    dtype: str
    read: bool
    written: bool


def chunk(operands: Sequence[Operand]) -> int:
    """The elements that a thread takes together: a whole number of 16-byte vectors of every operand."""
    return max(WIDTH[operand.dtype] for operand in operands)


def tile(operands: Sequence[Operand]) -> int:
    """The elements that a block takes."""
    return THREADS * CHUNKS * chunk(operands)


class Draws(NamedTuple):
    """Device functions that tell which elements dropout keeps.

    several(width, chunks, stride) makes the one for `chunks` chunks of `width` elements, `stride` apart: bit
    k of its result is that of the k-th of these elements.
    """

    words: int  # that the kernel takes
    now: Any  # (words): what the other two need of the key
    one: Any  # (now, words, i): whether element i is kept, in bit 0
    several: Callable[[int, int, int], Any]  # makes (now, words, start)


@device
def _no_key(words: Any) -> int:
    return 0


@device
def _keep_all(now: Any, words: Any, i: int) -> int:
    return -1


#: Of kernels without dropout.
NO_DRAWS = Draws(0, _no_key, _keep_all, lambda width, chunks, stride: _keep_all)


def tiled(
    operands: Sequence[Operand], numbers: int, body: Callable[[int], Any], draws: Draws = NO_DRAWS
) -> Built:
    """A kernel (addresses, n, words, p); as many addresses as operands, p `numbers` floats.

    body(span) is a device function (v, keep, p) that works on `span` elements in place; bit k of keep tells
    whether dropout keeps element k.
    """
    real = computing("float64" if any(o.dtype == "float64" for o in operands) else "float32")
    width, count = chunk(operands), len(operands)
    whole, one = CHUNKS * width, 1
    given = tuple(operands)
    load_whole, store_whole = moves(given, width, whole, load), moves(given, width, whole, store)
    load_one, store_one = moves(given, one, one, load), moves(given, one, one, store)
    run_whole, run_one = body(whole), body(one)
    key, keep_whole, keep_one = draws.now, draws.several(width, CHUNKS, THREADS * width), draws.one

    def kernel(a: Any, n: int, words: Any, p: Any) -> None:
        lane, tile = types.uint32(cuda.threadIdx.x), types.int64(cuda.blockIdx.x) * (THREADS * whole)
        drawn, together = key(words), types.uint64(0)
        for j in range(count):
            together |= a[j]
        if together & 15 == 0 and tile + THREADS * whole <= n:
            v = cuda.local.array((count, whole), real)
            at = tile, types.uint32(lane * width)
            load_whole(a, v, at)
            run_whole(v, keep_whole(drawn, words, tile + lane * width), p)
            store_whole(a, v, at)
        else:
            w = cuda.local.array((count, one), real)
            left, i = types.int32(min(n - tile, types.int64(THREADS * whole))), types.int32(lane)
            while i < left:  # a range would count in 64 bits
                at = tile, types.uint32(i)
                load_one(a, w, at)
                run_one(w, keep_one(drawn, words, tile + i), p)
                store_one(a, w, at)
                i = types.int32(i + THREADS)

    words = types.UniTuple(types.int64, draws.words)
    addresses = types.UniTuple(types.uint64, count)
    return kernel, (addresses, types.int64, words, types.UniTuple(types.float64, numbers))


@made_once
def moves(
    operands: tuple[Operand, ...], width: int, span: int, load_or_store: Callable[[str, int], Any]
) -> Any:
    """(addresses, v, at): loads or stores all that is read, or written: span / width chunks of each.

    at: where the tile begins, and the thread's first element in it.
    """
    used = [
        (j, operand.dtype)
        for j, operand in enumerate(operands)
        if (operand.read if load_or_store is load else operand.written)
    ]
    return in_turn([_move(j, dtype, width, span, load_or_store) for j, dtype in used])


@made_once
def _move(operand: int, dtype: str, width: int, span: int, load_or_store: Callable[[str, int], Any]) -> Any:
    piece, size = min(WIDTH[dtype], width), ITEMSIZE[dtype]
    access = load_or_store(dtype, piece)
    chunks, pieces = span // width, width // piece

    @device
    def move(a: Any, v: Any, at: Any) -> None:
        tile, start = at
        first = a[operand] + types.uint64(tile * size) + types.uint32(start * size)
        for c in range(chunks):
            for k in range(pieces):
                further = types.uint64((c * (THREADS * width) + k * piece) * size)
                access(first + further, v, operand * span + c * width + k * piece)

    return move


def run(
    template: Template,
    key: Key,
    tile: int,
    arrays: Sequence[DeviceArray],
    numbers: Sequence[float],
    words: Sequence[int] = (),
) -> None:
    """Launch a kernel that `tiled` made on arrays of one size, given in its operands' order.

    tile: the elements that a block takes. words: those of its draws.
    """
    like = arrays[0]
    count = like.size
    if count == 0:
        return
    grid, addresses = -(-count // tile), [array.address for array in arrays]
    taken = map(launch.signed, words)
    launch.run(template, key, like, grid, THREADS, *addresses, count, *taken, *numbers)
