"""Data for classifiers, split and standardised. It knows nothing of models, nor of files."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from fastnn._core.arrays import check_whole
from fastnn._core.typing import Array
from fastnn.datasets.labelled import MIN_SAMPLES
from fastnn.preprocessing import Compose, Flatten, Images, Standardize, transformed

Samples = tuple[Array, Array]  # x, labels

HELD_OUT_EVERY = MIN_SAMPLES  # one sample in this many is held out


@dataclass(frozen=True)
class Data:
    """A data set for training: x float32, (N, features) or (N, channels, height, width), labels 0, 1, ...

    `preprocessing` made x of the raw samples, with the training samples' statistics; `classes[label]` is the
    label in the original data. Both are for fastnn.save.
    """

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array
    preprocessing: Compose
    classes: Array


def prepare(
    train: Samples, test: Samples | None = None, *, images: bool = False, layout: str | None = None
) -> Data:
    """Standardise by the training samples; without `test`, hold out a fifth, drawn at random in each class.

    The same samples are held out in every run, so that runs compare. images=False: x becomes rows of
    features, and each is standardised. images=True: x becomes (N, channels, height, width), from that,
    (N, height, width, channels), (N, height, width) or rows of square images, and each channel is
    standardised. layout: "nchw" or "nhwc", where the channels are; None: by the shape, as
    preprocessing.Images finds it. A feature or channel that is constant in the training samples becomes 0
    and is not scaled. Raises ValueError for x that cannot be images, and for a shape that does not tell the
    layout.
    """
    check_whole("train", train)
    check_whole("test", test)
    if layout is not None and not images:
        raise ValueError(f"layout must be None unless images=True, got {layout!r}")
    x = train[0]
    form, per = (Images(layout), "channel") if images else (Flatten(), "feature")
    form.fit(x)  # a shape that cannot be is reported as it was given, and not that of a part
    classes, labels = np.unique(
        np.concatenate([train[1], *([] if test is None else [test[1]])]), return_inverse=True
    )
    y, y_test = labels[: len(train[1])], labels[len(train[1]) :]
    if test is None:
        held_out = held_out_rows(y, Fraction(1, HELD_OUT_EVERY))
        x, y, x_test, y_test = x[~held_out], y[~held_out], x[held_out], y[held_out]
    else:
        x_test = test[0]
    preprocessing = Compose(form, Standardize(per)).fit(x)
    made, made_test = (transformed(preprocessing, samples, np.float32) for samples in (x, x_test))
    return Data(made, y, made_test, y_test, preprocessing, classes)


def held_out_rows(labels: Array, share: Fraction) -> Array:
    """Whether each sample is held out: this share, drawn at random in each class, the same in every run."""
    draw = np.random.Generator(np.random.Philox(0))
    by_class = np.lexsort((draw.random(len(labels)), labels))  # class after class, at random within a class
    counted = np.arange(len(labels) + 1) * share.numerator // share.denominator
    held_out = np.zeros(len(labels), bool)
    held_out[by_class] = np.diff(counted) > 0
    return held_out
