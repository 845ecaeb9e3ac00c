"""A thread's visits to the vectors of its piece: operands to registers, a body, and back.

channels.py says where a thread begins. What a pass reads it can keep in shared memory, in the
thread's own part of the slab, from where another pass over the same piece takes it. It must not know what is
computed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from numba import cuda, types

from fastnn.cuda._runtime.dtypes import ITEMSIZE
from fastnn.cuda._runtime.ptx.access import load, load_and_keep, load_shared, store
from fastnn.cuda._runtime.ptx.functions import device, in_turn, made_once
from fastnn.cuda._runtime.ptx.real import computing
from fastnn.cuda.kernels.chain.channels import ACROSS, CHANNELS, IMAGE, LINES, STRIDE, THREADS
from fastnn.cuda.kernels.common.tiles import NO_DRAWS
from fastnn.cuda.kernels.random import draws, philox

#: How a pass accesses an operand. What it keeps and recalls must be the same in both passes.
READ, KEEP, RECALL, WRITE, UNUSED = "read", "keep", "recall", "write", ""

#: What a walk keeps: the element, the visits left in this row, the element's number for dropout, the row in
#: its image, the place in the slab.
_OFFSET, _LEFT, _INDEX, _ROW, _SLAB = range(5)

#: Bytes of the slab for an operand of a visit of all threads.
LAYER = 16 * THREADS


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
def _begin_channels_last(w: Any, at: Any, g: Any) -> None:
    """Here a thread has one visit in a row, which is a pixel: element (image, channel, place)."""
    _begin(w, at, g)
    image = types.int64(types.float64(at.row) / types.float64(g[IMAGE]))
    if image * g[IMAGE] > at.row:  # where the quotient was rounded up
        image -= 1
    w[_ROW] = at.row - image * g[IMAGE]
    w[_INDEX] = (image * g[CHANNELS] + at.start + at.column) * g[IMAGE] + w[_ROW]


@device
def _advance_channels_last(w: Any, at: Any, g: Any, step: int, carry: int) -> None:
    _advance(w, at, g, step, carry)
    w[_ROW] += g[LINES]
    w[_INDEX] += g[LINES]
    while w[_ROW] >= g[IMAGE]:
        w[_ROW] -= g[IMAGE]
        w[_INDEX] += (g[CHANNELS] - 1) * g[IMAGE]


_STEPS = {
    "": (_begin, _advance),
    "memory": (_begin_in_memory, _advance_in_memory),
    "channels last": (_begin_channels_last, _advance_channels_last),
}


class Loop(NamedTuple):
    """What a walk is compiled for."""

    dtype: str
    width: int
    operands: tuple[str, ...]  # how each is accessed
    #: "" without dropout; else "memory": elements are numbered as they lie there; or "channels last": in C
    #: order, while the channels are last in memory.
    draws: str


def in_slab(operands: tuple[str, ...]) -> list[int]:
    """The operands that are kept or recalled, in the order of their layers."""
    return [j for j, access in enumerate(operands) if access in (KEEP, RECALL)]


@made_once
def walk(loop: Loop, unroll: int, body: Callable[[int], Any]) -> Any:
    """(addresses, at, g, state, words, p): a thread at a Place makes all of its visits.

    body(span) is a device function (state, v, keep, p) that works on `span` elements of each operand, in
    place; bit k of keep tells whether dropout keeps element k, and state is what the body needs besides. If
    anything is in the slab, the last address is that of the thread's part of it.
    """
    begin, advance = _STEPS[loop.draws]
    several, one = _visits(loop, unroll, body(unroll * loop.width)), _visits(loop, 1, body(loop.width))
    width, visits, now = loop.width, (3, unroll), draws.now if loop.draws else NO_DRAWS.now
    layers = LAYER * len(in_slab(loop.operands))

    @device
    def go(a: Any, at: Any, g: Any, state: Any, words: Any, p: Any) -> None:
        w, where = cuda.local.array(5, types.int64), cuda.local.array(visits, types.int64)
        step = g[ACROSS] * width
        carry = g[LINES] * g[STRIDE] - at.steps * step
        begin(w, at, g)
        w[_SLAB] = 0
        left, key = at.visits, now(words)
        while left >= unroll:
            for u in range(unroll):
                where[0, u], where[1, u], where[2, u] = w[_OFFSET], w[_INDEX], w[_SLAB]
                advance(w, at, g, step, carry)
                w[_SLAB] += layers
            several(a, where, g, state, key, p)
            left -= unroll
        while left > 0:
            where[0, 0], where[1, 0], where[2, 0] = w[_OFFSET], w[_INDEX], w[_SLAB]
            advance(w, at, g, step, carry)
            w[_SLAB] += layers
            one(a, where, g, state, key, p)
            left -= 1

    return go


@made_once
def _visits(loop: Loop, count: int, body: Any) -> Any:
    """(addresses, where, g, state, key, p): `count` visits."""
    shape, real = (len(loop.operands), count * loop.width), computing(loop.dtype)
    read, written = _moves(loop, count, (READ, KEEP, RECALL)), _moves(loop, count, (WRITE,))
    keep = _keep(loop, count)

    @device
    def visit(a: Any, where: Any, g: Any, state: Any, key: Any, p: Any) -> None:
        v = cuda.local.array(shape, real)
        read(a, v, where)
        body(state, v, keep(where, g, key), p)
        written(a, v, where)

    return visit


@made_once
def _moves(loop: Loop, count: int, accesses: tuple[str, ...]) -> Any:
    """(addresses, v, where): what is done with the operands that are accessed in these ways."""
    return in_turn([_move(loop, j, count) for j, access in enumerate(loop.operands) if access in accesses])


@made_once
def _move(loop: Loop, j: int, count: int) -> Any:
    """(addresses, v, where): the accesses of `count` visits to operand j."""
    dtype, width, size, slab = loop.dtype, loop.width, ITEMSIZE[loop.dtype], len(loop.operands)
    if loop.operands[j] in (KEEP, RECALL):
        layer = LAYER * in_slab(loop.operands).index(j)
    get, put, keep, recall = (make(dtype, width) for make in (load, store, load_and_keep, load_shared))

    @device
    def reading(a: Any, v: Any, where: Any) -> None:
        for u in range(count):
            get(a[j] + types.uint64(where[0, u] * size), v, (j * count + u) * width)

    @device
    def writing(a: Any, v: Any, where: Any) -> None:
        for u in range(count):
            put(a[j] + types.uint64(where[0, u] * size), v, (j * count + u) * width)

    @device
    def keeping(a: Any, v: Any, where: Any) -> None:
        for u in range(count):
            place = a[slab] + types.uint64(where[2, u] + layer)
            keep(a[j] + types.uint64(where[0, u] * size), place, v, (j * count + u) * width)

    @device
    def recalling(a: Any, v: Any, where: Any) -> None:
        for u in range(count):
            recall(a[slab] + types.uint64(where[2, u] + layer), v, (j * count + u) * width)

    return {READ: reading, WRITE: writing, KEEP: keeping, RECALL: recalling}[loop.operands[j]]


@made_once
def _keep(loop: Loop, count: int) -> Any:
    """(where, g, key): the keep bits of `count` visits; key is what draws.now made of a kernel's words."""
    width = loop.width
    channels_last = loop.draws == "channels last"
    keep, each = philox.keep(1 if channels_last else width), width if channels_last else 1

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
