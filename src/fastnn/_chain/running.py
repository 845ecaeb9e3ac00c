"""The running statistics of batch norm: their checks, their use in evaluation, their update in training."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn import _kernels
from fastnn._chain.arguments import check_vector
from fastnn._core.arrays import check_whole
from fastnn._core.typing import Array
from fastnn._core.uninterrupted import Call, uninterrupted
from fastnn.stages import BatchNorm


def check_running(name: str, channels: int, shape: tuple[int, ...], dtype: str) -> None:
    """An error unless an array of this shape and dtype can be a running statistic."""
    check_vector(name, channels, shape)
    if not dtype.startswith(("float", "bfloat", "longdouble")):
        raise TypeError(f"{name} must be of a floating dtype, got {dtype}")


def check_counter(size: int, shape: tuple[int, ...], dtype: str) -> None:
    """TypeError unless an array of this size, shape and dtype can count batches."""
    if size != 1 or not dtype.startswith(("int", "uint")):
        got = f"{dtype} of shape {shape}"
        raise TypeError(f"num_batches_tracked must be an integer array of one element, got {got}")


def check_running_array(name: str, value: object, channels: int, training: bool) -> None:
    """An error unless a running statistic can be used and, in training, updated in place."""
    if not isinstance(value, np.ndarray):
        raise TypeError(
            f"{name} must be a NumPy array, as it is updated in place, got {type(value).__name__}"
        )
    check_whole(name, value)
    check_running(name, channels, value.shape, value.dtype.name)
    if training and not value.flags.writeable:
        raise ValueError(f"{name} must be writeable, got a read-only array")


def _check_counter(counter: object) -> None:
    if not isinstance(counter, np.ndarray):
        raise TypeError(f"num_batches_tracked must be a NumPy array, got {type(counter).__name__}")
    check_counter(counter.size, counter.shape, counter.dtype.name)
    if not counter.flags.writeable:
        raise ValueError("num_batches_tracked must be writeable, got a read-only array")
    most = (1 << 8 * counter.itemsize - 1) - 1
    if not 0 <= counter.item() < most:
        raise ValueError(
            f"num_batches_tracked must be at least 0 and, to be counted up as {counter.dtype}, below {most},"
            f" got {counter.item()}"
        )


class Running(NamedTuple):
    """The running statistics of batch norm, changed in place in training."""

    mean: Array | None
    var: Array | None
    batches: NDArray[np.integer[Any]] | None

    def check(self, head: BatchNorm, input: Array) -> None:
        """An error for arrays that do not fit; nothing is written before it."""
        channels = input.shape[1]
        self.check_pair(head)
        for name, value in (("running_mean", self.mean), ("running_var", self.var)):
            if value is not None and not (
                _kernels.is_vector(value, channels, input) and value.flags.writeable
            ):
                check_running_array(name, value, channels, head.training)
        if self.batches is not None and head.training:  # evaluation does not look at it
            _check_counter(self.batches)
        self.check_training(head, input.shape, input.size // max(channels, 1))

    def check_pair(self, head: BatchNorm) -> None:
        """ValueError unless mean and variance are given together, and in evaluation."""
        if (self.mean is None) != (self.var is None):
            raise ValueError("running_mean and running_var must both be given, or neither, got one")
        if self.mean is None and not head.training:
            raise ValueError("running_mean and running_var must be given in evaluation, got None")

    def check_training(self, head: BatchNorm, shape: tuple[int, ...], values: int) -> None:
        """ValueError in training for one value per channel and for a cumulative average without a counter."""
        if not head.training:
            return
        if values == 1 and head.ranks is None:
            raise ValueError(
                f"batch_norm in training needs more than one value per channel, got input of shape"
                f" {shape}: the variance of one value is 0; use a larger batch or eval()"
            )
        if head.momentum is None and self.mean is not None and self.batches is None:
            raise ValueError(
                "momentum must be a number without num_batches_tracked, got None, the cumulative average"
            )

    def evaluate(
        self, chain: _kernels.Chain, head: BatchNorm, weight: Array | None, bias: Array | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Begin a chain with batch norm in evaluation; return (mean, 1 / sqrt(variance + eps))."""
        assert self.mean is not None
        assert self.var is not None
        if _are_vectors(self.mean, self.var):
            return chain.evaluate(head.eps, self.mean, self.var, weight, bias)
        mean, var = self.mean.astype(np.float64), self.var.astype(np.float64)
        return chain.evaluate(head.eps, mean, var, weight, bias)

    def update(
        self, head: BatchNorm, mean: NDArray[np.float64], variance: NDArray[np.float64], values: int
    ) -> None:
        """Move the running statistics towards those of a batch of this many values per channel."""
        momentum, batches = head.momentum, self.batches
        if batches is not None and momentum is None:
            momentum = 1 / (int(batches.reshape(())) + 1)
        if self.mean is None or self.var is None or momentum is None:
            if batches is not None:
                np.add(batches, 1, out=batches)
            return
        factor = 1.0 if head.biased_running_var else values / (values - 1)
        move_running((self.mean, self.var), (mean, variance), factor, momentum, head.skip_nonfinite, batches)


def _are_vectors(mean: Array, var: Array) -> bool:
    """Whether both are plain float32 or float64 arrays, of one dtype."""
    return _kernels.is_vector(mean, mean.size, mean) and _kernels.is_vector(var, mean.size, mean)


def move_running(
    running: tuple[Array, Array],
    batch: tuple[NDArray[np.float64], NDArray[np.float64]],
    factor: float,
    momentum: float,
    skip_nonfinite: bool,
    batches: NDArray[np.integer[Any]] | None = None,
) -> None:
    """running = (1 - momentum) running + momentum batch, in place, and batches, if given, is counted up.

    Both are (mean, variance), the batch's variance times `factor`. With skip_nonfinite channels stay whose
    mean or variance is not finite in the running one's dtype. What a signal handler raises comes before or
    after all of it.
    """
    if _are_vectors(*running):
        _kernels.update_running(*running, *batch, factor, momentum, skip_nonfinite, batches)
        return
    news = batch[0], factor * batch[1]
    with np.errstate(all="ignore"):
        finite = [np.isfinite(new.astype(old.dtype)) for old, new in zip(running, news, strict=True)]
        fits = finite[0] & finite[1] | (not skip_nonfinite)
        moved = [
            np.where(fits, ((1 - momentum) * old.astype(np.float64) + momentum * new).astype(old.dtype), old)
            for old, new in zip(running, news, strict=True)
        ]
    counted: list[Call] = [] if batches is None else [(np.add, batches, 1, batches)]
    written = [(operator.setitem, old, ..., new) for old, new in zip(running, moved, strict=True)]
    uninterrupted([*counted, *written])


#: What a chain without batch norm has.
NOT_RUNNING = Running(None, None, None)
