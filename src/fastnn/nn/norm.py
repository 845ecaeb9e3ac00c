"""Layer, RMS, group and instance norm as layers; formulas and gradients are fastnn.functional's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

import numpy as np
from numpy.typing import DTypeLike

import fastnn.functional as F
from fastnn._core.arrays import is_whole, shape_of
from fastnn._core.typing import Array
from fastnn.nn._checks import check_counts, check_numbers, check_weight
from fastnn.nn._fixed import Fixed
from fastnn.nn._norm_bases import AffineNorm, RunningNorm
from fastnn.nn.parameter import Parameter


def _data(parameter: Parameter | None) -> Array | None:
    return None if parameter is None else parameter.data


def _as_shape(layer: str, normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    """The argument as a shape, its sizes checked."""
    shape = tuple(normalized_shape) if isinstance(normalized_shape, Sequence) else (normalized_shape,)
    for size in shape:
        check_counts(layer, normalized_shape=size)
    check_weight(layer, "normalized_shape", shape)
    return shape


class LayerNorm(AffineNorm):
    """y = (x - mean) / sqrt(variance + eps) weight + bias, mean and variance being those of each row.

    A row is the elements of x's last dimensions, which have to be normalized_shape (an integer stands for
    one of them). elementwise_affine=False: no weight and no bias; bias=False: no bias. `dtype` is that of
    the parameters. Raises ValueError for a wrong shape, TypeError for a wrong dtype. Ba, Kiros and Hinton,
    2016.
    """

    normalized_shape, elementwise_affine = Fixed[tuple[int, ...]](), Fixed[bool]()
    _normalized_shape: tuple[int, ...]

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.normalized_shape = _as_shape(type(self).__name__, normalized_shape)
        check_numbers(type(self).__name__, eps=eps)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        super().__init__(self.normalized_shape, elementwise_affine, elementwise_affine and bias, dtype)

    def forward(self, x: Array) -> Array:
        """Return F.layer_norm of `x`."""
        weight, bias = _data(self.weight), _data(self.bias)
        y, self._saved = F.layer_norm(x, self._normalized_shape, weight, bias, self.eps)
        return y

    def backward(self, dy: Array) -> Array:
        """Return F.layer_norm_backward's dx; adds dweight and dbias."""
        gradients = F.layer_norm_backward(dy, self._take_saved())
        self.take_gradients(gradients)
        return gradients[0]

    def extra_repr(self) -> str:
        """Return the constructor's arguments, as PyTorch writes them."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine},"
            f" bias={self.bias is not None}"
        )


class RMSNorm(AffineNorm):
    """y = x / sqrt(mean(x^2) + eps) weight, the mean being that of each row.

    Rows, elementwise_affine, dtype and errors as for LayerNorm; eps=None is the machine epsilon of the dtype.
    Zhang and Sennrich, 2019.
    """

    normalized_shape, elementwise_affine = Fixed[tuple[int, ...]](), Fixed[bool]()
    _normalized_shape: tuple[int, ...]

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.normalized_shape = _as_shape(type(self).__name__, normalized_shape)
        if eps is not None:
            check_numbers(type(self).__name__, eps=eps)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        super().__init__(self.normalized_shape, elementwise_affine, False, dtype)

    def forward(self, x: Array) -> Array:
        """Return F.rms_norm of `x`."""
        y, self._saved = F.rms_norm(x, self._normalized_shape, _data(self.weight), self.eps)
        return y

    def backward(self, dy: Array) -> Array:
        """Return F.rms_norm_backward's dx; adds dweight."""
        dx, dweight = F.rms_norm_backward(dy, self._take_saved())
        self.take_gradients((dx, dweight, None))
        return dx

    def extra_repr(self) -> str:
        """Return the constructor's arguments, as PyTorch writes them."""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(AffineNorm):
    """y = (x - mean) / sqrt(variance + eps) weight[c] + bias[c], by the statistics of each sample's groups.

    x has shape (N, C, ...), and C = num_channels channels in num_groups groups of neighbours. affine=False:
    no weight and no bias; bias=False: no bias. dtype and errors as for LayerNorm. Wu and He, 2018.
    """

    num_channels, affine = Fixed[int](), Fixed[bool]()
    _num_channels: int

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        dtype: DTypeLike = np.float32,
        *,
        bias: bool = True,
    ) -> None:
        check_counts(type(self).__name__, num_channels=num_channels)
        check_numbers(type(self).__name__, eps=eps)
        super().__init__((num_channels,), affine, affine and bias, dtype)
        if not is_whole(num_groups) or num_groups < 1 or num_channels % num_groups:
            raise ValueError(
                f"GroupNorm: num_groups must divide num_channels, {num_channels}, got {num_groups!r}"
            )
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine

    def forward(self, x: Array) -> Array:
        """Return F.group_norm of `x`."""
        shape = shape_of("x", x)
        if len(shape) < 2 or shape[1] != self._num_channels:
            expected = f"(N, C, ...) with C = {self.num_channels}"
            raise ValueError(f"GroupNorm: x must have shape {expected}, got {shape}")
        y, self._saved = F.group_norm(x, self.num_groups, _data(self.weight), _data(self.bias), self.eps)
        return y

    def backward(self, dy: Array) -> Array:
        """Return F.group_norm_backward's dx; adds dweight and dbias."""
        gradients = F.group_norm_backward(dy, self._take_saved())
        self.take_gradients(gradients)
        return gradients[0]

    def extra_repr(self) -> str:
        """Return the constructor's arguments, as PyTorch writes them."""
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine},"
            f" bias={self.bias is not None}"
        )


class _InstanceNorm(RunningNorm):
    """What the three layers share."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        dtype: DTypeLike = np.float32,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, bias, dtype)

    def forward(self, x: Array) -> Array:
        """Return F.instance_norm of `x`; in training mode, running statistics move towards the batch's."""
        shape = shape_of("x", x)
        batched = len(shape) + 1 not in self._shapes
        if not batched:
            x, shape = x[None], (1, *shape)
        if len(shape) not in self._shapes or shape[1] != self._num_features:
            raise self._shape_error(shape)
        own = self.training or self.running_mean is None
        weight, bias = _data(self.weight), _data(self.bias)
        y, saved = F.instance_norm(
            x, self.running_mean, self.running_var, weight, bias, own, self.momentum, self.eps
        )
        self._saved = saved, batched
        return y if batched else cast("Array", y[0])

    def backward(self, dy: Array) -> Array:
        """Return F.instance_norm_backward's dx; adds dweight and dbias."""
        saved, batched = self._take_saved()
        gradients = F.instance_norm_backward(dy if batched else dy[None], saved)
        self.take_gradients(gradients)
        return gradients[0] if batched else cast("Array", gradients[0][0])


class InstanceNorm1d(_InstanceNorm):
    """y = (x - mean) / sqrt(variance + eps) weight[c] + bias[c], by the statistics of each sample's channels.

    x has shape (N, C, L) or (C, L), and C is num_features. There are no weight and bias unless affine=True
    (bias=False: no bias), and no running statistics unless track_running_stats=True: these move by
    `momentum` in training mode, and are what evaluation mode normalises by. dtype and errors as for
    LayerNorm; channels of one element raise ValueError in training. Ulyanov, Vedaldi and Lempitsky, 2016.
    """

    _shapes: ClassVar = {3: "(N, C, L) or (C, L)"}


class InstanceNorm2d(_InstanceNorm):
    """InstanceNorm1d for x of shape (N, C, H, W) or (C, H, W)."""

    _shapes: ClassVar = {4: "(N, C, H, W) or (C, H, W)"}


class InstanceNorm3d(_InstanceNorm):
    """InstanceNorm1d for x of shape (N, C, D, H, W) or (C, D, H, W)."""

    _shapes: ClassVar = {5: "(N, C, D, H, W) or (C, D, H, W)"}
