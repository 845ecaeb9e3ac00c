"""Integer instructions: sums, products, quotients, carries."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn._core.typing import Array
from support.ptx_emulator.elementwise import Function, simple, step
from support.ptx_emulator.machine import Machine, Step
from support.ptx_emulator.program import DTYPES, Operation, instruction


def high(a: Array, b: Array) -> Array:
    """The upper half of a product of integers."""
    if a.itemsize < 8:
        wide = np.dtype(f"{a.dtype.kind}{2 * a.itemsize}")
        product: Array = a.astype(wide) * b.astype(wide)
        return (product >> 8 * a.itemsize).astype(a.dtype)
    x, y, mask, half = a.view(np.uint64), b.view(np.uint64), np.uint64(0xFFFFFFFF), np.uint64(32)
    low, cross = (x & mask) * (y & mask), (x >> half) * (y & mask)
    other = (x & mask) * (y >> half) + (cross & mask) + (low >> half)
    result: Array = (x >> half) * (y >> half) + (cross >> half) + (other >> half)
    if a.dtype.kind == "i":
        result = result - np.where(a < 0, y, np.uint64(0)) - np.where(b < 0, x, np.uint64(0))
    return result.view(a.dtype)


def divide(a: Array, b: Array) -> Array:
    """Truncated quotient; division by 0 gives all ones."""
    divisor = np.where(b == 0, b.dtype.type(1), b)
    quotient = (a - np.fmod(a, divisor)) // divisor
    return np.where(b == 0, np.full(1, -1, f"i{b.itemsize}").view(b.dtype), quotient)


_SUMS: dict[str, Function] = {"add": np.add, "sub": np.subtract}


def arithmetic(operation: Operation) -> Step:
    """add, sub, mul, mad, div of integers, with carries."""
    name = operation.name
    if operation.flag("cc"):
        return carry(operation, True)
    if name in ("mul", "mad"):
        return multiply(operation)
    if operation.flag("sat"):
        limits = np.iinfo(np.int32)
        wide = _SUMS[name]
        return simple(
            operation,
            lambda a, b: np.clip(wide(a.astype("i8"), b.astype("i8")), *_range(limits)).astype("i4"),
        )
    return simple(operation, divide if name == "div" else _SUMS[name])


def _range(limits: np.iinfo[Any]) -> tuple[int, int]:
    return int(limits.min), int(limits.max)


def multiply(operation: Operation) -> Step:
    """mul and mad: .lo .hi .wide."""
    kind, part = operation.type, operation.choice("lo", "hi", "wide", default="lo")
    if part == "wide":
        wide = f"{kind[0]}{2 * int(kind[1:])}"
        product: Function = lambda a, b: a.astype(DTYPES[wide]) * b  # noqa: E731
    else:
        wide, product = kind, high if part == "hi" else np.multiply
    readers = [operation.read(1), operation.read(2)]
    if operation.name == "mul":
        return step(operation.write(0, wide), product, *readers)
    return step(
        operation.write(0, wide), lambda a, b, c: product(a, b) + c, *readers, operation.read(3, wide)
    )


@instruction("addc", "subc", "madc")
def carried(operation: Operation) -> Step:
    return carry(operation, operation.flag("cc"))


def carry(operation: Operation, out: bool) -> Step:
    """add, sub, mad, addc, subc, madc with the carry flag."""
    name, into = operation.name[:3], operation.name.endswith("c") and operation.name != "mad"
    word = f"u{operation.type[1:]}"
    kind = operation.type if name == "mad" else word
    part = operation.choice("lo", "hi", default="lo")
    product: Function = high if part == "hi" else np.multiply
    readers = [operation.read(i, kind) for i in range(1, len(operation.operands))]
    flag, write, write_flag = (
        operation.read("%carry", "pred"),
        operation.write(0, word),
        operation.write("%carry", "pred"),
    )
    dtype = DTYPES[word]

    def run(machine: Machine) -> None:
        a, b, *rest = [read(machine.regs) for read in readers]
        if name == "mad":
            a, b = product(a, b).view(dtype), rest[0].view(dtype)
        extra = flag(machine.regs).astype(dtype) if into else dtype.type(0)
        if name == "sub":
            first = a - b
            total = first - extra
            carries = (a < b) | (first < extra)
        else:
            first = a + b
            total = first + extra
            carries = (first < a) | (total < first)
        write(machine, total)
        if out:
            write_flag(machine, carries)

    return run


@instruction("rem")
def remainder(operation: Operation) -> Step:
    return simple(
        operation, lambda a, b: np.where(b == 0, a, np.fmod(a, np.where(b == 0, b.dtype.type(1), b)))
    )


@instruction("sad")
def sad(operation: Operation) -> Step:
    return simple(operation, lambda a, b, c: c + np.where(a < b, b - a, a - b))
