"""GaussianNoise: normal noise on every pixel."""

from __future__ import annotations

import numpy as np

from fastnn import _kernels
from fastnn._core.arrays import real_number
from fastnn._core.typing import Array
from fastnn.augment.transform import ImageTransform
from fastnn.random import Key


class GaussianNoise(ImageTransform):
    """x + mean + sigma z, z normal with mean 0 and variance 1, drawn for each element.

    clip: to [0, 1]. Both are in units of a white pixel: for bytes mean and sigma count 255 times, and results
    are rounded and always clipped to [0, 255].
    """

    def __init__(self, mean: float = 0.0, sigma: float = 0.1, clip: bool = True) -> None:
        self.mean, self.sigma = (
            real_number("GaussianNoise: mean", mean),
            real_number("GaussianNoise: sigma", sigma),
        )
        if not np.isfinite(self.mean):
            raise ValueError(f"GaussianNoise: mean must be finite, got {mean}")
        if not 0 <= self.sigma < np.inf:
            raise ValueError(f"GaussianNoise: sigma must be at least 0 and finite, got {sigma}")
        self.clip = clip

    def _changed(self, x: Array, key: Key) -> Array:
        return _kernels.add_noise(x, key, self.mean, self.sigma, self.clip)
