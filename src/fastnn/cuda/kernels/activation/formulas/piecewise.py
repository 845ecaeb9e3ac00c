"""Activations that are linear in pieces or rational, and their gradients."""

from __future__ import annotations

import math

from fastnn.cuda._runtime.ptx.arithmetic import by_type, fma, like
from fastnn.cuda._runtime.ptx.functions import device
from fastnn.cuda._runtime.ptx.real import Real
from fastnn.cuda.kernels.common.math import at_least, at_most, divide, largest, least_normal, quotient


@device
def identity(x: Real, p0: Real, p1: Real) -> Real:
    """x."""
    return x


@device
def identity_backward(dy: Real, x: Real, p0: Real, p1: Real) -> Real:
    """dy."""
    return dy


@device
def relu(x: Real, p0: Real, p1: Real) -> Real:
    """max(x, 0)."""
    return like(x, 0) if x <= 0 else x


@device
def relu_backward(dy: Real, y: Real, p0: Real, p1: Real) -> Real:
    """dy where y > 0."""
    return dy if y > 0 else at_least(0, y)


@device
def _nan_of(x: Real, dx: Real) -> Real:
    """The gradient dx, but NaN where x is."""
    return dx if x == x else x


@device
def leaky_relu(x: Real, p0: Real, p1: Real) -> Real:
    """x, or p0 x where x is not above 0."""
    return x if x > 0 else x * p0


@device
def leaky_relu_backward(dy: Real, x: Real, p0: Real, p1: Real) -> Real:
    """dy, or p0 dy."""
    return _nan_of(x, dy if x > 0 else dy * p0)


@device
def hardtanh(x: Real, p0: Real, p1: Real) -> Real:
    """x, cut to [p0, p1]."""
    return at_most(p1, at_least(p0, x))


@device
def hardtanh_backward(dy: Real, x: Real, p0: Real, p1: Real) -> Real:
    """dy where p0 < x < p1."""
    return _nan_of(x, like(dy, 0) if x <= p0 or x >= p1 else dy)


@device
def relu6(x: Real, p0: Real, p1: Real) -> Real:
    """x, cut to [0, 6]."""
    return hardtanh(x, like(x, 0), like(x, 6))


@device
def relu6_backward(dy: Real, y: Real, p0: Real, p1: Real) -> Real:
    """dy where 0 < y < 6."""
    return hardtanh_backward(dy, y, like(y, 0), like(y, 6))


@device
def hardsigmoid(x: Real, p0: Real, p1: Real) -> Real:
    """min(max(x + 3, 0), 6) / 6."""
    return quotient(at_most(6, at_least(0, x + like(x, 3))), like(x, 6), like(x, 1 / 6))


@device
def hardsigmoid_backward(dy: Real, x: Real, p0: Real, p1: Real) -> Real:
    """dy / 6 where |x| < 3."""
    if abs(x) < 3:
        return dy / like(dy, 6)
    return like(dy, 0) if x == x else x


@device
def hardswish(x: Real, p0: Real, p1: Real) -> Real:
    """x hardsigmoid(x)."""
    return at_least(-3, x) * hardsigmoid(x, p0, p1)


@device
def hardswish_backward(dy: Real, x: Real, p0: Real, p1: Real) -> Real:
    """0, dy (x + 3/2) / 3, dy for x up to -3, between, from 3 on."""
    if x <= -3:
        return like(dy, 0)
    return dy if x >= 3 else dy * divide(x + like(x, 1.5), like(x, 3))


@device
def threshold(x: Real, p0: Real, p1: Real) -> Real:
    """x where x > p0, else p1."""
    return p1 if x <= p0 else x


@device
def threshold_backward(dy: Real, x: Real, p0: Real, p1: Real) -> Real:
    """dy where x > p0."""
    return _nan_of(x, like(dy, 0) if x <= p0 else dy)


@device
def hardshrink(x: Real, p0: Real, p1: Real) -> Real:
    """x where |x| > p0."""
    return like(x, 0) if abs(x) <= p0 else x


@device
def hardshrink_backward(dy: Real, x: Real, p0: Real, p1: Real) -> Real:
    """dy where |x| > p0."""
    return dy if abs(x) > p0 else at_most(0, abs(x))


@device
def softshrink(x: Real, p0: Real, p1: Real) -> Real:
    """x - p0 or x + p0 where |x| > p0."""
    return like(x, 0) if abs(x) <= p0 else x - math.copysign(p0, x)


softshrink_backward = hardshrink_backward


@device
def softsign(x: Real, p0: Real, p1: Real) -> Real:
    """x / (1 + |x|); from 2^60 on it is 1, without infinity / infinity."""
    t = at_most(2.0**60, at_least(-(2.0**60), x))
    return divide(t, like(t, 1) + abs(t))


@device
def softsign_backward(dy: Real, x: Real, p0: Real, p1: Real) -> Real:
    """dy / (1 + |x|)^2."""
    t = like(x, 1) + abs(x)
    return dy / t / t


@device
def square(x: Real, p0: Real, p1: Real) -> Real:
    """x^2."""
    return x * x


@device
def square_backward(dy: Real, x: Real, p0: Real, p1: Real) -> Real:
    """2 x dy."""
    half = dy * x
    return half + half


@device
def _squareplus_root(a: Real, b: Real) -> Real:
    """sqrt(a^2 + b); where that leaves the range of squares, the larger of a and sqrt(b)."""
    limit = by_type(a, 2.0**34, 2.0**62)
    total, root = fma(a, a, b), at_least(math.sqrt(b), a)
    if a < limit and total > like(a, 1) / limit:
        root = math.sqrt(total)
    return root


@device
def squareplus(x: Real, p0: Real, p1: Real) -> Real:
    """h = (sqrt(x^2 + b) + |x|) / 2 for x >= 0, (b / 4) / h for x < 0, where nothing cancels."""
    a, half = abs(x), like(x, 0.5)
    h = at_least(a, half * _squareplus_root(a, p0) + half * a)
    return like(x, 0.25) * p0 / h if x < 0 else h


@device
def squareplus_backward(dy: Real, x: Real, p0: Real, p1: Real) -> Real:
    """dy (1 + x / root) / 2 for x >= 0, dy (b / 4) / h / root for x < 0; 0 for x = b = 0."""
    a, half = at_most(largest(x), abs(x)), like(x, 0.5)
    root = _squareplus_root(a, p0)
    if root <= 0:
        return dy * x
    h = at_least(least_normal(x), half * root + half * a)
    return dy * (like(x, 0.25) * p0 / h / root if x < 0 else fma(half, a / root, half))
