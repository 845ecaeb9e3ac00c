"""Every function and its gradient for dy = 1 in mpmath, to check truth.py. Must not know anything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mpmath import mp

Scalar = Any  # mpmath has no types
Function = Callable[..., Scalar]

_ALPHA = "1.6732632423543772848170429916717"
_SCALE = "1.0507009873554804934193349852946"


def _sigmoid(x: Scalar) -> Scalar:
    return 1 / (1 + mp.exp(-x))


def _softplus(x: Scalar, beta: Scalar = 1, threshold: Scalar = 20) -> Scalar:
    return x if beta * x > threshold else mp.log1p(mp.exp(beta * x)) / beta


def _mish(x: Scalar) -> Scalar:
    return x * mp.tanh(mp.log1p(mp.exp(x)))


def _mish_slope(x: Scalar) -> Scalar:
    t = mp.tanh(mp.log1p(mp.exp(x)))
    return t + x * _sigmoid(x) * (1 - t * t)


def _silu_slope(x: Scalar) -> Scalar:
    return _sigmoid(x) * (1 + x * _sigmoid(-x))


def _tanh_argument(x: Scalar) -> Scalar:
    return 2 * mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x**3)


def _gelu(x: Scalar, approximate: str = "none") -> Scalar:
    if approximate == "tanh":
        return x * _sigmoid(_tanh_argument(x))
    return x * mp.erfc(-x / mp.sqrt(2)) / 2


def _gelu_slope(x: Scalar, approximate: str = "none") -> Scalar:
    if approximate == "none":
        return mp.erfc(-x / mp.sqrt(2)) / 2 + x * mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)
    s, rest = _sigmoid(_tanh_argument(x)), _sigmoid(-_tanh_argument(x))
    return s * (1 + x * rest * 2 * mp.sqrt(2 / mp.pi) * (1 + 3 * mp.mpf("0.044715") * x * x))


def _clip(x: Scalar, low: Scalar, high: Scalar) -> Scalar:
    return min(max(x, low), high)


def _inside(x: Scalar, low: Scalar, high: Scalar) -> int:
    return int(low < x < high)


def _slope(x: Scalar, negative: Scalar) -> Scalar:
    return 1 if x > 0 else mp.mpf(negative)


def _elu(x: Scalar, alpha: Scalar = 1, scale: Scalar = 1, inner: Scalar = 1) -> Scalar:
    return scale * (x if x > 0 else alpha * mp.expm1(x / inner))


# Forward and gradient, of the input; the gated pairs' gradients have two parts.
DEFINITIONS: dict[str, tuple[Function, Function]] = {
    "identity": (lambda x: x, lambda x: 1),
    "relu": (lambda x: max(x, 0), lambda x: _slope(x, 0)),
    "leaky_relu": (
        lambda x, negative_slope=0.01: x * _slope(x, negative_slope),
        lambda x, negative_slope=0.01: _slope(x, negative_slope),
    ),
    "prelu": (lambda x, weight: x * _slope(x, weight), lambda x, weight: _slope(x, weight)),
    "rrelu": (lambda x: x * _slope(x, (1 / 8 + 1 / 3) / 2), lambda x: _slope(x, (1 / 8 + 1 / 3) / 2)),
    "elu": (_elu, lambda x, alpha=1: 1 if x > 0 else alpha * mp.exp(x)),
    "selu": (
        lambda x: _elu(x, mp.mpf(_ALPHA), mp.mpf(_SCALE)),
        lambda x: mp.mpf(_SCALE) * (1 if x > 0 else mp.mpf(_ALPHA) * mp.exp(x)),
    ),
    "celu": (
        lambda x, alpha=1: _elu(x, alpha, inner=alpha),
        lambda x, alpha=1: 1 if x > 0 else mp.exp(x / alpha),
    ),
    "gelu": (_gelu, _gelu_slope),
    "sigmoid": (_sigmoid, lambda x: _sigmoid(x) * _sigmoid(-x)),
    "tanh": (mp.tanh, lambda x: mp.sech(x) ** 2),
    "silu": (lambda x: x * _sigmoid(x), _silu_slope),
    "mish": (_mish, _mish_slope),
    "softplus": (_softplus, lambda x, beta=1: 1 if beta * x > 20 else _sigmoid(beta * x)),
    "softsign": (lambda x: x / (1 + abs(x)), lambda x: 1 / (1 + abs(x)) ** 2),
    "logsigmoid": (lambda x: -mp.log1p(mp.exp(-x)), lambda x: _sigmoid(-x)),
    "hardsigmoid": (lambda x: _clip(x + 3, 0, 6) / 6, lambda x: mp.mpf(_inside(x, -3, 3)) / 6),
    "hardswish": (
        lambda x: x * _clip(x + 3, 0, 6) / 6,
        lambda x: x / 3 + mp.mpf(1) / 2 if _inside(x, -3, 3) else int(x > 0),
    ),
    "hardtanh": (lambda x: _clip(x, -1, 1), lambda x: _inside(x, -1, 1)),
    "relu6": (lambda x: _clip(x, 0, 6), lambda x: _inside(x, 0, 6)),
    "threshold": (
        lambda x, threshold, value: x if x > threshold else value,
        lambda x, threshold, value: int(x > threshold),
    ),
    "hardshrink": (lambda x: x if abs(x) > 0.5 else 0, lambda x: int(abs(x) > 0.5)),
    "softshrink": (
        lambda x, lambd=0.5: x - _clip(x, -lambd, lambd),
        lambda x, lambd=0.5: int(abs(x) > lambd),
    ),
    "tanhshrink": (lambda x: x - mp.tanh(x), lambda x: mp.tanh(x) ** 2),
    "squareplus": (
        lambda x, b=4: (x + mp.sqrt(x * x + b)) / 2,
        lambda x, b=4: (1 + x / mp.sqrt(x * x + b)) / 2,
    ),
    "square": (lambda x: x * x, lambda x: 2 * x),
    "exp": (mp.exp, mp.exp),
    "glu": (lambda a, b: a * _sigmoid(b), lambda a, b: (_sigmoid(b), a * _sigmoid(b) * _sigmoid(-b))),
    "swiglu": (lambda a, b: a * _sigmoid(a) * b, lambda a, b: (b * _silu_slope(a), a * _sigmoid(a))),
}
