"""Convolution on a GPU, twins of fastnn.functional.conv: patches as columns, and matrix products.

Some images at a time, so that the columns stay small. CuPy has no cuDNN any more, so there is none here.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from fastnn._core.arrays import check_dy
from fastnn._core.dtypes import computing_name
from fastnn.cuda._core import device_arrays
from fastnn.cuda._core.blas import Matrix, multiply
from fastnn.cuda._core.cupy_arrays import fill, output, put
from fastnn.cuda._core.products import ones
from fastnn.cuda._runtime import memory
from fastnn.cuda._runtime.dtypes import ITEMSIZE
from fastnn.cuda._runtime.memory import DeviceArray
from fastnn.cuda.kernels.window import patches
from fastnn.functional import conv as original
from fastnn.functional.conv import Axis, Pair, _check_bias, _windows

COLUMNS = 64 << 20  # bytes of columns at a time, or those of one image if that is more


class _Stacks(NamedTuple):
    """A matrix for each group of each image; the steps are from an image to the next, and from a group."""

    matrix: Matrix  # the first one
    image: int
    group: int


class _Call(NamedTuple):
    """Images x, (N, C, H, W), and weights w, (O, C / groups, kH, kW), as matrices."""

    x: DeviceArray
    w: DeviceArray
    groups: int
    windows: tuple[Axis, Axis]

    @property
    def places(self) -> int:
        """The windows of an image."""
        return self.windows[0][1] * self.windows[1][1]

    @property
    def outputs(self) -> int:
        """Outputs of a group."""
        return self.w.shape[0] // self.groups

    @property
    def taps(self) -> int:
        """What a window of a group has: channels times taps."""
        return math.prod(self.w.shape[1:])

    @property
    def is_product(self) -> bool:
        """Whether images are their own patches: windows of one element, side by side, for each element."""
        return all(axis[1:5] == (axis[0], 1, 1, 0) for axis in self.windows)

    def chunks(self) -> Iterator[tuple[int, int]]:
        """Images that are worked on together: (first, count)."""
        images = self.x.shape[0]
        each = self.groups * self.taps * self.places * ITEMSIZE[self.x.dtype]
        most = min(max(1, COLUMNS // max(each, 1)), patches.MOST)
        return ((first, min(most, images - first)) for first in range(0, images, most))

    def columns(self, images: int) -> DeviceArray:
        """Room for the patches of some images."""
        return memory.empty(self.x, (images * self.groups * self.taps * self.places,), self.x.dtype)

    def results(self, y: DeviceArray, first: int) -> _Stacks:
        """outputs x windows for each group of the images from `first` on; y: results, or their gradients."""
        return self._stacks(y, self.outputs, first)

    def patches(self, columns: DeviceArray, first: int = 0) -> _Stacks:
        """taps x windows for each group of each image: columns, or the images if they are their own."""
        return self._stacks(columns, self.taps, first)

    def _stacks(self, array: DeviceArray, rows: int, first: int) -> _Stacks:
        step = rows * self.places
        matrix = Matrix(array.address, array.dtype, self.places, 1)
        return _Stacks(matrix.at(first * self.groups * step), self.groups * step, step)

    def each(self, images: int, rows: int, depth: int, a: _Stacks, b: _Stacks, c: _Stacks, add: bool) -> None:
        """c = a b, or c += a b, for each image and group, of which the more numerous are a stack."""
        turned = self.groups > images
        few, many = (images, self.groups) if turned else (self.groups, images)
        for k in range(few):
            a_k, b_k, c_k = (
                s.matrix.at(k * (s.image if turned else s.group))._replace(
                    step=s.group if turned else s.image
                )
                for s in (a, b, c)
            )
            multiply(self.x, (rows, self.places, depth), a_k, b_k, c_k, many, add)


def _call(
    named: list[tuple[str, DeviceArray]], groups: int, windows: tuple[Axis, Axis]
) -> tuple[_Call, list[DeviceArray]]:
    """The call, and all arrays in one dtype and contiguous, images as (N, C, H, W)."""
    device_arrays.same_device(named)
    rows, columns = windows
    if max(rows[0] * columns[0], rows[1] * columns[1]) >= 2**32:
        raise ValueError(f"input must have planes of fewer than 2^32 elements on a GPU, got {windows}")
    dtype = device_arrays.common_dtype(named)
    arrays = [device_arrays.contiguous(device_arrays.astype(array, dtype)) for _, array in named]
    by_name = dict(zip((name for name, _ in named), arrays, strict=True))
    x = by_name["input"]
    images = x._replace(shape=(math.prod(x.shape[:-3]), *x.shape[-3:]))
    return _Call(images, by_name["weight"], groups, windows), arrays


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
    *,
    out: Any = None,
) -> Any:
    """y = weight columns + bias, the columns of an image being its patches: fastnn.functional.conv2d.

    cuBLAS adds up, half types in float32. The columns of some images have 64 MB, or those of one image what
    they need.
    """
    given = (("input", input), ("weight", weight), ("bias", bias))
    named = [(name, device_arrays.ready(name, value)) for name, value in given if value is not None]
    x, w, b = named[0][1], named[1][1], named[2][1] if bias is not None else None
    windows = _windows(x, w, stride, padding, dilation, groups)
    _check_bias(w, b)
    call, arrays = _call(named, groups, windows)
    shape = (*x.shape[:-3], w.shape[0], windows[0][1], windows[1][1])
    target = output(out, shape, arrays[0].dtype, arrays)
    _forward(call, arrays[2] if bias is not None else None, target.place)
    return target.result()


def _forward(call: _Call, bias: DeviceArray | None, y: DeviceArray) -> None:
    if bias is not None:
        put(bias._replace(shape=(bias.size, 1, 1), owner=bias.owner.reshape(-1, 1, 1)), y)
    elif call.taps == 0:
        fill(y, 0)
    for first, count in call.chunks():
        if call.is_product:
            columns = call.patches(call.x, first)
        else:
            found = call.columns(count)
            patches.gather(call.x, (first, count), found, call.windows, together=False)
            columns = call.patches(found)
        weights = _Stacks(Matrix(call.w.address, call.w.dtype, call.taps, 1), 0, call.outputs * call.taps)
        y_of = call.results(y, first)
        call.each(count, call.outputs, call.taps, weights, columns, y_of, bias is not None)


def conv2d_backward(
    dy: Any,
    input: Any,
    weight: Any,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
    *,
    needs_input: bool = True,
    needs_weight: bool = True,
    needs_bias: bool = True,
) -> tuple[Any, Any, Any]:
    """dx, dweight and dbias of conv2d: fastnn.functional.conv2d_backward.

    dx adds up the gradients for the patches, in the order of the taps; dweight and dbias are added up by
    cuBLAS in the computing dtype. All is the same from call to call on one GPU.
    """
    given = (("dy", dy), ("input", input), ("weight", weight))
    named = [(name, device_arrays.ready(name, value)) for name, value in given]
    (_, g), (_, x), (_, w) = named
    windows = _windows(x, w, stride, padding, dilation, groups)
    check_dy(g.shape, (*x.shape[:-3], w.shape[0], windows[0][1], windows[1][1]))
    call, (g, x, w) = _call(named, groups, windows)
    g = g._replace(shape=(call.x.shape[0], *g.shape[-3:]))
    dx = _input_gradient(call, g, x.shape) if needs_input else None
    dweight, dbias = _parameter_gradients(call, g, needs_weight, needs_bias)
    return device_arrays.owners(dx, dweight, dbias)


def _input_gradient(call: _Call, dy: DeviceArray, shape: tuple[int, ...]) -> DeviceArray:
    dx = memory.empty(dy, shape, dy.dtype)
    if call.w.size == 0:
        fill(dx, 0)
        return dx
    transposed = Matrix(call.w.address, call.w.dtype, 1, call.taps)
    weights = _Stacks(transposed, 0, call.outputs * call.taps)
    for first, count in call.chunks():
        found = dx if call.is_product else call.columns(count)
        columns = call.patches(found, first if call.is_product else 0)
        call.each(count, call.taps, call.outputs, weights, call.results(dy, first), columns, False)
        if not call.is_product:
            patches.scatter(found, dx._replace(shape=call.x.shape), (first, count), call.windows)
    return dx


def _parameter_gradients(
    call: _Call, dy: DeviceArray, needs_weight: bool, needs_bias: bool
) -> tuple[DeviceArray | None, DeviceArray | None]:
    """Sums over the windows of some images at once: one product for each group."""
    if not (needs_weight or needs_bias):
        return None, None
    wide = computing_name(dy.dtype)
    dweight, dbias = (
        memory.empty(dy, call.w.shape, wide),
        memory.empty(dy, call.w.shape[:1], wide),
    )
    fill(dweight, 0)
    fill(dbias, 0)
    plain: Any = tuple((n, n, 1, 1, 0, 1) for n in dy.shape[-2:])
    for first, count in call.chunks():
        depth = count * call.places
        left = memory.empty(dy, (dy.shape[1] * depth,), dy.dtype)
        patches.gather(dy, (first, count), left, plain, together=True)
        rows = Matrix(left.address, dy.dtype, depth, 1, call.outputs * depth)
        if needs_weight:
            columns = call.columns(count)
            patches.gather(call.x, (first, count), columns, call.windows, together=True)
            right = Matrix(columns.address, dy.dtype, 1, depth, call.taps * depth)
            target = Matrix(dweight.address, wide, call.taps, 1, call.outputs * call.taps)
            multiply(dy, (call.outputs, call.taps, depth), rows, right, target, call.groups, add=True)
        if needs_bias:
            one = ones(dy, depth)
            sums = Matrix(dbias.address, wide, 1, 1)
            multiply(dy, (dy.shape[1], 1, depth), rows, Matrix(one.address, dy.dtype, 1, 1), sums, add=True)
    found = (device_arrays.astype(dweight, dy.dtype), device_arrays.astype(dbias, dy.dtype))
    return found[0] if needs_weight else None, found[1] if needs_bias else None


# Of lines: as on the CPU, where they call conv2d and its gradient, which find their twins.
conv1d = inspect.unwrap(original.conv1d)
conv1d_backward = inspect.unwrap(original.conv1d_backward)
