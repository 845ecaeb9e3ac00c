"""Checks of a chain's arguments: their shapes, and vectors with an element for each channel (axis 1).

The functions check_* see shapes alone, so that the chains of a GPU, fastnn.cuda._chain, use them too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastnn import _kernels
from fastnn._core import arrays
from fastnn._core.typing import Array
from fastnn.stages import Head


def check_shape(head: Head | None, shape: tuple[int, ...]) -> None:
    """ValueError unless an input of this shape has the channels that the first stage works on."""
    if head is not None and len(shape) < 2:
        raise ValueError(f"input must have shape (N, C) or (N, C, ...), got {shape}")


def check_residual(residual: tuple[int, ...], input: tuple[int, ...]) -> None:
    """ValueError unless the shapes are the same."""
    if residual != input:
        raise ValueError(f"residual must have the shape of input, {input}, got {residual}")


def check_vector(name: str, channels: int, got: tuple[int, ...]) -> None:
    """ValueError unless this shape is that of one element for each channel."""
    if got != (channels,):
        raise ValueError(f"{name} must have shape ({channels},), one for each channel of input, got {got}")


def vector(name: str, value: ArrayLike | None, input: Array, dtype: np.dtype[Any]) -> Array | None:
    """An argument with an element for each of the input's channels, as a plain array of this dtype."""
    if value is None:
        return None
    if input.dtype == dtype and _kernels.is_vector(value, input.shape[1], input):
        return value  # type: ignore[return-value]  # the short way: this is part of small calls
    array = arrays.ready(name, value)
    check_vector(name, input.shape[1], array.shape)
    return np.require(arrays.rounded(array, dtype), None, ["C", "A"])


def as_given(name: str, value: ArrayLike | None, vector: Array | None) -> Array | None:
    """The array that `vector` was made from; the gradient will have its dtype."""
    return vector if vector is value or value is None else arrays.ready(name, value)
