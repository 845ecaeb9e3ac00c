"""The mean of samples that come in parts, and what their sums of squares need. It knows no transformer."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastnn._core.typing import Array
from fastnn.datasets.labelled import check_finite, parts


class RunningMean:
    """The mean over some axes of the samples seen so far, float64, and their number.

    Parts are merged without loss wherever they end (Chan, Golub and LeVeque, "Algorithms for computing the
    sample variance", 1983).
    """

    def __init__(self, axes: tuple[int, ...], mean: Array | None, count: int) -> None:
        self.axes, self.count = axes, count
        self.mean = np.zeros(()) if mean is None else mean

    def take(self, x: Array) -> Iterator[tuple[Array, Array, float]]:
        """Take more samples; yield of each part of them what its sums of squares are made of.

        That is the differences d from the part's own mean, the difference s of that from the mean before, and
        a weight w: the sum of squared differences of all samples grows by sum(d^2) + w s^2, that of products
        likewise. Raises ValueError for what is not finite.
        """
        if not self.count:
            # The first value of each feature: where all are equal, differences from it are exactly 0.
            first = x[tuple(slice(1) if axis in self.axes else slice(None) for axis in range(x.ndim))]
            self.mean = check_finite(first)[0].astype(np.float64)
        for rows in parts(x):
            part = np.subtract(check_finite(x[rows], rows.start), self.mean, dtype=np.float64)
            shift = part.mean(axis=self.axes, keepdims=True)
            part -= shift
            total = self.count + len(part)
            self.mean = self.mean + shift[0] * (len(part) / total)
            weight = len(part) * (self.count / total)
            self.count = total
            yield part, shift[0], weight
