"""Losses of elements, with gradients, and each block's sum of them. It knows no library of arrays.

As in csrc/softmax/softmax_kernels.c, a loss is one formula.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from numba import types

from fastnn.cuda._runtime.compiler import Built, Key, template
from fastnn.cuda._runtime.dtypes import ITEMSIZE, WIDTH
from fastnn.cuda._runtime.ptx.functions import device, made_once
from fastnn.cuda._runtime.ptx.real import computing
from fastnn.cuda.kernels.common import reductions, rows, samples
from fastnn.cuda.kernels.common.cuts import Cut
from fastnn.cuda.kernels.common.numbers import put_double
from fastnn.cuda.kernels.common.rows import Read, Round, Work, Written
from fastnn.cuda.kernels.common.samples import ADDRESSES, AT, MEMBER, NUMBERS, SAMPLE

#: Addresses: gradient, input, target, weight, pos_weight, each block's sum (0: not wanted), each element's
#: loss.
DX, X, TARGET, WEIGHT, POS_WEIGHT, SUMS, LOSSES, ADDRESS_COUNT = 0, 1, 2, 3, 4, 5, 6, 7
#: The number that gradients are multiplied by, and those of the Huber loss (csrc/fastnn.h).
SCALE, BEGIN, DIVISOR, SLOPE, NUMBER_COUNT = 0, 1, 2, 3, 4


def cut_for(dtype: str, operands: int, aligned: bool) -> Cut:
    """Two vectors of each array for a thread, less where there are four of them."""
    width = WIDTH[dtype] if aligned else 1
    span = max(width, 4) if operands > 2 else 2 * max(width, 4)
    return Cut("piece", 256, span, width, aligned)


@made_once
def _squared_error(dtype: str) -> Any:
    @device
    def squared_error(x: float, t: float, w: float, pos: float, numbers: Any) -> tuple[float, float]:
        d = x - t
        return d * d, d + d

    return squared_error


@made_once
def _binary_entropy(dtype: str) -> Any:
    """With s = sigmoid(x), the loss and its slope keep their digits for large x."""
    real = computing(dtype)

    @device
    def binary_entropy(x: float, t: float, w: float, pos: float, numbers: Any) -> tuple[float, float]:
        e = math.exp(-abs(x))
        near = real(1) / (real(1) + e)
        far, log1p_e = e * near, math.log1p(e)
        no, yes = (real(1) - t) * w, t * pos * w
        # softplus(x) and softplus(-x); a term with factor 0 is 0 for any x
        loss = real(0) if no == 0 else no * ((x if x > 0 else real(0)) + log1p_e)
        loss += real(0) if yes == 0 else yes * ((-x if x < 0 else real(0)) + log1p_e)
        positive, negative = (near, far) if x > 0 else (far, near)
        return loss, no * positive - yes * negative

    return binary_entropy


@made_once
def _entropy_of_probability(dtype: str) -> Any:
    """The logarithms are at least -100, and the slope's divisor at least 1e-12, as PyTorch has them."""
    real = computing(dtype)

    @device
    def entropy_of_probability(x: float, t: float, w: float, pos: float, numbers: Any) -> tuple[float, float]:
        yes, no = math.log(x), math.log1p(-x)
        yes = real(-100) if yes < real(-100) else yes
        no = real(-100) if no < real(-100) else no
        divisor = x * (real(1) - x)
        divisor = real(1e-12) if divisor < real(1e-12) else divisor
        return -w * (t * yes + (real(1) - t) * no), w * ((x - t) / divisor)

    return entropy_of_probability


@made_once
def _huber(dtype: str) -> Any:
    """A parabola, and from a distance of x and t on a line."""
    real = computing(dtype)

    @device
    def huber(x: float, t: float, w: float, pos: float, numbers: Any) -> tuple[float, float]:
        d, begin = x - t, real(numbers[BEGIN])
        far = abs(d)
        slope = far / real(numbers[DIVISOR]) if far < begin else real(numbers[SLOPE])
        loss = slope * (far - real(0.5) * (begin if begin < far else far))
        return loss, (-slope if d < 0 else (slope if d > 0 else d))  # of 0 and NaN itself

    return huber


def _divergence(of_log: bool) -> Any:
    @made_once
    def made(dtype: str) -> Any:
        """Of p = t, or e^t; where p is 0, it is 0 for any x but NaN."""
        real = computing(dtype)

        @device
        def divergence(x: float, t: float, w: float, pos: float, numbers: Any) -> tuple[float, float]:
            p = math.exp(t) if of_log else t
            log_p = t if of_log else math.log(t)
            none = x if x != x else real(0)
            return none if p == 0 else p * (log_p - x), -p

        return divergence

    return made


#: What makes the function (x, t, weight, pos_weight, numbers) -> (loss, slope), by the loss's name.
FORMULAS = {
    "mse": _squared_error,
    "bce_with_logits": _binary_entropy,
    "bce": _entropy_of_probability,
    "huber": _huber,
    "kl_div": _divergence(of_log=False),
    "kl_div_of_log": _divergence(of_log=True),
}


def _examples() -> Iterator[Key]:
    for dtype in ITEMSIZE:
        for aligned in (True, False):
            for name in FORMULAS:
                weighted = name == "bce_with_logits"
                cut = tuple(cut_for(dtype, 4 if weighted else 2, aligned))
                yield dtype, name, weighted, weighted, weighted, cut


@template(_examples, **rows.OPTIONS)
def elements(
    dtype: str, name: str, weighted: bool, positive: bool, each: bool, cut: tuple[Any, ...]
) -> Built:
    """The gradient, and each block's sum of losses in float64; with `each` the losses in the sum's place."""
    how, real = Cut(*cut), computing(dtype)
    span, has, formula = how.span, samples.has(how), FORMULAS[name](dtype)
    pos_row = 3 if weighted else 2

    @device
    def gather(c: Any, v: Any, s: Any, r: Any) -> None:
        scale, total = real(c[NUMBERS][SCALE]), real(0)
        for e in range(span):
            w = v[2, e] if weighted else real(1)
            pos = v[pos_row, e] if positive else real(1)
            loss, slope = formula(v[0, e], v[1, e], w, pos, c[NUMBERS])
            v[0, e], v[1, e] = slope * scale, loss
            total += loss if has(c, e) else real(0)
        r[0] += total

    @device
    def finish(c: Any, s: Any, r: Any) -> None:
        if c[AT][MEMBER] == 0 and not each:
            put_double(c[ADDRESSES][SUMS], c[AT][SAMPLE], r[0])

    reads = [Read(dtype, X), Read(dtype, TARGET)]
    reads += [Read(dtype, WEIGHT)] if weighted else []
    reads += [Read(dtype, POS_WEIGHT)] if positive else []
    written = [Written(dtype, DX), Written(dtype, LOSSES, 1)]
    work = Work(
        reads=tuple(reads),
        written=tuple(written if each else written[:1]),
        addresses=ADDRESS_COUNT,
        words=0,
        numbers=NUMBER_COUNT,
        state=1,
        begin=rows.nothing,
        rounds=(Round(types.float64, (0.0,), gather, reductions.add_each, finish),),
        emit=rows.nothing,
    )
    return rows.kernel(how, work, real)
