"""The norms' base classes: weight and bias, and for some norms running statistics. It knows no formula."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from fastnn._chain.saved import Gradients
from fastnn._core.typing import Array
from fastnn.nn._checks import check_counts, check_dtype, check_numbers
from fastnn.nn._fixed import Fixed
from fastnn.nn.module import Module
from fastnn.nn.parameter import Parameter


class AffineNorm(Module):
    """A norm with a weight that starts at 1 and a bias that starts at 0, or without one of them or both."""

    def __init__(self, shape: tuple[int, ...], weight: bool, bias: bool, dtype: DTypeLike) -> None:
        check_dtype(type(self).__name__, dtype)
        self.weight = Parameter(np.ones(shape, dtype)) if weight else None
        self.bias = Parameter(np.zeros(shape, dtype)) if bias else None

    def take_gradients(self, gradients: Gradients | tuple[Array, Array | None, Array | None]) -> None:
        """Add dweight and dbias; gradients: (dx, dweight, dbias), or those of a chain."""
        dweight, dbias = gradients[1], gradients[2]
        if self.weight is not None and dweight is not None:
            self.weight.accumulate(dweight)
        if self.bias is not None and dbias is not None:
            self.bias.accumulate(dbias)


class RunningNorm(AffineNorm):
    """A norm of channels with running statistics: the buffers mean, variance and number of batches."""

    #: The shapes of inputs that the layer takes, by number of dimensions.
    _shapes: ClassVar[dict[int, str]]
    num_features, affine, track_running_stats = Fixed[int](), Fixed[bool](), Fixed[bool]()
    _num_features: int
    _optional: ClassVar = ("num_batches_tracked",)
    running_mean: Array | None
    running_var: Array | None
    num_batches_tracked: Array | None
    momentum: Any  # a float; batch norm's may be None, for the cumulative average

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        bias: bool,
        dtype: DTypeLike,
    ) -> None:
        check_counts(type(self).__name__, num_features=num_features)
        check_numbers(type(self).__name__, eps=eps, **({} if momentum is None else {"momentum": momentum}))
        super().__init__((num_features,), affine, affine and bias, dtype)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        tracks = track_running_stats
        self.register_buffer("running_mean", np.zeros(num_features, dtype) if tracks else None)
        self.register_buffer("running_var", np.ones(num_features, dtype) if tracks else None)
        self.register_buffer("num_batches_tracked", np.array(0) if tracks else None)

    def _shape_error(self, shape: tuple[int, ...]) -> ValueError:
        """The error for an input that does not have one of the layer's shapes."""
        name, shapes = type(self).__name__, " or ".join(self._shapes.values())
        return ValueError(f"{name}: x must have shape {shapes} with C = {self.num_features}, got {shape}")

    def extra_repr(self) -> str:
        """Return the constructor's arguments, as PyTorch writes them."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine},"
            f" bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )
