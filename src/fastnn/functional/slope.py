"""PReLU and RReLU: leaky ReLUs whose slope is learned or drawn."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from fastnn import _kernels
from fastnn._core import arrays
from fastnn._core.dispatch import general_way, takes_tensors
from fastnn._core.typing import Array
from fastnn.functional.activation import leaky_relu, leaky_relu_backward
from fastnn.random import Key, as_key, given_or_next

__all__ = [
    "prelu",
    "prelu_backward",
    "rrelu",
    "rrelu_backward",
]

_SLOPE = _kernels.find_kernel("slope")
_SLOPE_BACKWARD = _kernels.find_kernel("slope_backward")


def check_weight(weight: tuple[int, ...], input: tuple[int, ...]) -> None:
    """Raise ValueError unless a weight of this shape fits an input of that one."""
    channels = input[1] if len(input) > 1 else 1
    if len(weight) > 1 or math.prod(weight) not in (1, channels):
        takes = "(1,)" if channels == 1 else f"(1,) or ({channels},), one for each of input's channels"
        raise ValueError(f"weight must have shape {takes}, got {weight}")


def _prelu_weight(weight: ArrayLike, input: Array) -> Array:
    """The weight as a vector, after its shape was checked against the input's."""
    array = arrays.ready("weight", weight)
    check_weight(array.shape, input.shape)
    return array.reshape(-1)


def blocks(shape: tuple[int, ...], weights: int) -> tuple[int, int]:
    """(outer, inner) of an input seen as (outer, weights, inner)."""
    return (1, math.prod(shape)) if weights == 1 else (shape[0], math.prod(shape[2:]))


def prelu(input: ArrayLike, weight: ArrayLike, *, out: Array | None = None) -> Array:
    """y = x where x > 0, else weight[c] x, for the elements of channel c.

    input: (N, C, ...), or any shape with one weight; weight: (1,) or (C,), taken in input's dtype. Dtypes and
    out as for relu. Raises ValueError for a weight that does not fit. He, Zhang, Ren and Sun, 2015.
    """
    return _kernels.prelu(input, weight, out)


@general_way("prelu", like="input")
def _prelu(input: ArrayLike, weight: ArrayLike, out: Array | None) -> Array:
    x = arrays.ready("input", input)
    w = _prelu_weight(weight, x)
    if w.size == 1:
        return leaky_relu(x, float(w[0]), out=out)
    target = arrays.target_for(out, x.shape, x.dtype)
    (x,) = arrays.in_step((x,), target)
    w = arrays.apart(arrays.rounded(w, x.dtype), target)
    slopes = np.broadcast_to(w.reshape(-1, *(1,) * (x.ndim - 2)), x.shape)
    _kernels.map_arrays(_SLOPE, (target,), (x, slopes))
    return arrays.deliver(target, out)


@takes_tensors
def prelu_backward(
    dy: ArrayLike, input: ArrayLike, weight: ArrayLike, *, out: Array | None = None
) -> tuple[Array, Array]:
    """dx = dy where x > 0, else weight[c] dy; dweight[c] = the sum of dy x over channel c where x <= 0.

    dy, input: one shape, as for prelu; weight: (1,) or (C,); out: for dx. Returns (dx, dweight), dweight of
    weight's shape in input's dtype, summed in float64 in an order that does not depend on the threads. Raises
    ValueError for shapes that do not fit. He, Zhang, Ren and Sun, 2015.
    """
    (g, x), target = arrays.prepare((("dy", dy), ("input", input)), out)
    w = _prelu_weight(weight, x)
    dx = arrays.plain_target(target)
    w = arrays.apart(arrays.plain(arrays.rounded(w, x.dtype)), dx)
    g, x = arrays.plain(g), arrays.plain(x)
    dweight = _kernels.prelu_backward(g, x, w, dx, *blocks(x.shape, w.size))
    dweight = arrays.rounded(dweight, target.dtype).reshape(np.shape(weight))
    return arrays.deliver(arrays.deliver(dx, target), out), dweight


def bounds(lower: float, upper: float) -> tuple[float, float]:
    """RReLU's bounds as numbers; ValueError unless 0 <= lower <= upper <= 1."""
    low, high = arrays.real_number("lower", lower), arrays.real_number("upper", upper)
    if not 0 <= low <= high <= 1:
        raise ValueError(f"lower and upper must satisfy 0 <= lower <= upper <= 1, got {low} and {high}")
    return low, high


def forward_key(key: Key | None) -> Key:
    """The key of the forward call; ValueError without one."""
    if key is None:
        raise ValueError("key must be the key that the forward call drew its slopes from, got None")
    return as_key(key)


@takes_tensors
def rrelu(
    input: ArrayLike,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
    *,
    key: Key | None = None,
    out: Array | None = None,
) -> Array:
    """y = x where x > 0, else a x; a is (lower + upper) / 2, or in training drawn from (lower, upper).

    key: what the slopes are drawn from (fastnn.Generator.key()); give backward the same. None: the default
    generator's next. Element i (C order) takes 16-bit draw i % 8 of Philox block i // 8; the key's row is the
    place of input's first sample in a larger batch. Dtypes, inplace and out as for relu. Raises ValueError
    unless 0 <= lower <= upper <= 1. Xu, Wang, Chen and Li, 2015.
    """
    low, high = bounds(lower, upper)
    out = arrays.in_place(input, out) if inplace else out
    if not training:
        return leaky_relu(input, (low + high) / 2, out=out)
    inputs, target = arrays.prepare((("input", input),), out)
    _kernels.map_with_uniform(_SLOPE, (target,), inputs, given_or_next(key), low, high)
    return arrays.deliver(target, out)


@takes_tensors
def rrelu_backward(
    dy: ArrayLike,
    input: ArrayLike,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    *,
    key: Key | None = None,
    out: Array | None = None,
) -> Array:
    """dx = dy where x > 0, else a dy, with the slopes a of the forward call, drawn again from its key.

    dy, input, out as for relu_backward. Raises ValueError in training without the key, and unless
    0 <= lower <= upper <= 1. Xu, Wang, Chen and Li, 2015.
    """
    low, high = bounds(lower, upper)
    if not training:
        return leaky_relu_backward(dy, input, (low + high) / 2, out=out)
    drawn_with = forward_key(key)
    inputs, target = arrays.prepare((("dy", dy), ("input", input)), out)
    _kernels.map_with_uniform(_SLOPE_BACKWARD, (target,), inputs, drawn_with, low, high)
    return arrays.deliver(target, out)
