"""Softmax and its logarithm along one dimension, with explicit gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastnn import _kernels
from fastnn._core import arrays
from fastnn._core.dispatch import general_way, takes_tensors
from fastnn._core.extras import require
from fastnn._core.typing import Array

__all__ = [
    "log_softmax",
    "log_softmax_backward",
    "softmax",
    "softmax_backward",
]


@general_way("softmax", like="input")
def _softmax(kind: int, input: ArrayLike, dim: int, out: Array | None) -> Array:
    (x,), target = arrays.prepare((("input", input),), out)
    axis = arrays.axis(dim, max(x.ndim, 1))
    y = _kernels.softmax(kind, arrays.plain(x), axis, arrays.plain_target(target))
    return arrays.deliver(arrays.deliver(y, target), out)


@general_way("softmax_backward", like="dy")
def _softmax_backward(kind: int, dy: ArrayLike, output: ArrayLike, dim: int, out: Array | None) -> Array:
    (g, y), target = arrays.prepare((("dy", dy), ("output", output)), out)
    axis = arrays.axis(dim, max(target.ndim, 1))
    place = arrays.plain_target(target)
    dx = _kernels.softmax_backward(kind, arrays.plain(g), arrays.plain(y), axis, place)
    return arrays.deliver(arrays.deliver(dx, target), out)


def float_name(dtype: Any) -> str:
    """The name of a floating dtype of NumPy, ml_dtypes or torch; TypeError for another."""
    try:
        name = str(np.dtype(dtype))
    except (TypeError, ValueError):
        name = str(dtype).removeprefix("torch.")
    if name not in ("float16", "bfloat16", "float32", "float64"):
        raise TypeError(f"dtype must be float16, bfloat16, float32 or float64, got {dtype!r}")
    return name


@takes_tensors
def _converted(input: ArrayLike, dtype: Any) -> Array:
    """The input in this dtype."""
    name = float_name(dtype)
    kind: Any = require("ml_dtypes", "test").bfloat16 if name == "bfloat16" else name
    return arrays.rounded(arrays.ready("input", input), kind)


def softmax(input: ArrayLike, dim: int = -1, *, dtype: Any = None, out: Array | None = None) -> Array:
    """y = e^x / (the sum of e^x along dim).

    input: any shape; out: its shape, and the input itself is allowed. float32 and float64 are computed as
    they are, float16 and bfloat16 in float32, integers promote as in np.tanh. Nothing overflows; -inf gives
    0, and a slice along dim that has nothing else NaN, as one with NaN or inf. dtype: a floating dtype that
    the input is converted to first, and that the result has. Raises ValueError for a dim that the input does
    not have, TypeError for another dtype. Bridle, 1990.
    """
    x = input if dtype is None else _converted(input, dtype)
    return _kernels.softmax(_kernels.SOFTMAX, x, dim, out)


def softmax_backward(dy: ArrayLike, output: ArrayLike, dim: int = -1, *, out: Array | None = None) -> Array:
    """dx = y (dy - the sum of dy y along dim).

    dy, output (softmax's y): one shape; out: that shape, and each of them is allowed. Raises ValueError for
    shapes that differ, and as softmax does.
    """
    return _kernels.softmax_backward(_kernels.SOFTMAX, dy, output, dim, out)


def log_softmax(input: ArrayLike, dim: int = -1, *, dtype: Any = None, out: Array | None = None) -> Array:
    """y = x - log(the sum of e^x along dim), which keeps its digits where softmax is 0.

    input, dim, dtype, out and the treatment of infinities and NaN as for softmax, but that -inf gives -inf.
    Raises what softmax raises.
    """
    x = input if dtype is None else _converted(input, dtype)
    return _kernels.softmax(_kernels.LOG_SOFTMAX, x, dim, out)


def log_softmax_backward(
    dy: ArrayLike, output: ArrayLike, dim: int = -1, *, out: Array | None = None
) -> Array:
    """dx = dy - e^y (the sum of dy along dim).

    dy, output (log_softmax's y): one shape; out: that shape, and each of them is allowed. Raises ValueError
    for shapes that differ, and as softmax does.
    """
    return _kernels.softmax_backward(_kernels.LOG_SOFTMAX, dy, output, dim, out)
