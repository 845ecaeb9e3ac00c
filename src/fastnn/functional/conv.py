"""Convolution of images and lines: what does not fit is said here, what is not plain made so for kernels."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from fastnn import _kernels
from fastnn._core import arrays
from fastnn._core.dispatch import takes_tensors
from fastnn._core.typing import Array

__all__ = [
    "conv1d",
    "conv1d_backward",
    "conv2d",
    "conv2d_backward",
]

Pair = int | Sequence[int]
# Of rows or columns: (image size, windows, taps, stride, index of the first window's first tap, dilation).
Axis = tuple[int, int, int, int, int, int]
MOST = 2**31  # no number of a window is as large, so that sums of a few fit
MOST_PADDED = 2**48  # nor an input with its padding, so that its bytes can be counted


class Shaped(Protocol):
    """What checks need of an array, of the CPU's memory or a GPU's."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its lengths."""


def pair(name: str, value: Pair, least: int) -> tuple[int, int]:
    """A number for rows and one for columns, each at least `least`."""
    try:
        numbers = (
            tuple(map(operator.index, value)) if isinstance(value, Sequence) else (operator.index(value),)
        )
    except TypeError:
        numbers = ()
    if len(numbers) == 1:
        numbers *= 2
    if len(numbers) != 2:
        raise TypeError(f"{name} must be an integer or two, got {value!r}")
    if min(numbers) < least:
        raise ValueError(f"{name} must be at least {least}, got {value!r}")
    if max(numbers) >= MOST:
        raise ValueError(f"{name} must be below 2^31, got {value!r}")
    return numbers[0], numbers[1]


def single(name: str, value: Pair, least: int) -> int:
    """A number for columns, of what has one row."""
    if isinstance(value, Sequence) and len(value) != 1:
        raise TypeError(f"{name} must be an integer, got {value!r}")
    return pair(name, value, least)[1]


def as_rows(name: str, value: Any, form: str, *dims: int) -> Any:
    """An array of lines, (..., L), as one of images with one row; ValueError for another number of axes."""
    array = value if hasattr(value, "shape") else arrays.as_array(name, value)
    if len(array.shape) not in dims:
        raise ValueError(f"{name} must have shape {form}, got {tuple(array.shape)}")
    return array[..., None, :]


def lines_of(images: Any, out: Any) -> Any:
    """The lines of images with one row; `out` itself where they were written to it."""
    return images[..., 0, :] if out is None else out


def as_out(out: Any) -> Any:
    """Lines to write to, as images with one row; what is no array stays, and is refused where it is used."""
    return out[..., None, :] if len(getattr(out, "shape", ())) > 1 else out


def paddings(
    padding: Pair | str, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[tuple[int, int]]:
    """(before, after) of rows and columns."""
    if not isinstance(padding, str):
        return [(p, p) for p in pair("padding", padding, 0)]
    if padding == "valid":
        return [(0, 0), (0, 0)]
    if padding != "same":
        raise ValueError(f"padding must be 'same', 'valid', an integer or two, got {padding!r}")
    if any(step != 1 for step in stride):
        raise ValueError(f"padding='same' takes a stride of 1, got {tuple(stride)}")
    missing = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return [(m // 2, m - m // 2) for m in missing]


def _check_channels(x: Shaped, weight: Shaped, groups: int) -> None:
    if len(weight.shape) != 4:
        raise ValueError(f"weight must have 4 dimensions (O, C / groups, kH, kW), got shape {weight.shape}")
    if len(x.shape) not in (3, 4):
        raise ValueError(f"input must have shape (N, C, H, W) or (C, H, W), got {x.shape}")
    if not arrays.is_whole(groups):
        raise TypeError(f"groups must be an integer, got {type(groups).__name__}")
    if groups < 1 or weight.shape[0] % groups:
        raise ValueError(
            f"groups must be at least 1 and divide weight's {weight.shape[0]} outputs, got {groups}"
        )
    if x.shape[-3] != weight.shape[1] * groups:
        channels = weight.shape[1] * groups
        last = "; the channels seem to be last: np.moveaxis(x, -1, -3) puts them first"
        raise ValueError(
            f"input must have {channels} channels (weight has {weight.shape[1]} for each of {groups} groups),"
            f" got shape {x.shape}{last if x.shape[-1] == channels else ''}"
        )


def _windows(
    x: Shaped, weight: Shaped, stride: Pair, padding: Pair | str, dilation: Pair, groups: int
) -> tuple[Axis, Axis]:
    """The windows of rows and columns, after everything was checked."""
    _check_channels(x, weight, groups)
    kernel, size = weight.shape[2:], x.shape[-2:]
    if min(kernel) < 1:
        raise ValueError(f"weight must have at least 1 row and column, got shape {weight.shape}")
    strides, dilations = pair("stride", stride, 1), pair("dilation", dilation, 1)
    around = paddings(padding, kernel, strides, dilations)
    axes: list[Axis] = []
    for n, k, s, (before, after), d in zip(size, kernel, strides, around, dilations, strict=True):
        room = n + before + after - d * (k - 1) - 1
        if room < 0:
            raise ValueError(
                f"input must be at least as large as the kernel, got {size} with padding {padding!r} for a"
                f" kernel of {kernel} with dilation {dilations}"
            )
        axes.append((n, room // s + 1, k, s, -before, d))
    padded = [n + before + after for n, (before, after) in zip(size, around, strict=True)]
    if math.prod(max(n, 1) for n in (*x.shape[:-2], *padded)) >= MOST_PADDED:  # NumPy counts a 0 as 1, too
        raise ValueError(
            f"padding must leave input with fewer than 2^48 elements, got {padding!r} for shape {x.shape}"
        )
    return axes[0], axes[1]


def _check_bias(weight: Shaped, bias: Shaped | None) -> None:
    outputs = weight.shape[:1]
    if bias is not None and bias.shape != outputs:
        raise ValueError(f"bias must have shape {outputs}, one for each output, got {bias.shape}")


@takes_tensors
def conv2d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
    *,
    out: Array | None = None,
) -> Array:
    """y = sum of weight[o, c, i, j] x[c, stride p - padding + dilation i, ...] over c, i, j, plus bias[o].

    input: (N, C, H, W) or (C, H, W); weight: (O, C / groups, kH, kW), the outputs and channels of group g
    being the g-th of `groups` equal parts; bias: (O,). stride, padding, dilation: an integer, or one for rows
    and one for columns; padding is with zeros, and may be 'valid' (none) or 'same' (as many results as there
    are elements, for a stride of 1; one more behind than before, if it is odd). Dtypes and out as for relu;
    all are computed in the dtype they promote to.

    The work is cut into blocks of images, each of which is padded in a workspace of a thread: 192 KB, or the
    taps of 48 windows if that is more; with as much again for results at most, and one copy of the weights.
    Raises ValueError for shapes and parameters that do not fit. LeCun et al., "Gradient-based learning
    applied to document recognition", 1998.
    """
    named = [("input", arrays.ready("input", input)), ("weight", arrays.ready("weight", weight))]
    if bias is not None:
        named.append(("bias", arrays.ready("bias", bias)))
    x, w = named[0][1], named[1][1]
    rows, columns = _windows(x, w, stride, padding, dilation, groups)
    _check_bias(w, None if bias is None else named[2][1])
    dtype = arrays.common_dtype(named)
    target = arrays.target_for(out, (*x.shape[:-3], w.shape[0], rows[1], columns[1]), dtype)
    place = arrays.plain_target(target)
    ready = [_plain(array, dtype, place) for _, array in named]
    images = ready[0][np.newaxis] if x.ndim == 3 else ready[0]
    _kernels.convolve(
        images, ready[1], ready[2] if bias is not None else None, place, groups, (rows, columns)
    )
    return arrays.deliver(arrays.deliver(place, target), out)


def _plain(array: Array, dtype: np.dtype[Any], place: Array) -> Array:
    """`array` as a plain one of the computing dtype, apart from where the result is written."""
    return arrays.apart(arrays.plain(array.astype(dtype, copy=False)), place)


@takes_tensors
def conv2d_backward(
    dy: ArrayLike,
    input: ArrayLike,
    weight: ArrayLike,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
    *,
    needs_input: bool = True,
    needs_weight: bool = True,
    needs_bias: bool = True,
) -> tuple[Array | None, Array | None, Array | None]:
    """dx = the sum of weight[o, c, i, j] dy[o, p] over the o, i, j, p with which x[c] has a part in y[o, p].

    dweight[o, c, i, j] is the sum of dy[o, p] x[c, stride p - padding + dilation i, ...] over samples and p,
    dbias[o] that of dy[o, p]; blocks of them are summed in the computing dtype and then in double, in an
    order that does not depend on the threads. dy: the result's shape; input, weight, stride, padding,
    dilation and groups as for conv2d. Returns (dx, dweight, dbias) in the dtype the three promote to, with
    None for what needs_input, needs_weight and needs_bias say is not wanted. An infinity or NaN in a channel
    of the input makes NaN of all of dweight for that channel. Raises ValueError for shapes and parameters
    that do not fit.
    """
    named = [(n, arrays.ready(n, a)) for n, a in (("dy", dy), ("input", input), ("weight", weight))]
    (_, g), (_, x), (_, w) = named
    rows, columns = _windows(x, w, stride, padding, dilation, groups)
    arrays.check_dy(g.shape, (*x.shape[:-3], w.shape[0], rows[1], columns[1]))
    dtype = arrays.common_dtype(named)
    g, x, w = (arrays.plain(array.astype(dtype, copy=False)) for _, array in named)
    images = x[np.newaxis] if x.ndim == 3 else x
    wanted = (needs_input, x.shape), (needs_weight, w.shape), (needs_bias, w.shape[:1])
    dx, dweight, dbias = (_kernels.empty(shape, x.dtype) if needed else None for needed, shape in wanted)
    _kernels.convolve_backward(g, images, w, dx, dweight, dbias, groups, (rows, columns))
    dx, dweight, dbias = (r if r is None else arrays.rounded(r, dtype) for r in (dx, dweight, dbias))
    return dx, dweight, dbias


# ---- lines -------------------------------------------------------------------------------------------------

_LINES = "(N, C, L) or (C, L)"
_TAPS = "(O, C / groups, k)"


def _columns(stride: Pair, padding: Pair | str, dilation: Pair) -> tuple[Any, Any, Any]:
    """stride, padding and dilation of images with one row."""
    around = padding if isinstance(padding, str) else (0, single("padding", padding, 0))
    return (1, single("stride", stride, 1)), around, (1, single("dilation", dilation, 1))


@takes_tensors
def conv1d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
    *,
    out: Array | None = None,
) -> Array:
    """y = sum of weight[o, c, i] x[c, stride p - padding + dilation i] over c and i, plus bias[o].

    input: (N, C, L) or (C, L); weight: (O, C / groups, k); bias: (O,). It is conv2d of images with one row,
    without a copy; all else is as there. Raises ValueError for shapes and parameters that do not fit.
    """
    x, w = as_rows("input", input, _LINES, 2, 3), as_rows("weight", weight, _TAPS, 3)
    numbers = _columns(stride, padding, dilation)
    return lines_of(conv2d(x, w, bias, *numbers, groups, out=as_out(out)), out)  # type: ignore[no-any-return]


@takes_tensors
def conv1d_backward(
    dy: ArrayLike,
    input: ArrayLike,
    weight: ArrayLike,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
    *,
    needs_input: bool = True,
    needs_weight: bool = True,
    needs_bias: bool = True,
) -> tuple[Array | None, Array | None, Array | None]:
    """dx = the sum of weight[o, c, i] dy[o, p] over the o, i, p with which x[c] has a part in y[o, p].

    dy: the result's shape; input, weight, stride, padding, dilation and groups as for conv1d; needs_input,
    needs_weight and needs_bias, and the result, (dx, dweight, dbias), as for conv2d_backward. Raises
    ValueError for shapes and parameters that do not fit.
    """
    g, x = as_rows("dy", dy, _LINES, 2, 3), as_rows("input", input, _LINES, 2, 3)
    w = as_rows("weight", weight, _TAPS, 3)
    numbers = _columns(stride, padding, dilation)
    wanted = {"needs_input": needs_input, "needs_weight": needs_weight, "needs_bias": needs_bias}
    dx, dweight, dbias = conv2d_backward(g, x, w, *numbers, groups, **wanted)
    lines = (None if images is None else images[..., 0, :] for images in (dx, dweight))
    return *lines, dbias  # type: ignore[return-value]
