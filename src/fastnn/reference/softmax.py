"""Softmax and its logarithm from their definitions, in plain NumPy; must not know fastnn.functional."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .activation import Array, floating, quiet

__all__ = [
    "log_softmax",
    "log_softmax_backward",
    "softmax",
    "softmax_backward",
]


def _along(dim: int, array: Array) -> Array:
    """The array with `dim` last; one number is a vector of one."""
    return np.moveaxis(np.atleast_1d(array), dim, -1)


def _back(dim: int, result: Array, shape: tuple[int, ...]) -> Array:
    return np.moveaxis(result, -1, dim).reshape(shape)


@quiet
def log_probabilities(x: Array) -> Array:
    """Return x - log(the sum of e^x) along the last axis, with the largest x taken away from both."""
    shifted = x - x.max(axis=-1, keepdims=True, initial=-np.inf)
    result: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


@quiet
def softmax(input: ArrayLike, dim: int = -1, *, dtype: Any = None) -> Array:
    """Return e^x / (the sum of e^x along dim), both over e^(the largest x), so that nothing overflows."""
    x = _along(dim, floating(np.asarray(input, dtype)))
    e = np.exp(x - x.max(axis=-1, keepdims=True, initial=-np.inf))
    return _back(dim, e / e.sum(axis=-1, keepdims=True), np.shape(input))


@quiet
def softmax_backward(dy: ArrayLike, output: ArrayLike, dim: int = -1) -> Array:
    """Return y (dy - the sum of dy y along dim)."""
    g, y = _along(dim, floating(dy)), _along(dim, floating(output))
    return _back(dim, y * (g - (g * y).sum(axis=-1, keepdims=True)), np.shape(dy))


@quiet
def log_softmax(input: ArrayLike, dim: int = -1, *, dtype: Any = None) -> Array:
    """Return x - log(the sum of e^x along dim)."""
    return _back(dim, log_probabilities(_along(dim, floating(np.asarray(input, dtype)))), np.shape(input))


@quiet
def log_softmax_backward(dy: ArrayLike, output: ArrayLike, dim: int = -1) -> Array:
    """Return dy - e^y (the sum of dy along dim)."""
    g, y = _along(dim, floating(dy)), _along(dim, floating(output))
    return _back(dim, g - np.exp(y) * g.sum(axis=-1, keepdims=True), np.shape(dy))
