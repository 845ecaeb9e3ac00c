"""Gradients by finite differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastnn._core.typing import Array


def numerical_gradient(loss: Callable[[], float], array: Array, step: float = 1e-6) -> Array:
    """Central differences of `loss` for every element of `array`, which is changed and put back."""
    gradient = np.empty_like(array)
    for index in np.ndindex(array.shape):
        value = array[index]
        array[index] = value + step
        above = loss()
        array[index] = value - step
        below = loss()
        array[index] = value
        gradient[index] = (above - below) / (2 * step)
    return gradient
