"""Instructions that compute: floating-point, integer, bits, comparisons, selection.

The approximate ones (ex2.approx, rcp.approx, div.full ...) give the correctly rounded value: a device's
differs from it in the last bits. Multiplications and additions without a rounding mode are rounded each,
which the assembler may fuse.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ptx_emulator import rounding
from ptx_emulator.machine import Array, Machine, Step
from ptx_emulator.parser import WIDTHS
from ptx_emulator.program import DTYPES, Operation, Reader, Writer, instruction, kinds_of_float

Function = Callable[..., Array]


def step(write: Writer, function: Function, *readers: Reader) -> Step:
    """Writes `function` of what the readers give."""
    if len(readers) == 1:
        (only,) = readers
        return lambda machine: write(machine, function(only(machine.regs)))
    if len(readers) == 2:
        a, b = readers
        return lambda machine: write(machine, function(a(machine.regs), b(machine.regs)))
    return lambda machine: write(machine, function(*[read(machine.regs) for read in readers]))


def simple(operation: Operation, function: Function) -> Step:
    """`function` of all operands but the first, which takes the result."""
    readers = [operation.read(i) for i in range(1, len(operation.operands))]
    return step(operation.write(0), function, *readers)


def on_halves(kind: str, function: Function) -> Function:
    """A function of float32 arrays as one of half formats' arrays, pairs included."""
    if kind.endswith("x2"):
        single, pair = DTYPES[kind.removesuffix("x2")], DTYPES[kind]
        inner = function if kind == "f32x2" else on_halves(kind.removesuffix("x2"), function)

        def pairs(*operands: Array) -> Array:
            halves = [np.ascontiguousarray(each).view(single).reshape(-1, 2) for each in operands]
            return np.ascontiguousarray(inner(*halves)).view(pair)[:, 0]

        return pairs
    if kind == "bf16":
        return lambda *operands: rounding.to_bf16(function(*map(rounding.from_bf16, operands)))
    half, single = np.dtype(np.float16), np.dtype(np.float32)
    return lambda *operands: rounding.canonical(
        function(*[each.astype(single) for each in operands]).astype(half)
    )


def floating(operation: Operation, function: Function, half: Function | None = None) -> Step:
    """A floating-point function with the modifiers .rn .rz .rm .rp .ftz .sat .relu."""
    mode, ftz = operation.choice("rn", "rz", "rm", "rp", default="rn"), operation.flag("ftz")
    saturate, relu = operation.flag("sat"), operation.flag("relu")
    halves = operation.type not in ("f32", "f64")
    exact = rounding.directed(half if half and halves and operation.type != "f32x2" else function, mode)

    def whole(*operands: Array) -> Array:
        result = rounding.canonical(exact(*map(rounding.flush, operands) if ftz else operands))
        if ftz:
            result = rounding.flush(result)
        if relu:
            result = np.where(result < 0, result.dtype.type(0), result)
        return rounding.saturate(result) if saturate else result

    return simple(operation, on_halves(operation.type, whole) if halves else whole)


def through_float64(function: Function) -> Function:
    """A function in float64, rounded to float32: its correctly rounded value but for rare ties."""
    return lambda values: function(values.astype(np.float64)).astype(values.dtype)


def fast(function: Function) -> Function:
    """A function that has only an approximate instruction."""
    return lambda values: (
        through_float64(function)(values) if values.dtype == np.float32 else function(values)
    )


FLOAT: dict[str, Function] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "fma": rounding.fma,
    "mad": rounding.fma,
    "sqrt": np.sqrt,
    "rcp": lambda x: np.divide(x.dtype.type(1), x),
    "rsqrt": fast(lambda x: 1 / np.sqrt(x)),
    "ex2": fast(np.exp2),
    "lg2": fast(np.log2),
    "sin": fast(np.sin),
    "cos": fast(np.cos),
    "tanh": fast(np.tanh),
}


@instruction(
    "add", "sub", "mul", "div", "fma", "mad", "sqrt", "rcp", "rsqrt", "ex2", "lg2", "sin", "cos", "tanh"
)
def arithmetic(operation: Operation) -> Step:
    if not kinds_of_float(operation.type):
        return integer(operation)
    name = operation.name
    approximate = operation.choice("approx", "full") == "approx"
    if approximate and operation.type == "f64":
        return gross(operation)
    return floating(operation, FLOAT[name], rounding.fma_half if name in ("fma", "mad") else None)


def gross(operation: Operation) -> Step:
    """rcp.approx.ftz.f64, rsqrt.approx.f64: the upper half of the result, zeros below."""
    operation.flag("ftz")
    function = FLOAT[operation.name]
    upper = np.uint64(0xFFFFFFFF00000000)
    return simple(operation, lambda x: (function(x).view(np.uint64) & upper).view(np.float64))


@instruction("min", "max")
def extreme(operation: Operation) -> Step:
    kind, least = operation.type, operation.name == "min"
    if not kinds_of_float(kind):
        return simple(operation, np.minimum if least else np.maximum)
    if operation.flag("NaN"):
        return floating(operation, lambda a, b: np.where((a != a) | (b != b), a + b, _extreme(least)(a, b)))
    return floating(operation, lambda *operands: _fold(_extreme(least), operands))


def _extreme(least: bool) -> Function:
    return rounding.smaller if least else rounding.larger


def _fold(function: Function, operands: tuple[Array, ...]) -> Array:
    first, *rest = operands
    for each in rest:
        first = function(first, each)
    return first


@instruction("abs", "neg")
def sign(operation: Operation) -> Step:
    kind = operation.type
    if not kinds_of_float(kind):
        return simple(operation, np.abs if operation.name == "abs" else np.negative)
    ftz, width = operation.flag("ftz"), WIDTHS[kind]
    bits = np.dtype(f"u{width}")
    top = sum(1 << i for i in ((15, 31) if kind.endswith("x2") else (8 * width - 1,)))
    mask = bits.type(top)
    change: Function = (lambda x: x & ~mask) if operation.name == "abs" else (lambda x: x ^ mask)

    def function(x: Array) -> Array:
        return change((rounding.flush(x) if ftz else x).view(bits)).view(x.dtype)

    return simple(operation, function)


@instruction("copysign")
def copysign(operation: Operation) -> Step:
    return simple(operation, lambda sign, magnitude: np.copysign(magnitude, sign))


@instruction("testp")
def testp(operation: Operation) -> Step:
    tests: dict[str, Function] = {
        "finite": np.isfinite,
        "infinite": np.isinf,
        "number": lambda x: x == x,
        "notanumber": np.isnan,
        "normal": lambda x: np.isfinite(x) & (np.abs(x) >= np.finfo(x.dtype).smallest_normal),
        "subnormal": lambda x: (x != 0) & (np.abs(x) < np.finfo(x.dtype).smallest_normal),
    }
    return step(operation.write(0, "pred"), tests[operation.choice(*tests)], operation.read(1))


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


def integer(operation: Operation) -> Step:
    """add, sub, mul, mad, div of integers, with carries."""
    name = operation.name
    if operation.flag("cc"):
        return carry(operation, True)
    if name in ("mul", "mad"):
        return multiply(operation)
    if operation.flag("sat"):
        limits = np.iinfo(np.int32)
        wide = FLOAT[name]
        return simple(
            operation,
            lambda a, b: np.clip(wide(a.astype("i8"), b.astype("i8")), *_range(limits)).astype("i4"),
        )
    return simple(operation, divide if name == "div" else FLOAT[name])


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


@instruction("bfe", "szext", "bmsk")
def extract(operation: Operation) -> Step:
    if operation.name != "bfe":
        raise operation.refuse()
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


@instruction("clz", "popc")
def count_bits(operation: Operation) -> Step:
    bits = 8 * WIDTHS[operation.type]

    def clz(x: Array) -> Array:
        for shift in (1, 2, 4, 8, 16, 32):  # all below the highest one become ones
            x = x | x >> x.dtype.type(shift)
        return bits - np.bitwise_count(x).astype(np.uint32)

    function = clz if operation.name == "clz" else lambda x: np.bitwise_count(x).astype(np.uint32)
    return step(operation.write(0, "u32"), function, operation.read(1))


@instruction("bfind")
def bfind(operation: Operation) -> Step:
    if operation.flag("shiftamt") or operation.type[0] == "s":
        raise operation.refuse()

    def function(x: Array) -> Array:
        for shift in (1, 2, 4, 8, 16, 32):
            x = x | x >> x.dtype.type(shift)
        return np.bitwise_count(x).astype(np.uint32) - np.uint32(1)

    return step(operation.write(0, "u32"), function, operation.read(1))


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


_COMPARISONS: dict[str, Function] = {
    "eq": np.equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "lo": np.less,
    "ls": np.less_equal,
    "hi": np.greater,
    "hs": np.greater_equal,
    "neu": np.not_equal,
    "equ": lambda a, b: ~((a < b) | (a > b)),
    "ltu": lambda a, b: ~(a >= b),
    "leu": lambda a, b: ~(a > b),
    "gtu": lambda a, b: ~(a <= b),
    "geu": lambda a, b: ~(a < b),
    "num": lambda a, b: (a == a) & (b == b),
    "nan": lambda a, b: (a != a) | (b != b),
}


def comparison(operation: Operation, kind: str) -> Function:
    """The comparison that the modifiers name, of operands of a type."""
    name = operation.choice("ne", *_COMPARISONS)
    if name == "ne":
        function: Function = (lambda a, b: (a < b) | (a > b)) if kinds_of_float(kind) else np.not_equal
    else:
        function = _COMPARISONS[name]
    if operation.flag("ftz"):
        exact = function
        function = lambda a, b: exact(rounding.flush(a), rounding.flush(b))  # noqa: E731
    if kind == "bf16":
        plain = function
        function = lambda a, b: plain(rounding.from_bf16(a), rounding.from_bf16(b))  # noqa: E731
    if kind.endswith("x2"):
        raise operation.refuse()
    return function


_COMBINATIONS: dict[str, Function] = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}


@instruction("setp")
def setp(operation: Operation) -> Step:
    kind = operation.type
    compare = comparison(operation, kind)
    combine = operation.choice(*_COMBINATIONS)
    result, _, complement = operation.operands[0].partition("|")
    write, write_complement = operation.write(result, "pred"), operation.write(complement or "_", "pred")
    a, b = operation.read(1), operation.read(2)
    other = operation.read(3, "pred") if combine else None

    def run(machine: Machine) -> None:
        values = compare(a(machine.regs), b(machine.regs))
        opposite = ~values if complement else values
        if other is not None:
            values = _COMBINATIONS[combine](values, other(machine.regs))
            opposite = _COMBINATIONS[combine](opposite, other(machine.regs))
        write(machine, values)
        write_complement(machine, opposite)

    return run


@instruction("set")
def set_value(operation: Operation) -> Step:
    to, kind = operation.types
    compare = comparison(operation, kind)
    combine = operation.choice(*_COMBINATIONS)
    readers = [operation.read(1, kind), operation.read(2, kind)]
    yes = np.ones(1, np.float32) if to == "f32" else np.full(1, -1, np.int32)
    if combine:
        readers.append(operation.read(3, "pred"))

    def function(a: Array, b: Array, *other: Array) -> Array:
        values = compare(a, b)
        return np.where(_COMBINATIONS[combine](values, other[0]) if other else values, yes, yes.dtype.type(0))

    return step(operation.write(0, to), function, *readers)


def select(condition: Array, a: Array, b: Array) -> Array:
    """a where the condition holds, else b."""
    if condition.shape[0] == 1:
        return a if condition[0] else b
    return np.where(condition, a, b)


@instruction("selp")
def selp(operation: Operation) -> Step:
    readers = operation.read(3, "pred"), operation.read(1), operation.read(2)
    return step(operation.write(0), select, *readers)


@instruction("slct")
def slct(operation: Operation) -> Step:
    kind, condition = operation.types
    operation.flag("ftz")
    readers = operation.read(3, condition), operation.read(1, kind), operation.read(2, kind)
    return step(operation.write(0, kind), lambda c, a, b: select(c >= 0, a, b), *readers)
