"""Norms of rows: layer, RMS, group and instance norm. Which of them it is, it must not know.

A row's mean is held in two parts, as on the CPU: a center in the computing type and the rest, so that a
mean of a million costs no digits. Sums of squares that leave float32 are taken again in float64.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from numba import cuda, types

from fastnn._core.dtypes import computing_name
from fastnn.cuda._runtime.compiler import Built, Key, template
from fastnn.cuda._runtime.dtypes import ITEMSIZE
from fastnn.cuda._runtime.ptx.access import load
from fastnn.cuda._runtime.ptx.arithmetic import fma
from fastnn.cuda._runtime.ptx.functions import device, made_once
from fastnn.cuda._runtime.ptx.real import computing
from fastnn.cuda.kernels.common import reductions, rows, samples
from fastnn.cuda.kernels.common.cuts import TYPICAL, Cut, example_cuts, examples
from fastnn.cuda.kernels.common.division import divide
from fastnn.cuda.kernels.common.numbers import double_at, put_double
from fastnn.cuda.kernels.common.rows import Read, Round, Work, Written
from fastnn.cuda.kernels.common.samples import ADDRESSES, AT, COUNT, MEMBER, NUMBERS, OWN_WORDS, SAMPLE, WORDS

#: Addresses: the result (y or dx), x, then
Y, X, MEAN, RSTD, WEIGHT, BIAS, VARIANCE = 0, 1, 2, 3, 4, 5, 6
#: Words: how many groups of rows have parameters of their own, the magic to divide by that; how many
#: parameters a row has; the magic to divide by the elements of each, or in backward by rows, by the rows that
#: have one mean.
GROUPS, GROUPS_MAGIC, CHANNELS, ELEMENTS_MAGIC = range(OWN_WORDS, OWN_WORDS + 4)
WORD_COUNT = 4
#: Numbers: eps, and 1 / the elements of a row.
EPS, PART = 0, 1
#: What s holds: mean and 1 / deviation of the row, and its variance.
S_MEAN, S_RSTD, S_VARIANCE, S_STATE = 0, 1, 2, 3

#: Of the parameters: "element" (one for each of a row), "channel", or "row"; with a weight; with a bias;
#: whether 16 bytes of them are read at once.
Shape = tuple[str, bool, bool, bool]


# ---- parameters --------------------------------------------------------------------------------------------


@device
def group_base(c: Any) -> Any:
    """Where the parameters of the row's group begin."""
    row = c[AT][SAMPLE]
    group = row - divide(row, c[WORDS][GROUPS_MAGIC]) * c[WORDS][GROUPS]
    return group * c[WORDS][CHANNELS]


@made_once
def parameters(cut: Cut, dtype: str, address: int, per: str, at_once: bool) -> Any:
    """(c, w, s): row 0 of w has the parameter of each of the thread's elements."""
    if per == "element":
        return samples.moved(cut, dtype, address, 0, 0.0, group_base, at_once)
    width, span, size, single = cut.width, cut.span, ITEMSIZE[dtype], load(dtype, 1)
    index_of, has, by_row = samples.index(cut), samples.has(cut), per == "row"
    step = width if at_once or by_row else 1  # elements that have one channel

    @device
    def of_channels(c: Any, w: Any, s: Any) -> None:
        base = group_base(c)
        for e in range(0, span, step):
            channel = base
            if not by_row:
                i = index_of(c, e) if has(c, e) else types.int64(0)
                channel += divide(i, c[WORDS][ELEMENTS_MAGIC])
            single(c[ADDRESSES][address] + types.uint64(channel * size), w, e)
            for k in range(1, step):
                w[0, e + k] = w[0, e]

    return of_channels


# ---- statistics --------------------------------------------------------------------------------------------


@made_once
def _squares(cut: Cut, real: Any) -> Any:
    """(c, v, center): the sums of x - center and of its squares, of the thread's elements of row 0."""
    span, has = cut.span, samples.has(cut)

    @device
    def squares(c: Any, v: Any, center: float) -> tuple[float, float]:
        total, square = real(0), real(0)
        for e in range(span):
            d = v[0, e] - center if has(c, e) else real(0)
            total += d
            square = fma(d, d, square)
        wide = types.float64(square)
        if not wide < math.inf:
            wide = types.float64(0)
            for e in range(span):
                d64 = types.float64(v[0, e]) - types.float64(center) if has(c, e) else 0.0
                wide += d64 * d64
        return types.float64(total), wide

    return squares


@device
def _finish_variance(c: Any, s: Any, variance: float) -> None:
    s[S_VARIANCE] = 0.0 if variance < 0 else variance
    s[S_RSTD] = 1 / math.sqrt(s[S_VARIANCE] + c[NUMBERS][EPS])


@made_once
def _near_round(cut: Cut, real: Any) -> Round:
    """s[S_MEAN]: the mean, nearly. Its terms are divided first: their sum cannot overflow."""
    span = cut.span

    @device
    def gather(c: Any, v: Any, s: Any, r: Any) -> None:
        part = real(c[NUMBERS][PART])
        for e in range(span):
            r[0] = fma(v[0, e], part, r[0])

    @device
    def finish(c: Any, s: Any, r: Any) -> None:
        s[S_MEAN] = r[0]

    return Round(real, (0.0,), gather, reductions.add_each, finish)


@made_once
def _squares_round(cut: Cut, real: Any, centred: bool) -> Round:
    """The moments about s[S_MEAN], which is near the mean; or about 0."""
    squares = _squares(cut, real)

    @device
    def gather(c: Any, v: Any, s: Any, r: Any) -> None:
        total, square = squares(c, v, real(s[S_MEAN]) if centred else real(0))
        r[0] += total
        r[1] += square

    @device
    def finish(c: Any, s: Any, r: Any) -> None:
        part = c[NUMBERS][PART]
        if centred:
            rest = r[0] * part
            s[S_MEAN] += rest
            _finish_variance(c, s, r[1] * part - rest * rest)
        else:
            s[S_MEAN] = 0.0
            _finish_variance(c, s, r[1] * part)

    return Round(types.float64, (0.0, 0.0), gather, reductions.add_each, finish)


@device
def merge_moments(r: Any, other: Any) -> None:
    """Merge (count, mean, squares about it) of two sets (Chan, Golub and LeVeque, 1979)."""
    count = r[0] + other[0]
    if other[0] > 0:
        difference, part = other[1] - r[1], other[0] / count
        r[2] += other[2] + difference * difference * r[0] * part
        r[1] += difference * part
        r[0] = count


@made_once
def _moments_round(cut: Cut, real: Any) -> Round:
    """The moments of a row that is read part by part: each part's are merged into those so far."""
    span, has, squares = cut.span, samples.has(cut), _squares(cut, real)

    @device
    def gather(c: Any, v: Any, s: Any, r: Any) -> None:
        count = real(0)
        for e in range(span):
            count += real(1) if has(c, e) else real(0)
        if count > 0:
            part, near = real(1) / count, real(0)
            for e in range(span):
                near = fma(v[0, e], part, near)
            total, square = squares(c, v, near)
            rest = total / types.float64(count)
            own = cuda.local.array(3, types.float64)
            own[0], own[1], own[2] = count, near + rest, square - total * rest
            merge_moments(r, own)

    @device
    def finish(c: Any, s: Any, r: Any) -> None:
        s[S_MEAN] = r[1]
        _finish_variance(c, s, r[2] * c[NUMBERS][PART])

    return Round(types.float64, (0.0, 0.0, 0.0), gather, merge_moments, finish)


def _statistics(cut: Cut, real: Any, statistics: str) -> tuple[Round, ...]:
    if statistics == "given":
        return ()
    if statistics == "rms":
        return (_squares_round(cut, real, False),)
    return (
        (_near_round(cut, real), _squares_round(cut, real, True))
        if cut.passes == 1
        else (_moments_round(cut, real),)
    )


@made_once
def read_statistics(has_mean: bool, shared: bool) -> Any:
    """(c, v, s): mean and 1 / deviation from memory; `shared`: the channels of a group have the same."""

    @device
    def read(c: Any, v: Any, s: Any) -> None:
        row = c[AT][SAMPLE]
        if shared:
            row = divide(row, c[WORDS][ELEMENTS_MAGIC])
        s[S_MEAN] = 0.0
        if c[AT][COUNT] > 0:
            if has_mean:
                s[S_MEAN] = double_at(c[ADDRESSES][MEAN], row)
            s[S_RSTD] = double_at(c[ADDRESSES][RSTD], row)
        else:
            s[S_RSTD] = 0.0

    return read


@made_once
def _write_statistics(statistics: str) -> Any:
    @device
    def write(c: Any, v: Any, s: Any) -> None:
        a, row = c[ADDRESSES], c[AT][SAMPLE]
        if c[AT][MEMBER] == 0 and c[AT][COUNT] > 0:
            if statistics == "own":
                put_double(a[MEAN], row, s[S_MEAN])
            put_double(a[RSTD], row, s[S_RSTD])
            if a[VARIANCE] != 0:
                put_double(a[VARIANCE], row, s[S_VARIANCE])

    return rows.nothing if statistics == "given" else write


@made_once
def normaliser(real: Any) -> Any:
    """(mean, 1 / deviation): of xhat = (x - center) slope + shift these three, in the computing type."""

    @device
    def find(mean: float, rstd: float) -> tuple[float, float, float]:
        center = real(mean)
        return center, real(rstd), real((types.float64(center) - mean) * rstd)

    return find


# ---- forward -----------------------------------------------------------------------------------------------


@made_once
def _apply(cut: Cut, dtype: str, other: str, shape: Shape) -> Any:
    per, weighted, biased, at_once = shape
    real, span = computing(dtype), cut.span
    normalise = normaliser(real)
    weights = parameters(cut, other, WEIGHT, per, at_once) if weighted else rows.nothing
    biases = parameters(cut, other, BIAS, per, at_once) if biased else rows.nothing

    @device
    def apply(c: Any, v: Any, s: Any) -> None:
        w, b = cuda.local.array((1, span), real), cuda.local.array((1, span), real)
        center, rstd, shift = normalise(s[S_MEAN], s[S_RSTD])
        weights(c, w, s)
        biases(c, b, s)
        for e in range(span):
            y = fma(v[0, e] - center, rstd, shift)
            if weighted:
                y = fma(y, w[0, e], b[0, e]) if biased else y * w[0, e]
            elif biased:
                y = y + b[0, e]
            v[0, e] = y

    return apply


def _examples() -> Iterator[Key]:
    for dtype, cut in examples(1):
        if cut.kind == "row":
            yield dtype, dtype, "own", ("element", True, True, not cut.ragged), tuple(cut)
    for dtype in TYPICAL:
        wide = computing_name(dtype)
        how = tuple(example_cuts(dtype, 1)[1])
        yield dtype, wide, "rms", ("element", True, False, True), how
        yield dtype, dtype, "own", ("element", False, False, True), how
        yield dtype, dtype, "own", ("channel", True, True, True), how
        yield dtype, dtype, "given", ("row", True, True, False), how


@template(_examples, **rows.OPTIONS)
def forward(dtype: str, other: str, statistics: str, shape: Shape, cut: tuple[Any, ...]) -> Built:
    """y = (x - mean) / sqrt(variance + eps) weight + bias; `other`: the parameters' dtype.

    statistics: "own", "rms" (whose mean is 0), or "given".
    """
    how, real = Cut(*cut), computing(dtype)
    given = statistics == "given"
    apply, write = _apply(how, dtype, other, shape), _write_statistics(statistics)
    work = Work(
        reads=(Read(dtype, X),),
        written=(Written(dtype, Y),),
        addresses=7,
        words=WORD_COUNT,
        numbers=2,
        state=S_STATE,
        begin=read_statistics(True, False) if given else rows.nothing,
        rounds=_with_last(_statistics(how, real, statistics), write),
        emit=apply,
    )
    return rows.kernel(how, work, real)


def _with_last(rounds: tuple[Round, ...], write: Any) -> tuple[Round, ...]:
    """The rounds, with what is written once they are over."""
    if not rounds:
        return ()
    *before, last = rounds
    first_finish = last.finish

    @device
    def finish(c: Any, s: Any, r: Any) -> None:
        first_finish(c, s, r)
        write(c, r, s)

    return *before, last._replace(finish=finish)
