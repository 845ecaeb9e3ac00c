"""Pooling of images in plain NumPy, from the definitions; it must not know the C kernels.

All four are the same: result (i, j) of a plane is made of the rows in one list of indices and the columns in
another. Indices outside of the image are padding, which the maximum leaves out and the mean takes for 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .activation import Array, floating, quiet
from .conv import Pair, _pair, _row
from .philox import Key, draws_of_samples

__all__ = [
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

Indices = list[NDArray[np.int64]]  # of each row of results, or each column


class PoolSaved(NamedTuple):
    """What the gradients need."""

    input: Array
    rows: list[Indices]  # for each plane
    columns: list[Indices]
    divisors: Array | None  # of each result; None: the maximum


def _inside(indices: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    return indices[(indices >= 0) & (indices < size)]


def _regions(saved: PoolSaved) -> Iterator[tuple[tuple[int, int, int], Any]]:
    """Yield ((plane, i, j), an index of the planes that gives the region)."""
    height, width = saved.input.shape[-2:]
    for plane, (rows, columns) in enumerate(zip(saved.rows, saved.columns, strict=True)):
        for i, of_row in enumerate(rows):
            for j, of_column in enumerate(columns):
                yield (plane, i, j), (plane, *np.ix_(_inside(of_row, height), _inside(of_column, width)))


def _largest(region: Array) -> tuple[int, int]:
    """Return where the largest element is, the first of equals; the last NaN, if there is one."""
    nan = np.isnan(region).ravel()
    flat = int(np.flatnonzero(nan)[-1]) if nan.any() else int(region.argmax())
    return flat // region.shape[1], flat % region.shape[1]


def _planes(array: Array) -> Array:
    return array.reshape(-1, *array.shape[-2:])


@quiet
def _pool(saved: PoolSaved) -> tuple[Array, PoolSaved]:
    x = saved.input
    places = len(saved.rows[0]), len(saved.columns[0])
    y = np.empty((math.prod(x.shape[:-2]), *places), x.dtype)
    for at, region in _regions(saved):
        elements = _planes(x)[region]
        if saved.divisors is None:
            y[at] = elements[_largest(elements)]
        else:
            y[at] = elements.sum() / saved.divisors[at[1:]]
    return y.reshape(*x.shape[:-2], *places), saved


@quiet
def _unpool(dy: ArrayLike, saved: PoolSaved) -> Array:
    g = floating(dy)
    dx = np.zeros(saved.input.shape, g.dtype)
    for at, region in _regions(saved):
        here = _planes(dx)[region]
        if saved.divisors is None:
            here[_largest(_planes(saved.input)[region])] += _planes(g)[at]
        else:
            here += _planes(g)[at] / saved.divisors[at[1:]]
        _planes(dx)[region] = here
    return dx


def _windows(size: int, taps: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> Indices:
    """Return the indices of each window; with ceil_mode also of one that ends beyond the padding."""
    windows: Indices = []
    for first in range(-padding, size, stride):
        indices = first + dilation * np.arange(taps)
        beyond = indices[-1] - (size + padding - 1)
        if beyond <= 0 or ceil_mode:
            windows.append(indices)
        if beyond >= 0:
            break
    if not windows:
        raise ValueError(f"input must have room for a window of {taps}, got {size} rows or columns")
    return windows


def _all_windows(
    x: Array, kernel_size: Pair, stride: Pair | None, padding: Pair, dilation: Pair, ceil_mode: bool
) -> list[Indices]:
    kernel = _pair(kernel_size)
    strides = kernel if stride is None else _pair(stride)
    rest = zip(x.shape[-2:], kernel, strides, _pair(padding), _pair(dilation), strict=True)
    return [_windows(*numbers, ceil_mode) for numbers in rest]


def max_pool2d(
    input: ArrayLike,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> tuple[Array, PoolSaved]:
    """Return the largest element of each window, padding left out, and saved."""
    x = floating(input)
    rows, columns = _all_windows(x, kernel_size, stride, padding, dilation, ceil_mode)
    planes = math.prod(x.shape[:-2])
    return _pool(PoolSaved(x, [rows] * planes, [columns] * planes, None))


def max_pool2d_backward(dy: ArrayLike, saved: PoolSaved) -> Array:
    """Return the sum of dy over the windows of which an element is the largest."""
    return _unpool(dy, saved)


def avg_pool2d(
    input: ArrayLike,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> tuple[Array, PoolSaved]:
    """Return the sum of each window divided by its elements, and saved.

    Padding counts, unless count_include_pad is False; what a window of ceil_mode has beyond it does not.
    """
    x = floating(input)
    lists = _all_windows(x, kernel_size, stride, padding, 1, ceil_mode)
    counts = []
    for windows, n, p in zip(lists, x.shape[-2:], _pair(padding), strict=True):
        least, most = (-p, n + p) if count_include_pad else (0, n)
        counts.append([np.count_nonzero((indices >= least) & (indices < most)) for indices in windows])
    divisors = np.multiply.outer(*counts).astype(x.dtype)
    if divisor_override is not None:
        divisors = np.full_like(divisors, divisor_override)
    planes = math.prod(x.shape[:-2])
    return _pool(PoolSaved(x, [lists[0]] * planes, [lists[1]] * planes, divisors))


def avg_pool2d_backward(dy: ArrayLike, saved: PoolSaved) -> Array:
    """Return the sum of dy / divisor over the windows that an element is in."""
    return _unpool(dy, saved)


def _adaptive(x: Array, output_size: int | Sequence[int | None] | None) -> list[Indices]:
    """Return rows floor(i H / oH) to ceil((i + 1) H / oH) - 1 for each i < oH, and columns likewise."""
    wanted = output_size if isinstance(output_size, Sequence) else (output_size, output_size)
    sizes = [n if o is None else o for n, o in zip(x.shape[-2:], wanted, strict=True)]
    return [
        [np.arange(math.floor(i * n / o), math.ceil((i + 1) * n / o)) for i in range(o)]
        for n, o in zip(x.shape[-2:], sizes, strict=True)
    ]


def adaptive_avg_pool2d(
    input: ArrayLike, output_size: int | Sequence[int | None] | None
) -> tuple[Array, PoolSaved]:
    """Return the mean of each region of `_adaptive`, and saved."""
    x = floating(input)
    lists = _adaptive(x, output_size)
    divisors = np.multiply.outer(*([len(region) for region in regions] for regions in lists)).astype(x.dtype)
    planes = math.prod(x.shape[:-2])
    return _pool(PoolSaved(x, [lists[0]] * planes, [lists[1]] * planes, divisors))


def adaptive_avg_pool2d_backward(dy: ArrayLike, saved: PoolSaved) -> Array:
    """Return the sum of dy / (elements of the region) over the regions that an element is in."""
    return _unpool(dy, saved)


def adaptive_max_pool2d(
    input: ArrayLike, output_size: int | Sequence[int | None] | None
) -> tuple[Array, PoolSaved]:
    """Return the largest element of each region of `_adaptive`, and saved."""
    x = floating(input)
    rows, columns = _adaptive(x, output_size)
    planes = math.prod(x.shape[:-2])
    return _pool(PoolSaved(x, [rows] * planes, [columns] * planes, None))


def adaptive_max_pool2d_backward(dy: ArrayLike, saved: PoolSaved) -> Array:
    """Return the sum of dy over the regions of which an element is the largest."""
    return _unpool(dy, saved)


def _pseudo_random(u: float, size: int, places: int, taps: int) -> Indices:
    """Return the windows that begin at floor(alpha (i + u)) - floor(alpha u), and the last one at the end."""
    alpha = (size - taps) / max(places - 1, 1)
    begins = [math.floor(alpha * (i + u)) - math.floor(alpha * u) for i in range(places - 1)]
    return [begin + np.arange(taps) for begin in [*begins, size - taps]]


def fractional_max_pool2d(
    input: ArrayLike,
    kernel_size: Pair,
    output_size: Pair | None = None,
    output_ratio: float | Sequence[float] | None = None,
    *,
    key: Key | None = None,
) -> tuple[Array, PoolSaved]:
    """Return the largest element of each window of a pseudo-random sequence, and saved. Graham, 2014.

    u of plane p is (draw + 1/2) / 2^16, with draw 2 p of `philox.random_draws` for columns and 2 p + 1 for
    rows, from sample `row` on for a key (seed, offset, row); key=None raises ValueError.
    """
    if key is None:
        raise ValueError("key must be (seed, offset) or (seed, offset, row), got None")
    x, kernel = floating(input), _pair(kernel_size)
    if output_size is None:
        ratios = np.broadcast_to(np.asarray(output_ratio, float), 2)
        places = tuple(int(n * ratio) for n, ratio in zip(x.shape[-2:], ratios, strict=True))
    else:
        places = _pair(output_size)
    planes = math.prod(x.shape[:-2])
    samples = x.shape[0] if x.ndim == 4 else 1
    draws = draws_of_samples(samples, 2 * planes // max(1, samples), key)
    u = (draws.reshape(planes, 2) + 0.5) / 2**16
    rows = [_pseudo_random(draw, x.shape[-2], places[0], kernel[0]) for draw in u[:, 1]]
    columns = [_pseudo_random(draw, x.shape[-1], places[1], kernel[1]) for draw in u[:, 0]]
    return _pool(PoolSaved(x, rows, columns, None))


def fractional_max_pool2d_backward(dy: ArrayLike, saved: PoolSaved) -> Array:
    """Return the sum of dy over the windows of which an element is the largest."""
    return _unpool(dy, saved)


def max_pool1d(
    input: ArrayLike,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> tuple[Array, PoolSaved]:
    """Return `max_pool2d` of images with one row."""
    steps = None if stride is None else _row(stride)
    numbers = _row(kernel_size), steps, (0, _row(padding)[1]), _row(dilation)
    y, saved = max_pool2d(floating(input)[..., None, :], *numbers, ceil_mode)
    return y[..., 0, :], saved


def max_pool1d_backward(dy: ArrayLike, saved: PoolSaved) -> Array:
    """Return `max_pool2d_backward` of images with one row."""
    return max_pool2d_backward(floating(dy)[..., None, :], saved)[..., 0, :]


def avg_pool1d(
    input: ArrayLike,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> tuple[Array, PoolSaved]:
    """Return `avg_pool2d` of images with one row."""
    steps = None if stride is None else _row(stride)
    numbers = _row(kernel_size), steps, (0, _row(padding)[1])
    y, saved = avg_pool2d(floating(input)[..., None, :], *numbers, ceil_mode, count_include_pad)
    return y[..., 0, :], saved


def avg_pool1d_backward(dy: ArrayLike, saved: PoolSaved) -> Array:
    """Return `avg_pool2d_backward` of images with one row."""
    return avg_pool2d_backward(floating(dy)[..., None, :], saved)[..., 0, :]
