"""Batch normalisation as layers; formulas and gradients are fastnn.functional's."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from fastnn import stages
from fastnn._core.arrays import shape_of
from fastnn._core.ranks import Ranks
from fastnn._core.typing import Array
from fastnn.functional.batch_norm import batch_norm_backward, batch_norm_by_stage
from fastnn.nn._norm_bases import RunningNorm

_stage = lru_cache(stages.BatchNorm)


class _BatchNorm(RunningNorm):
    """What the layers share."""

    ranks: Ranks | None = None  # whose rows the batch has

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: DTypeLike = np.float32,
        *,
        bias: bool = True,
        biased_running_var: bool = False,
        skip_nonfinite: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, bias, dtype)
        self.biased_running_var, self.skip_nonfinite = biased_running_var, skip_nonfinite

    def reset_running_stats(self) -> None:
        """Start the running statistics again: mean 0, variance 1, no batch seen."""
        for array, value in ((self.running_mean, 0), (self.running_var, 1), (self.num_batches_tracked, 0)):
            if array is not None:
                array[...] = value

    def forward(self, x: Array) -> Array:
        """Return F.batch_norm of `x`; in training mode, running statistics move towards the batch's."""
        y, self._saved = batch_norm_by_stage(x, self.stage(), **self.stage_arguments(x))
        return y

    def backward(self, dy: Array) -> Array:
        """Return F.batch_norm_backward's dx; adds dweight and dbias."""
        gradients = batch_norm_backward(dy, self._take_saved())
        self.take_gradients(gradients)
        return gradients[0]

    def stage(self) -> stages.BatchNorm:
        """Return the same normalisation as a stage."""
        return _stage(
            self.eps,
            self.momentum,
            self.training or self.running_mean is None,
            self.biased_running_var,
            self.skip_nonfinite,
            self.ranks,
        )

    def stage_arguments(self, x: Array) -> dict[str, Any]:
        """Return the parameters and buffers; ValueError for a shape that the layer does not take."""
        shape = shape_of("x", x)
        if len(shape) not in self._shapes or shape[1] != self._num_features:
            raise self._shape_error(shape)
        return {
            "running_mean": self.running_mean,
            "running_var": self.running_var,
            "num_batches_tracked": self.num_batches_tracked,
            "weight": None if self.weight is None else self.weight.data,
            "bias": None if self.bias is None else self.bias.data,
        }


class BatchNorm1d(_BatchNorm):
    """y = (x - mean) / sqrt(var + eps) weight + bias for each channel; x has shape (N, C) or (N, C, L).

    C is num_features. In training mode mean and var are the batch's, and the buffers `running_mean` and
    `running_var` move towards them by `momentum`; with momentum=None they are averages over all batches
    (`num_batches_tracked`). In evaluation mode they take the place of the batch's, unless
    track_running_stats=False, which is decided once; momentum=0 leaves them as they are. `weight` starts at 1
    and `bias` at 0; affine=False means neither, bias=False no bias. `biased_running_var` and `skip_nonfinite`
    are F.batch_norm's; `dtype`, float32 or float64, is that of parameters and buffers. Raises ValueError for
    shapes that do not fit and, in training, for one value per channel. Ioffe and Szegedy, 2015.
    """

    _shapes: ClassVar = {2: "(N, C)", 3: "(N, C, L)"}


class BatchNorm2d(_BatchNorm):
    """BatchNorm1d for x of shape (N, C, H, W)."""

    _shapes: ClassVar = {4: "(N, C, H, W)"}


class BatchNorm3d(_BatchNorm):
    """BatchNorm1d for x of shape (N, C, D, H, W)."""

    _shapes: ClassVar = {5: "(N, C, D, H, W)"}
