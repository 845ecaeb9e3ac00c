"""Arrays in a GPU's memory, whoever made them: CuPy, torch, or any other with `__cuda_array_interface__`.

They are taken as they are, without a copy or a synchronisation, and results are of the first one's library.
It must not know any operation.
"""

from __future__ import annotations

import contextlib
import functools
import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol, cast

from fastnn._core.dlpack import check_no_gradient, is_on_gpu
from fastnn._core.extras import require

Shape = tuple[int, ...]
Named = Sequence[tuple[str, Any]]

FLOATS = ("float32", "float64", "float16", "bfloat16")


class Library(Protocol):
    """What fastnn needs of a library of arrays. An array here is the library's own."""

    def describe(self, name: str, value: Any) -> DeviceArray:
        """The array as kernels need it; an error that names the argument for one that they cannot take."""

    def strides(self, value: Any) -> Shape:
        """Its strides, in elements."""

    def empty(self, shape: Shape, dtype: str, device: int) -> Any:
        """A new C-ordered array."""

    def empty_like(self, value: Any, dtype: str) -> Any:
        """A new array of this shape, with its axes in the same order in memory."""

    def astype(self, value: Any, dtype: str) -> Any:
        """A copy in another dtype."""

    def contiguous(self, value: Any) -> Any:
        """The array if it is C-contiguous, else a copy."""

    def broadcast(self, value: Any, shape: Shape) -> Any:
        """A view of this shape; ValueError or RuntimeError for one that does not fit."""

    def assign(self, target: Any, value: Any) -> None:
        """target[...] = value."""

    def stream(self, device: int) -> int:
        """The handle of the current stream."""

    def captures(self, device: int) -> bool:
        """Whether what is launched on the current stream is captured for a graph."""

    def alike(self, first: Any, others: Sequence[Any], out: Any) -> Alike | None:
        """What `alike` returns, for a first array of this library."""


class DeviceArray(NamedTuple):
    """What kernels need to know of an array."""

    address: int
    shape: Shape
    dtype: str  # NumPy's name
    contiguous: bool  # in C order
    device: int
    library: Library
    owner: Any

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    def strides(self) -> Shape:
        """Strides in elements."""
        return self.library.strides(self.owner)


#: Arrays that a kernel can take as they are, C-contiguous, of one library, dtype and shape, on one GPU: the
#: result, addresses of it and of the inputs, dtype, size, device, stream. A named tuple takes longer.
Alike = tuple[Any, list[int], str, int, int, int]


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
            return sys.modules["cupy"].ndarray(shape, _numpy_dtype(dtype))

    def empty_like(self, value: Any, dtype: str) -> Any:
        with _cupy_on(value.device.id):
            return sys.modules["cupy"].empty_like(value, _numpy_dtype(dtype))

    def astype(self, value: Any, dtype: str) -> Any:
        with _cupy_on(value.device.id):
            return value.astype(_numpy_dtype(dtype))

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
        kind = cupy.ndarray
        if type(first) is not kind or not first._c_contiguous:
            return None
        dtype, shape, size, memory = first.dtype, first.shape, first.size, first.data
        device, addresses = memory.device_id, [0, memory.ptr]
        for each in others if out is None else (*others, out):
            if type(each) is not kind or each.dtype is not dtype or not each._c_contiguous:
                return None
            memory = each.data
            if memory.device_id != device or each.shape != shape:
                return None
            addresses.append(memory.ptr)
        name = _numpy_name(dtype)
        if not size or name not in FLOATS:
            return None
        if out is None:
            out = kind(shape, name) if _cupy_count() == 1 else self.empty(shape, name, device)
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
        if not size or name not in FLOATS:
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
def _numpy_dtype(dtype: str) -> Any:
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
def library_of(kind: Any) -> Library:
    """The library of a type of arrays."""
    if any(base.__module__.partition(".")[0] == "torch" for base in kind.__mro__):
        return _TORCH
    require("cupy", "cuda")
    return _CUPY


def alike(first: Any, others: Sequence[Any], out: Any) -> Alike | None:
    """The quick way for most calls: the arrays, and a new result unless `out` is given, as kernels take them.

    None where they are not all alike, or empty, or where `out` overlaps one of them in part.
    """
    kind: Any = type(first)
    library = _quick(kind)
    return None if library is None else library.alike(first, others, out)


@functools.cache
def _quick(kind: Any) -> Library | None:
    """The library of a type whose arrays may be on a GPU; None for others."""
    return library_of(kind) if hasattr(kind, "__cuda_array_interface__") else None


# ---- arguments ---------------------------------------------------------------------------------------------


def describe(name: str, value: Any) -> DeviceArray:
    """The array as kernels need it; TypeError naming the argument for what is not in a GPU's memory."""
    if not is_on_gpu(value):
        where = getattr(value, "device", None) if hasattr(value, "__dlpack__") else None
        got = f"{type(value).__name__}" + (f" on {where}" if where is not None else "")
        raise TypeError(
            f"{name} must be in the GPU's memory, as another argument is, got {got}; copy it there"
            " (cupy.asarray, .cuda()), or all to the CPU"
        )
    kind: Any = type(value)
    return library_of(kind).describe(name, value)


_PROMOTED = {
    **dict.fromkeys(("bool", "int8", "uint8"), "float16"),
    **dict.fromkeys(("int16", "uint16"), "float32"),
    **dict.fromkeys(("int32", "uint32", "int64", "uint64"), "float64"),
}


def ready(name: str, value: Any) -> DeviceArray:
    """The array in a floating dtype: integers and booleans are promoted as by np.tanh."""
    array = describe(name, value)
    if array.dtype in FLOATS:
        return array
    kind = _PROMOTED.get(array.dtype)
    if kind is None:
        raise TypeError(
            f"{name} must be an array of float16, bfloat16, float32, float64, integers or booleans, got"
            f" {array.dtype}"
        )
    return astype(array, kind)


def astype(array: DeviceArray, dtype: str) -> DeviceArray:
    """The array if it is of this dtype, else a copy."""
    if array.dtype == dtype:
        return array
    return array.library.describe("a copy", array.library.astype(array.owner, dtype))


def contiguous(array: DeviceArray) -> DeviceArray:
    """The array if it is C-contiguous, else a copy."""
    if array.contiguous:
        return array
    return array.library.describe("a copy", array.library.contiguous(array.owner))


def common_dtype(named: Named) -> str:
    """The dtype that arrays promote to; None is left out."""
    given = [(name, array) for name, array in named if array is not None]
    kinds = {array.dtype for _, array in given}
    if len(kinds) > 1 and "bfloat16" in kinds and "float16" in kinds:
        got = " and ".join(f"{name} of {array.dtype}" for name, array in given)
        raise TypeError(f"the arrays must have dtypes with a common one, got {got}")
    order = ("bfloat16", "float16", "float32", "float64")
    return str(max(kinds, key=order.index))


def same_device(named: Named) -> None:
    """ValueError for arrays of several GPUs; None is left out."""
    (first_name, first), *others = [(name, array) for name, array in named if array is not None]
    for name, array in others:
        if array.device != first.device:
            raise ValueError(
                f"{name} must be on the GPU of {first_name}, number {first.device}, got one on number"
                f" {array.device}"
            )


def empty(like: DeviceArray, shape: Shape, dtype: str) -> DeviceArray:
    """A new C-ordered array of the library and on the device of `like`."""
    return like.library.describe("a result", like.library.empty(shape, dtype, like.device))


def empty_like(like: DeviceArray, dtype: str | None = None) -> DeviceArray:
    """A new array of this form, with its axes in the same order in memory."""
    return like.library.describe("a result", like.library.empty_like(like.owner, dtype or like.dtype))


def check_out(out: Any, shape: Shape, dtype: str) -> DeviceArray:
    """`out` as an array that a result of this shape and dtype can be written to."""
    array = describe("out", out)
    if array.shape != shape:
        raise ValueError(f"out must have shape {shape}, got {array.shape}")
    if array.dtype != dtype:
        raise TypeError(f"out must have dtype {dtype}, got {array.dtype}")
    return array


def is_dense(array: DeviceArray) -> bool:
    """Whether its elements lie without gaps, in any order of the axes."""
    if array.contiguous:
        return True
    expected = 1
    for stride, length in sorted((s, n) for s, n in zip(array.strides(), array.shape, strict=True) if n != 1):
        if stride != expected:
            return False
        expected *= length
    return True


def _extent(array: DeviceArray) -> tuple[int, int]:
    """The first address, and the first one behind the array."""
    from fastnn.cuda._runtime.ptx import ITEMSIZE

    size = ITEMSIZE.get(array.dtype, 8)
    if array.size == 0:
        return array.address, array.address
    steps = [(n - 1) * s * size for n, s in zip(array.shape, array.strides(), strict=True)]
    return array.address + sum(min(s, 0) for s in steps), array.address + sum(max(s, 0) for s in steps) + size


def may_overlap(a: DeviceArray, b: DeviceArray) -> bool:
    """Whether the two might share memory."""
    (a_first, a_end), (b_first, b_end) = _extent(a), _extent(b)
    return a_first < b_end and b_first < a_end


def is_harmless(
    out: DeviceArray, in_place: Iterable[DeviceArray | None], apart: Iterable[DeviceArray | None] = ()
) -> bool:
    """Whether a kernel that reads all these arrays may write to `out`, which may be one of `in_place`."""
    others = [array for array in in_place if array is not None and array.address != out.address]
    return not any(array is not None and may_overlap(out, array) for array in (*others, *apart))


def apart(array: DeviceArray, target: DeviceArray) -> DeviceArray:
    """The array, as a copy where writing to the target would change it."""
    if not may_overlap(array, target):
        return array
    copy = empty_like(array)
    copy.library.assign(copy.owner, array.owner)
    return copy


class Elementwise(NamedTuple):
    """Arrays that a kernel can take element by element, as if they had one dimension."""

    inputs: tuple[DeviceArray, ...]
    target: DeviceArray
    out: Any  # what the target is copied to at last; None: it is the result

    def result(self) -> Any:
        """What the caller gets, once the kernel is launched."""
        if self.out is None:
            return self.target.owner
        self.target.library.assign(self.out, self.target.owner)
        return self.out


def elementwise(named: Named, out: Any, in_c_order: bool = False) -> Elementwise:
    """Inputs of one dtype and shape, and a target of that form; elements in the same order in memory."""
    arrays = [(name, ready(name, value)) for name, value in named]
    first_name, first = arrays[0]
    for name, array in arrays[1:]:
        if array.shape != first.shape:
            raise ValueError(f"{name} must have the shape of {first_name}, {first.shape}, got {array.shape}")
    dtype = first.dtype if len(arrays) == 1 else common_dtype(arrays)
    given = None if out is None else check_out(out, first.shape, dtype)
    same_device([*arrays, ("out", given)])
    inputs = [astype(array, dtype) for _, array in arrays]
    layouts = {None if array.contiguous else array.strides() for array in inputs}
    if in_c_order or len(layouts) > 1 or not is_dense(inputs[0]):
        inputs = [contiguous(array) for array in inputs]
    if given is None:
        return Elementwise(tuple(inputs), empty_like(inputs[0]), None)
    if _fits(given, inputs):
        return Elementwise(tuple(inputs), given._replace(owner=out), None)
    return Elementwise(tuple(inputs), empty_like(inputs[0]), out)


def _fits(out: DeviceArray, inputs: Sequence[DeviceArray]) -> bool:
    """Whether a kernel may write there: laid out as the inputs are, and each input the same or apart."""
    same = all((out.contiguous and x.contiguous) or out.strides() == x.strides() for x in inputs)
    return same and is_harmless(out, inputs)


def stream(like: DeviceArray) -> int:
    """The current stream of the array's library."""
    return like.library.stream(like.device)


def owners(*arrays: DeviceArray | None) -> tuple[Any, ...]:
    """The libraries' own arrays, None for None."""
    return tuple(None if array is None else cast(Any, array.owner) for array in arrays)
