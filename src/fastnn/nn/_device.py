"""Where arrays are: in the CPU's memory, NumPy's, or in that of a GPU, CuPy's. Knows no layers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._core.dlpack import is_on_gpu
from fastnn._core.extras import require
from fastnn._core.typing import Array

if TYPE_CHECKING:
    from fastnn.nn.module import Module


CPU = None


def find_device(device: object) -> int | None:
    """The number of the GPU that PyTorch's name ("cuda", "cuda:1") stands for, CPU for "cpu".

    Raises ValueError for another name and a number that there is not, ImportError without CuPy, RuntimeError
    without a GPU.
    """
    name = str(device)  # torch.device has PyTorch's names too
    found = re.fullmatch(r"cpu|cuda(?::(\d+))?", name)
    if found is None:
        raise ValueError(f"device is {device!r}; it takes 'cpu', 'cuda' or 'cuda:1', by the GPU's number")
    if name == "cpu":
        return CPU
    cupy = require("cupy", "cuda")
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except RuntimeError as error:
        raise RuntimeError(
            f"device is {name!r}, but CUDA finds no GPU ({error}); it takes an NVIDIA GPU and its driver, for"
            " CUDA 13"
        ) from None
    number = int(cupy.cuda.Device().id if found[1] is None else found[1])
    if number >= count:
        raise ValueError(f"device is {name!r}; the GPUs of this machine have the numbers 0 to {count - 1}")
    return number


def device_of(array: Array) -> int | None:
    """The number of the GPU whose memory has the array, or CPU."""
    if not is_on_gpu(array):
        return CPU
    from fastnn.cuda._core.device_arrays import describe

    return describe("array", array).device


def device_of_model(model: Module) -> int | None:
    """Where a module's parameters are, or if it has none its buffers; CPU if it has neither.

    Raises ValueError where they are on several devices.
    """
    named = [(name, parameter.data) for name, parameter in model.named_parameters()]
    places = {device_of(array): name for name, array in [*model.named_buffers(), *named]}
    if len(places) > 1:
        where = " and ".join(f"{name} on {device_name(device)}" for device, name in places.items())
        raise ValueError(f"{type(model).__name__} is on several devices, {where}: use model.to(device)")
    return next(iter(places), CPU)


def device_name(device: int | None) -> str:
    """PyTorch's name of a device."""
    return "cpu" if device is CPU else f"cuda:{device}"


def moved(array: Any, device: int | None) -> Any:
    """The array itself where it is there already, else a copy."""
    if device == device_of(array):
        return array
    if device is CPU:
        return on_host(array)
    cupy = require("cupy", "cuda")
    with cupy.cuda.Device(device):
        return cupy.asarray(array)


def on_host(array: Any) -> Any:
    """An array, or a tensor, in the CPU's memory, as NumPy's."""
    if isinstance(array, np.ndarray):
        return array
    if hasattr(array, "detach"):  # torch gives values up without their gradient only, and bfloat16 not at all
        array = array.detach().cpu()
        return np.asarray(array.float() if str(array.dtype) == "torch.bfloat16" else array)
    return require("cupy", "cuda").asnumpy(array) if is_on_gpu(array) else np.asarray(array)


def alike(array: Any, like: Array) -> Any:
    """The array, perhaps of another library, as one of the library and dtype of `like`."""
    if is_on_gpu(like) and type(array) is not type(like):
        from fastnn.cuda._core.cupy_arrays import as_cupy
        from fastnn.cuda._core.device_arrays import describe

        array = as_cupy(describe("array", array))
    return array.astype(like.dtype, copy=False)


def assign(target: Array, values: Array) -> None:
    """target[...] = values, which are NumPy's, into an array that may be on a GPU."""
    if is_on_gpu(target):
        values = moved(values.astype(target.dtype, copy=False), device_of(target))
        target[...] = values
    else:
        np.copyto(target, values, casting="same_kind")


def as_floats(values: list[Any]) -> list[float]:
    """Numbers, some of them perhaps arrays of one element on a GPU: those come in one transfer."""
    there = [value for value in values if is_on_gpu(value)]
    if not there:
        return [float(value) for value in values]
    cupy = require("cupy", "cuda")
    read = iter(cupy.stack([cupy.asarray(value).reshape(()).astype("float64") for value in there]).get())
    return [float(next(read) if is_on_gpu(value) else value) for value in values]
