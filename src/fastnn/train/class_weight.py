"""Weights of classes in a loss, as scikit-learn's estimators take them. It knows nothing of models."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

import fastnn.functional as F
from fastnn._core.arrays import as_array, real_number
from fastnn._core.devices import device_of, moved
from fastnn._core.typing import Array
from fastnn.train.measures import Loss

#: Losses by name with a weight for each class, and those with one for each element.
OF_CLASSES, OF_ELEMENTS = (
    ("cross_entropy", "nll_loss"),
    (
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
    ),
)


def weighted_loss(loss: object, class_weight: Any, y: Any) -> Loss:
    """The loss of this name with the weights; class_weight: "balanced", a dict or an array (see `fit`).

    Raises ValueError for a loss that takes no weights, and as `weights_of`.
    """
    if not isinstance(loss, str) or loss not in (*OF_CLASSES, *OF_ELEMENTS):
        names = ", ".join((*OF_CLASSES, *OF_ELEMENTS))
        got = repr(loss) if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
        raise ValueError(
            f"class_weight must go with a loss by one of the names {names}, got loss {got}; a loss layer has"
            " weight= itself"
        )
    weights, function = weights_of(class_weight, y, binary=loss in OF_ELEMENTS), getattr(F, loss)

    @cache
    def weights_for(classes: int, device: int | None, dtype: Any) -> Any:
        if classes < len(weights):
            raise ValueError(
                f"class_weight must have weights of the output's {classes} classes, got {len(weights)}"
            )
        all_weights = np.concatenate([weights, np.ones(classes - len(weights))])
        return moved(all_weights.astype(dtype), device)

    def of_classes(output: Any, target: Any) -> tuple[Any, Array]:
        found = weights_for(output.shape[1], device_of(output), output.dtype)
        return function(output, target, weight=found)  # type: ignore[no-any-return]

    def of_elements(output: Any, target: Any) -> tuple[Any, Array]:
        weight = (target > 0.5).astype(output.dtype) * (weights[1] - weights[0]) + weights[0]
        return function(output, target, weight=weight)  # type: ignore[no-any-return]

    return of_classes if loss in OF_CLASSES else of_elements


def weights_of(class_weight: Any, y: Any, *, binary: bool) -> Array:
    """The weight of each class 0, 1, ... in float64; 1 for those that are not given.

    "balanced" is samples / (classes that occur x the class's samples). Raises ValueError for another text,
    weights below 0 and classes that are not in y, TypeError for y that is no labels.
    """
    labels = np.asarray(y).ravel() if not isinstance(y, tuple) else np.empty(0)
    if binary and labels.size and not ((labels != 0) & (labels != 1)).any():
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "iu" or not labels.size:
        raise TypeError("class_weight must go with targets that are labels, got y of another kind")
    counts = np.bincount(labels[labels >= 0], minlength=2)
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(f"class_weight must be 'balanced', a dict or an array, got {class_weight!r}")
        occurs = counts > 0
        return np.where(occurs, counts.sum() / (occurs.sum() * np.maximum(counts, 1)), 1.0)
    if isinstance(class_weight, Mapping):
        unknown = [label for label in class_weight if label not in range(len(counts))]
        if unknown:
            raise ValueError(f"class_weight must have labels of y as keys, got {unknown[0]!r}")
        weights = np.ones(len(counts))
        for label, weight in class_weight.items():
            weights[label] = real_number(f"class_weight[{label!r}]", weight)
    else:
        weights = as_array("class_weight", class_weight).astype(np.float64)
    if weights.ndim != 1 or len(weights) < len(counts) or not (np.isfinite(weights) & (weights >= 0)).all():
        raise ValueError(
            f"class_weight must be weights of at least 0 for the {len(counts)} classes, got {class_weight!r}"
        )
    return weights
