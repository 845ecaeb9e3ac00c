"""Numbers one at a time, from and to memory of any dtype: what kernels need for each channel."""

from __future__ import annotations

import math
from typing import Any

from numba import cuda, types

from fastnn.cuda._runtime.dtypes import ITEMSIZE
from fastnn.cuda._runtime.ptx.access import load, store
from fastnn.cuda._runtime.ptx.functions import device, made_once
from fastnn.cuda._runtime.ptx.real import computing

#: From this size on, a float64 becomes infinite when it is rounded to the dtype.
TOO_LARGE = {
    "float64": math.inf,
    "float32": 2.0**128 - 2.0**103,
    "bfloat16": 2.0**128 - 2.0**119,
    "float16": 65520.0,
}


@made_once
def read(dtype: str) -> Any:
    """read(address, index): an element as a float64."""
    access, real, size = load(dtype, 1), computing(dtype), ITEMSIZE[dtype]

    @device
    def element(address: int, index: int) -> Any:
        v = cuda.local.array(1, real)
        access(address + types.uint64(index * size), v, 0)
        return types.float64(v[0])

    return element


@made_once
def write(dtype: str) -> Any:
    """write(address, index, value): a number rounded to an element."""
    access, real, size = store(dtype, 1), computing(dtype), ITEMSIZE[dtype]

    @device
    def element(address: int, index: int, value: float) -> None:
        v = cuda.local.array(1, real)
        v[0] = real(value)
        access(address + types.uint64(index * size), v, 0)

    return element


#: Of float64, from and to memory.
double_at, put_double = read("float64"), write("float64")


@made_once
def get(dtype: str, otherwise: float = 0.0) -> Any:
    """get(address, index): as `read`; `otherwise` where the address is 0: it is not there."""
    element = read(dtype)

    @device
    def found(address: int, index: int) -> Any:
        return element(address, index) if address != 0 else types.float64(otherwise)

    return found


@made_once
def put(dtype: str) -> Any:
    """put(address, index, value): as `write`; nothing where the address is 0."""
    element = write(dtype)

    @device
    def kept(address: int, index: int, value: float) -> None:
        if address != 0:
            element(address, index, value)

    return kept


@made_once
def quad(dtype: str, load_or_store: Any) -> Any:
    """(address, index, v): loads or stores four numbers of a float32 or float64 array together."""
    width, size = 16 // ITEMSIZE[dtype], ITEMSIZE[dtype]
    access = load_or_store(dtype, width)

    @device
    def move(address: int, index: int, v: Any) -> None:
        for k in range(4 // width):
            access(address + types.uint64((4 * index + k * width) * size), v, k * width)

    return move
