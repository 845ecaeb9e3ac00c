"""Floating-point instructions but for comparisons.

The approximate ones (ex2.approx, rcp.approx, div.full ...) give the correctly rounded value: a device's
differs from it in the last bits. Multiplications and additions without a rounding mode are rounded each,
which the assembler may fuse.
"""

from __future__ import annotations

import numpy as np

from fastnn._core.typing import Array
from support.ptx_emulator import rounding
from support.ptx_emulator.elementwise import Function, simple, step
from support.ptx_emulator.machine import Step
from support.ptx_emulator.parser import WIDTHS
from support.ptx_emulator.program import DTYPES, Operation, instruction


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


def arithmetic(operation: Operation) -> Step:
    """A function of the table FLOAT."""
    name = operation.name
    approximate = operation.choice("approx", "full") == "approx"
    if approximate and operation.type == "f64" and operation.flag("ftz"):
        return gross(operation)
    return floating(operation, FLOAT[name], rounding.fma_half if name in ("fma", "mad") else None)


def gross(operation: Operation) -> Step:
    """rcp.approx.ftz.f64, rsqrt.approx.f64: the upper half of the result, zeros below."""
    function = FLOAT[operation.name]
    upper = np.uint64(0xFFFFFFFF00000000)
    return simple(operation, lambda x: (function(x).view(np.uint64) & upper).view(np.float64))


def extreme(operation: Operation) -> Step:
    least = operation.name == "min"
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


def sign(operation: Operation) -> Step:
    kind = operation.type
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
