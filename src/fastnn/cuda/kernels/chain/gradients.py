"""The backward passes of a chain that works channel by channel.

The gradient g for z = (x - center) scale + shift comes back through the stages, whose inputs are computed
again. With the moments of the batch, d = x - center and n elements in a channel, dx = scale g + slope d +
level, where slope and level depend on the sums of g and of g d over the channel: one pass for the sums, one
for dx. Otherwise dx = scale g.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from numba import cuda, types

from fastnn._core.dtypes import computing_name
from fastnn.cuda._runtime.compiler import Built, Key, template
from fastnn.cuda._runtime.dtypes import ITEMSIZE, WIDTH
from fastnn.cuda._runtime.ptx.access import load, store
from fastnn.cuda._runtime.ptx.arithmetic import fma, like
from fastnn.cuda._runtime.ptx.functions import device, made_once
from fastnn.cuda._runtime.ptx.real import computing
from fastnn.cuda.kernels.chain import block_sums, chain, channels, scaling, walks
from fastnn.cuda.kernels.chain.block_sums import warp_sum
from fastnn.cuda.kernels.chain.channels import GEOMETRY, SLOTS
from fastnn.cuda.kernels.chain.moments import WARPS
from fastnn.cuda.kernels.chain.scaling import ADDRESSES, CENTER, SCALE, Head
from fastnn.cuda.kernels.common import numbers
from fastnn.cuda.kernels.random.draws import KEY_WORDS

_SLOPE, _LEVEL = 3, 4

#: Of a thread at most: with half types and several channels, a thread has numbers of eight of them. 512
#: threads fit then, which still keep memory busy: each has two or three loads under way.
REGISTERS = 128

#: What a pass does: only the sums; dx from sums; dx that needs none, without the sums or with them.
SUMS, FROM_SUMS, PLAIN, BOTH = "sums", "from sums", "plain", "both"


def operands(stages: chain.Stages, addend: bool, does: str, access: str) -> tuple[str, ...]:
    """How DX, DY, INPUT, ADDEND and DADDEND are accessed. access: what is read; addend: that is, too."""
    written = walks.UNUSED if does == SUMS else walks.WRITE
    added = (access if addend else walks.UNUSED, written) if ("add",) in stages else ()
    return written, access, access, *added


@made_once
def _deviations(lanes: int, span: int) -> Any:
    """(c, v, d): x - center."""

    @device
    def subtract(c: Any, v: Any, d: Any) -> None:
        for k in range(span):
            d[k] = v[chain.INPUT, k] - c[CENTER, k % lanes]

    return subtract


@made_once
def _add(width: int, span: int) -> Any:
    """(v, d, sums): g and g d are added."""

    @device
    def add(v: Any, d: Any, sums: Any) -> None:
        for k in range(span):
            lane, g = k % width, v[chain.DX, k]
            sums[0, lane] += g
            sums[1, lane] = fma(g, d[k], sums[1, lane])

    return add


@made_once
def _apply(kind: str, does: str, lanes: int, span: int) -> Any:
    """(c, v, d): g becomes dx."""

    @device
    def from_sums(c: Any, v: Any, d: Any) -> None:
        for k in range(span):
            lane = k % lanes
            rest = fma(c[_SLOPE, lane], d[k], c[_LEVEL, lane])
            v[chain.DX, k] = fma(c[SCALE, lane], v[chain.DX, k], rest)

    @device
    def plain(c: Any, v: Any, d: Any) -> None:
        for k in range(span):
            v[chain.DX, k] *= c[SCALE, k % lanes]

    if does == FROM_SUMS:
        return from_sums
    return plain if kind != "none" and does != SUMS else _nothing


@device
def _nothing(c: Any, v: Any, d: Any) -> None:
    """Where g is what is wanted."""


@made_once
def _body(head: Head, width: int, lanes: int, stages: chain.Stages, does: str, real: Any) -> Any:
    """The body of the walk; its state is the numbers of the channels, and the sums."""

    def body(span: int) -> Any:
        scale, back = scaling.scaled(head, lanes, span, chain.INPUT), chain.backward(stages, span, real)
        subtract, apply = _deviations(lanes, span), _apply(head.kind, does, lanes, span)
        add = _add(width, span) if does in (SUMS, BOTH) else _nothing

        @device
        def compute(state: Any, v: Any, keep: int, p: Any) -> None:
            c, sums = state
            d = cuda.local.array(span, real)
            subtract(c, v, d)
            scale(c, v)
            back(v, keep, p)
            add(v, d, sums)
            apply(c, v, d)

        return compute

    return body


@made_once
def _put(dtype: str) -> Any:
    """(to, channel, sum of g, sum of g d): a piece of a channel to memory, four numbers for one access."""
    write, real = numbers.quad(computing_name(dtype), store), computing(dtype)

    @device
    def put(to: Any, channel: int, first: float, second: float) -> None:
        address, at = to
        found = cuda.local.array(4, real)
        found[0], found[1], found[2], found[3] = first, second, real(0), real(0)
        write(address, (at.first + channel) * at.pieces + at.piece, found)

    return put


@device
def _no_sums(sums: Any, g: Any, channels: int, room: Any, to: Any) -> None:
    """Where nothing is added."""


@made_once
def _slopes(dtype: str, does: str) -> Any:
    """(address, channel, slot, table): slope and level into a column of the table."""
    get, real = numbers.get(computing_name(dtype)), computing(dtype)

    @device
    def fill(address: int, channel: int, slot: int, table: Any) -> None:
        table[_SLOPE, slot] = real(get(address, 2 * channel))
        table[_LEVEL, slot] = real(get(address, 2 * channel + 1))

    @device
    def nothing(address: int, channel: int, slot: int, table: Any) -> None:
        pass

    return fill if does == FROM_SUMS else nothing


_BATCH = Head("batch")
_STAGES: chain.Stages = (("activation", "relu"), ("dropout",), ("add",), ("activation", "leaky_relu"))


def _each_pass() -> Iterator[Key]:
    for dtype, single in product(ITEMSIZE, (True, False)):
        width = WIDTH[dtype]
        for does in (SUMS, FROM_SUMS):
            yield dtype, width, single, _BATCH, _STAGES, True, "memory", does
    yield from (("float32", 4, True, _BATCH, (), False, "", does) for does in (SUMS, FROM_SUMS))
    yield from (("float32", 4, True, Head(kind), (), False, "", BOTH) for kind in ("evaluated", "scale"))
    yield "float32", 4, False, Head(), _STAGES, False, "channels last", PLAIN


def pass_over(
    dtype: str,
    width: int,
    single: bool,
    head: Head,
    stages: chain.Stages,
    addend: bool,
    draws: str,
    does: str,
    access: str,
) -> Any:
    """(addresses, at, per channel, pieces, slopes, g, words, p): dx, and sums, for one piece.

    addresses: of the operands, and, if they are kept or recalled, of the thread's slab.
    """
    lanes, real = 1 if single else width, computing(dtype)
    rows = 5 if does == FROM_SUMS else 3
    table_shape, own_shape, sums_shape = (rows, 1 if single else SLOTS), (rows, lanes), (2, width)
    fill, slopes = scaling.prepare(head, dtype), _slopes(dtype, does)
    take, adds = scaling.spread(rows, width, single), does in (SUMS, BOTH)
    reduce = block_sums.sums(width, single, _put(dtype)) if adds else _no_sums
    room_shape = block_sums.room(width, single) if adds else (1, 1)
    loop = walks.Loop(dtype, width, operands(stages, addend, does, access), draws)
    walk = walks.walk(loop, 1, _body(head, width, lanes, stages, does, real))

    @device
    def go(a: Any, at: Any, each: Any, pieces: int, from_sums: int, g: Any, words: Any, p: Any) -> None:
        table, c = cuda.shared.array(table_shape, real), cuda.local.array(own_shape, real)
        sums, room = cuda.local.array(sums_shape, real), cuda.shared.array(room_shape, real)
        slot = types.int64(cuda.threadIdx.x)
        if slot < at.channels:
            fill(each, at.first + slot, slot, 0.0, table)
            slopes(from_sums, at.first + slot, slot, table)
        cuda.syncthreads()
        take(table, at, g, c)
        for k in range(width):
            sums[0, k] = sums[1, k] = like(c[0, 0], 0)
        walk(a, at, g, (c, sums), words, p)
        reduce(sums, g, at.channels, room, (pieces, at))

    return go


@template(_each_pass, registers=REGISTERS)
def backward(
    dtype: str,
    width: int,
    single: bool,
    head: Head,
    stages: chain.Stages,
    addend: bool,
    draws: str,
    does: str,
) -> Built:
    """(arrays; per channel; pieces; slopes; g; words; p): dx, and sums for each channel.

    arrays: those of `operands`. pieces: two sums of each piece of each channel, written; slopes: slope and
    level of each channel, read.
    """
    place = channels.place(width, single)
    own = channels.last_first if does == FROM_SUMS else channels.own_piece
    run = pass_over(dtype, width, single, Head(*head), stages, addend, draws, does, walks.READ)

    def kernel(a: Any, each: Any, pieces: Any, slopes: Any, g: Any, words: Any, p: Any) -> None:
        run(a, place(g, own()), each, pieces, slopes, g, words, p)

    address = types.uint64
    return kernel, (
        types.UniTuple(address, 5 if ("add",) in stages else 3),
        types.UniTuple(address, ADDRESSES),
        address,
        address,
        GEOMETRY,
        types.UniTuple(types.int64, KEY_WORDS),
        types.UniTuple(types.float64, chain.NUMBERS * len(stages)),
    )


def _each_finish() -> Iterator[Key]:
    yield from (("float32", Head("batch", dtype, dtype)) for dtype in ITEMSIZE)
    yield from (("float64", _BATCH), ("float32", Head("scale")), ("float32", Head("evaluated")))


def whole(dtype: str, head: Head) -> Any:
    """(pieces, count, channel, n, per channel, (dweight, dbias, slopes)): a channel's sums, by a warp.

    count: pieces of a channel. n: elements of one.
    """
    find, real, read = scaling.statistics(head), computing(dtype), numbers.quad(computing_name(dtype), load)
    put_weight, put_bias, put = (
        numbers.put(head.weight),
        numbers.put(head.bias),
        numbers.put(computing_name(dtype)),
    )
    weight, training = numbers.get(head.weight, 1.0), head.kind == "batch"

    @device
    def merge(pieces: int, count: int, channel: int, n: float, each: Any, to: Any) -> None:
        g, gd, found = 0.0, 0.0, cuda.local.array(4, real)
        for i in range(types.int64(cuda.threadIdx.x & 31), count, 32):
            read(pieces, channel * count + i, found)
            g, gd = g + types.float64(found[0]), gd + types.float64(found[1])
        g, gd = warp_sum(g), warp_sum(gd)
        if cuda.threadIdx.x & 31 == 0:
            mean, mean_low, rstd = find(each, channel, 0.0)
            off = (mean - types.float64(real(mean))) + mean_low
            product = rstd * (gd - off * g)
            put_weight(to[0], channel, product)
            put_bias(to[1], channel, g)
            if training:
                scale = rstd * weight(each[scaling.WEIGHT], channel)
                slope = -scale * rstd * product / n
                put(to[2], 2 * channel, slope)
                put(to[2], 2 * channel + 1, -scale * g / n - slope * off)

    return merge


@template(_each_finish, narrow="a few numbers of each channel")
def finish(dtype: str, head: Head) -> Built:
    """(pieces, count, channels, n; per channel; dweight, dbias, slopes): sums for each channel."""
    merge = whole(dtype, Head(*head))

    def kernel(pieces: Any, count: int, total: int, n: float, each: Any, to: Any) -> None:
        channel = types.int64(cuda.blockIdx.x) * WARPS + (cuda.threadIdx.x >> 5)
        if channel < total:
            merge(pieces, count, channel, n, each, to)

    address, word = types.uint64, types.int64
    each, to = types.UniTuple(address, ADDRESSES), types.UniTuple(address, 3)
    return kernel, (address, word, word, types.float64, each, to)
