"""Devices, streams, and the launch of compiled kernels by cuda.core. It must not know any operation.

Kernels take addresses, whole numbers and floats: an int is an int64 or an address, a float a float64.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

from cuda.bindings import driver
from cuda.core import Device, LaunchConfig, ObjectCode, Stream, launch

from fastnn._core.switch import Switch
from fastnn.cuda._runtime.compiler import Capability, Code, Key, Template, nearest
from fastnn.cuda._runtime.memory import DeviceArray
from fastnn.cuda._runtime.memory import stream as stream_of

#: Whether each launch checks the types of its arguments: in Python's development mode (python -X dev).
checks_arguments = sys.flags.dev_mode

Grid = int | tuple[int, int] | tuple[int, int, int]


class Properties(NamedTuple):
    """The properties of a GPU that kernels are fitted to."""

    name: str
    capability: Capability
    multiprocessors: int
    shared_memory: int  # bytes that one block can have
    l2: int  # bytes


class fast_math(Switch):  # noqa: N801
    """With fast_math(True) kernels use approximate instructions (exp2, tanh, division).

    At first it is off. It counts for all threads; as a context manager it sets back what was. docs/gpu.md has
    the errors of both.
    """

    enabled: ClassVar[bool] = False


@functools.cache
def properties(device: int) -> Properties:
    """The properties of the GPU with this number."""
    found = Device(device)
    has = found.properties
    return Properties(
        found.name,
        tuple(found.compute_capability),
        has.multiprocessor_count,
        has.max_shared_memory_per_block_optin,
        has.l2_cache_size,
    )


@functools.cache
def _code(template: Template, key: Key, device: int, fast: bool) -> Code:
    return template.compile(nearest(properties(device).capability), key, fast)


@functools.cache
def _loaded(template: Template, key: Key, device: int, fast: bool) -> Any:
    """The kernel as the driver has it. Where the GPU is newer than the compiler, it compiles the PTX."""
    code, capability = _code(template, key, device, fast), properties(device).capability
    exact = nearest(capability) == capability
    module = ObjectCode.from_cubin(code.cubin) if exact else ObjectCode.from_ptx(code.ptx.encode())
    return module.get_kernel(code.entry)


@functools.cache
def at_once(template: Template, key: Key, device: int, fast: bool, threads: int, shared: int) -> int:
    """The blocks that a cooperative launch can have, each with `shared` bytes of dynamic shared memory."""
    kernel, has = _loaded(template, key, device, fast), properties(device)
    size = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    with _on(device):
        most = has.shared_memory - kernel.attributes.shared_size_bytes
        if shared > most:
            return 0
        (error,) = driver.cuKernelSetAttribute(size, most, kernel.handle, device)
        if error:
            raise RuntimeError(f"the driver gives a kernel no {most} bytes of shared memory: {error.name}")
        each = kernel.occupancy.max_active_blocks_per_multiprocessor(threads, shared)
    return has.multiprocessors * int(each)


@functools.cache
def _only_one() -> bool:
    """Whether there is one GPU, which remains a thread's current one."""
    return len(Device.get_all_devices()) == 1


class _Thread(threading.local):
    """Whether fastnn has made the only GPU this thread's current one: a new thread of Python's has none."""

    ready = False


_thread = _Thread()


@contextlib.contextmanager
def _on(device: int) -> Iterator[None]:
    """Makes a GPU the current one for a while: the default stream is that of the current one.

    Afterwards this thread has the context that it had before, also if that is none.
    """
    place = Device(device)
    before = _succeeded(*driver.cuCtxGetCurrent())
    place.set_current()
    try:
        yield
    finally:
        _succeeded(*driver.cuCtxSetCurrent(before))


def _succeeded(error: Any, value: Any = None) -> Any:
    """What a function of the driver returns beside its error code; RuntimeError unless that is 0."""
    if error:
        raise RuntimeError(f"the CUDA driver reports {error.name}")
    return value


@functools.lru_cache(4096)
def _prepared(
    template: Template,
    key: Key,
    device: int,
    stream: int,
    grid: Grid,
    block: Grid,
    shared: int,
    cooperative: bool,
    fast: bool,
) -> tuple[Any, Any, Any]:
    """What `launch` takes before the kernel's arguments."""
    config = LaunchConfig(grid=grid, block=block, shmem_size=shared, is_cooperative=cooperative)
    return Stream.from_handle(stream), config, _loaded(template, key, device, fast)


def signed(word: int) -> int:
    """A 64-bit word as the int64 that a launch takes."""
    word %= 2**64
    return word - 2**64 if word >= 2**63 else word


@functools.cache
def _parameters(template: Template, key: Key, device: int) -> tuple[type, ...]:
    return template.parameters(nearest(properties(device).capability), key)


def check_arguments(template: Template, key: Key, device: int, arguments: Sequence[Any]) -> None:
    """TypeError for arguments whose bytes the kernel would read as something else, OverflowError for size.

    An int is passed as an int64, a float as a float64, a number of NumPy's as the bytes that it has.
    """
    wanted = _parameters(template, key, device)
    if len(arguments) != len(wanted):
        raise TypeError(f"{template.name} must have {len(wanted)} arguments, got {len(arguments)}")
    for i, (kind, argument) in enumerate(zip(wanted, arguments, strict=True)):
        if type(argument) is not kind:
            got = f"{type(argument).__name__} {argument}"
            raise TypeError(f"argument {i} of {template.name} must be of type {kind.__name__}, got {got}")
        if isinstance(argument, int) and not -(2**63) <= argument < 2**63:
            raise OverflowError(f"argument {i} of {template.name} must fit an int64, got {argument}")


def run(
    template: Template,
    key: Key,
    like: DeviceArray,
    grid: Grid,
    block: Grid,
    *arguments: Any,
    shared: int = 0,
    cooperative: bool = False,
) -> None:
    """As `start`, on the device of an array and the current stream of its library."""
    start(template, key, like.device, stream_of(like), grid, block, arguments, shared, cooperative)


def start(
    template: Template,
    key: Key,
    device: int,
    stream: int,
    grid: Grid,
    block: Grid,
    arguments: Sequence[Any],
    shared: int = 0,
    cooperative: bool = False,
) -> None:
    """Launch the template's kernel for this key, on the stream, and do not wait for it.

    shared: bytes of dynamic shared memory of a block. cooperative: all blocks run at once, so that they can
    wait for each other.
    """
    if checks_arguments:
        check_arguments(template, key, device, arguments)
    fast = fast_math.enabled
    if _only_one():
        if not _thread.ready:
            Device(device).set_current()
            _thread.ready = True
        launch(*_prepared(template, key, device, stream, grid, block, shared, cooperative, fast), *arguments)
        return
    with _on(device):
        launch(*_prepared(template, key, device, stream, grid, block, shared, cooperative, fast), *arguments)
