"""Data for classifiers, split and preprocessed. It knows nothing of models, nor of files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from fastnn._core.arrays import check_whole
from fastnn._core.stored import selected
from fastnn._core.typing import Array
from fastnn.datasets.labelled import MIN_SAMPLES
from fastnn.preprocessing import (
    Compose,
    Flatten,
    Images,
    MinMax,
    Standardize,
    Transformer,
    Whiten,
    ZeroCenter,
    transformed,
)

Samples = tuple[Array, Array]  # x, labels

# What `prepare` knows by name: functions of "feature" or "channel", over which statistics are taken.
PREPROCESS: dict[str, Callable[[str], list[Transformer]]] = {
    "standardize": lambda per: [Standardize(per)],
    "center": lambda per: [ZeroCenter(per)],
    "minmax": lambda per: [MinMax(per=per)],
    "whiten": lambda per: [Whiten("zca")],
    "none": lambda per: [],
}

HELD_OUT_EVERY = MIN_SAMPLES  # one sample in this many is held out


@dataclass(frozen=True)
class Data:
    """A data set for training: x float32, (N, features) or (N, channels, height, width), labels 0, 1, ...

    With raw=True x is as it was given.

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
    train: Samples,
    test: Samples | None = None,
    *,
    images: bool = False,
    layout: str | None = None,
    preprocess: str | Transformer = "standardize",
    raw: bool = False,
) -> Data:
    """Preprocess by the training samples; without `test`, hold out a fifth, drawn at random in each class.

    raw: leave x as it is, bytes as a rule a quarter of the floats' size, and a stored array (np.memmap, those
    of h5py and zarr) in its file; only `preprocessing` is fitted then, for `fit(..., transform=)`.

    The same samples are held out in every run, so that runs compare. images=False: x becomes rows of
    features. images=True: x becomes (N, channels, height, width), from that, (N, height, width, channels),
    (N, height, width) or rows of square images. layout: "nchw" or "nhwc", where the channels are; None: by
    the shape, as preprocessing.Images finds it.

    preprocess: what is done then, by statistics of the training samples, with each feature, or with
    images=True with each channel: "standardize" (preprocessing.Standardize), "center" (ZeroCenter), "minmax"
    (MinMax), "whiten" (Whiten by ZCA, of all elements of a sample), "none"; or a transformer, which is
    fitted. Raises ValueError for another name, for x that cannot be images, and for a shape that does not
    tell the layout.
    """
    check_whole("train", train)
    check_whole("test", test)
    if layout is not None and not images:
        raise ValueError(f"layout must be None unless images=True, got {layout!r}")
    x = train[0]
    form, per = (Images(layout), "channel") if images else (Flatten(), "feature")
    steps = [preprocess] if isinstance(preprocess, Transformer) else _named(preprocess, per)
    form.fit(x)  # a shape that cannot be is reported as it was given, and not that of a part
    classes, labels = np.unique(
        np.concatenate([train[1], *([] if test is None else [test[1]])]), return_inverse=True
    )
    y, y_test = labels[: len(train[1])], labels[len(train[1]) :]
    if test is None:
        held_out = held_out_rows(y, Fraction(1, HELD_OUT_EVERY))
        kept, out = np.flatnonzero(~held_out), np.flatnonzero(held_out)
        x, x_test, y, y_test = selected(x, kept), selected(x, out), y[kept], y[out]
    else:
        x_test = test[0]
    preprocessing = Compose(form, *steps).fit(x)
    if raw:
        return Data(x, y, x_test, y_test, preprocessing, classes)
    made, made_test = (transformed(preprocessing, samples, np.float32) for samples in (x, x_test))
    return Data(made, y, made_test, y_test, preprocessing, classes)


def _named(preprocess: object, per: str) -> list[Transformer]:
    if not (isinstance(preprocess, str) and preprocess in PREPROCESS):
        known = ", ".join(map(repr, PREPROCESS))
        raise ValueError(f"preprocess must be a transformer or one of {known}, got {preprocess!r}")
    return PREPROCESS[preprocess](per)


def held_out_rows(labels: Array, share: Fraction) -> Array:
    """Whether each sample is held out: this share, drawn at random in each class, the same in every run."""
    draw = np.random.Generator(np.random.Philox(0))
    by_class = np.lexsort((draw.random(len(labels)), labels))  # class after class, at random within a class
    counted = np.arange(len(labels) + 1) * share.numerator // share.denominator
    held_out = np.zeros(len(labels), bool)
    held_out[by_class] = np.diff(counted) > 0
    return held_out
