"""ColorJitter: brightness, contrast and saturation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn import _kernels
from fastnn._core.arrays import real_number
from fastnn._core.typing import Array
from fastnn.augment.draws import between, uniform
from fastnn.augment.images import range_of
from fastnn.augment.transform import ImageTransform
from fastnn.random import Key

ADJUSTMENTS = ("brightness", "contrast", "saturation")  # in the order of fastnn_adjustment


class ColorJitter(ImageTransform):
    """Changes brightness, contrast and saturation of each image, in an order that is drawn too.

    Each is a range of factors f, uniform; a single number v means (max(0, 1 - v), 1 + v), and None leaves it
    out. brightness: f x. contrast: f x + (1 - f) m, where m is the mean grey of the image. saturation:
    f x + (1 - f) g, where g = 0.2989 red + 0.587 green + 0.114 blue is the pixel's grey. Each result is
    clipped, floats to [0, 1] and bytes to [0, 255]; bytes are rounded down, as torchvision has it. Images
    have 1 or 3 channels; those of 1 have no saturation. Standardise after it, not before.

    Raises ValueError for other channels.
    """

    def __init__(
        self,
        brightness: float | Sequence[float] | None = None,
        contrast: float | Sequence[float] | None = None,
        saturation: float | Sequence[float] | None = None,
    ) -> None:
        self.brightness, self.contrast, self.saturation = brightness, contrast, saturation
        for name in ADJUSTMENTS:
            _factors(f"ColorJitter: {name}", getattr(self, name))

    def _changed(self, x: Array, key: Key) -> Array:
        if x.shape[1] not in (1, 3):
            raise ValueError(f"ColorJitter: x must have 1 or 3 channels, got {x.shape[1]}")
        ranges = {n: r for n, name in enumerate(ADJUSTMENTS) if (r := _factors(name, getattr(self, name)))}
        numbers, bounds = np.array([*ranges], np.int64), np.array([*ranges.values()]).reshape(-1, 2)
        drawn = uniform(key, len(x), 2 * len(ADJUSTMENTS))
        order = drawn[:, len(numbers) : 2 * len(numbers)].argsort(axis=1)
        factors = between(bounds.T, drawn[:, : len(numbers)])
        return _kernels.adjust_colours(x, numbers[order], np.take_along_axis(factors, order, axis=1))


def _factors(name: str, value: Any) -> tuple[float, float] | None:
    if value is None or isinstance(value, Sequence):
        return None if value is None else range_of(name, value, 0)
    most = real_number(name, value)
    if not 0 <= most < np.inf:
        raise ValueError(f"{name} must be at least 0, got {value!r}")
    return max(0.0, 1 - most), 1 + most
