"""Instructions that decide where lanes go on: branches, ends, barriers; and those without effect here."""

from __future__ import annotations

import numpy as np

from fastnn._core.typing import Array
from support.ptx_emulator.machine import End, Machine
from support.ptx_emulator.program import Ending, Operation, instruction


@instruction("bra")
def bra(operation: Operation) -> Ending:
    operation.flag("uni")
    labels, following = operation.program.kernel.labels, operation.index + 1
    target = labels[operation.operands[0]]
    source = operation.source
    if not source.guard:
        return Ending(lambda machine: target)
    condition = operation.read(("!" if source.negated else "") + source.guard, "pred")

    def end(machine: Machine) -> int | None:
        values = condition(machine.regs)
        if len(values) == 1:
            return target if values[0] else following
        taken = machine.mask & values
        count = int(np.count_nonzero(taken))
        if count in (0, machine.count):
            return target if count else following
        machine.place(target, taken)
        machine.place(following, machine.mask & ~values)
        return None

    return Ending(end)


@instruction("brx")
def brx(operation: Operation) -> Ending:
    operation.flag("idx")
    operation.flag("uni")
    kernel = operation.program.kernel
    targets = [kernel.labels[label] for label in kernel.targets[operation.operands[1]]]
    index = operation.read(0, "u32")

    def end(machine: Machine) -> int | None:
        values = machine.spread(index(machine.regs))
        for i, target in enumerate(targets):
            lanes = machine.mask & (values == i)
            if lanes.any():
                machine.place(target, lanes)
        if (values[machine.mask] >= len(targets)).any():
            raise RuntimeError(f"{operation.text}: an index beyond the list of targets")
        return None

    return Ending(end)


@instruction("exit")
def leave(operation: Operation) -> Ending:
    return Ending(lambda machine: machine.leave())


@instruction("trap")
def trap(operation: Operation) -> Ending:
    def end(machine: Machine) -> int | None:
        raise RuntimeError(f"{operation.text}: {machine.thread(int(machine.lane_numbers()[0]))} has trapped")

    return Ending(end)


@instruction("nanosleep")
def nanosleep(operation: Operation) -> Ending:
    """Lets the others go first."""
    operation.modifiers = []
    following = operation.index + 1

    def end(machine: Machine) -> int | None:
        if not (machine.ready or machine.held):
            return following
        machine.place(following, machine.mask, held=True)
        return None

    operation.types = ["u32"]
    return Ending(end)


@instruction("bar", "barrier")
def barrier(operation: Operation) -> Ending:
    if operation.flag("warp"):
        operation.flag("sync")
        return Ending(meeting(operation, -1), again=True)
    reduce = operation.flag("red")
    for name in ("cta", "sync", "aligned"):
        operation.flag(name)
    operands = operation.operands
    if operands[1 if reduce else 0] != "0" or len(operands) != (3 if reduce else 1):
        raise operation.refuse()  # named barriers and those of a part of the block
    index = operation.index
    if not reduce:
        return Ending(lambda machine: machine.wait(index, lambda machine: index + 1))
    kind = operation.choice("popc", "and", "or")
    condition = operation.read(2, "pred")
    write = operation.write(0, "u32" if kind == "popc" else "pred")

    def passed(machine: Machine) -> int:
        values = (machine.spread(condition(machine.regs)) & machine.mask).reshape(machine.blocks, -1)
        counts = values.sum(1, dtype=np.uint32)
        lanes = machine.mask.reshape(machine.blocks, -1).sum(1)
        result: Array = {"popc": counts, "and": counts == lanes, "or": counts > 0}[kind]
        write(machine, np.repeat(result, machine.size))
        return index + 1

    return Ending(lambda machine: machine.wait(index, passed))


def meeting(operation: Operation, mask_operand: int) -> End:
    """Goes on when the lanes of each warp that its mask names are all here."""
    members = operation.read(operation.operands[mask_operand], "b32")
    index = operation.index

    def end(machine: Machine) -> int | None:
        if machine.partial:
            here = ballot(machine.mask)
            missing = machine.spread(members(machine.regs)) & ballot(machine.alive) & ~here
            late = machine.mask & (missing != 0)
            if late.any():
                late = np.repeat(late.reshape(-1, 32).any(1), 32) & machine.mask
                machine.place(index, late, held=True)
                rest = machine.mask & ~late
                if not rest.any():
                    return None
                machine.enter(rest)
        if machine.races:
            machine.races.warps(machine.mask)
        return index + 1

    return end


def ballot(values: Array) -> Array:
    """For each lane its warp's truth values as bits."""
    words = np.packbits(values.reshape(-1, 32), axis=1, bitorder="little").view(np.uint32)
    return np.repeat(words[:, 0], 32)


@instruction(
    "membar", "fence", "griddepcontrol", "prefetch", "prefetchu", "discard", "applypriority", "setmaxnreg"
)
def nothing(operation: Operation) -> None:
    operation.modifiers = []
