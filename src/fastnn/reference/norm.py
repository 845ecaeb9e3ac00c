"""Layer, RMS, group and instance norm in plain NumPy, from the definitions; it must not know the C kernels.

All four see the input as (samples, groups, channels, elements), and take mean and variance over the last two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .activation import Array, floating, quiet

__all__ = [
    "group_norm",
    "group_norm_backward",
    "instance_norm",
    "instance_norm_backward",
    "layer_norm",
    "layer_norm_backward",
    "rms_norm",
    "rms_norm_backward",
]

_OVER = (2, 3)


class NormSaved(NamedTuple):
    """What the gradients need."""

    input: Array
    mean: Array | float  # 0 for rms_norm
    rstd: Array
    weight: Array | None
    bias: Array | None
    blocks: tuple[int, int, int, int]  # samples, groups, channels, elements
    given: bool  # the statistics were given, and do not depend on the input


def _as_channels(parameter: Array, blocks: tuple[int, ...]) -> Array:
    _, groups, channels, _ = blocks
    return parameter.reshape(1, groups, channels, 1)


def _normalise(saved: NormSaved) -> tuple[Array, NormSaved]:
    y = (saved.input.reshape(saved.blocks) - saved.mean) * saved.rstd
    if saved.weight is not None:
        y = y * _as_channels(saved.weight, saved.blocks)
    if saved.bias is not None:
        y = y + _as_channels(saved.bias, saved.blocks)
    return y.reshape(saved.input.shape), saved


def _by_own_moments(
    x: Array, blocks: tuple[int, int, int, int], weight: ArrayLike | None, bias: ArrayLike | None, eps: float
) -> tuple[Array, NormSaved]:
    grouped = x.reshape(blocks)
    mean = grouped.mean(axis=_OVER, keepdims=True)
    variance = ((grouped - mean) ** 2).mean(axis=_OVER, keepdims=True)
    w, b = (None if p is None else floating(p) for p in (weight, bias))
    return _normalise(NormSaved(x, mean, 1 / np.sqrt(variance + eps), w, b, blocks, False))


def _gradients(dy: ArrayLike, saved: NormSaved) -> tuple[Array, Array | None, Array | None]:
    g = floating(dy).reshape(saved.blocks)
    xhat = (saved.input.reshape(saved.blocks) - saved.mean) * saved.rstd
    over_samples = (0, 3)
    dweight = None if saved.weight is None else (g * xhat).sum(axis=over_samples).reshape(saved.weight.shape)
    dbias = None if saved.bias is None else g.sum(axis=over_samples).reshape(saved.bias.shape)
    if saved.weight is not None:
        g = g * _as_channels(saved.weight, saved.blocks)
    dx = g
    if not saved.given:
        dx = g - xhat * (g * xhat).mean(axis=_OVER, keepdims=True)
        if not isinstance(saved.mean, float):
            dx = dx - g.mean(axis=_OVER, keepdims=True)
    return (dx * saved.rstd).reshape(saved.input.shape), dweight, dbias


def _row_blocks(x: Array, normalized_shape: int | Sequence[int]) -> tuple[int, int, int, int]:
    """Return the blocks of a norm over the last dimensions; ValueError unless they have this shape."""
    shape = tuple(np.atleast_1d(normalized_shape))
    if not shape or x.shape[-len(shape) :] != shape:
        raise ValueError(f"normalized_shape must end input's shape, {x.shape}, got {normalized_shape}")
    return math.prod(x.shape[: -len(shape)]), 1, math.prod(shape), 1


@quiet
def layer_norm(
    input: ArrayLike,
    normalized_shape: int | Sequence[int],
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: float = 1e-5,
) -> tuple[Array, NormSaved]:
    """Return (x - mean) / sqrt(variance + eps) weight + bias over the last dimensions, and saved.

    Ba, Kiros and Hinton, 2016.
    """
    x = floating(input)
    return _by_own_moments(x, _row_blocks(x, normalized_shape), weight, bias, eps)


@quiet
def layer_norm_backward(dy: ArrayLike, saved: NormSaved) -> tuple[Array, Array | None, Array | None]:
    """Return dx = rstd (g - mean(g) - xhat mean(g xhat)) with g = dy weight, dweight and dbias."""
    return _gradients(dy, saved)


@quiet
def rms_norm(
    input: ArrayLike,
    normalized_shape: int | Sequence[int],
    weight: ArrayLike | None = None,
    eps: float | None = None,
) -> tuple[Array, NormSaved]:
    """Return x / sqrt(mean(x^2) + eps) weight over the last dimensions, and what backward needs.

    eps=None is the machine epsilon of the dtype. Zhang and Sennrich, 2019.
    """
    x = floating(input)
    blocks = _row_blocks(x, normalized_shape)
    eps = float(np.finfo(x.dtype).eps) if eps is None else eps
    rrms = 1 / np.sqrt((x.reshape(blocks) ** 2).mean(axis=_OVER, keepdims=True) + eps)
    w = None if weight is None else floating(weight)
    return _normalise(NormSaved(x, 0.0, rrms, w, None, blocks, False))


@quiet
def rms_norm_backward(dy: ArrayLike, saved: NormSaved) -> tuple[Array, Array | None]:
    """Return dx = rrms (g - xhat mean(g xhat)) with g = dy weight, and dweight."""
    dx, dweight, _ = _gradients(dy, saved)
    return dx, dweight


@quiet
def group_norm(
    input: ArrayLike,
    num_groups: int,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: float = 1e-5,
) -> tuple[Array, NormSaved]:
    """Return (x - mean) / sqrt(variance + eps) weight[c] + bias[c] over groups of channels, and saved.

    Wu and He, 2018.
    """
    x = floating(input)
    n, channels, *rest = x.shape
    if num_groups < 1 or channels % num_groups:
        raise ValueError(f"num_groups must divide the {channels} channels, got {num_groups}")
    blocks = n, num_groups, channels // num_groups, math.prod(rest)
    if n * blocks[2] * blocks[3] == 1:
        raise ValueError(f"input must have more than one value in a group, got shape {x.shape}")
    return _by_own_moments(x, blocks, weight, bias, eps)


@quiet
def group_norm_backward(dy: ArrayLike, saved: NormSaved) -> tuple[Array, Array | None, Array | None]:
    """Return dx = rstd (g - mean(g) - xhat mean(g xhat)) with g = dy weight[c], dweight and dbias."""
    return _gradients(dy, saved)


@quiet
def instance_norm(
    input: ArrayLike,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Array, NormSaved]:
    """Return (x - mean) / sqrt(variance + eps) weight[c] + bias[c] over a sample's channel, and saved.

    Running statistics are updated in place, or, without use_input_stats, are the statistics. Ulyanov et
    al., 2016.
    """
    x = floating(input)
    n, channels, *rest = x.shape
    blocks = n, channels, 1, math.prod(rest)
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise ValueError("running_mean and running_var must be given without use_input_stats, got None")
        w, b = (None if p is None else floating(p) for p in (weight, bias))
        mean, rstd = running_mean, 1 / np.sqrt(running_var + np.asarray(eps, x.dtype))
        form = (1, channels, 1, 1)
        return _normalise(NormSaved(x, mean.reshape(form), rstd.reshape(form), w, b, blocks, True))
    if blocks[3] == 1:
        raise ValueError(f"input must have more than one element in a channel, got shape {x.shape}")
    if running_mean is not None and running_var is not None:
        elements = x.reshape(n, channels, -1)
        for running, new in (
            (running_mean, elements.mean(axis=2).mean(axis=0)),
            (running_var, elements.var(axis=2, ddof=1).mean(axis=0)),
        ):
            running[...] = (1 - momentum) * running + momentum * new
    return _by_own_moments(x, blocks, weight, bias, eps)


@quiet
def instance_norm_backward(dy: ArrayLike, saved: NormSaved) -> tuple[Array, Array | None, Array | None]:
    """Return dx as for group_norm_backward, or rstd g where statistics were given, dweight and dbias."""
    return _gradients(dy, saved)
