"""What the initialisers share: finding the array to write into, writing, and where random numbers come from.

It knows no initialiser, and of layers only that a parameter has its array in `data`.
"""

from __future__ import annotations

import math
from typing import Any, Protocol, TypeVar, Union

import numpy as np
from numpy.typing import ArrayLike

from fastnn._core.arrays import real_number, write
from fastnn._core.typing import Array
from fastnn.random import Generator, given_or_default


class HasData(Protocol):
    """An nn.Parameter, or what looks like one."""

    @property
    def data(self) -> Any:
        """The array."""


T = TypeVar("T", bound=HasData)  # arrays have a `data`, too
Draws = Union[Generator, "np.random.Generator", None]  # text: numpy.random takes longer to load than fastnn


def array_of(tensor: object) -> Array:
    """The array that is written to; TypeError for another object or dtype, ValueError for read-only."""
    array = tensor if isinstance(tensor, np.ndarray) else getattr(tensor, "data", None)
    if not isinstance(array, np.ndarray):
        raise TypeError(f"tensor must be an array or an nn.Parameter, got {type(tensor).__name__}")
    if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
        raise TypeError(f"tensor must be of a floating dtype, got {array.dtype}")
    if not array.flags.writeable:
        raise ValueError("tensor must be writeable, got a read-only array")
    return array


def matrix_of(tensor: object) -> Array:
    """The array, which must have 2 dimensions."""
    array = array_of(tensor)
    if array.ndim != 2:
        raise ValueError(f"tensor must have 2 dimensions, got shape {array.shape}")
    return array


def fill(tensor: T, values: ArrayLike) -> T:
    """Write `values`, rounded without a warning, and return the argument itself."""
    write(array_of(tensor), values)
    return tensor


def numbers(generator: Draws) -> np.random.Generator:
    """Where this call's random numbers come from: the given generator, or the default one."""
    if isinstance(generator, np.random.Generator):
        return generator
    return given_or_default(generator).numpy()


def finite(name: str, value: object) -> float:
    """`value` as a float; ValueError for NaN and infinities."""
    number = real_number(name, value)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {number}")
    return number


def at_least_zero(name: str, value: object) -> float:
    """`value` as a float; ValueError for a negative number, NaN and infinity."""
    number = finite(name, value)
    if number < 0:
        raise ValueError(f"{name} must be at least 0, got {number}")
    return abs(number)  # -0 is 0, which NumPy's generators refuse
