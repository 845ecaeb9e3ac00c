"""Exact values, to many more digits than the dtype that is measured has.

They are those of fastnn.reference in a wider dtype: float64 for float32, longdouble for float64. Only GELU
needs more, erfc in that dtype and the exponents of its tails beyond it, and CELU's gradient, for a quotient
in its exponent. Must not know the C kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from mpmath import mp
from scipy.special import ndtr

from fastnn import reference
from fastnn._core.typing import Array

from .rows import DType, Row

WIDER: dict[DType, DType] = {
    np.dtype(np.float32): np.dtype(np.float64),
    np.dtype(np.float64): np.dtype(np.longdouble),
}

_NODES = 128  # per unit
_LAST = 40  # from here on the tail of either GELU is 0 in float64
_TERMS = 9  # the next is below 2^-72
_DIGITS = 40


def exact(row: Row, direction: str, x: Array) -> Array:
    """The function, or its gradient for dy = 1, in the wider dtype."""
    wide = x.astype(WIDER[x.dtype])
    arguments = row.arguments(x.dtype)
    if special := _SPECIAL.get((row.label, direction, wide.dtype)):
        return special(wide)
    if "weight" in arguments:
        arguments["weight"] = arguments["weight"].astype(wide.dtype)
    function = getattr(reference, row.callee(direction))
    if direction == "forward":
        result: Array = function(wide, **arguments)
        return result
    dy = np.ones(wide.size // 2 if row.paired else wide.size, wide.dtype)
    saved = getattr(reference, row.function)(wide, **arguments) if row.takes_output(direction) else wide
    dx = function(dy, saved, **arguments)
    gradient: Array = dx[0] if isinstance(dx, tuple) else dx
    return gradient


def _decimal(value: Any) -> Any:
    """An mpmath number in longdouble."""
    return np.longdouble(mp.nstr(value, _DIGITS, min_fixed=1, max_fixed=0))


def from_longdouble(value: Any) -> Any:
    """A longdouble, or any narrower number, in mpmath: as two float64 and a power of two."""
    mantissa, exponent = np.frexp(value)
    high = float(mantissa)
    return mp.ldexp(mp.mpf(high) + mp.mpf(float(mantissa - type(mantissa)(high))), int(exponent))


# GELU for float32, by SciPy's normal distribution function


def _gelu_float64(x: Array) -> Array:
    y: Array = np.clip(x, -_LAST, np.inf) * ndtr(x)
    return y


def _gelu_backward_float64(x: Array) -> Array:
    t = np.clip(x, -_LAST, _LAST)
    dx: Array = ndtr(t) + t * np.exp(-t * t / 2) / np.sqrt(2 * np.pi)
    return dx


# GELU for float64, by Taylor series of the tail from nodes that mpmath computes


@lru_cache
def _mills() -> tuple[list[Array], Array]:
    """At a = k / _NODES: Taylor coefficients of R(a) = Q(a) exp(a^2 / 2), and exp(-a^2 / 2)."""
    with mp.workdps(_DIGITS):
        rows, bells = [], []
        for k in range(_LAST * _NODES + 1):
            a = mp.mpf(k) / _NODES
            bell = mp.exp(-a * a / 2)
            c = [mp.erfc(a / mp.sqrt(2)) / 2 / bell]
            c.append(a * c[0] - 1 / mp.sqrt(2 * mp.pi))  # R' = a R - 1 / sqrt(2 pi)
            for n in range(1, _TERMS):
                c.append((a * c[n] + c[n - 1]) / (n + 1))
            rows.append([_decimal(v) for v in c])
            bells.append(_decimal(bell))
    return list(np.array(rows, np.longdouble).T.copy()), np.array(bells, np.longdouble)


def _tail(x: Array) -> tuple[Array, Array, Array]:
    """a = |x|, exp(-a^2 / 2), and R(a): the normal distribution's tail Q(a) = Phi(-a) is their product."""
    coefficients, bells = _mills()
    a = np.where(np.isnan(x), 0, np.minimum(np.abs(x), _LAST))
    k = np.rint(a * _NODES).astype(np.intp)
    node = k / np.longdouble(_NODES)
    h = a - node
    mills = coefficients[-1][k]
    for c in reversed(coefficients[:-1]):
        mills = mills * h + c[k]
    return a, bells[k] * np.exp(-h * (node + h / 2)), mills


def _gelu_longdouble(x: Array) -> Array:
    a, bell, mills = _tail(x)
    y: Array = np.maximum(x, 0) - a * bell * mills
    return y


def _gelu_backward_longdouble(x: Array) -> Array:
    a, bell, mills = _tail(x)
    with mp.workdps(_DIGITS):
        density = _decimal(1 / mp.sqrt(2 * mp.pi))
    tail: Array = bell * (mills - a * density)
    return np.where(x < 0, tail, 1 - tail)


# GELU by tanh for float64: x sigmoid(z), z = x (c1 + c3 x^2) in two parts


def _product(a: Any, b: Any) -> tuple[Any, Any]:
    """The product of two longdoubles in two parts (Dekker)."""
    splitter = np.longdouble(2 ** ((np.finfo(np.longdouble).nmant + 2) // 2) + 1)

    def split(v: Any) -> tuple[Any, Any]:
        high = splitter * v - (splitter * v - v)
        return high, v - high

    product = a * b
    (ah, al), (bh, bl) = split(a), split(b)
    return product, al * bl - (((product - ah * bh) - al * bh) - ah * bl)


@lru_cache
def _tanh_constants() -> list[tuple[Any, Any]]:
    """c1 = 2 sqrt(2 / pi) and c3 = 0.044715 c1, in two parts each."""
    with mp.workdps(_DIGITS):
        c1 = 2 * mp.sqrt(2 / mp.pi)
        constants = [c1, c1 * mp.mpf("0.044715")]
        return [(_decimal(c), _decimal(c - from_longdouble(_decimal(c)))) for c in constants]


def _tanh_parts(x: Array) -> tuple[Array, Array, Array, Array]:
    """x bounded, sigmoid(z), 1 - sigmoid(z) and dz/dx."""
    (c1, c1_low), (c3, c3_low) = _tanh_constants()
    t = np.clip(x, -_LAST, _LAST)
    square, square_low = _product(t, t)
    b, b_low = _product(c3, square)
    factor = c1 + b
    factor_low = (c1 - (factor - (factor - c1))) + (b - (factor - c1))
    factor_low = factor_low + b_low + c3 * square_low + c3_low * square + c1_low
    z, z_low = _product(t, factor)
    z_low = z_low + t * factor_low
    e = np.exp(-np.abs(z)) * (1 - np.where(z < 0, -z_low, z_low))
    return t, np.where(z < 0, e, 1) / (1 + e), np.where(z < 0, 1, e) / (1 + e), c1 + 3 * c3 * square


def _gelu_tanh_longdouble(x: Array) -> Array:
    t, s, _, _ = _tanh_parts(x)
    return np.where(x > _LAST, x, t * s)


def _gelu_tanh_backward_longdouble(x: Array) -> Array:
    t, s, rest, dz = _tanh_parts(x)
    dx: Array = s * (1 + t * rest * dz)
    return dx


# The gradient of CELU for float64: exp(x / alpha), with what rounding the quotient lost


def _celu_backward_longdouble(x: Array) -> Array:
    alpha = np.longdouble(0.7)
    t = np.minimum(x, 0)
    z = t / alpha
    product, product_low = _product(z, alpha)
    dx: Array = np.exp(z) * (1 + np.where(np.isfinite(x), ((t - product) - product_low) / alpha, 0))
    return dx


_SPECIAL: dict[tuple[str, str, DType], Callable[[Array], Array]] = {
    ("gelu", "forward", np.dtype(np.float64)): _gelu_float64,
    ("gelu", "backward", np.dtype(np.float64)): _gelu_backward_float64,
    ("gelu", "forward", np.dtype(np.longdouble)): _gelu_longdouble,
    ("gelu", "backward", np.dtype(np.longdouble)): _gelu_backward_longdouble,
    ("gelu approximate=tanh", "forward", np.dtype(np.longdouble)): _gelu_tanh_longdouble,
    ("gelu approximate=tanh", "backward", np.dtype(np.longdouble)): _gelu_tanh_backward_longdouble,
    ("celu alpha=0.7", "backward", np.dtype(np.longdouble)): _celu_backward_longdouble,
}
