"""How kernels that work channel by channel go over memory: what a block takes, what a thread visits.

Memory is rows of `stride` elements, `channels` times `inner`: an image a row, or, with the channels last, a
pixel (inner is 1). A block takes a tile, `span` elements wide, of some rows: part of one channel (single), or
several whole channels. Its threads stand in `lines` of `across` and go through the tile in steps; a thread
that goes over several channels always meets the same ones. The cut depends on the shape alone, and so do all
sums. It must not know what is computed.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from numba import cuda, types

from fastnn.cuda._ptx import ITEMSIZE, WIDTH, computing, device, in_turn, like, load, quotient, store
from fastnn.cuda.kernels import draws, philox

THREADS = 256
#: Channels of a tile at most: a thread prepares the numbers of one.
SLOTS = THREADS
#: Blocks that fill a GPU several times, blocks of a tile, and visits of a thread that make a block worth
#: while.
BLOCKS, BLOCKS_OF_TILE, VISITS = 2048, 512, 4


class Cut(NamedTuple):
    """How an array is cut; all but the first two are what kernels take, in this order."""

    width: int  # elements of an access
    single: bool  # a tile is of one channel
    rows: int
    stride: int  # elements of a row
    span: int  # elements of a tile's row
    across: int  # threads beside each other
    lines: int  # threads below each other
    slice_rows: int  # of a block
    part: int  # vectors of a row of a block
    inner: int  # elements of a channel in a row
    channels: int
    images: int  # rows of an image, where the channels are last
    slices: int
    parts: int

    @property
    def numbers(self) -> tuple[int, ...]:
        """What kernels take."""
        return self[2:12]

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tiles, slices and parts."""
        return -(-self.stride // self.span), self.slices, self.parts

    @property
    def pieces(self) -> int:
        """The blocks that a channel is spread over."""
        return self.slices * self.parts


#: The places of the numbers that kernels take.
ROWS, STRIDE, SPAN, ACROSS, LINES, SLICE_ROWS, PART, INNER, CHANNELS, IMAGE = range(10)
GEOMETRY = types.UniTuple(types.int64, 10)


@functools.lru_cache(1024)
def cut(dtype: str, outer: int, channels: int, inner: int, columns: bool, aligned: bool) -> Cut:
    """The cut of an array of (outer, channels, inner), or (outer, inner, channels) if in columns.

    aligned: the addresses are multiples of 16.
    """
    image = inner if columns else 1
    rows, inner = (outer * inner, 1) if columns else (outer, inner)
    stride, width = channels * inner, WIDTH[dtype]
    if not aligned or stride % width:
        width = 1
    single = channels == 1 or inner >= 32 * WIDTH[dtype]
    if single and inner % width:
        width = 1
    span = inner if single else _span(dtype, channels, inner, width)
    vectors = span // width
    across = _across(rows, vectors) if single else min(vectors, THREADS)
    lines = THREADS // across
    tiles, work = -(-stride // span), rows * vectors
    pieces = max(1, min(-(-BLOCKS // tiles), BLOCKS_OF_TILE, work // (THREADS * VISITS)))
    slices = min(pieces, -(-rows // lines))
    slice_rows = -(-rows // slices)
    slices = -(-rows // slice_rows)
    parts = min(-(-pieces // slices), -(-vectors // across)) if single else 1
    part = -(-vectors // (parts * across)) * across
    return Cut(
        width, single, rows, stride, span, across, lines, slice_rows, part, inner, channels, image, slices,
        -(-vectors // part),
    )  # fmt: skip


def _span(dtype: str, channels: int, inner: int, width: int) -> int:
    """A tile of several channels: whole vectors, 128 bytes if possible, at most SLOTS channels."""
    least = width // math.gcd(inner, width)
    several = least * max(1, 8 * WIDTH[dtype] // (inner * least))
    return inner * min(several, channels, SLOTS)


def _across(rows: int, vectors: int) -> int:
    """The threads beside each other that leave the fewest idle at the ends of rows and of slices."""

    def busy(across: int) -> float:
        lines = THREADS // across
        return round(vectors / (-(-vectors // across) * across) * rows / (-(-rows // lines) * lines), 1)

    return max((1 << k for k in range(3, 9)), key=lambda across: (busy(across), across))


# ---- in kernels
# ---------------------------------------------------------------------------------------------


class Place(NamedTuple):
    """Where a thread is: its block's tile and piece, and its first visit."""

    piece: Any  # of the channels of its tile
    start: Any  # the first element of the tile in a row
    line: Any
    column: Any  # of the first visit in the tile
    row: Any  # of the first visit
    steps: Any  # visits in a row
    visits: Any
    count: Any  # elements of a channel that the block has
    first: Any  # channel of the tile
    channels: Any  # of the tile


def place(width: int, single: bool, backwards: bool) -> Any:
    """(g): the Place of this thread. Backwards: the last blocks take what is first in memory."""

    @device
    def find(g: Any) -> Any:
        thread = types.int32(cuda.threadIdx.x)
        across = types.int32(g[ACROSS])
        line = types.int32(quotient(thread, across))
        beside = thread - line * across
        tile, piece_row, piece_column = cuda.blockIdx.x, cuda.blockIdx.y, cuda.blockIdx.z
        if backwards:
            tile, piece_row = cuda.gridDim.x - 1 - tile, cuda.gridDim.y - 1 - piece_row
            piece_column = cuda.gridDim.z - 1 - piece_column
        start = types.int64(tile) * g[SPAN]
        vectors = types.int64(min(g[SPAN], g[STRIDE] - start)) // width
        first_row, first_vector = types.int64(piece_row) * g[SLICE_ROWS], types.int64(piece_column) * g[PART]
        rows = min(g[SLICE_ROWS], g[ROWS] - first_row)
        wide = min(g[PART], vectors - first_vector)
        across_left, down_left = types.int32(wide - beside), types.int32(rows - line)
        steps = quotient(across_left + across - 1, across) if across_left > 0 else types.uint32(0)
        lines = types.int32(g[LINES])
        down = quotient(down_left + lines - 1, lines) if down_left > 0 else types.uint32(0)
        visits = types.int64(steps * down) if line < lines else types.int64(0)
        piece = types.int64(piece_row) * cuda.gridDim.z + piece_column
        count = rows * min(g[INNER], wide * width)
        column = (first_vector + beside) * width
        first, channels = types.int64(tile), types.int32(1)
        if not single:
            inner = types.int32(g[INNER])
            first *= types.int64(quotient(g[SPAN], inner))
            channels = types.int32(quotient(min(g[SPAN], g[STRIDE] - start), inner))
        return Place(piece, start, line, column, first_row + line, steps, visits, count, first, channels)

    return find


#: What a walk keeps: the element, the visits left in this row, the element's number for dropout, the row in
#: its image.
_OFFSET, _LEFT, _INDEX, _ROW = range(4)


@device
def _begin(w: Any, at: Any, g: Any) -> None:
    w[_OFFSET], w[_LEFT] = at.row * g[STRIDE] + at.start + at.column, at.steps


@device
def _advance(w: Any, at: Any, g: Any, step: int, carry: int) -> None:
    w[_OFFSET] += step
    w[_LEFT] -= 1
    if w[_LEFT] == 0:
        w[_OFFSET] += carry
        w[_LEFT] = at.steps


@device
def _begin_in_memory(w: Any, at: Any, g: Any) -> None:
    _begin(w, at, g)
    w[_INDEX] = w[_OFFSET]


@device
def _advance_in_memory(w: Any, at: Any, g: Any, step: int, carry: int) -> None:
    _advance(w, at, g, step, carry)
    w[_INDEX] = w[_OFFSET]


@device
def _begin_in_columns(w: Any, at: Any, g: Any) -> None:
    """Here a thread has one visit in a row, which is a pixel: element (image, channel, place)."""
    _begin(w, at, g)
    image = types.int64(types.float64(at.row) / types.float64(g[IMAGE]))
    if image * g[IMAGE] > at.row:  # where the quotient was rounded up
        image -= 1
    w[_ROW] = at.row - image * g[IMAGE]
    w[_INDEX] = (image * g[CHANNELS] + at.start + at.column) * g[IMAGE] + w[_ROW]


@device
def _advance_in_columns(w: Any, at: Any, g: Any, step: int, carry: int) -> None:
    _advance(w, at, g, step, carry)
    w[_ROW] += g[LINES]
    w[_INDEX] += g[LINES]
    while w[_ROW] >= g[IMAGE]:
        w[_ROW] -= g[IMAGE]
        w[_INDEX] += (g[CHANNELS] - 1) * g[IMAGE]


_STEPS = {
    "": (_begin, _advance),
    "memory": (_begin_in_memory, _advance_in_memory),
    "columns": (_begin_in_columns, _advance_in_columns),
}


class Loop(NamedTuple):
    """What a walk is compiled for."""

    dtype: str
    width: int
    operands: tuple[tuple[bool, bool], ...]  # whether each is read, and written
    draws: str  # "" without dropout; elements are numbered as in "memory", or with the channels last, in
    "columns"


def walk(loop: Loop, unroll: int, body: Callable[[int], Any]) -> Any:
    """(addresses, at, g, state, words, p): a thread at a Place makes all of its visits.

    body(span) is a device function (state, v, keep, p) that works on `span` elements of each operand, in
    place; bit k of keep tells whether dropout keeps element k, and state is what the body needs besides.
    """
    begin, advance = _STEPS[loop.draws]
    several, one = _visits(loop, unroll, body(unroll * loop.width)), _visits(loop, 1, body(loop.width))
    width, visits, now = loop.width, (2, unroll), draws.now if loop.draws else draws.no_key

    @device
    def go(a: Any, at: Any, g: Any, state: Any, words: Any, p: Any) -> None:
        w, where = cuda.local.array(4, types.int64), cuda.local.array(visits, types.int64)
        step = g[ACROSS] * width
        carry = g[LINES] * g[STRIDE] - at.steps * step
        begin(w, at, g)
        left, key = at.visits, now(words)
        while left >= unroll:
            for u in range(unroll):
                where[0, u], where[1, u] = w[_OFFSET], w[_INDEX]
                advance(w, at, g, step, carry)
            several(a, where, g, state, key, p)
            left -= unroll
        while left > 0:
            where[0, 0], where[1, 0] = w[_OFFSET], w[_INDEX]
            advance(w, at, g, step, carry)
            one(a, where, g, state, key, p)
            left -= 1

    return go


def _visits(loop: Loop, count: int, body: Any) -> Any:
    """(addresses, where, g, state, key, p): `count` visits."""
    shape, real = (len(loop.operands), count * loop.width), computing(loop.dtype)
    read = _moves(loop, count, 0, load)
    written = _moves(loop, count, 1, store)
    keep = _keep(loop, count)

    @device
    def visit(a: Any, where: Any, g: Any, state: Any, key: Any, p: Any) -> None:
        v = cuda.local.array(shape, real)
        read(a, v, where)
        body(state, v, keep(where, g, key), p)
        written(a, v, where)

    return visit


def _moves(loop: Loop, count: int, which: int, kind: Callable[[str, int], Any]) -> Any:
    """(addresses, v, where): loads or stores all operands that are read (0), or written (1)."""
    used = [j for j, operand in enumerate(loop.operands) if operand[which]]
    return in_turn([_move(j, loop.dtype, loop.width, count, kind) for j in used])


def _move(operand: int, dtype: str, width: int, count: int, kind: Callable[[str, int], Any]) -> Any:
    access, size = kind(dtype, width), ITEMSIZE[dtype]

    @device
    def move(a: Any, v: Any, where: Any) -> None:
        for u in range(count):
            access(a[operand] + types.uint64(where[0, u] * size), v, (operand * count + u) * width)

    return move


def _keep(loop: Loop, count: int) -> Any:
    """(where, g, key): the keep bits of `count` visits; key is what draws.now made of a kernel's words."""
    width = loop.width
    columns = loop.draws == "columns"
    keep, each = philox.keep(1 if columns else width), width if columns else 1

    @device
    def everything(where: Any, g: Any, key: Any) -> int:
        return -1

    @device
    def drawn(where: Any, g: Any, key: Any) -> Any:
        bits = types.int64(0)
        for u in range(count):
            for k in range(each):
                some = keep(key[0], key[1], where[1, u] + k * g[IMAGE], key[2])
                bits |= types.int64(some) << (u * width + k)
        return bits

    return drawn if loop.draws else everything


# ---- sums over a block
# --------------------------------------------------------------------------------------


@device
def warp_sum(x: float) -> float:
    """The sum over a warp, the same in all of its threads."""
    for k in range(5):
        x += cuda.shfl_xor_sync(0xFFFFFFFF, x, 16 >> k)
    return x


def sums(dtype: str, width: int, single: bool, put: Any) -> Any:
    """(v, g, channels, to): sums over a block of the two rows of v, (2, width), for each channel of its tile.

    One thread of each channel gets both: put(to, channel, first, second), where channel counts from the
    tile's first.
    """
    return _sums_of_one(dtype, width, put) if single else _sums_of_several(dtype, width, put)


def _sums_of_one(dtype: str, width: int, put: Any) -> Any:
    real, warps = computing(dtype), THREADS // 32
    shape = (2, warps)

    @device
    def reduce(v: Any, g: Any, channels: int, to: Any) -> None:
        partial = cuda.shared.array(shape, real)
        thread = cuda.threadIdx.x
        for j in range(2):
            total = v[j, 0]
            for k in range(1, width):
                total += v[j, k]
            total = warp_sum(total)
            if thread & 31 == 0:
                partial[j, thread >> 5] = total
        cuda.syncthreads()
        if thread == 0:
            first, second = partial[0, 0], partial[1, 0]
            for k in range(1, warps):
                first, second = first + partial[0, k], second + partial[1, k]
            put(to, types.int64(0), first, second)

    return reduce


def _sums_of_several(dtype: str, width: int, put: Any) -> Any:
    real, warps = computing(dtype), THREADS // 32
    shape = (2, THREADS * width)

    @device
    def reduce(v: Any, g: Any, channels: int, to: Any) -> None:
        each = cuda.shared.array(shape, real)
        thread, inner = types.int32(cuda.threadIdx.x), types.int32(g[INNER])
        for j in range(2):
            for k in range(width):
                each[j, thread * width + k] = v[j, k]
        cuda.syncthreads()
        row, entries = types.int32(g[ACROSS]) * width, types.int32(g[LINES]) * inner
        for slot in range(thread >> 5, channels, warps):
            first, second = like(v[0, 0], 0), like(v[0, 0], 0)
            for entry in range(thread & 31, entries, 32):
                line = types.int32(quotient(entry, inner))
                place = line * row + slot * inner + (entry - line * inner)
                first, second = first + each[0, place], second + each[1, place]
            first, second = warp_sum(first), warp_sum(second)
            if thread & 31 == 0:
                put(to, types.int64(slot), first, second)

    return reduce
