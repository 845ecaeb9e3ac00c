"""What every initialiser does with its arguments: find the array, write into it, take random numbers."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from fastnn._core.arrays import real_number
from fastnn._core.typing import Array
from fastnn.random import Generator, given_or_default


class HasData(Protocol):
    """An nn.Parameter, or what looks like one."""

    @property
    def data(self) -> Any:
        """The array."""


T = TypeVar("T", bound=HasData)  # arrays have a `data`, too
Draws = Generator | np.random.Generator | None


def array_of(tensor: object) -> Array:
    """The array that is written to; TypeError for another object or dtype, ValueError for read-only."""
    array = tensor if isinstance(tensor, np.ndarray) else getattr(tensor, "data", None)
    if not isinstance(array, np.ndarray):
        raise TypeError(f"tensor is {type(tensor).__name__}; it takes an array or an nn.Parameter")
    if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
        raise TypeError(f"tensor has dtype {array.dtype}; it takes a floating dtype")
    if not array.flags.writeable:
        raise ValueError("tensor is read-only; it takes an array that can be written to")
    return array


def matrix_of(tensor: object) -> Array:
    """The array, which must have 2 dimensions."""
    array = array_of(tensor)
    if array.ndim != 2:
        raise ValueError(f"tensor has shape {array.shape}; it takes 2 dimensions")
    return array


def fill(tensor: T, values: ArrayLike) -> T:
    """Write `values` and return the argument itself."""
    array_of(tensor)[...] = values
    return tensor


def numbers(generator: Draws) -> np.random.Generator:
    """Where this call's random numbers come from: the given generator, or the default one."""
    if isinstance(generator, np.random.Generator):
        return generator
    return given_or_default(generator).numpy()


def at_least_zero(name: str, value: object) -> float:
    """`value` as a float; ValueError for a negative number or NaN."""
    number = real_number(name, value)
    if not number >= 0:
        raise ValueError(f"{name} is {number}; it takes a number of at least 0")
    return number
