"""Batch normalisation and its gradient, in plain NumPy; must not know fastnn.functional.

The dtypes are those of activation.py, but the computation is in float64 at least: float32 is rounded once, at
the end. Axis 1 of the input is the channels; n is the number of values per channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .activation import Array, floating, quiet

__all__ = [
    "batch_norm",
    "batch_norm_backward",
]


class BatchNormSaved(NamedTuple):
    """What batch_norm_backward needs: x itself, and the statistics that it was normalised with, (C,) each."""

    input: Array
    mean: Array
    rstd: Array
    weight: Array | None
    bias: Array | None
    training: bool


def _wide(array: Array) -> Array:
    return array.astype(np.result_type(array.dtype, np.float64), copy=False)


def _others(x: Array) -> tuple[int, ...]:
    """Return all axes but the channels'."""
    return (0, *range(2, x.ndim))


def _along(values: Array, x: Array) -> Array:
    """Shape one value per channel so that it broadcasts over x."""
    return values.reshape(1, -1, *[1] * (x.ndim - 2))


def _normalised(x: Array, mean: Array, rstd: Array) -> Array:
    x_hat: Array = (_wide(x) - _along(mean, x)) * _along(rstd, x)
    return x_hat


def _check(x: Array, training: bool, **per_channel: Array | None) -> None:
    if x.ndim < 2:
        raise ValueError(f"input must have shape (N, C) or (N, C, ...), got {x.shape}")
    for name, values in per_channel.items():
        if values is not None and values.shape != (x.shape[1],):
            raise ValueError(
                f"{name} must have shape ({x.shape[1]},), one for each channel, got {values.shape}"
            )
    if (per_channel["running_mean"] is None) != (per_channel["running_var"] is None):
        raise ValueError("running_mean and running_var must both be given, or neither; got one")
    if not training and per_channel["running_mean"] is None:
        raise ValueError("running_mean and running_var must be given in evaluation, got None")
    if training and x.size == x.shape[1] > 0:
        raise ValueError(
            f"batch_norm in training needs more than one value per channel, got input of shape {x.shape}:"
            " the variance of one value is 0, whatever it is; use a larger batch or eval()"
        )


def _weight_of_new(momentum: float | None, num_batches_tracked: NDArray[np.int64] | None) -> float:
    """Return the weight of this batch in the running statistics, the batch having been counted."""
    if momentum is not None:
        return momentum
    if num_batches_tracked is None:
        raise ValueError("momentum must be a number without num_batches_tracked, got None")
    return 1 / int(num_batches_tracked.item())


def _statistics(x: Array) -> tuple[Array, Array]:
    """Return each channel's mean and biased variance: of equal values their value and 0, of none NaN."""
    if x.size == 0:
        return np.full(x.shape[1], np.nan), np.full(x.shape[1], np.nan)
    mean = _wide(x).mean(axis=_others(x))
    mean = mean + (_wide(x) - _along(mean, x)).mean(axis=_others(x))
    return mean, np.square(_wide(x) - _along(mean, x)).mean(axis=_others(x))


def _update(running: Sequence[Array], batch: Sequence[Array], new: float, skip_nonfinite: bool) -> None:
    """Move the running statistics towards the batch's, in place."""
    finite = [np.isfinite(b.astype(r.dtype)) for r, b in zip(running, batch, strict=True)]
    enters = np.logical_and(*finite) | (not skip_nonfinite)
    for r, b in zip(running, batch, strict=True):
        r[enters] = ((1 - new) * _wide(r) + new * b)[enters]


@quiet
def batch_norm(
    input: ArrayLike,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    training: bool = False,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
    *,
    num_batches_tracked: NDArray[np.int64] | None = None,
    biased_running_var: bool = False,
    skip_nonfinite: bool = True,
) -> tuple[Array, BatchNormSaved]:
    """Return y = (x - mean) / sqrt(var + eps) weight + bias, per channel, and what backward needs.

    In training, mean and var (the mean of (x - mean)^2) are the batch's, and the running statistics move
    towards them: running = (1 - momentum) running + momentum new, with var n / (n - 1) as the new variance
    unless biased_running_var. momentum=None: the new one's weight is 1 / num_batches_tracked, which counts
    this batch. skip_nonfinite: a channel with a statistic that is not finite, or not in the running ones'
    dtype, leaves its running ones alone. In evaluation the running statistics take the place of the batch's.
    An input without elements changes nothing. Ioffe and Szegedy, 2015.
    """
    x = floating(input)
    w, b = (None if values is None else floating(values) for values in (weight, bias))
    _check(x, training, running_mean=running_mean, running_var=running_var, weight=w, bias=b)
    if not training:
        assert running_mean is not None
        assert running_var is not None
        mean, var = _wide(floating(running_mean)), _wide(floating(running_var))
    else:
        mean, var = _statistics(x)
        if x.size and num_batches_tracked is not None:
            num_batches_tracked += 1
        if x.size and running_mean is not None and running_var is not None:
            n = x.size // x.shape[1]
            new_var = var if biased_running_var else var * (n / (n - 1))
            new = _weight_of_new(momentum, num_batches_tracked)
            _update((running_mean, running_var), (mean, new_var), new, skip_nonfinite)
    saved = BatchNormSaved(x, mean, 1 / np.sqrt(var + eps), w, b, training)
    y = _normalised(x, mean, saved.rstd)
    if w is not None:
        y = y * _along(w, x)
    if b is not None:
        y = y + _along(b, x)
    return y.astype(x.dtype), saved


@quiet
def batch_norm_backward(dy: ArrayLike, saved: BatchNormSaved) -> tuple[Array, Array | None, Array | None]:
    """Return (dx, dweight, dbias), with x^ = (x - mean) rstd: dweight = sum of dy x^, dbias = sum of dy.

    In training, dx = weight rstd (dy - mean of dy - x^ mean of dy x^), as the statistics depend on x; in
    evaluation they are constants, and dx = weight rstd dy. dweight and dbias are None where weight and bias
    were.
    """
    x, mean, rstd, weight, bias, training = saved
    dy = floating(dy)
    g, x_hat, others = _wide(dy), _normalised(x, mean, rstd), _others(x)
    dx = g
    if training and x.size:
        dx = g - g.mean(axis=others, keepdims=True) - x_hat * (g * x_hat).mean(axis=others, keepdims=True)
    dx = dx * _along(rstd if weight is None else weight * rstd, x)
    return (
        dx.astype(np.result_type(dy, x)),
        None if weight is None else (g * x_hat).sum(axis=others).astype(weight.dtype),
        None if bias is None else g.sum(axis=others).astype(bias.dtype),
    )
