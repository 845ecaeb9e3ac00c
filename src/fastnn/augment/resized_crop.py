"""RandomResizedCrop: a part of each image, resized."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastnn import _kernels
from fastnn._core.typing import Array
from fastnn.augment.boxes import random_boxes
from fastnn.augment.images import range_of, size_of
from fastnn.augment.transform import ImageTransform
from fastnn.random import Key


class RandomResizedCrop(ImageTransform):
    """Cuts a box out of each image, and resizes it to `size` by bilinear interpolation.

    size: (height, width), or one number for both. scale: the box's share of the image's area, uniform in this
    range. ratio: width / height, uniform in its logarithm. Where none of ten such boxes lies within the image
    it is the largest one in the middle whose ratio is in the range. antialias: where the box is larger than
    `size`, each pixel is a mean of all that it covers, weighted by a triangle; False takes the four nearest.
    Bytes are rounded. Szegedy et al., "Going deeper with convolutions", 2015.

    Raises ValueError for images without pixels.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        *,
        antialias: bool = True,
    ) -> None:
        size_of("RandomResizedCrop: size", size)
        range_of("RandomResizedCrop: scale", scale, 0, 1)
        if range_of("RandomResizedCrop: ratio", ratio, 0)[0] == 0:
            raise ValueError(f"RandomResizedCrop: ratio must be above 0, got {ratio!r}")
        self.size, self.scale, self.ratio, self.antialias = size, scale, ratio, antialias

    def _changed(self, x: Array, key: Key) -> Array:
        image = (x.shape[2], x.shape[3])
        if not min(image):
            raise ValueError(f"RandomResizedCrop: x must have pixels, got shape {x.shape}")
        scale, ratio = range_of("scale", self.scale), range_of("ratio", self.ratio)
        boxes, found = random_boxes(key, len(x), image, image, scale, ratio)
        boxes[~found] = _middle(*image, *ratio)
        return _kernels.resize_boxes(x, *size_of("size", self.size), self.antialias, boxes)


def _middle(height: int, width: int, least: float, largest: float) -> tuple[int, int, int, int]:
    """The largest box in the middle with such a ratio."""
    own = width / height
    rows = max(1, round(width / least)) if own < least else height
    columns = max(1, round(height * largest)) if own > largest else width
    rows, columns = int(np.clip(rows, 1, height)), int(np.clip(columns, 1, width))
    return (height - rows) // 2, (width - columns) // 2, rows, columns
