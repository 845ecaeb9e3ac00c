"""Gradients of norms of rows. Which norm it is, it must not know.

dx = rstd (g - mean(g) - xhat mean(g xhat)), with g = dy weight. Where each element of a row has a weight,
teams go over many rows and sum up dweight and dbias in registers meanwhile; where all of a row have one, a
row's sums are its share of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from numba import cuda, types

from fastnn._core.dtypes import computing_name
from fastnn.cuda._runtime.compiler import Built, Key, template
from fastnn.cuda._runtime.dtypes import ITEMSIZE, WIDTH
from fastnn.cuda._runtime.ptx.arithmetic import fma, quotient
from fastnn.cuda._runtime.ptx.functions import device, in_turn, made_once
from fastnn.cuda._runtime.ptx.real import computing
from fastnn.cuda.kernels.common import cuts, reductions, rows, samples
from fastnn.cuda.kernels.common.cuts import THREADS, TYPICAL, Cut, example_cuts, examples
from fastnn.cuda.kernels.common.division import divide
from fastnn.cuda.kernels.common.numbers import double_at, put_double, read, write
from fastnn.cuda.kernels.common.rows import Read, Round, Work, Written, argument_types
from fastnn.cuda.kernels.common.samples import (
    ADDRESSES,
    AT,
    COUNT,
    LENGTH,
    MEMBER,
    NUMBERS,
    OWN_WORDS,
    SAMPLE,
    SAMPLES,
    WORDS,
)
from fastnn.cuda.kernels.norm.norms import (
    ELEMENTS_MAGIC,
    S_MEAN,
    S_RSTD,
    WEIGHT,
    WORD_COUNT,
    X,
    normaliser,
    parameters,
    read_statistics,
)

#: Addresses beside those of norms.py: dx, dy, what of dweight and dbias is summed, and slopes and shifts of
#: groups.
DX, DY, SUMS, COEFFICIENTS, ADDRESS_COUNT = 0, 5, 6, 7, 8
#: The number: 1 / elements that share a mean; 0 where the statistics do not depend on x.
OWN = 0
#: What s holds beside mean and 1 / deviation: sums of g and of g xhat; dx has slope (x - center) + shift of
#: x.
S_SUM, S_PRODUCT, S_SLOPE, S_SHIFT, S_STATE = 3, 4, 5, 6, 7
#: Of the kernel that goes over many rows: groups of rows that have weights of their own, and a team's rows.
GROUP_COUNT, TURNS = OWN_WORDS, OWN_WORDS + 1


@made_once
def _coefficients(real: Any) -> Any:
    """(c, s): slope and shift from the sums."""

    @device
    def find(c: Any, s: Any) -> None:
        own, rstd = c[NUMBERS][OWN], s[S_RSTD]
        low = s[S_MEAN] - types.float64(real(s[S_MEAN]))
        s[S_SLOPE] = own * rstd * rstd * s[S_PRODUCT]
        s[S_SHIFT] = own * rstd * s[S_SUM] - s[S_SLOPE] * low

    return find


@made_once
def _uncentred(find: Any) -> Any:
    """The same where no mean is taken away: dx has nothing of the sum of g."""

    @device
    def find_slope(c: Any, s: Any) -> None:
        s[S_SUM] = 0.0
        find(c, s)

    return find_slope


def coefficients(real: Any, has_mean: bool) -> Any:
    """(c, s): s[S_SLOPE] and s[S_SHIFT] from s[S_SUM] and s[S_PRODUCT]."""
    return _coefficients(real) if has_mean else _uncentred(_coefficients(real))


@made_once
def _sums(cut: Cut, real: Any, weighted: bool) -> Any:
    """(v, w, s, r): adds the sums of g and g xhat; rows 0 and 1 of v are dy and x."""
    span, normalise = cut.span, normaliser(real)

    @device
    def gather(v: Any, w: Any, s: Any, r: Any) -> None:
        center, rstd, shift = normalise(s[S_MEAN], s[S_RSTD])
        total, product = real(0), real(0)
        for e in range(span):
            g = v[0, e] * w[0, e] if weighted else v[0, e]
            total += g
            product = fma(g, fma(v[1, e] - center, rstd, shift), product)
        r[0] += total
        r[1] += product

    return gather


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


@made_once
def _gradient(cut: Cut, real: Any, weighted: bool) -> Any:
    """(v, w, s): row 0 of v, dy, becomes dx."""
    span = cut.span

    @device
    def apply(v: Any, w: Any, s: Any) -> None:
        center, rstd = real(s[S_MEAN]), real(s[S_RSTD])
        slope, shift = real(s[S_SLOPE]), real(s[S_SHIFT])
        for e in range(span):
            g = v[0, e] * w[0, e] if weighted else v[0, e]
            v[0, e] = fma(g, rstd, -fma(v[1, e] - center, slope, shift))

    return apply


# ---- a row by itself ---------------------------------------------------------------------------------------


@device
def _write_sums(c: Any, s: Any) -> None:
    """The row's sums of dy and of dy xhat, its share of dbias and dweight."""
    sums, row = c[ADDRESSES][SUMS], c[AT][SAMPLE]
    if c[AT][MEMBER] == 0 and c[AT][COUNT] > 0:
        put_double(sums, row, s[S_PRODUCT])
        put_double(sums, c[WORDS][SAMPLES] + row, s[S_SUM])


@device
def _read_coefficients(c: Any, s: Any) -> None:
    group = divide(c[AT][SAMPLE], c[WORDS][ELEMENTS_MAGIC])
    if c[AT][COUNT] > 0:
        s[S_SLOPE] = double_at(c[ADDRESSES][COEFFICIENTS], 2 * group)
        s[S_SHIFT] = double_at(c[ADDRESSES][COEFFICIENTS], 2 * group + 1)


class Form(NamedTuple):
    """What a row has, and what is made of it.

    kind: "element", each one has a weight, or "row", it has one. at_once: weights are read by 16 bytes. part:
    "sums", or "map", which takes slopes and shifts as given, are for rows whose means others share; else
    "all".
    """

    kind: str
    has_mean: bool
    weighted: bool
    at_once: bool = False
    part: str = "all"


def _row_examples() -> Iterator[Key]:
    element, row = Form("element", True, True), Form("row", True, True)
    for dtype, cut in examples(2):
        if cut.kind == "row":
            yield dtype, dtype, tuple(row), tuple(cut)
    for dtype in TYPICAL:
        _, cut, _, long, *_ = example_cuts(dtype, 2)
        yield dtype, dtype, tuple(element), tuple(long)
        yield dtype, dtype, tuple(element._replace(has_mean=False, at_once=True)), tuple(cut)
        yield from ((dtype, dtype, tuple(row._replace(part=part)), tuple(cut)) for part in ("sums", "map"))


def _row_round(cut: Cut, real: Any, form: Form, weights: Any) -> Round:
    """The sums over a row, and slope and shift from them."""
    by_element, span, find = form.kind == "element", cut.span, coefficients(real, form.has_mean)
    add, whole = _sums(cut, real, form.weighted and by_element), form.part == "all"
    scaled = form.weighted and not by_element and whole

    @device
    def gather(c: Any, v: Any, s: Any, r: Any) -> None:
        w = cuda.local.array((1, span), real)
        if by_element:
            weights(c, w, s)
        add(v, w, s, r)

    @device
    def finish(c: Any, s: Any, r: Any) -> None:
        s[S_SUM], s[S_PRODUCT] = r[0], r[1]
        if not by_element:
            _write_sums(c, s)
        if scaled:
            w = cuda.local.array((1, span), real)
            weights(c, w, s)
            s[S_SUM] *= w[0, 0]
            s[S_PRODUCT] *= w[0, 0]
        if whole:
            find(c, s)

    return Round(types.float64, (0.0, 0.0), gather, reductions.add_each, finish)


@template(_row_examples, **rows.OPTIONS)
def by_row(dtype: str, other: str, form: tuple[Any, ...], cut: tuple[Any, ...]) -> Built:
    """dx, row by row; kind "row": also each row's sums of dy xhat and dy, all rows' after each other.

    other: the weight's dtype.
    """
    how, of, real = Cut(*cut), Form(*form), computing(dtype)
    weights = parameters(how, other, WEIGHT, of.kind, of.at_once) if of.weighted else rows.nothing
    apply, span, given = _gradient(how, real, of.weighted), how.span, of.part == "map"

    @device
    def emit(c: Any, v: Any, s: Any) -> None:
        w = cuda.local.array((1, span), real)
        weights(c, w, s)
        if given:
            _read_coefficients(c, s)
        apply(v, w, s)

    work = Work(
        reads=(Read(dtype, DY), Read(dtype, X)),
        written=() if of.part == "sums" else (Written(dtype, DX),),
        addresses=ADDRESS_COUNT,
        words=WORD_COUNT,
        numbers=1,
        state=S_STATE,
        begin=read_statistics(of.has_mean, of.part != "all"),
        rounds=() if given else (_row_round(how, real, of, weights),),
        emit=rows.nothing if of.part == "sums" else emit,
    )
    return rows.kernel(how, work, real)


@template(lambda: ((other, has) for other in ITEMSIZE for has in (True, False)), **rows.OPTIONS)
def group_coefficients(other: str, weighted: bool) -> Built:
    """Slopes and shifts for groups of channels: a thread adds up its group's sums, weighted.

    Addresses: weight, sums, mean, rstd, coefficients. Words: how many there are in all samples, groups of a
    sample, magic(groups), channels of a group. Number: OWN. other: the weight's dtype.
    """
    weight, find = read(other), coefficients(computing(other), True)

    def kernel(a: Any, i: Any, p: Any) -> None:
        number = types.int64(cuda.blockIdx.x) * THREADS + cuda.threadIdx.x
        count, groups, channels = i[0], i[1], i[3]
        if number >= count:
            return
        s = cuda.local.array(S_STATE, types.float64)
        s[S_SUM] = s[S_PRODUCT] = 0.0
        group = number - divide(number, i[2]) * groups
        for k in range(channels):
            w, row = weight(a[0], group * channels + k) if weighted else 1.0, number * channels + k
            s[S_PRODUCT] += w * double_at(a[1], row)
            s[S_SUM] += w * double_at(a[1], count * channels + row)
        s[S_MEAN], s[S_RSTD] = double_at(a[2], number), double_at(a[3], number)
        find((a, i, p), s)
        put_double(a[4], 2 * number, s[S_SLOPE])
        put_double(a[4], 2 * number + 1, s[S_SHIFT])

    return kernel, argument_types(5, 4, 1)


# ---- many rows with the same weights -----------------------------------------------------------------------


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
    add, collect = _sums(how, real, weighted), add_terms(span, real)
    apply, find = _gradient(how, real, weighted), coefficients(real, has_mean)
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
    """(a, i, p, d): a block's sums, of its teams in turn, to memory."""
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
