"""Leaky ReLUs whose slope is an array or drawn: PReLU and RReLU."""

from __future__ import annotations

import itertools
from typing import Any

from numba import cuda, types

from fastnn.cuda._runtime.compiler import Built, template
from fastnn.cuda._runtime.dtypes import ITEMSIZE, WIDTH
from fastnn.cuda._runtime.ptx.access import load, store
from fastnn.cuda._runtime.ptx.arithmetic import fma, like
from fastnn.cuda._runtime.ptx.functions import device
from fastnn.cuda._runtime.ptx.real import Real, computing
from fastnn.cuda.kernels.activation.formulas.piecewise import leaky_relu, leaky_relu_backward
from fastnn.cuda.kernels.common.strips import strips
from fastnn.cuda.kernels.random import draws
from fastnn.cuda.kernels.random.philox import philox

THREADS = 256
#: Draws of a Philox block, which are the slopes of a thread's elements.
DRAWS = 8


@template(lambda: itertools.product(ITEMSIZE, (False, True)), narrow="a strip may have one weight")
def prelu(dtype: str, spread: bool) -> Built:
    """y from x and the weights, along a strip or one for all of it."""

    def body(span: int) -> Any:
        @device
        def run(v: Any) -> None:
            for k in range(span):
                v[0, k] = leaky_relu(v[1, k], v[2, k], v[2, k])

        return run

    return strips(dtype, "wrs" if spread else "wrr", body)


def _slopes(backward: bool) -> Any:
    """(v, draws, line): row 0 of v from rows 1 and 2, dy and x."""

    @device
    def run(v: Any, drawn: Any, line: Any) -> None:
        for k in range(DRAWS):
            x = v[2, k]
            draw = like(x, (drawn[k // 2] >> (16 * (k % 2))) & 0xFFFF)
            slope = fma(draw, line[0], line[2]) + fma(draw, line[1], line[3])
            if backward:
                v[0, k] = leaky_relu_backward(v[1, k], x, slope, slope)
            else:
                v[0, k] = leaky_relu(x, slope, slope)

    return run


@template(lambda: itertools.product(ITEMSIZE, (False, True)))
def rrelu(dtype: str, backward: bool) -> Built:
    """y from x, or dx from dy and x: a kernel (out, dy, x, n, words, line); forward ignores dy.

    words: those of draws.EACH. The slope of element i is line[0] d + line[2], with draw d; the other two
    numbers of the line hold what rounding takes from these.
    """
    real, width, size, run = computing(dtype), WIDTH[dtype], ITEMSIZE[dtype], _slopes(backward)
    get, put, get_one, put_one = (access(dtype, w) for w in (width, 1) for access in (load, store))
    pieces, shape = DRAWS // width, (3, DRAWS)

    def kernel(out: int, dy: int, x: int, n: int, words: Any, line: Any) -> None:
        block = types.int64(cuda.blockIdx.x) * THREADS + cuda.threadIdx.x
        start, v = block * DRAWS, cuda.local.array(shape, real)
        left, place = n - start, types.uint64(start * size)
        seed, offset, _ = draws.now(words)
        whole = (out | dy | x) & 15 == 0 and left >= DRAWS
        if whole:
            for p in range(pieces):
                get(x + place + p * 16, v, 2 * DRAWS + p * width)
                if backward:
                    get(dy + place + p * 16, v, DRAWS + p * width)
        else:
            for k in range(DRAWS):
                if k < left:
                    get_one(x + place + k * size, v, 2 * DRAWS + k)
                    if backward:
                        get_one(dy + place + k * size, v, DRAWS + k)
        run(v, philox(seed, offset, block), line)
        if whole:
            for p in range(pieces):
                put(out + place + p * 16, v, p * width)
        else:
            for k in range(DRAWS):
                if k < left:
                    put_one(out + place + k * size, v, k)

    words, numbers = types.UniTuple(types.int64, draws.KEY_WORDS), types.UniTuple(types.float64, 4)
    return kernel, (*(types.uint64,) * 3, types.int64, words, numbers)


@device
def gradient_of_slope(dy: Real, x: Real) -> Real:
    """What an element adds to the gradient of its slope."""
    return like(x, 0) if x > 0 else dy * x
