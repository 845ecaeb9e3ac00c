"""Pooling of images and lines: the largest or the mean element of windows, or of regions of any size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnn import _kernels
from fastnn._core import arrays
from fastnn._core.dispatch import takes_tensors
from fastnn._core.typing import Array
from fastnn.functional.conv import Axis, Pair, Shaped, as_out, as_rows, lines_of, pair, single
from fastnn.random import Key, given_or_next, row_in_stream

__all__ = [
    "RegionsSaved",
    "WindowsSaved",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_backward",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_backward",
    "avg_pool1d",
    "avg_pool1d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "fractional_max_pool2d",
    "fractional_max_pool2d_backward",
    "max_pool1d",
    "max_pool1d_backward",
    "max_pool2d",
    "max_pool2d_backward",
]

MOST_TAPS = 2**24  # of a window: what float32, which the kernels number them by, counts to
Bounds = tuple[NDArray[np.int64], NDArray[np.int64]]  # where regions begin and end, of rows or columns


class WindowsSaved(NamedTuple):
    """What max_pool2d and avg_pool2d keep for their backward; of lines, for images with one row."""

    shape: tuple[int, ...]  # the input's
    argmax: Array | None  # max: which tap of its window each element of y is
    divisors: tuple[Array, Array] | None  # mean: of rows and columns of windows
    windows: tuple[Axis, Axis]

    def indices(self) -> Array:
        """Where each element of max pooling's y is in its plane of x, row by row, as torch counts."""
        rows, columns = self.windows
        top, left = (axis[4] + axis[3] * np.arange(axis[1]) for axis in self.windows)
        apart = rows[5], columns[5]
        return cast("Array", plane_indices(largest_of(self.argmax), top, left, columns[2], apart, columns[0]))


class RegionsSaved(NamedTuple):
    """What adaptive pooling and fractional_max_pool2d keep for their backward."""

    shape: tuple[int, ...]  # the input's
    argmax: Array | None  # max: which element of its region each element of y is
    regions: tuple[Bounds, Bounds]  # of rows and columns, for all images or each of them

    def indices(self) -> Array:
        """Where each element of max pooling's y is in its plane of x, row by row, as torch counts."""
        number, planes = largest_of(self.argmax), self.shape[:-2]
        top, left, right = (
            bound if bound.ndim == 1 else np.reshape(bound, (*planes, bound.shape[-1]))
            for bound in (self.regions[0][0], *self.regions[1])
        )
        taps = (right - left)[..., None, :]
        return cast("Array", plane_indices(number, top, left, taps, (1, 1), self.shape[-1]))


def largest_of(argmax: Any) -> Any:
    """The numbers of elements in windows, which max pooling keeps; ValueError for mean pooling."""
    if argmax is None:
        raise ValueError("indices must be asked of max pooling, got mean pooling")
    return argmax.astype(np.int64)


def plane_indices(number: Any, top: Any, left: Any, taps: Any, apart: tuple[int, int], width: int) -> Any:
    """The indices in a plane of the elements of these numbers in windows that begin at top and left.

    taps: how many elements a window has in a row; apart: their distances; width: a plane's columns.
    """
    row, column = number // taps, number % taps
    return (top[..., :, None] + apart[0] * row) * width + left[..., None, :] + apart[1] * column


# ---- what all of them share --------------------------------------------------------------------------------


def _images(input: ArrayLike) -> Array:
    x = arrays.ready("input", input)
    _check_images(x)
    return x


def _check_images(x: Shaped) -> None:
    if len(x.shape) not in (3, 4):
        raise ValueError(f"input must have shape (N, C, H, W) or (C, H, W), got {x.shape}")


def _argmax_dtype(taps: int) -> str:
    """Of a number below `taps` for each result."""
    return "uint8" if taps <= 256 else "uint32"


def _compute(
    run: Callable[[Array, Array], None], x: Array, shape: tuple[int, ...], out: Array | None
) -> Array:
    """`run` from x to a result of this shape, on plain arrays."""
    target = arrays.target_for(out, shape, x.dtype)
    place = arrays.plain_target(target)
    run(arrays.apart(arrays.plain(x), place), place)
    return arrays.deliver(arrays.deliver(place, target), out)


def _backward(dy: ArrayLike, saved: WindowsSaved | RegionsSaved, out: Array | None) -> Array:
    if not isinstance(saved, (WindowsSaved, RegionsSaved)):
        raise TypeError(f"saved must be what forward returned beside y, got {type(saved).__name__}")
    if isinstance(saved, WindowsSaved):
        places = tuple(axis[1] for axis in saved.windows)
    else:
        places = tuple(begin.shape[-1] for begin, _ in saved.regions)
    g, shape, images = arrays.ready("dy", dy), saved.shape, math.prod(saved.shape[:-2])
    arrays.check_dy(g.shape, (*shape[:-2], *places))

    def run(g: Array, dx: Array) -> None:
        if isinstance(saved, WindowsSaved):
            _kernels.pool_backward(g, dx, saved.argmax, saved.divisors, images, saved.windows)
        else:
            _kernels.pool_regions_backward(g, dx, saved.argmax, images, (shape[-2], shape[-1]), saved.regions)

    return _compute(run, g, shape, out)


# ---- windows -----------------------------------------------------------------------------------------------


def _places(size: int, taps: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """How many windows there are along an axis."""
    room = size + 2 * padding - dilation * (taps - 1) - 1
    places = (-(-room // stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (places - 1) * stride >= size + padding:
        places -= 1  # the last window would begin in the padding behind the image
    return places


def window_numbers(
    kernel_size: Pair, stride: Pair | None, padding: Pair, dilation: Pair = 1
) -> list[tuple[int, int, int, int]]:
    """(taps, stride, padding, dilation) of rows and columns, after they were checked."""
    kernel = pair("kernel_size", kernel_size, 1)
    strides = kernel if stride is None else pair("stride", stride, 1)
    rest = pair("padding", padding, 0), pair("dilation", dilation, 1)
    numbers = list(zip(kernel, strides, *rest, strict=True))
    if math.prod(kernel) > MOST_TAPS:
        raise ValueError(f"kernel_size must have at most 2^24 elements, got {kernel_size}")
    if any(2 * p > k for k, _, p, _ in numbers):
        raise ValueError(f"padding must be at most half of kernel_size {kernel_size}, got {padding}")
    return numbers


def _windows(
    x: Shaped, kernel_size: Pair, stride: Pair | None, padding: Pair, dilation: Pair, ceil_mode: bool
) -> tuple[Axis, Axis]:
    """The windows of rows and columns, after everything was checked."""
    axes: list[Axis] = []
    for n, numbers in zip(x.shape[-2:], window_numbers(kernel_size, stride, padding, dilation), strict=True):
        places = _places(n, *numbers, ceil_mode)
        if n == 0 or places < 1:
            raise ValueError(f"input must have room for a window of {kernel_size}, got shape {x.shape}")
        taps, step, before, apart = numbers
        axes.append((n, places, taps, step, -before, apart))
    return axes[0], axes[1]


def _pool_windows(
    x: Array, windows: tuple[Axis, Axis], divisors: tuple[Array, Array] | None, out: Array | None
) -> tuple[Array, WindowsSaved]:
    """The maximum of each window; or its sum, divided by the product of its row's and column's divisors."""
    rows, columns = windows
    shape = (*x.shape[:-2], rows[1], columns[1])
    argmax = _kernels.empty(shape, _argmax_dtype(rows[2] * columns[2])) if divisors is None else None
    images = math.prod(x.shape[:-2])
    y = _compute(lambda x, y: _kernels.pool(x, y, argmax, divisors, images, windows), x, shape, out)
    return y, WindowsSaved(x.shape, argmax, divisors, windows)


@takes_tensors
def max_pool2d(
    input: ArrayLike,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    *,
    out: Array | None = None,
) -> tuple[Array, WindowsSaved]:
    """y = the largest element of each window; NaN if it has one.

    input: (N, C, H, W) or (C, H, W). kernel_size, stride (None: kernel_size), padding and dilation: an
    integer, or one for rows and one for columns; the padding is -infinity, and at most half of a window. With
    ceil_mode the last windows may reach beyond the image. Dtypes and out as for relu. Returns (y, saved),
    saved for max_pool2d_backward: a byte for each result says which element it is (four bytes in windows of
    more than 256), of equal ones the first, of NaNs the last; saved.indices() has torch's indices. Raises
    ValueError for shapes and parameters that do not fit.
    """
    x = _images(input)
    return _pool_windows(x, _windows(x, kernel_size, stride, padding, dilation, ceil_mode), None, out)


@takes_tensors
def max_pool2d_backward(dy: ArrayLike, saved: WindowsSaved, *, out: Array | None = None) -> Array:
    """dx = the sum of dy over the windows of which x is the largest element.

    dy: the result's shape; saved: what max_pool2d returned; out: for dx. dx has the dtype of dy. The sum is
    in the order of a window's elements. Raises ValueError for a shape that does not fit.
    """
    return _backward(dy, saved, out)


def _counts(axis: Axis, count_include_pad: bool) -> Array:
    """How many elements windows have along an axis."""
    size, places, taps, stride, start, _ = axis
    begin = start + stride * np.arange(places)
    if count_include_pad:
        return np.minimum(begin + taps, size - start) - begin.astype(np.float64)
    return np.minimum(begin + taps, size) - np.maximum(begin, 0).astype(np.float64)


def _override(divisor: float | None) -> float | None:
    """divisor_override, after it was checked."""
    if divisor is None:
        return None
    number = arrays.real_number("divisor_override", divisor)
    if number == 0:
        raise ValueError("divisor_override must not be 0")
    return number


@takes_tensors
def avg_pool2d(
    input: ArrayLike,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    out: Array | None = None,
) -> tuple[Array, WindowsSaved]:
    """y = the sum of each window, divided by the number of its elements.

    input, kernel_size, stride, padding, ceil_mode and out as for max_pool2d; the padding is 0. It counts as
    elements unless count_include_pad is False; what ceil_mode adds beyond it never does. divisor_override is
    divided by instead. Returns (y, saved), saved for avg_pool2d_backward. Raises ValueError for shapes and
    parameters that do not fit.
    """
    x = _images(input)
    windows = _windows(x, kernel_size, stride, padding, 1, ceil_mode)
    rows, columns = (_counts(axis, count_include_pad) for axis in windows)
    if (divisor := _override(divisor_override)) is not None:
        rows, columns = np.full_like(rows, divisor), np.ones_like(columns)
    return _pool_windows(x, windows, (rows, columns), out)


@takes_tensors
def avg_pool2d_backward(dy: ArrayLike, saved: WindowsSaved, *, out: Array | None = None) -> Array:
    """dx = the sum of dy / divisor over the windows that x is in.

    dy: the result's shape; saved: what avg_pool2d returned; out: for dx. dx has the dtype of dy. Raises
    ValueError for a shape that does not fit.
    """
    return _backward(dy, saved, out)


# ---- regions -----------------------------------------------------------------------------------------------


def _pool_regions(
    x: Array, regions: tuple[Bounds, Bounds], argmax: Array | None, out: Array | None
) -> tuple[Array, RegionsSaved]:
    shape = (*x.shape[:-2], *(begin.shape[-1] for begin, _ in regions))
    images, size = math.prod(x.shape[:-2]), (x.shape[-2], x.shape[-1])
    y = _compute(lambda x, y: _kernels.pool_regions(x, y, argmax, images, size, regions), x, shape, out)
    return y, RegionsSaved(x.shape, argmax, regions)


def adaptive_numbers(output_size: int | Sequence[int | None] | None) -> tuple[int | None, int | None]:
    """output_size as a pair, after it was checked."""
    wanted = tuple(output_size) if isinstance(output_size, Sequence) else (output_size, output_size)
    if len(wanted) != 2:
        raise TypeError(f"output_size must be an integer or None, or two, got {output_size!r}")
    rows, columns = (n if n is None else pair("output_size", n, 1)[0] for n in wanted)
    return rows, columns


def _adaptive_places(x: Shaped, output_size: int | Sequence[int | None] | None) -> tuple[int, int]:
    """How many rows and columns of regions there are."""
    if 0 in x.shape[-2:]:
        raise ValueError(f"input must have rows and columns, got shape {x.shape}")
    rows, columns = adaptive_numbers(output_size)
    places = x.shape[-2] if rows is None else rows, x.shape[-1] if columns is None else columns
    if math.prod(max(n, 1) for n in (*x.shape[:-2], *places)) >= 2**47:  # NumPy counts a 0 as 1, too
        raise ValueError(f"output_size must leave fewer than 2**47 results, got {places} for {x.shape}")
    return places


def _adaptive_bounds(size: int, places: int) -> Bounds:
    i = np.arange(places, dtype=np.int64)
    return i * size // places, -(-(i + 1) * size // places)


@takes_tensors
def adaptive_avg_pool2d(
    input: ArrayLike, output_size: int | Sequence[int | None] | None, *, out: Array | None = None
) -> tuple[Array, RegionsSaved]:
    """y = the mean of rows floor(i H / oH) to ceil((i + 1) H / oH) - 1, and of columns likewise.

    input: (N, C, H, W) or (C, H, W); output_size: (oH, oW), or one number for both; None is the input's.
    Dtypes and out as for relu. Returns (y, saved), saved for adaptive_avg_pool2d_backward. Raises ValueError
    for shapes and parameters that do not fit.
    """
    x = _images(input)
    rows, columns = _adaptive_places(x, output_size)
    if out is None:  # before the bounds, which take long where there is no memory for the result
        out = _kernels.empty((*x.shape[:-2], rows, columns), x.dtype)
    bounds = _adaptive_bounds(x.shape[-2], rows), _adaptive_bounds(x.shape[-1], columns)
    return _pool_regions(x, bounds, None, out)


@takes_tensors
def adaptive_avg_pool2d_backward(dy: ArrayLike, saved: RegionsSaved, *, out: Array | None = None) -> Array:
    """dx = the sum of dy / (elements of the region) over the regions that x is in.

    dy: the result's shape; saved: what adaptive_avg_pool2d returned; out: for dx. dx has the dtype of dy.
    Raises ValueError for a shape that does not fit.
    """
    return _backward(dy, saved, out)


@takes_tensors
def adaptive_max_pool2d(
    input: ArrayLike, output_size: int | Sequence[int | None] | None, *, out: Array | None = None
) -> tuple[Array, RegionsSaved]:
    """y = the largest element of each region of adaptive_avg_pool2d; NaN if it has one.

    input, output_size, dtypes and out as there. Returns (y, saved), saved for adaptive_max_pool2d_backward;
    which of equal elements it is, and saved.indices(), are as for max_pool2d. Raises ValueError for shapes
    and parameters that do not fit.
    """
    x = _images(input)
    rows, columns = _adaptive_places(x, output_size)
    argmax = _kernels.empty((*x.shape[:-2], rows, columns), _argmax_dtype(adaptive_taps(x, (rows, columns))))
    bounds = _adaptive_bounds(x.shape[-2], rows), _adaptive_bounds(x.shape[-1], columns)
    return _pool_regions(x, bounds, argmax, out)


def adaptive_taps(x: Shaped, places: tuple[int, int]) -> int:
    """The elements of the largest region."""
    most = math.prod(-(-size // n) + 1 for size, n in zip(x.shape[-2:], places, strict=True))
    if most > 2**32:
        raise ValueError(f"input must have regions of at most 2^32 elements, got shape {x.shape}")
    return most


@takes_tensors
def adaptive_max_pool2d_backward(dy: ArrayLike, saved: RegionsSaved, *, out: Array | None = None) -> Array:
    """dx = the sum of dy over the regions of which x is the largest element.

    dy: the result's shape; saved: what adaptive_max_pool2d returned; out: for dx. dx has the dtype of dy.
    Raises ValueError for a shape that does not fit.
    """
    return _backward(dy, saved, out)


def fractional_numbers(
    output_size: Pair | None, output_ratio: float | Sequence[float] | None
) -> tuple[tuple[int, int] | None, tuple[float, float] | None]:
    """output_size or output_ratio as a pair, after they were checked; the other is None."""
    if (output_size is None) == (output_ratio is None):
        raise ValueError(
            f"one of output_size and output_ratio must be given, got {output_size} and {output_ratio}"
        )
    if output_ratio is None:
        assert output_size is not None
        return pair("output_size", output_size, 1), None
    ratios = tuple(output_ratio) if isinstance(output_ratio, Sequence) else (output_ratio, output_ratio)
    numbers = [arrays.real_number("output_ratio", ratio) for ratio in ratios]
    if len(numbers) != 2 or not all(0 < ratio < 1 for ratio in numbers):
        raise ValueError(f"output_ratio must be in (0, 1), or two such numbers, got {output_ratio!r}")
    return None, (numbers[0], numbers[1])


def _fractional_places(
    x: Shaped, kernel: tuple[int, int], size: tuple[int, int] | None, ratio: tuple[float, float] | None
) -> tuple[int, int]:
    """How many rows and columns of windows there are."""
    if ratio is not None:
        size = int(x.shape[-2] * ratio[0]), int(x.shape[-1] * ratio[1])
    assert size is not None
    for n, k, places in zip(x.shape[-2:], kernel, size, strict=True):
        if not 1 <= places <= n - k + 1:
            raise ValueError(
                f"input must have room for {size} windows that begin at different rows and columns, with"
                f" kernel_size {kernel}, got shape {x.shape}"
            )
    return size


def _starts(u: Array, size: int, places: int, taps: int) -> NDArray[np.int64]:
    """Where the windows of each image begin: (images, places), from u of shape (images,)."""
    alpha = (size - taps) / max(places - 1, 1)
    starts: Array = np.floor((np.arange(places) + u[:, None]) * alpha) - np.floor(u[:, None] * alpha)
    starts[:, -1] = size - taps
    return starts.astype(np.int64)


def _fractional_bounds(
    x: Shaped, kernel: tuple[int, int], places: tuple[int, int], key: Key | None
) -> tuple[Bounds, Bounds]:
    """Where the windows of each image are, drawn by the key."""
    images, channels = math.prod(x.shape[:-2]), x.shape[-3]
    key = given_or_next(key)
    first = row_in_stream(key, images // max(1, channels), 2 * channels)
    skip = first % 8
    draws = _kernels.draw_blocks(key, first // 8, -(-(skip + 2 * images) // 8))[skip : skip + 2 * images]
    u = (draws.reshape(images, 2) + 0.5) / 2**16
    rows = _starts(u[:, 1], x.shape[-2], places[0], kernel[0])
    columns = _starts(u[:, 0], x.shape[-1], places[1], kernel[1])
    return (rows, rows + kernel[0]), (columns, columns + kernel[1])


@takes_tensors
def fractional_max_pool2d(
    input: ArrayLike,
    kernel_size: Pair,
    output_size: Pair | None = None,
    output_ratio: float | Sequence[float] | None = None,
    *,
    key: Key | None = None,
    out: Array | None = None,
) -> tuple[Array, RegionsSaved]:
    """y = the largest element of windows at random places, about H / oH rows and W / oW columns apart.

    input: (N, C, H, W) or (C, H, W); kernel_size: (kH, kW), or one number for both; output_size: (oH, oW)
    likewise, or output_ratio: what of H and W it is, in (0, 1), rounded down. Rows of windows begin at
    floor(alpha (i + u)) - floor(alpha u), with alpha = (H - kH) / (oH - 1), the last at H - kH, and columns
    likewise: a pseudo-random sequence, with overlapping windows. u is drawn for each plane: draw 2 p of the
    key for the columns of plane p (of N C), draw 2 p + 1 for its rows, as (draw + 1/2) / 2^16; draw i is
    16-bit draw i % 8 of Philox block i // 8. key=None: the default generator's next; its row is the place of
    the first sample in a larger batch. NaN, dtypes and out as for max_pool2d. Returns (y, saved), saved for
    fractional_max_pool2d_backward. Raises ValueError for shapes and parameters that do not fit. Graham,
    "Fractional max-pooling", 2014.
    """
    x, kernel = _images(input), pair("kernel_size", kernel_size, 1)
    places = _fractional_places(x, kernel, *fractional_numbers(output_size, output_ratio))
    argmax = _kernels.empty((*x.shape[:-2], *places), _argmax_dtype(kernel[0] * kernel[1]))
    return _pool_regions(x, _fractional_bounds(x, kernel, places, key), argmax, out)


@takes_tensors
def fractional_max_pool2d_backward(dy: ArrayLike, saved: RegionsSaved, *, out: Array | None = None) -> Array:
    """dx = the sum of dy over the windows of which x is the largest element.

    dy: the result's shape; saved: what fractional_max_pool2d returned; out: for dx. dx has the dtype of dy.
    Raises ValueError for a shape that does not fit.
    """
    return _backward(dy, saved, out)


# ---- lines -------------------------------------------------------------------------------------------------

_LINES = "(N, C, L) or (C, L)"


def line_numbers(kernel_size: Pair, stride: Pair | None, **rest: Pair) -> list[tuple[int, int]]:
    """kernel_size, stride and the rest (padding, dilation) of windows in one row, after they were checked."""
    kernel = single("kernel_size", kernel_size, 1)
    step = kernel if stride is None else single("stride", stride, 1)
    neutral = {"padding": 0, "dilation": 1}
    others = ((neutral[name], single(name, value, neutral[name])) for name, value in rest.items())
    return [(1, kernel), (1, step), *others]


@takes_tensors
def max_pool1d(
    input: ArrayLike,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    *,
    out: Array | None = None,
) -> tuple[Array, WindowsSaved]:
    """y = the largest element of each window of lines; NaN if it has one.

    input: (N, C, L) or (C, L). It is max_pool2d of images with one row, without a copy; kernel_size, stride,
    padding, dilation, ceil_mode, out and the result, (y, saved), are as there, saved for max_pool1d_backward.
    Raises ValueError for shapes and parameters that do not fit.
    """
    kernel, steps, around, apart = line_numbers(kernel_size, stride, padding=padding, dilation=dilation)
    x = as_rows("input", input, _LINES, 2, 3)
    y, saved = max_pool2d(x, kernel, steps, around, apart, ceil_mode, out=as_out(out))
    return lines_of(y, out), saved


@takes_tensors
def max_pool1d_backward(dy: ArrayLike, saved: WindowsSaved, *, out: Array | None = None) -> Array:
    """dx = the sum of dy over the windows of which x is the largest element.

    dy: the result's shape; saved: what max_pool1d returned; out: for dx. dx has the dtype of dy. Raises
    ValueError for a shape that does not fit.
    """
    g = as_rows("dy", dy, _LINES, 2, 3)
    return lines_of(max_pool2d_backward(g, saved, out=as_out(out)), out)  # type: ignore[no-any-return]


@takes_tensors
def avg_pool1d(
    input: ArrayLike,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    out: Array | None = None,
) -> tuple[Array, WindowsSaved]:
    """y = the sum of each window of lines, divided by the number of its elements.

    input: (N, C, L) or (C, L). It is avg_pool2d of images with one row, without a copy; kernel_size, stride,
    padding, ceil_mode, count_include_pad, out and the result, (y, saved), are as there, saved for
    avg_pool1d_backward. Raises ValueError for shapes and parameters that do not fit.
    """
    kernel, steps, around = line_numbers(kernel_size, stride, padding=padding)
    x = as_rows("input", input, _LINES, 2, 3)
    y, saved = avg_pool2d(x, kernel, steps, around, ceil_mode, count_include_pad, out=as_out(out))
    return lines_of(y, out), saved


@takes_tensors
def avg_pool1d_backward(dy: ArrayLike, saved: WindowsSaved, *, out: Array | None = None) -> Array:
    """dx = the sum of dy / divisor over the windows that x is in.

    dy: the result's shape; saved: what avg_pool1d returned; out: for dx. dx has the dtype of dy. Raises
    ValueError for a shape that does not fit.
    """
    g = as_rows("dy", dy, _LINES, 2, 3)
    return lines_of(avg_pool2d_backward(g, saved, out=as_out(out)), out)  # type: ignore[no-any-return]
