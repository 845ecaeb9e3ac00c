"""Numba: the scalar formula as a user would write it, compiled with `@vectorize(target="parallel")`.

Only functions with a short formula have one; T is the dtype's scalar type, because a bare literal would make
numba compute float32 in double precision.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache, partial
from typing import Any

import numpy as np

from fastnn.bench.data import Data
from fastnn.bench.peers import Call, threads_restored

numba: Any = importlib.import_module("numba")

Scalar = Any
erf, exp, log1p, sqrt, tanh = math.erf, math.exp, math.log1p, math.sqrt, math.tanh


def formulas(T: Any) -> dict[str, Callable[..., Scalar]]:  # noqa: N803
    """Forward formulas of x, and backward formulas of dy and what fastnn's backward takes: x or y."""
    zero, half, one, two, three, four, six = (T(i) for i in (0, 0.5, 1, 2, 3, 4, 6))
    slope, root_half, root_half_pi = T(0.01), T(math.sqrt(0.5)), T(math.sqrt(0.5 / math.pi))
    return {
        "identity": lambda x: x,
        "relu": lambda x: x if x > zero else zero,
        "leaky_relu": lambda x: x if x > zero else slope * x,
        "elu": lambda x: x if x > zero else exp(x) - one,
        "gelu": lambda x: half * x * (one + erf(x * root_half)),
        "sigmoid": lambda x: one / (one + exp(-x)),
        "tanh": lambda x: tanh(x),
        "silu": lambda x: x / (one + exp(-x)),
        "mish": lambda x: x * tanh(log1p(exp(x))),
        "softplus": lambda x: log1p(exp(x)),
        "softsign": lambda x: x / (one + abs(x)),
        "logsigmoid": lambda x: -log1p(exp(-x)),
        "hardsigmoid": lambda x: min(max(x + three, zero), six) / six,
        "hardswish": lambda x: x * min(max(x + three, zero), six) / six,
        "hardtanh": lambda x: min(max(x, -one), one),
        "relu6": lambda x: min(max(x, zero), six),
        "squareplus": lambda x: half * (x + sqrt(x * x + four)),
        "square": lambda x: x * x,
        "exp": lambda x: exp(x),
        "identity_backward": lambda dy, x: dy,
        "relu_backward": lambda dy, y: dy if y > zero else zero,
        "leaky_relu_backward": lambda dy, x: dy if x > zero else slope * dy,
        "elu_backward": lambda dy, x: dy if x > zero else dy * exp(x),
        "gelu_backward": lambda dy, x: (
            dy * (half * (one + erf(x * root_half)) + x * root_half_pi * exp(-half * x * x))
        ),
        "sigmoid_backward": lambda dy, x: dy / (two + exp(x) + exp(-x)),
        "tanh_backward": lambda dy, x: dy * four / (two + exp(two * x) + exp(-two * x)),
        "softplus_backward": lambda dy, x: dy / (one + exp(-x)),
        "softsign_backward": lambda dy, x: dy / ((one + abs(x)) * (one + abs(x))),
        "logsigmoid_backward": lambda dy, y: dy * (one - exp(y)),
        "hardtanh_backward": lambda dy, x: dy if -one < x < one else zero,
        "relu6_backward": lambda dy, y: dy if zero < y < six else zero,
        "square_backward": lambda dy, x: two * x * dy,
        "exp_backward": lambda dy, y: dy * y,
    }


@cache
def compiled(callee: str, dtype: str) -> Callable[..., Any] | None:
    """Return the ufunc for one function and dtype, compiled once."""
    formula = formulas(np.dtype(dtype).type).get(callee)
    if formula is None:
        return None
    inputs = ", ".join([dtype] * (2 if callee.endswith("_backward") else 1))
    ufunc: Callable[..., Any] = numba.vectorize([f"{dtype}({inputs})"], target="parallel")(formula)
    return ufunc


class Peer:
    """numba.vectorize on all threads."""

    name = "numba"
    note = ""
    serial = False

    def session(self) -> AbstractContextManager[None]:
        """Restore the number of threads at the end."""
        return threads_restored(numba.get_num_threads, numba.set_num_threads)

    def prepare(self, data: Data, *, out: bool) -> Call | None:
        """Compile the formula; None where there is none for this case."""
        case = data.case
        ufunc = compiled(case.callee, data.out.dtype.name) if case.label == case.function else None
        if ufunc is None:
            return None
        arrays = [data.values[name] for name in case.signature.parameters if name in data.values]
        return partial(ufunc, *arrays, **({"out": data.out} if out else {}))

    def set_threads(self, threads: int) -> bool:
        """Mask numba's threads; it cannot use more than it started with."""
        if threads > numba.config.NUMBA_NUM_THREADS:
            return False
        numba.set_num_threads(threads)
        return True
