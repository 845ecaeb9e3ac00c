"""How much each part of a batch counts in the mean that a loss is: for ranks that have a part each."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastnn.functional as F
from fastnn._core.devices import on_host
from fastnn.nn import CrossEntropyLoss, NLLLoss
from fastnn.train.class_weight import OF_CLASSES, weights_of
from fastnn.train.measures import Count
from fastnn.train.nested import Nested, length


def find_count(loss: object, class_weight: Any = None, y: Any = None) -> Count:
    """Return how much the targets of a part count: their rows, or of labels the weights of those not ignored.

    loss, class_weight, y: as in `fit`. Raises ValueError for a loss that is no mean.
    """
    reduction = getattr(loss, "reduction", "mean")
    if reduction != "mean":
        raise ValueError(f"loss must be the mean over a batch with ranks, got reduction={reduction!r}")
    ignored, weights = -100, None
    if isinstance(loss, CrossEntropyLoss | NLLLoss):
        ignored = loss.ignore_index
        weights = None if loss.weight is None else np.asarray(on_host(loss.weight), np.float64)
    elif loss not in OF_CLASSES and loss is not F.cross_entropy and loss is not F.nll_loss:
        return length
    elif class_weight is not None:
        weights = weights_of(class_weight, y, binary=False)

    def of_labels(target: Nested) -> float:
        labels = on_host(target)
        if labels.dtype.kind not in "iu":
            return float(len(labels))  # probabilities, which no weight is divided by
        kept = labels[labels != ignored]
        return float(kept.size if weights is None else _weight(weights, kept))

    return of_labels


def _weight(weights: Any, labels: Any) -> float:
    """The sum of their weights; 1 for labels above those that have one."""
    counts = np.bincount(labels.ravel(), minlength=len(weights))
    return float(counts[: len(weights)] @ weights + counts[len(weights) :].sum())
