"""Mean and variance of each channel: what blocks find of their pieces, and the whole.

A thread subtracts a number that it meets, its pivot, so that a large mean costs no digits, and takes a few
elements after the other into the mean of these deviations and their sum of squares (Chan, Golub and LeVeque,
1979). A block finds the mean of its threads' means, and then the squares about it. The whole is in float64,
from the pieces in their order. It must not know what is done with the moments.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

from numba import cuda, types

from fastnn._core.dtypes import computing_name
from fastnn.cuda._runtime.compiler import Built, Key, template
from fastnn.cuda._runtime.dtypes import ITEMSIZE, WIDTH
from fastnn.cuda._runtime.ptx.access import load, store
from fastnn.cuda._runtime.ptx.arithmetic import fma, like, quotient
from fastnn.cuda._runtime.ptx.functions import device, in_turn, made_once
from fastnn.cuda._runtime.ptx.integers import store_number, whole_number
from fastnn.cuda._runtime.ptx.real import computing
from fastnn.cuda.kernels.chain import block_sums, channels, walks
from fastnn.cuda.kernels.chain.block_sums import warp_sum
from fastnn.cuda.kernels.chain.channels import GEOMETRY, INNER, SLOTS
from fastnn.cuda.kernels.common import numbers

#: What a thread has for each of the elements of an access: the pivot, the mean of x - pivot, the sum of
#: squares about it; and, in the first place of the last row, how often it was there.
_PIVOT, _OFF, _SQUARES, _TIMES = range(4)

#: Four numbers of a piece of a channel: its elements, the mean as a sum of two, the sum of squared deviations
#: from it.
_COUNT, _MEAN, _MEAN_LOW, _M2 = range(4)

#: Warps of a block that merges, each a channel.
WARPS = 4


@made_once
def _gather(width: int) -> Any:
    """The body of a walk that adds elements to the moments; the first that a thread meets are its pivots."""

    def body(span: int) -> Any:
        count = span // width
        # No loop over lanes, which the compiler for capability 10 would keep, and v in memory.
        each_lane = in_turn([_take_lane(lane, width, count) for lane in range(width)])

        @device
        def take(state: Any, v: Any, keep: int, p: Any) -> None:
            before = state[_TIMES, 0]
            state[_TIMES, 0] = before + like(v[0, 0], count)
            each_lane(state, v, before)

        return take

    return body


@made_once
def _take_lane(lane: int, width: int, count: int) -> Any:
    """(state, v, before): `count` elements of a lane taken in, before which there were `before`."""

    @device
    def take(state: Any, v: Any, before: float) -> None:
        if before == 0:
            state[_PIVOT, lane] = v[0, lane]
        share = like(v[0, 0], count) / state[_TIMES, 0]
        weight, squares = share * before, like(v[0, 0], 0)
        total = v[0, lane] - state[_PIVOT, lane]
        for u in range(1, count):
            total += v[0, u * width + lane] - state[_PIVOT, lane]
        mean = total * like(total, 1 / count)
        for u in range(count):
            d = (v[0, u * width + lane] - state[_PIVOT, lane]) - mean
            squares = fma(d, d, squares)
        far = mean - state[_OFF, lane]
        state[_OFF, lane] = fma(far, share, state[_OFF, lane])
        state[_SQUARES, lane] += fma(far * weight, far, squares)

    return take


@made_once
def _slots(width: int, single: bool) -> Any:
    """(at, g, k): the channel of the tile that element k of this thread's accesses is of."""

    @device
    def one(at: Any, g: Any, k: int) -> Any:
        return types.uint32(0)

    @device
    def several(at: Any, g: Any, k: int) -> Any:
        return min(quotient(at.column + k, g[INNER]), types.uint32(SLOTS - 1))

    return one if single else several


@made_once
def _publish(width: int, single: bool) -> Any:
    """(state, base, at, g): for each channel of the tile, the mean that its first thread has."""
    slot_of = _slots(width, single)

    @device
    def publish(state: Any, base: Any, at: Any, g: Any) -> None:
        if at.line == 0 and at.visits > 0:
            for k in range(width):
                slot = slot_of(at, g, k)
                first = cuda.threadIdx.x == 0 and k == 0 if single else slot * g[INNER] == at.column + k
                if first:
                    base[slot] = state[_PIVOT, k] + state[_OFF, k]

    return publish


@made_once
def _from_base(width: int, single: bool) -> Any:
    """(state, base, at, g, v): the thread's sum of deviations from the base, and of their squares."""
    slot_of = _slots(width, single)

    @device
    def move(state: Any, base: Any, at: Any, g: Any, v: Any) -> None:
        for k in range(width):
            v[0, k] = v[1, k] = like(state[0, 0], 0)
            if at.visits > 0:
                far = (state[_PIVOT, k] - base[slot_of(at, g, k)]) + state[_OFF, k]
                v[0, k] = state[_TIMES, 0] * far
                v[1, k] = fma(v[0, k], far, state[_SQUARES, k])

    return move


@device
def _move_base(to: Any, channel: int, total: float, squares: float) -> None:
    """The mean of the block is the next base."""
    base, mean, at = to
    mean[channel] = base[channel] + total / like(total, at.count)


@made_once
def _put(dtype: str) -> Any:
    """(to, channel, sum from the base, squares about it): what a piece of a channel has, to memory."""
    real, write = computing(dtype), numbers.quad(computing_name(dtype), store)

    @device
    def put(to: Any, channel: int, total: float, squares: float) -> None:
        address, base, at = to
        found, n = cuda.local.array(4, real), like(total, at.count)
        mean_low = total / n
        found[_COUNT], found[_MEAN] = n, base[channel]
        found[_MEAN_LOW], found[_M2] = mean_low, fma(-total, mean_low, squares)
        write(address, (at.first + channel) * at.pieces + at.piece, found)

    return put


@made_once
def piece(dtype: str, width: int, single: bool, access: str) -> Any:
    """(addresses, at, g, pieces): four numbers of each channel of a tile, from one piece, to memory.

    addresses: the input's, and, if it is kept, that of the thread's slab. A block adds twice: first for a
    base near its mean, then from there, so that nothing is lost.
    """
    walk = walks.walk(walks.Loop(dtype, width, (access,), ""), 4 if width <= 4 else 2, _gather(width))
    real = computing(dtype)
    state_shape, both, room_shape = (4, width), (2, width), block_sums.room(width, single)
    publish, move = _publish(width, single), _from_base(width, single)
    move_base, put = (block_sums.sums(width, single, put) for put in (_move_base, _put(dtype)))

    @device
    def find(a: Any, at: Any, g: Any, pieces: int) -> None:
        base, mean = cuda.shared.array(SLOTS, real), cuda.shared.array(SLOTS, real)
        room = cuda.shared.array(room_shape, real)
        state, v = cuda.local.array(state_shape, real), cuda.local.array(both, real)
        for k in range(width):
            state[_PIVOT, k] = state[_OFF, k] = state[_SQUARES, k] = state[_TIMES, k] = real(0)
        walk(a, at, g, state, (), ())
        publish(state, base, at, g)
        cuda.syncthreads()
        move(state, base, at, g, v)
        move_base(v, g, at.channels, room, (base, mean, at))
        cuda.syncthreads()
        move(state, mean, at, g, v)
        put(v, g, at.channels, room, (pieces, mean, at))

    return find


@made_once
def count_up(dtype: str) -> Any:
    """(address, at): one thread of all adds 1 to the number there; nothing where the address is 0."""
    read, write = whole_number(dtype), store_number(dtype)

    @device
    def count(address: int, at: Any) -> None:
        if address != 0 and at.piece == 0 and at.first == 0 and cuda.threadIdx.x == 0:
            write(address, read(address) + 1)

    return count


def _each_layout() -> Iterator[Key]:
    for dtype, single in product(ITEMSIZE, (True, False)):
        yield dtype, WIDTH[dtype], single, "int64"


@template(_each_layout, launch_bounds=(channels.THREADS, 3), registers=80)
def moments(dtype: str, width: int, single: bool, counter: str) -> Built:
    """(input, pieces, counter, g): four numbers of every piece of every channel; a counter goes up by one."""
    place, find = channels.place(width, single), piece(dtype, width, single, walks.READ)
    own, count = channels.own_piece, count_up(counter)

    def kernel(x: Any, pieces: Any, batches: Any, g: Any) -> None:
        at = place(g, own())
        find((x,), at, g, pieces)
        count(batches, at)

    return kernel, (types.uint64, types.uint64, types.uint64, GEOMETRY)


# ---- the whole ---------------------------------------------------------------------------------------------


@made_once
def merge(dtype: str) -> Any:
    """(pieces, channel, count): (n, mean, mean_low, variance) of a channel's pieces, which a warp merges.

    All its threads have the result. The mean is the sum of two numbers, of which the second is too small to
    change the first.
    """
    read, real = numbers.quad(computing_name(dtype), load), computing(dtype)

    @device
    def whole(pieces: int, channel: int, count: int) -> Any:
        lane, v = types.int64(cuda.threadIdx.x & 31), cuda.local.array(4, real)
        read(pieces, channel * count, v)
        base = types.float64(v[_MEAN])
        n, total = 0.0, 0.0
        for i in range(lane, count, 32):
            read(pieces, channel * count + i, v)
            n += types.float64(v[_COUNT])
            total += types.float64(v[_COUNT]) * (
                (types.float64(v[_MEAN]) - base) + types.float64(v[_MEAN_LOW])
            )
        n, total = warp_sum(n), warp_sum(total)
        shift, m2 = total / n, 0.0
        for i in range(lane, count, 32):
            read(pieces, channel * count + i, v)
            far = ((types.float64(v[_MEAN]) - base) + types.float64(v[_MEAN_LOW])) - shift
            m2 += types.float64(v[_M2]) + types.float64(v[_COUNT]) * far * far
        variance = warp_sum(m2) / n
        mean = base + shift
        back = mean - base
        mean_low = (base - (mean - back)) + (shift - back)
        return n, mean, mean_low, 0.0 if variance < 0 else variance

    return whole


@made_once
def _update(dtype: str) -> tuple[Any, Any]:
    """Device functions: (x), if this dtype has it; (address, channel, new, momentum), which takes one in."""
    read, write, most = numbers.get(dtype), numbers.put(dtype), numbers.TOO_LARGE[dtype]

    @device
    def fits(x: float) -> bool:
        return abs(x) < most

    @device
    def take(address: int, channel: int, new: float, momentum: float) -> None:
        write(address, channel, (1 - momentum) * read(address, channel) + momentum * new)

    return fits, take


@made_once
def _keep_running(mean_dtype: str, var_dtype: str, counter: str) -> Any:
    """(running, channel, mean, variance, momentum, skip): running moments, if any, take a batch's in."""
    (mean_fits, take_mean), (var_fits, take_var) = _update(mean_dtype), _update(var_dtype)
    batches, cumulative = whole_number(counter or "int64"), bool(counter)

    @device
    def keep(running: Any, channel: int, mean: float, variance: float, momentum: float, skip: int) -> None:
        if running[0] != 0 and (skip == 0 or (mean_fits(mean) and var_fits(variance))):
            if cumulative:
                momentum = 1 / types.float64(batches(running[2]))
            take_mean(running[0], channel, mean, momentum)
            take_var(running[1], channel, variance, momentum)

    return keep


def _each_running() -> Iterator[Key]:
    yield from (("float32", dtype, dtype, "") for dtype in ITEMSIZE)
    yield "float64", "float32", "float32", "int64"


@made_once
def whole(dtype: str, mean_dtype: str, var_dtype: str, counter: str) -> Any:
    """(pieces, count, channel, statistics, running, numbers, skip): a channel's moments, by a warp.

    count: pieces of a channel. statistics: addresses of mean, mean_low and rstd. running: of the running mean
    and variance and of the counter, which with a dtype makes the average a cumulative one; 0 for those that
    are not there. numbers: eps, momentum, and what the variance is multiplied by for the running one. With
    skip, a channel that is not finite is not taken in.
    """
    merged, keep, put = merge(dtype), _keep_running(mean_dtype, var_dtype, counter), numbers.put("float64")

    @device
    def find(
        pieces: int, count: int, channel: int, statistics: Any, running: Any, given: Any, skip: int
    ) -> None:
        _, mean, mean_low, variance = merged(pieces, channel, count)
        if cuda.threadIdx.x & 31 == 0:
            put(statistics[0], channel, mean)
            put(statistics[1], channel, mean_low)
            put(statistics[2], channel, 1 / math.sqrt(variance + given[0]))
            keep(running, channel, mean, given[2] * variance, given[1], skip)

    return find


@template(_each_running, narrow="a few numbers of each channel")
def finish(dtype: str, mean_dtype: str, var_dtype: str, counter: str) -> Built:
    """(pieces, count, channels, statistics, running, numbers, skip): the moments of all channels."""
    find = whole(dtype, mean_dtype, var_dtype, counter)

    def kernel(
        pieces: Any, count: int, total: int, statistics: Any, running: Any, given: Any, skip: int
    ) -> None:
        channel = types.int64(cuda.blockIdx.x) * WARPS + (cuda.threadIdx.x >> 5)
        if channel < total:
            find(pieces, count, channel, statistics, running, given, skip)

    address, word = types.uint64, types.int64
    three, floats = types.UniTuple(address, 3), types.UniTuple(types.float64, 3)
    return kernel, (address, word, word, three, three, floats, word)
