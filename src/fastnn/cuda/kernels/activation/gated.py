"""GLU, SwiGLU and their gradients, for the two halves of strips.

The formulas are those of csrc/activation/activations.h.
"""

from __future__ import annotations

from typing import Any

from fastnn.cuda._runtime.compiler import Built, template
from fastnn.cuda._runtime.dtypes import ITEMSIZE
from fastnn.cuda._runtime.ptx.arithmetic import estimate, fma, like
from fastnn.cuda._runtime.ptx.functions import device
from fastnn.cuda._runtime.ptx.real import Real
from fastnn.cuda.kernels.activation.gate import bounded, gate, gated, gated_gradient, unit
from fastnn.cuda.kernels.common.math import (
    SATURATED,
    at_least,
    at_most,
    divide,
    exp_negative,
    largest,
    least_x_exp,
    sum_low,
)
from fastnn.cuda.kernels.common.strips import strips


@device
def glu(a: Real, b: Real) -> Real:
    """a sigmoid(b).

    The scale comes before the division where a is so large that it has to, else after it, where it keeps the
    digits of b's tail.
    """
    _, total = gate(bounded(b), like(b, 0))
    large = abs(a) > largest(a) * unit(a)
    q = divide(a * unit(a) if large else a, total)
    return q if large else q * unit(a)


@device
def glu_backward(dy: Real, a: Real, b: Real) -> tuple[Real, Real]:
    """dy sigmoid(b), and dy a times the derivative of sigmoid(b).

    With e = exp(-|b|) these are 1 / (1 + e) or e / (1 + e), and e / (1 + e)^2.
    """
    one = like(b, 1)
    e = exp_negative(-abs(b), like(b, 0))
    total = one + e
    rest, slope = sum_low(one, e, total) * estimate(total), divide(divide(e, total), total)
    return dy * divide(e if b < 0 else one, total), dy * a * fma(-slope, rest + rest, slope)


@device
def swiglu(a: Real, b: Real) -> Real:
    """silu(a) b, with what the division lost in silu carried into the product."""
    t = at_least(least_x_exp(a), at_most(SATURATED, a))
    _, total = gate(t, like(a, 0))
    q = divide(t, total)
    low = fma(-q, total, t) * estimate(total)
    return a * b if a > SATURATED else fma(q * unit(q), b, low * unit(q) * b)


@device
def swiglu_backward(dy: Real, a: Real, b: Real) -> tuple[Real, Real]:
    """dy b silu'(a), and dy silu(a)."""
    t, zero = bounded(a), like(a, 0)
    e, total = gate(t, zero)
    return dy * b * gated_gradient(t, zero, e, total), dy * (a if a > SATURATED else gated(t, total))


_FORWARD = {"glu": glu, "swiglu": swiglu}
_BACKWARD = {"glu": glu_backward, "swiglu": swiglu_backward}


def _keys() -> list[tuple[str, str]]:
    return [(dtype, name) for name in _FORWARD for dtype in ITEMSIZE]


@template(_keys)
def halves(dtype: str, name: str) -> Built:
    """y from a and b."""
    function = _FORWARD[name]

    def body(span: int) -> Any:
        @device
        def run(v: Any) -> None:
            for k in range(span):
                v[0, k] = function(v[1, k], v[2, k])

        return run

    return strips(dtype, "wrr", body)


@template(_keys, registers=88)
def halves_backward(dtype: str, name: str) -> Built:
    """da and db from dy, a and b."""
    function = _BACKWARD[name]

    def body(span: int) -> Any:
        @device
        def run(v: Any) -> None:
            for k in range(span):
                v[0, k], v[1, k] = function(v[2, k], v[3, k], v[4, k])

        return run

    return strips(dtype, "wwrrr", body)
