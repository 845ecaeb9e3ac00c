"""MixUp and CutMix: each sample is mixed with the one before it in the batch, and so are their labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import _kernels
from fastnn._core.arrays import as_array, check_count, real_number
from fastnn._core.typing import Array
from fastnn.augment.draws import below, beta, uniform
from fastnn.augment.images import as_images
from fastnn.augment.transform import Transform
from fastnn.random import Key, child_key


class _Mix(Transform):
    """What both share: the shares of the samples in the mixtures, and the labels."""

    mixes_samples = True

    def __init__(self, *, alpha: float = 1.0, num_classes: int | None = None) -> None:
        name = type(self).__name__
        self.alpha = real_number(f"{name}: alpha", alpha)
        if not 0 < self.alpha < np.inf:
            raise ValueError(f"{name}: alpha must be above 0, got {alpha}")
        if num_classes is not None:
            check_count(f"{name}: num_classes", num_classes)
        self.num_classes = num_classes

    def apply(self, x: Array, y: Any, key: Key) -> tuple[Array, Any]:
        """Return mixtures of samples and of labels; TypeError and ValueError for labels that are none."""
        if key.row:
            raise ValueError(
                f"{type(self).__name__}: key must have row 0, as samples of the whole batch are mixed,"
                f" got row {key.row}"
            )
        x = as_images(x)
        labels = self._one_hot(y, x)
        mixed, share = self._mixed(x, beta(child_key(key, 0), len(x), self.alpha), child_key(key, 1))
        weight = share.astype(labels.dtype)[:, None]
        return mixed, weight * labels + (1 - weight) * np.roll(labels, 1, axis=0)

    def _mixed(self, x: Array, share: Array, key: Key) -> tuple[Array, Array]:
        """The images, and how much of each is its own; share: what was drawn for that."""
        raise NotImplementedError

    def _one_hot(self, y: Any, x: Array) -> Array:
        """Labels as probabilities (N, classes), in the dtype of x, or float32 for bytes."""
        name, dtype = type(self).__name__, np.dtype(np.float32 if x.dtype == np.uint8 else x.dtype)
        if y is None:
            raise TypeError(f"{name}: y must be the labels, got none: call it with (x, y)")
        labels, classes = as_array("y", y), self.num_classes
        if labels.ndim not in (1, 2) or len(labels) != len(x):
            raise ValueError(
                f"{name}: y must be {len(x)} labels (N,) or probabilities (N, classes), got shape"
                f" {labels.shape}"
            )
        if labels.ndim == 2:
            if classes not in (None, labels.shape[1]):
                raise ValueError(
                    f"{name}: y must have num_classes = {classes} columns, got shape {labels.shape}"
                )
            return labels.astype(dtype)
        if labels.dtype.kind not in "iu":
            raise TypeError(f"{name}: y must be whole numbers where it has shape (N,), got {labels.dtype}")
        if classes is None:
            raise ValueError(f"{name}: num_classes must be given for y of labels, got None")
        if labels.size and not 0 <= labels.min() <= labels.max() < classes:
            raise ValueError(
                f"{name}: y must be labels in [0, {classes}), got {labels.min()} to {labels.max()}"
            )
        return np.equal(labels[:, None], np.arange(classes)).astype(dtype)


class MixUp(_Mix):
    """x[i] becomes s x[i] + (1 - s) x[i - 1], with s of Beta(alpha, alpha) for each sample, and y likewise.

    The sample before the first one is the last. y: labels (N,), for which `num_classes` is needed, or
    probabilities (N, classes); what is returned are probabilities, for cross_entropy. Bytes are rounded.
    Zhang, Cisse, Dauphin and Lopez-Paz, "mixup: beyond empirical risk minimization", 2018.
    """

    def _mixed(self, x: Array, share: Array, key: Key) -> tuple[Array, Array]:
        return _kernels.blend_samples(x, share), share


class CutMix(_Mix):
    """A box of x[i] becomes that of x[i - 1]; the labels are mixed by the box's share of the area.

    With s of Beta(alpha, alpha) for each sample the box has sqrt(1 - s) of both sides; its middle is uniform,
    and what lies beyond the edges is cut off. y: as for MixUp. Yun et al., "CutMix: regularization strategy
    to train strong classifiers with localizable features", 2019.
    """

    def _mixed(self, x: Array, share: Array, key: Key) -> tuple[Array, Array]:
        image = np.array(x.shape[2:])
        middle = below(image, uniform(key, len(x), 2))
        half = (0.5 * np.sqrt(1 - share)[:, None] * image).astype(np.int64)
        low, high = np.maximum(middle - half, 0), np.minimum(middle + half, image)
        cut = (high - low).prod(axis=1) / max(1, image.prod())
        return _kernels.patch_images(x, np.concatenate([low, high], axis=1), x, 1, None), 1 - cut
