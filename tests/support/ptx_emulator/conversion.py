"""Instructions that move and convert registers: mov, cvt, cvta, isspacep."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastnn._core.typing import Array
from support.ptx_emulator import rounding
from support.ptx_emulator.elementwise import Function, simple, step
from support.ptx_emulator.machine import Machine, Step
from support.ptx_emulator.memory import BASE
from support.ptx_emulator.parser import WIDTHS, split
from support.ptx_emulator.program import DTYPES, LOCAL_WINDOW, SHARED_WINDOW, Operation, instruction, is_float


@instruction("mov")
def mov(operation: Operation) -> Step:
    target, source = operation.operands
    if target.startswith("{"):
        return unpack(operation, split(target[1:-1]))
    if source.startswith("{"):
        return pack(operation, split(source[1:-1]))
    return step(operation.write(0), lambda x: x, operation.read(1))


def unpack(operation: Operation, parts: list[str]) -> Step:
    kind = f"b{8 * WIDTHS[operation.type] // len(parts)}"
    read, writers = operation.read(1), [operation.write(part, kind) for part in parts]

    def run(machine: Machine) -> None:
        columns = np.ascontiguousarray(read(machine.regs)).view(DTYPES[kind]).reshape(-1, len(parts))
        for i, write in enumerate(writers):
            write(machine, np.ascontiguousarray(columns[:, i]))

    return run


def pack(operation: Operation, parts: list[str]) -> Step:
    kind = f"b{8 * WIDTHS[operation.type] // len(parts)}"
    readers, dtype = [operation.read(part, kind) for part in parts], DTYPES[operation.type]

    def function(*columns: Array) -> Array:
        together = np.stack(np.broadcast_arrays(*columns), axis=1)
        return together.view(dtype)[:, 0]

    return step(operation.write(0), function, *readers)


@instruction("cvta")
def cvta(operation: Operation) -> Step:
    back = operation.flag("to")
    space = operation.choice("global", "shared", "local", "const", "param")
    operation.flag("shared::cta")
    window = {"shared": SHARED_WINDOW, "local": LOCAL_WINDOW}.get(space, 0)
    offset = DTYPES[operation.type].type(window)
    return simple(operation, (lambda x: x - offset) if back else (lambda x: x + offset))


@instruction("isspacep")
def isspacep(operation: Operation) -> Step:
    limits = {
        "shared": (SHARED_WINDOW, LOCAL_WINDOW),
        "local": (LOCAL_WINDOW, BASE),
        "global": (BASE, 1 << 63),
    }
    low, high = limits[operation.choice(*limits)]
    return step(operation.write(0, "pred"), lambda x: (x >= low) & (x < high), operation.read(1, "u64"))


_INTEGRAL: dict[str, Function] = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}


@instruction("cvt")
def cvt(operation: Operation) -> Step:
    to, kind = operation.types
    if to.endswith("x2"):
        return convert_pair(operation, to)
    convert = conversion(operation, to, kind)
    return step(operation.write(0, to), convert, operation.read(1, kind))


def convert_pair(operation: Operation, to: str) -> Step:
    """Two float32 values to a pair of halves, the first operand to the upper one."""
    single = to.removesuffix("x2")
    convert = conversion(operation, single, "f32")

    def function(upper: Array, lower: Array) -> Array:
        pair = np.stack(np.broadcast_arrays(convert(lower), convert(upper)), axis=1)
        return pair.view(np.uint32)[:, 0]

    return step(operation.write(0, to), function, operation.read(1, "f32"), operation.read(2, "f32"))


def conversion(operation: Operation, to: str, kind: str) -> Function:
    """The function from one type to the other that the modifiers describe."""
    integral = operation.choice(*_INTEGRAL)
    mode = operation.choice("rn", "rz", "rm", "rp", default="rn")
    ftz, saturate, relu = operation.flag("ftz"), operation.flag("sat"), operation.flag("relu")
    if not is_float(kind):
        if is_float(to):
            return _chain(integer_to_float(to, mode), rounding.saturate if saturate else None)
        return clamped(to) if saturate else lambda x: x.astype(DTYPES[to])
    functions: list[Function | None] = [
        {"f16": lambda x: x.astype(np.float32), "bf16": rounding.from_bf16}.get(kind),
        rounding.flush if ftz else None,
        _INTEGRAL.get(integral),
    ]
    if not is_float(to):
        return _chain(*functions, lambda x: rounding.to_integer(x, DTYPES[to]))
    functions.append((lambda x: np.where(x < 0, x.dtype.type(0), x)) if relu else None)
    functions.append(rounding.saturate if saturate else None)
    return _chain(*functions, float_to_float(to, kind, mode), rounding.flush if ftz else None)


def _chain(*functions: Function | None) -> Function:
    present = [function for function in functions if function]

    def chain(values: Array) -> Array:
        for function in present:
            values = function(values)
        return values

    return chain


def integer_to_float(to: str, mode: str) -> Function:
    if to == "bf16":
        return lambda x: rounding.to_bf16(rounding.odd(x.astype(np.float64)), mode)
    if to == "f16":
        return lambda x: rounding.narrow(x.astype(np.float64), DTYPES[to], mode)
    return rounding.directed(lambda x: x.astype(DTYPES[to]), mode)


def clamped(to: str) -> Function:
    limits = np.iinfo(DTYPES[to])

    def function(x: Array) -> Array:
        source = np.iinfo(x.dtype)
        low, high = max(int(limits.min), int(source.min)), min(int(limits.max), int(source.max))
        return np.clip(x, low, high).astype(DTYPES[to])

    return function


def float_to_float(to: str, kind: str, mode: str) -> Callable[..., Array]:
    if to == "bf16":
        wide = rounding.odd if kind == "f64" else None
        return _chain(wide, lambda x: rounding.to_bf16(x, mode))
    if WIDTHS[to] < 4 or (to, kind) == ("f32", "f64"):
        return lambda x: rounding.canonical(rounding.narrow(x, DTYPES[to], mode))
    if to == kind:
        return rounding.canonical
    return lambda x: rounding.canonical(x.astype(DTYPES[to]))
