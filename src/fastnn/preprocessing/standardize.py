"""ZeroCenter, Standardize and MinMax: each feature or channel shifted and scaled by the training samples'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastnn._core.arrays import apart, write
from fastnn._core.typing import Array
from fastnn._kernels import real_number
from fastnn.datasets.labelled import check_finite, parts
from fastnn.preprocessing.forms import LAYOUTS
from fastnn.preprocessing.moments import RunningMean
from fastnn.preprocessing.scale import Scale
from fastnn.preprocessing.transformer import Transformer, check_shape, target_for

PER = ("feature", "channel")


class Scaler(Transformer):
    """The base of transformers that compute (x - shift) / divisor: a subclass says what these are.

    per: "feature": for each element of a sample; "channel": for each channel, over samples and places.
    layout: where the channels are, "nchw": (N, C, ...), or "nhwc": (N, ..., C).
    """

    statistics: tuple[str, ...] = ()  # the arrays of `state` that have the form of a statistic

    def __init__(self, per: str = "feature", layout: str = "nchw") -> None:
        for name, value, known in (("per", per, PER), ("layout", layout, LAYOUTS)):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}")
        self.per, self.layout = per, layout
        self._made: tuple[list[Array], Scale] | None = None

    def _shift_and_divisor(self) -> tuple[Array, Array]:
        raise NotImplementedError(f"{type(self).__name__} does not define _shift_and_divisor")

    def _axes(self, dims: int) -> tuple[int, ...]:
        """The axes of samples of so many axes over which a statistic is taken."""
        if self.per == "feature":
            return (0,)
        return (0, *(range(2, dims) if self.layout == "nchw" else range(1, dims - 1)))

    def _scale(self) -> Scale:
        """The compiled pass; made anew where the statistics are others than before."""
        learnt = [getattr(self, f"{name}_") for name in self.statistics]
        if self._made is None or any(old is not new for old, new in zip(self._made[0], learnt, strict=True)):
            self._made = learnt, Scale(*self._shift_and_divisor())
        return self._made[1]

    def _transform(self, x: Array, out: Array | None) -> Array:
        return self._scale().apply(x, out)

    def _inverse(self, x: Array, out: Array | None) -> Array:
        check_shape(x, self.sample_shape)
        target = target_for(x, out)
        x, (shift, divisor) = apart(x, target), self._shift_and_divisor()
        for rows in parts(x):
            write(target[rows], x[rows] * divisor + shift)
        return target

    def _check_state(self, state: Mapping[str, Array]) -> None:
        sizes = state["shape"].tolist()
        axes = self._axes(1 + len(sizes))
        expected = tuple(1 if axis in axes else size for axis, size in enumerate(sizes, 1))
        check_statistics(self, state, dict.fromkeys(self.statistics, expected))


class ZeroCenter(Scaler):
    """x - mean, the mean being that of the samples that `fit` saw: the mean image, or one mean per channel.

    per: "feature" or "channel", and layout, as for Standardize, where `mean_` is described too.
    """

    state = ("shape", "mean", "n_samples_seen")
    statistics = ("mean",)
    mean_: Array
    n_samples_seen_: Array

    def _learn(self, x: Array) -> None:
        seen = int(getattr(self, "n_samples_seen_", 0))
        mean = RunningMean(self._axes(x.ndim), self.mean_ if seen else None, seen)
        for _ in mean.take(x):
            pass
        self.mean_, self.n_samples_seen_ = mean.mean, np.array(mean.count)

    def _shift_and_divisor(self) -> tuple[Array, Array]:
        return self.mean_, np.ones_like(self.mean_)


class Standardize(Scaler):
    """(x - mean) / std, mean and std being those of the samples that `fit` saw.

    per: "feature": of each element of a sample; "channel": of each channel, over samples and places. layout:
    where the channels are, "nchw": in samples (N, C, ...); "nhwc": in samples (N, ..., C). What is constant
    becomes 0: its std is 1. std divides by the number of values, not by one less. `mean_`, `var_` and `std_`
    are float64, in the shape of a sample, with 1 along the axes that they are taken over.
    """

    state = ("shape", "mean", "var", "n_samples_seen")
    statistics = ("mean", "var")
    mean_: Array
    var_: Array
    n_samples_seen_: Array

    @property
    def std_(self) -> Array:
        """The standard deviation, 1 where it is 0."""
        std = np.sqrt(self.var_)
        return np.where(std == 0, 1.0, std)

    def _learn(self, x: Array) -> None:
        seen, axes = int(getattr(self, "n_samples_seen_", 0)), self._axes(x.ndim)
        mean = RunningMean(axes, self.mean_ if seen else None, seen)
        squares = self.var_ * seen if seen else np.zeros(())
        for part, shift, weight in mean.take(x):
            own = np.square(part, out=part).mean(axis=axes, keepdims=True)[0] * len(part)
            squares = squares + own + shift**2 * weight
        self.mean_, self.var_, self.n_samples_seen_ = mean.mean, squares / mean.count, np.array(mean.count)

    def _shift_and_divisor(self) -> tuple[Array, Array]:
        return self.mean_, self.std_

    def _check_state(self, state: Mapping[str, Array]) -> None:
        super()._check_state(state)
        if (state["var"] < 0).any():
            raise ValueError("Standardize: var must not be negative")


class MinMax(Scaler):
    """From the range of the samples that `fit` saw to `feature_range`: (x - min) / (max - min) for (0, 1).

    feature_range: (low, high), low < high. per and layout as for Standardize. What is constant becomes low,
    and what is outside the range that `fit` saw goes outside of the other. `data_min_` and `data_max_` are
    float64, in the shape of a sample, with 1 along the axes that they are taken over.
    """

    state = ("shape", "data_min", "data_max")
    statistics = ("data_min", "data_max")
    data_min_: Array
    data_max_: Array

    def __init__(
        self, feature_range: Sequence[float] = (0.0, 1.0), per: str = "feature", layout: str = "nchw"
    ) -> None:
        super().__init__(per, layout)
        if not (isinstance(feature_range, Sequence) and len(feature_range) == 2):
            raise ValueError(f"feature_range must be two numbers, got {feature_range!r}")
        low, high = (real_number("feature_range", value) for value in feature_range)
        if not -np.inf < low < high < np.inf:
            raise ValueError(
                f"feature_range must be two finite numbers, the first below, got {feature_range!r}"
            )
        self.feature_range = feature_range

    def _learn(self, x: Array) -> None:
        axes = self._axes(x.ndim)
        low: Any = getattr(self, "data_min_", np.inf)
        high: Any = getattr(self, "data_max_", -np.inf)
        for rows in parts(x):
            part = check_finite(x[rows], rows.start)
            low = np.minimum(low, part.min(axes, keepdims=True)[0].astype(np.float64))
            high = np.maximum(high, part.max(axes, keepdims=True)[0].astype(np.float64))
        self.data_min_, self.data_max_ = low, high

    def _shift_and_divisor(self) -> tuple[Array, Array]:
        low, high = self.feature_range
        divisor = (self.data_max_ - self.data_min_) / (high - low)
        divisor = np.where(divisor < np.finfo(np.float64).tiny, 1.0, divisor)  # 1 / divisor must be finite
        return self.data_min_ - low * divisor, divisor

    def _check_state(self, state: Mapping[str, Array]) -> None:
        super()._check_state(state)
        if (state["data_min"] > state["data_max"]).any():
            raise ValueError("MinMax: data_min must not be above data_max")


def check_statistics(
    transformer: Transformer, state: Mapping[str, Any], expected: Mapping[str, tuple[int, ...]]
) -> None:
    """ValueError unless these arrays of a state are finite float64 of these shapes, and a count is one."""
    name = type(transformer).__name__
    for key, shape in expected.items():
        value = state[key]
        if value.shape != shape or value.dtype != np.float64 or not np.isfinite(value).all():
            got = f"{value.dtype} of shape {value.shape}"
            raise ValueError(f"{name}: {key} must be finite float64 of shape {shape}, got {got}")
    seen = state.get("n_samples_seen", np.array(1))
    if seen.shape != () or seen.dtype.kind not in "iu" or seen < 1:
        raise ValueError(f"{name}: n_samples_seen must be a count above 0")
