"""Boxes of random area and aspect ratio in images: what RandomResizedCrop and RandomErasing draw."""

from __future__ import annotations

import numpy as np

from fastnn._core.typing import Array
from fastnn.augment.draws import below, between, uniform
from fastnn.random import Key

TRIES = 10  # boxes are drawn until one fits, at most so often

Range = tuple[float, float]


def random_boxes(
    key: Key, samples: int, image: tuple[int, int], most: tuple[int, int], scale: Range, ratio: Range
) -> tuple[Array, Array]:
    """Boxes (top, left, height, width) in images of size `image`, and whether one was found that fits.

    The area is `scale` of the image's, uniform; the ratio width / height is uniform in its logarithm. A box
    fits if it has at least 1 and at most `most` pixels (rows, columns). Places are uniform.
    """
    drawn = uniform(key, samples, 2 * TRIES + 2)
    height, width = image
    area = height * width * between(scale, drawn[:, :TRIES])
    aspect = np.exp(between(np.log(ratio), drawn[:, TRIES:-2]))
    sides = np.stack([np.round(np.sqrt(area / aspect)), np.round(np.sqrt(area * aspect))], axis=-1)
    fits = ((sides >= 1) & (sides <= most)).all(axis=-1)
    found = np.take_along_axis(sides, fits.argmax(axis=1)[:, None, None], axis=1)[:, 0].astype(np.int64)
    found = np.clip(found, 1, image)
    return np.concatenate([below(image - found + 1, drawn[:, -2:]), found], axis=1), np.any(fits, axis=1)
