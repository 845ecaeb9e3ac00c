"""x sigmoid(z) and its gradient, with the digits that plain formulas lose where it is small or near x.

1 / sigmoid(z) is 1 + exp(-z). It is held `unit` times as large, which keeps it finite where its reciprocal is
subnormal; the result is scaled last. As csrc/activation/activations.h does.
"""

from __future__ import annotations

from fastnn.cuda._runtime.ptx.arithmetic import by_type, fma, like
from fastnn.cuda._runtime.ptx.functions import device
from fastnn.cuda._runtime.ptx.real import Real
from fastnn.cuda.kernels.common.math import (
    SATURATED,
    at_least,
    at_most,
    divide,
    exponential,
    least_x_exp,
    quotient,
)


@device
def unit(x: Real) -> Real:
    """A small power of 2, of the type of x."""
    return by_type(x, 2.0**-40, 2.0**-80)


@device
def bounded(z: Real) -> Real:
    """z where sigmoid(z) has not saturated, and what it saturates at."""
    return at_most(SATURATED, at_least(least_x_exp(z), z))


@device
def gate(z: Real, low: Real) -> tuple[Real, Real]:
    """exp(-z - low), and 1 more than that, both times the unit; z as `bounded` gives it."""
    s, scale = exponential(-z, -low, by_type(z, -40, -80))
    whole = unit(z) + scale
    whole_low = unit(z) - (whole - scale)  # exact, or 1 + exp(-z) is 1 or exp(-z)
    return fma(s, scale, scale), whole + fma(s, scale, whole_low)


@device
def gated(x: Real, total: Real) -> Real:
    """x sigmoid(z), from the gate's second number."""
    return divide(x, total) * unit(x)


@device
def gated_gradient(x_dz: Real, x_dz_low: Real, exponential: Real, total: Real) -> Real:
    """The derivative of x sigmoid(z), s (1 + x z' (1 - s)), x z' given.

    1 - s is exp(-z) s where s is near 1.
    """
    one = like(x_dz, 1)
    r = divide(one, total)
    rest, rest_low = exponential * r, like(x_dz, 0)
    if x_dz < 0:
        rest = fma(-r, unit(r), one)
        rest_low = fma(-r, unit(r), one - rest)
    a = fma(x_dz, rest, fma(x_dz_low, rest, fma(x_dz, rest_low, one)))
    return quotient(a, total, r) * unit(r)
