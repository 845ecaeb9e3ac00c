"""What fastnn.augment's kernels compute, in plain NumPy from the definitions: the oracle of its tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn._core.typing import Array
from fastnn.random import Key
from fastnn.reference.philox import random_draws

MODES = ("constant", "edge", "reflect", "symmetric")


def words(count: int, key: Key) -> Array:
    """The first words of a key's stream."""
    halves = random_draws(2 * count, *key[:2]).astype(np.uint32)
    return halves[::2] | halves[1::2] << 16


def uniform(key: Key, samples: int, numbers: int) -> Array:
    return ((words(samples * numbers, key) + 0.5) / 2**32).reshape(samples, numbers)


def normal(key: Key, count: int) -> Array:
    """Box and Muller's transform of pairs of words."""
    pairs = words(count + count % 2, key).reshape(-1, 2) / 2**32
    radius, angle = np.sqrt(-2 * np.log(pairs[:, 0] + 0.5 / 2**32)), 2 * np.pi * pairs[:, 1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).ravel()[:count]


def crop(x: Array, height: int, width: int, mode: str, fill: Any, crops: Array) -> Array:
    """crops: (top, row step, left, column step) of each sample."""
    room = 64 if mode in ("constant", "edge") else min(x.shape[2:]) - (mode == "reflect")
    sides = ((0, 0), (room, room), (room, room))
    made = []
    for image, (top, row_step, left, column_step) in zip(x, crops, strict=True):
        if mode == "constant":
            padded = np.stack([np.pad(c, room, constant_values=f) for c, f in zip(image, fill, strict=True)])
        else:
            padded = np.pad(image, sides, mode=mode)  # type: ignore[call-overload]
        rows, columns = top + row_step * np.arange(height), left + column_step * np.arange(width)
        made.append(padded[:, rows[:, None] + room, columns + room])
    return np.array(made, x.dtype)


def warp(x: Array, bilinear: bool, fill: Any, matrices: Array) -> Array:
    """Result pixel (j, i) is image pixel (a j + b i + c, d j + e i + f), in float64."""
    (_, channels, height, width), made = x.shape, []
    i, j = np.mgrid[:height, :width]
    for image, (a, b, c, d, e, f) in zip(x.astype(np.float64), matrices, strict=True):
        column, row = a * j + b * i + c, d * j + e * i + f
        low = np.floor([row, column]) if bilinear else np.rint([row, column])
        y: Any = 0
        share = np.stack([row, column]) - low if bilinear else np.zeros((2, height, width))
        for down in (0, 1):
            for right in (0, 1):
                weight = np.abs(1 - down - share[0]) * np.abs(1 - right - share[1])
                at = low.astype(int) + np.array([down, right])[:, None, None]
                inside = (at >= 0).all(axis=0) & (at[0] < height) & (at[1] < width)
                at = np.where(inside, at, 0)
                pixel = np.where(inside, image[:, at[0], at[1]], np.reshape(fill, (channels, 1, 1)))
                y = y + np.where(weight > 0, weight * pixel, 0)
        made.append(y)
    return np.array(made)


def weights(length: int, out: int, antialias: bool) -> Array:
    """The matrix that resizes an axis."""
    scale = length / out
    wide = max(scale, 1.0) if antialias else 1.0
    centres = (np.arange(out)[:, None] + 0.5) * scale
    triangle = np.maximum(1 - np.abs(np.arange(length) + 0.5 - centres) / wide, 0)
    made: Array = triangle / triangle.sum(axis=1, keepdims=True)
    return made


def resize(x: Array, height: int, width: int, antialias: bool, boxes: Array) -> Array:
    """boxes: (top, left, height, width) of each sample; in float64."""
    made = []
    for image, (top, left, rows, columns) in zip(x, boxes, strict=True):
        box = image[:, top : top + rows, left : left + columns].astype(np.float64)
        made.append(weights(rows, height, antialias) @ box @ weights(columns, width, antialias).T)
    return np.array(made)


def adjust(image: Array, adjustment: int, factor: float) -> Array:
    """Brightness, contrast or saturation of one image, in float64; bytes are rounded down."""
    largest, rounded = (255, np.floor) if image.dtype == np.uint8 else (1, lambda v: v)
    v = image.astype(np.float64)
    grey = rounded(np.tensordot([0.2989, 0.587, 0.114], v, 1)) if len(v) == 3 else v[0]
    other = (0.0, grey.mean(), grey)[adjustment]
    if adjustment == 2 and len(v) == 1:
        return v
    return rounded(np.clip(factor * v + (1 - factor) * other, 0, largest))
