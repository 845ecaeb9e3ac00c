"""Softmax and its logarithm over rows and columns, with their gradients. Where samples are it must not know.

A sample that registers hold is read once: its maximum, then the sum of its exponentials, which stay in
registers. One that they do not hold is read twice, at first with a running maximum and sum.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from numba import types

from fastnn.cuda._runtime.compiler import Built, Key, template
from fastnn.cuda._runtime.dtypes import ITEMSIZE
from fastnn.cuda._runtime.ptx.arithmetic import fma
from fastnn.cuda._runtime.ptx.functions import device, made_once
from fastnn.cuda._runtime.ptx.real import computing
from fastnn.cuda.kernels.common import reductions, rows
from fastnn.cuda.kernels.common.cuts import Cut, examples
from fastnn.cuda.kernels.common.math import quotient
from fastnn.cuda.kernels.common.rows import Read, Round, Work, Written

#: What s holds: the maximum, the sum of the exponentials less it, and 1 / that or its logarithm.
MAXIMUM, SUM, INVERSE, STATE = 0, 1, 2, 3
_Y, _X, _DY = 0, 1, 2


@made_once
def difference_exp(dtype: str) -> Any:
    """exp(x - m). The rounding of x - m is made good, but where half types hide it."""
    real, compensated = computing(dtype), ITEMSIZE[dtype] > 2

    @device
    def exp_of_difference(x: float, m: float) -> Any:
        d = x - m
        e = math.exp(d)
        if compensated:
            part = d - x
            lost = (x - (d - part)) - (m + part)
            if e > real(0):  # else x may be -inf, and lost NaN
                return fma(e, lost, e)
        return e

    return exp_of_difference


@made_once
def largest(cut: Cut, dtype: str) -> Round:
    """s[MAXIMUM] of row 0; NaN is passed over."""
    real, span = computing(dtype), cut.span

    @device
    def gather(c: Any, v: Any, s: Any, r: Any) -> None:
        for e in range(span):
            r[0] = v[0, e] if v[0, e] > r[0] else r[0]

    @device
    def merge(r: Any, other: Any) -> None:
        r[0] = other[0] if other[0] > r[0] else r[0]

    @device
    def finish(c: Any, s: Any, r: Any) -> None:
        s[MAXIMUM] = r[0]

    return Round(real, (-math.inf,), gather, merge, finish)


@made_once
def running(cut: Cut, dtype: str) -> Any:
    """gather(c, v, s, r) and merge(r, other) of (maximum, sum of the exponentials less it) of row 0."""
    real, span, power = computing(dtype), cut.span, difference_exp(dtype)

    @device
    def gather(c: Any, v: Any, s: Any, r: Any) -> None:
        m = real(r[0])
        for e in range(span):
            m = v[0, e] if v[0, e] > m else m
        total = real(0)
        # As long as all are -inf, nothing is taken away from them.
        shift = m if m > real(-math.inf) else real(0)
        for e in range(span):
            total += power(v[0, e], shift)
        if m > real(r[0]) and r[1] > 0:
            r[1] *= power(real(r[0]), m)
        r[0] = m
        r[1] += total

    @device
    def merge(r: Any, other: Any) -> None:
        m = other[0] if other[0] > r[0] else r[0]
        if m > -math.inf:
            r[1] = r[1] * power(real(r[0]), real(m)) + other[1] * power(real(other[0]), real(m))
        r[0] = m

    return gather, merge


@made_once
def _sum_round(cut: Cut, dtype: str, log: bool, keep: bool) -> Round:
    """Of a sample in registers; with `keep` v becomes its exponentials."""
    real, span, power = computing(dtype), cut.span, difference_exp(dtype)

    @device
    def gather(c: Any, v: Any, s: Any, r: Any) -> None:
        m = real(s[MAXIMUM])
        for e in range(span):
            y = power(v[0, e], m)
            r[0] += y
            if keep:
                v[0, e] = y

    @device
    def finish(c: Any, s: Any, r: Any) -> None:
        s[SUM] = r[0]
        s[INVERSE] = math.log(r[0]) if log else real(1) / r[0]

    return Round(real, (0.0,), gather, reductions.add_each, finish)


def _running_round(cut: Cut, dtype: str, log: bool) -> Round:
    gather, merge = running(cut, dtype)

    @device
    def finish(c: Any, s: Any, r: Any) -> None:
        # A sample without a number above -inf: 0 / 0
        s[MAXIMUM], s[SUM] = r[0], r[1] if r[0] > -math.inf else math.nan
        s[INVERSE] = math.log(s[SUM]) if log else 1 / s[SUM]

    return Round(types.float64, (-math.inf, 0.0), gather, merge, finish)


def _emit(cut: Cut, dtype: str, log: bool, exponentials: bool) -> Any:
    real, span, power = computing(dtype), cut.span, difference_exp(dtype)

    @device
    def softmax(c: Any, v: Any, s: Any) -> None:
        m, total, inverse = real(s[MAXIMUM]), real(s[SUM]), real(s[INVERSE])
        for e in range(span):  # with one large logit, its quotient is exactly 1
            v[0, e] = quotient(v[0, e] if exponentials else power(v[0, e], m), total, inverse)

    @device
    def log_softmax(c: Any, v: Any, s: Any) -> None:
        m, log_of_sum = real(s[MAXIMUM]), real(s[INVERSE])
        for e in range(span):
            v[0, e] = (v[0, e] - m) - log_of_sum

    return log_softmax if log else softmax


def _examples() -> Iterator[Key]:
    return ((dtype, log, tuple(cut)) for dtype, cut in examples(1) for log in (False, True))


def _backward_examples() -> Iterator[Key]:
    return ((dtype, log, tuple(cut)) for dtype, cut in examples(2) for log in (False, True))


@template(_examples, **rows.OPTIONS)
def forward(dtype: str, log: bool, cut: tuple[Any, ...]) -> Built:
    """y = e^x / (the sum of e^x), or its logarithm."""
    how = Cut(*cut)
    if how.passes == 1:
        rounds: tuple[Round, ...] = largest(how, dtype), _sum_round(how, dtype, log, not log)
    else:
        rounds = (_running_round(how, dtype, log),)
    work = Work(
        reads=(Read(dtype, _X, -math.inf),),
        written=(Written(dtype, _Y),),
        addresses=2,
        words=0,
        numbers=0,
        state=STATE,
        begin=rows.nothing,
        rounds=rounds,
        emit=_emit(how, dtype, log, how.passes == 1),
    )
    return rows.kernel(how, work, computing(dtype))


@template(_backward_examples, **rows.OPTIONS)
def backward(dtype: str, log: bool, cut: tuple[Any, ...]) -> Built:
    """dx = y (dy - the sum of dy y), or dy - e^y (the sum of dy)."""
    how = Cut(*cut)
    real, span = computing(dtype), how.span

    @device
    def gather(c: Any, v: Any, s: Any, r: Any) -> None:
        total = real(0)
        for e in range(span):
            total = total + v[0, e] if log else fma(v[0, e], v[1, e], total)
        r[0] += total

    @device
    def finish(c: Any, s: Any, r: Any) -> None:
        s[0] = r[0]

    @device
    def emit(c: Any, v: Any, s: Any) -> None:
        total = real(s[0])
        for e in range(span):
            dy, y = v[0, e], v[1, e]
            v[0, e] = fma(-math.exp(y), total, dy) if log else y * (dy - total)

    work = Work(
        reads=(Read(dtype, _DY), Read(dtype, _X)),
        written=(Written(dtype, _Y),),
        addresses=3,
        words=0,
        numbers=0,
        state=1,
        begin=rows.nothing,
        rounds=(Round(types.float64, (0.0,), gather, reductions.add_each, finish),),
        emit=emit,
    )
    return rows.kernel(how, work, real)
