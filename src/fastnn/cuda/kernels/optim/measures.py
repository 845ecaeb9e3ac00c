"""Norms of lists of tensors, and what is made of them: clipping, trust ratios, rows of limited norm."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from numba import cuda, types

from fastnn.cuda._runtime.compiler import Built, template
from fastnn.cuda._runtime.dtypes import ITEMSIZE
from fastnn.cuda._runtime.ptx.functions import device, made_once
from fastnn.cuda._runtime.ptx.integers import word_at
from fastnn.cuda._runtime.ptx.real import computing
from fastnn.cuda.kernels.common.numbers import double_at, put_double, read, write
from fastnn.cuda.kernels.common.tiles import THREADS
from fastnn.cuda.kernels.optim.lists import (
    ADDRESSES,
    WIDE,
    Dtypes,
    computing_of,
    numbers_of,
    operands_of,
    part_of_tensor,
    penalised,
    walk_of,
)
from fastnn.cuda.kernels.optim.rules import COEFFICIENT, NUMBERS, RULES, TRUST_DECAY, Rule

#: Ways to add up sizes.
SQUARES, SIZES, LARGEST, POWERS = "squares", "sizes", "largest", "powers"
#: Where the exponent is, behind the two sums.
EXPONENT = 2


@device
def _sum(a: float, b: float) -> float:
    return a + b


@device
def _largest(a: float, b: float) -> float:
    """The larger one; NaN if one of them is."""
    return a if a > b or a != a else b


@made_once
def _term(way: str) -> Any:
    """(x, exponent): what an element adds, in float64, whose range the squares of float32 do not leave."""

    @device
    def square(x: float, exponent: float) -> Any:
        wide = types.float64(x)
        return wide * wide

    @device
    def size(x: float, exponent: float) -> Any:
        return abs(types.float64(x))

    @device
    def power(x: float, exponent: float) -> float:
        return math.pow(abs(types.float64(x)), exponent)

    return {SQUARES: square, SIZES: size, LARGEST: size, POWERS: power}[way]


def _merged(way: str) -> Any:
    return _largest if way == LARGEST else _sum


@made_once
def _of_block(way: str) -> Any:
    """(shared, value): what the values of all threads add up to, in a fixed order."""
    merge = _merged(way)

    @device
    def of_block(shared: Any, value: float) -> Any:
        lane, step = cuda.threadIdx.x, THREADS // 2
        cuda.syncthreads()
        shared[lane] = value
        cuda.syncthreads()
        while step > 0:
            if lane < step:
                shared[lane] = merge(shared[lane], shared[lane + step])
            cuda.syncthreads()
            step //= 2
        return shared[0]

    return of_block


def _each_measure() -> Iterator[tuple[str, str, Dtypes]]:
    yield from ((way, "", (dtype,)) for way in (SQUARES, LARGEST) for dtype in ("float32", "bfloat16"))
    yield from ((way, "", ("float32",)) for way in (SIZES, POWERS))
    yield SQUARES, "lars_direction", ("float32",) * 3
    yield SQUARES, "lamb_direction", ("float32",) * 4


@template(_each_measure, registers=WIDE, narrow="of a norm, a block writes two numbers")
def measure(way: str, name: str, dtypes: Dtypes) -> Built:
    """Sums of each block: of its part of the first array, and of the direction that a rule gives, if any."""
    direction, arrays, real = RULES[name] if name else None, len(dtypes), computing_of(dtypes)
    rule = direction or Rule(None, 1, 1, 0)
    walk = walk_of(arrays, operands_of(rule, dtypes), rule.operands, real, _measured(way, direction))
    part_of, of_block = part_of_tensor(arrays), _of_block(way)

    def kernel(table: int, tensors: int, size: int, live: int, partial: int, numbers: Any) -> None:
        row, first, count = part_of(table, tensors, size)
        shared = cuda.shared.array(THREADS, types.float64)
        c, sums = cuda.local.array(NUMBERS, real), cuda.local.array(3, types.float64)
        numbers_of(c, numbers, live)
        sums[0], sums[1], sums[EXPONENT] = 0.0, 0.0, numbers[0]
        walk(row, first, count, c, sums)
        sums[0] = of_block(shared, sums[0])
        sums[1] = of_block(shared, sums[1])
        if cuda.threadIdx.x == 0:
            put_double(partial, 2 * cuda.blockIdx.x, sums[0])
            put_double(partial, 2 * cuda.blockIdx.x + 1, sums[1])

    word, address = types.int64, types.uint64
    return kernel, (address, word, word, address, address, types.UniTuple(types.float64, NUMBERS))


def _measured(way: str, direction: Rule | None) -> Any:
    """(x, k, c, sums): the rule, whose direction is the last row; both sums grow."""
    term, merge = _term(way), _merged(way)

    @device
    def first(x: Any, k: int, c: Any, sums: Any) -> None:
        sums[0] = merge(sums[0], term(x[0, k], sums[EXPONENT]))

    if direction is None:
        return first
    run, last = penalised(direction), direction.operands - 1

    @device
    def both(x: Any, k: int, c: Any, sums: Any) -> None:
        first(x, k, c, sums)
        run(x, k, c, sums)
        sums[1] = merge(sums[1], term(x[last, k], sums[EXPONENT]))

    return both


@template(lambda: [()], narrow="it reads what a few blocks wrote")
def trust() -> Built:
    """For each tensor the factor a w / (d + b w) of its norms w and d; 1 where one of them is 0.

    arrays: how many the table has of a tensor.
    """
    of_block = _of_block(SQUARES)

    def kernel(
        table: int, arrays: int, blocks: int, live: int, partial: int, factors: int, numbers: Any
    ) -> None:
        tensor, shared = types.int64(cuda.blockIdx.x), cuda.shared.array(THREADS, types.float64)
        size = 8 * (ADDRESSES + arrays)
        first, last = word_at(table + types.uint64(tensor * size)), blocks
        if tensor + 1 < cuda.gridDim.x:
            last = word_at(table + types.uint64((tensor + 1) * size))
        weight, direction = 0.0, 0.0
        for p in range(first + cuda.threadIdx.x, last, THREADS):
            weight += double_at(partial, 2 * p)
            direction += double_at(partial, 2 * p + 1)
        weight, direction = math.sqrt(of_block(shared, weight)), math.sqrt(of_block(shared, direction))
        c = cuda.local.array(NUMBERS, types.float64)
        numbers_of(c, numbers, live)
        if cuda.threadIdx.x == 0:
            factor = 1.0
            if weight != 0 and direction != 0:
                factor = c[COEFFICIENT] * weight / (direction + c[TRUST_DECAY] * weight)
            put_double(factors, tensor, factor)

    word, address = types.int64, types.uint64
    return kernel, (address, word, word, address, address, address, types.UniTuple(types.float64, NUMBERS))


@template(
    lambda: [(way,) for way in (SQUARES, SIZES, LARGEST, POWERS)], narrow="it reads what a few blocks wrote"
)
def total(way: str) -> Built:
    """The norm of all that blocks measured, and the factor that limits it: two float64 numbers."""
    merge, of_block = _merged(way), _of_block(way)

    def kernel(blocks: int, partial: int, results: int, most: float, exponent: float) -> None:
        shared, norm = cuda.shared.array(THREADS, types.float64), 0.0
        for p in range(types.int64(cuda.threadIdx.x), blocks, THREADS):
            norm = merge(norm, double_at(partial, 2 * p))
        norm = of_block(shared, norm)
        if way == SQUARES:
            norm = math.sqrt(norm)
        if way == POWERS:
            norm = math.pow(norm, 1 / exponent)
        factor = most / (norm + 1e-6)
        if cuda.threadIdx.x == 0:
            put_double(results, 0, norm)
            put_double(results, 1, 1.0 if factor >= 1 else factor)

    address = types.uint64
    return kernel, (types.int64, address, address, types.float64, types.float64)


@template(lambda: [("float32",), ("float64",), ("bfloat16",)], narrow="rows of any length begin anywhere")
def limit_rows(dtype: str) -> Built:
    """A block for each row: one whose norm is above a limit is scaled down to it."""
    real, size, of_block = computing(dtype), ITEMSIZE[dtype], _of_block(SQUARES)
    number, put, term = read(dtype), write(dtype), _term(SQUARES)

    def kernel(address: int, length: int, live: int, limit: float) -> None:
        shared = cuda.shared.array(THREADS, types.float64)
        row = address + types.uint64(cuda.blockIdx.x * length * size)
        most = double_at(live, 0) if live != 0 else limit
        squares = 0.0
        for i in range(types.int64(cuda.threadIdx.x), length, THREADS):
            squares += term(number(row, i), 0.0)
        norm = math.sqrt(of_block(shared, squares))
        if norm > most:
            factor = real(most / norm)
            for i in range(types.int64(cuda.threadIdx.x), length, THREADS):
                put(row, i, real(number(row, i)) * factor)

    return kernel, (types.uint64, types.int64, types.uint64, types.float64)
