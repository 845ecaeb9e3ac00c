"""Losses of samples, rows or columns of logits, each with its gradient, in the passes over memory of softmax.

A label is read by its sample's whole team. One that is out of range is never used as an index: its sample
is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from numba import cuda, types

from fastnn.cuda._runtime.compiler import Built, Key, template
from fastnn.cuda._runtime.ptx.arithmetic import fma
from fastnn.cuda._runtime.ptx.functions import device, made_once
from fastnn.cuda._runtime.ptx.integers import word_at
from fastnn.cuda._runtime.ptx.real import computing
from fastnn.cuda.kernels.common import reductions, rows, samples
from fastnn.cuda.kernels.common.cuts import TYPICAL, Cut, example_cuts, examples
from fastnn.cuda.kernels.common.math import quotient
from fastnn.cuda.kernels.common.numbers import double_at, put_double, read
from fastnn.cuda.kernels.common.rows import Read, Round, Work, Written
from fastnn.cuda.kernels.common.samples import (
    ADDRESSES,
    AT,
    BASE,
    COUNT,
    INNER,
    LENGTH,
    MEMBER,
    NUMBERS,
    OWN_WORDS,
    SAMPLE,
)
from fastnn.cuda.kernels.loss.softmax import INVERSE, MAXIMUM, SUM, difference_exp, largest, running

#: Addresses: gradient, logits, each sample's loss, labels, probabilities, weights of classes, what divides
#: the mean.
DX, X, LOSSES, LABELS, TARGET, WEIGHT, DIVISOR, ADDRESS_COUNT = 0, 1, 2, 3, 4, 5, 6, 7
#: The word: the label to ignore. Numbers: 1 - smoothing, smoothing / classes, the margin, what gradients
#: are multiplied by.
IGNORED = OWN_WORDS
KEEP, UNIFORM, MARGIN, SCALE = 0, 1, 2, 3
#: What s holds beside softmax's: the label (-1: none), 1 where the sample counts, else 0, or NaN; the
#: weight at the label, the logit there; the sum of the rest of the target and of its products; the factor
#: of gradients.
S_LABEL, S_ACTIVE, S_SPIKE, S_LOGIT, S_MASS, S_PART, S_SCALE, S_STATE = 3, 4, 5, 6, 7, 8, 9, 10


class Form(NamedTuple):
    """Of a cross-entropy: labels or probabilities, weights of classes, smoothing, the divisor in memory."""

    hard: bool
    weighted: bool
    smooth: bool
    counted: bool

    @property
    def soft(self) -> bool:
        """Whether classes beside the label are in the target, which then takes registers of its own."""
        return self.smooth or not self.hard


@made_once
def _begin(dtype: str, form: Form, ignoring: bool) -> Any:
    """(c, v, s): what is known of the sample before its logits are read."""
    number, hard, weighted, counted = read(dtype), form.hard, form.weighted, form.counted

    @device
    def begin(c: Any, v: Any, s: Any) -> None:
        a, i, p, at = c
        s[S_LABEL], s[S_ACTIVE], s[S_SPIKE], s[S_LOGIT] = -1.0, 1.0, 0.0, 0.0
        s[S_SCALE] = p[SCALE]
        if counted:
            divisor = double_at(a[DIVISOR], 0)
            s[S_SCALE] = 1 / divisor if divisor != 0 else 0.0
        if hard and at[COUNT] > 0:
            label = word_at(a[LABELS] + types.uint64(at[SAMPLE] * 8))
            if ignoring and label == i[IGNORED]:
                s[S_ACTIVE] = 0.0
            elif 0 <= label < i[LENGTH]:
                s[S_LABEL] = types.float64(label)
                s[S_LOGIT] = number(a[X], at[BASE] + label * i[INNER])
                s[S_SPIKE] = p[KEEP] * (number(a[WEIGHT], label) if weighted else 1.0)
            else:
                s[S_ACTIVE] = s[S_SPIKE] = math.nan

    return begin


@device
def _write_loss(c: Any, loss: float) -> None:
    """By one thread of the team."""
    if c[AT][MEMBER] == 0 and c[AT][COUNT] > 0:
        put_double(c[ADDRESSES][LOSSES], c[AT][SAMPLE], loss)


# ---- cross-entropy -----------------------------------------------------------------------------------------


@made_once
def _target(cut: Cut, dtype: str, form: Form) -> Any:
    """(c, v, q): q becomes the target, less what is at the label; row 1 of v has probabilities."""
    real, span, number = computing(dtype), cut.span, read(dtype)
    index_of, has, hard, weighted = samples.index(cut), samples.has(cut), form.hard, form.weighted

    @device
    def target(c: Any, v: Any, q: Any) -> None:
        uniform, keep = real(c[NUMBERS][UNIFORM]), real(c[NUMBERS][KEEP])
        for e in range(span):
            q[e] = real(0)
            if has(c, e):
                q[e] = uniform if hard else fma(v[1, e], keep, uniform)
                if weighted:
                    q[e] *= real(number(c[ADDRESSES][WEIGHT], index_of(c, e)))

    return target


@made_once
def _soft_parts(cut: Cut, dtype: str, form: Form) -> Any:
    """(c, v, top): the sums of q and q (top - x) of the thread's elements."""
    real, span, target = computing(dtype), cut.span, _target(cut, dtype, form)

    @device
    def parts(c: Any, v: Any, top: float) -> tuple[float, float]:
        q, mass, part = cuda.local.array(span, real), real(0), real(0)
        target(c, v, q)
        for e in range(span):
            mass += q[e]
            if q[e] != 0:  # a class that is masked out may have -inf
                part = fma(q[e], top - v[0, e], part)
        return mass, part

    return parts


@made_once
def _finish_entropy(dtype: str) -> Any:
    """(c, s): the loss, from maximum, sum of exponentials, mass and part."""
    real = computing(dtype)

    @device
    def finish(c: Any, s: Any) -> None:
        s[INVERSE] = real(1) / real(s[SUM])
        log_of_sum = types.float64(math.log(real(s[SUM])))
        loss = s[S_MASS] * log_of_sum + s[S_PART]
        if s[S_SPIKE] != 0:
            loss += s[S_SPIKE] * (s[MAXIMUM] - s[S_LOGIT] + log_of_sum)
        _write_loss(c, 0.0 if s[S_ACTIVE] == 0 else loss)
        s[S_MASS] += s[S_SPIKE]

    return finish


@made_once
def _held_entropy(cut: Cut, dtype: str, form: Form) -> tuple[Round, ...]:
    """The maximum; then the sum of the exponentials, which stay in v, with those of the target."""
    real, span, power, soft = computing(dtype), cut.span, difference_exp(dtype), form.soft
    parts, end = _soft_parts(cut, dtype, form), _finish_entropy(dtype)

    @device
    def gather(c: Any, v: Any, s: Any, r: Any) -> None:
        m, total = real(s[MAXIMUM]), real(0)
        if soft:
            mass, part = parts(c, v, m)
            r[1] += mass
            r[2] += part
        for e in range(span):
            v[0, e] = power(v[0, e], m)
            total += v[0, e]
        r[0] += total

    @device
    def finish(c: Any, s: Any, r: Any) -> None:
        s[SUM] = r[0]
        s[S_MASS], s[S_PART] = (r[1], r[2]) if soft else (0.0, 0.0)
        end(c, s)

    start = (0.0, 0.0, 0.0) if soft else (0.0,)
    return largest(cut, dtype), Round(types.float64, start, gather, reductions.add_each, finish)


@made_once
def _running_entropy(cut: Cut, dtype: str, form: Form) -> tuple[Round, ...]:
    """Both while the logits go by: sums that depend on the maximum are moved to a new one."""
    real, soft = computing(dtype), form.soft
    parts, end = _soft_parts(cut, dtype, form), _finish_entropy(dtype)
    add, merge_sums = running(cut, dtype)

    @device
    def moved(part: float, mass: float, by: float) -> float:
        """The sum of q (m - x) where m has grown."""
        return part + mass * by if mass != 0 else part

    @device
    def gather(c: Any, v: Any, s: Any, r: Any) -> None:
        before = r[0]
        add(c, v, s, r)
        if soft:
            top = real(r[0]) if r[0] > -math.inf else real(0)
            mass, part = parts(c, v, top)
            old = before if before > -math.inf else 0.0
            r[3] = moved(r[3], r[2], types.float64(top) - old) + part
            r[2] += mass

    @device
    def merge(r: Any, other: Any) -> None:
        own = r[0] if r[0] > -math.inf else 0.0
        its = other[0] if other[0] > -math.inf else 0.0
        merge_sums(r, other)
        if soft:
            top = r[0] if r[0] > -math.inf else 0.0
            r[3] = moved(r[3], r[2], top - own) + moved(other[3], other[2], top - its)
            r[2] += other[2]

    @device
    def finish(c: Any, s: Any, r: Any) -> None:
        s[MAXIMUM], s[SUM] = r[0], r[1] if r[0] > -math.inf else math.nan
        s[S_MASS], s[S_PART] = (r[2], r[3]) if soft else (0.0, 0.0)
        end(c, s)

    start = (-math.inf, 0.0, 0.0, 0.0) if soft else (-math.inf, 0.0)
    return (Round(types.float64, start, gather, merge, finish),)


@made_once
def _entropy_gradient(cut: Cut, dtype: str, form: Form) -> Any:
    """dx = scale (the sum of q softmax(x) - q)."""
    real, span, power, soft = computing(dtype), cut.span, difference_exp(dtype), form.soft
    index_of, target, held = samples.index(cut), _target(cut, dtype, form), cut.passes == 1

    @device
    def gradient(c: Any, v: Any, s: Any) -> None:
        m, total, inverse = real(s[MAXIMUM]), real(s[SUM]), real(s[INVERSE])
        scale = real(s[S_SCALE])
        mass, spike = real(s[S_MASS]) * scale, real(s[S_SPIKE]) * scale
        label, ignored = types.int64(s[S_LABEL]), s[S_ACTIVE] == 0
        q = cuda.local.array(span, real)
        if soft:
            target(c, v, q)
        for e in range(span):
            y = quotient(v[0, e] if held else power(v[0, e], m), total, inverse) * mass
            if soft:
                y -= q[e] * scale
            if index_of(c, e) == label:
                y -= spike
            v[0, e] = real(0) if ignored else y

    return gradient


def _entropy_examples() -> Iterator[Key]:
    for dtype, cut in examples(1):
        yield dtype, tuple(Form(True, False, False, True)), tuple(cut)
    for dtype in TYPICAL:
        _, cut, _, long, *_ = example_cuts(dtype, 2)
        yield dtype, tuple(Form(True, True, True, True)), tuple(cut)
        yield dtype, tuple(Form(False, True, True, False)), tuple(cut)
        yield dtype, tuple(Form(False, True, True, False)), tuple(long)


@template(_entropy_examples, **rows.OPTIONS)
def cross_entropy(dtype: str, form: tuple[bool, ...], cut: tuple[Any, ...]) -> Built:
    """Each sample's loss, in float64, and the gradient."""
    of, how = Form(*form), Cut(*cut)
    reads = (Read(dtype, X, -math.inf), Read(dtype, TARGET))
    work = Work(
        reads=reads[:1] if of.hard else reads,
        written=(Written(dtype, DX),),
        addresses=ADDRESS_COUNT,
        words=1,
        numbers=4,
        state=S_STATE,
        begin=_begin(dtype, of, True),
        rounds=(_held_entropy if how.passes == 1 else _running_entropy)(how, dtype, of),
        emit=_entropy_gradient(how, dtype, of),
    )
    return rows.kernel(how, work, computing(dtype))


# ---- the loss of support vector machines -------------------------------------------------------------------


def _hinge_examples() -> Iterator[Key]:
    return ((dtype, tuple(cut)) for dtype, cut in examples(1))


@template(_hinge_examples, **rows.OPTIONS)
def hinge(dtype: str, cut: tuple[Any, ...]) -> Built:
    """Each sample's loss, in float64, and the gradient."""
    how, real = Cut(*cut), computing(dtype)
    span, index_of, has = how.span, samples.index(how), samples.has(how)

    @device
    def excess(c: Any, v: Any, s: Any, e: int) -> Any:
        """x[e] - x[label] + margin, 0 where that is less, and at the label."""
        m = (v[0, e] - real(s[S_LOGIT])) + real(c[NUMBERS][MARGIN])
        counts = has(c, e) and index_of(c, e) != types.int64(s[S_LABEL])
        return real(0) if m <= 0 or not counts else m

    @device
    def gather(c: Any, v: Any, s: Any, r: Any) -> None:
        total, met = real(0), real(0)
        for e in range(span):
            m = excess(c, v, s, e)
            total += m
            met += real(0) if m == 0 else real(1)
        r[0] += total
        r[1] += met

    @device
    def finish(c: Any, s: Any, r: Any) -> None:
        _write_loss(c, r[0] * s[S_ACTIVE])
        s[S_MASS] = r[1]

    @device
    def gradient(c: Any, v: Any, s: Any) -> None:
        scale, label = real(s[S_SCALE] * s[S_ACTIVE]), types.int64(s[S_LABEL])
        own = -real(s[S_MASS]) * scale
        for e in range(span):
            m = excess(c, v, s, e)
            y = real(0) * scale if m == 0 else scale
            v[0, e] = own if index_of(c, e) == label else y

    work = Work(
        reads=(Read(dtype, X, -math.inf),),
        written=(Written(dtype, DX),),
        addresses=ADDRESS_COUNT,
        words=1,
        numbers=4,
        state=S_STATE,
        begin=_begin(dtype, Form(True, False, False, False), False),
        rounds=(Round(types.float64, (0.0, 0.0), gather, reductions.add_each, finish),),
        emit=gradient,
    )
    return rows.kernel(how, work, real)
