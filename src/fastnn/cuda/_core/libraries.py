"""The libraries whose arrays kernels take: CuPy, torch, and any other with `__cuda_array_interface__`.

Arrays are taken as they are, without a copy or a synchronisation. It must not know any operation.
"""

from __future__ import annotations

import contextlib
import functools
import math
import sys
from collections.abc import Sequence
from typing import Any

from fastnn._core.dlpack import check_no_gradient
from fastnn._core.extras import require
from fastnn.cuda._runtime.dtypes import ITEMSIZE
from fastnn.cuda._runtime.memory import Alike, DeviceArray, Library, Shape
from fastnn.cuda._runtime.status import check_driver


class _Cupy:
    """CuPy's arrays, and by CuPy those of libraries that are not known here."""

    def describe(self, name: str, value: Any) -> DeviceArray:
        cupy = sys.modules["cupy"]
        if not isinstance(value, cupy.ndarray):
            value = _foreign(name, value)
        return DeviceArray(
            value.data.ptr,
            value.shape,
            _numpy_name(value.dtype),
            value.flags.c_contiguous,
            value.device.id,
            self,
            value,
        )

    def strides(self, value: Any) -> Shape:
        return tuple(stride // value.itemsize for stride in value.strides)

    def empty(self, shape: Shape, dtype: str, device: int) -> Any:
        with _cupy_on(device):
            return sys.modules["cupy"].ndarray(shape, numpy_dtype(dtype))

    def empty_like(self, value: Any, dtype: str) -> Any:
        with _cupy_on(value.device.id):
            return sys.modules["cupy"].empty_like(value, numpy_dtype(dtype))

    def astype(self, value: Any, dtype: str) -> Any:
        with _cupy_on(value.device.id):
            return value.astype(numpy_dtype(dtype))

    def contiguous(self, value: Any) -> Any:
        with _cupy_on(value.device.id):
            return sys.modules["cupy"].ascontiguousarray(value)

    def broadcast(self, value: Any, shape: Shape) -> Any:
        return sys.modules["cupy"].broadcast_to(value, shape)

    def assign(self, target: Any, value: Any) -> None:
        with _cupy_on(target.device.id):
            target[...] = value

    def stream(self, device: int) -> int:
        return int(sys.modules["cupy"].cuda.get_current_stream(device).ptr)

    def captures(self, device: int) -> bool:
        return bool(sys.modules["cupy"].cuda.get_current_stream(device).is_capturing())

    def alike(self, first: Any, others: Sequence[Any], out: Any) -> Alike | None:
        cupy = sys.modules["cupy"]
        array_type = cupy.ndarray
        if type(first) is not array_type or not first._c_contiguous:
            return None
        dtype, shape, size, memory = first.dtype, first.shape, first.size, first.data
        device, addresses = memory.device_id, [0, memory.ptr]
        for each in others if out is None else (*others, out):
            if type(each) is not array_type or each.dtype is not dtype or not each._c_contiguous:
                return None
            memory = each.data
            if memory.device_id != device or each.shape != shape:
                return None
            addresses.append(memory.ptr)
        name = _numpy_name(dtype)
        if not size or name not in ITEMSIZE:
            return None
        if out is None:
            out = array_type(shape, name) if _cupy_count() == 1 else self.empty(shape, name, device)
            addresses[0] = out.data.ptr
        else:
            addresses[0] = addresses.pop()
            if not _apart(addresses, first.nbytes):
                return None
        return out, addresses, name, size, device, cupy.cuda.get_current_stream(device).ptr


class _Torch:
    """torch's CUDA tensors."""

    def describe(self, name: str, value: Any) -> DeviceArray:
        check_no_gradient(name, value)
        dtype, device = _torch_name(value.dtype), value.device.index
        return DeviceArray(
            value.data_ptr(), tuple(value.shape), dtype, value.is_contiguous(), device, self, value.detach()
        )

    def strides(self, value: Any) -> Shape:
        return tuple(value.stride())

    def empty(self, shape: Shape, dtype: str, device: int) -> Any:
        torch = sys.modules["torch"]
        return torch.empty(shape, dtype=getattr(torch, dtype), device=f"cuda:{device}")

    def empty_like(self, value: Any, dtype: str) -> Any:
        torch = sys.modules["torch"]
        return torch.empty_like(value, dtype=getattr(torch, dtype))

    def astype(self, value: Any, dtype: str) -> Any:
        return value.to(getattr(sys.modules["torch"], dtype))

    def contiguous(self, value: Any) -> Any:
        return value.contiguous()

    def broadcast(self, value: Any, shape: Shape) -> Any:
        return value.broadcast_to(shape)

    def assign(self, target: Any, value: Any) -> None:
        target[...] = value

    def stream(self, device: int) -> int:
        return int(sys.modules["torch"]._C._cuda_getCurrentRawStream(device))

    def captures(self, device: int) -> bool:
        torch = sys.modules["torch"]
        with torch.cuda.device(device):
            return bool(torch.cuda.is_current_stream_capturing())

    def alike(self, first: Any, others: Sequence[Any], out: Any) -> Alike | None:
        torch = sys.modules["torch"]
        dtype, shape, device, size = first.dtype, first.shape, first.get_device(), first.numel()
        name, addresses = _torch_name(dtype), [0]
        if not size or name not in ITEMSIZE:
            return None
        for each in (first, *others) if out is None else (first, *others, out):
            if type(each) is not torch.Tensor or each.requires_grad or not each.is_contiguous():
                return None
            if not each.is_cuda or each.dtype != dtype or each.shape != shape or each.get_device() != device:
                return None
            addresses.append(each.data_ptr())
        if out is None:
            out = torch.empty_like(first)
            addresses[0] = out.data_ptr()
        else:
            addresses[0] = addresses.pop()
            if not _apart(addresses, first.nbytes):
                return None
        return out, addresses, name, size, device, self.stream(device)


_CUPY, _TORCH = _Cupy(), _Torch()


def _cupy_on(device: int) -> Any:
    """A context in which CuPy works on this GPU; nothing where there is one only."""
    return _NOTHING if _cupy_count() == 1 else sys.modules["cupy"].cuda.Device(device)


_NOTHING = contextlib.nullcontext()


@functools.cache
def _cupy_count() -> int:
    return int(sys.modules["cupy"].cuda.runtime.getDeviceCount())


def _apart(addresses: Sequence[int], size: int) -> bool:
    """Whether the first of arrays of this many bytes is each other one or shares no memory with it."""
    first = addresses[0]
    for address in addresses:  # noqa: SIM110 (half the time of a generator)
        if address != first and -size < address - first < size:
            return False
    return True


@functools.cache
def _numpy_name(dtype: Any) -> str:
    """NumPy's name of a dtype, which it makes anew each time."""
    return str(dtype.name)


@functools.cache
def _torch_name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


@functools.cache
def numpy_dtype(dtype: str) -> Any:
    return getattr(require("ml_dtypes", "cuda"), dtype) if dtype == "bfloat16" else dtype


def _foreign(name: str, value: Any) -> Any:
    """A CuPy array over the memory of another library's."""
    cupy = sys.modules["cupy"]
    described = value.__cuda_array_interface__
    address, read_only = described["data"]
    strides, dtype = described.get("strides"), cupy.dtype(described["typestr"])
    if read_only:
        raise ValueError(f"{name} must be writeable memory of a GPU, got a read-only {type(value).__name__}")
    last = sum((n - 1) * s for n, s in zip(described["shape"], strides or (), strict=False))
    size = last + dtype.itemsize if strides else math.prod(described["shape"]) * dtype.itemsize
    memory = cupy.cuda.UnownedMemory(address, size, value)
    return cupy.ndarray(described["shape"], dtype, cupy.cuda.MemoryPointer(memory, 0), strides)


@functools.cache
def library_of(array_type: Any) -> Library:
    """The library of a type of arrays; RuntimeError where the driver is too old for any."""
    check_driver()
    if any(base.__module__.partition(".")[0] == "torch" for base in array_type.__mro__):
        return _TORCH
    require("cupy", "cuda")
    return _CUPY


@functools.cache
def library_on_gpu(array_type: Any) -> Library | None:
    """The library of a type whose arrays may be on a GPU; None for others."""
    return library_of(array_type) if hasattr(array_type, "__cuda_array_interface__") else None
