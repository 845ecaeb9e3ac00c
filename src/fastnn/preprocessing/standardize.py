"""Standardize: mean 0 and standard deviation 1, by the statistics of the training samples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fastnn._core.arrays import apart, write
from fastnn._core.typing import Array
from fastnn.datasets.labelled import check_finite
from fastnn.preprocessing.transformer import Transformer, check_shape, checked_out, parts

PER = ("feature", "channel")


class Standardize(Transformer):
    """(x - mean) / std, mean and std being those of the samples that `fit` saw.

    per: "feature": of each element of a sample; "channel": of each channel of (N, C, ...), over samples and
    places. What is constant becomes 0: its std is 1. std divides by the number of values, not by one less.
    `mean_`, `var_` and `std_` are float64, in the shape of a sample, with 1 along the axes that they are
    taken over. Parts given to `partial_fit` are merged without loss (Chan, Golub and LeVeque, "Algorithms for
    computing the sample variance", 1983).
    """

    state = ("shape", "mean", "var", "n_samples_seen")
    mean_: Array
    var_: Array
    n_samples_seen_: Array

    def __init__(self, per: str = "feature") -> None:
        if per not in PER:
            raise ValueError(f"per must be one of {', '.join(map(repr, PER))}, got {per!r}")
        self.per = per

    @property
    def std_(self) -> Array:
        """The standard deviation, 1 where it is 0."""
        std = np.sqrt(self.var_)
        return np.where(std == 0, 1.0, std)

    def _learn(self, x: Array) -> None:
        axes = (0,) if self.per == "feature" else (0, *range(2, x.ndim))
        seen = int(getattr(self, "n_samples_seen_", 0))
        if seen:
            mean, squares = self.mean_, self.var_ * seen
        else:
            # The first value of each feature: where all are equal, differences from it are exactly 0.
            mean = x[tuple(slice(1) if axis in axes else slice(None) for axis in range(x.ndim))][0]
            mean = mean.astype(np.float64)
            squares = np.zeros_like(mean)
        total = seen
        for rows in parts(x):
            part = check_finite(x[rows], rows.start) - mean
            ours = part.mean(axis=axes, keepdims=True)
            part -= ours
            own = np.square(part, out=part).mean(axis=axes, keepdims=True)[0] * len(part)
            count, total = len(part), total + len(part)
            squares = squares + own + ours[0] ** 2 * (count * (total - count) / total)
            mean = mean + ours[0] * (count / total)
        self.mean_, self.var_, self.n_samples_seen_ = mean, squares / total, np.array(total)

    def _transform(self, x: Array, out: Array | None) -> Array:
        target = _target(x, out)
        x, mean, std = apart(x, target), self.mean_, self.std_
        for rows in parts(x):
            centred = x[rows] - mean
            write(target[rows], np.divide(centred, std, out=centred))
        return target

    def _inverse(self, x: Array, out: Array | None) -> Array:
        check_shape(x, self.sample_shape)
        target = _target(x, out)
        x, mean, std = apart(x, target), self.mean_, self.std_
        for rows in parts(x):
            write(target[rows], x[rows] * std + mean)
        return target

    def _check_state(self, state: Mapping[str, Array]) -> None:
        sizes = state["shape"].tolist()
        expected = tuple(sizes) if self.per == "feature" else (*sizes[:1], *[1] * (len(sizes) - 1))
        for name in ("mean", "var"):
            value = state[name]
            if value.shape != expected or value.dtype != np.float64 or not np.isfinite(value).all():
                raise ValueError(
                    f"Standardize: {name} must be finite float64 of shape {expected}, got {value.dtype} of"
                    f" shape {value.shape}"
                )
        seen = state["n_samples_seen"]
        if (state["var"] < 0).any() or seen.shape != () or seen.dtype.kind not in "iu" or seen < 1:
            raise ValueError("Standardize: var must not be negative, and n_samples_seen a count above 0")


def _target(x: Array, out: Array | None) -> Array:
    if out is None:
        return np.empty(x.shape, np.float64 if x.dtype.name == "float64" else np.float32)
    return checked_out(out, x.shape)
