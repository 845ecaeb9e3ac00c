"""Chains of stages with their arrays, for the CPU's kernels and their twins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

import fastnn
from fastnn import Key, stages
from fastnn._core.typing import Array
from support.operations import normal

Shape = tuple[int, ...]


KEY = Key(2**63 + 11, 2**35 + 1)


HEADS: dict[str, list[Any]] = {
    "nothing": [],
    "bias": [stages.Bias()],
    "scale_shift": [stages.ScaleShift()],
    "batch_norm": [stages.BatchNorm()],
    "batch_norm_evaluation": [stages.BatchNorm(eps=1e-3, training=False)],
}


class Arrays(NamedTuple):
    """What a chain may take."""

    x: Array
    dy: Array
    residual: Array
    weight: Array
    bias: Array
    running_mean: Array
    running_var: Array

    def laid_out(self, lay_out: Callable[[Array], Array]) -> Arrays:
        """The same, with the large arrays in another layout."""
        return Arrays._make([*map(lay_out, self[:3]), *self[3:]])

    def copies(self, dtype: np.dtype[Any]) -> Arrays:
        return Arrays(*[array.astype(dtype) for array in self])


def arrays(shape: Shape, dtype: np.dtype[Any]) -> Arrays:
    large = [normal(shape, dtype, seed) for seed in range(3)]
    channels = shape[1:2] or (1,)
    small = [normal(channels, dtype, seed) for seed in range(3, 6)]
    return Arrays._make([*large, *small, np.abs(normal(channels, dtype, 6)) + dtype.type(0.5)])


class Results(NamedTuple):
    """Of both passes; and the running statistics afterwards."""

    y: Array
    input: Array
    weight: Array | None
    bias: Array | None
    residual: Array | None
    running_mean: Array
    running_var: Array


def fused(chain: Sequence[Any], given: Arrays, **outs: Array) -> Results:
    """The same by fastnn.fuse; outs: `out` of forward, `dout` of backward."""
    mean, var = given.running_mean.copy(), given.running_var.copy()
    every = {
        "weight": given.weight,
        "bias": given.bias,
        "running_mean": mean,
        "running_var": var,
        "key": KEY,
        "residual": given.residual,
    }
    takes = {name for stage in chain for name in stage.takes} & every.keys()
    made = fastnn.fuse(*chain)
    y, saved = made.forward(given.x, **{name: every[name] for name in takes}, out=outs.get("out"))  # type: ignore[arg-type]
    gradients = made.backward(given.dy, saved, out=outs.get("dout"))
    return Results(y, *gradients, mean, var)
