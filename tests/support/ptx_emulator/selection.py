"""Instructions that compare and select."""

from __future__ import annotations

import numpy as np

from fastnn._core.typing import Array
from support.ptx_emulator import rounding
from support.ptx_emulator.elementwise import Function, select, step
from support.ptx_emulator.machine import Machine, Step
from support.ptx_emulator.program import Operation, instruction, is_float

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
        function: Function = (lambda a, b: (a < b) | (a > b)) if is_float(kind) else np.not_equal
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
