"""Batch normalisation, forward and backward."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnn._chain import run
from fastnn._chain.running import Running
from fastnn._chain.saved import Saved
from fastnn._core.arrays import real_number
from fastnn._core.dispatch import takes_tensors
from fastnn._core.typing import Array
from fastnn.stages import BatchNorm

__all__ = [
    "batch_norm",
    "batch_norm_backward",
]

_stage = lru_cache(BatchNorm)  # a part of small calls


def described(
    training: bool, momentum: float | None, eps: float, biased_running_var: bool, skip_nonfinite: bool
) -> BatchNorm:
    """What batch_norm is asked for, with its numbers checked."""
    weight_of_new = None if momentum is None else real_number("momentum", momentum)
    return _stage(real_number("eps", eps), weight_of_new, bool(training), biased_running_var, skip_nonfinite)


@takes_tensors
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
    num_batches_tracked: NDArray[np.integer[Any]] | None = None,
    biased_running_var: bool = False,
    skip_nonfinite: bool = True,
    out: Array | None = None,
) -> tuple[Array, Saved]:
    """y = (x - mean) / sqrt(var + eps) weight + bias, channel by channel; returns (y, saved).

    input: (N, C) or (N, C, ...), float32 or float64, or float16 and bfloat16 (computed in float32); memory
    with the channels last is taken as it is, and y has the same layout. weight, bias: (C,), or None for 1
    and 0. saved is what batch_norm_backward takes: the input itself, which must not be changed before, and
    a few numbers for each channel.

    In training mean and var are the batch's (var biased), and running_mean and running_var, if given, take
    them in, in place: running = (1 - momentum) running + momentum batch, with the unbiased variance, or the
    biased one (Keras, CS231n) with biased_running_var=True. momentum=None is the cumulative average, 1 /
    num_batches_tracked, an integer array of one element that is counted up in place. A channel with a NaN
    or an infinity has a y of NaN and leaves its running statistics as they are; skip_nonfinite=False lets
    it spoil them, as torch does. In evaluation (training=False) mean and var are the running ones.

    The mean is subtracted before anything is rounded, so a large one costs no digits; sums are merged in
    float64 and do not depend on the threads. Memory is read once and written once while a channel fits the
    cache. Raises ValueError for one value per channel in training and for arrays that do not have C
    elements, TypeError for dtypes. Ioffe and Szegedy, 2015.
    """
    head = described(training, momentum, eps, biased_running_var, skip_nonfinite)
    running = Running(running_mean, running_var, num_batches_tracked)
    return run.forward(head, (), input, weight=weight, bias=bias, running=running, out=out)


@takes_tensors
def batch_norm_by_stage(
    input: ArrayLike,
    stage: BatchNorm,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    num_batches_tracked: NDArray[np.integer[Any]] | None = None,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
) -> tuple[Array, Saved]:
    """The same, the numbers given by a stage, as the layers of fastnn.nn have them."""
    running = Running(running_mean, running_var, num_batches_tracked)
    return run.forward(stage, (), input, weight=weight, bias=bias, running=running)


@takes_tensors
def batch_norm_backward(
    dy: ArrayLike, saved: Saved, *, out: Array | None = None
) -> tuple[Array, Array | None, Array | None]:
    """dx = weight rstd (dy - mean of dy - xhat mean of dy xhat), in evaluation weight rstd dy.

    Returns (dx, dweight, dbias): dweight is the sum of dy xhat, dbias the sum of dy, None where forward had
    no weight or bias. rstd = 1 / sqrt(var + eps) and xhat = (x - mean) rstd; means and sums are over a
    channel. dy has y's shape; saved is forward's; out is for dx, and may be dy. Raises ValueError for
    another shape. Ioffe and Szegedy, 2015.
    """
    gradients = run.backward(dy, saved, out=out)
    return gradients.input, gradients.weight, gradients.bias
