"""Activations that join parts of their input: GLU, SwiGLU and Maxout, in plain NumPy.

The conventions of activation.py hold; it must not know the C kernels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .activation import Array, floating, sigmoid, silu, silu_backward, times_sigmoid

__all__ = [
    "glu",
    "glu_backward",
    "maxout",
    "maxout_backward",
    "swiglu",
    "swiglu_backward",
]


def _halves(x: Array, dim: int) -> list[Array]:
    if x.shape[dim] % 2:
        raise ValueError(f"input must have an even length along dim {dim}, got {x.shape[dim]}")
    return np.split(x, 2, axis=dim)


def glu(input: ArrayLike, dim: int = -1) -> Array:
    """Return a sigmoid(b), where a and b are the halves of x along dim. Dauphin et al., 2017.

    An odd length raises ValueError.
    """
    a, b = _halves(floating(input), dim)
    return times_sigmoid(a, b)


def glu_backward(dy: ArrayLike, input: ArrayLike, dim: int = -1) -> Array:
    """Return da = dy sigmoid(b) and db = dy a sigmoid(b) (1 - sigmoid(b)), joined along dim."""
    dy, (a, b) = floating(dy), _halves(floating(input), dim)
    return np.concatenate([times_sigmoid(dy, b), times_sigmoid(dy * a * sigmoid(-b), b)], axis=dim)


def swiglu(input: ArrayLike, dim: int = -1) -> Array:
    """Return silu(a) b, where a and b are the halves of x along dim. Shazeer, 2020.

    An odd length raises ValueError.
    """
    a, b = _halves(floating(input), dim)
    return silu(a) * b


def swiglu_backward(dy: ArrayLike, input: ArrayLike, dim: int = -1) -> Array:
    """Return da = dy b silu'(a) and db = dy silu(a), joined along dim."""
    dy, (a, b) = floating(dy), _halves(floating(input), dim)
    return np.concatenate([silu_backward(dy * b, a), dy * silu(a)], axis=dim)


class MaxoutSaved(NamedTuple):
    """What maxout_backward needs: which of the k won for each output, and how the input was shaped."""

    winner: NDArray[np.intp]
    k: int
    dim: int
    shape: tuple[int, ...]


def _grouped(shape: tuple[int, ...], k: int, dim: int) -> tuple[int, ...]:
    """Return the shape with dim cut into (groups, k)."""
    return (*shape[:dim], shape[dim] // k, k, *shape[dim + 1 :])


def maxout(input: ArrayLike, k: int, dim: int = 1) -> tuple[Array, MaxoutSaved]:
    """Return y[.., c, ..] = max over j < k of x[.., c k + j, ..] along dim, and what backward needs.

    The first of equals wins; NaN wins over all. A length that k does not divide raises ValueError.
    Goodfellow et al., 2013.
    """
    x = floating(input)
    dim = range(x.ndim)[dim]
    if k < 1 or x.shape[dim] % k:
        raise ValueError(f"k must divide the input's length along dim, {x.shape[dim]}, got {k}")
    groups = x.reshape(_grouped(x.shape, k, dim))
    winner = np.argmax(groups, axis=dim + 1, keepdims=True)
    y = np.take_along_axis(groups, winner, axis=dim + 1).squeeze(dim + 1)
    return y, MaxoutSaved(winner, k, dim, x.shape)


def maxout_backward(dy: ArrayLike, saved: MaxoutSaved) -> Array:
    """Return dx: dy at each group's winner, 0 elsewhere."""
    dy = floating(dy)
    dx = np.zeros(_grouped(saved.shape, saved.k, saved.dim), dy.dtype)
    np.put_along_axis(dx, saved.winner, np.expand_dims(dy, saved.dim + 1), axis=saved.dim + 1)
    return dx.reshape(saved.shape)
