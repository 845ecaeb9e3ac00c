"""A stand-in for the module `cupy` where there is no GPU: arrays in the emulator's memory, computed with
NumPy.

As CuPy's, its arrays are not NumPy's: they do not convert by themselves, and operations with NumPy arrays
raise TypeError. Functions and methods are NumPy's own, on views of the emulated memory; what they return
lies there too. It must not know fastnn. Of CuPy's own it has what the tests use.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from support import host_cuda as cuda
from support.host_cuda import Device, MemoryPointer, UnownedMemory, alloc
from support.ptx_emulator import memory
from support.ptx_emulator.memory import BASE

__version__ = "14.2.0"

get_default_memory_pool = cuda.get_default_memory_pool

_HOST = memory.arena.ctypes.data  # where the emulated memory begins on the host

_PRODUCTS = ("matmul", "dot", "tensordot", "einsum")


class ndarray(NDArrayOperatorsMixin):  # noqa: N801
    """An array in device memory."""

    __array_priority__ = 100

    def __init__(
        self,
        shape: int | Sequence[int],
        dtype: Any = float,
        memptr: MemoryPointer | None = None,
        strides: Sequence[int] | None = None,
        order: Any = "C",
    ) -> None:
        extent = (int(shape),) if isinstance(shape, int | np.integer) else tuple(int(n) for n in shape)
        kind = np.dtype(dtype)
        if kind.hasobject or not kind.isnative:
            raise TypeError(f"Unsupported dtype {kind}")
        if memptr is None:
            memptr = alloc(int(np.prod(extent, dtype=np.int64)) * kind.itemsize)
        self.data = memptr
        buffer = memory.arena if memptr.ptr else np.empty(0, np.uint8)
        offset = memptr.ptr - BASE if memptr.ptr else 0
        self._host: Any = np.ndarray(extent, kind, buffer, offset, strides, order or "C")

    # What it is.

    shape = property(lambda self: self._host.shape)
    strides = property(lambda self: self._host.strides)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    itemsize = property(lambda self: self._host.itemsize)
    nbytes = property(lambda self: self._host.nbytes)
    flags = property(lambda self: self._host.flags)
    _c_contiguous = property(lambda self: self._host.flags.c_contiguous)
    device = property(lambda self: Device(0))
    T = property(lambda self: self.transpose())

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Version 3 of the protocol, ordered on the legacy default stream."""
        strides = None if self.flags.c_contiguous else self.strides
        described = {"shape": self.shape, "typestr": self.dtype.str, "descr": self.dtype.descr, "version": 3}
        return described | {"data": (self.data.ptr, False), "strides": strides, "stream": 1}

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0  # CUDA

    def __dlpack__(self, **options: Any) -> Any:
        raise BufferError("the memory of an emulated GPU cannot be passed on")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return _apply(getattr(ufunc, method), *inputs, **kwargs)

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        return _call(function.__name__, *args, **kwargs)

    # Values, on the host.

    def get(self, stream: Any = None, order: Any = "C", out: Any = None) -> Any:
        """A NumPy copy."""
        if out is None:
            return np.array(self._host, order=order)
        out[...] = self._host
        return out

    def set(self, values: Any, stream: Any = None) -> None:
        """Takes the values of a NumPy array."""
        self._host[...] = values
        _mark(self._host)

    def item(self, *args: int) -> Any:
        return self._host.item(*args)

    def __float__(self) -> float:
        return float(self._host)

    def __int__(self) -> int:
        return int(self._host)

    def __index__(self) -> int:
        return int(self._host.__index__())

    def __bool__(self) -> bool:
        return bool(self._host)

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return repr(self._host)

    __hash__ = None  # type: ignore[assignment]

    # Parts and copies.

    def __getitem__(self, key: Any) -> ndarray:
        part = self._host[_to_host(key)]
        found: ndarray = _to_device(part, [self])
        return found

    def __setitem__(self, key: Any, value: Any) -> None:
        place, values = _to_host(key), _to_host(value)
        self._host[place] = values
        written = np.zeros(self.shape, bool)
        written[place] = True
        _mark(self._host, written)

    def copy(self, order: Any = "C") -> ndarray:
        return array(self, order=order)

    def astype(self, dtype: Any, order: Any = "K", copy: bool = True) -> ndarray:
        if not copy and self.dtype == dtype:
            return self
        return _new(self._host.astype(dtype, order=order))

    def fill(self, value: Any) -> None:
        self._host.fill(_to_host(value))
        _mark(self._host)

    def __getattr__(self, name: str) -> Any:
        method = None if name.startswith("_") else getattr(np.ndarray, name, None)
        if not callable(method):
            raise AttributeError(f"the stand-in for cupy.ndarray has no {name!r}")
        return functools.partial(_apply, method, self)


# ---- NumPy's functions, on views ---------------------------------------------------------------------------


def _mark(host: Any, where: Any = True) -> None:
    """Notes that the elements (where the mask says) have been written."""
    if host.size:
        offset = host.__array_interface__["data"][0] - _HOST
        shape, strides = (*host.shape, host.itemsize), (*host.strides, 1)
        written = np.ndarray(shape, bool, memory.written, offset, strides)
        written[where] = True


def _to_host(value: Any) -> Any:
    """Device arrays, also in lists and the like, as views; TypeError for NumPy's arrays."""
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, tuple | list):
        return type(value)(_to_host(each) for each in value)
    return value


def _arrays(value: Any) -> list[ndarray]:
    """The device arrays in arguments."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, tuple | list):
        return [array for each in value for array in _arrays(each)]
    return [value] if isinstance(value, ndarray) else []


def _to_device(value: Any, sources: Sequence[ndarray]) -> Any:
    """Arrays among results as device arrays: views of a source's memory where they are, else new."""
    if isinstance(value, tuple | list):
        return type(value)(_to_device(each, sources) for each in value)
    if isinstance(value, np.generic):
        return _new(np.asarray(value))
    if not isinstance(value, np.ndarray):
        return value
    for source in sources:
        if value is source._host:
            return source
    start = value.__array_interface__["data"][0] - _HOST + BASE
    for source in sources:
        mem = source.data.mem
        if value.size and mem.ptr <= start < mem.ptr + mem.size:
            return ndarray(value.shape, value.dtype, MemoryPointer(mem, start - mem.ptr), value.strides)
    return _new(value)


def _new(host: Any) -> ndarray:
    """A copy on the device, with the axes in the same order in memory."""
    result = empty_like_host(host)
    result._host[...] = host
    _mark(result._host)
    return result


def _apply(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """A function of NumPy's on device arrays; `out` is written to."""
    sources = _arrays([args, kwargs])
    hosts = {name: _to_host(value) for name, value in kwargs.items()}
    result = function(*_to_host(args), **hosts)
    for out in _arrays([kwargs.get("out")]):
        _mark(out._host)
    return _to_device(result, sources)


def _call(name: str, *args: Any, **kwargs: Any) -> Any:
    return _apply(_in_float32(name) if name in _PRODUCTS else getattr(np, name), *args, **kwargs)


def _in_float32(name: str) -> Callable[..., Any]:
    """A product that adds up half formats in float32 and rounds once, as cuBLAS does."""
    function = getattr(np, name)

    def product(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        kinds = {each.dtype for each in args if isinstance(each, np.ndarray)}
        if any(kind.itemsize > 2 for kind in kinds):
            return function(*args, **kwargs) if out is None else function(*args, out=out, **kwargs)
        wide = [each.astype(np.float32) if isinstance(each, np.ndarray) else each for each in args]
        result = function(*wide, **kwargs).astype(np.result_type(*kinds))
        if out is None:
            return result
        out[...] = result
        return out

    return product


def __getattr__(name: str) -> Any:
    """NumPy's types and numbers as they are, and its functions for device arrays."""
    found = getattr(np, name, np) if not name.startswith("_") else np
    if isinstance(found, ModuleType):
        raise AttributeError(f"the stand-in for cupy has no {name!r}")
    return functools.partial(_call, name) if callable(found) and not isinstance(found, type) else found


# ---- new arrays --------------------------------------------------------------------------------------------


def empty_like_host(host: Any, dtype: Any = None, order: Any = "K", shape: Any = None) -> ndarray:
    """A device array with the strides that NumPy gives an array like this."""
    model = np.empty_like(host, dtype, order, shape=shape)
    return ndarray(model.shape, model.dtype, strides=model.strides)


def empty(shape: Any, dtype: Any = float, order: Any = "C") -> ndarray:
    return ndarray(shape, dtype, order=order)


def empty_like(
    a: ndarray, dtype: Any = None, order: Any = "K", subok: Any = None, shape: Any = None
) -> ndarray:
    return empty_like_host(a._host, dtype, order, shape)


def _filled(result: ndarray, value: Any) -> ndarray:
    result.fill(value)
    return result


def zeros(shape: Any, dtype: Any = float, order: Any = "C") -> ndarray:
    return _filled(empty(shape, dtype, order), 0)


def zeros_like(a: ndarray, dtype: Any = None, order: Any = "K") -> ndarray:
    return _filled(empty_like(a, dtype, order), 0)


def ones(shape: Any, dtype: Any = float, order: Any = "C") -> ndarray:
    return _filled(empty(shape, dtype, order), 1)


def ones_like(a: ndarray, dtype: Any = None, order: Any = "K") -> ndarray:
    return _filled(empty_like(a, dtype, order), 1)


def full(shape: Any, fill_value: Any, dtype: Any = None, order: Any = "C") -> ndarray:
    kind = np.asarray(_to_host(fill_value)).dtype if dtype is None else dtype
    return _filled(empty(shape, kind, order), fill_value)


def full_like(a: ndarray, fill_value: Any, dtype: Any = None, order: Any = "K") -> ndarray:
    return _filled(empty_like(a, dtype, order), fill_value)


def array(obj: Any, dtype: Any = None, copy: bool = True, order: Any = "K") -> ndarray:
    """A device array of a device or NumPy array, numbers, or what has `__cuda_array_interface__`."""
    if isinstance(obj, ndarray):
        host = np.array(obj._host, dtype, order=order) if copy else np.asarray(obj._host, dtype, order=order)
        return obj if host is obj._host else _new(host)
    if hasattr(obj, "__cuda_array_interface__"):
        return array(_foreign(obj.__cuda_array_interface__, obj), dtype, copy, order)
    if isinstance(obj, list | tuple) and _arrays(obj):
        return array(_call("stack", [array(each) for each in obj]), dtype, False, order)
    return _new(np.array(obj, dtype, order=order))


def asarray(a: Any, dtype: Any = None, order: Any = None, *, blocking: bool = False) -> ndarray:
    return array(a, dtype, copy=False, order=order or "K")


def ascontiguousarray(a: Any, dtype: Any = None) -> ndarray:
    found = asarray(a, dtype, "C")
    return found if found.ndim else found.reshape(1)


def asnumpy(a: Any, stream: Any = None, order: Any = "C") -> Any:
    return a.get(order=order) if isinstance(a, ndarray) else np.asarray(a, order=order)


def copyto(dst: ndarray, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
    np.copyto(dst._host, _to_host(src), casting, where=_to_host(where))
    _mark(dst._host)


def _foreign(described: dict[str, Any], owner: object) -> ndarray:
    (pointer, _), kind = described["data"], np.dtype(described["typestr"])
    strides = described.get("strides")
    spans = zip(described["shape"], strides or (), strict=False)
    size = sum((n - 1) * s for n, s in spans) + kind.itemsize
    if not strides:
        size = int(np.prod(described["shape"])) * kind.itemsize
    place = MemoryPointer(UnownedMemory(pointer, size, owner), 0)
    return ndarray(described["shape"], kind, place, strides)
