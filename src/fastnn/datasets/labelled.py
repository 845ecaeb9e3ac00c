"""Checks that x and y can train a classifier. It knows nothing of files."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fastnn._core.typing import Array

PART = 2**20  # elements of a part: what is computed of it stays small
MIN_SAMPLES = 5  # as one sample in five is held out


def check_x(x: Array) -> Array:
    """Return `x`; ValueError unless it is (samples, features...), of numbers that are finite in float32."""
    check_numbers(x)
    if x.ndim < 2 or x.size == 0:
        raise ValueError(f"x must be (samples, features), none of them 0, got shape {x.shape}")
    return check_finite(x)


def check_numbers(x: Array) -> Array:
    """Return `x`; ValueError unless it has numbers that can be inputs."""
    if x.dtype.kind not in "biuf":
        raise ValueError(f"x must be whole or floating-point numbers, got dtype {x.dtype}")
    return x


def check_finite(x: Array, first: int = 0) -> Array:
    """Return `x`; ValueError unless it is finite in float32. first: the number of its first sample."""
    count, found = 0, ""
    for rows in parts(x) if x.dtype.kind == "f" else ():
        bad = too_large(x[rows])
        if bad.any():
            place, *rest = (int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
            number = place + rows.start
            found = found or f"{x[(number, *rest)]} at {(number + first, *rest)}"
            count += int(np.count_nonzero(bad))
    if count:
        raise ValueError(
            f"x must be finite numbers that float32 can hold, got {count} others; the first is {found}"
        )
    return x


def parts(x: Array) -> Iterator[slice]:
    """Slices of the samples, of about PART elements each."""
    rows = max(1, PART // max(1, math.prod(x.shape[1:])))
    return (slice(start, start + rows) for start in range(0, len(x), rows))


def too_large(x: Array) -> NDArray[np.bool_]:
    """Return where `x` is NaN, infinite or beyond float32."""
    if x.dtype.kind != "f":
        return np.zeros(x.shape, bool)
    return ~(np.abs(x) <= np.finfo(np.float32).max)  # with <=, NaN is too large


def check_labels(y: Array, samples: int, kinds: str = "biu") -> Array:
    """Return `y`; ValueError unless it has a label for each sample, of these kinds."""
    if y.dtype.kind not in kinds:
        raise ValueError(f"y must be whole numbers, the class labels, got dtype {y.dtype}")
    if y.shape != (samples,):
        raise ValueError(f"y must have shape ({samples},), one label for each sample of x, got {y.shape}")
    return y


def check_y(y: Array, samples: int, kinds: str = "biu") -> Array:
    """Return `y`; ValueError unless it has labels that a classifier can learn.

    There must be five samples at least, two classes, and two samples of each class on average.
    """
    check_labels(y, samples, kinds)
    if samples < MIN_SAMPLES:
        raise ValueError(f"x and y must be at least {MIN_SAMPLES} samples, got {samples}")
    classes = len(np.unique(y))
    if classes == 1:
        raise ValueError(f"y must be of at least 2 classes, got {y[0]} only")
    if 2 * classes > samples:  # where scikit-learn warns too; one sample in five of each class is held out
        raise ValueError(
            f"y must have classes of several samples, got {classes} classes in {samples} samples"
        )
    return y
