"""Small kernels written in PTX, and device memory for them: for tests of the emulator itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from fastnn._core.typing import Array
from support import ptx_emulator
from support.ptx_emulator import memory
from support.ptx_emulator.parser import WIDTHS

_HEAD = ".version 8.7\n.target sm_90\n.address_size 64\n"
_REGISTERS = ".reg .pred %p<8>; .reg .b16 %h<8>; .reg .b32 %r<16>; .reg .b64 %d<16>; .reg .f32 %f<8>;"


@contextmanager
def on_device(array: Array) -> Iterator[int]:
    """The address of a copy that kernels may read; the array has what is there at the end."""
    address = memory.allocate(array.nbytes)
    view = memory.view(address, array.nbytes)
    view[:] = np.frombuffer(array.tobytes(), np.uint8)
    memory.mark(address, array.nbytes)
    try:
        yield address
    finally:
        array.reshape(-1).view(np.uint8)[:] = view
        memory.free(address)


def kernel(body: str, parameters: int = 1, module: str = "") -> str:
    """A kernel `k` with parameters p0, p1 ... of 8 bytes; %d0 is p0, and %r0 the thread in the block."""
    declared = ", ".join(f".param .u64 p{i}" for i in range(parameters))
    start = "mov.u32 %r0, %tid.x; ld.param.u64 %d0, [p0];" if parameters else "mov.u32 %r0, %tid.x;"
    return f"{_HEAD}{module}\n.visible .entry k({declared})\n{{ {_REGISTERS} {start}\n{body}\nret;\n}}"


def launch(ptx: str, *arguments: Any, grid: int = 1, block: int = 32, **options: Any) -> Any:
    """Runs kernel `k`."""
    return ptx_emulator.run(
        ptx, "k", (grid, 1, 1), (block, 1, 1), options.pop("shared", 0), arguments, **options
    )


def each_lane(body: str, lanes: int = 32, dtype: Any = np.uint32, module: str = "", **options: Any) -> Array:
    """What `body` leaves in %r1 (%d1 for 8 bytes), of each thread of a block."""
    result = np.zeros(lanes, dtype)
    size = result.itemsize
    store = f"mul.wide.u32 %d15, %r0, {size}; add.u64 %d15, %d15, %d0;"
    store += f"st.global.b{8 * size} [%d15], %{'d' if size == 8 else 'r'}1;"
    with on_device(result) as address:
        launch(kernel(body + store, module=module), address, block=lanes, **options)
    return result


def compute(instructions: str, result: str, **operands: tuple[str, Any]) -> Array:
    """Register `d` of type `result` after the instructions, for each element of operands (type, values)."""
    arrays = {name: np.atleast_1d(np.asarray(values)) for name, (_, values) in operands.items()}
    count = max(len(array) for array in arrays.values())
    arrays = {name: np.ascontiguousarray(np.broadcast_to(array, count)) for name, array in arrays.items()}
    size = WIDTHS[result]
    body = f".reg .{result} d;\n"
    for i, (name, (kind, _)) in enumerate(operands.items()):
        width = arrays[name].itemsize
        body += f".reg .{kind} {name}; ld.param.u64 %d2, [p{i + 1}]; mad.wide.u32 %d2, %r0, {width}, %d2;"
        body += f"ld.global.b{8 * width} {name}, [%d2];\n"
    body += f"{instructions} mad.wide.u32 %d2, %r0, {size}, %d0; st.global.b{8 * size} [%d2], d;"
    found = np.zeros(count, f"u{size}")
    with on_device(found) as target:
        addresses = [_copy(array) for array in arrays.values()]
        launch(kernel(body, 1 + len(arrays)), target, *addresses, block=count)
        for address in addresses:
            memory.free(address)
    return found


def _copy(array: Array) -> int:
    address = memory.allocate(array.nbytes)
    memory.view(address, array.nbytes)[:] = array.view(np.uint8)
    memory.mark(address, array.nbytes)
    return address
