"""Tensors of other libraries, by DLPack: NumPy views of their memory go in, and tensors come out.

A function that meets a tensor is called again with a view of it; nothing is copied. Results become tensors of
the library that the first argument comes from, on the memory that fastnn made for them. This file imports no
library: who has a tensor has imported it.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from fastnn._kernels import has_tensor

F = TypeVar("F", bound=Callable[..., Any])

_CPU = (1, 3)  # DLPack's numbers of the devices whose memory is the CPU's: its own, and pinned for CUDA


def call_with_views(
    function: Callable[..., Any],
    like: Any,
    names: Sequence[str],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> Any:
    """The function called with views of the tensors among the arguments; `names` has the first ones' names.

    Arrays among its results become tensors if `like` is one, of its library. An array that was written to is
    the tensor that was given.
    """
    positional = [_view(name, value) for name, value in zip(names, args, strict=False)]
    positional += args[len(names) :]
    keywords = {name: _view(name, value) for name, value in kwargs.items()}
    views, tensors = (*positional, *keywords.values()), (*args, *kwargs.values())
    given = {id(view): tensor for view, tensor in zip(views, tensors, strict=True)}
    library = _library(like) if has_tensor((like,), {}) else None
    result = function(*positional, **keywords)
    if type(result) is tuple:
        return tuple(_tensor(value, given, library) for value in result)
    return _tensor(result, given, library)


def is_on_gpu(value: Any) -> bool:
    """Whether it is an array in the memory of an NVIDIA GPU, of any library."""
    kind: Any = type(value)
    whole_type = type_is_on_gpu(kind)
    if whole_type is not None:
        return whole_type
    is_cuda = getattr(value, "is_cuda", None)  # torch's, whose interface raises where a gradient is required
    return bool(is_cuda) if is_cuda is not None else hasattr(value, "__cuda_array_interface__")


@functools.cache
def type_is_on_gpu(kind: Any) -> bool | None:
    """Whether all arrays of a type are on a GPU; None where each array has to be asked: that takes longer."""
    if issubclass(kind, np.ndarray | bool | int | float | str | tuple | list | None):
        return False
    return kind.__module__.partition(".")[0] == "cupy" or None


def _view(name: str, value: Any) -> Any:
    """A tensor's memory as an array; what is no tensor as it is."""
    if not has_tensor((value,), {}):
        return value
    if _exported(name, value, value.__dlpack_device__)[0] not in _CPU:
        where = getattr(value, "device", "another device")
        raise TypeError(f"{name} must be in the CPU's memory, got a tensor on {where}: use .cpu()")
    check_no_gradient(name, value)
    if getattr(value, "requires_grad", False):
        value = value.detach()
    if _is_bfloat16(value):
        value = value.view(_library(value).int16)
        return _exported(name, value, lambda: np.from_dlpack(value)).view(_numpy_bfloat16(name))
    return _exported(name, value, lambda: np.from_dlpack(value))


def check_no_gradient(name: str, tensor: Any) -> None:
    """ValueError for a tensor that autograd is to follow."""
    if getattr(tensor, "requires_grad", False):
        torch = sys.modules.get("torch")
        if torch is None or torch.is_grad_enabled():
            raise ValueError(
                f"{name} must be a tensor without requires_grad, as fastnn leaves no trace for autograd;"
                " use .detach(), or torch.no_grad()"
            )


def _exported(name: str, tensor: Any, export: Callable[[], Any]) -> Any:
    """What `export` returns; TypeError naming the argument for a tensor that DLPack has no form for."""
    try:
        return export()
    except (BufferError, RuntimeError, ValueError) as error:  # sparse, of 8 bits, without memory ...
        kind = f"{type(tensor).__name__} of {getattr(tensor, 'dtype', 'its dtype')}"
        raise TypeError(f"{name} must be a tensor that DLPack can pass on, got a {kind}: {error}") from error


def _is_bfloat16(value: Any) -> bool:
    return str(getattr(value, "dtype", "")).rpartition(".")[2] == "bfloat16"


def _numpy_bfloat16(name: str) -> np.dtype[Any]:
    try:
        found: np.dtype[Any] = np.dtype(importlib.import_module("ml_dtypes").bfloat16)
    except ImportError:
        raise ImportError(f"{name} is of bfloat16, which takes ml_dtypes: pip install ml_dtypes") from None
    return found


def _library(tensor: Any) -> Any:
    """What has `from_dlpack` for this kind of tensor; None if it cannot be found."""
    if hasattr(tensor, "__array_namespace__"):
        return tensor.__array_namespace__()
    packages = (sys.modules.get(base.__module__.partition(".")[0]) for base in type(tensor).__mro__)
    return next((package for package in packages if hasattr(package, "from_dlpack")), None)


def _tensor(value: Any, given: Mapping[int, Any], library: Any) -> Any:
    """A result as the caller gets it: the tensor that it was written to, or a new one for an array."""
    if id(value) in given:
        return given[id(value)]
    if library is None or not isinstance(value, np.ndarray):
        return value
    if _is_bfloat16(value):
        return library.from_dlpack(value.view(np.int16)).view(library.bfloat16)
    return library.from_dlpack(value)
