"""Mean and variance of each channel: what blocks find of their pieces, and the whole.

A thread subtracts a number that it meets, its pivot, so that a large mean costs no digits: its sums are of the
deviations, which are as small as the channel allows. A block takes one of its threads' means as the next pivot and
adds. The whole is in float64, from the pieces in their order. It must not know what is done with the moments.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

from numba import cuda, types

from fastnn.cuda._compile import Built, Key, template
from fastnn.cuda._ptx import (
    ITEMSIZE,
    WIDTH,
    computing,
    device,
    fma,
    like,
    load,
    made_once,
    quotient,
    store,
    store_number,
    whole_number,
)
from fastnn.cuda.kernels import channels, numbers
from fastnn.cuda.kernels.channels import ACROSS, GEOMETRY, INNER, SLOTS, STRIDE

_PIVOT, _SUM, _SQUARES = 0, 1, 2

#: Four numbers of a piece of a channel: its elements, the mean as a sum of two, the sum of squared deviations from it.
_COUNT, _MEAN, _REST, _M2 = range(4)

#: Warps of a block that merges, each a channel.
WARPS = 4


def piece_dtype(dtype: str) -> str:
    """The dtype of what blocks find."""
    return "float64" if dtype == "float64" else "float32"


def _gather(width: int) -> Any:
    """A body of a walk: sums of deviations from the pivots, and of their squares."""

    def body(span: int) -> Any:
        @device
        def add(state: Any, v: Any, keep: int, p: Any) -> None:
            for k in range(span):
                lane = k % width
                d = v[0, k] - state[_PIVOT, lane]
                state[_SUM, lane] += d
                state[_SQUARES, lane] = fma(d, d, state[_SQUARES, lane])

        return add

    return body


def _publish(width: int, single: bool) -> Any:
    """(state, base, at, g): for each channel of the tile, the mean that its first thread has."""

    @device
    def one(state: Any, base: Any, at: Any, g: Any) -> None:
        if cuda.threadIdx.x == 0:
            base[0] = state[_PIVOT, 0] + state[_SUM, 0] / like(state[0, 0], at.visits)

    @device
    def several(state: Any, base: Any, at: Any, g: Any) -> None:
        if at.line == 0 and at.visits > 0:
            inner, share = types.int32(g[INNER]), like(state[0, 0], 1) / like(state[0, 0], at.visits)
            for k in range(width):
                column = types.int32(at.column) + k
                slot = types.int32(quotient(column, inner))
                if slot * inner == column:
                    base[slot] = state[_PIVOT, k] + state[_SUM, k] * share

    return one if single else several


def _rebase(width: int, single: bool) -> Any:
    """(state, base, at, g, v): what the thread found, as sums of deviations from the block's pivot and of squares."""

    @device
    def move(state: Any, base: Any, at: Any, g: Any, v: Any) -> None:
        inner, n = types.int32(g[INNER]), like(state[0, 0], at.visits)
        share = like(n, 1) / n
        for k in range(width):
            v[0, k], v[1, k] = like(n, 0), like(n, 0)
            if at.visits > 0:
                slot = types.uint32(0) if single else quotient(at.column + k, inner)
                mean = state[_SUM, k] * share
                far = (state[_PIVOT, k] - base[slot]) + mean
                v[0, k] = n * far
                v[1, k] = fma(n * far, far, fma(-state[_SUM, k], mean, state[_SQUARES, k]))

    return move


@made_once
def _count_up(dtype: str) -> Any:
    """(address): adds 1 to the number there."""
    read, write = whole_number(dtype), store_number(dtype)

    @device
    def count(address: int) -> None:
        write(address, read(address) + 1)

    return count


@device
def _count_nothing(address: int) -> None:
    """Where batches are not counted."""


def _put(dtype: str) -> Any:
    """(to, channel, sum, squares): a piece of a channel to memory."""
    real = computing(dtype)
    write = numbers.quad(piece_dtype(dtype), store)

    @device
    def put(to: Any, channel: int, total: float, squares: float) -> None:
        address, base, at, pieces = to
        found, n = cuda.local.array(4, real), like(total, at.count)
        rest = total / n
        found[_COUNT], found[_MEAN] = n, base[channel]
        found[_REST], found[_M2] = rest, fma(-total, rest, squares)
        write(address, (at.first + channel) * pieces + at.piece, found)

    return put


def _each_layout() -> Iterator[Key]:
    layouts = ((True, True), (True, False), (False, False))
    for dtype, (vectors, single) in product(ITEMSIZE, layouts):
        yield dtype, WIDTH[dtype] if vectors else 1, single, "int64" if single else ""


@template(_each_layout)
def moments(dtype: str, width: int, single: bool, counter: str) -> Built:
    """(input, pieces, counter, g): four numbers of every piece of every channel; the counter goes up by one."""
    find, walk = (
        channels.place(width, single, False),
        channels.walk(channels.Loop(dtype, width, ((True, False),), ""), 4, _gather(width)),
    )
    first, size, real = load(dtype, width), ITEMSIZE[dtype], computing(dtype)
    publish, rebase = _publish(width, single), _rebase(width, single)
    add = channels.sums(dtype, width, single, _put(dtype))
    count = _count_up(counter) if counter else _count_nothing
    sums, both = (3, width), (2, width)

    def kernel(x: Any, pieces: Any, batches: Any, g: Any) -> None:
        base = cuda.shared.array(SLOTS, real)
        state, v = cuda.local.array(sums, real), cuda.local.array(both, real)
        at = find(g)
        for k in range(width):
            state[_PIVOT, k] = state[_SUM, k] = state[_SQUARES, k] = real(0)
        if at.visits > 0:
            start = at.row * g[STRIDE] + at.start + at.column
            first(x + types.uint64(start * size), state, 0)
        walk((x,), at, g, state, (), ())
        publish(state, base, at, g)
        cuda.syncthreads()
        rebase(state, base, at, g, v)
        add(v, g, at.channels, (pieces, base, at, types.int64(cuda.gridDim.y) * cuda.gridDim.z))
        if at.piece == 0 and at.first == 0 and cuda.threadIdx.x == 0:
            count(batches)

    return kernel, (types.uint64, types.uint64, types.uint64, GEOMETRY)


# ---- the whole ----------------------------------------------------------------------------------------------


def merge(dtype: str) -> Any:
    """(pieces, channel, count): a warp merges a channel's pieces; (n, mean, rest, variance), the same in all its threads.

    The mean is the sum of two numbers, the second too small to change the first.
    """
    read, real = numbers.quad(piece_dtype(dtype), load), computing(dtype)

    @device
    def whole(pieces: int, channel: int, count: int) -> Any:
        lane, v = types.int64(cuda.threadIdx.x & 31), cuda.local.array(4, real)
        read(pieces, channel * count, v)
        base = types.float64(v[_MEAN])
        n, total = 0.0, 0.0
        for i in range(lane, count, 32):
            read(pieces, channel * count + i, v)
            n += types.float64(v[_COUNT])
            total += types.float64(v[_COUNT]) * ((types.float64(v[_MEAN]) - base) + types.float64(v[_REST]))
        n, total = channels.warp_sum(n), channels.warp_sum(total)
        shift, m2 = total / n, 0.0
        for i in range(lane, count, 32):
            read(pieces, channel * count + i, v)
            far = ((types.float64(v[_MEAN]) - base) + types.float64(v[_REST])) - shift
            m2 += types.float64(v[_M2]) + types.float64(v[_COUNT]) * far * far
        variance = channels.warp_sum(m2) / n
        mean = base + shift
        back = mean - base
        rest = (base - (mean - back)) + (shift - back)
        return n, mean, rest, 0.0 if variance < 0 else variance

    return whole


def _update(dtype: str) -> tuple[Any, Any]:
    """Device functions (x): whether this dtype has it; and (address, channel, new, momentum): takes a new one in."""
    read, write, most = numbers.get(dtype), numbers.put(dtype), numbers.TOO_LARGE[dtype]

    @device
    def fits(x: float) -> bool:
        return abs(x) < most

    @device
    def take(address: int, channel: int, new: float, momentum: float) -> None:
        write(address, channel, (1 - momentum) * read(address, channel) + momentum * new)

    return fits, take


def _keep_running(mean_dtype: str, var_dtype: str, counter: str) -> Any:
    """(running, channel, mean, variance, momentum, skip): takes the moments of a batch into the running ones."""
    if not mean_dtype:

        @device
        def nothing(
            running: Any, channel: int, mean: float, variance: float, momentum: float, skip: int
        ) -> None:
            pass

        return nothing
    (mean_fits, take_mean), (var_fits, take_var) = _update(mean_dtype), _update(var_dtype)
    batches = whole_number(counter) if counter else _no_number
    cumulative = bool(counter)

    @device
    def keep(running: Any, channel: int, mean: float, variance: float, momentum: float, skip: int) -> None:
        if skip == 0 or (mean_fits(mean) and var_fits(variance)):
            if cumulative:
                momentum = 1 / types.float64(batches(running[2]))
            take_mean(running[0], channel, mean, momentum)
            take_var(running[1], channel, variance, momentum)

    return keep


@device
def _no_number(address: int) -> int:
    """Where batches are not counted."""
    return 1


def _each_running() -> Iterator[Key]:
    yield from (("float32", kind, kind, "") for kind in ITEMSIZE)
    yield from (("float64", "float32", "float32", "int64"), ("float32", "", "", ""))


@template(_each_running)
def finish(dtype: str, mean_dtype: str, var_dtype: str, counter: str) -> Built:
    """(pieces, count, channels, statistics, running, numbers, skip): the moments of all channels, from their pieces.

    statistics: addresses of mean, rest and rstd. running: of the running mean and variance and of the counter, which
    with a dtype makes the average a cumulative one. numbers: eps, momentum, and what the variance is multiplied by for
    the running one. With skip, a channel that is not finite is not taken in.
    """
    whole, keep, put = merge(dtype), _keep_running(mean_dtype, var_dtype, counter), numbers.put("float64")

    def kernel(
        pieces: Any, count: int, total: int, statistics: Any, running: Any, given: Any, skip: int
    ) -> None:
        channel = types.int64(cuda.blockIdx.x) * WARPS + (cuda.threadIdx.x >> 5)
        if channel < total:
            _, mean, rest, variance = whole(pieces, channel, count)
            if cuda.threadIdx.x & 31 == 0:
                put(statistics[0], channel, mean)
                put(statistics[1], channel, rest)
                put(statistics[2], channel, 1 / math.sqrt(variance + given[0]))
                keep(running, channel, mean, given[2] * variance, given[1], skip)

    address, word = types.uint64, types.int64
    three, floats = types.UniTuple(address, 3), types.UniTuple(types.float64, 3)
    return kernel, (address, word, word, three, three, floats, word)
