"""Instructions on bits: logic, shifts, fields, counts, permutations."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn._core.typing import Array
from support.ptx_emulator.elementwise import Function, simple, step
from support.ptx_emulator.machine import Step
from support.ptx_emulator.parser import WIDTHS
from support.ptx_emulator.program import DTYPES, Operation, instruction


@instruction("and", "or", "xor")
def bitwise(operation: Operation) -> Step:
    return simple(
        operation, {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}[operation.name]
    )


@instruction("not", "cnot")
def invert(operation: Operation) -> Step:
    return simple(operation, np.invert if operation.name == "not" else lambda x: (x == 0).astype(x.dtype))


@instruction("shl", "shr")
def shift(operation: Operation) -> Step:
    function: Function = np.left_shift if operation.name == "shl" else np.right_shift
    dtype = DTYPES[operation.type]
    count = operation.read(2, "u32")  # NumPy gives what PTX does for counts beyond the width
    limit = np.uint32(64)
    return step(
        operation.write(0),
        lambda x, n: function(x, np.minimum(n, limit).astype(dtype)),
        operation.read(1),
        count,
    )


@instruction("shf")
def funnel(operation: Operation) -> Step:
    left, wrap = operation.choice("l", "r") == "l", operation.choice("wrap", "clamp") == "wrap"

    def function(low: Array, top: Array, n: Array) -> Array:
        count = (n & 31 if wrap else np.minimum(n, np.uint32(32))).astype(np.uint64)
        both = top.astype(np.uint64) << 32 | low
        shifted = (both << count) >> np.uint64(32) if left else both >> count
        return shifted.astype(np.uint32)

    return simple(operation, function)


@instruction("bfe")
def extract(operation: Operation) -> Step:
    bits = WIDTHS[operation.type] * 8
    signed = operation.type[0] == "s"
    word = f"u{bits}"

    def function(x: Array, start: Array, length: Array) -> Array:
        dtype = DTYPES[word]
        start, length = (start & 255).astype(dtype), (length & 255).astype(dtype)
        field = x >> start & _ones(length, dtype)
        if not signed:
            return field
        last = np.minimum(start + length - dtype.type(1), dtype.type(bits - 1))
        negative = ((x >> last & dtype.type(1)) != 0) & (length != 0)
        return np.where(
            negative,
            field | ~_ones(np.minimum(length, np.maximum(dtype.type(bits), start) - start), dtype),
            field,
        )

    readers = operation.read(1, word), operation.read(2, "u32"), operation.read(3, "u32")
    return step(operation.write(0, word), function, *readers)


def _ones(length: Array, dtype: np.dtype[Any]) -> Array:
    """So many ones at the lower end."""
    ones: Array = ~np.left_shift(~dtype.type(0), length)
    return ones


@instruction("bfi")
def insert(operation: Operation) -> Step:
    dtype = DTYPES[operation.type]

    def function(field: Array, base: Array, start: Array, length: Array) -> Array:
        start, length = (start & 255).astype(dtype), (length & 255).astype(dtype)
        mask = np.left_shift(_ones(length, dtype), start)
        return base & ~mask | np.left_shift(field, start) & mask

    return step(
        operation.write(0),
        function,
        operation.read(1),
        operation.read(2),
        operation.read(3, "u32"),
        operation.read(4, "u32"),
    )


@instruction("brev")
def reverse(operation: Operation) -> Step:
    def function(x: Array) -> Array:
        octets = np.ascontiguousarray(x).view(np.uint8).reshape(len(x), -1)
        bits = np.unpackbits(octets, axis=1, bitorder="little")[:, ::-1]
        return np.packbits(bits, axis=1, bitorder="little").view(x.dtype)[:, 0]

    return simple(operation, function)


@instruction("popc", "clz", "bfind")
def count_bits(operation: Operation) -> Step:
    if operation.type[0] == "s":
        raise operation.refuse()
    bits = 8 * WIDTHS[operation.type]
    functions: dict[str, Function] = {
        "popc": lambda x: np.bitwise_count(x).astype(np.uint32),
        "clz": lambda x: bits - _length(x),
        "bfind": lambda x: _length(x) - np.uint32(1),
    }
    return step(operation.write(0, "u32"), functions[operation.name], operation.read(1))


def _length(x: Array) -> Array:
    """The number of bits from the highest one down."""
    for shift in (1, 2, 4, 8, 16, 32):  # all below the highest one become ones
        x = x | x >> x.dtype.type(shift)
    return np.bitwise_count(x).astype(np.uint32)


@instruction("prmt")
def permute(operation: Operation) -> Step:
    def function(a: Array, b: Array, selector: Array) -> Array:
        both = b.astype(np.uint64) << 32 | a
        result = np.zeros(1, np.uint32)
        for i in range(4):
            choice = (selector >> np.uint32(4 * i) & 15).astype(np.uint64)
            octet = both >> ((choice & 7) * 8) & np.uint64(255)
            octet = np.where(choice & 8 != 0, (octet >> np.uint64(7)) * 255, octet)
            result = result | octet.astype(np.uint32) << np.uint32(8 * i)
        return result

    return simple(operation, function)


@instruction("lop3")
def lop3(operation: Operation) -> Step:
    table = int(operation.operands[4], 0)

    def function(a: Array, b: Array, c: Array) -> Array:
        result = np.zeros(1, np.uint32)
        for i in range(8):
            if table >> i & 1:
                result = result | (a if i & 4 else ~a) & (b if i & 2 else ~b) & (c if i & 1 else ~c)
        return result

    return step(operation.write(0), function, *[operation.read(i) for i in (1, 2, 3)])
