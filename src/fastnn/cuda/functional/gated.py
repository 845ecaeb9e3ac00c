"""The twins of fastnn.functional.gated: GLU, SwiGLU and Maxout for arrays on a GPU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from fastnn import _kernels
from fastnn._core.arrays import axis as axis_of
from fastnn._core.arrays import check_dy
from fastnn.cuda._core import device_arrays, overlap
from fastnn.cuda._core.device_arrays import Elementwise
from fastnn.cuda._runtime import launch, memory
from fastnn.cuda._runtime.compiler import Template
from fastnn.cuda._runtime.dtypes import ITEMSIZE
from fastnn.cuda._runtime.memory import DeviceArray, Shape
from fastnn.cuda.kernels.activation import gated
from fastnn.cuda.kernels.activation import maxout as kernels
from fastnn.cuda.kernels.common import strips
from fastnn.cuda.kernels.common.strips import Strips
from fastnn.functional.gated import (
    MaxoutSaved,
    best_shape,
    blocks,
    check_pieces,
    check_saved,
    even_axis,
)

_NAMES = {_kernels.find_kernel(name + of): name for name in ("glu", "swiglu") for of in ("", "_backward")}


def _ready(named: device_arrays.Named, out: Any) -> list[DeviceArray]:
    """The arrays of one GPU in C order, of the dtype that they promote to."""
    arrays = [(name, device_arrays.ready(name, value)) for name, value in named]
    device_arrays.same_device(
        [*arrays, *([] if out is None else [("out", device_arrays.describe("out", out))])]
    )
    dtype = device_arrays.common_dtype(arrays)
    return [device_arrays.contiguous(device_arrays.astype(array, dtype)) for _, array in arrays]


def _target(out: Any, shape: Shape, inputs: Sequence[DeviceArray]) -> Elementwise:
    """Where a kernel writes: `out` if it may, in place of an input of its shape or apart from all."""
    like = inputs[0]
    if out is None:
        return Elementwise(tuple(inputs), memory.empty(like, shape, like.dtype), None)
    given = device_arrays.check_out(out, shape, like.dtype)
    free = all(
        (given.address == x.address and given.shape == x.shape) or not overlap.may_overlap(given, x)
        for x in inputs
    )
    if given.contiguous and free:
        return Elementwise(tuple(inputs), given._replace(owner=out), None)
    return Elementwise(tuple(inputs), memory.empty(like, shape, like.dtype), out)


# ---- GLU and SwiGLU ----------------------------------------------------------------------------------------


def _half(shape: Shape, axis: int) -> tuple[Shape, int]:
    """The shape of half of an array, and the elements of half a row."""
    half = shape[axis] // 2
    return (*shape[:axis], half, *shape[axis + 1 :]), half * math.prod(shape[axis + 1 :])


def _halves(array: DeviceArray, n: int) -> list[Strips]:
    first = Strips(array.address, 0, 2 * n)
    return [first, first._replace(address=array.address + n * ITEMSIZE[array.dtype])]


def _rows(array: DeviceArray, n: int) -> Strips:
    return Strips(array.address, 0, n)


def _run(template: Template, kernel: int, operands: list[Strips], like: DeviceArray, n: int) -> None:
    """like: of the output's shape."""
    shape = 1, like.size // max(n, 1), n
    strips.run(template, (like.dtype, _NAMES[kernel]), like, operands, shape)


def _gated(kernel: int, input: Any, dim: int, out: Any) -> Any:
    """GLU or SwiGLU, by the number of the CPU's kernel."""
    axis = even_axis(device_arrays.describe("input", input).shape, dim)
    (x,) = _ready((("input", input),), out)
    shape, n = _half(x.shape, axis)
    arrays = _target(out, shape, (x,))
    _run(gated.halves, kernel, [_rows(arrays.target, n), *_halves(x, n)], arrays.target, n)
    return arrays.result()


def _gated_backward(kernel: int, dy: Any, input: Any, dim: int, out: Any) -> Any:
    """The gradient of GLU or SwiGLU."""
    axis = even_axis(device_arrays.describe("input", input).shape, dim)
    x, g = _ready((("input", input), ("dy", dy)), out)
    shape, n = _half(x.shape, axis)
    check_dy(g.shape, shape)
    arrays = _target(out, x.shape, (x, g))
    operands = [*_halves(arrays.target, n), _rows(g, n), *_halves(x, n)]
    _run(gated.halves_backward, kernel, operands, g, n)
    return arrays.result()


# ---- Maxout ------------------------------------------------------------------------------------------------


def maxout(input: Any, k: int, dim: int = 1, *, out: Any = None) -> tuple[Any, MaxoutSaved]:
    """The winners are kept on the GPU as bit planes: (bits, rows, bytes of a row)."""
    (x,) = _ready((("input", input),), out)
    axis = axis_of(dim, len(x.shape))
    k = check_pieces(k, x.shape[axis], dim)
    arrays = _target(out, best_shape(x.shape, k, axis), (x,))
    rows, n, _ = cut = _cut(x.shape, k, axis)
    winners = memory.empty(x, ((k - 1).bit_length(), rows, -(-n // 8)), "uint8")
    _run_maxout(kernels.maxout, arrays.target, x, winners, k, cut)
    return arrays.result(), MaxoutSaved(winners.owner, k, axis, x.shape)


def maxout_backward(dy: Any, saved: MaxoutSaved, *, out: Any = None) -> Any:
    """dx = dy for the piece that won, 0 for the others."""
    check_saved(saved)
    winners = device_arrays.describe("saved.winners", saved.winners)
    (g,) = _ready((("dy", dy),), out)
    device_arrays.same_device((("dy", g), ("saved.winners", winners)))
    check_dy(g.shape, best_shape(saved.shape, saved.k, saved.dim))
    arrays = _target(out, saved.shape, (g,))
    cut = _cut(saved.shape, saved.k, saved.dim)
    _run_maxout(kernels.maxout_backward, arrays.target, g, winners, saved.k, cut)
    return arrays.result()


class _Cut(NamedTuple):
    """maxout's result as rows, and the elements between rows, pieces and elements of the input."""

    rows: int
    n: int
    steps: tuple[int, int, int]


def _cut(shape: Shape, k: int, axis: int) -> _Cut:
    outer, groups, _, inner = blocks(shape, k, axis)
    rows = outer * groups
    return _Cut(1, rows, (0, 1, k)) if inner == 1 else _Cut(rows, inner, (k * inner, inner, 1))


def _run_maxout(
    template: Template, target: DeviceArray, source: DeviceArray, winners: DeviceArray, k: int, cut: _Cut
) -> None:
    if target.size == 0:
        return
    bit_planes, rows, row_bytes = winners.shape
    grid, block = kernels.grid(rows, cut.n)
    addresses, numbers = (target.address, source.address, winners.address), (rows, cut.n, k, *cut.steps)
    sizes = bit_planes, row_bytes, rows * row_bytes
    launch.run(template, (target.dtype,), target, grid, block, *addresses, *numbers, *sizes)
