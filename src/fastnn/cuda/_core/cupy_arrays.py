"""What CuPy does for arrays of any library, on their device and their stream; and where results go.

It must not know any operation.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from fastnn._core.extras import require
from fastnn.cuda._core import device_arrays, libraries, overlap
from fastnn.cuda._runtime import memory
from fastnn.cuda._runtime.memory import DeviceArray, Shape


def as_cupy(array: DeviceArray) -> Any:
    """A CuPy array over the same memory."""
    cupy = require("cupy", "cuda")
    if isinstance(array.owner, cupy.ndarray):
        return array.owner
    first, end = overlap.extent(array)
    memory = cupy.cuda.UnownedMemory(first, end - first, array.owner, array.device)
    dtype = cupy.dtype(libraries.numpy_dtype(array.dtype))
    place = cupy.cuda.MemoryPointer(memory, array.address - first)
    return cupy.ndarray(array.shape, dtype, place, tuple(n * dtype.itemsize for n in array.strides()))


@contextlib.contextmanager
def current(like: DeviceArray) -> Iterator[None]:
    """CuPy's device and stream are meanwhile those of the array and its library."""
    cuda: Any = require("cupy", "cuda").cuda
    handle = memory.stream(like)
    if cuda.get_current_stream().ptr == handle and cuda.Device().id == like.device:
        yield
        return
    with cuda.Device(like.device), _stream(handle, like.device):
        yield


class _Handle(NamedTuple):
    """A stream of another library's, by CUDA's protocol for streams."""

    handle: int

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.handle


@functools.cache
def _stream(handle: int, device: int) -> Any:
    """CuPy's stream for that of another library on the current GPU, whose number this is.

    It is kept: CuPy destroys a stream when it frees the object, also another library's.
    """
    cuda: Any = require("cupy", "cuda").cuda
    return cuda.Stream.null if handle == 0 else cuda.Stream.from_external(_Handle(handle))


def put(source: DeviceArray, target: DeviceArray) -> None:
    """target[...] = source, which may be of different libraries."""
    with current(target):
        as_cupy(target)[...] = as_cupy(source)


def fill(target: DeviceArray, number: float) -> None:
    """target[...] = number."""
    with current(target):
        as_cupy(target).fill(number)


class Output(NamedTuple):
    """Where a kernel writes, C-ordered and apart from what it reads; and what the caller gave for it."""

    place: DeviceArray
    given: DeviceArray | None
    out: Any

    def result(self) -> Any:
        """What the caller gets, once the kernel is launched."""
        if self.given is None:
            return self.place.owner
        if self.place is not self.given:
            put(self.place, self.given)
        return self.out


def output(out: Any, shape: Shape, dtype: str, reads: Sequence[DeviceArray]) -> Output:
    """`out`, or without it a new array of the library of the first that the kernel `reads`."""
    given = None if out is None else device_arrays.check_out(out, shape, dtype)
    if given is not None:
        device_arrays.same_device((("the input", reads[0]), ("out", given)))
        if given.contiguous and overlap.is_harmless(given, (), reads):
            return Output(given, given, out)
    return Output(memory.empty(reads[0], shape, dtype), given, out)
