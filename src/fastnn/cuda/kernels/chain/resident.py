"""Batch norm in training by one kernel, while what it reads fits on the chip: memory is read once.

All blocks run at once. Each finds the sums of its pieces, and keeps what it has read in shared memory, its
slab. When all blocks have done so, each warp merges the pieces of a channel; then the blocks go over their
slabs. The sums are those of the kernels for any size (moments, scaling, gradients), to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from numba import cuda, types

from fastnn._core.dtypes import computing_name
from fastnn.cuda._runtime.compiler import Built, Key, template
from fastnn.cuda._runtime.dtypes import ITEMSIZE, WIDTH
from fastnn.cuda._runtime.ptx.access import dynamic_shared
from fastnn.cuda._runtime.ptx.arithmetic import quotient
from fastnn.cuda._runtime.ptx.functions import device
from fastnn.cuda._runtime.ptx.ordering import add_in_order, seen_in_order
from fastnn.cuda.kernels.chain import chain, channels, gradients, moments, scaling, walks
from fastnn.cuda.kernels.chain.channels import CHANNELS, GEOMETRY, THREADS
from fastnn.cuda.kernels.chain.scaling import ADDRESSES, Head
from fastnn.cuda.kernels.random.draws import KEY_WORDS

#: Two blocks to a multiprocessor: half of the threads of the kernels for any size, each with four loads of 16
#: bytes under way.
OPTIONS = {"launch_bounds": (THREADS, 2), "registers": 128}

_WARPS = THREADS // 32
_TURN = 1 << 31


@device
def wait_for_all(counter: int) -> None:
    """Wait until all threads of all blocks are here. What these wrote before can then be read.

    The counter's upper bit changes when the last block arrives; the other bits are 0 then, as at first.
    """
    cuda.syncthreads()
    if cuda.threadIdx.x == 0:
        own = _TURN - (cuda.gridDim.x - 1) if cuda.blockIdx.x == 0 else 1
        before = add_in_order(counter, types.uint32(own))
        while (seen_in_order(counter) ^ before) & types.uint32(_TURN) == 0:
            pass
    cuda.syncthreads()


@device
def _piece(turn: int, grid: Any) -> Any:
    """What a block takes in a turn, as channels.own_piece says it, and whether there is such a piece."""
    tiles, slices, parts = types.int32(grid[0]), types.int32(grid[1]), types.int32(grid[2])
    number = types.int32(cuda.blockIdx.x + turn * cuda.gridDim.x)
    rest = types.int32(quotient(number, tiles))
    part = types.int32(quotient(rest, slices))
    piece = types.int32(number - rest * tiles), types.int32(rest - part * slices), part
    return (piece, (tiles, slices, parts)), number < tiles * slices * parts


@device
def _own_slab(turn: int, size: int) -> Any:
    """The address of the thread's part of the slab of a turn."""
    return dynamic_shared() + types.uint64(16 * cuda.threadIdx.x + turn * size)


_STAGES: chain.Stages = (("activation", "relu"), ("dropout",), ("add",), ("activation", "leaky_relu"))


def _each_layout(*rest: Any) -> Iterator[Key]:
    for dtype, single in product(ITEMSIZE, (True, False)):
        yield dtype, WIDTH[dtype], single, Head("batch"), _STAGES, *rest
    yield "float32", 4, True, Head("batch"), (), *rest


@template(lambda: _each_layout("memory", "int64", False), **OPTIONS)
def forward(
    dtype: str,
    width: int,
    single: bool,
    head: Head,
    stages: chain.Stages,
    draws: str,
    counter: str,
    cumulative: bool,
) -> Built:
    """(y, x and residual; per channel; counters; pieces; g; turns; words; numbers; skip; p): all of forward.

    per channel: as in scaling.forward; mean, mean_low and rstd are written; running statistics, if any, are
    moved. counters: the addresses of the counter of wait_for_all and of the number of batches. turns: three
    numbers of the grid of pieces, the turns of a block, the bytes of a turn's slab. numbers: eps, momentum
    and factor, as moments.finish takes them.
    """
    head = Head(*head)
    place = channels.place(width, single)
    find = moments.piece(dtype, width, single, walks.KEEP)
    merge = moments.whole(computing_name(dtype), head.mean, head.var, counter if cumulative else "")
    run = scaling.pass_over(dtype, width, single, head, stages, draws, walks.RECALL)
    count = moments.count_up(counter)

    def kernel(
        a: Any,
        each: Any,
        counters: Any,
        pieces: Any,
        g: Any,
        turns: Any,
        words: Any,
        given: Any,
        skip: int,
        p: Any,
    ) -> None:
        for turn in range(turns[3]):
            which, there = _piece(turn, turns)
            if there:
                at = place(g, which)
                find((a[1], _own_slab(turn, turns[4])), at, g, pieces)
                count(counters[1], at)
            cuda.syncthreads()
        wait_for_all(counters[0])
        statistics, running = (each[0], each[1], each[2]), (each[3], each[4], counters[1])
        channel = types.int64(cuda.blockIdx.x) * _WARPS + (cuda.threadIdx.x >> 5)
        while channel < g[CHANNELS]:
            merge(pieces, turns[1] * turns[2], channel, statistics, running, given, skip)
            channel += cuda.gridDim.x * _WARPS
        wait_for_all(counters[0])
        for turn in range(turns[3]):
            which, there = _piece(turn, turns)
            if there:
                slab = (_own_slab(turn, turns[4]),)
                run(a + slab, place(g, which), each, g, words, 0.0, p)
            cuda.syncthreads()

    address, word = types.uint64, types.int64
    return kernel, (
        types.UniTuple(address, 3 if ("add",) in stages else 2),
        types.UniTuple(address, ADDRESSES),
        types.UniTuple(address, 2),
        address,
        GEOMETRY,
        types.UniTuple(word, 5),
        types.UniTuple(word, KEY_WORDS),
        types.UniTuple(types.float64, 3),
        word,
        types.UniTuple(types.float64, chain.NUMBERS * len(stages)),
    )


@template(lambda: _each_layout(True, "memory"), **OPTIONS)
def backward(
    dtype: str, width: int, single: bool, head: Head, stages: chain.Stages, addend: bool, draws: str
) -> Built:
    """(arrays; per channel; counter; pieces; to; n; g; turns; words; p): all of backward.

    arrays: those of gradients.operands. to: dweight, dbias, slopes. n: elements of a channel. turns: as in
    `forward`.
    """
    head = Head(*head)
    place, merge = channels.place(width, single), gradients.whole(dtype, head)
    add, apply = (
        gradients.pass_over(dtype, width, single, head, stages, addend, draws, does, access)
        for does, access in ((gradients.SUMS, walks.KEEP), (gradients.FROM_SUMS, walks.RECALL))
    )

    def kernel(
        a: Any,
        each: Any,
        counter: Any,
        pieces: Any,
        to: Any,
        n: float,
        g: Any,
        turns: Any,
        words: Any,
        p: Any,
    ) -> None:
        for turn in range(turns[3]):
            which, there = _piece(turn, turns)
            if there:
                slab = (_own_slab(turn, turns[4]),)
                add(a + slab, place(g, which), each, pieces, to[2], g, words, p)
            cuda.syncthreads()
        wait_for_all(counter)
        channel = types.int64(cuda.blockIdx.x) * _WARPS + (cuda.threadIdx.x >> 5)
        while channel < g[CHANNELS]:
            merge(pieces, turns[1] * turns[2], channel, n, each, to)
            channel += cuda.gridDim.x * _WARPS
        wait_for_all(counter)
        for turn in range(turns[3]):
            which, there = _piece(turn, turns)
            if there:
                slab = (_own_slab(turn, turns[4]),)
                apply(a + slab, place(g, which), each, pieces, to[2], g, words, p)
            cuda.syncthreads()

    address, word = types.uint64, types.int64
    return kernel, (
        types.UniTuple(address, 5 if ("add",) in stages else 3),
        types.UniTuple(address, ADDRESSES),
        address,
        address,
        types.UniTuple(address, 3),
        types.float64,
        GEOMETRY,
        types.UniTuple(word, 5),
        types.UniTuple(word, KEY_WORDS),
        types.UniTuple(types.float64, chain.NUMBERS * len(stages)),
    )
