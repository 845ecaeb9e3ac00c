"""Gradients of norms of rows. Which norm it is, it must not know.

dx = rstd (g - mean(g) - xhat mean(g xhat)), with g = dy weight. Where all elements of a row have one weight,
the row's sums are its share of dweight and dbias; where each element has its own, weight_gradients.py sums
them up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from numba import cuda, types

from fastnn.cuda._runtime.compiler import Built, Key, template
from fastnn.cuda._runtime.dtypes import ITEMSIZE
from fastnn.cuda._runtime.ptx.arithmetic import fma
from fastnn.cuda._runtime.ptx.functions import device, made_once
from fastnn.cuda._runtime.ptx.real import computing
from fastnn.cuda.kernels.common import reductions, rows
from fastnn.cuda.kernels.common.cuts import THREADS, TYPICAL, Cut, example_cuts, examples
from fastnn.cuda.kernels.common.division import divide
from fastnn.cuda.kernels.common.numbers import double_at, put_double, read
from fastnn.cuda.kernels.common.rows import Read, Round, Work, Written, argument_types
from fastnn.cuda.kernels.common.samples import (
    ADDRESSES,
    AT,
    COUNT,
    MEMBER,
    NUMBERS,
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
def gather_sums(cut: Cut, real: Any, weighted: bool) -> Any:
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
def apply_gradient(cut: Cut, real: Any, weighted: bool) -> Any:
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

    per: "element", each one has a weight, or "row", it has one. at_once: weights are read by 16 bytes. part:
    "sums", or "map", which takes slopes and shifts as given, are for rows whose means others share; else
    "all".
    """

    per: str
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
    by_element, span, find = form.per == "element", cut.span, coefficients(real, form.has_mean)
    add, whole = gather_sums(cut, real, form.weighted and by_element), form.part == "all"
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
    """dx, row by row; per "row": also each row's sums of dy xhat and dy, all rows' after each other.

    other: the weight's dtype.
    """
    how, of, real = Cut(*cut), Form(*form), computing(dtype)
    weights = parameters(how, other, WEIGHT, of.per, of.at_once) if of.weighted else rows.nothing
    apply, span, given = apply_gradient(how, real, of.weighted), how.span, of.part == "map"

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
