"""Data for classifiers: split and standardised. Knows nothing of models, nor of files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.datasets.labelled import AT_LEAST

Array = NDArray[Any]

HELD_OUT = AT_LEAST  # one sample in so many


@dataclass(frozen=True)
class Data:
    """A data set ready for training: x float32 of shape (N, features), labels 0 .. len(classes) - 1.

    x is (raw - mean) / std with the training samples' statistics; `classes[label]` is the label as it was
    given.
    """

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array
    mean: Array
    std: Array
    classes: Array


def prepare(x: Array, y: Array) -> Data:
    """Hold out a fifth of the samples, drawn at random within each class, and standardise by the rest.

    The same samples are held out in every run, so that runs compare. A feature that is constant in the
    training samples is moved to 0 and not scaled.
    """
    classes, labels = np.unique(y, return_inverse=True)
    draw = np.random.Generator(np.random.Philox(0))
    by_class = np.lexsort((draw.random(len(labels)), labels))  # class after class, at random within a class
    held_out = np.zeros(len(labels), bool)
    held_out[by_class[HELD_OUT - 1 :: HELD_OUT]] = True

    x = x.reshape(len(x), -1).astype(np.float64)
    training = x[~held_out]
    mean, std = training.mean(axis=0), training.std(axis=0)
    std[training.min(axis=0) == training.max(axis=0)] = 1.0
    scaled = ((x - mean) / std).astype(np.float32)
    return Data(scaled[~held_out], labels[~held_out], scaled[held_out], labels[held_out], mean, std, classes)
