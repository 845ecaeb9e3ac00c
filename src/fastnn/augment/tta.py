"""Test-time augmentation: predictions averaged over changed copies of the samples. It knows no layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastnn._core.arrays import as_array, check_count
from fastnn._core.inference import inference
from fastnn._core.modes import evaluating
from fastnn._core.typing import Array
from fastnn.augment.transform import Transform
from fastnn.random import Key, KeyLike, child_key, given_or_next


def predict_tta(
    model: Callable[[Any], Any],
    x: ArrayLike,
    transforms: Sequence[Transform | Callable[[Array], Array] | None],
    *,
    activation: Callable[[Any], Any] | None = None,
    batch_size: int = 1024,
    key: KeyLike | None = None,
) -> Array:
    """Return the mean of the model's outputs, (N, ...), over the transforms of x.

    model: a layer, which is in evaluation mode meanwhile and afterwards in that in which it was, or any
    function of samples, as a predictor's `predict_proba`. transforms: those of fastnn.augment, functions, or
    None for x as it is. activation: what makes probabilities of outputs, as partial(F.softmax, dim=1); means
    of probabilities are usual for classifiers, and without it outputs are averaged as they are. The model
    gets `batch_size` samples at a time. key: what all draws follow from (None: the default generator's next).

    Raises ValueError for no transforms and for no samples.
    """
    samples, start = as_array("x", x), given_or_next(key)
    if not isinstance(transforms, Sequence) or not transforms:
        raise ValueError(f"transforms must be a list of at least one transform, got {transforms!r}")
    check_count("batch_size", batch_size)
    if not samples.ndim or not len(samples):
        raise ValueError(f"x must have at least one sample, got shape {samples.shape}")
    total: Any = 0
    with evaluating(model) if hasattr(model, "modules") else nullcontext(), inference():
        for number, transform in enumerate(transforms):
            changed = _changed(transform, samples, child_key(start, number))
            parts = (changed[i : i + batch_size] for i in range(0, len(changed), batch_size))
            outputs = [np.asarray(model(part)) for part in parts]
            total = total + np.concatenate([activation(part) if activation else part for part in outputs])
    return np.asarray(total / len(transforms))


def _changed(transform: Any, x: Array, key: Key) -> Array:
    if transform is None:
        return x
    return transform(x, key=key) if isinstance(transform, Transform) else transform(x)  # type: ignore[no-any-return]
