"""Runs a chain of stages on the CPU: brings the arrays into one layout and calls the kernels.

It knows the descriptions of fastnn.stages, and not who made them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnn import _arrays, _kernels
from fastnn.random import Key, as_key, default_generator
from fastnn.stages import Activation, Add, BatchNorm, Dropout, Head, Stage

Array = NDArray[Any]


class Layout(NamedTuple):
    """How an array's memory is seen: (outer, channels, inner), or in columns (outer, inner, channels)."""

    shape: tuple[int, ...]
    outer: int
    channels: int
    inner: int
    columns: bool

    @property
    def usual(self) -> bool:
        """Whether memory is in the order of the axes."""
        return not self.columns or len(self.shape) == 2

    def empty(self, dtype: np.dtype[Any]) -> Array:
        """A new array of this layout."""
        if self.usual:
            return _kernels.empty(self.shape, dtype)
        n, c, *positions = self.shape
        return np.moveaxis(_kernels.empty((n, *positions, c), dtype), -1, 1)

    def holds(self, array: Array, dtype: np.dtype[Any]) -> bool:
        """Whether the array already is of this layout, and of this dtype."""
        if array.dtype != dtype or not array.flags.aligned:
            return False
        return array.flags.c_contiguous if self.usual else _channels_last(array)

    def arrange(self, array: Array, dtype: np.dtype[Any]) -> Array:
        """The same values in this layout and dtype."""
        if self.holds(array, dtype):
            return array
        copy = self.empty(dtype)
        copy[...] = array
        return copy


def _channels_last(array: Array) -> bool:
    return np.moveaxis(array, 1, -1).flags.c_contiguous


def layout_of(array: Array) -> Layout:
    """The layout of an array's memory, or the usual one if its memory has gaps."""
    shape, size = array.shape, array.size
    if len(shape) < 2 or shape[1] == 1:
        return Layout(shape, 1, 1, size, False)
    if size == 0:
        return Layout(shape, 0, shape[1], 0, False)
    outer, channels = shape[0], shape[1]
    inner = size // (outer * channels)
    columns = inner == 1 or (not array.flags.c_contiguous and _channels_last(array))
    return Layout(shape, outer, channels, inner, columns)


class Saved(NamedTuple):
    """What backward needs: the input, and a few numbers for each channel; not to be changed before."""

    head: Head | None
    stages: tuple[Stage, ...]
    input: Array
    mean: NDArray[np.float64] | None  # of each channel: of the batch, or the running one
    rstd: NDArray[np.float64] | None  # 1 / sqrt(variance + eps)
    weight: Array | None
    bias: Array | None
    residual: Array | None  # kept if an activation comes after it
    key: Key | None


class Gradients(NamedTuple):
    """The gradients of a chain; None for what it does not have."""

    input: Array
    weight: Array | None = None
    bias: Array | None = None
    residual: Array | None = None


# ---- what is given ----------------------------------------------------------------------------------------


def _wrong_channels(name: str, channels: int, got: Array) -> str:
    return f"{name} must have shape ({channels},), one for each channel of input, got {got.shape}"


def _vector(name: str, value: ArrayLike | None, like: Array) -> Array | None:
    """What is given for each channel, in the dtype that is computed in."""
    if value is None:
        return None
    channels = like.shape[1]
    if _kernels.is_vector(value, channels, like):  # the short way: this is part of small calls
        return np.asarray(value)
    array = _arrays.ready(name, value)
    if array.shape != (channels,):
        raise ValueError(_wrong_channels(name, channels, array))
    return np.require(array, _computing(like.dtype), ["C", "A"])


def check_running(name: str, value: object, channels: int) -> None:
    """Whether running statistics can be updated in place."""
    if not isinstance(value, np.ndarray):
        raise TypeError(
            f"{name} must be a NumPy array, as it is updated in place, got {type(value).__name__}"
        )
    if value.shape != (channels,):
        raise ValueError(
            f"{name} must have shape ({channels},), one for each channel of input, got {value.shape}"
        )
    if value.dtype.kind != "f" and value.dtype.name != "bfloat16":
        raise TypeError(f"{name} must have a floating dtype, got {value.dtype}")
    if not value.flags.writeable:
        raise ValueError(f"{name} must be writeable, got a read-only array")


def _update(running: Array, batch: NDArray[np.float64], factor: float, momentum: float, skip: bool) -> None:
    if _kernels.is_vector(running, batch.size, running):
        _kernels.update_running(running, batch, factor, momentum, skip)
    else:
        values = np.array(running, np.float64)
        _kernels.update_running(values, batch, factor, momentum, skip)
        running[...] = values


def _check_counter(counter: object) -> None:
    if not (isinstance(counter, np.ndarray) and counter.size == 1 and counter.dtype.kind in "iu"):
        raise TypeError("num_batches_tracked must be an integer array of one element")
    if not counter.flags.writeable:
        raise ValueError("num_batches_tracked must be writeable, got a read-only array")


class Running(NamedTuple):
    """The running statistics of batch norm, changed in place in training."""

    mean: Array | None
    var: Array | None
    batches: NDArray[np.integer[Any]] | None

    def check(self, head: BatchNorm, input: Array) -> None:
        """An error for what does not fit, before anything is written."""
        channels, values = input.shape[1], input.size // max(input.shape[1], 1)
        for name, value in (("running_mean", self.mean), ("running_var", self.var)):
            if value is None and not head.training:
                raise ValueError(f"{name} is needed in evaluation (training=False), got None")
            if value is not None and not (
                _kernels.is_vector(value, channels, input) and value.flags.writeable
            ):
                check_running(name, value, channels)
        if not head.training:
            return
        if values == 1:
            raise ValueError(
                f"batch_norm in training needs more than one value per channel, got input of shape"
                f" {input.shape}: the variance of one value is 0. Use a larger batch, or evaluation"
                " (training=False, layer.eval())"
            )
        if self.batches is not None:
            _check_counter(self.batches)
        elif head.momentum is None and (self.mean is not None or self.var is not None):
            raise ValueError("momentum=None, the cumulative average, needs num_batches_tracked, got None")

    def update(
        self, head: BatchNorm, mean: NDArray[np.float64], var: NDArray[np.float64], values: int
    ) -> None:
        """Takes the statistics of a batch in."""
        momentum = head.momentum
        if self.batches is not None:
            np.add(self.batches, 1, out=self.batches)
            if momentum is None:
                momentum = 1 / int(self.batches.reshape(()))
        if momentum is None:
            return
        if self.mean is not None:
            _update(self.mean, mean, 1.0, momentum, head.skip_nonfinite)
        if self.var is not None:
            unbiased = 1.0 if head.biased_running_var else values / (values - 1)
            _update(self.var, var, unbiased, momentum, head.skip_nonfinite)


NOT_RUNNING = Running(None, None, None)


# ---- forward and backward ---------------------------------------------------------------------------------


def _add_stages(
    chain: _kernels.Chain,
    stages: Sequence[Stage],
    key: Key | None,
    addend: Array | None,
    daddend: Array | None = None,
) -> None:
    for stage in stages:
        if isinstance(stage, Activation):
            chain.activate(stage.row, *stage.values)
        elif isinstance(stage, Dropout) and stage.p > 0 and key is not None:
            chain.drop(*key, stage.threshold, stage.scale)
        elif isinstance(stage, Add):
            chain.add(addend, daddend)


def _is_read_after_addition(stages: Sequence[Stage]) -> bool:
    """Whether an activation comes after the addition: its gradient then depends on the residual."""
    kinds = [type(stage) for stage in stages]
    return Activation in kinds[kinds.index(Add) :]


def _computing(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.float64 if dtype.char == "d" else np.float32)


def forward(
    head: Head | None,
    stages: tuple[Stage, ...],
    input: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    running: Running = NOT_RUNNING,
    key: Key | None = None,
    residual: ArrayLike | None = None,
    out: Array | None = None,
) -> tuple[Array, Saved]:
    """The chain of head and stages: (y, what backward needs)."""
    x, addend = _arrays.ready("input", input), None
    if head is not None and x.ndim < 2:
        raise ValueError(f"input must have shape (N, C) or (N, C, ...), got {x.shape}")
    if residual is not None:
        addend = _arrays.ready("residual", residual)
        if addend.shape != x.shape:
            raise ValueError(f"residual must have the shape of input, {x.shape}, got {addend.shape}")
        x = x.astype(_arrays.common_dtype((("input", x), ("residual", addend))), copy=False)
    weight, bias = _vector("weight", weight, x), _vector("bias", bias, x)
    if isinstance(head, BatchNorm):
        running.check(head, x)
    if out is not None:
        _arrays.check_out(out, x.shape, x.dtype)
    if stages and any(isinstance(stage, Dropout) for stage in stages):
        key = default_generator().key() if key is None else as_key(key)

    dtype, layout = _computing(x.dtype), layout_of(x)
    plain = layout.arrange(x, dtype)
    if addend is not None:
        addend = layout.arrange(addend, dtype)
    target = out if out is not None and _is_free(out, layout, plain, addend) else layout.empty(dtype)
    chain = _kernels.Chain(dtype.char == "d", *layout[1:])
    mean = rstd = variance = None
    if isinstance(head, BatchNorm) and head.training:
        mean, rstd, variance = chain.normalise(head.eps, weight, bias)
    elif isinstance(head, BatchNorm):
        mean, rstd = np.array(running.mean, np.float64), np.array(running.var, np.float64)
        chain.evaluate(head.eps, mean, rstd, weight, bias)
    elif head is not None:
        chain.scale(False, 0.0, None, None, None, weight, bias)
    _add_stages(chain, stages, key, addend)
    chain.forward(plain, target)
    if isinstance(head, BatchNorm) and mean is not None and variance is not None and x.size:
        running.update(head, mean, variance, x.size // x.shape[1])
    kept = addend if addend is not None and _is_read_after_addition(stages) else None
    return _result(target, x.dtype, out), Saved(head, stages, x, mean, rstd, weight, bias, kept, key)


def _is_free(out: Array, layout: Layout, x: Array, addend: Array | None) -> bool:
    """Whether the chain may write to `out` while it reads: it is x or apart from it, and not the addend."""
    if addend is not None and np.may_share_memory(out, addend):
        return False
    if layout.usual:
        return _kernels.are_plain((x,), out)
    same = out.__array_interface__["data"] == x.__array_interface__["data"]
    return layout.holds(out, x.dtype) and (same or not np.may_share_memory(out, x))


def _result(target: Array, dtype: np.dtype[Any], out: Array | None) -> Array:
    if out is None:
        return target.astype(dtype, copy=False)
    if out is not target:
        out[...] = target
    return out


def backward(dy: ArrayLike, saved: Saved, *, out: Array | None = None) -> Gradients:
    """The gradients of a forward call, from dL/dy and what that call saved."""
    x, head, weight, bias = saved.input, saved.head, saved.weight, saved.bias
    g = _arrays.ready("dy", dy)
    if g.shape != x.shape:
        raise ValueError(f"dy must have the shape of the output, {x.shape}, got {g.shape}")
    if out is not None:
        _arrays.check_out(out, x.shape, x.dtype)
    dtype, layout = _computing(x.dtype), layout_of(x)
    plain, g = layout.arrange(x, dtype), layout.arrange(g, dtype)
    target = out if out is not None and _is_free(out, layout, g, plain) else layout.empty(dtype)
    adds = any(isinstance(stage, Add) for stage in saved.stages)
    daddend = layout.empty(dtype) if adds else None
    addend = None if saved.residual is None else layout.arrange(saved.residual, dtype)
    chain = _kernels.Chain(dtype.char == "d", *layout[1:])
    training = isinstance(head, BatchNorm) and head.training
    dbias = dweight = None
    if head is not None:
        chain.scale(training, 0.0, saved.mean, saved.rstd, None, weight, bias)
        if training or weight is not None or bias is not None:
            dbias, dweight = np.empty((2, x.shape[1]))
    _add_stages(chain, saved.stages, saved.key, addend, daddend)
    chain.backward(g, plain, target, dbias, dweight)
    return Gradients(
        _result(target, x.dtype, out),
        None if weight is None or dweight is None else dweight.astype(x.dtype),
        None if bias is None or dbias is None else dbias.astype(x.dtype),
        None if daddend is None else daddend.astype(x.dtype, copy=False),
    )
