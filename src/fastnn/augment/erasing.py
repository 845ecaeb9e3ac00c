"""RandomErasing: a box of each image is overwritten."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastnn import _kernels
from fastnn._core.arrays import probability
from fastnn._core.typing import Array
from fastnn.augment.boxes import random_boxes
from fastnn.augment.draws import stream, uniform
from fastnn.augment.images import Fill, check_fill, pixel_of, range_of
from fastnn.augment.transform import ImageTransform
from fastnn.random import Key, child_key


class RandomErasing(ImageTransform):
    """Overwrites a box of each image with probability p.

    scale: the box's share of the image's area, uniform in this range. ratio: height / width, uniform in its
    logarithm. Where none of ten such boxes is smaller than the image in both directions, nothing is erased.
    value: a number, one for each channel, or "random": each pixel normal with mean 0 and variance 1, or for
    bytes uniform. Zhong et al., "Random erasing data augmentation", 2020. Cutout (DeVries and Taylor, 2017)
    is much the same: p=1, ratio=(1, 1) and a scale of two equal numbers.
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: Fill | str = 0,
    ) -> None:
        self.p = probability("RandomErasing: p", p)
        range_of("RandomErasing: scale", scale, 0, 1)
        if range_of("RandomErasing: ratio", ratio, 0)[0] == 0:
            raise ValueError(f"RandomErasing: ratio must be above 0, got {ratio!r}")
        if isinstance(value, str) and value != "random":
            raise ValueError(f"RandomErasing: value must be numbers or 'random', got {value!r}")
        if not isinstance(value, str):
            check_fill("RandomErasing: value", value)
        self.scale, self.ratio, self.value = scale, ratio, value

    def _changed(self, x: Array, key: Key) -> Array:
        height, width = x.shape[2:]
        scale, (least, largest) = range_of("scale", self.scale), range_of("ratio", self.ratio)
        boxes, found = random_boxes(
            child_key(key, 0),
            len(x),
            (height, width),
            (height - 1, width - 1),
            scale,
            (1 / largest, 1 / least),
        )
        chosen = found & (uniform(child_key(key, 1), len(x), 1)[:, 0] < self.p)
        boxes[:, 2:] = boxes[:, :2] + boxes[:, 2:] * chosen[:, None]  # bottom and right
        if isinstance(self.value, str):
            return _kernels.patch_images(x, boxes, _noise(x, child_key(key, 2)), 0, None)
        return _kernels.patch_images(x, boxes, None, 0, pixel_of("value", self.value, x))


def _noise(x: Array, key: Key) -> Array:
    """Normal numbers in the form of x; of bytes, all as likely."""
    if x.dtype == np.uint8:
        return stream(key, x.shape, np.uint8)
    return _kernels.add_noise(np.zeros_like(x), key, 0.0, 1.0, False)
