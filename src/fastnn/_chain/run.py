"""Runs a chain of stages on the CPU: brings the arrays into one layout and calls the kernels.

It knows the descriptions of fastnn.stages, and not who made them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnn import _kernels
from fastnn._core import arrays
from fastnn._core.dispatch import twin_of
from fastnn._core.dlpack import is_on_gpu
from fastnn._core.dtypes import computing_dtype
from fastnn._core.typing import Array
from fastnn.random import Key, given_or_next, keep_scale, keep_threshold
from fastnn.stages import Activation, Add, BatchNorm, Dropout, Head, Stage


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
    last = array.ndim > 2 and not array.flags.c_contiguous and _channels_last(array)
    return layout(array.shape, array.size, last)


def layout(shape: tuple[int, ...], size: int, channels_last: bool) -> Layout:
    """The layout of an array whose memory has the channels last, or is in the order of the axes."""
    if len(shape) < 2 or shape[1] == 1:
        return Layout(shape, 1, 1, size, False)
    if size == 0:
        return Layout(shape, 0, shape[1], 0, False)
    outer, channels = shape[0], shape[1]
    inner = size // (outer * channels)
    return Layout(shape, outer, channels, inner, inner == 1 or channels_last)


class Saved(NamedTuple):
    """What backward needs: the input, and a few numbers for each channel; not to be changed before."""

    head: Head | None
    stages: tuple[Stage, ...]
    input: Array | None  # None: y was written over it
    mean: NDArray[np.float64] | None  # of each channel: of the batch, or the running one
    rest: NDArray[np.float64] | None  # what rounding the mean to one float64 lost
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


def check_shape(head: Head | None, shape: tuple[int, ...]) -> None:
    """Whether an input of this shape has the channels that the head needs."""
    if head is not None and len(shape) < 2:
        raise ValueError(f"input must have shape (N, C) or (N, C, ...), got {shape}")


def check_residual(residual: tuple[int, ...], input: tuple[int, ...]) -> None:
    """Whether the shapes are the same."""
    if residual != input:
        raise ValueError(f"residual must have the shape of input, {input}, got {residual}")


def check_vector(name: str, channels: int, got: tuple[int, ...]) -> None:
    """Whether this shape has one element for each channel."""
    if got != (channels,):
        raise ValueError(f"{name} must have shape ({channels},), one for each channel of input, got {got}")


def _vector(name: str, value: ArrayLike | None, input: Array, dtype: np.dtype[Any]) -> Array | None:
    """What is given for each of the input's channels, in the dtype that is computed in."""
    if value is None:
        return None
    if input.dtype == dtype and _kernels.is_vector(value, input.shape[1], input):
        return value  # type: ignore[return-value]  # the short way: this is part of small calls
    array = arrays.ready(name, value)
    check_vector(name, input.shape[1], array.shape)
    return np.require(array, dtype, ["C", "A"])


def _as_given(name: str, value: ArrayLike | None, vector: Array | None) -> Array | None:
    """The array that was given for `vector`, whose dtype the gradient will have."""
    return vector if vector is value or value is None else arrays.ready(name, value)


def check_running(name: str, channels: int, shape: tuple[int, ...], dtype: str) -> None:
    """Whether an array of this shape and dtype can be a running statistic."""
    check_vector(name, channels, shape)
    if not dtype.startswith(("float", "bfloat", "longdouble")):
        raise TypeError(f"{name} must be of a floating dtype, got {dtype}")


def check_counter(size: int, shape: tuple[int, ...], dtype: str) -> None:
    """Whether an array of this form can count batches."""
    if size != 1 or not dtype.startswith(("int", "uint")):
        got = f"{dtype} of shape {shape}"
        raise TypeError(f"num_batches_tracked must be an integer array of one element, got {got}")


def _check_running(name: str, value: object, channels: int, training: bool) -> None:
    """Whether running statistics can be used and, in training, updated in place."""
    if not isinstance(value, np.ndarray):
        raise TypeError(
            f"{name} must be a NumPy array, as it is updated in place, got {type(value).__name__}"
        )
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
        """An error for what does not fit, before anything is written."""
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
        """Whether mean and variance are given together, and where they must be."""
        if (self.mean is None) != (self.var is None):
            raise ValueError("running_mean and running_var must both be given, or neither; got one")
        if self.mean is None and not head.training:
            raise ValueError("running_mean and running_var must be given in evaluation, got None")

    def check_training(self, head: BatchNorm, shape: tuple[int, ...], values: int) -> None:
        """In training: whether a channel has enough values, and the average the counter that it needs."""
        if not head.training:
            return
        if values == 1:
            raise ValueError(
                f"batch_norm in training needs more than one value per channel, got input of shape"
                f" {shape}: the variance of one value is 0; use a larger batch or eval()"
            )
        if head.momentum is None and self.mean is not None and self.batches is None:
            raise ValueError("momentum is None, the cumulative average, which needs num_batches_tracked too")

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
        """Begins a chain with batch norm in evaluation: (mean, 1 / sqrt(variance + eps))."""
        assert self.mean is not None
        assert self.var is not None
        if self.are_vectors(self.mean.size):
            return chain.evaluate(head.eps, self.mean, self.var, weight, bias)
        mean, var = self.mean.astype(np.float64), self.var.astype(np.float64)
        return chain.evaluate(head.eps, mean, var, weight, bias)

    def update(
        self, head: BatchNorm, mean: NDArray[np.float64], variance: NDArray[np.float64], values: int
    ) -> None:
        """Takes the statistics of a batch in."""
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
            chain.drop(*key, keep_threshold(stage.p), keep_scale(stage.p))
        elif isinstance(stage, Add):
            chain.add(addend, daddend)


def _is_read_after_addition(stages: Sequence[Stage]) -> bool:
    """Whether an activation comes after the addition: its gradient then depends on the residual."""
    kinds = [type(stage) for stage in stages]
    return Activation in kinds[kinds.index(Add) :]


def _addend(residual: ArrayLike | None, x: Array) -> Array | None:
    if residual is None:
        return None
    addend = arrays.ready("residual", residual)
    check_residual(addend.shape, x.shape)
    return addend


def _key_for(stages: tuple[Stage, ...], key: Key | None) -> Key | None:
    """The key that dropout takes, if there is any."""
    for stage in stages:
        if isinstance(stage, Dropout) and stage.p > 0:
            return given_or_next(key)
    return key


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
    if isinstance(head, BatchNorm) and not head.training and out is None:
        quick = _kernels.evaluate(input, running.mean, running.var, weight, bias, head.eps, stages)
        if quick is not None:
            return quick[0], Saved(head, stages, input, quick[1], None, quick[2], weight, bias, None, key)  # type: ignore[arg-type]
    if is_on_gpu(input):
        options: Any = {"weight": weight, "bias": bias, "running": running, "key": key, "residual": residual}
        done: tuple[Array, Saved] = twin_of(forward)(head, stages, input, **options, out=out)
        return done
    x = arrays.ready("input", input)
    check_shape(head, x.shape)
    addend = _addend(residual, x)
    if addend is not None:
        x = x.astype(arrays.common_dtype((("input", x), ("residual", addend))), copy=False)
    dtype, layout = computing_dtype(x.dtype), layout_of(x)
    scale, shift = _vector("weight", weight, x, dtype), _vector("bias", bias, x, dtype)
    if isinstance(head, BatchNorm):
        running.check(head, x)
    if out is not None:
        arrays.check_out(out, x.shape, x.dtype)
    key = _key_for(stages, key)

    plain = layout.arrange(x, dtype)
    if addend is not None:
        addend = layout.arrange(addend, dtype)
    target = out if out is not None and _is_free(out, layout, plain, addend) else layout.empty(dtype)
    chain = _kernels.Chain(dtype.char == "d", *layout[1:])
    mean = rest = rstd = variance = None
    if isinstance(head, BatchNorm) and head.training:
        mean, rest, rstd, variance = chain.normalise(head.eps, scale, shift)
    elif isinstance(head, BatchNorm):
        mean, rstd = running.evaluate(chain, head, scale, shift)
    elif head is not None:
        chain.scale(False, None, None, None, scale, shift)
    _add_stages(chain, stages, key, addend)
    chain.forward(plain, target)
    if isinstance(head, BatchNorm) and mean is not None and variance is not None and x.size:
        running.update(head, mean, variance, x.size // x.shape[1])
    y = _result(target, x.dtype, out)
    kept = None if out is not None and np.may_share_memory(out, x) else x
    if addend is not None and not _is_read_after_addition(stages):
        addend = None
    given = (_as_given("weight", weight, scale), _as_given("bias", bias, shift))
    return y, Saved(head, stages, kept, mean, rest, rstd, *given, addend, key)


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


def check_saved(saved: object) -> None:
    """Whether it is what forward saved, with an input."""
    if not isinstance(saved, Saved):
        raise TypeError(f"saved must be what forward returned beside y, got {type(saved).__name__}")
    if saved.input is None:
        raise ValueError("saved has no input: forward wrote y over it (out=), and backward needs it")


def backward(dy: ArrayLike, saved: Saved, *, out: Array | None = None) -> Gradients:
    """The gradients of a forward call, from dL/dy and what that call saved."""
    check_saved(saved)
    assert saved.input is not None
    if is_on_gpu(saved.input) or is_on_gpu(dy):
        gradients: Gradients = twin_of(backward)(dy, saved, out=out)
        return gradients
    g, x, head, stages = arrays.ready("dy", dy), saved.input, saved.head, saved.stages
    arrays.check_dy(g.shape, x.shape)
    if g.dtype != x.dtype:
        x = x.astype(arrays.common_dtype((("dy", g), ("input", x))), copy=False)
    if out is not None:
        arrays.check_out(out, x.shape, x.dtype)
    dtype, layout = computing_dtype(x.dtype), layout_of(x)
    plain, g = layout.arrange(x, dtype), layout.arrange(g, dtype)
    target = out if out is not None and _is_free(out, layout, g, plain) else layout.empty(dtype)
    chain = _kernels.Chain(dtype.char == "d", *layout[1:])
    training = isinstance(head, BatchNorm) and head.training
    weight, bias = saved.weight, saved.bias
    dbias = dweight = addend = daddend = None
    if head is not None:
        scale, shift = _vector("weight", weight, x, dtype), _vector("bias", bias, x, dtype)
        chain.scale(training, saved.mean, saved.rest, saved.rstd, scale, shift)
        if training or weight is not None or bias is not None:
            dbias, dweight = np.empty(x.shape[1]), np.empty(x.shape[1])
    if stages and any(isinstance(stage, Add) for stage in stages):
        addend = None if saved.residual is None else layout.arrange(saved.residual, dtype)
        daddend = layout.empty(dtype)
    _add_stages(chain, stages, saved.key, addend, daddend)
    chain.backward(g, plain, target, dbias, dweight)
    return Gradients(
        _result(target, x.dtype, out),
        None if weight is None or dweight is None else dweight.astype(weight.dtype),
        None if bias is None or dbias is None else dbias.astype(bias.dtype),
        None if daddend is None else daddend.astype(x.dtype, copy=False),
    )
