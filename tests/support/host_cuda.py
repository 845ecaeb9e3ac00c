"""A stand-in for the module `cupy.cuda`: memory of the emulator, one device, and streams that never wait.

It must not know fastnn, nor arrays.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from support.ptx_emulator import memory
from support.ptx_emulator.memory import BASE

# ---- memory ------------------------------------------------------------------------------------------------


class UnownedMemory:
    """Device memory of somebody else, who is kept alive."""

    def __init__(self, ptr: int, size: int, owner: object, device_id: int = -1) -> None:
        self.ptr, self.size, self.owner = ptr, size, owner


class Memory:
    """Device memory that is freed with this object."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.ptr = memory.allocate(size) if size else 0

    def __del__(self, free: Callable[[int], None] = memory.free) -> None:
        if self.ptr:
            free(self.ptr)


class MemoryPointer:
    """A place in device memory."""

    def __init__(self, mem: Memory | UnownedMemory | _Pooled, offset: int) -> None:
        self.mem, self.ptr = mem, mem.ptr + offset

    device_id = 0

    @property
    def device(self) -> Device:
        return Device(0)


def alloc(size: int) -> MemoryPointer:
    return _allocator[-1](size)


_allocator: list[Callable[[int], MemoryPointer]] = [lambda size: MemoryPointer(Memory(size), 0)]


@contextlib.contextmanager
def using_allocator(allocator: Callable[[int], MemoryPointer]) -> Iterator[None]:
    _allocator.append(allocator)
    yield
    _allocator.pop()


class _Pooled:
    """A pool's memory, which goes back with this object."""

    def __init__(self, block: MemoryPointer, size: int, free: list[MemoryPointer]) -> None:
        self.ptr: int = block.ptr
        self.size, self._block, self._free = size, block, free

    def __del__(self) -> None:
        self._free.append(self._block)


class MemoryPool:
    """Gives memory that an array had to the next one of its size. It is for one stream."""

    def __init__(self, allocator: Callable[[int], MemoryPointer] = _allocator[0]) -> None:
        self._allocator = allocator
        self._free: dict[int, list[MemoryPointer]] = {}

    def malloc(self, size: int) -> MemoryPointer:
        free = self._free.setdefault(size, [])
        return MemoryPointer(_Pooled(free.pop() if free else self._allocator(size), size, free), 0)

    def free_all_blocks(self, stream: Any = None) -> None: ...

    def used_bytes(self) -> int:
        return sum(end - start for start, end in zip(memory._starts, memory._ends, strict=True))


def get_default_memory_pool() -> MemoryPool:
    return MemoryPool()


# ---- device and streams ------------------------------------------------------------------------------------


class Device:
    """The only one."""

    compute_capability = "90"

    def __init__(self, device: int | None = None) -> None:
        if device not in (None, 0):
            raise ValueError(f"the emulator has device 0 only, got {device}")
        self.id = 0

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *error: object) -> None: ...

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device)

    def __hash__(self) -> int:
        return 0

    def __int__(self) -> int:
        return 0

    def use(self) -> None: ...

    def synchronize(self) -> None: ...


class Stream:
    """A queue of work; all is done at once."""

    null: Stream
    _number = 0

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False) -> None:
        if not null:
            Stream._number += 1
        self.ptr = 0 if null else BASE - Stream._number

    def __enter__(self) -> Stream:
        self._before = _current[0]
        _current[0] = self
        return self

    def __exit__(self, *error: object) -> None:
        _current[0] = self._before

    @classmethod
    def from_external(cls, other: Any) -> Stream:
        """Another library's."""
        stream = cls(null=True)
        version, stream.ptr = other.__cuda_stream__()
        assert version == 0
        return stream

    def is_capturing(self) -> bool:
        return False

    def use(self) -> Stream:
        _current[0] = self
        return self

    def synchronize(self) -> None: ...


Stream.null = Stream(null=True)
_current = [Stream.null]


def get_current_stream(device_id: int | None = None) -> Stream:
    return _current[0]


def get_device_id() -> int:
    return 0


def is_available() -> bool:
    return True


runtime = SimpleNamespace(
    CUDARuntimeError=RuntimeError,
    deviceSynchronize=lambda: None,
    getDevice=get_device_id,
    getDeviceCount=lambda: 1,
    getDeviceProperties=lambda device: {"name": b"emulator", "major": 9, "minor": 0},
    is_hip=False,
)
