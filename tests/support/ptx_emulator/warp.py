"""Instructions among the lanes of a warp: shfl, vote, match, redux, activemask."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastnn._core.typing import Array
from support.ptx_emulator.control import ballot, meeting
from support.ptx_emulator.machine import Machine, Step
from support.ptx_emulator.program import DTYPES, Ending, Operation, instruction

_UNDEFINED = np.uint32(0xFFFFFFFF)  # what a lane that takes no part gives: NaN, or -1


def together(operation: Operation, mask_operand: int, step: Callable[[Machine], None]) -> Ending:
    """A step that the lanes named by the membermask run together."""
    meet = meeting(operation, mask_operand)

    def end(machine: Machine) -> int | None:
        following = meet(machine)
        if following is not None:
            step(machine)
        return following

    return Ending(end, again=True)


@instruction("shfl")
def shfl(operation: Operation) -> Ending:
    operation.flag("sync")
    mode = operation.choice("up", "down", "bfly", "idx")
    result, _, valid = operation.operands[0].partition("|")
    write, write_valid = operation.write(result), operation.write(valid or "_", "pred")
    value, members = operation.read(1, "u32"), operation.read(4, "u32")
    shift, clamp = operation.read(2, "u32"), operation.read(3, "u32")

    def run(machine: Machine) -> None:
        lane = np.tile(np.arange(32), machine.lanes // 32)
        b = (shift(machine.regs) & np.uint32(31)).astype(np.int64)
        c = clamp(machine.regs).astype(np.int64)
        segment, limit = c >> 8 & 31, c & 31
        low, high = lane & segment, lane & segment | limit & ~segment
        source = {"up": lane - b, "down": lane + b, "bfly": lane ^ b, "idx": low | b & ~segment}[mode]
        inside = source >= high if mode == "up" else source <= high
        source = np.where(inside, source, lane)
        origin = np.arange(machine.lanes) - lane + source
        named = machine.spread(members(machine.regs)) >> source.astype(np.uint32) & 1
        defined = machine.mask[origin] & (named != 0)
        write(machine, np.where(defined, machine.spread(value(machine.regs))[origin], _UNDEFINED))
        write_valid(machine, inside)

    return together(operation, 4, run)


@instruction("vote")
def vote(operation: Operation) -> Ending:
    operation.flag("sync")
    mode = operation.choice("ballot", "any", "all", "uni")
    operation.types = operation.types or ["b32"]
    condition, members = operation.read(1, "pred"), operation.read(2, "u32")
    write = operation.write(0, "b32" if mode == "ballot" else "pred")

    def run(machine: Machine) -> None:
        yes = ballot(machine.spread(condition(machine.regs)) & machine.mask) & members(machine.regs)
        voters = ballot(machine.mask) & members(machine.regs)
        results = {"ballot": yes, "any": yes != 0, "all": yes == voters, "uni": (yes == 0) | (yes == voters)}
        write(machine, results[mode])

    return together(operation, 2, run)


@instruction("activemask")
def activemask(operation: Operation) -> Step:
    write = operation.write(0)
    return lambda machine: write(machine, ballot(machine.mask))


@instruction("elect")
def elect(operation: Operation) -> Ending:
    operation.flag("sync")
    operation.types = ["b32"]
    result, _, chosen = operation.operands[0].partition("|")
    write, write_chosen = operation.write(result), operation.write(chosen or "_", "pred")
    members = operation.read(1)

    def run(machine: Machine) -> None:
        bits = machine.spread(members(machine.regs))
        leader = np.bitwise_count((bits & -bits) - np.uint32(1)).astype(np.uint32)
        write(machine, leader)
        write_chosen(machine, leader == np.tile(np.arange(32), machine.lanes // 32))

    return together(operation, 1, run)


@instruction("match")
def match(operation: Operation) -> Ending:
    operation.flag("sync")
    mode = operation.choice("any", "all")
    result, _, equal = operation.operands[0].partition("|")
    write, write_equal = operation.write(result, "b32"), operation.write(equal or "_", "pred")
    value = operation.read(1)

    def run(machine: Machine) -> None:
        values = machine.spread(value(machine.regs)).reshape(-1, 32)
        same = (values[:, :, None] == values[:, None, :]) & machine.mask.reshape(-1, 1, 32)
        bits = np.packbits(same.reshape(-1, 32), axis=1, bitorder="little").view(np.uint32)[:, 0]
        if mode == "all":
            complete = bits == ballot(machine.mask)
            bits = np.where(complete, bits, np.uint32(0))
            write_equal(machine, complete)
        write(machine, bits)

    return together(operation, 2, run)


@instruction("redux")
def redux(operation: Operation) -> Ending:
    operation.flag("sync")
    mode = operation.choice("add", "min", "max", "and", "or", "xor")
    dtype = DTYPES[operation.type]
    if dtype.kind == "f":
        raise operation.refuse()
    functions: dict[str, tuple[np.ufunc, int]] = {
        "add": (np.add, 0),
        "min": (np.minimum, int(np.iinfo(dtype).max)),
        "max": (np.maximum, int(np.iinfo(dtype).min)),
        "and": (np.bitwise_and, -1),
        "or": (np.bitwise_or, 0),
        "xor": (np.bitwise_xor, 0),
    }
    function, neutral = functions[mode]
    fill = np.array(neutral).astype(dtype)
    write, value = operation.write(0), operation.read(1)

    def run(machine: Machine) -> None:
        values = np.where(machine.mask, machine.spread(value(machine.regs)), fill).reshape(-1, 32)
        reduced: Array = function.reduce(values, axis=1, dtype=dtype)
        write(machine, np.repeat(reduced, 32))

    return together(operation, 2, run)
