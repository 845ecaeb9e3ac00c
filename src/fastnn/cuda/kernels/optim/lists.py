"""Kernels over lists of tensors: one launch for many of them. It knows rules and norms by name only.

A list is a table in device memory of 64-bit words, a row for each tensor: the number of its first block, its
number of elements, its arrays' addresses. A block works on a chunk of one tensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from numba import cuda, types

from fastnn.cuda._runtime.compiler import Built, template
from fastnn.cuda._runtime.ptx.access import load, store
from fastnn.cuda._runtime.ptx.arithmetic import product
from fastnn.cuda._runtime.ptx.functions import device, in_turn, made_once
from fastnn.cuda._runtime.ptx.integers import word_at
from fastnn.cuda._runtime.ptx.real import computing
from fastnn.cuda.kernels.common.numbers import double_at
from fastnn.cuda.kernels.common.tiles import THREADS, Operand, chunk, moves
from fastnn.cuda.kernels.optim.rules import KEEP, NUMBERS, RULES, Rule, penalise

FIRST_BLOCK, COUNT, ADDRESSES = 0, 1, 2
_TILE = 2048  # a whole number of vectors for every thread
_MOST = 1 << 16

#: Registers of a thread that holds 16 bytes or more of five operands.
WIDE = 88

Dtypes = tuple[str, ...]


def chunk_elements(total: int) -> int:
    """The elements of a block. They depend on the list alone, so that no result depends on the GPU."""
    return min(_MOST, max(1, -(-total // (1024 * _TILE))) * _TILE)


def table_words(rows: Sequence[tuple[int, Sequence[int]]], size: int) -> tuple[list[int], int]:
    """The words of a list of (number of elements, addresses), cut in chunks of `size`; and its blocks."""
    words, blocks = [], 0
    for count, addresses in rows:
        words += [blocks, count, *addresses]
        blocks += -(-count // size)
    return words, blocks


@made_once
def part_of_tensor(arrays: int) -> Any:
    """(table, tensors, size): the row of the tensor that a block works on, its first element, how many."""
    row_size = 8 * (ADDRESSES + arrays)

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


def walk_of(arrays: int, operands: tuple[Operand, ...], rows: int, real: Any, body: Any) -> Any:
    """(row, first, count, c, sums): body(x, k, c, sums) for `count` of a tensor's elements, from first on.

    x has `rows` rows, of which the operands are the first ones.
    """
    width, used = chunk(operands), [j for j, o in enumerate(operands) if o.read or o.written]
    load_whole, store_whole = (moves(operands, width, width, access) for access in (load, store))
    load_one, store_one = (moves(operands, 1, 1, access) for access in (load, store))
    addresses_used = in_turn([_address(j) for j in used])

    @device
    def walk(row: int, first: int, count: int, c: Any, sums: Any) -> None:
        a, together = cuda.local.array(arrays, types.uint64), cuda.local.array(1, types.uint64)
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
def numbers_of(c: Any, numbers: Any, live: int) -> None:
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


def penalised(rule: Rule) -> Any:
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

    factors: the address of a factor for each tensor's step, `apart` bytes from one to the next; 0 without.
    """
    rule, arrays, real = RULES[name], len(dtypes), computing_of(dtypes)
    walk = walk_of(arrays, operands_of(rule, dtypes), rule.operands, real, penalised(rule))
    part_of, idle_at_one = part_of_tensor(arrays), name == "scale"

    def kernel(
        table: int, tensors: int, size: int, live: int, factors: int, apart: int, numbers: Any
    ) -> None:
        row, first, count = part_of(table, tensors, size)
        exact, c = cuda.local.array(NUMBERS, types.float64), cuda.local.array(NUMBERS, real)
        numbers_of(exact, numbers, live)
        if factors != 0:
            tensor = (row - table) // types.uint64(8 * (ADDRESSES + arrays))
            exact[0] *= double_at(factors + tensor * types.uint64(apart), 0)
        for k in range(NUMBERS):
            c[k] = exact[k]
        if not (idle_at_one and exact[0] == 1):
            walk(row, first, count, c, exact)

    word, address = types.int64, types.uint64
    return kernel, (address, word, word, address, address, word, types.UniTuple(types.float64, NUMBERS))


def computing_of(dtypes: Dtypes) -> Any:
    """The type that tensors of these dtypes are computed in: the widest that any of them is."""
    return computing("float64" if "float64" in dtypes else "float32")
