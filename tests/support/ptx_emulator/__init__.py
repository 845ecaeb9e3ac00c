"""Runs compiled PTX on the CPU, all threads of many blocks side by side in NumPy arrays, and checks what it
does.

`run` launches a kernel; `memory` is the device's memory. Wrong accesses (out of bounds, misaligned, of
memory that nothing has written), races in shared memory and deadlocks are errors that
name instruction, thread and address. The instructions are those that NVVM emits for Numba's kernels; others
raise NotImplementedError.

What differs from a device: approximate instructions give the correctly rounded value; `mul` and `add`
without a rounding mode are rounded each, where the assembler may fuse them; there is one order of events,
not many.
"""

from support.ptx_emulator.launch import Statistics, run
from support.ptx_emulator.memory import DeviceMemoryError, memory
from support.ptx_emulator.races import RaceError

__all__ = ["DeviceMemoryError", "RaceError", "Statistics", "memory", "run"]
