"""Batch norm in training of a batch that several ranks have, each some rows: what they tell each other.

That is one sum over all ranks in each pass, whatever rows a rank has, and a second one in a forward pass whose
means are far from the running ones. Ranks must have the same running means. It knows no stages after the norm.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn import _kernels
from fastnn._chain.layout import Layout
from fastnn._chain.running import check_values
from fastnn._core.ranks import Ranks
from fastnn._core.typing import Array

Doubles = NDArray[np.float64]


class Statistics(NamedTuple):
    """Those of each channel, over all ranks."""

    mean: Doubles
    mean_low: Doubles  # what was lost when the mean was rounded to one float64
    rstd: Doubles
    variance: Doubles
    values: int  # the elements of a channel


def find_statistics(ranks: Ranks, eps: float, x: Array, layout: Layout, running_mean: Array | None) -> Statistics:
    """Return the statistics of the ranks' arrays x; ValueError on all of them where a channel has one element.

    The ranks add up, for each channel, n, n d and m2 + n d^2 = sum of (x - near)^2, where d = mean - near for
    a rank's n elements with this mean and this sum of squared deviations m2. The variance is a difference of
    these sums. It is exact if `near`, which all ranks must know, is near the mean of all: the running mean
    is, but not in the first steps. Where it is not, all ranks see that in the sums, and add up again with the
    mean that these give as `near`.
    """
    form = x.dtype.char == "d", *layout[1:]
    own, whole = _kernels.Chain(*form), _kernels.Chain(*form)
    own.normalise(eps, None, None)
    own.find_moments(x)
    mean, mean_low, rstd, variance = whole.normalise(eps, None, None)
    near = np.zeros(layout.channels) if running_mean is None else _finite(running_mean)
    for _ in range(2):
        sums = own.moments_to_sums(near)
        ranks.add_up(sums)
        if not whole.sums_to_statistics(sums, near):
            break
        near = mean.copy()
    values = int(sums[0])
    check_values("one on all ranks together", values)
    return Statistics(mean, mean_low, rstd, variance, values)


def find_gradient(
    ranks: Ranks, chain: _kernels.Chain, dy: Array, x: Array, dx: Array, dbias: Doubles, dweight: Doubles
) -> None:
    """Fill dx by the sums over all ranks, and dbias and dweight by those of this rank alone."""
    chain.find_sums(dy, x, dx, dbias, dweight)
    sums = np.concatenate((dbias, dweight))
    ranks.add_up(sums)
    chain.find_gradient(dy, x, dx, *np.split(sums, 2))


def _finite(array: Array) -> Doubles:
    """The same numbers in float64, 0 for those that are not finite."""
    return np.where(np.isfinite(array), array, 0).astype(np.float64)
