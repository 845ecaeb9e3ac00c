"""Gradients of norms of rows where each element of a row has a weight: dx, dweight and dbias in one pass.

Teams go over many rows, and sum up dweight and dbias in registers meanwhile. Which norm it is, it must not
know.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numba import cuda, types

from fastnn._core.dtypes import computing_name
from fastnn.cuda._runtime.compiler import Built, Key, template
from fastnn.cuda._runtime.dtypes import ITEMSIZE, WIDTH
from fastnn.cuda._runtime.ptx.arithmetic import fma, quotient
from fastnn.cuda._runtime.ptx.functions import device, in_turn, made_once
from fastnn.cuda._runtime.ptx.real import computing
from fastnn.cuda.kernels.common import cuts, reductions, rows, samples
from fastnn.cuda.kernels.common.cuts import THREADS, TYPICAL, Cut
from fastnn.cuda.kernels.common.numbers import write
from fastnn.cuda.kernels.common.rows import argument_types
from fastnn.cuda.kernels.common.samples import LENGTH, OWN_WORDS, SAMPLES
from fastnn.cuda.kernels.norm.norm_gradients import (
    ADDRESS_COUNT,
    DX,
    DY,
    S_PRODUCT,
    S_STATE,
    S_SUM,
    SUMS,
    apply_gradient,
    coefficients,
    gather_sums,
)
from fastnn.cuda.kernels.norm.norms import S_MEAN, S_RSTD, WEIGHT, X, normaliser, read_statistics

#: Words: groups of rows that have weights of their own, and a team's rows.
GROUP_COUNT, TURNS = OWN_WORDS, OWN_WORDS + 1


@made_once
def add_terms(count: int, real: Any) -> Any:
    """(v, mean, 1 / deviation, d): adds dy xhat to row 0 of d and dy to row 1, of `count` elements each."""
    normalise = normaliser(real)

    @device
    def add(v: Any, mean: float, rstd: float, d: Any) -> None:
        center, slope, shift = normalise(mean, rstd)
        for k in range(count):
            d[0, k] = fma(v[0, k], fma(v[1, k] - center, slope, shift), d[0, k])
            d[1, k] += v[0, k]

    return add


def many_cut(length: int, dtype: str, aligned: bool) -> Cut | None:
    """For `by_element`: how rows are cut, each at the same places; None: they are too long."""
    width = WIDTH[dtype] if aligned and length % WIDTH[dtype] == 0 else 1
    span = max(8 * 4 // max(4, ITEMSIZE[dtype]), width)
    if 32 * span < length <= 64 * span or length > 512 * span:
        span *= 2
    team = cuts.team_for(length, span)
    return Cut("row", team, span, width) if team <= 512 else None


def _many_examples() -> Iterator[Key]:
    for dtype in TYPICAL:
        wide = computing_name(dtype)
        cuts = [many_cut(n, dtype, aligned) for n, aligned in ((64, True), (4096, True), (768, False))]
        first, second, third = (tuple(cut) for cut in cuts if cut is not None)
        yield from ((dtype, dtype, True, True, cut) for cut in (first, second))
        yield dtype, wide, False, True, third


@template(_many_examples, **rows.OPTIONS)
def by_element(dtype: str, other: str, has_mean: bool, weighted: bool, cut: tuple[Any, ...]) -> Built:
    """dx, and for each block of rows its sums of dy xhat and dy: an array (2, blocks, groups, length).

    Row n of group g is row n GROUP_COUNT + g of the arrays.
    """
    how, real = Cut(*cut), computing(dtype)
    span, team, together = how.span, how.team, how.together
    loads = in_turn([samples.moved(how, dtype, DY, 0, 0.0), samples.moved(how, dtype, X, 1, 0.0)])
    stores = samples.moved(how, dtype, DX, 0, None)
    weights = samples.moved(how, other, WEIGHT, 0, 0.0) if weighted else rows.nothing
    add, collect = gather_sums(how, real, weighted), add_terms(span, real)
    apply, find = apply_gradient(how, real, weighted), coefficients(real, has_mean)
    statistics = read_statistics(has_mean, False)
    joined = reductions.join(how, reductions.add_each, 2, types.float64)
    deliver, part = _deliver(how, real, dtype), samples.part_of(how)

    def kernel(a: Any, i: Any, p: Any) -> None:
        v, w = cuda.local.array((2, span), real), cuda.local.array((1, span), real)
        d, r = cuda.local.array((2, span), real), cuda.local.array(2, types.float64)
        s = cuda.local.array(S_STATE, types.float64)
        zero, length, groups, thread = (
            types.int64(0),
            i[LENGTH],
            i[GROUP_COUNT],
            types.uint32(cuda.threadIdx.x),
        )
        member, own = types.int32(thread & types.uint32(team - 1)), quotient(thread, team)
        group = types.int64(cuda.blockIdx.x)
        weights((a, i, p, part(group, member, group * length, length, zero, zero)), w, s)
        for e in range(span):
            d[0, e] = d[1, e] = real(0)
        for turn in range(i[TURNS]):
            n = (types.int64(cuda.blockIdx.y) * i[TURNS] + turn) * together + own
            row, count = n * groups + group, length if n < i[SAMPLES] else zero
            c = (a, i, p, part(row, member, row * length, count, zero, zero))
            loads(c, v, s)
            statistics(c, v, s)
            r[0] = r[1] = 0.0
            add(v, w, s, r)
            joined(r)
            s[S_SUM], s[S_PRODUCT] = r[0], r[1]
            find(c, s)
            collect(v, s[S_MEAN], s[S_RSTD], d)
            apply(v, w, s)
            stores(c, v, s)
        deliver(a, i, p, d)

    return kernel, argument_types(ADDRESS_COUNT, OWN_WORDS + 2, 1)


@made_once
def _deliver(cut: Cut, real: Any, dtype: str) -> Any:
    """(a, i, p, d): writes a block's sums; those of its teams are added in a fixed order."""
    wide = computing_name(dtype)
    span, team, together, index_of = cut.span, cut.team, cut.together, samples.index(cut)
    put, shape = write(wide), (together, team * span)
    own_product, own_sum = (samples.moved(cut, wide, SUMS, k, None) for k in range(2))
    part = samples.part_of(cut)

    @device
    def place(i: Any, which: int) -> Any:
        block = types.int64(which) * cuda.gridDim.y + cuda.blockIdx.y
        return (block * i[GROUP_COUNT] + cuda.blockIdx.x) * i[LENGTH]

    @device
    def alone(a: Any, i: Any, p: Any, d: Any) -> None:
        zero, member, length = types.int64(0), types.int32(cuda.threadIdx.x), i[LENGTH]
        own_product((a, i, p, part(zero, member, place(i, 0), length, zero, zero)), d, d)
        own_sum((a, i, p, part(zero, member, place(i, 1), length, zero, zero)), d, d)

    @device
    def combined(a: Any, i: Any, p: Any, d: Any) -> None:
        shared = cuda.shared.array(shape, real)
        zero, thread = types.int64(0), types.int32(cuda.threadIdx.x)
        own = types.int64(quotient(thread, team))
        c = (a, i, p, part(zero, types.int32(thread & (team - 1)), zero, zero, zero, zero))
        for which in range(2):
            cuda.syncthreads()
            for e in range(span):
                shared[own, index_of(c, e)] = d[which, e]
            cuda.syncthreads()
            for k in range(thread, i[LENGTH], THREADS):
                total = real(0)
                for each in range(together):
                    total += shared[each, k]
                put(a[SUMS], place(i, which) + k, total)

    return alone if together == 1 else combined
