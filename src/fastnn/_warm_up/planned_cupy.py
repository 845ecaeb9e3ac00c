"""A module in the place of `cupy` where kernels are planned and not run: its arrays have shapes and dtypes.

They lie in the CPU's memory, which is zeros, and which nobody touches but NumPy: a function of CuPy's is
NumPy's own here. It must not know kernels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin


class ndarray(NDArrayOperatorsMixin):  # noqa: N801
    """An array as CuPy has it: what it does not have itself is a method of NumPy's."""

    __module__ = "cupy"  # by which libraries are told apart
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, shape: Any, dtype: Any = float) -> None:
        self.host: Any = np.zeros(shape, dtype)

    shape = property(lambda self: self.host.shape)
    strides = property(lambda self: self.host.strides)
    dtype = property(lambda self: self.host.dtype)
    ndim = property(lambda self: self.host.ndim)
    size = property(lambda self: self.host.size)
    itemsize = property(lambda self: self.host.itemsize)
    nbytes = property(lambda self: self.host.nbytes)
    flags = property(lambda self: self.host.flags)
    _c_contiguous = property(lambda self: self.host.flags.c_contiguous)
    device = property(lambda self: Device(0))
    data = property(lambda self: SimpleNamespace(ptr=self.host.__array_interface__["data"][0], device_id=0))
    T = property(lambda self: _planned(self.host.T))

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """By which it is known as an array of a GPU."""
        return {**self.host.__array_interface__, "stream": None}

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return _call(getattr(ufunc, method), *inputs, **kwargs)

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        return _call(function, *args, **kwargs)

    def get(self, *args: Any, **kwargs: Any) -> Any:
        """A NumPy copy."""
        return self.host.copy()

    def set(self, values: Any, *args: Any, **kwargs: Any) -> None:
        """Takes the values of a NumPy array."""
        self.host[...] = values

    def __float__(self) -> float:
        return float(self.host)

    def __int__(self) -> int:
        return int(self.host)

    def __bool__(self) -> bool:
        return bool(self.host)

    def __len__(self) -> int:
        return len(self.host)

    def __getitem__(self, key: Any) -> Any:
        return _planned(self.host[_host(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.host[_host(key)] = _host(value)

    def __getattr__(self, name: str) -> Any:
        method = None if name.startswith("_") else getattr(np.ndarray, name, None)
        if not callable(method):
            raise AttributeError(name)
        return functools.partial(_call, method, self)


def _host(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return type(value)(_host(each) for each in value)
    return value.host if isinstance(value, ndarray) else value


def _planned(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return type(value)(_planned(each) for each in value)
    if not isinstance(value, np.ndarray | np.generic):
        return value
    made = ndarray.__new__(ndarray)
    made.host = np.asarray(value)
    return made


def _call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with np.errstate(all="ignore"):
        return _planned(function(*_host(args), **{name: _host(value) for name, value in kwargs.items()}))


def __getattr__(name: str) -> Any:
    """NumPy's types and numbers as they are, its functions for these arrays."""
    found = getattr(np, name, np) if not name.startswith("_") else np
    if isinstance(found, ModuleType):
        raise AttributeError(name)
    return functools.partial(_call, found) if callable(found) and not isinstance(found, type) else found


def asnumpy(a: Any, *args: Any, **kwargs: Any) -> Any:
    """A NumPy copy."""
    return np.array(_host(a))


def asarray(a: Any, dtype: Any = None, order: Any = None, **kwargs: Any) -> Any:
    """An array of an array or numbers; a copy of NumPy's, as it would go to a GPU."""
    if isinstance(a, ndarray) and dtype in (None, a.dtype):
        return a
    return _planned(np.array(_host(a), dtype, order=order or "K"))


# ---- cupy.cuda: one GPU, and streams on which nothing runs -------------------------------------------------


class Device:
    """The GPU."""

    def __init__(self, device: int | None = None) -> None:
        self.id = 0

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *error: object) -> None: ...

    def use(self) -> None:
        """Nothing: it is the current one."""

    def synchronize(self) -> None:
        """Nothing: it has no work."""


class Stream:
    """The default stream, whichever is asked for."""

    ptr = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *error: object) -> None: ...

    def is_capturing(self) -> bool:
        """No graph is captured."""
        return False

    def synchronize(self) -> None:
        """Nothing: it has no work."""

    @staticmethod
    def from_external(stream: object) -> Stream:
        """The default stream."""
        return Stream()


cuda = SimpleNamespace(
    Device=Device,
    Stream=Stream,
    ExternalStream=Stream,
    get_current_stream=lambda device=None: Stream(),
    get_device_id=lambda: 0,
    is_available=lambda: True,
    runtime=SimpleNamespace(
        CUDARuntimeError=RuntimeError, getDeviceCount=lambda: 1, getDevice=lambda: 0, is_hip=False
    ),
)
