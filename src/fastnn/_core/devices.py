"""Where arrays are, in the CPU's memory (NumPy's) or in a GPU's (CuPy's), and moving them between the two.

A device is the number of a GPU, or CPU. This file knows arrays and devices, and nothing that computes.
"""

from __future__ import annotations

import operator
import re
from typing import Any

import numpy as np

from fastnn._core.dlpack import is_on_gpu
from fastnn._core.extras import require
from fastnn._core.typing import Array
from fastnn._core.uninterrupted import Call

CPU = None


# ---- devices by name ---------------------------------------------------------------------------------------


def find_device(device: object) -> int | None:
    """The number of the GPU that PyTorch's name ("cuda", "cuda:1") stands for, CPU for "cpu".

    Raises ValueError for another name and for the number of a GPU that the machine does not have,
    ImportError without CuPy, RuntimeError without a GPU.
    """
    name = str(device)  # torch.device has PyTorch's names too
    found = re.fullmatch(r"cpu|cuda(?::(\d+))?", name)
    if found is None:
        raise ValueError(f"device must be 'cpu', 'cuda' or a GPU by its number, as 'cuda:1', got {device!r}")
    if name == "cpu":
        return CPU
    from fastnn.cuda._runtime.status import check_driver  # which only those with a GPU need

    cupy = require("cupy", "cuda")
    check_driver()
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except RuntimeError as error:
        raise RuntimeError(
            f"device must be 'cpu' where CUDA finds no GPU ({error}), got {name!r}; it needs an NVIDIA GPU"
            " and its driver, for CUDA 13"
        ) from None
    number = int(cupy.cuda.Device().id if found[1] is None else found[1])
    if number >= count:
        raise ValueError(f"device must be a GPU of this machine, of number 0 to {count - 1}, got {name!r}")
    return number


def device_name(device: int | None) -> str:
    """PyTorch's name of a device."""
    return "cpu" if device is CPU else f"cuda:{device}"


# ---- where an array is -------------------------------------------------------------------------------------


def device_of(array: Array) -> int | None:
    """The number of the GPU whose memory holds the array, or CPU."""
    if not is_on_gpu(array):
        return CPU
    from fastnn.cuda._core.device_arrays import describe

    return describe("array", array).device


def dtype_name(array: Any) -> str:
    """NumPy's name of an array's dtype, on a GPU of any library's; the type's name of what is no array."""
    if is_on_gpu(array):
        from fastnn.cuda._core.device_arrays import describe

        return describe("array", array).dtype
    return str(array.dtype) if isinstance(array, np.ndarray) else type(array).__name__


def check_same_device(name: str, value: Any, like_name: str, like: Array) -> None:
    """TypeError where one array is on a GPU and the other is not, ValueError where they are on two GPUs."""
    here, there = is_on_gpu(value), is_on_gpu(like)
    if here and there:
        from fastnn.cuda._core.device_arrays import describe, same_device

        same_device(((like_name, describe(like_name, like)), (name, describe(name, value))))
    elif here or (there and isinstance(value, np.ndarray)):
        memory = ("the CPU's memory", "a GPU's memory")
        raise TypeError(
            f"{name} must be in {memory[there]}, as {like_name} is, got an array in {memory[here]}; move one"
            " of them: module.to(device), cupy.asarray(x), x.get()"
        )


# ---- copies from one to the other --------------------------------------------------------------------------


def moved(array: Any, device: int | None) -> Any:
    """The array itself if it is on this device, else a copy there."""
    if device == device_of(array):
        return array
    if device is CPU:
        return on_host(array)
    cupy = require("cupy", "cuda")
    with cupy.cuda.Device(device):
        return cupy.asarray(array)


def on_host(array: Any) -> Any:
    """The array or tensor as a NumPy array; a NumPy array itself."""
    if isinstance(array, np.ndarray):
        return array
    if hasattr(array, "detach"):  # torch exports no tensor that requires a gradient, and no bfloat16 at all
        array = array.detach().cpu()
        return np.asarray(array.float() if str(array.dtype) == "torch.bfloat16" else array)
    return require("cupy", "cuda").asnumpy(array) if is_on_gpu(array) else np.asarray(array)


def alike(array: Any, like: Array) -> Any:
    """The array, perhaps of another library, as one of the library and dtype of `like`."""
    if is_on_gpu(like) and type(array) is not type(like):
        from fastnn.cuda._core.cupy_arrays import as_cupy
        from fastnn.cuda._core.device_arrays import describe

        array = as_cupy(describe("array", array))
    with np.errstate(all="ignore"):  # as in the kernels, an overflow is an infinity, and no warning
        return array.astype(like.dtype, copy=False)


def assignment(target: Array, values: Array) -> Call:
    """The call that makes target[...] = values; the values are NumPy's, the target may be on a GPU."""
    if is_on_gpu(target):
        values = moved(values.astype(target.dtype, copy=False), device_of(target))
    return operator.setitem, target, ..., values


def as_floats(values: list[Any]) -> list[float]:
    """The values as floats; arrays of one element on a GPU are read in one transfer for all of them."""
    there = [value for value in values if is_on_gpu(value)]
    if not there:
        return [float(value) for value in values]
    cupy = require("cupy", "cuda")
    read = iter(cupy.stack([cupy.asarray(value).reshape(()).astype("float64") for value in there]).get())
    return [float(next(read) if is_on_gpu(value) else value) for value in values]
