"""Convolution and max pooling as the assignments have them, by fastnn.functional.

The assignments' slow and fast versions are one here: they take each other's caches.
"""

from __future__ import annotations

from typing import Any, cast

from fastnn._core.typing import Array
from fastnn.cs231n._floats import Param, floating, promoted
from fastnn.functional.conv import conv2d, conv2d_backward
from fastnn.functional.pool import max_pool2d, max_pool2d_backward

ConvCache = tuple[Array, Array, Array, Param]
Gradients = tuple[Array, Array, Array]


def conv_forward_naive(x: Array, w: Array, b: Array, conv_param: Param) -> tuple[Array, ConvCache]:
    """out[n, f, i, j] = b[f] + the sum of w[f] times the window of x[n] at (i, j), over all channels.

    x: (N, C, H, W); w: (F, C, HH, WW); b: (F,). conv_param: "stride" and "pad", the number of zeros at each
    side. Returns (out, (x, w, b, conv_param)), out of shape (N, F, H', W') with
    H' = 1 + (H + 2 pad - HH) // stride. Raises ValueError for shapes that do not fit.
    """
    values, weight, bias = promoted(("x", "w", "b"), x, w, b)
    out = conv2d(values, weight, bias, conv_param["stride"], conv_param["pad"])
    return out, (x, w, b, conv_param)


def conv_backward_naive(dout: Array, cache: ConvCache) -> Gradients:
    """Return (dx, dw, db); dout has out's shape. More values at the end of the cache are left alone."""
    x, w, _, conv_param = cache[:4]
    gradient, values, weight = promoted(("dout", "x", "w"), dout, x, w)
    gradients = conv2d_backward(gradient, values, weight, conv_param["stride"], conv_param["pad"])
    return cast(Gradients, gradients)  # None for what is not asked for, but all are


class PoolCache(tuple[Array, Param]):
    """(x, pool_param), as the assignments unpack it, and what max_pool2d left for its backward."""

    saved: Any


def max_pool_forward_naive(x: Array, pool_param: Param) -> tuple[Array, PoolCache]:
    """out[n, c, i, j] = the largest of the window of x[n, c] at (i, j).

    x: (N, C, H, W); pool_param: "pool_height", "pool_width" and "stride". Returns (out, (x, pool_param)),
    out of shape (N, C, H', W') with H' = 1 + (H - pool_height) // stride. Raises ValueError for shapes that
    do not fit.
    """
    out, saved = _pool(x, pool_param)
    cache = PoolCache((x, pool_param))
    cache.saved = saved
    return out, cache


def max_pool_backward_naive(dout: Array, cache: tuple[Array, Param]) -> Array:
    """dx = dout where an element was its window's largest, the first of equal ones, else 0.

    A cache that was put together again, (x, pool_param), serves as well, for the price of another forward.
    """
    saved = cache.saved if isinstance(cache, PoolCache) else _pool(*cache)[1]
    return max_pool2d_backward(floating(dout, "dout"), saved)


def _pool(x: Array, pool_param: Param) -> tuple[Array, Any]:
    window = pool_param["pool_height"], pool_param["pool_width"]
    return max_pool2d(floating(x), window, pool_param["stride"])
