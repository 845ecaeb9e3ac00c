"""Pooling on a GPU: twins of fastnn.functional.pool, with its checks."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastnn._core.arrays import check_dy
from fastnn._core.extras import require
from fastnn.cuda._core import device_arrays
from fastnn.cuda._core.cupy_arrays import current, output
from fastnn.cuda._runtime import memory
from fastnn.cuda._runtime.memory import DeviceArray, Library
from fastnn.cuda.kernels.window.places import Axis
from fastnn.cuda.kernels.window.pooling import Pooling
from fastnn.functional import pool as original
from fastnn.functional.conv import Pair, pair
from fastnn.functional.pool import (
    Bounds,
    _adaptive_bounds,
    _adaptive_places,
    _argmax_dtype,
    _check_images,
    _fractional_bounds,
    _fractional_places,
    _override,
    _windows,
    adaptive_taps,
    fractional_numbers,
    largest_of,
    plane_indices,
)
from fastnn.random import Key


class Saved(NamedTuple):
    """What the forward functions keep for backward ones."""

    shape: tuple[int, ...]  # the input's
    argmax: Any  # max: which tap of its window each element of y is
    pooling: Pooling
    bounds: Any  # the arrays that the pooling has the addresses of

    def indices(self) -> Any:
        """Where each element of max pooling's y is in its plane of x, in a CuPy array."""
        cupy = require("cupy", "cuda")
        if self.bounds is None and self.argmax is not None:
            rows, columns = self.pooling.rows, self.pooling.columns
            top, left = (cupy.asarray(axis[4] + axis[3] * np.arange(axis[1])) for axis in (rows, columns))
            taps, apart = columns[2], (rows[5], columns[5])
        else:
            largest_of(self.argmax)
            (top, _), (left, right) = self.bounds
            planes = self.shape[:-2]
            if top.ndim > 1:  # else they are the same for all planes
                top, left, right = (bound.reshape(*planes, bound.shape[-1]) for bound in (top, left, right))
            taps, apart = (right - left)[..., None, :], (1, 1)
        return plane_indices(largest_of(cupy.asarray(self.argmax)), top, left, taps, apart, self.shape[-1])


# ---- what all of them share --------------------------------------------------------------------------------


def _images(input: Any) -> DeviceArray:
    x = device_arrays.ready("input", input)
    _check_images(x)
    if x.shape[-2] * x.shape[-1] >= 2**32:
        raise ValueError(f"input must have planes of fewer than 2^32 elements on a GPU, got shape {x.shape}")
    return x


def _largest(x: DeviceArray, pooling: Pooling, taps: int, bounds: Any, out: Any) -> tuple[Any, Saved]:
    x = device_arrays.contiguous(x)
    target = output(out, (*x.shape[:-2], pooling.rows[1], pooling.columns[1]), x.dtype, (x,))
    argmax = memory.empty(x, target.place.shape, _argmax_dtype(taps))
    pooling.largest(x, target.place, argmax)
    return target.result(), Saved(x.shape, argmax.owner, pooling, bounds)


def _mean(x: DeviceArray, pooling: Pooling, bounds: Any, out: Any) -> tuple[Any, Saved]:
    x = device_arrays.contiguous(x)
    shape = (*x.shape[:-2], pooling.rows[1], pooling.columns[1])
    target = output(out, shape, x.dtype, (x,))
    pooling.mean(x, target.place)
    return target.result(), Saved(x.shape, None, pooling, bounds)


def _backward(dy: Any, saved: Saved, out: Any) -> Any:
    if not isinstance(saved, Saved):
        raise TypeError(f"saved must be what forward returned beside y, got {type(saved).__name__}")
    pooling, shape = saved.pooling, saved.shape
    g = device_arrays.ready("dy", dy)
    check_dy(g.shape, (*shape[:-2], pooling.rows[1], pooling.columns[1]))
    g = device_arrays.contiguous(g)
    target = output(out, shape, g.dtype, (g,))
    if saved.argmax is None:
        pooling.spread_mean(g, target.place)
    else:
        argmax = device_arrays.describe("saved.argmax", saved.argmax)
        device_arrays.same_device((("dy", g), ("saved.argmax", argmax)))
        pooling.spread_largest(g, target.place, argmax)
    return target.result()


# ---- windows -----------------------------------------------------------------------------------------------


def max_pool2d(
    input: Any,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    *,
    out: Any = None,
) -> tuple[Any, Saved]:
    """y = the largest element of each window, as fastnn.functional.max_pool2d chooses it."""
    x = _images(input)
    rows, columns = _windows(x, kernel_size, stride, padding, dilation, ceil_mode)
    pooling = Pooling("windows", math.prod(x.shape[:-2]), rows, columns)
    return _largest(x, pooling, rows[2] * columns[2], None, out)


def max_pool2d_backward(dy: Any, saved: Saved, *, out: Any = None) -> Any:
    """dx = the sum of dy over the windows of which x is the largest element, in the windows' order."""
    return _backward(dy, saved, out)


def avg_pool2d(
    input: Any,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    out: Any = None,
) -> tuple[Any, Saved]:
    """y = the mean of each window: fastnn.functional.avg_pool2d."""
    x = _images(input)
    rows, columns = _windows(x, kernel_size, stride, padding, 1, ceil_mode)
    divisor = _override(divisor_override) or 0.0
    pooling = Pooling("windows", math.prod(x.shape[:-2]), rows, columns, divisor, int(count_include_pad))
    return _mean(x, pooling, None, out)


def avg_pool2d_backward(dy: Any, saved: Saved, *, out: Any = None) -> Any:
    """dx = the sum of dy / divisor over the windows that x is in, in their order."""
    return _backward(dy, saved, out)


# ---- regions -----------------------------------------------------------------------------------------------


@functools.lru_cache(256)
def _adaptive(size: int, places: int, library: Library, device: int) -> Any:
    """The bounds of adaptive pooling on the device, kept, for all streams."""
    if library.captures(device):
        raise RuntimeError(
            "adaptive pooling copies its regions to the GPU: call it once before the graph is captured"
        )
    cupy = require("cupy", "cuda")
    with cupy.cuda.Device(device):
        bounds = tuple(map(cupy.asarray, _adaptive_bounds(size, places)))
        cupy.cuda.get_current_stream().synchronize()
    return bounds


def _drawn(bounds: Bounds, like: DeviceArray) -> Any:
    """The bounds of fractional pooling on the device."""
    if like.library.captures(like.device):
        raise RuntimeError("fractional_max_pool2d draws on the CPU: no graph can have it")
    with current(like):
        return tuple(map(require("cupy", "cuda").asarray, bounds))


def _axis(size: int, bounds: Any) -> Axis:
    begin, end = bounds
    *planes, places = begin.shape
    return size, places, begin.data.ptr, end.data.ptr, places if planes else 0, 0


def _adaptive_pooling(
    x: DeviceArray, height: int, width: int, rows: int, columns: int
) -> tuple[Pooling, Any]:
    """Pooling of planes of these sizes into rows and columns of regions, and the regions' bounds."""
    place: tuple[Any, int] = x.library, x.device
    bounds = _adaptive(height, rows, *place), _adaptive(width, columns, *place)
    axes = _axis(height, bounds[0]), _axis(width, bounds[1])
    return Pooling("regions", math.prod(x.shape[:-2]), *axes), bounds


def adaptive_avg_pool2d(
    input: Any, output_size: int | Sequence[int | None] | None, *, out: Any = None
) -> tuple[Any, Saved]:
    """y = the means of regions: fastnn.functional.adaptive_avg_pool2d."""
    x = _images(input)
    rows, columns = _adaptive_places(x, output_size)
    height, width = x.shape[-2:]
    if (rows, columns) == (1, 1):
        height, width = 1, height * width  # one region, whose elements are side by side
    return _mean(x, *_adaptive_pooling(x, height, width, rows, columns), out)


def adaptive_avg_pool2d_backward(dy: Any, saved: Saved, *, out: Any = None) -> Any:
    """dx = the sum of dy / (elements of the region) over the regions that x is in, in their order."""
    return _backward(dy, saved, out)


def adaptive_max_pool2d(
    input: Any, output_size: int | Sequence[int | None] | None, *, out: Any = None
) -> tuple[Any, Saved]:
    """y = the largest elements of regions: fastnn.functional.adaptive_max_pool2d."""
    x = _images(input)
    places = _adaptive_places(x, output_size)
    pooling, bounds = _adaptive_pooling(x, x.shape[-2], x.shape[-1], *places)
    return _largest(x, pooling, adaptive_taps(x, places), bounds, out)


def adaptive_max_pool2d_backward(dy: Any, saved: Saved, *, out: Any = None) -> Any:
    """dx = the sum of dy over the regions of which x is the largest element, in their order."""
    return _backward(dy, saved, out)


def fractional_max_pool2d(
    input: Any,
    kernel_size: Pair,
    output_size: Pair | None = None,
    output_ratio: float | Sequence[float] | None = None,
    *,
    key: Key | None = None,
    out: Any = None,
) -> tuple[Any, Saved]:
    """y = the largest element of windows at drawn places: fastnn.functional.fractional_max_pool2d.

    They are drawn on the CPU, as there, and copied: RuntimeError while a CUDA graph is captured.
    """
    x, kernel = _images(input), pair("kernel_size", kernel_size, 1)
    places = _fractional_places(x, kernel, *fractional_numbers(output_size, output_ratio))
    found = _fractional_bounds(x, kernel, places, key)
    bounds = _drawn(found[0], x), _drawn(found[1], x)
    axes = _axis(x.shape[-2], bounds[0]), _axis(x.shape[-1], bounds[1])
    pooling = Pooling("regions", math.prod(x.shape[:-2]), *axes)
    return _largest(x, pooling, kernel[0] * kernel[1], bounds, out)


def fractional_max_pool2d_backward(dy: Any, saved: Saved, *, out: Any = None) -> Any:
    """dx = the sum of dy over the windows of which x is the largest element, in their order."""
    return _backward(dy, saved, out)


# Of lines: as on the CPU, where they call the functions of images, which find their twins.
max_pool1d = inspect.unwrap(original.max_pool1d)
max_pool1d_backward = inspect.unwrap(original.max_pool1d_backward)
avg_pool1d = inspect.unwrap(original.avg_pool1d)
avg_pool1d_backward = inspect.unwrap(original.avg_pool1d_backward)
