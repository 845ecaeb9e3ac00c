"""Activations that join several parts of their input: GLU, SwiGLU and Maxout."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnn import _kernels
from fastnn._core import arrays
from fastnn._core.dispatch import general_way, takes_tensors
from fastnn._core.typing import Array

__all__ = [
    "MaxoutSaved",
    "glu",
    "glu_backward",
    "maxout",
    "maxout_backward",
    "swiglu",
    "swiglu_backward",
]

_GLU, _GLU_BACKWARD = _kernels.find_kernel("glu"), _kernels.find_kernel("glu_backward")
_SWIGLU, _SWIGLU_BACKWARD = _kernels.find_kernel("swiglu"), _kernels.find_kernel("swiglu_backward")


def even_axis(shape: tuple[int, ...], dim: int) -> int:
    """`dim` as an axis >= 0 along which an array of this shape can be halved."""
    axis = arrays.axis(dim, len(shape))
    if shape[axis] % 2:
        got = f"got shape {shape}"
        raise ValueError(f"input must have an even length along dim {dim} to be halved, {got}")
    return axis


def _halves(array: Array, axis: int) -> tuple[Array, Array]:
    """Two views: the first and the second half along the axis."""
    before, half = (slice(None),) * axis, array.shape[axis] // 2
    return array[(*before, slice(half))], array[(*before, slice(half, None))]


@general_way("gated", like="input")
def _gated(kernel: int, input: ArrayLike, dim: int, out: Array | None) -> Array:
    x = arrays.ready("input", input)
    halves = _halves(x, even_axis(x.shape, dim))
    target = arrays.target_for(out, halves[0].shape, x.dtype)
    _kernels.map_arrays(kernel, (target,), arrays.in_step(halves, target))
    return arrays.deliver(target, out)


@general_way("gated_backward", like="dy")
def _gated_backward(kernel: int, dy: ArrayLike, input: ArrayLike, dim: int, out: Array | None) -> Array:
    x, g = arrays.ready("input", input), arrays.ready("dy", dy)
    axis = even_axis(x.shape, dim)
    arrays.check_dy(g.shape, _halves(x, axis)[0].shape)
    dtype = arrays.common_dtype((("dy", g), ("input", x)))
    target = arrays.target_for(out, x.shape, dtype)
    x, g = arrays.in_step((x.astype(dtype, copy=False), g.astype(dtype, copy=False)), target)
    _kernels.map_arrays(kernel, _halves(target, axis), (g, *_halves(x, axis)))
    return arrays.deliver(target, out)


def glu(input: ArrayLike, dim: int = -1, *, out: Array | None = None) -> Array:
    """y = a sigmoid(b), where a and b are the first and second half of the input along dim.

    Dtypes as for relu; out has half the input's length along dim. Raises ValueError for an odd length or a
    dim that the input does not have. Dauphin, Fan, Auli and Grangier, 2017.
    """
    return _kernels.gated(_GLU, input, dim, out)


def glu_backward(dy: ArrayLike, input: ArrayLike, dim: int = -1, *, out: Array | None = None) -> Array:
    """da = dy sigmoid(b), db = dy a sigmoid(b) (1 - sigmoid(b)); dx holds them as the input holds a and b.

    dy: half the input's length along dim; out: the input's shape, and the input itself is allowed. Raises
    ValueError for shapes that do not fit. Dauphin, Fan, Auli and Grangier, 2017.
    """
    return _kernels.gated_backward(_GLU_BACKWARD, dy, input, dim, out)


def swiglu(input: ArrayLike, dim: int = -1, *, out: Array | None = None) -> Array:
    """y = silu(a) b, where a and b are the first and second half of the input along dim.

    Dtypes as for relu; out has half the input's length along dim. Raises ValueError for an odd length or a
    dim that the input does not have. Shazeer, 2020.
    """
    return _kernels.gated(_SWIGLU, input, dim, out)


def swiglu_backward(dy: ArrayLike, input: ArrayLike, dim: int = -1, *, out: Array | None = None) -> Array:
    """da = dy b silu'(a), db = dy silu(a); dx holds da and db as the input holds a and b.

    dy: half the input's length along dim; out: the input's shape, and the input itself is allowed. Raises
    ValueError for shapes that do not fit. Shazeer, 2020.
    """
    return _kernels.gated_backward(_SWIGLU_BACKWARD, dy, input, dim, out)


class MaxoutSaved(NamedTuple):
    """What maxout keeps for its backward: which piece won, in ceil(log2 k) bits an element."""

    winners: NDArray[np.uint8]  # bit planes, least significant first: (bits, (elements + 7) // 8)
    k: int
    dim: int
    shape: tuple[int, ...]  # the input's


def blocks(shape: tuple[int, ...], k: int, axis: int) -> tuple[int, int, int, int]:
    """The input as (outer, groups, k, inner)."""
    return math.prod(shape[:axis]), shape[axis] // k, k, math.prod(shape[axis + 1 :])


def best_shape(shape: tuple[int, ...], k: int, axis: int) -> tuple[int, ...]:
    """The shape of maxout's result."""
    return (*shape[:axis], shape[axis] // k, *shape[axis + 1 :])


def check_saved(saved: object) -> None:
    """Raise TypeError unless it is what maxout returned."""
    if not isinstance(saved, MaxoutSaved):
        raise TypeError(f"saved must be the MaxoutSaved that maxout returned, got {type(saved).__name__}")


def check_pieces(k: int, length: int, dim: int) -> int:
    """k as an integer that divides the length."""
    return arrays.divisor("k", k, length, f"the input's length along dim {dim}, {length}")


@takes_tensors
def maxout(input: ArrayLike, k: int, dim: int = 1, *, out: Array | None = None) -> tuple[Array, MaxoutSaved]:
    """y[c] = max over j < k of x[c k + j], along dim: each unit is the best of k neighbouring linear pieces.

    Dtypes as for relu; out has the input's shape with dim's length divided by k. Returns (y, saved), saved
    for maxout_backward. The first of equal pieces wins, and NaN wins over numbers. Raises ValueError unless k
    divides the length along dim. Goodfellow, Warde-Farley, Mirza, Courville and Bengio, 2013.
    """
    x = arrays.ready("input", input)
    axis = arrays.axis(dim, x.ndim)
    k = check_pieces(k, x.shape[axis], dim)
    shape = best_shape(x.shape, k, axis)
    target = arrays.target_for(out, shape, x.dtype)
    y = arrays.plain_target(target)
    winners = np.empty(((k - 1).bit_length(), (y.size + 7) // 8), np.uint8)
    _kernels.maxout(arrays.apart(arrays.plain(x), y), y, winners, *blocks(x.shape, k, axis))
    return arrays.deliver(arrays.deliver(y, target), out), MaxoutSaved(winners, k, axis, x.shape)


@takes_tensors
def maxout_backward(dy: ArrayLike, saved: MaxoutSaved, *, out: Array | None = None) -> Array:
    """dx = dy for the piece that won, 0 for the others.

    dy: the shape of maxout's y; saved: what maxout returned; out: the input's shape, dy's dtype. Raises
    ValueError for shapes that do not fit. Goodfellow, Warde-Farley, Mirza, Courville and Bengio, 2013.
    """
    check_saved(saved)
    g = arrays.ready("dy", dy)
    arrays.check_dy(g.shape, best_shape(saved.shape, saved.k, saved.dim))
    target = arrays.target_for(out, saved.shape, g.dtype)
    dx = arrays.plain_target(target)
    g = arrays.apart(arrays.plain(g), dx)
    _kernels.maxout_backward(g, saved.winners, dx, *blocks(saved.shape, saved.k, saved.dim))
    return arrays.deliver(arrays.deliver(dx, target), out)
