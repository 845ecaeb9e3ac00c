"""The running statistics of batch norm: their checks, their use in evaluation, their update in training."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn import _kernels
from fastnn._chain.arguments import check_vector
from fastnn._core.arrays import check_whole
from fastnn._core.typing import Array
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


def _check_running(name: str, value: object, channels: int, training: bool) -> None:
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
                _check_running(name, value, channels, head.training)
        if self.batches is not None:
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
        if values == 1:
            raise ValueError(
                f"batch_norm in training needs more than one value per channel, got input of shape"
                f" {shape}: the variance of one value is 0; use a larger batch or eval()"
            )
        if head.momentum is None and self.mean is not None and self.batches is None:
            raise ValueError(
                "momentum must be a number without num_batches_tracked, got None, the cumulative average"
            )

    def are_vectors(self, channels: int) -> bool:
        """Whether mean and variance are plain float32 or float64 arrays, of one dtype."""
        mean, var = self.mean, self.var
        return (
            mean is not None
            and _kernels.is_vector(mean, channels, mean)
            and _kernels.is_vector(var, channels, mean)
        )

    def evaluate(
        self, chain: _kernels.Chain, head: BatchNorm, weight: Array | None, bias: Array | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Begin a chain with batch norm in evaluation; return (mean, 1 / sqrt(variance + eps))."""
        assert self.mean is not None
        assert self.var is not None
        if self.are_vectors(self.mean.size):
            return chain.evaluate(head.eps, self.mean, self.var, weight, bias)
        mean, var = self.mean.astype(np.float64), self.var.astype(np.float64)
        return chain.evaluate(head.eps, mean, var, weight, bias)

    def update(
        self, head: BatchNorm, mean: NDArray[np.float64], variance: NDArray[np.float64], values: int
    ) -> None:
        """Move the running statistics towards those of a batch of this many values per channel."""
        momentum = head.momentum
        if self.batches is not None:
            np.add(self.batches, 1, out=self.batches)
            if momentum is None:
                momentum = 1 / int(self.batches.reshape(()))
        if self.mean is None or self.var is None or momentum is None:
            return
        factor = 1.0 if head.biased_running_var else values / (values - 1)
        running = (self.mean, self.var)
        if self.are_vectors(mean.size):
            _kernels.update_running(*running, mean, variance, factor, momentum, head.skip_nonfinite)
            return
        batch = (mean, factor * variance)
        with np.errstate(over="ignore", invalid="ignore"):
            finite = [np.isfinite(new.astype(old.dtype)) for old, new in zip(running, batch, strict=True)]
            fits = finite[0] & finite[1]
            for old, new in zip(running, batch, strict=True):
                taken = (1 - momentum) * old.astype(np.float64) + momentum * new
                np.copyto(old, taken.astype(old.dtype), where=fits | (not head.skip_nonfinite))


#: What a chain without batch norm has.
NOT_RUNNING = Running(None, None, None)
