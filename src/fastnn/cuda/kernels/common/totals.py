"""Sums of many numbers in float64, in a fixed order: of losses, of rows of sums, of the weights of labels."""

from __future__ import annotations

from typing import Any

from numba import cuda, types

from fastnn.cuda._runtime import launch
from fastnn.cuda._runtime.compiler import Built, Key, Template, template
from fastnn.cuda._runtime.dtypes import ITEMSIZE
from fastnn.cuda._runtime.memory import DeviceArray, empty
from fastnn.cuda._runtime.ptx.functions import device
from fastnn.cuda._runtime.ptx.integers import word_at
from fastnn.cuda.kernels.common import reductions, rows
from fastnn.cuda.kernels.common.cuts import Cut
from fastnn.cuda.kernels.common.numbers import double_at, put_double, read, write
from fastnn.cuda.kernels.common.rows import argument_types

_THREADS = 512
#: What a block adds up; with more, a second kernel adds up the blocks' sums.
_PIECE = 1 << 14


def _sum_of_block(each: Any) -> Any:
    """(a, i, p, total): the sum of each(a, i, k) for the k that the block has, in all its threads."""
    joined = reductions.join(Cut("row", _THREADS, 1, 1), reductions.add_each, 1, types.float64)

    @device
    def sum_of_block(a: Any, i: Any, total: Any) -> None:
        total[0] = 0.0
        start = types.int64(cuda.blockIdx.x) * i[1]
        for k in range(start + cuda.threadIdx.x, min(start + i[1], i[0]), _THREADS):
            total[0] += each(a, i, k)
        joined(total)

    return sum_of_block


@device
def _number(a: Any, i: Any, k: int) -> Any:
    return double_at(a[0], k)


@template(lambda: (("float64", True), *((dtype, False) for dtype in ITEMSIZE)), **rows.OPTIONS)
def total(result: str, divided: bool) -> Built:
    """Sums of pieces, float64, times a factor; `divided`: over a number in memory.

    Addresses: numbers, result, divisor. Words: how many, how many a block adds up. Number: the factor.
    """
    sum_of_block, put = _sum_of_block(_number), write(result)

    def kernel(a: Any, i: Any, p: Any) -> None:
        s = cuda.local.array(1, types.float64)
        sum_of_block(a, i, s)
        if cuda.threadIdx.x == 0:
            whole = s[0] * p[0]
            put(a[1], cuda.blockIdx.x, whole / double_at(a[2], 0) if divided else whole)

    return kernel, argument_types(3, 2, 1)


@template(lambda: (*((dtype, True) for dtype in ITEMSIZE), ("float32", False)), **rows.OPTIONS)
def label_weights(dtype: str, weighted: bool) -> Built:
    """Sums of pieces of the weights that labels have, or of 1; of 0 for those ignored or out of range.

    Addresses: labels, result, weights. Words: how many, how many a block adds up, classes, the label to
    ignore.
    """
    number = read(dtype)

    @device
    def weight(a: Any, i: Any, k: int) -> Any:
        label = word_at(a[0] + types.uint64(k * 8))
        if label == i[3] or not 0 <= label < i[2]:
            return 0.0
        return number(a[2], label) if weighted else 1.0

    sum_of_block = _sum_of_block(weight)

    def kernel(a: Any, i: Any, p: Any) -> None:
        s = cuda.local.array(1, types.float64)
        sum_of_block(a, i, s)
        if cuda.threadIdx.x == 0:
            put_double(a[1], cuda.blockIdx.x, s[0])

    return kernel, argument_types(3, 4, 0)


# ---- launches ----------------------------------------------------------------------------------------------


def _blocks(count: int) -> int:
    return max(1, min(1024, -(-count // _PIECE)))


def add_up(
    numbers: DeviceArray, result: str, factor: float = 1.0, divisor: DeviceArray | None = None
) -> DeviceArray:
    """The sum of an array of float64, times the factor or over the divisor, as a new one of 0 dimensions."""
    blocks = _blocks(numbers.size)
    if blocks > 1:
        parts = empty(numbers, (blocks,), "float64")
        _total(numbers, -(-numbers.size // blocks), parts)
        numbers = parts
    whole = empty(numbers, (), result)
    _total(numbers, numbers.size, whole, factor, divisor)
    return whole


def add_up_rows(numbers: DeviceArray, length: int, sums: DeviceArray) -> None:
    """Sum rows of `length` float64 numbers, one for each element of `sums`."""
    _total(numbers, length, sums)


def _total(
    numbers: DeviceArray,
    piece: int,
    sums: DeviceArray,
    factor: float = 1.0,
    divisor: DeviceArray | None = None,
) -> None:
    """Sum pieces of `piece` numbers, one for each element of `sums`."""
    addresses = numbers.address, sums.address, 0 if divisor is None else divisor.address
    key = sums.dtype, divisor is not None
    _run(total, key, sums, *addresses, numbers.size, piece, factor)


def count_labels(
    labels: DeviceArray, weight: DeviceArray | None, dtype: str, classes: int, ignored: int
) -> DeviceArray:
    """The sum of the weights of int64 labels, an array of one float64."""
    count, blocks = labels.size, _blocks(labels.size)
    parts = empty(labels, (blocks,), "float64")
    addresses = labels.address, parts.address, 0 if weight is None else weight.address
    key = dtype if weight is not None else "float32", weight is not None
    _run(label_weights, key, parts, *addresses, count, -(-count // blocks), classes, ignored)
    return parts if blocks == 1 else add_up(parts, "float64")


def _run(template: Template, key: Key, sums: DeviceArray, *arguments: float) -> None:
    """Launch a block for each sum."""
    launch.run(template, key, sums, sums.size, _THREADS, *arguments)
