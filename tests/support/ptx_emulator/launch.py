"""A launch: arguments to parameters, blocks to machines that run some of them at a time."""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from support.ptx_emulator import arithmetic, bits, control, conversion, data, selection, warp
from support.ptx_emulator.machine import Launch, Machine
from support.ptx_emulator.parser import parse
from support.ptx_emulator.program import Program

_LANES = 1 << 15  # that run side by side: arrays of this size stay in the cache
_FAMILIES = (arithmetic, bits, control, conversion, data, selection, warp)  # register their instructions

Extent = tuple[int, int, int]
Argument = Any
"""int (8 bytes), float (a double), bool, a NumPy scalar or one of ctypes."""


@dataclass
class Statistics:
    """What a launch has done, summed over threads."""

    instructions: Counter[str] = field(default_factory=Counter)
    bytes_read: int = 0  # of global memory
    bytes_written: int = 0


@lru_cache(maxsize=512)
def load(ptx: str, entry: str) -> Program:
    """The program of a kernel; the same text is translated once."""
    return Program(parse(ptx, entry))


def run(
    ptx: str,
    entry: str,
    grid: Extent,
    block: Extent,
    shared: int,
    arguments: Sequence[Argument],
    *,
    cooperative: bool = False,
    strict: bool = True,
    races: bool = True,
) -> Statistics:
    """Runs a kernel on `grid` blocks of `block` threads with `shared` bytes of dynamic shared memory.

    `cooperative` runs all blocks at once, for kernels whose blocks wait for one another; the first one goes
    on only when the others have ended or wait for it. `strict` refuses to read memory that nothing has
    written, `races` looks for races in shared memory.

    Raises TypeError or ValueError if the arguments do not fit the kernel's parameters, NotImplementedError
    for an instruction that the emulator does not know, DeviceMemoryError, RaceError or RuntimeError for what
    the kernel does.
    """
    program = load(ptx, entry)
    if min(grid) < 1 or min(block) < 1 or int(np.prod(block)) > 1024:
        raise ValueError(f"a grid of {grid} blocks of {block} threads")
    launch = Launch(grid, block, shared, pack(program, arguments), strict, races, cooperative)
    layout = program.layout(shared)
    blocks = int(np.prod(grid))
    at_once = blocks if cooperative else max(1, _LANES // int(np.prod(block)))
    statistics = Statistics()
    with np.errstate(all="ignore"):
        for first in range(0, blocks, at_once):
            machine = Machine(layout, launch, first, min(at_once, blocks - first))
            machine.run()
            statistics.bytes_read += machine.bytes_read
            statistics.bytes_written += machine.bytes_written
            for start, count in machine.executed.items():
                for opcode in layout.blocks[start].opcodes:
                    statistics.instructions[opcode] += count
    return statistics


def pack(program: Program, arguments: Sequence[Argument]) -> NDArray[np.uint8]:
    """The bytes of the kernel's parameters."""
    kernel = program.kernel
    if len(arguments) != len(kernel.parameters):
        raise TypeError(f"{kernel.name} takes {len(kernel.parameters)} arguments, and got {len(arguments)}")
    packed = np.zeros(program.parameter_bytes, np.uint8)
    for i, (variable, argument) in enumerate(zip(kernel.parameters, arguments, strict=True)):
        octets = _octets(argument)
        if len(octets) != variable.size:
            got = f"argument {i} of {kernel.name}, {argument!r}, has {len(octets)} bytes"
            raise ValueError(f"{got}, and its parameter {variable.size}")
        start = program.parameters[variable.name]
        packed[start : start + variable.size] = np.frombuffer(octets, np.uint8)
    return packed


def _octets(argument: Argument) -> bytes:
    """The bytes that cuda.core.launch passes for an argument."""
    if isinstance(argument, bool):
        return bytes([argument])
    if isinstance(argument, int):
        return (argument % (1 << 64)).to_bytes(8, "little")
    if isinstance(argument, float):
        return np.float64(argument).tobytes()
    if isinstance(argument, np.generic | ctypes._SimpleCData | ctypes.Structure):
        return bytes(argument) if not isinstance(argument, np.generic) else argument.tobytes()
    raise TypeError(f"an argument of type {type(argument).__name__}")
