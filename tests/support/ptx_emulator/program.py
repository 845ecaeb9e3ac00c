"""Instructions of a kernel to closures that run on a machine, in basic blocks.

What each instruction does is in the files that register it with `instruction`; this one reads operands and
writes results.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fastnn._core.typing import Array
from support.ptx_emulator.machine import Block, End, Layout, Machine, Step
from support.ptx_emulator.memory import memory
from support.ptx_emulator.parser import WIDTHS, Instruction, Kernel, Variable, literal

Reader = Callable[[list[Array]], Array]
Writer = Callable[[Machine, Array], None]

DTYPES = {
    kind: np.dtype(
        bool
        if kind == "pred"
        else f"{'f' if kind in ('f16', 'f32', 'f64') else 'i' if kind[0] == 's' else 'u'}{width}"
    )
    for kind, width in WIDTHS.items()
}
"""How values of a type are held; bfloat16 and pairs of half formats as bits."""

SHARED_WINDOW = (
    1 << 40
)  # generic addresses: shared memory begins here, local memory there, global at memory.BASE
LOCAL_WINDOW = 1 << 42


@dataclass(frozen=True)
class Ending:
    """An instruction that ends a basic block, and whether lanes may wait at it to run it again."""

    end: End
    again: bool = False


Handler = Callable[["Operation"], Step | Ending | None]
HANDLERS: dict[str, Handler] = {}


def instruction(*names: str) -> Callable[[Handler], Handler]:
    """Registers what translates instructions: it gives a step, an Ending, or None for nothing to do."""

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(names, handler))
        return handler

    return register


class Operation:
    """One instruction being translated: its modifiers, to be taken one by one, and its operands."""

    def __init__(self, program: Program, source: Instruction, index: int) -> None:
        self.program, self.source, self.index = program, source, index
        self.name, *parts = source.opcode.split(".")
        self.types = [part for part in parts if part in WIDTHS]
        self.modifiers = [part for part in parts if part not in WIDTHS]
        self.operands = source.operands
        self.text = source.text

    @property
    def type(self) -> str:
        """The (last) type in the opcode."""
        return self.types[-1]

    def flag(self, name: str) -> bool:
        """Whether the modifier is there; takes it."""
        found = name in self.modifiers
        if found:
            self.modifiers.remove(name)
        return found

    def choice(self, *names: str, default: str = "") -> str:
        """Which of the modifiers is there; takes it."""
        return next((name for name in names if self.flag(name)), default)

    def read(self, operand: int | str, kind: str = "") -> Reader:
        """A function that reads an operand as a type (that of the opcode)."""
        text = self.operands[operand] if isinstance(operand, int) else operand
        return self.program.reader(text, kind or self.type)

    def write(self, operand: int | str, kind: str = "") -> Writer:
        """A function that writes values of a type to an operand."""
        text = self.operands[operand] if isinstance(operand, int) else operand
        return self.program.writer(text, kind or self.type)

    def refuse(self) -> NotImplementedError:
        """The error for what the emulator does not know."""
        return NotImplementedError(f"the instruction `{self.text}`")


class Program:
    """A kernel that is ready to run."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.slots: dict[str, int] = {}
        self.initial: list[Array] = []
        self.special: dict[str, int] = {}
        self.widths = {name: WIDTHS[kind] for name, kind in kernel.registers.items()}
        for name, kind in kernel.registers.items():
            poison = np.zeros(1, bool) if kind == "pred" else np.full(1, -1, f"i{WIDTHS[kind]}")
            self._slot(name, poison)
        self._slot("%carry", np.zeros(1, bool))
        self.widths["%carry"] = 0
        self.addresses: dict[str, int] = {}
        self.sizes = {"shared": 0, "local": 0}
        for variable in sorted(kernel.variables.values(), key=lambda each: each.size == 0):
            self.addresses[variable.name] = self._address(variable)  # dynamic shared memory comes last
        self.parameters: dict[str, int] = {}
        self.parameter_bytes = 0
        for variable in kernel.parameters:
            self.parameters[variable.name] = self._reserve_parameter(variable)
        self.unit = 16  # smallest access to shared memory, found while translating
        self.blocks = self._translate()

    def layout(self, dynamic: int) -> Layout:
        """What a machine needs, with so many bytes of dynamic shared memory."""
        shared = -(-(self.sizes["shared"] + dynamic) // 16) * 16
        texts = [each.text for each in self.kernel.instructions] + ["the end"]
        local = -(-self.sizes["local"] // 16) * 16
        return Layout(self.blocks, self.initial, self.special, shared, local, self.unit, texts)

    def reader(self, operand: str, kind: str) -> Reader:
        """A function from the registers to the operand's values."""
        dtype = DTYPES[kind]
        if operand.startswith("!"):
            inner = self.reader(operand[1:], kind)
            return lambda regs: ~inner(regs)
        slot, width = self._operand(operand, kind)
        if width == WIDTHS[kind]:

            def whole(regs: list[Array]) -> Array:
                values = regs[slot]
                return values if values.dtype is dtype else values.view(dtype)

            return whole
        if width < WIDTHS[kind]:
            raise ValueError(f"{operand} is narrower than .{kind}")
        wide, low = np.dtype(f"u{width}"), np.dtype(f"u{WIDTHS[kind]}")
        return lambda regs: regs[slot].view(wide).astype(low).view(dtype)

    def writer(self, operand: str, kind: str) -> Writer:
        """A function that writes values of a type to a register, extended if it is wider."""
        if operand == "_":
            return lambda machine, values: None
        if operand not in self.widths:
            raise ValueError(f"{operand} is no register")
        slot, width = self.slots[operand], self.widths[operand]
        if width < WIDTHS[kind]:
            raise ValueError(f"{operand} is narrower than .{kind}")

        def commit(machine: Machine, values: Array) -> None:
            if machine.partial:
                old = machine.regs[slot]
                values = np.where(
                    machine.mask, values, old if old.dtype is values.dtype else old.view(values.dtype)
                )
            machine.regs[slot] = values

        if width == WIDTHS[kind]:
            return commit
        signed = kind[0] == "s"
        bits, wide = (
            np.dtype(f"{'i' if signed else 'u'}{WIDTHS[kind]}"),
            np.dtype(f"{'i' if signed else 'u'}{width}"),
        )
        return lambda machine, values: commit(machine, values.view(bits).astype(wide))

    def _slot(self, name: str, values: Array) -> int:
        self.slots[name] = len(self.initial)
        self.initial.append(values)
        return self.slots[name]

    def _operand(self, operand: str, kind: str) -> tuple[int, int]:
        """Where an operand's values are, and their width."""
        if operand in self.widths:
            return self.slots[operand], self.widths[operand]
        if operand.startswith("%") or operand == "WARP_SZ":
            if operand not in self.special:
                self.special[operand] = self._slot(operand, np.zeros(1, np.uint32))
            return self.special[operand], 8 if operand in ("%clock64", "%globaltimer", "%gridid") else 4
        width = WIDTHS[kind]
        key = f"{operand} as {kind}"
        if key not in self.slots:
            if operand in self.addresses:
                bits = self.addresses[operand]
            elif re.match(r"-?[0-9]", operand):
                bits = literal(operand, kind)
            else:
                raise NotImplementedError(f"the operand {operand}")
            word = np.dtype(f"u{width}") if width else np.dtype(bool)
            self._slot(
                key, np.array([bits % (1 << 8 * width) if width else bits != 0], word).view(DTYPES[kind])
            )
        return self.slots[key], width

    def _address(self, variable: Variable) -> int:
        if variable.space in ("global", "const"):
            address = memory.allocate(variable.size)
            view = memory.view(address, variable.size)
            view[:] = 0
            view[: len(variable.initial)] = np.frombuffer(variable.initial, np.uint8)
            memory.mark(address, variable.size)
            return address
        start = -(-self.sizes[variable.space] // variable.align) * variable.align
        self.sizes[variable.space] = start + variable.size
        return start

    def _reserve_parameter(self, variable: Variable) -> int:
        start = -(-self.parameter_bytes // variable.align) * variable.align
        self.parameter_bytes = start + variable.size
        return start

    def _translate(self) -> dict[int, Block]:
        """The basic blocks by the number of their first instruction."""
        instructions = self.kernel.instructions
        leaders = set(self.kernel.labels.values())
        steps: list[Step | Ending | None] = []
        for index, source in enumerate(instructions):
            translated = self._step(source, index)
            steps.append(translated)
            if isinstance(translated, Ending):
                leaders |= {index, index + 1} if translated.again else {index + 1}
        blocks: dict[int, Block] = {}
        starts = sorted((leaders | {0}) & set(range(len(instructions))))
        for start, stop in zip(starts, [*starts[1:], len(instructions)], strict=True):
            body, last = steps[start:stop], steps[stop - 1]
            end = last.end if isinstance(last, Ending) else _go(stop)
            names = [source.opcode for source in instructions[start:stop]]
            blocks[start] = Block(start, [each for each in body if callable(each)], end, names)
        return blocks

    def _step(self, source: Instruction, index: int) -> Step | Ending | None:
        operation = Operation(self, source, index)
        handler = HANDLERS.get(operation.name)
        if handler is None:
            raise operation.refuse()
        step = handler(operation)
        if operation.modifiers:
            raise operation.refuse()
        if not source.guard or step is None or operation.name == "bra":
            return step
        condition = self.reader(("!" if source.negated else "") + source.guard, "pred")
        if isinstance(step, Ending):
            return Ending(_guarded(condition, step.end, index), step.again)
        inner = step
        return lambda machine: machine.narrowed(condition(machine.regs), inner)


def _go(target: int) -> End:
    return lambda machine: target


def _guarded(condition: Reader, end: End, index: int) -> End:
    """Lanes for which the condition fails go on behind the instruction; the others meet `end`."""

    def guarded(machine: Machine) -> int | None:
        values = condition(machine.regs)
        met = machine.mask & values
        count = int(np.count_nonzero(met))
        if count == 0:
            return index + 1
        if count < machine.count:
            machine.place(index + 1, machine.mask & ~values)
            machine.enter(met)
        return end(machine)

    return guarded


def is_float(kind: str) -> bool:
    """Whether a type is floating-point."""
    return kind in ("f16", "bf16", "f16x2", "bf16x2", "f32", "f32x2", "f64")
