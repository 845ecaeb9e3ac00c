"""Instructions that exist for floats and integers alike: each by its type."""

from __future__ import annotations

import numpy as np

from support.ptx_emulator import floats, integers
from support.ptx_emulator.elementwise import simple
from support.ptx_emulator.machine import Step
from support.ptx_emulator.program import Operation, instruction, is_float


@instruction(
    "add", "sub", "mul", "div", "fma", "mad", "sqrt", "rcp", "rsqrt", "ex2", "lg2", "sin", "cos", "tanh"
)
def arithmetic(operation: Operation) -> Step:
    return floats.arithmetic(operation) if is_float(operation.type) else integers.arithmetic(operation)


@instruction("min", "max")
def extreme(operation: Operation) -> Step:
    if is_float(operation.type):
        return floats.extreme(operation)
    return simple(operation, np.minimum if operation.name == "min" else np.maximum)


@instruction("abs", "neg")
def sign(operation: Operation) -> Step:
    if is_float(operation.type):
        return floats.sign(operation)
    return simple(operation, np.abs if operation.name == "abs" else np.negative)
