"""The kernel that goes over arrays element by element: operands to registers, a body, and back.

A thread holds `span` elements of every operand, in a local array v: v[j, k] is element k of operand j. They
come by 16-byte accesses where all addresses are multiples of 16 and the block's tile is whole, else one by
one. It must not know what a body computes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from numba import cuda, types

from fastnn.cuda import _launch
from fastnn.cuda._arrays import DeviceArray, stream
from fastnn.cuda._compile import Built, Key, Template
from fastnn.cuda._ptx import ITEMSIZE, WIDTH, computing, device, in_turn, load, made_once, store
from fastnn.cuda.kernels import philox

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


def signed(word: int) -> int:
    """A 64-bit word as the int64 that a launch takes."""
    return word - 2**64 if word >= 2**63 else word


def blocks(operands: Sequence[Operand], count: int) -> int:
    """The blocks of a grid for `count` elements."""
    tile = THREADS * CHUNKS * chunk(operands)
    return max(1, -(-count // tile))


def tiled(
    operands: Sequence[Operand], numbers: int, body: Callable[[int], Any], draws: bool = False
) -> Built:
    """A kernel (addresses, n, seed, offset, threshold, p); as many addresses as operands, p `numbers` floats.

    body(span) is a device function (v, keep, p) that works on `span` elements in place; with `draws`, bit k
    of keep tells whether dropout with that key and threshold keeps element k.
    """
    real = computing("float64" if any(o.dtype == "float64" for o in operands) else "float32")
    width, count = chunk(operands), len(operands)
    whole, one = CHUNKS * width, 1
    given = tuple(operands)
    load_whole, store_whole = _moves(given, width, whole, load), _moves(given, width, whole, store)
    load_one, store_one = _moves(given, one, one, load), _moves(given, one, one, store)
    run_whole, run_one = body(whole), body(one)
    keep_whole, keep_one = (_keep(width), philox.keep(1)) if draws else (_keep_all, _keep_all)

    def kernel(a: Any, n: int, seed: int, offset: int, threshold: int, p: Any) -> None:
        lane, tile = types.int64(cuda.threadIdx.x), types.int64(cuda.blockIdx.x) * (THREADS * whole)
        together = types.uint64(0)
        for j in range(count):
            together |= a[j]
        if together & 15 == 0 and tile + THREADS * whole <= n:
            v = cuda.local.array((count, whole), real)
            start = tile + lane * width
            load_whole(a, v, start)
            run_whole(v, keep_whole(seed, offset, start, threshold), p)
            store_whole(a, v, start)
        else:
            w = cuda.local.array((count, one), real)
            for i in range(tile + lane, min(tile + THREADS * whole, n), THREADS):
                load_one(a, w, i)
                run_one(w, keep_one(seed, offset, i, threshold), p)
                store_one(a, w, i)

    address = types.UniTuple(types.uint64, count)
    word = types.int64
    return kernel, (address, word, word, word, word, types.UniTuple(types.float64, numbers))


@made_once
def _moves(operands: tuple[Operand, ...], width: int, span: int, kind: Callable[[str, int], Any]) -> Any:
    """(addresses, v, start): loads or stores all that is read, or written: span / width chunks of each."""
    used = [
        (j, operand.dtype)
        for j, operand in enumerate(operands)
        if (operand.read if kind is load else operand.written)
    ]
    return in_turn([_move(j, dtype, width, span, kind) for j, dtype in used])


@made_once
def _move(operand: int, dtype: str, width: int, span: int, kind: Callable[[str, int], Any]) -> Any:
    piece, size = min(WIDTH[dtype], width), ITEMSIZE[dtype]
    access = kind(dtype, piece)
    chunks, pieces = span // width, width // piece

    @device
    def move(a: Any, v: Any, start: int) -> None:
        for c in range(chunks):
            for k in range(pieces):
                place = start + c * (THREADS * width) + k * piece
                access(a[operand] + types.uint64(place * size), v, operand * span + c * width + k * piece)

    return move


@device
def _keep_all(seed: int, offset: int, start: int, threshold: int) -> int:
    """Where nothing is drawn."""
    return -1


@made_once
def _keep(width: int) -> Any:
    """(seed, offset, start, threshold): the keep bits of all chunks of a thread."""
    keep = philox.keep(width)

    @device
    def keep_chunks(seed: int, offset: int, start: int, threshold: int) -> int:
        bits = 0
        for c in range(CHUNKS):
            bits |= keep(seed, offset, start + c * (THREADS * width), threshold) << (c * width)
        return bits

    return keep_chunks


def run(
    template: Template,
    key: Key,
    operands: Sequence[Operand],
    arrays: Sequence[DeviceArray],
    numbers: Sequence[float],
    seed: int = 0,
    offset: int = 0,
    threshold: int = 0,
) -> None:
    """Launch a kernel that `tiled` made on arrays of one size, given in the operands' order."""
    like = arrays[0]
    count = like.size
    if count == 0:
        return
    grid, words = blocks(operands, count), (count, signed(seed), signed(offset), threshold)
    addresses = [array.address for array in arrays]
    _launch.run(template, key, like.device, stream(like), grid, THREADS, *addresses, *words, *numbers)
