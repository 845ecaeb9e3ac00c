"""Batch normalisation as layers; formulas and gradients are fastnn.functional's."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

import fastnn.functional as F
from fastnn import stages
from fastnn._chain.run import Gradients
from fastnn.nn._checks import check_counts, check_dtype
from fastnn.nn.module import Array, Module, Parameter

_stage = lru_cache(stages.BatchNorm)


class _BatchNorm(Module):
    """What the three layers share; `_shapes` has the inputs that one takes, by number of dimensions."""

    _shapes: ClassVar[dict[int, str]]
    running_mean: Array | None
    running_var: Array | None
    num_batches_tracked: Array | None

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
        name = type(self).__name__
        check_counts(name, num_features=num_features)
        check_dtype(name, dtype)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.biased_running_var, self.skip_nonfinite = biased_running_var, skip_nonfinite
        self.weight = Parameter(np.ones(num_features, dtype)) if affine else None
        self.bias = Parameter(np.zeros(num_features, dtype)) if affine and bias else None
        tracks = track_running_stats
        self.register_buffer("running_mean", np.zeros(num_features, dtype) if tracks else None)
        self.register_buffer("running_var", np.ones(num_features, dtype) if tracks else None)
        self.register_buffer("num_batches_tracked", np.array(0) if tracks else None)

    def reset_running_stats(self) -> None:
        """Start the running statistics again: mean 0, variance 1, no batch seen."""
        for array, value in ((self.running_mean, 0), (self.running_var, 1), (self.num_batches_tracked, 0)):
            if array is not None:
                array[...] = value

    def forward(self, x: Array) -> Array:
        """Return F.batch_norm of `x`; in training mode, the running statistics take the batch in."""
        stage = self.stage()
        y, self._kept = F.batch_norm(
            x,
            **self.stage_arguments(x),
            training=stage.training,
            momentum=stage.momentum,
            eps=stage.eps,
            biased_running_var=stage.biased_running_var,
            skip_nonfinite=stage.skip_nonfinite,
        )
        return y

    def backward(self, dy: Array) -> Array:
        """Return F.batch_norm_backward's dx; adds dweight and dbias."""
        gradients = Gradients(*F.batch_norm_backward(dy, self._keep()))
        self.take_gradients(gradients)
        return gradients.input

    def stage(self) -> stages.BatchNorm:
        """Return the same normalisation as a stage."""
        return _stage(
            self.eps,
            self.momentum,
            self.training or self.running_mean is None,
            self.biased_running_var,
            self.skip_nonfinite,
        )

    def stage_arguments(self, x: Array) -> dict[str, Any]:
        """Return the parameters and buffers; ValueError for a shape that the layer does not take."""
        shape = np.shape(x)
        if len(shape) not in self._shapes or shape[1] != self.num_features:
            takes = " or ".join(self._shapes.values())
            raise ValueError(
                f"{type(self).__name__}: x has shape {shape}; it takes {takes} with C = {self.num_features}"
            )
        return {
            "running_mean": self.running_mean,
            "running_var": self.running_var,
            "num_batches_tracked": self.num_batches_tracked,
            "weight": None if self.weight is None else self.weight.data,
            "bias": None if self.bias is None else self.bias.data,
        }

    def take_gradients(self, gradients: Gradients) -> None:
        """Add dweight and dbias."""
        if self.weight is not None and gradients.weight is not None:
            self.weight.accumulate(gradients.weight)
        if self.bias is not None and gradients.bias is not None:
            self.bias.accumulate(gradients.bias)

    def extra_repr(self) -> str:
        """Return the constructor's arguments, as PyTorch writes them."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine},"
            f" bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """y = (x - mean) / sqrt(var + eps) weight + bias for each channel; x has shape (N, C) or (N, C, L).

    C is num_features. In training mode mean and var are the batch's, and the buffers `running_mean` and
    `running_var` move towards them by `momentum`; with momentum=None they are averages over all batches
    (`num_batches_tracked`). In evaluation mode they take the place of the batch's, unless
    track_running_stats=False. `weight` starts at 1 and `bias` at 0; affine=False means neither, bias=False no
    bias. `biased_running_var` and `skip_nonfinite` are F.batch_norm's; `dtype`, float32 or float64, is that
    of parameters and buffers. Raises ValueError for shapes that do not fit and, in training, for one value
    per channel. Ioffe and Szegedy, 2015.
    """

    _shapes: ClassVar = {2: "(N, C)", 3: "(N, C, L)"}


class BatchNorm2d(_BatchNorm):
    """BatchNorm1d for x of shape (N, C, H, W)."""

    _shapes: ClassVar = {4: "(N, C, H, W)"}


class BatchNorm3d(_BatchNorm):
    """BatchNorm1d for x of shape (N, C, D, H, W)."""

    _shapes: ClassVar = {5: "(N, C, D, H, W)"}
