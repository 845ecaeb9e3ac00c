"""Batches of images and the transforms' arguments, checked. It knows no transform."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn._core.arrays import is_whole, real_number
from fastnn._core.typing import Array

DTYPES = "Bfd"  # uint8, float32, float64

Fill = float | Sequence[float]


def as_images(x: Array) -> Array:
    """`x` as the kernels take it; ValueError or TypeError for what is no batch of images."""
    if x.ndim != 4:
        single = "; x[None] makes a batch of one image" if x.ndim == 3 else ""
        raise ValueError(f"x must be images (N, C, H, W), got shape {x.shape}{single}")
    if x.dtype.char not in DTYPES:
        raise TypeError(f"x must be images of uint8, float32 or float64, got {x.dtype}")
    if x.flags.c_contiguous and x.flags.aligned and x.dtype.isnative:  # the short way
        return x
    return np.require(x, x.dtype.newbyteorder("="), ["C", "A"])


def pixel_of(name: str, fill: Fill, x: Array) -> Array:
    """The pixel that `fill` means: a number for each channel of x, in its dtype."""
    channels = x.shape[1]
    numbers = [*fill] if isinstance(fill, Sequence) else [fill]
    if len(numbers) not in (1, channels):
        raise ValueError(
            f"{name} must be a number or one for each of {channels} channels, got {len(numbers)} numbers"
        )
    if x.dtype == np.uint8 and not all(0 <= number <= 255 and number == int(number) for number in numbers):
        raise ValueError(f"{name} must be whole and in [0, 255] for images of uint8, got {fill}")
    return np.array(numbers * channels if len(numbers) == 1 else numbers, x.dtype)


def check_fill(name: str, fill: Any) -> None:
    """TypeError for what is neither a number nor numbers."""
    for number in fill if isinstance(fill, list | tuple) else [fill]:
        real_number(name, number)


def size_of(name: str, size: int | Sequence[int]) -> tuple[int, int]:
    """(height, width); a single number is both."""
    sizes = [*size] if isinstance(size, Sequence) else [size]
    if len(sizes) not in (1, 2) or not all(is_whole(one) and one >= 1 for one in sizes):
        raise ValueError(f"{name} must be one or two whole numbers of at least 1, got {size!r}")
    return int(sizes[0]), int(sizes[-1])


def range_of(name: str, value: Any, low: float = -np.inf, high: float = np.inf) -> tuple[float, float]:
    """Two numbers in [low, high], the second not below the first; ValueError for others."""
    if not isinstance(value, Sequence) or len(value) != 2:
        raise ValueError(f"{name} must be two numbers, (least, largest), got {value!r}")
    first, second = (real_number(name, number) for number in value)
    if not low <= first <= second <= high or not np.isfinite([first, second]).all():
        raise ValueError(f"{name} must be two numbers in [{low:g}, {high:g}], the least first, got {value!r}")
    return first, second
