"""Instructions that access memory: ld, st, atom, red, cp.async."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn._core.typing import Array
from support.ptx_emulator import rounding
from support.ptx_emulator.access import Access, Offsets
from support.ptx_emulator.elementwise import select
from support.ptx_emulator.floats import on_halves
from support.ptx_emulator.machine import Machine, Step
from support.ptx_emulator.memory import BASE
from support.ptx_emulator.parser import WIDTHS, split
from support.ptx_emulator.program import DTYPES, Operation, Writer, instruction

_SPACES = ("global", "shared", "shared::cta", "local", "const", "param", "param::entry", "param::func")
_HINTS = re.compile(
    r"nc|ca|cg|cs|lu|cv|wb|wt|volatile|relaxed|acquire|release|acq_rel|weak|gpu|cta|sys|cluster|mmio|noftz"
    r"|L[12]::(?!cache_hint).*"
)


def space_of(operation: Operation) -> str:
    """The state space that the modifiers name; takes it, and those that change no result."""
    space = operation.choice(*_SPACES).partition("::")[0]
    operation.modifiers = [each for each in operation.modifiers if not _HINTS.fullmatch(each)]
    return space


def note_shared(operation: Operation, space: str, width: int) -> None:
    """Tells the program how small accesses to shared memory may be."""
    if space in ("", "shared"):
        operation.program.unit = min(operation.program.unit, width)


def symbol(operation: Operation, operand: str) -> tuple[str, int]:
    """Name (or number) and offset of `[name+offset]`."""
    match = re.fullmatch(r"\[\s*([\w$%.#]+)\s*(?:\+\s*(-?\w+))?\s*\]", operand)
    if match is None:
        raise operation.refuse()
    return match[1], int(match[2] or "0", 0)


def address(operation: Operation, operand: str, space: str) -> Callable[[Machine], Offsets]:
    """A function that gives each lane's address, or one if all have the same in global memory."""
    base, offset = symbol(operation, operand)
    read = operation.read(base, f"u{8 * operation.program.widths.get(base, 8)}")

    def run(machine: Machine) -> Offsets:
        values = read(machine.regs).astype(np.int64) + offset
        if len(values) == machine.lanes:
            return values if machine.active is None else values[machine.active]
        shared = space in ("global", "const") or (not space and values[0] >= BASE)
        return values if shared else np.repeat(values, machine.count)

    return run


def registers(operation: Operation, operand: str) -> list[str]:
    """The registers of a vector operand, or the one."""
    count = int(operation.choice("v2", "v4", "v8", default="v1")[1])
    names = split(operand[1:-1]) if operand.startswith("{") else [operand]
    if len(names) != count:
        raise operation.refuse()
    return names


@instruction("ld", "ldu")
def ld(operation: Operation) -> Step:
    space, kind = space_of(operation), operation.type
    writers = [operation.write(name) for name in registers(operation, operation.operands[0])]
    dtype, width = DTYPES[kind], WIDTHS[kind]
    name, offset = symbol(operation, operation.operands[1])
    if space == "param" and name in operation.program.parameters:
        return parameter(operation.program.parameters[name] + offset, writers, dtype)
    space = "local" if space == "param" else space  # arguments and results of a call
    note_shared(operation, space, width)
    where = address(operation, operation.operands[1], space)
    access = Access(operation.text, space, width * len(writers), "read")

    def run(machine: Machine) -> None:
        at = where(machine)
        columns = [np.empty(len(at), dtype) for _ in writers]
        for buffer, offsets, chosen in access.places(machine, at):
            first, typed = offsets // width, buffer.view(dtype)
            for i in range(len(writers)):
                if chosen is None:
                    columns[i] = typed[first + i]
                else:
                    columns[i][chosen] = typed[first + i]
        for write, column in zip(writers, columns, strict=True):
            write(machine, column if len(at) == 1 else machine.scatter(column))

    return run


def parameter(start: int, writers: list[Writer], dtype: np.dtype[Any]) -> Step:
    """A load from the kernel's parameters, the same for all lanes."""

    def run(machine: Machine) -> None:
        stop = start + dtype.itemsize * len(writers)
        values = machine.launch.parameters[start:stop].view(dtype)
        for i, write in enumerate(writers):
            write(machine, values[i : i + 1])

    return run


@instruction("st")
def st(operation: Operation) -> Step:
    space, kind = space_of(operation), operation.type
    readers = [operation.read(name) for name in registers(operation, operation.operands[1])]
    dtype, width = DTYPES[kind], WIDTHS[kind]
    space = "local" if space == "param" else space
    note_shared(operation, space, width)
    where = address(operation, operation.operands[0], space)
    access = Access(operation.text, space, width * len(readers), "write")

    def run(machine: Machine) -> None:
        at = where(machine)
        if len(at) < machine.count:
            at = np.repeat(at, machine.count)
        values = [machine.pick(read(machine.regs)) for read in readers]
        for buffer, offsets, chosen in access.places(machine, at):
            first, typed = offsets // width, buffer.view(dtype)
            for i, column in enumerate(values):
                typed[first + i] = column if chosen is None else column[chosen]
        machine.progress()

    return run


def atomic_function(operation: Operation, space: str) -> Callable[..., Array]:
    """(old, b, c) to the new value."""
    name = operation.choice("add", "min", "max", "exch", "cas", "inc", "dec", "and", "or", "xor")
    one = np.uint32(1)
    functions: dict[str, Callable[..., Array]] = {
        "add": lambda old, b: rounding.canonical(old + b),
        "min": np.minimum,
        "max": np.maximum,
        "exch": lambda old, b: b,
        "cas": lambda old, b, c: select(old == b, c, old),
        "inc": lambda old, b: np.where(old >= b, 0 * one, old + one),
        "dec": lambda old, b: np.where((old == 0) | (old > b), b, old - one),
        "and": np.bitwise_and,
        "or": np.bitwise_or,
        "xor": np.bitwise_xor,
    }
    if name == "add" and operation.type in ("bf16", "f16", "f16x2", "bf16x2"):
        return on_halves(operation.type, np.add)
    if name == "add" and operation.type == "f32" and space != "shared":  # where no subnormals are kept
        flush = rounding.flush
        return lambda old, b: flush(functions[name](flush(old), flush(b)))
    return functions[name]


@instruction("atom", "red")
def atom(operation: Operation) -> Step:
    space, kind, dtype = space_of(operation), operation.type, DTYPES[operation.type]
    function = atomic_function(operation, space)
    operands = operation.operands
    result = operation.write(operands[0] if operation.name == "atom" else "_")
    place, *others = operands[1:] if operation.name == "atom" else operands
    readers = [operation.read(each) for each in others]
    note_shared(operation, space, WIDTHS[kind])
    where = address(operation, place, space)
    access = Access(operation.text, space, WIDTHS[kind], "atomic")

    def run(machine: Machine) -> None:
        at = where(machine)
        if len(at) < machine.count:
            at = np.repeat(at, machine.count)
        values = [machine.pick(read(machine.regs)) for read in readers]
        old = np.empty(len(at), dtype)
        for buffer, offsets, chosen in access.places(machine, at):
            inner = values if chosen is None else [each[chosen] for each in values]
            before = one_by_one(buffer.view(dtype), offsets // dtype.itemsize, function, inner)
            old[chosen if chosen is not None else slice(None)] = before
        result(machine, machine.scatter(old))

    return run


def one_by_one(memory: Array, places: Offsets, function: Callable[..., Array], values: list[Array]) -> Array:
    """Updates places as one lane after the other would; gives what each found there."""
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    new = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    first = np.flatnonzero(new)
    turn = np.arange(len(order)) - np.repeat(first, np.diff([*first, len(order)]))
    old = np.empty(len(places), memory.dtype)
    for i in range(int(turn.max()) + 1):
        lanes = order[turn == i]
        old[lanes] = memory[places[lanes]]
        memory[places[lanes]] = function(old[lanes], *[each[lanes] for each in values])
    return old


@instruction("cp")
def cp_async(operation: Operation) -> Step | None:
    """cp.async copies at once, and there is nothing to wait for."""
    if not operation.flag("async"):
        raise operation.refuse()
    if operation.choice("commit_group", "wait_group", "wait_all"):
        return None
    space_of(operation)
    operation.flag("shared")
    operation.flag("global")
    operands = operation.operands
    size = int(operands[2], 0)
    target = address(operation, operands[0], "shared")
    source = address(operation, operands[1], "global")
    given = operation.read(operands[3], "u32") if len(operands) > 3 else None
    operation.program.unit = min(operation.program.unit, size)
    write, read = (
        Access(operation.text, "shared", size, "write"),
        Access(operation.text, "global", size, "read"),
    )

    def run(machine: Machine) -> None:
        at = source(machine)
        at = np.repeat(at, machine.count) if len(at) < machine.count else at
        ((arena, origins, _),) = read.places(machine, at)
        ((shared, offsets, _),) = write.places(machine, target(machine))
        kept = np.full(len(at), size) if given is None else machine.pick(given(machine.regs))
        for i in range(size):
            shared[offsets + i] = np.where(i < kept, arena[origins + i], 0)

    return run
