"""GELU, exact and by tanh, and the gradients."""

from __future__ import annotations

from typing import Any

from fastnn.cuda._runtime.ptx.arithmetic import approximate, by_type, fma, like, polynomial
from fastnn.cuda._runtime.ptx.functions import device
from fastnn.cuda._runtime.ptx.real import Real
from fastnn.cuda.kernels.activation.gate import gate, gated, gated_gradient
from fastnn.cuda.kernels.common import coefficients
from fastnn.cuda.kernels.common.coefficients import Coefficients
from fastnn.cuda.kernels.common.math import at_least, at_most, divide, exponential, product_low

#: What exp(-a^2 / 2) is scaled by, in powers of 2; what it is multiplied by takes that back.
_SHIFT = 80
_DENSITY = 0.398942280401432677939946  # 1 / sqrt(2 pi)


def _unshifted(tables: Coefficients, first: int = 0) -> Coefficients:
    single, double = ([c * 2.0**-_SHIFT for c in table[first:]] for table in tables)
    return tuple(single), tuple(double)


_p, _d = polynomial(*coefficients.GELU_P), polynomial(*coefficients.GELU_D)
_w, _r = polynomial(*_unshifted(coefficients.GELU_W, 1)), polynomial(*_unshifted(coefficients.GELU_R))
_W_SINGLE, _W_DOUBLE = (table[0] for table in _unshifted(coefficients.GELU_W))


# ---- x Phi(x): near 0 a polynomial; else max(x, 0) - |x| Q(|x|), with the Gaussian tail
# Q(a) = exp(-a^2 / 2) R, and polynomials in u = (a - k) / (a + k) for R and a R.


@device
def _size(x: Real) -> Real:
    """|x|, or where the tail has gone to 0."""
    return at_most(by_type(x, 14.7, 38.8), abs(x))


@device
def _is_central(a: Real) -> Any:
    """Whether the polynomial holds."""
    return a < by_type(a, 0.9, 1.0)


@device
def _tail_argument(a: Real) -> Real:
    """u."""
    k = by_type(a, 2, 3)
    return divide(a - k, a + k)


@device
def _gaussian(a: Real) -> tuple[Real, Real]:
    """exp(-a^2 / 2) 2^_SHIFT, as `exponential` gives it."""
    square, half = a * a, like(a, -0.5)
    return exponential(half * square, half * product_low(a, a, square), _SHIFT)


@device
def gelu(x: Real, p0: Real, p1: Real) -> Real:
    """x Phi(x)."""
    a = _size(x)
    u, (s, scale) = _tail_argument(a), _gaussian(a)
    w, v = by_type(x, _W_SINGLE, _W_DOUBLE), u * _w(u)
    tail = w + fma(w, s, fma(v, s, v))  # (w + v) (1 + s), w constant: the largest term last
    outer = fma(-tail, scale, at_least(0, x))
    return x * fma(x, _p(a * a), 0.5) if _is_central(a) else outer


@device
def gelu_backward(dy: Real, x: Real, p0: Real, p1: Real) -> Real:
    """dy (Phi(x) + x phi(x)), phi the normal density."""
    a = _size(x)
    r = fma(-a, _DENSITY * 2.0**-_SHIFT, _r(_tail_argument(a)))
    s, scale = _gaussian(a)
    tail = fma(r, s, r) * scale
    outer = tail if x < 0 else like(x, 1) - tail
    return dy * (fma(x, _d(a * a), 0.5) if _is_central(a) else outer)


# ---- x sigmoid(z), z = 2 sqrt(2 / pi) (x + 0.044715 x^3). exp(z) turns the absolute error of z into a
# relative one, so z = x (C1 + C3 x^2) is summed in two parts.

#: From here up it is x.
_SATURATED = 8


@device
def _least(x: Real) -> Real:
    """From here down the result is 0."""
    return by_type(x, -11.1, -21.6)


@device
def _cubic(x: Real, c: Real, c_low: Real) -> tuple[Real, Real]:
    """x (C1 + C x^2), C = c + c_low, in two parts."""
    c1 = by_type(x, 1.59576916695, 1.5957691216057308)
    c1_low = by_type(x, -4.53406804e-8, -9.9693088091109203e-17)
    square = x * x
    if approximate(x):
        return x * fma(c, square, c1), like(x, 0)
    square_low, b = product_low(x, x, square), c * square
    b_low = fma(c, square_low, fma(c_low, square, product_low(c, square, b)))
    total = c1 + b
    b_seen = total - c1
    rest = (c1 - (total - b_seen)) + (b - b_seen) + (b_low + c1_low)
    cubic = x * total
    return cubic, fma(x, rest, product_low(x, total, cubic))


@device
def _c3(x: Real) -> tuple[Real, Real]:
    """C3, in two parts."""
    return (
        by_type(x, 0.0713548138738, 0.07135481627260025),
        by_type(x, 2.3988324e-9, -6.1751499181553155e-19),
    )


@device
def _argument(x: Real) -> tuple[Real, Real]:
    """z."""
    c3, c3_low = _c3(x)
    return _cubic(x, c3, c3_low)


@device
def _slope(x: Real) -> tuple[Real, Real]:
    """x z'."""
    (c3, c3_low), three = _c3(x), like(x, 3)
    c = three * c3
    return _cubic(x, c, fma(three, c3_low, product_low(three, c3, c)))


@device
def gelu_tanh(x: Real, p0: Real, p1: Real) -> Real:
    """x (1 + tanh(z / 2)) / 2."""
    t = at_least(_least(x), x)
    z, low = _argument(at_most(_SATURATED, t))
    _, total = gate(z, low)
    return gated(t, total) if x <= _SATURATED else x


@device
def gelu_tanh_backward(dy: Real, x: Real, p0: Real, p1: Real) -> Real:
    """dy s (1 + x z' (1 - s)), s = sigmoid(z)."""
    t = at_most(_SATURATED, at_least(_least(x), x))
    (z, low), (x_dz, x_dz_low) = _argument(t), _slope(t)
    e, total = gate(z, low)
    return dy * gated_gradient(x_dz, x_dz_low, e, total)
