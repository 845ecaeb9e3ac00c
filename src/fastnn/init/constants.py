"""Initialisers without random numbers."""

from __future__ import annotations

import numpy as np

from fastnn._core.arrays import is_whole, real_number
from fastnn.init.target import T, array_of, fill, matrix_of


def constant_(tensor: T, val: float) -> T:
    """Fill with `val`. Raises TypeError for what is no array or Parameter of floats."""
    return fill(tensor, real_number("val", val))


def zeros_(tensor: T) -> T:
    """Fill with 0."""
    return constant_(tensor, 0.0)


def ones_(tensor: T) -> T:
    """Fill with 1."""
    return constant_(tensor, 1.0)


def eye_(tensor: T) -> T:
    """The identity, for a matrix of any shape: 1 on the diagonal, else 0.

    Raises ValueError unless the tensor has 2 dimensions.
    """
    return fill(tensor, np.eye(*matrix_of(tensor).shape))


def dirac_(tensor: T, groups: int = 1) -> T:
    """The identity of convolutions: 1 at the middle of the kernel from channel i to channel i, else 0.

    tensor: (out_channels, in_channels / groups, kernel...) with 1 to 3 kernel dimensions. Of each group, as
    many channels are kept as it has on both sides. Raises ValueError for another number of dimensions, for a
    kernel without elements, and for out_channels that `groups` does not divide.
    """
    array = array_of(tensor)
    if array.ndim not in (3, 4, 5):
        raise ValueError(f"tensor must have 3, 4 or 5 dimensions, got shape {array.shape}")
    if 0 in array.shape[2:]:
        raise ValueError(f"tensor must have a kernel of at least one element, got shape {array.shape}")
    channels = array.shape[0]
    if not is_whole(groups):
        raise TypeError(f"groups must be an integer, got {type(groups).__name__}")
    if groups < 1 or channels % groups:
        raise ValueError(f"groups must divide the number of output channels, {channels}, got {groups}")
    values = np.zeros(array.shape)
    middle = tuple(size // 2 for size in array.shape[2:])
    each = channels // groups
    for channel in range(channels):
        if channel % each < array.shape[1]:
            values[(channel, channel % each, *middle)] = 1
    return fill(tensor, values)
