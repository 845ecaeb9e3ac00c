"""Layer, RMS, group and instance norm as layers; formulas and gradients are fastnn.functional's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import DTypeLike

import fastnn.functional as F
from fastnn.nn._checks import check_counts, check_dtype
from fastnn.nn.module import Array, Module, Parameter


def _data(parameter: Parameter | None) -> Array | None:
    return None if parameter is None else parameter.data


class _Norm(Module):
    """What the layers share: a weight that starts at 1, a bias that starts at 0, and gradients for both."""

    def __init__(self, shape: tuple[int, ...], weight: bool, bias: bool, dtype: DTypeLike) -> None:
        name = type(self).__name__
        for size in shape:
            check_counts(name, **{"a size": size})
        check_dtype(name, dtype)
        self.weight = Parameter(np.ones(shape, dtype)) if weight else None
        self.bias = Parameter(np.zeros(shape, dtype)) if bias else None

    def backward(self, dy: Array) -> Array:
        """Return dx; adds dweight and dbias."""
        dx, dweight, dbias = self._backward(dy)
        if self.weight is not None and dweight is not None:
            self.weight.accumulate(dweight)
        if self.bias is not None and dbias is not None:
            self.bias.accumulate(dbias)
        return dx

    def _backward(self, dy: Array) -> tuple[Array, Array | None, Array | None]:
        return F.layer_norm_backward(dy, self._keep())


def _as_shape(normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    return tuple(normalized_shape) if isinstance(normalized_shape, Sequence) else (normalized_shape,)


class LayerNorm(_Norm):
    """y = (x - mean) / sqrt(variance + eps) weight + bias, mean and variance being those of each row.

    A row is the elements of x's last dimensions, which have to be normalized_shape (an integer stands for
    one of them). elementwise_affine=False: no weight and no bias; bias=False: no bias. `dtype` is that of
    the parameters. Raises ValueError for a wrong shape, TypeError for a wrong dtype. Ba, Kiros and Hinton,
    2016.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.normalized_shape = _as_shape(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        super().__init__(self.normalized_shape, elementwise_affine, elementwise_affine and bias, dtype)

    def forward(self, x: Array) -> Array:
        """Return F.layer_norm of `x`."""
        weight, bias = _data(self.weight), _data(self.bias)
        y, self._kept = F.layer_norm(x, self.normalized_shape, weight, bias, self.eps)
        return y

    def extra_repr(self) -> str:
        """Return the constructor's arguments, as PyTorch writes them."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine},"
            f" bias={self.bias is not None}"
        )


class RMSNorm(_Norm):
    """y = x / sqrt(mean(x^2) + eps) weight, the mean being that of each row.

    Rows, elementwise_affine, dtype and errors as for LayerNorm; eps=None is the machine epsilon of the dtype.
    Zhang and Sennrich, 2019.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.normalized_shape = _as_shape(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        super().__init__(self.normalized_shape, elementwise_affine, False, dtype)

    def forward(self, x: Array) -> Array:
        """Return F.rms_norm of `x`."""
        y, self._kept = F.rms_norm(x, self.normalized_shape, _data(self.weight), self.eps)
        return y

    def _backward(self, dy: Array) -> tuple[Array, Array | None, Array | None]:
        return *F.rms_norm_backward(dy, self._keep()), None

    def extra_repr(self) -> str:
        """Return the constructor's arguments, as PyTorch writes them."""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(_Norm):
    """y = (x - mean) / sqrt(variance + eps) weight[c] + bias[c], by the statistics of each sample's groups.

    x has shape (N, C, ...), and C = num_channels channels in num_groups groups of neighbours. affine=False:
    no weight and no bias; bias=False: no bias. dtype and errors as for LayerNorm. Wu and He, 2018.
    """

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
        super().__init__((num_channels,), affine, affine and bias, dtype)
        if not isinstance(num_groups, int | np.integer) or num_groups < 1 or num_channels % num_groups:
            raise ValueError(
                f"GroupNorm: num_groups is {num_groups!r}; it takes a divisor of num_channels, {num_channels}"
            )
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine

    def forward(self, x: Array) -> Array:
        """Return F.group_norm of `x`."""
        if np.ndim(x) < 2 or x.shape[1] != self.num_channels:
            takes = f"(N, C, ...) with C = {self.num_channels}"
            raise ValueError(f"GroupNorm: x has shape {np.shape(x)}; it takes {takes}")
        y, self._kept = F.group_norm(x, self.num_groups, _data(self.weight), _data(self.bias), self.eps)
        return y

    def _backward(self, dy: Array) -> tuple[Array, Array | None, Array | None]:
        return F.group_norm_backward(dy, self._keep())

    def extra_repr(self) -> str:
        """Return the constructor's arguments, as PyTorch writes them."""
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine},"
            f" bias={self.bias is not None}"
        )


class _InstanceNorm(_Norm):
    """What the three layers share; `_shape` is the shape that one takes, (N, C, ...)."""

    _shape: ClassVar[str]
    running_mean: Array | None
    running_var: Array | None
    num_batches_tracked: Array | None

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
        super().__init__((num_features,), affine, affine and bias, dtype)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        tracks = track_running_stats
        self.register_buffer("running_mean", np.zeros(num_features, dtype) if tracks else None)
        self.register_buffer("running_var", np.ones(num_features, dtype) if tracks else None)
        self.register_buffer("num_batches_tracked", np.array(0) if tracks else None)

    def forward(self, x: Array) -> Array:
        """Return F.instance_norm of `x`; in training mode, the running statistics take the batch in."""
        shape = np.shape(x)
        if len(shape) != self._shape.count(",") + 1 or shape[1] != self.num_features:
            takes = f"{self._shape} with C = {self.num_features}"
            raise ValueError(f"{type(self).__name__}: x has shape {shape}; it takes {takes}")
        own = self.training or self.running_mean is None
        weight, bias = _data(self.weight), _data(self.bias)
        y, self._kept = F.instance_norm(
            x, self.running_mean, self.running_var, weight, bias, own, self.momentum, self.eps
        )
        return y

    def _backward(self, dy: Array) -> tuple[Array, Array | None, Array | None]:
        return F.instance_norm_backward(dy, self._keep())

    def extra_repr(self) -> str:
        """Return the constructor's arguments, as PyTorch writes them."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine},"
            f" bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class InstanceNorm1d(_InstanceNorm):
    """y = (x - mean) / sqrt(variance + eps) weight[c] + bias[c], by the statistics of each sample's channels.

    x has shape (N, C, L), and C is num_features. There are no weight and bias unless affine=True
    (bias=False: no bias), and no running statistics unless track_running_stats=True: these move by
    `momentum` in training mode, and are what evaluation mode normalises by. dtype and errors as for
    LayerNorm; channels of one element raise ValueError in training. Ulyanov, Vedaldi and Lempitsky, 2016.
    """

    _shape: ClassVar = "(N, C, L)"


class InstanceNorm2d(_InstanceNorm):
    """InstanceNorm1d for x of shape (N, C, H, W)."""

    _shape: ClassVar = "(N, C, H, W)"


class InstanceNorm3d(_InstanceNorm):
    """InstanceNorm1d for x of shape (N, C, D, H, W)."""

    _shape: ClassVar = "(N, C, D, H, W)"
