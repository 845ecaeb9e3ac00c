"""PReLU and RReLU: leaky ReLUs whose slope is learned or drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnn import _arrays, _kernels
from fastnn.functional.activation import leaky_relu, leaky_relu_backward
from fastnn.random import Key, as_key, default_generator

Array = NDArray[Any]

_SLOPE = _kernels.find_kernel("slope")
_SLOPE_BACKWARD = _kernels.find_kernel("slope_backward")


def _prelu_weight(weight: ArrayLike, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """The weight in the input's dtype, after its shape was checked against the input's."""
    array = _arrays.ready("weight", weight)
    channels = shape[1] if len(shape) > 1 else 1
    if array.ndim > 1 or array.size not in (1, channels):
        takes = "(1,)" if channels == 1 else f"(1,) or ({channels},), one for each of input's channels"
        raise ValueError(f"weight must have shape {takes}, got {array.shape}")
    return array.astype(dtype, copy=False).reshape(-1)


def prelu(input: ArrayLike, weight: ArrayLike, *, out: Array | None = None) -> Array:
    """y = x where x > 0, else weight[c] x, for the elements of channel c.

    input: (N, C, ...), or any shape with one weight; weight: (1,) or (C,), taken in input's dtype. Dtypes and
    out as for relu. Raises ValueError for a weight that does not fit. He, Zhang, Ren and Sun, 2015.
    """
    (x,), result = _arrays.prepare((("input", input),), out)
    w = _prelu_weight(weight, x.shape, x.dtype)
    if w.size == 1:
        return leaky_relu(x, float(w[0]), out=result)
    with _arrays.writing(result, (x, w)) as (target, (source, slopes)):
        along = slopes.reshape(-1, *(1,) * (x.ndim - 2))
        _kernels.map_arrays(_SLOPE, (target,), (source, np.broadcast_to(along, x.shape)))
    return result


def prelu_backward(
    dy: ArrayLike, input: ArrayLike, weight: ArrayLike, *, out: Array | None = None
) -> tuple[Array, Array]:
    """dx = dy where x > 0, else weight[c] dy; dweight[c] = the sum of dy x over channel c where x <= 0.

    dy, input: one shape, as for prelu; weight: (1,) or (C,); out: for dx. Returns (dx, dweight), dweight of
    weight's shape in input's dtype, summed in float64 in an order that does not depend on the threads. Raises
    ValueError for shapes that do not fit. He, Zhang, Ren and Sun, 2015.
    """
    (g, x), result = _arrays.prepare((("dy", dy), ("input", input)), out)
    w = _prelu_weight(weight, x.shape, x.dtype)
    computing = np.float64 if x.dtype == np.float64 else np.float32
    with _arrays.writing(result, (g, x, w)) as (target, sources):
        plain_dy, plain_x, plain_w = (np.require(source, computing, ["C", "A"]) for source in sources)
        plain = target.dtype == computing and target.flags.c_contiguous and target.flags.aligned
        dx = target if plain else np.empty(x.shape, computing)
        outer, inner = (1, x.size) if w.size == 1 else (x.shape[0], int(np.prod(x.shape[2:])))
        dweight = _kernels.prelu_backward(plain_dy, plain_x, plain_w, dx, outer, inner)
        if dx is not target:
            target[...] = dx
    return result, dweight.astype(x.dtype).reshape(np.shape(weight))


def _rrelu_bounds(lower: float, upper: float) -> tuple[float, float]:
    low, high = _arrays.real_number("lower", lower), _arrays.real_number("upper", upper)
    if not 0 <= low <= high <= 1:
        raise ValueError(f"lower and upper must satisfy 0 <= lower <= upper <= 1, got {low} and {high}")
    return low, high


def rrelu(
    input: ArrayLike,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    *,
    key: Key | None = None,
    out: Array | None = None,
) -> Array:
    """y = x where x > 0, else a x; a is (lower + upper) / 2, or in training drawn from (lower, upper).

    key: what the slopes are drawn from (fastnn.Generator.key()); give backward the same. None: the default
    generator's next. Element i (C order) takes word i % 4 of Philox block i // 4. Dtypes and out as for relu.
    Raises ValueError unless 0 <= lower <= upper <= 1. Xu, Wang, Chen and Li, 2015.
    """
    low, high = _rrelu_bounds(lower, upper)
    if not training:
        return leaky_relu(input, (low + high) / 2, out=out)
    inputs, result = _arrays.prepare((("input", input),), out)
    seed, offset = default_generator().key() if key is None else as_key(key)
    with _arrays.writing(result, inputs) as (target, sources):
        _kernels.map_with_uniform(_SLOPE, (target,), sources, seed, offset, low, high)
    return result


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
    low, high = _rrelu_bounds(lower, upper)
    if not training:
        return leaky_relu_backward(dy, input, (low + high) / 2, out=out)
    if key is None:
        raise ValueError("key must be the key that the forward call drew its slopes from, got None")
    seed, offset = as_key(key)
    inputs, result = _arrays.prepare((("dy", dy), ("input", input)), out)
    with _arrays.writing(result, inputs) as (target, sources):
        _kernels.map_with_uniform(_SLOPE_BACKWARD, (target,), sources, seed, offset, low, high)
    return result
