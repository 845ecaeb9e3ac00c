"""Activations made of an exponential, and their gradients."""

from __future__ import annotations

import math
from typing import Any

from fastnn.cuda._runtime.ptx.arithmetic import by_type, estimate, fma, like, polynomial
from fastnn.cuda._runtime.ptx.functions import device
from fastnn.cuda._runtime.ptx.real import Real
from fastnn.cuda.kernels.activation.gate import bounded, gate, gated, gated_gradient, unit
from fastnn.cuda.kernels.common import coefficients
from fastnn.cuda.kernels.common.math import (
    SATURATED,
    at_least,
    at_most,
    divide,
    exp_negative,
    exp_shifted,
    least_exp,
    least_x_exp,
    product_low,
)

_SELU_SCALE = 1.0507009873554804934193349852946
_SELU_SCALE_ALPHA = 1.7580993408473768599402175208123
#: From here up mish(x) is x.
_MISH_SATURATED = 20.0

_tanh_u = polynomial(*coefficients.TANH_U)


@device
def exp(x: Real, p0: Real, p1: Real) -> Real:
    """e^x."""
    return math.exp(x)


@device
def exp_backward(dy: Real, y: Real, p0: Real, p1: Real) -> Real:
    """dy y."""
    return dy * y


@device
def elu(x: Real, p0: Real, p1: Real) -> Real:
    """x where x >= 0, else p0 (e^x - 1)."""
    return x if x >= 0 else p0 * math.expm1(x)


@device
def elu_backward(dy: Real, x: Real, p0: Real, p1: Real) -> Real:
    """dy where x > 0, else dy p0 e^x."""
    return dy if x > 0 else dy * (p0 * math.exp(x))


@device
def selu(x: Real, p0: Real, p1: Real) -> Real:
    """scale x where x >= 0, else scale alpha (e^x - 1)."""
    return like(x, _SELU_SCALE) * x if x >= 0 else like(x, _SELU_SCALE_ALPHA) * math.expm1(x)


@device
def selu_backward(dy: Real, x: Real, p0: Real, p1: Real) -> Real:
    """dy scale where x > 0, else dy scale alpha e^x."""
    return dy * (like(x, _SELU_SCALE) if x > 0 else like(x, _SELU_SCALE_ALPHA) * math.exp(x))


@device
def celu(x: Real, p0: Real, p1: Real) -> Real:
    """x where x >= 0, else p0 (e^(x / p0) - 1).

    z is x / p0 but for a rest: p0 (exp(z + rest / p0) - 1) = p0 e + rest (1 + e), with e = exp(z) - 1.
    """
    t = at_least(like(x, -SATURATED) * p0, x)
    z = t * (like(x, 1) / p0)
    rest, e = fma(-z, p0, t), math.expm1(z)
    return x if x >= 0 else fma(p0, e, fma(rest, e, rest))


@device
def celu_backward(dy: Real, x: Real, p0: Real, p1: Real) -> Real:
    """dy where x > 0, else dy e^(x / p0); z is x / p0 but for rest / p0."""
    inverse = like(x, 1) / p0
    t = at_least(least_exp(x) * p0, x)
    z = t * inverse
    return dy if x > 0 else dy * exp_negative(z, fma(-z, p0, t) * inverse)


@device
def _sigmoid(x: Real, e: Real) -> Real:
    """1 / (1 + e^-x) from e = exp(-|x|), which cannot overflow."""
    one = like(x, 1)
    return divide(one if x >= 0 else e, one + e)


@device
def sigmoid(x: Real, p0: Real, p1: Real) -> Real:
    """1 / (1 + e^-x)."""
    return _sigmoid(x, math.exp(-abs(x)))


@device
def sigmoid_backward(dy: Real, x: Real, p0: Real, p1: Real) -> Real:
    """dy sigmoid(x) (1 - sigmoid(x)): e / (1 + e)^2 with e = exp(-|x|)."""
    e = math.exp(-abs(x))
    total = like(x, 1) + e
    return dy * divide(e, total * total)


@device
def silu(x: Real, p0: Real, p1: Real) -> Real:
    """x sigmoid(x)."""
    t = at_least(least_x_exp(x), x)
    _, total = gate(at_most(SATURATED, t), like(x, 0))
    return gated(t, total) if x <= SATURATED else x


@device
def silu_backward(dy: Real, x: Real, p0: Real, p1: Real) -> Real:
    """dy sigmoid(x) (1 + x (1 - sigmoid(x)))."""
    t, zero = bounded(x), like(x, 0)
    e, total = gate(t, zero)
    return dy * gated_gradient(t, zero, e, total)


@device
def tanh(x: Real, p0: Real, p1: Real) -> Real:
    """tanh(x)."""
    return math.tanh(x)


@device
def tanh_backward(dy: Real, x: Real, p0: Real, p1: Real) -> Real:
    """dy (1 - tanh(x)^2): 4 e / (1 + e)^2 with e = exp(-2 |x|)."""
    raised = exp_shifted(at_least(least_exp(x), like(x, -2) * abs(x)), like(x, 0), like(x, 60))
    e_4 = raised * like(x, 2.0**-58)
    total = fma(e_4, 0.25, like(x, 1))
    return dy * divide(e_4, total * total)


@device
def _is_small(a: Real) -> Any:
    """Whether a - tanh(a) is had from `_small_shrink`."""
    return a < like(a, 1.022)


@device
def _small_shrink(a: Real) -> Real:
    """a - tanh(a) for small a, where the two cancel: a^3 T(a^2).

    Powers and T's first constants, 1/3 - 2/15 a^2, are in two parts. What rounding lost of a^2 counts most
    near 1, where T' is about -0.066.
    """
    square = a * a
    square_low, cube = product_low(a, a, square), a * square
    cube_low = fma(a, square_low, product_low(a, square, cube))
    third, third_low = like(a, 1 / 3), by_type(a, -9.934107e-09, 1.850371707708594e-17)
    c, c_low = like(a, -2 / 15), by_type(a, -1.9868216e-09, 1.850371707708594e-18)
    t_low = fma(square_low, -0.066, fma(square, c_low, third_low))
    t = fma(square, fma(square, _tanh_u(square), c), t_low)
    return fma(cube, third, fma(cube, t, cube_low * third))


@device
def _tanh_complement(a: Real) -> Real:
    """1 - tanh(a) for a >= 0: 2 / (1 + e^2a)."""
    return divide(like(a, 2), like(a, 1) + math.exp(at_most(SATURATED, a + a)))


@device
def tanhshrink(x: Real, p0: Real, p1: Real) -> Real:
    """x - tanh(x)."""
    a = abs(x)
    large = (a - like(a, 1)) + _tanh_complement(a)
    return math.copysign(_small_shrink(a) if _is_small(a) else large, x)


@device
def tanhshrink_backward(dy: Real, x: Real, p0: Real, p1: Real) -> Real:
    """dy tanh(x)^2, which doubles the error of tanh."""
    a = abs(x)
    t = a - _small_shrink(a) if _is_small(a) else like(a, 1) - _tanh_complement(a)
    return dy * (t * t)


@device
def _exp_of_size(x: Real, p0: Real) -> Real:
    """exp(-|p0 x|)."""
    t = -abs(x)
    z = t * p0
    return exp_negative(z, product_low(t, p0, z) if z > least_exp(x) else like(x, 0))


@device
def softplus(x: Real, p0: Real, p1: Real) -> Real:
    """max(x, 0) + log(1 + exp(-|p0 x|)) / p0; x where p0 x > p1."""
    y = fma(math.log1p(_exp_of_size(x, p0)), like(x, 1) / p0, at_least(0, x))
    return x if p0 * x > p1 else y


@device
def softplus_backward(dy: Real, x: Real, p0: Real, p1: Real) -> Real:
    """dy sigmoid(p0 x); dy where p0 x > p1."""
    return dy if p0 * x > p1 else dy * _sigmoid(x, _exp_of_size(x, p0))


@device
def logsigmoid(x: Real, p0: Real, p1: Real) -> Real:
    """log(sigmoid(x))."""
    return at_most(0, x) - math.log1p(math.exp(-abs(x)))


@device
def logsigmoid_backward(dy: Real, y: Real, p0: Real, p1: Real) -> Real:
    """dy (1 - e^y)."""
    return dy * -math.expm1(y)


@device
def _raised_exp(x: Real) -> Real:
    """exp(x) / unit, which is a normal number; for mish, whose results are scaled last."""
    return exp_shifted(x, like(x, 0), by_type(x, 40, 80))


@device
def mish(x: Real, p0: Real, p1: Real) -> Real:
    """x tanh(log(1 + e^x)) = x n / (n + 2), with n = e (e + 2), e = exp(x)."""
    t = at_least(least_x_exp(x), x)
    raised = _raised_exp(at_most(_MISH_SATURATED, t))
    n = fma(raised, raised * unit(x), raised + raised)
    y = t * divide(n, fma(n, unit(x), like(x, 2))) * unit(x)
    return y if x <= _MISH_SATURATED else x


@device
def mish_backward(dy: Real, x: Real, p0: Real, p1: Real) -> Real:
    """dy e k / d^2, with e = exp(x), d = e (e + 2) + 2 and k = (e + 2) d + 4 x (1 + e).

    k cancels least as 4 (1 + x) + e (6 + 4 x + e (4 + e)).
    """
    t, two, four = at_most(_MISH_SATURATED, at_least(least_x_exp(x), x)), like(x, 2), like(x, 4)
    raised = _raised_exp(t)
    e = raised * unit(x)
    e_2 = e + two
    e_2_low = fma(raised, unit(x), two - e_2)
    d = fma(e, e_2, two)
    d_low = fma(e, e_2_low, fma(e, e_2, two - d))
    k = fma(e, fma(e, four + e, fma(four, t, 6)), four * (like(x, 1) + t))
    gradient = divide(k, d) * divide(raised, d)
    return dy * (fma(-gradient, two * d_low * estimate(d), gradient) * unit(x))
