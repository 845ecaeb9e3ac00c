"""Steps that compute a function lane by lane."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastnn._core.typing import Array
from support.ptx_emulator.machine import Step
from support.ptx_emulator.program import Operation, Reader, Writer

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


def select(condition: Array, a: Array, b: Array) -> Array:
    """a where the condition holds, else b."""
    if condition.shape[0] == 1:
        return a if condition[0] else b
    return np.where(condition, a, b)
