"""Sums of many numbers in float64, in a fixed order: of losses, and of the weights of labels."""

from __future__ import annotations

from typing import Any

from numba import cuda, types

from fastnn.cuda import _launch
from fastnn.cuda._arrays import DeviceArray, empty, stream
from fastnn.cuda._compile import Built, template
from fastnn.cuda._ptx import ITEMSIZE, computing, device, load, store, word_at
from fastnn.cuda.kernels import rows
from fastnn.cuda.kernels.rows import Cut, argument_types

_THREADS = 512
#: What a block adds up; with more, a second kernel adds up the blocks' sums.
_PIECE = 1 << 14

_load64, _store64 = load("float64", 1), store("float64", 1)


def _sum_of_block(each: Any) -> Any:
    """(a, i, p, total): the sum of each(a, i, k) for the k that the block has, in all its threads."""
    joined = rows.join(Cut("row", _THREADS, 1, 1), rows.add_each, 1, types.float64)

    def sum_of_block(a: Any, i: Any, total: Any) -> None:
        total[0] = 0.0
        start = types.int64(cuda.blockIdx.x) * i[1]
        for k in range(start + cuda.threadIdx.x, min(start + i[1], i[0]), _THREADS):
            total[0] += each(a, i, k)
        joined(total)

    return device(sum_of_block)


@template(lambda: (("float64", False), ("float32", True), ("float64", True)), **rows.OPTIONS)
def total(result: str, divided: bool) -> Built:
    """Sums of pieces, float64, times a factor; `divided`: over a number in memory.

    Addresses: numbers, result, divisor. Words: how many, how many a block adds up. Number: the factor.
    """
    value = device(_number)
    sum_of_block, write, size, real = (
        _sum_of_block(value),
        store(result, 1),
        ITEMSIZE[result],
        computing(result),
    )

    def kernel(a: Any, i: Any, p: Any) -> None:
        s, r = cuda.local.array(1, types.float64), cuda.local.array(1, real)
        sum_of_block(a, i, s)
        if cuda.threadIdx.x == 0:
            whole = s[0] * p[0]
            if divided:
                _load64(a[2], s, 0)
                whole /= s[0]
            r[0] = whole
            write(a[1] + types.uint64(types.int64(cuda.blockIdx.x) * size), r, 0)

    return kernel, argument_types(3, 2, 1)


def _number(a: Any, i: Any, k: int) -> Any:
    value = cuda.local.array(1, types.float64)
    _load64(a[0] + types.uint64(k * 8), value, 0)
    return value[0]


@template(lambda: (*((dtype, True) for dtype in ITEMSIZE), ("float32", False)), **rows.OPTIONS)
def label_weights(dtype: str, weighted: bool) -> Built:
    """Sums of pieces of the weights that labels have, or of 1; of 0 for those ignored or out of range.

    Addresses: labels, result, weights. Words: how many, how many a block adds up, classes, the label to
    ignore.
    """
    single, size, real = load(dtype, 1), ITEMSIZE[dtype], computing(dtype)

    @device
    def weight(a: Any, i: Any, k: int) -> Any:
        label, w = word_at(a[0] + types.uint64(k * 8)), cuda.local.array(1, real)
        w[0] = real(0)
        if label != i[3] and 0 <= label < i[2]:
            w[0] = real(1)
            if weighted:
                single(a[2] + types.uint64(label * size), w, 0)
        return types.float64(w[0])

    sum_of_block = _sum_of_block(weight)

    def kernel(a: Any, i: Any, p: Any) -> None:
        s = cuda.local.array(1, types.float64)
        sum_of_block(a, i, s)
        if cuda.threadIdx.x == 0:
            _store64(a[1] + types.uint64(types.int64(cuda.blockIdx.x) * 8), s, 0)

    return kernel, argument_types(3, 4, 0)


def _blocks(count: int) -> int:
    return max(1, min(1024, -(-count // _PIECE)))


def add_up(
    numbers: DeviceArray, result: str, factor: float = 1.0, divisor: DeviceArray | None = None
) -> DeviceArray:
    """The sum of an array of float64, times the factor or over the divisor, as a new one of 0 dimensions."""
    count, blocks = numbers.size, _blocks(numbers.size)
    if blocks > 1:
        parts = empty(numbers, (blocks,), "float64")
        _run(
            numbers, total, ("float64", False), blocks, (numbers.address, parts.address, 0), (count,), (1.0,)
        )
        numbers, count = parts, blocks
    whole = empty(numbers, (), result)
    addresses = numbers.address, whole.address, 0 if divisor is None else divisor.address
    _run(numbers, total, (result, divisor is not None), 1, addresses, (count,), (factor,))
    return whole


def count_labels(
    labels: DeviceArray, weight: DeviceArray | None, dtype: str, classes: int, ignored: int
) -> DeviceArray:
    """The sum of the weights of int64 labels, an array of one float64."""
    count, blocks = labels.size, _blocks(labels.size)
    parts = empty(labels, (blocks,), "float64")
    addresses = labels.address, parts.address, 0 if weight is None else weight.address
    key = dtype if weight is not None else "float32", weight is not None
    _run(labels, label_weights, key, blocks, addresses, (count,), (), (classes, ignored))
    return parts if blocks == 1 else add_up(parts, "float64")


def _run(
    like: DeviceArray,
    template: Any,
    key: Any,
    blocks: int,
    addresses: tuple[int, ...],
    count: tuple[int],
    numbers: tuple[float, ...],
    words: tuple[int, ...] = (),
) -> None:
    piece = -(-count[0] // blocks)
    arguments = *addresses, *count, piece, *words, *numbers
    _launch.run(template, key, like.device, stream(like), blocks, _THREADS, *arguments)
