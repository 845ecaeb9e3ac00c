"""Cross-validation: rows cut into folds, each of which is held out once. It knows nothing of models."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnn._core.arrays import as_array, is_whole
from fastnn._core.typing import Array

Rows = NDArray[np.intp]
Folds = list[tuple[Rows, Rows]]  # (rows to train on, rows held out)


def k_fold(y: ArrayLike, folds: int = 5, *, seed: int = 0) -> Folds:
    """Cut the rows of y into folds at random; return (training rows, held-out rows) for each, sorted.

    Sizes differ by one at most. Raises ValueError for fewer than 2 folds or more than rows, and for labels
    (whole numbers) where one side of a fold has a single class: stratified_k_fold is for those.
    """
    labels = _checked(y, folds)
    found = _cut(np.random.Generator(np.random.Philox(seed)).permutation(len(labels)), folds)
    if labels.dtype.kind in "biu" and labels.ndim == 1 and len(np.unique(labels)) > 1:
        for number, sides in enumerate(found):
            for rows in sides:
                if len(np.unique(labels[rows])) < 2:
                    raise ValueError(
                        f"y must be of at least 2 classes on each side of a fold, got {labels[rows[0]]} alone"
                        f" in fold {number}: stratified_k_fold spreads the classes"
                    )
    return found


def stratified_k_fold(y: ArrayLike, folds: int = 5, *, seed: int = 0) -> Folds:
    """As k_fold, with each class's rows spread evenly over the folds. y: labels, (N,).

    Raises ValueError for what is no labels, for a single class, and for a class with fewer rows than folds.
    """
    labels = _checked(y, folds)
    if labels.ndim != 1 or labels.dtype.kind not in "biuU":
        raise ValueError(f"y must be labels of shape (N,), got {labels.dtype} of shape {labels.shape}")
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        raise ValueError(f"y must be of at least 2 classes, got {classes[0]} alone")
    if counts.min() < folds:
        rarest = classes[counts.argmin()]
        raise ValueError(
            f"folds must be at most the samples of each class, got {folds} for the {counts.min()} of {rarest}"
        )
    draw = np.random.Generator(np.random.Philox(seed)).random(len(labels))
    return _cut(np.lexsort((draw, labels)), folds)


def _checked(y: ArrayLike, folds: int) -> Array:
    labels = as_array("y", y)
    if not is_whole(folds) or not 2 <= folds <= len(labels):
        raise ValueError(
            f"folds must be a whole number from 2 to the number of samples, {len(labels)}, got {folds!r}"
        )
    return labels


def _cut(order: Rows, folds: int) -> Folds:
    """Deal the rows out in this order, one to each fold in turn."""
    fold = np.empty(len(order), np.intp)
    fold[order] = np.arange(len(order)) % folds
    return [(np.flatnonzero(fold != number), np.flatnonzero(fold == number)) for number in range(folds)]
