"""Checks of the arguments that several layers have in common. Messages begin with the layer's name.

It knows no layer.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fastnn._core.arrays import check_count, real_number
from fastnn._core.devices import check_same_device, dtype_name
from fastnn._core.typing import Array

MAX_DIMS = 64  # of NumPy's arrays
MOST = 2**60  # elements: of float64, of which weights are drawn, NumPy's arrays have fewer


def check_counts(layer: str, **counts: object) -> None:
    """ValueError unless all are whole numbers of at least 1 that can be a dimension of an array."""
    for name, value in counts.items():
        check_count(f"{layer}: {name}", value)
        if value >= MOST:  # type: ignore[operator]
            raise ValueError(f"{layer}: {name} must be below 2**60, got {value!r}")


def check_weight(layer: str, names: str, shape: tuple[int, ...]) -> None:
    """ValueError unless arrays can have a weight's shape; names: the arguments that it comes from."""
    if len(shape) > MAX_DIMS:
        raise ValueError(f"{layer}: {names} must have at most {MAX_DIMS} dimensions, got {len(shape)}")
    if math.prod(map(int, shape)) >= MOST:
        raise ValueError(f"{layer}: {names} must give a weight of fewer than 2**60 elements, got {shape}")


def check_numbers(layer: str, **numbers: object) -> None:
    """TypeError or ValueError unless all are real numbers in the range of floats."""
    for name, value in numbers.items():
        real_number(f"{layer}: {name}", value)


def check_dtype(layer: str, dtype: DTypeLike) -> None:
    """TypeError unless layers can start with parameters of this dtype."""
    try:
        got = np.dtype(dtype)
    except (TypeError, ValueError):
        raise TypeError(f"{layer}: dtype must be float32 or float64, got {dtype!r}") from None
    if got not in (np.float32, np.float64):
        raise TypeError(f"{layer}: dtype must be float32 or float64, got {got}")


def check_array(layer: str, name: str, value: Any, weight: Array) -> None:
    """TypeError unless the value is an array of the weight's dtype, in the memory that the weight is in."""
    if isinstance(value, np.ndarray) and isinstance(weight, np.ndarray) and value.dtype == weight.dtype:
        return
    check_same_device(f"{layer}: {name}", value, "the weight", weight)
    expected, got = dtype_name(weight), dtype_name(value)
    if got != expected:
        raise TypeError(f"{layer}: {name} must be an array of the weight's dtype, {expected}, got {got}")
