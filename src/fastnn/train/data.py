"""Data for classifiers, split and standardised. It knows nothing of models, nor of files."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from fastnn._core.arrays import check_whole
from fastnn._core.typing import Array
from fastnn.datasets.labelled import MIN_SAMPLES

Samples = tuple[Array, Array]  # x, labels

HELD_OUT_EVERY = MIN_SAMPLES  # one sample in this many is held out
SLICE_SAMPLES = 4096


@dataclass(frozen=True)
class Data:
    """A data set for training: x float32, (N, features) or (N, channels, height, width), labels 0, 1, ...

    x is (raw - mean) / std with the training samples' statistics; `classes[label]` is the label in the
    original data.
    """

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array
    mean: Array
    std: Array
    classes: Array


def prepare(train: Samples, test: Samples | None = None, *, images: bool = False) -> Data:
    """Standardise by the training samples; without `test`, hold out a fifth, drawn at random in each class.

    The same samples are held out in every run, so that runs compare. images=False: x becomes rows of
    features, and each is standardised. images=True: x becomes (N, channels, height, width), from that,
    (N, height, width) or rows of square images, and each channel is standardised. A feature or channel that
    is constant in the training samples becomes 0 and is not scaled. Raises ValueError for x that cannot be
    images.
    """
    shape = _image if images else _row
    check_whole("train", train)
    check_whole("test", test)
    x = shape(train[0])
    classes, labels = np.unique(
        np.concatenate([train[1], *([] if test is None else [test[1]])]), return_inverse=True
    )
    y, y_test = labels[: len(train[1])], labels[len(train[1]) :]
    if test is None:
        held_out = held_out_rows(y, Fraction(1, HELD_OUT_EVERY))
        x, y, x_test, y_test = x[~held_out], y[~held_out], x[held_out], y[held_out]
    else:
        x_test = shape(test[0])
    mean, std = _statistics(x, (0, 2, 3) if images else (0,))
    return Data(_scaled(x, mean, std), y, _scaled(x_test, mean, std), y_test, mean, std, classes)


def held_out_rows(labels: Array, share: Fraction) -> Array:
    """Whether each sample is held out: this share, drawn at random in each class, the same in every run."""
    draw = np.random.Generator(np.random.Philox(0))
    by_class = np.lexsort((draw.random(len(labels)), labels))  # class after class, at random within a class
    counted = np.arange(len(labels) + 1) * share.numerator // share.denominator
    held_out = np.zeros(len(labels), bool)
    held_out[by_class] = np.diff(counted) > 0
    return held_out


def _row(x: Array) -> Array:
    return x.reshape(len(x), -1)


def _image(x: Array) -> Array:
    side = math.isqrt(x.shape[1])
    if x.ndim == 2 and side * side == x.shape[1]:
        return x.reshape(-1, 1, side, side)
    if x.ndim not in (3, 4):
        raise ValueError(
            "x must be (samples, channels, height, width), (samples, height, width) or square images as rows"
            f" for a model of images, got shape {x.shape}"
        )
    return x if x.ndim == 4 else x[:, None]


def _slices(x: Array) -> Iterator[slice]:
    """Slices of the samples, so that copies in float64 stay small."""
    return (slice(start, start + SLICE_SAMPLES) for start in range(0, len(x), SLICE_SAMPLES))


def _statistics(x: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """Mean and standard deviation over `axes`, in the shape of a sample with size 1 along each of `axes`."""
    mean = x.mean(axis=axes, dtype=np.float64, keepdims=True)
    squares = sum(((x[rows] - mean) ** 2).sum(axis=axes, keepdims=True) for rows in _slices(x))
    std = np.sqrt(squares / (x.size / mean.size))
    std[x.min(axis=axes, keepdims=True) == x.max(axis=axes, keepdims=True)] = 1.0
    return mean[0], std[0]


def _scaled(x: Array, mean: Array, std: Array) -> Array:
    out = np.empty(x.shape, np.float32)
    for rows in _slices(x):
        out[rows] = (x[rows] - mean) / std
    return out
