"""How kernels that work channel by channel share out memory: what a block takes, where its threads begin.

Memory is rows of `stride` elements, `channels` times `inner`: an image a row, or, with the channels last, a
pixel (inner is 1). A block takes a piece: some rows of a tile, which is `span` elements wide: part of one
channel (single), or several whole channels. Its threads stand in `lines` of `across` and go through the piece
in steps; a thread that goes over several channels always meets the same ones. The cut depends on the shape
alone, and so do all sums. It must not know what is computed.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

from numba import cuda, types

from fastnn.cuda._runtime.dtypes import WIDTH
from fastnn.cuda._runtime.ptx.arithmetic import quotient
from fastnn.cuda._runtime.ptx.functions import device, made_once

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
        """Tiles, slices and parts: a piece for each of all their combinations."""
        return -(-self.stride // self.span), self.slices, self.parts

    @property
    def pieces(self) -> int:
        """Those that a channel is spread over."""
        return self.slices * self.parts

    @property
    def most_visits(self) -> int:
        """Of a thread in a piece."""
        return -(-self.slice_rows // self.lines) * -(-self.part // self.across)


#: The places of the numbers that kernels take.
ROWS, STRIDE, SPAN, ACROSS, LINES, SLICE_ROWS, PART, INNER, CHANNELS, IMAGE = range(10)
GEOMETRY = types.UniTuple(types.int64, 10)


@functools.lru_cache(1024)
def cut(dtype: str, outer: int, channels: int, inner: int, channels_last: bool, aligned: bool) -> Cut:
    """The cut of an array of (outer, channels, inner), or (outer, inner, channels) if channels_last.

    aligned: the addresses are multiples of 16.
    """
    image = inner if channels_last else 1
    rows, inner = (outer * inner, 1) if channels_last else (outer, inner)
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


# ---- in kernels --------------------------------------------------------------------------------------------


class Place(NamedTuple):
    """Where a thread is in a piece: the tile, and its first visit."""

    piece: Any  # of the channels of its tile
    pieces: Any  # that these are cut in
    start: Any  # the first element of the tile in a row
    line: Any
    column: Any  # of the first visit in the tile
    row: Any  # of the first visit
    steps: Any  # visits in a row
    visits: Any
    count: Any  # elements of a channel in the piece
    first: Any  # channel of the tile
    channels: Any  # of the tile


@device
def own_piece() -> Any:
    """The piece of this block, in a grid with a block for each: (tile, slice, part), and how many of each."""
    grid = types.int32(cuda.gridDim.x), types.int32(cuda.gridDim.y), types.int32(cuda.gridDim.z)
    return (types.int32(cuda.blockIdx.x), types.int32(cuda.blockIdx.y), types.int32(cuda.blockIdx.z)), grid


@device
def last_first() -> Any:
    """As `own_piece`, but the last blocks take what is first in memory."""
    (tile, slice_, part), (tiles, slices, parts) = own_piece()
    return (tiles - 1 - tile, slices - 1 - slice_, parts - 1 - part), (tiles, slices, parts)


@made_once
def place(width: int, single: bool) -> Any:
    """(g, (piece, grid)): the Place of this thread in a piece."""

    @device
    def find(g: Any, which: Any) -> Any:
        (tile, piece_row, piece_column), (_, slices, parts) = which
        thread = types.int32(cuda.threadIdx.x)
        across = types.int32(g[ACROSS])
        line = types.int32(quotient(thread, across))
        beside = thread - line * across
        start = types.int64(tile) * g[SPAN]
        vectors = types.int64(min(g[SPAN], g[STRIDE] - start)) // width
        first_row, first_vector = types.int64(piece_row) * g[SLICE_ROWS], types.int64(piece_column) * g[PART]
        rows = min(g[SLICE_ROWS], g[ROWS] - first_row)
        wide = min(g[PART], vectors - first_vector)
        across_left, down_left = types.int32(wide - beside), types.int32(rows - line)
        steps = quotient(across_left + across - 1, across) if across_left > 0 else types.uint32(0)
        lines = types.int32(g[LINES])
        down = quotient(down_left + lines - 1, lines) if down_left > 0 else types.uint32(0)
        visits = types.int32(steps * down) if line < lines else types.int32(0)
        piece, pieces = types.int32(piece_row * parts + piece_column), types.int32(slices * parts)
        count = rows * min(g[INNER], wide * width)
        column = (first_vector + beside) * width
        first, channels = types.int32(tile), types.int32(1)
        if not single:
            inner = types.int32(g[INNER])
            first = types.int32(tile * quotient(g[SPAN], inner))
            channels = types.int32(quotient(min(g[SPAN], g[STRIDE] - start), inner))
        row = first_row + line
        return Place(piece, pieces, start, line, column, row, steps, visits, count, first, channels)

    return find
