"""What several layers check of their arguments. Messages begin with the layer's name; it knows no layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fastnn._core.dlpack import is_on_gpu
from fastnn.nn.parameter import Array


def check_counts(layer: str, **counts: object) -> None:
    """ValueError unless all are whole numbers of at least 1."""
    for name, value in counts.items():
        if not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"{layer}: {name} is {value!r}; it takes a whole number of at least 1")


def check_dtype(layer: str, dtype: DTypeLike) -> None:
    """TypeError unless layers can start with parameters of this dtype."""
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise TypeError(f"{layer}: dtype is {np.dtype(dtype)}; it takes float32 or float64")


def check_array(layer: str, name: str, value: Any, weight: Array) -> None:
    """TypeError unless it is an array of the weight's dtype, in the memory that the weight is in."""
    if isinstance(value, np.ndarray) and isinstance(weight, np.ndarray) and value.dtype == weight.dtype:
        return
    there = is_on_gpu(weight)
    if there and is_on_gpu(value):
        from fastnn.cuda._core.device_arrays import describe, same_device

        own, given = describe("the weight", weight), describe(f"{layer}: {name}", value)
        same_device((("the weight", own), (f"{layer}: {name}", given)))
        if own.dtype == given.dtype:
            return
        got = given.dtype
    elif is_on_gpu(value) or (there and isinstance(value, np.ndarray)):
        places = ("on a GPU", "in the CPU's memory")
        raise TypeError(
            f"{layer}: {name} is {places[there]}, and the weight {places[not there]}; move one of them:"
            " module.to(device), cupy.asarray(x), x.get()"
        )
    else:
        got = str(value.dtype) if isinstance(value, np.ndarray) else type(value).__name__
    raise TypeError(f"{layer}: {name} is {got}; it takes an array of the weight's dtype, {weight.dtype}")
