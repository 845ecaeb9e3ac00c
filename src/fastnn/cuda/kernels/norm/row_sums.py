"""Sums over many rows, column by column, in a fixed order: the last steps to dweight and dbias."""

from __future__ import annotations

from typing import Any

from numba import cuda, types

from fastnn._core.dtypes import computing_name
from fastnn.cuda._runtime.compiler import Built, template
from fastnn.cuda._runtime.dtypes import ITEMSIZE, WIDTH
from fastnn.cuda._runtime.ptx.access import load
from fastnn.cuda._runtime.ptx.real import computing
from fastnn.cuda.kernels.common import rows
from fastnn.cuda.kernels.common.division import divide
from fastnn.cuda.kernels.common.numbers import double_at, read, write
from fastnn.cuda.kernels.common.rows import argument_types
from fastnn.cuda.kernels.norm.norm_gradients import ADDRESS_COUNT, DY, SUMS
from fastnn.cuda.kernels.norm.norms import MEAN, RSTD, X
from fastnn.cuda.kernels.norm.weight_gradients import add_terms

#: Of `column_sums` and `merged`: lanes beside each other, and threads that share a column.
LANES, DEEP = 32, 16


@template(lambda: ((dtype, width, True) for dtype in ITEMSIZE for width in (WIDTH[dtype], 1)), **rows.OPTIONS)
def column_sums(dtype: str, width: int, has_mean: bool) -> Built:
    """Each block's sums of dy xhat and dy over its samples' rows of one group: (2, blocks, groups, length).

    Row n of group g is row n groups + g of the arrays. Words: samples, length, samples of a block, groups,
    blocks beside each other that have a group's columns, and the magic to divide by these.
    """
    real, size = computing(dtype), ITEMSIZE[dtype]
    access, put, collect = load(dtype, width), write(computing_name(dtype)), add_terms(width, real)

    def kernel(a: Any, i: Any, p: Any) -> None:
        shared = cuda.shared.array((2, DEEP, LANES, width), real)
        v, d = cuda.local.array((2, width), real), cuda.local.array((2, width), real)
        x, y = cuda.threadIdx.x, cuda.threadIdx.y
        group = divide(cuda.blockIdx.x, i[5])
        column = ((cuda.blockIdx.x - group * i[4]) * LANES + x) * width
        first = types.int64(cuda.blockIdx.y) * i[2]
        for k in range(width):
            d[0, k] = d[1, k] = real(0)
        if column < i[1]:
            for sample in range(first + y, min(first + i[2], i[0]), DEEP):
                row = sample * i[3] + group
                offset = types.uint64((row * i[1] + column) * size)
                access(a[DY] + offset, v, 0)
                access(a[X] + offset, v, width)
                mean = double_at(a[MEAN], row) if has_mean else 0.0
                collect(v, mean, double_at(a[RSTD], row), d)
        for k in range(width):
            shared[0, y, x, k], shared[1, y, x, k] = d[0, k], d[1, k]
        cuda.syncthreads()
        if y < 2 and column < i[1]:
            for k in range(width):
                total = real(0)
                for each in range(DEEP):
                    total += shared[y, each, x, k]
                part = (types.int64(y) * cuda.gridDim.y + cuda.blockIdx.y) * i[3] + group
                put(a[SUMS], part * i[1] + column + k, total)

    return kernel, argument_types(ADDRESS_COUNT, 6, 0)


@template(lambda: (("float32", "bfloat16"), ("float64", "float32")), **rows.OPTIONS)
def merged(wide: str, other: str) -> Built:
    """dweight and dbias from partial sums (2, parts, columns): added up in float64, rounded to `other`.

    Addresses: the sums, dweight, dbias (0: it is not wanted). Words: parts, columns.
    """
    number, put = read(wide), write(other)

    def kernel(a: Any, i: Any, p: Any) -> None:
        shared = cuda.shared.array((DEEP, LANES), types.float64)
        x, y, which = cuda.threadIdx.x, cuda.threadIdx.y, types.int64(cuda.blockIdx.y)
        column = types.int64(cuda.blockIdx.x) * LANES + x
        total = 0.0
        if column < i[1]:
            for part in range(y, i[0], DEEP):
                total += number(a[0], (which * i[0] + part) * i[1] + column)
        shared[y, x] = total
        cuda.syncthreads()
        to = a[1] if which == 0 else a[2]
        if y == 0 and column < i[1] and to != 0:
            for each in range(1, DEEP):
                total += shared[each, x]
            put(to, column, total)

    return kernel, argument_types(3, 2, 0)
