"""PReLU's gradients: dx, and in the same pass each channel's sum, in float64 and in an order of its own.

A block goes over rows `row` elements apart, and of each over columns: a part of one channel, or, where a
channel is a column, of all channels. Blocks leave their sums side by side; another kernel adds them.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

from numba import cuda, types

from fastnn.cuda._runtime import launch
from fastnn.cuda._runtime.compiler import Built, template
from fastnn.cuda._runtime.dtypes import ITEMSIZE, WIDTH
from fastnn.cuda._runtime.memory import DeviceArray, empty
from fastnn.cuda._runtime.ptx.access import load, store
from fastnn.cuda._runtime.ptx.functions import device
from fastnn.cuda._runtime.ptx.real import computing
from fastnn.cuda.kernels.activation.formulas.piecewise import leaky_relu_backward
from fastnn.cuda.kernels.activation.slope import THREADS, gradient_of_slope
from fastnn.cuda.kernels.common.numbers import put_double
from fastnn.cuda.kernels.common.totals import add_up_rows

#: Blocks that fill a GPU several times.
_BLOCKS = 2048


@device
def _add_up(shared: Any, thread: int, last: int) -> None:
    """Elements 0 to last - 1 become the sums of those whose number is theirs modulo last."""
    cuda.syncthreads()
    distance = THREADS // 2
    while distance >= last:
        if thread < distance:
            shared[thread] += shared[thread + distance]
        cuda.syncthreads()
        distance //= 2


def _visit(dtype: str, channels_last: bool, width: int) -> Any:
    """((dx, dy, x, weight), at, the weight's place, total): dx from element `at` on; what it adds to sums."""
    real, size, shape = computing(dtype), ITEMSIZE[dtype], (4, width)
    get, get_one, put = load(dtype, width), load(dtype, 1), store(dtype, width)

    @device
    def visit(a: Any, at: int, weight: int, total: Any) -> None:
        v, place = cuda.local.array(shape, real), types.uint64(at * size)
        get(a[1] + place, v, width)
        get(a[2] + place, v, 2 * width)
        if channels_last:
            get(a[3] + types.uint64(weight * size), v, 3 * width)
        for k in range(width):
            if not channels_last:
                get_one(a[3] + types.uint64(weight * size), v, 3 * width + k)
            total[k] += types.float64(gradient_of_slope(v[1, k], v[2, k]))
            v[0, k] = leaky_relu_backward(v[1, k], v[2, k], v[3, k], v[3, k])
        put(a[0] + place, v, 0)

    return visit


def _deliver(channels_last: bool, width: int) -> Any:
    """(total, shared, sums, column, n): the block's sums, of all its threads', to memory."""

    @device
    def of_columns(total: Any, shared: Any, sums: int, column: int, n: int) -> None:
        across = types.int64(cuda.blockDim.x)
        for k in range(width):
            shared[cuda.threadIdx.y * across + cuda.threadIdx.x] = total[k]
            _add_up(shared, cuda.threadIdx.y * across + cuda.threadIdx.x, across)
            total[k] = shared[cuda.threadIdx.x]
            cuda.syncthreads()
            if cuda.threadIdx.y == 0 and column < n:
                put_double(sums, (column + k) * cuda.gridDim.z + cuda.blockIdx.z, total[k])

    @device
    def of_channel(total: Any, shared: Any, sums: int, column: int, n: int) -> None:
        thread = cuda.threadIdx.y * types.int64(cuda.blockDim.x) + cuda.threadIdx.x
        for k in range(1, width):
            total[0] += total[k]
        shared[thread] = total[0]
        _add_up(shared, thread, 1)
        if thread == 0:
            slice_ = types.int64(cuda.blockIdx.x) * cuda.gridDim.z + cuda.blockIdx.z
            put_double(sums, slice_ * cuda.gridDim.y + cuda.blockIdx.y, shared[0])

    return of_columns if channels_last else of_channel


@template(
    lambda: itertools.product(ITEMSIZE, (False, True), (False, True)),
    registers=80,
    narrow="a channel has one weight; rows that are not whole vectors",
)
def dx_and_sums(dtype: str, channels_last: bool, whole: bool) -> Built:
    """A kernel ((dx, dy, x, weight), sums, outer, inner, n, row); whole: 16-byte accesses fit.

    sums: the partial sums of a channel lie together.
    """
    width = WIDTH[dtype] if whole else 1
    visit, deliver = _visit(dtype, channels_last, width), _deliver(channels_last, width)

    def kernel(a: Any, sums: int, outer: int, inner: int, n: int, row: int) -> None:
        across, channel = types.int64(cuda.blockDim.x), types.int64(cuda.blockIdx.x)
        total, shared = cuda.local.array(width, types.float64), cuda.shared.array(THREADS, types.float64)
        for k in range(width):
            total[k] = 0
        column = (cuda.blockIdx.y * across + cuda.threadIdx.x) * width
        i = column
        while i < n:
            o = types.int64(cuda.blockIdx.z) * cuda.blockDim.y + cuda.threadIdx.y
            while o < outer:
                visit(a, channel * inner + o * row + i, i if channels_last else channel, total)
                o += cuda.gridDim.z * cuda.blockDim.y
            i += cuda.gridDim.y * across * width
        deliver(total, shared, sums, column, n)

    word = types.int64
    return kernel, (types.UniTuple(types.uint64, 4), types.uint64, word, word, word, word)


class _Cut(NamedTuple):
    """How the work is cut; it depends on the shape alone."""

    grid: tuple[int, int, int]
    block: tuple[int, int]
    parts: int  # of a channel


def _cut(outer: int, channels: int, n: int, channels_last: bool, width: int) -> _Cut:
    vectors = -(-n // width)
    across = min(THREADS, 1 << (vectors - 1).bit_length())
    down = THREADS // across
    tiles, rows, beside = -(-vectors // across), -(-outer // down), 1 if channels_last else channels
    if not channels_last:
        slices = min(rows, max(1, _BLOCKS // beside))
        tiles = min(tiles, max(1, _BLOCKS // (beside * slices)))
        return _Cut((beside, tiles, slices), (across, down), tiles * slices)
    slices = min(rows, max(1, _BLOCKS // tiles))
    return _Cut((1, tiles, slices), (across, down), slices)


def run(
    arrays: tuple[DeviceArray, DeviceArray, DeviceArray, DeviceArray],
    dweight: DeviceArray,
    outer: int,
    inner: int,
) -> None:
    """Launch both kernels for (dx, dy, x, weight), of (outer, channels, inner) with one weight a channel."""
    dx, channels = arrays[0], dweight.size
    if channels == 0:
        return
    channels_last = inner == 1 and channels > 1
    n, row = channels if channels_last else inner, channels * inner
    width = WIDTH[dx.dtype]
    whole = n % width == 0 and all(array.address % 16 == 0 for array in arrays)
    cut = _cut(outer, channels, n, channels_last, width if whole else 1)
    sums = empty(dx, (channels, cut.parts), "float64")
    addresses, shape = [array.address for array in arrays], (outer, inner, n, row)
    if dx.size:
        key = dx.dtype, channels_last, whole
        launch.run(dx_and_sums, key, dx, cut.grid, cut.block, *addresses, sums.address, *shape)
    add_up_rows(sums, cut.parts if dx.size else 0, dweight)
