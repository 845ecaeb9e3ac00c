"""Kernels over lists of tensors: one launch for many of them. It knows rules and norms by name only.

A list is a table in device memory of 64-bit words, a row for each tensor: the number of its first block, its
number of elements, its arrays' addresses. A block works on a chunk of one tensor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from numba import cuda, types

from fastnn.cuda._runtime.compiler import Built, template
from fastnn.cuda._runtime.dtypes import ITEMSIZE
from fastnn.cuda._runtime.ptx.access import load, store
from fastnn.cuda._runtime.ptx.arithmetic import product
from fastnn.cuda._runtime.ptx.functions import device, in_turn, made_once
from fastnn.cuda._runtime.ptx.integers import word_at
from fastnn.cuda._runtime.ptx.real import computing
from fastnn.cuda.kernels.common.numbers import double_at, put_double, read, write
from fastnn.cuda.kernels.common.tiles import THREADS, Operand, chunk, moves
from fastnn.cuda.kernels.optim.rules import COEFFICIENT, KEEP, NUMBERS, RULES, TRUST_DECAY, Rule, penalise

FIRST_BLOCK, COUNT, ADDRESSES = 0, 1, 2
_TILE = 2048  # a whole number of vectors for every thread
_MOST = 1 << 16

#: Registers of a thread that holds 16 bytes or more of five operands.
WIDE = 88

Dtypes = tuple[str, ...]


def chunk_elements(total: int) -> int:
    """The elements of a block, by those of the list alone: so results do not depend on the GPU."""
    return min(_MOST, max(1, -(-total // (1024 * _TILE))) * _TILE)


def table_words(rows: Sequence[tuple[int, Sequence[int]]], size: int) -> tuple[list[int], int]:
    """The words of a list of (number of elements, addresses), cut in chunks of `size`; and its blocks."""
    words, blocks = [], 0
    for count, addresses in rows:
        words += [blocks, count, *addresses]
        blocks += -(-count // size)
    return words, blocks


@made_once
def _part(columns: int) -> Any:
    """(table, tensors, size): the row of the tensor that a block works on, its first element, how many."""
    row_size = 8 * (ADDRESSES + columns)

    @device
    def find(table: int, tensors: int, size: int) -> tuple[int, int, int]:
        block = types.int64(cuda.blockIdx.x)
        low, high = types.int64(0), tensors  # the first `low` rows begin at or before the block
        while low < high:
            middle = (low + high) >> 1
            if word_at(table + types.uint64(middle * row_size)) <= block:
                low = middle + 1
            else:
                high = middle
        row = table + types.uint64((low - 1) * row_size)
        first = (block - word_at(row)) * size
        return row, first, min(size, word_at(row + types.uint64(8 * COUNT)) - first)

    return find


def _walk(columns: int, operands: tuple[Operand, ...], rows: int, real: Any, body: Any) -> Any:
    """(row, first, count, c, sums): body(x, k, c, sums) for `count` of a tensor's elements, from first on.

    x has `rows` rows, of which the operands are the first ones.
    """
    width, used = chunk(operands), [j for j, o in enumerate(operands) if o.read or o.written]
    load_whole, store_whole = (moves(operands, width, width, kind) for kind in (load, store))
    load_one, store_one = (moves(operands, 1, 1, kind) for kind in (load, store))
    addresses_used = in_turn([_address(j) for j in used])

    @device
    def walk(row: int, first: int, count: int, c: Any, sums: Any) -> None:
        a, together = cuda.local.array(columns, types.uint64), cuda.local.array(1, types.uint64)
        together[0] = 0
        addresses_used(row, a, together)
        end, i = types.int32(count), types.int32(cuda.threadIdx.x)
        if together[0] & 15 == 0:
            x = cuda.local.array((rows, width), real)
            whole, i = types.int32(end & -width), types.int32(i * width)
            while i < whole:  # a range would count in 64 bits
                at = first, types.uint32(i)
                load_whole(a, x, at)
                for k in range(width):
                    body(x, k, c, sums)
                store_whole(a, x, at)
                i = types.int32(i + THREADS * width)
            i = types.int32(whole + cuda.threadIdx.x)
        y = cuda.local.array((rows, 1), real)
        while i < end:
            at = first, types.uint32(i)
            load_one(a, y, at)
            body(y, 0, c, sums)
            store_one(a, y, at)
            i = types.int32(i + THREADS)

    return walk


def _address(j: int) -> Any:
    @device
    def take(row: int, a: Any, together: Any) -> None:
        a[j] = types.uint64(word_at(row + types.uint64(8 * (ADDRESSES + j))))
        together[0] |= a[j]

    return take


@device
def _numbers(c: Any, numbers: Any, live: int) -> None:
    """The numbers in the computing type: the arguments, or what lies at an address."""
    for k in range(NUMBERS):
        c[k] = numbers[k]
    if live != 0:
        for k in range(NUMBERS):
            c[k] = double_at(live, k)


# ---- updates -----------------------------------------------------------------------------------------------


def operands_of(rule: Rule, dtypes: Dtypes) -> tuple[Operand, ...]:
    """The operands that are in memory."""
    return tuple(
        Operand(dtype, bool(rule.reads >> j & 1), bool(rule.writes >> j & 1))
        for j, dtype in enumerate(dtypes)
    )


def _penalised(rule: Rule) -> Any:
    """(x, k, c, sums): the penalties, then the rule."""
    function, has_gradient, moves_parameter = rule.function, bool(rule.reads & 2), bool(rule.writes & 1)

    @device
    def run(x: Any, k: int, c: Any, sums: Any) -> None:
        if has_gradient:
            penalise(x, k, c)
        if moves_parameter and c[KEEP] != 1:
            x[0, k] = product(x[0, k], c[KEEP])
        function(x, k, c)

    return run


def _each_update() -> Iterator[tuple[str, Dtypes]]:
    for name, rule in RULES.items():
        if not name.endswith("_direction"):
            yield name, ("float32",) * rule.operands
    yield from (("adam", ("float64",) * 4), ("average", ("float32", "float16")))
    yield from (("adam", (dtype, dtype, "float32", "float32")) for dtype in ("float16", "bfloat16"))


@template(_each_update, registers=WIDE)
def update(name: str, dtypes: Dtypes) -> Built:
    """One step of a rule for all tensors.

    factors: where factors of the tensors' steps are, so many bytes apart; 0: there are none.
    """
    rule, columns, real = RULES[name], len(dtypes), _real(dtypes)
    walk = _walk(columns, operands_of(rule, dtypes), rule.operands, real, _penalised(rule))
    part_of, idle_at_one = _part(columns), name == "scale"

    def kernel(
        table: int, tensors: int, size: int, live: int, factors: int, apart: int, numbers: Any
    ) -> None:
        row, first, count = part_of(table, tensors, size)
        exact, c = cuda.local.array(NUMBERS, types.float64), cuda.local.array(NUMBERS, real)
        _numbers(exact, numbers, live)
        if factors != 0:
            tensor = (row - table) // types.uint64(8 * (ADDRESSES + columns))
            exact[0] *= double_at(factors + tensor * types.uint64(apart), 0)
        for k in range(NUMBERS):
            c[k] = exact[k]
        if not (idle_at_one and exact[0] == 1):
            walk(row, first, count, c, exact)

    word, address = types.int64, types.uint64
    return kernel, (address, word, word, address, address, word, types.UniTuple(types.float64, NUMBERS))


def _real(dtypes: Dtypes) -> Any:
    return computing("float64" if "float64" in dtypes else "float32")


# ---- norms -------------------------------------------------------------------------------------------------

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
def _term(kind: str) -> Any:
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

    return {SQUARES: square, SIZES: size, LARGEST: size, POWERS: power}[kind]


def _merged(kind: str) -> Any:
    return _largest if kind == LARGEST else _sum


@made_once
def _of_block(kind: str) -> Any:
    """(shared, value): what the values of all threads add up to, in a fixed order."""
    merge = _merged(kind)

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
    yield from ((kind, "", (dtype,)) for kind in (SQUARES, LARGEST) for dtype in ("float32", "bfloat16"))
    yield from ((kind, "", ("float32",)) for kind in (SIZES, POWERS))
    yield SQUARES, "lars_direction", ("float32",) * 3
    yield SQUARES, "lamb_direction", ("float32",) * 4


@template(_each_measure, registers=WIDE, narrow="of a norm, a block writes two numbers")
def measure(kind: str, name: str, dtypes: Dtypes) -> Built:
    """Sums of each block: of its part of the first array, and of the direction that a rule gives, if any."""
    direction, columns, real = RULES[name] if name else None, len(dtypes), _real(dtypes)
    rule = direction or Rule(None, 1, 1, 0)
    walk = _walk(columns, operands_of(rule, dtypes), rule.operands, real, _measured(kind, direction))
    part_of, of_block = _part(columns), _of_block(kind)

    def kernel(table: int, tensors: int, size: int, live: int, partial: int, numbers: Any) -> None:
        row, first, count = part_of(table, tensors, size)
        shared = cuda.shared.array(THREADS, types.float64)
        c, sums = cuda.local.array(NUMBERS, real), cuda.local.array(3, types.float64)
        _numbers(c, numbers, live)
        sums[0], sums[1], sums[EXPONENT] = 0.0, 0.0, numbers[0]
        walk(row, first, count, c, sums)
        sums[0] = of_block(shared, sums[0])
        sums[1] = of_block(shared, sums[1])
        if cuda.threadIdx.x == 0:
            put_double(partial, 2 * cuda.blockIdx.x, sums[0])
            put_double(partial, 2 * cuda.blockIdx.x + 1, sums[1])

    word, address = types.int64, types.uint64
    return kernel, (address, word, word, address, address, types.UniTuple(types.float64, NUMBERS))


def _measured(kind: str, direction: Rule | None) -> Any:
    """(x, k, c, sums): the rule, whose direction is the last row; both sums grow."""
    term, merge = _term(kind), _merged(kind)

    @device
    def first(x: Any, k: int, c: Any, sums: Any) -> None:
        sums[0] = merge(sums[0], term(x[0, k], sums[EXPONENT]))

    if direction is None:
        return first
    run, last = _penalised(direction), direction.operands - 1

    @device
    def both(x: Any, k: int, c: Any, sums: Any) -> None:
        first(x, k, c, sums)
        run(x, k, c, sums)
        sums[1] = merge(sums[1], term(x[last, k], sums[EXPONENT]))

    return both


@template(lambda: [()], narrow="it reads what a few blocks wrote")
def trust() -> Built:
    """For each tensor, of `columns` arrays, the factor a w / (d + b w) of its norms; 1 where one is 0."""
    of_block = _of_block(SQUARES)

    def kernel(
        table: int, columns: int, blocks: int, live: int, partial: int, factors: int, numbers: Any
    ) -> None:
        tensor, shared = types.int64(cuda.blockIdx.x), cuda.shared.array(THREADS, types.float64)
        size = 8 * (ADDRESSES + columns)
        first, last = word_at(table + types.uint64(tensor * size)), blocks
        if tensor + 1 < cuda.gridDim.x:
            last = word_at(table + types.uint64((tensor + 1) * size))
        weight, direction = 0.0, 0.0
        for p in range(first + cuda.threadIdx.x, last, THREADS):
            weight += double_at(partial, 2 * p)
            direction += double_at(partial, 2 * p + 1)
        weight, direction = math.sqrt(of_block(shared, weight)), math.sqrt(of_block(shared, direction))
        c = cuda.local.array(NUMBERS, types.float64)
        _numbers(c, numbers, live)
        if cuda.threadIdx.x == 0:
            factor = 1.0
            if weight != 0 and direction != 0:
                factor = c[COEFFICIENT] * weight / (direction + c[TRUST_DECAY] * weight)
            put_double(factors, tensor, factor)

    word, address = types.int64, types.uint64
    return kernel, (address, word, word, address, address, address, types.UniTuple(types.float64, NUMBERS))


@template(
    lambda: [(kind,) for kind in (SQUARES, SIZES, LARGEST, POWERS)], narrow="it reads what a few blocks wrote"
)
def total(kind: str) -> Built:
    """The norm of all that blocks measured, and the factor that limits it: two float64 numbers."""
    merge, of_block = _merged(kind), _of_block(kind)

    def kernel(blocks: int, partial: int, results: int, most: float, exponent: float) -> None:
        shared, norm = cuda.shared.array(THREADS, types.float64), 0.0
        for p in range(types.int64(cuda.threadIdx.x), blocks, THREADS):
            norm = merge(norm, double_at(partial, 2 * p))
        norm = of_block(shared, norm)
        if kind == SQUARES:
            norm = math.sqrt(norm)
        if kind == POWERS:
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
