"""What is done with each channel before the stages of a chain: its numbers, and the kernel of a forward pass.

z = (x - center) scale + shift, and then the stages. A block prepares these numbers for the channels of its
tile, one a thread, in float64; where they come from is the head of the chain.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

from numba import cuda, types

from fastnn.cuda._runtime.compiler import Built, Key, template
from fastnn.cuda._runtime.dtypes import ITEMSIZE, WIDTH
from fastnn.cuda._runtime.ptx.arithmetic import fma, quotient
from fastnn.cuda._runtime.ptx.functions import device, made_once
from fastnn.cuda._runtime.ptx.real import computing
from fastnn.cuda.kernels.chain import chain, channels, walks
from fastnn.cuda.kernels.chain.channels import GEOMETRY, INNER, SLOTS
from fastnn.cuda.kernels.common import numbers
from fastnn.cuda.kernels.random.draws import KEY_WORDS

CENTER, SCALE, SHIFT = 0, 1, 2


class Head(NamedTuple):
    """Where a channel's numbers come from, and the dtypes of weight, bias and running statistics.

    kind: "none", "scale" (weight and bias alone), "batch" (the moments of a batch), "running" (running
    statistics), or "evaluated" (what an evaluation saved of these).
    """

    kind: str = "none"
    weight: str = "float32"
    bias: str = "float32"
    mean: str = "float32"
    var: str = "float32"


#: Addresses of the channels' numbers, in this order: mean, mean_low and rstd, of the batch or for what
#: evaluation saves; the running mean and variance, weight and bias. 0 for what is not there.
ADDRESSES = 7
_MEAN, _REST, _RSTD, _RUNNING_MEAN, _RUNNING_VAR, WEIGHT, _BIAS = range(ADDRESSES)


@made_once
def statistics(head: Head) -> Any:
    """(addresses, channel, eps): (mean, mean_low, rstd) of a channel."""
    saved = numbers.get("float64")
    running_mean, running_var = numbers.get(head.mean), numbers.get(head.var)

    @device
    def batch(c: Any, channel: int, eps: float) -> Any:
        return saved(c[_MEAN], channel), saved(c[_REST], channel), saved(c[_RSTD], channel)

    @device
    def running(c: Any, channel: int, eps: float) -> Any:
        rstd = 1 / math.sqrt(running_var(c[_RUNNING_VAR], channel) + eps)
        return running_mean(c[_RUNNING_MEAN], channel), 0.0, rstd

    @device
    def evaluated(c: Any, channel: int, eps: float) -> Any:
        return saved(c[_MEAN], channel), 0.0, saved(c[_RSTD], channel)

    @device
    def nothing(c: Any, channel: int, eps: float) -> Any:
        return 0.0, 0.0, 1.0

    return {"batch": batch, "running": running, "evaluated": evaluated}.get(head.kind, nothing)


@made_once
def prepare(head: Head, dtype: str) -> Any:
    """(addresses, channel, slot, eps, table): a channel's center, scale, shift into a column of the table."""
    real, find = computing(dtype), statistics(head)
    weight, bias = numbers.get(head.weight, 1.0), numbers.get(head.bias, 0.0)

    @device
    def fill(c: Any, channel: int, slot: int, eps: float, table: Any) -> None:
        mean, mean_low, rstd = find(c, channel, eps)
        center, scale = real(mean), rstd * weight(c[WEIGHT], channel)
        off = (mean - types.float64(center)) + mean_low
        table[CENTER, slot], table[SCALE, slot] = center, real(scale)
        table[SHIFT, slot] = real(bias(c[_BIAS], channel) - off * scale)

    return fill


@made_once
def remember(head: Head) -> Any:
    """(addresses, channel, eps): the statistics of evaluation to memory, for backward."""
    find, put = statistics(head), numbers.put("float64")

    @device
    def write(c: Any, channel: int, eps: float) -> None:
        mean, _, rstd = find(c, channel, eps)
        put(c[_MEAN], channel, mean)
        put(c[_RSTD], channel, rstd)

    @device
    def nothing(c: Any, channel: int, eps: float) -> None:
        pass

    return write if head.kind == "running" else nothing


@made_once
def spread(rows: int, width: int, single: bool) -> Any:
    """(table, at, g, c): a table's columns for the channels of a thread's elements; one if all are of one."""
    lanes = 1 if single else width

    @device
    def take(table: Any, at: Any, g: Any, c: Any) -> None:
        for k in range(lanes):
            slot = types.uint32(0) if single else min(quotient(at.column + k, g[INNER]), SLOTS - 1)
            for j in range(rows):
                c[j, k] = table[j, slot]

    return take


@made_once
def scaled(head: Head, lanes: int, span: int, row: int) -> Any:
    """(c, v): z for x in a row of v."""

    @device
    def scale(c: Any, v: Any) -> None:
        for k in range(span):
            lane = k % lanes
            v[row, k] = fma(v[row, k] - c[CENTER, lane], c[SCALE, lane], c[SHIFT, lane])

    @device
    def nothing(c: Any, v: Any) -> None:
        pass

    return nothing if head.kind == "none" else scale


_BATCH = Head("batch")
_EACH_HEAD = (Head("scale"), _BATCH, Head("running"))
_STAGES: chain.Stages = (("activation", "relu"), ("dropout",), ("add",), ("activation", "leaky_relu"))


def _each_layout() -> Iterator[Key]:
    for dtype, single in product(ITEMSIZE, (True, False)):
        width = WIDTH[dtype]
        yield dtype, width, single, _BATCH, _STAGES, "memory"
    yield from (("float32", 4, True, head, (), "") for head in _EACH_HEAD)
    yield "float32", 4, False, Head(), _STAGES, "channels last"


def pass_over(
    dtype: str, width: int, single: bool, head: Head, stages: chain.Stages, draws: str, access: str
) -> Any:
    """(addresses, at, per channel, g, words, eps, p): the stages' results for one piece.

    addresses: of y, x and residual, and, if x is recalled, of the thread's slab.
    """
    lanes, count = 1 if single else width, 3 if ("add",) in stages else 2
    operands = (walks.WRITE, access, walks.READ)[:count]
    real, table_shape, own_shape = computing(dtype), (3, 1 if single else SLOTS), (3, lanes)
    fill, note, take = prepare(head, dtype), remember(head), spread(3, width, single)

    def body(span: int) -> Any:
        scale, run = scaled(head, lanes, span, chain.X), chain.forward(stages, span)

        @device
        def compute(c: Any, v: Any, keep: int, p: Any) -> None:
            scale(c, v)
            run(v, keep, p)

        return compute

    walk = walks.walk(walks.Loop(dtype, width, operands, draws), 4 - count, body)

    @device
    def go(a: Any, at: Any, each: Any, g: Any, words: Any, eps: float, p: Any) -> None:
        table, c = cuda.shared.array(table_shape, real), cuda.local.array(own_shape, real)
        slot = types.int64(cuda.threadIdx.x)
        if slot < at.channels:
            fill(each, at.first + slot, slot, eps, table)
            if at.piece == 0:
                note(each, at.first + slot, eps)
        cuda.syncthreads()
        take(table, at, g, c)
        walk(a, at, g, c, words, p)

    return go


@template(_each_layout, registers=96)
def forward(dtype: str, width: int, single: bool, head: Head, stages: chain.Stages, draws: str) -> Built:
    """(y, x and residual; per channel; g; words; eps; p): the stages' results, last blocks first.

    The last tiles that another kernel went over before are the ones that a cache still has.
    """
    place, own = channels.place(width, single), channels.last_first
    run = pass_over(dtype, width, single, Head(*head), stages, draws, walks.READ)

    def kernel(a: Any, each: Any, g: Any, words: Any, eps: float, p: Any) -> None:
        run(a, place(g, own()), each, g, words, eps, p)

    return kernel, (
        types.UniTuple(types.uint64, 3 if ("add",) in stages else 2),
        types.UniTuple(types.uint64, ADDRESSES),
        GEOMETRY,
        types.UniTuple(types.int64, KEY_WORDS),
        types.float64,
        types.UniTuple(types.float64, chain.NUMBERS * len(stages)),
    )
