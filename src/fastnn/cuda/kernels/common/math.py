"""Elementary device functions for formulas, for float32 and float64. They must not know a formula.

Functions that libdevice has to a unit in the last place or two are taken from there (exp, expm1, log1p,
tanh); those here carry what rounding loses (the `low` of a pair), and keep a power of 2 apart, as the C
library's (csrc/math/vmath.h) do.
"""

from __future__ import annotations

import math

from fastnn.cuda._runtime.ptx.arithmetic import (
    approximate,
    by_type,
    estimate,
    fma,
    like,
    polynomial,
    power_of_2,
)
from fastnn.cuda._runtime.ptx.functions import device
from fastnn.cuda._runtime.ptx.real import Real
from fastnn.cuda.kernels.common import coefficients

_LOG2_E = 1.44269504088896340736
#: From here up 1 - exp(-x) and its like round to 1.
SATURATED = 40.0

_exp_q = polynomial(*coefficients.EXP_Q)


@device
def at_least(bound: Real, x: Real) -> Real:
    """max(bound, x); NaN stays NaN."""
    least = like(x, bound)
    return least if x < least else x


@device
def at_most(bound: Real, x: Real) -> Real:
    """min(bound, x); NaN stays NaN."""
    most = like(x, bound)
    return most if x > most else x


@device
def largest(x: Real) -> Real:
    """The largest finite number of the type of x."""
    return by_type(x, 3.4028234663852886e38, 1.7976931348623157e308)


@device
def least_normal(x: Real) -> Real:
    """The smallest normal number of the type of x."""
    return by_type(x, 2.0**-126, 2.0**-1022)


@device
def product_low(a: Real, b: Real, product: Real) -> Real:
    """What rounding lost in product = a b."""
    return fma(a, b, -product)


@device
def sum_low(big: Real, small: Real, total: Real) -> Real:
    """What rounding lost in total = big + small, |big| >= |small| (Dekker)."""
    return (big - total) + small


@device
def quotient(a: Real, b: Real, inverse: Real) -> Real:
    """a / b from nearly 1 / b, with the rounding of that made good."""
    q = a * inverse
    return fma(fma(-q, b, a), inverse, q)


@device
def divide(a: Real, b: Real) -> Real:
    """a / b to about half a unit in the last place, where b and a / b are neither huge nor subnormal.

    An estimate is made better by Newton's steps: without a division's slow way, and the registers of that.
    """
    if approximate(a):
        return a / b
    r, one = estimate(b), like(b, 1)
    r = fma(r, fma(-b, r, one), r)
    if by_type(b, 0, 1) > 0:
        r = fma(r, fma(-b, r, one), r)
    return quotient(a, b, r)


@device
def exponential(x: Real, low: Real, shift: Real) -> tuple[Real, Real]:
    """(s, scale): exp(x + low) 2^shift is scale (1 + s), |s| < 1/2, where the scale is a normal number.

    The shift keeps what is made of it normal: a formula reaches the subnormals with its last product.
    """
    if approximate(x):
        log2_e = like(x, _LOG2_E)
        return like(x, 0), math.exp2(fma(x, log2_e, fma(low, log2_e, shift)))
    rounder = by_type(x, 1.5 * 2**23 + 127, 1.5 * 2**52 + 1023) + like(x, shift)
    m = fma(x, _LOG2_E, rounder)
    n = m - rounder
    high = fma(-n, by_type(x, 0.693145751953125, 6.93147180369123816490e-01), x)
    r = high + fma(-n, by_type(x, 1.42860677e-06, 1.90821492927058770002e-10), low)
    return fma(r * r, _exp_q(r), r), power_of_2(m)


@device
def exp_shifted(x: Real, low: Real, shift: Real) -> Real:
    """exp(x + low) 2^shift, which must be a normal number."""
    s, scale = exponential(x, low, shift)
    return fma(s, scale, scale)


@device
def least_exp(x: Real) -> Real:
    """exp(x) is 0 from here down."""
    return by_type(x, -105, -746)


@device
def least_x_exp(x: Real) -> Real:
    """x exp(x) is 0 from here down."""
    return by_type(x, -109, -752)


@device
def exp_negative(x: Real, low: Real) -> Real:
    """exp(x + low) for x <= 0, subnormals included."""
    return exp_shifted(at_least(least_exp(x), x), low, 60) * like(x, 2.0**-60)
