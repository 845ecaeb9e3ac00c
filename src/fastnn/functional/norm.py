"""Layer, RMS, group and instance norm: every row of elements that lie together is normalised by itself.

To the kernels all four are the same: a row has channels of `inner` elements each, and a channel has a weight
and a bias. Rows of different groups have different weights. Where the channels are last in memory, a row is
some columns of its sample.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnn import _kernels
from fastnn._chain.running import check_running_array, move_running
from fastnn._core import arrays
from fastnn._core.dispatch import general_way, takes_tensors
from fastnn._core.typing import Array

__all__ = [
    "NormSaved",
    "group_norm",
    "group_norm_backward",
    "instance_norm",
    "instance_norm_backward",
    "layer_norm",
    "layer_norm_backward",
    "rms_norm",
    "rms_norm_backward",
]

Statistics = NDArray[np.float64]
Gradients = tuple[Array, Array | None, Array | None]


class NormSaved(NamedTuple):
    """What a norm keeps for its backward: its arguments, and two numbers for each row."""

    input: Array | None  # None: the result was written over it
    mean: Statistics | None  # None for rms_norm
    rstd: Statistics  # 1 / sqrt(variance + eps)
    weight: Array | None
    bias: Array | None
    blocks: tuple[int, int, int]  # groups, channels of a row, elements of a channel
    given: bool  # the statistics are not the input's own


# ---- what all of them share --------------------------------------------------------------------------------


def _parameter(name: str, value: ArrayLike | None, shape: tuple[int, ...]) -> Array | None:
    """The weight or bias as an array, after its shape was checked."""
    if value is None:
        return None
    array = arrays.ready(name, value)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    return array


def _plain_parameter(array: Array | None, target: Array, dtype: np.dtype[Any]) -> Array | None:
    """The weight in the computing dtype, apart from where the result is written."""
    return None if array is None else arrays.apart(arrays.plain(arrays.rounded(array, dtype)), target)


def _are_last(x: Array, blocks: tuple[int, int, int]) -> bool:
    """Whether the channels of a group norm's input are the last in memory."""
    return blocks[2] > 1 and _to_last(x).flags.c_contiguous


def _to_last(array: Array) -> Array:
    """A view of shape (N, ..., C)."""
    return array.transpose(0, *range(2, array.ndim), 1)


def _target(x: Array, out: Array | None, dtype: np.dtype[Any], last: bool) -> Array:
    """Where a result is computed: in `out`, or in a new array with the channels where x has them."""
    if out is None and last:
        new = arrays.target_for(None, _to_last(x).shape, dtype)
        return new.transpose(0, -1, *range(1, new.ndim - 1))
    return arrays.target_for(out, x.shape, dtype)


def _as_it_is(array: Array) -> Array:
    return array


def _normalise(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    out: Array | None,
    rows: tuple[int, ...],
    blocks: tuple[int, int, int],
    eps: float,
    *,
    centred: bool = True,
    given: tuple[Statistics, Statistics] | None = None,
    variance: Statistics | None = None,
) -> tuple[Array, NormSaved]:
    """The result and what backward needs. rows: the statistics' shape; variance: filled with the rows'."""
    eps = arrays.real_number("eps", eps)
    apart = out is None or _kernels.are_apart_from(out, (x, weight, bias))
    if not apart:
        weight, bias = arrays.unspoilt(weight, out), arrays.unspoilt(bias, out)
    y, mean, rstd = _kernels.norm(x, weight, bias, out, rows, blocks, eps, centred, given, variance)
    kept = x if apart or out is None or not np.may_share_memory(x, out) else None
    return y, NormSaved(kept, mean, rstd, weight, bias, blocks, given is not None)


@general_way("norm", like="input")
def _norm(
    input: Array, weight: Array | None, bias: Array | None, out: Array | None, *options: Any
) -> tuple[Array, Statistics | None, Statistics]:
    last = _are_last(input, options[1])
    turned = _to_last if last else _as_it_is
    target = _target(input, out, input.dtype, last)
    (source,) = arrays.in_step((input,), target)
    turned_target = turned(target)
    place = arrays.plain_target(turned_target)
    w, b = (_plain_parameter(parameter, target, place.dtype) for parameter in (weight, bias))
    y, mean, rstd = _kernels.norm(arrays.plain(turned(source)), w, b, place, *(*options, last))
    arrays.deliver(y, turned_target)
    return arrays.deliver(target, out), mean, rstd


def _backward(dy: ArrayLike, saved: NormSaved, out: Array | None) -> Gradients:
    """(dx, dweight, dbias), each in the dtype of what it is the gradient of."""
    if not isinstance(saved, NormSaved):
        raise TypeError(f"saved must be the NormSaved that forward returned, got {type(saved).__name__}")
    x, mean, rstd, weight, bias, blocks, given = saved
    if x is None:
        raise ValueError("saved must have forward's input, got none: forward's out was in the input's memory")
    g = arrays.ready("dy", dy)
    arrays.check_dy(g.shape, x.shape)
    parameter = next((p for p in (weight, bias) if p is not None), None)
    shape = () if parameter is None else parameter.shape
    return _kernels.norm_backward(g, x, weight, bias, out, mean, rstd, given, blocks, shape)


@general_way("norm_backward", like="dy")
def _norm_backward(
    dy: Array, input: Array, weight: Array | None, bias: Array | None, out: Array | None, *options: Any
) -> Gradients:
    dtype = arrays.common_dtype((("dy", dy), ("input", input)))
    last = _are_last(input, options[3])
    turned = _to_last if last else _as_it_is
    target = _target(input, out, dtype, last)
    g, x = arrays.in_step((dy.astype(dtype, copy=False), input.astype(dtype, copy=False)), target)
    turned_target = turned(target)
    place = arrays.plain_target(turned_target)
    w, b = (_plain_parameter(parameter, target, place.dtype) for parameter in (weight, bias))
    plain_g, plain_x = arrays.plain(turned(g)), arrays.plain(turned(x))
    dx, dweight, dbias = _kernels.norm_backward(plain_g, plain_x, w, b, place, *(*options, last))
    arrays.deliver(dx, turned_target)
    if dweight is not None and weight is not None:
        dweight = arrays.rounded(dweight, weight.dtype)
    if dbias is not None and bias is not None:
        dbias = arrays.rounded(dbias, bias.dtype)
    return arrays.deliver(target, out), dweight, dbias


# ---- layer norm, RMS norm ----------------------------------------------------------------------------------


def _normalized_shape(normalized_shape: int | Sequence[int], has: tuple[int, ...]) -> tuple[int, ...]:
    """The shape as a tuple, after it was checked to be that of the last of input's, `has`."""
    if type(normalized_shape) is int:  # the quick way: this is part of small calls
        shape: tuple[int, ...] = (normalized_shape,)
    elif type(normalized_shape) is tuple and set(map(type, normalized_shape)) == {int}:
        shape = normalized_shape
    else:
        sizes = normalized_shape if isinstance(normalized_shape, Iterable) else (normalized_shape,)
        try:
            shape = tuple(map(operator.index, sizes))
        except TypeError:
            text = f"normalized_shape must be an integer or several, got {normalized_shape!r}"
            raise TypeError(text) from None
    if not shape or has[-len(shape) :] != shape:
        takes = f"input's last dimensions, of {has}" if shape else "at least one dimension"
        raise ValueError(f"normalized_shape must be {takes}, got {normalized_shape}")
    return shape


@takes_tensors
def layer_norm(
    input: ArrayLike,
    normalized_shape: int | Sequence[int],
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: float = 1e-5,
    *,
    out: Array | None = None,
) -> tuple[Array, NormSaved]:
    """y = (x - mean) / sqrt(variance + eps) weight + bias, each row by its own mean and variance.

    A row is the elements of input's last dimensions, which are normalized_shape (an integer stands for one
    of them); weight and bias have that shape, and None is 1 and 0. Dtypes and out as for relu; weight and
    bias are taken in the dtype that is computed in. The variance is that of the row itself, divided by its
    length. A row with NaN or infinity is NaN. Returns (y, saved), saved for layer_norm_backward; with out
    in the input's memory it serves no backward. Raises ValueError for shapes that do not fit. Ba, Kiros and
    Hinton, 2016.
    """
    x = arrays.ready("input", input)
    shape = _normalized_shape(normalized_shape, x.shape)
    w, b = _parameter("weight", weight, shape), _parameter("bias", bias, shape)
    return _normalise(x, w, b, out, x.shape[: -len(shape)], (1, math.prod(shape), 1), eps)


@takes_tensors
def layer_norm_backward(dy: ArrayLike, saved: NormSaved, *, out: Array | None = None) -> Gradients:
    """dx = rstd (g - mean(g) - xhat mean(g xhat)), with g = dy weight and xhat = (x - mean) rstd.

    dweight is the sum of dy xhat over all rows and dbias the sum of dy, in double and in an order that does
    not depend on the threads; None where forward had None. dy: the input's shape; saved: what layer_norm
    returned; out: for dx, and may be dy. Returns (dx, dweight, dbias). Raises ValueError for shapes that do
    not fit.
    """
    return _backward(dy, saved, out)


@takes_tensors
def rms_norm(
    input: ArrayLike,
    normalized_shape: int | Sequence[int],
    weight: ArrayLike | None = None,
    eps: float | None = None,
    *,
    out: Array | None = None,
) -> tuple[Array, NormSaved]:
    """y = x / sqrt(mean(x^2) + eps) weight, each row by its own mean square.

    normalized_shape, weight, dtypes and out as for layer_norm; eps=None is the machine epsilon of the dtype
    that is computed in. Returns (y, saved), saved for rms_norm_backward. Raises ValueError for shapes that do
    not fit. Zhang and Sennrich, 2019.
    """
    x = arrays.ready("input", input)
    shape = _normalized_shape(normalized_shape, x.shape)
    w = _parameter("weight", weight, shape)
    if eps is None:
        eps = 2.0**-52 if x.dtype == np.float64 else 2.0**-23
    return _normalise(x, w, None, out, x.shape[: -len(shape)], (1, math.prod(shape), 1), eps, centred=False)


@takes_tensors
def rms_norm_backward(
    dy: ArrayLike, saved: NormSaved, *, out: Array | None = None
) -> tuple[Array, Array | None]:
    """dx = rrms (g - xhat mean(g xhat)), with g = dy weight, xhat = x rrms, rrms = 1 / sqrt(mean(x^2) + eps).

    dweight is the sum of dy xhat over all rows, or None. dy, saved and out as for layer_norm_backward.
    Returns (dx, dweight). Raises ValueError for shapes that do not fit.
    """
    dx, dweight, _ = _backward(dy, saved, out)
    return dx, dweight


# ---- group norm, instance norm -----------------------------------------------------------------------------


def _group_blocks(shape: tuple[int, ...], num_groups: int) -> tuple[int, int, int]:
    """(groups, channels of a group, elements of a channel), after both were checked to fit."""
    if len(shape) < 2:
        raise ValueError(f"input must have shape (N, C, ...), got {shape}")
    n, channels, *rest = shape
    groups = arrays.divisor("num_groups", num_groups, channels, f"input's {channels} channels")
    inner = math.prod(rest)
    if n * (channels // groups) * inner == 1:
        raise ValueError(
            "input must have more than one value in a group, whose variance is 0 else, got shape "
            f"{shape} in {groups} groups: use fewer groups"
        )
    return groups, channels // groups, inner


@takes_tensors
def group_norm(
    input: ArrayLike,
    num_groups: int,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: float = 1e-5,
    *,
    out: Array | None = None,
) -> tuple[Array, NormSaved]:
    """y = (x - mean) / sqrt(variance + eps) weight[c] + bias[c], by the mean and variance of each group.

    input: (N, C, ...), its C channels in num_groups groups of neighbours; a group of one sample has
    statistics of its own. weight and bias: (C,), and None is 1 and 0. Dtypes, out and what is returned as
    for layer_norm. Raises ValueError for shapes that do not fit and where C is no multiple of num_groups,
    or there is but one value to normalise. Wu and He, 2018.
    """
    x = arrays.ready("input", input)
    blocks = _group_blocks(x.shape, num_groups)
    n, channels, *_ = x.shape
    w, b = _parameter("weight", weight, (channels,)), _parameter("bias", bias, (channels,))
    return _normalise(x, w, b, out, (n, blocks[0]), blocks, eps)


@takes_tensors
def group_norm_backward(dy: ArrayLike, saved: NormSaved, *, out: Array | None = None) -> Gradients:
    """dx = rstd (g - mean(g) - xhat mean(g xhat)), with g = dy weight[c], xhat = (x - mean) rstd.

    The means are those of groups. dweight[c] is the sum of dy xhat over channel c and dbias[c] the sum of
    dy; None where forward had None. dy, saved, out and what is returned as for layer_norm_backward. Raises
    ValueError for shapes that do not fit.
    """
    return _backward(dy, saved, out)


@takes_tensors
def instance_norm(
    input: ArrayLike,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    out: Array | None = None,
) -> tuple[Array, NormSaved]:
    """y = (x - mean) / sqrt(variance + eps) weight[c] + bias[c], by each sample's own statistics.

    mean and variance are those of channel c in the sample. input: (N, C, ...); weight, bias, running_mean,
    running_var: (C,) or None. With use_input_stats the running statistics, if given, are moved in place by
    momentum, the weight of the new value, towards the batch's mean of the means and of the variances
    (divided by their length less 1); without, they are what x is normalised by; they have any floating
    dtype. Dtypes, out and what is
    returned as for layer_norm. Raises ValueError for shapes that do not fit, for channels of one element,
    and for statistics that are missing. Ulyanov, Vedaldi and Lempitsky, 2016.
    """
    x = arrays.ready("input", input)
    if x.ndim < 2:
        raise ValueError(f"input must have shape (N, C, ...), got {x.shape}")
    n, channels, *rest = x.shape
    inner = math.prod(rest)
    w, b = _parameter("weight", weight, (channels,)), _parameter("bias", bias, (channels,))
    eps = arrays.real_number("eps", eps)
    rows, blocks = (n, channels), (channels, 1, inner)
    _check_given_together(running_mean, running_var, use_input_stats)
    if running_mean is None or running_var is None:
        _check_instances(x.shape, inner)
        return _normalise(x, w, b, out, rows, blocks, eps)
    for name, array in (("running_mean", running_mean), ("running_var", running_var)):
        check_running_array(name, array, channels, use_input_stats)
    if not use_input_stats:
        with np.errstate(all="ignore"):  # a negative variance gives NaN, as in batch_norm
            rstd = 1 / np.sqrt(running_var.astype(np.float64) + eps)
        given = np.tile(running_mean.astype(np.float64), (n, 1)), np.tile(rstd, (n, 1))
        return _normalise(x, w, b, out, rows, blocks, eps, given=given)
    _check_instances(x.shape, inner)
    part = arrays.real_number("momentum", momentum)
    variance = np.empty(rows)
    y, saved = _normalise(x, w, b, out, rows, blocks, eps, variance=variance)
    if x.size and saved.mean is not None:
        batch, factor = (saved.mean.mean(axis=0), variance.mean(axis=0)), inner / (inner - 1)
        move_running((running_mean, running_var), batch, factor, part, skip_nonfinite=False)
    return y, saved


def _check_given_together(running_mean: object, running_var: object, use_input_stats: bool) -> None:
    if (running_mean is None) != (running_var is None):
        raise ValueError("running_mean and running_var must be given together, got one of them")
    if running_mean is None and not use_input_stats:
        raise ValueError("running_mean and running_var must be given without use_input_stats, got None")


def _check_instances(shape: tuple[int, ...], inner: int) -> None:
    if inner == 1:
        raise ValueError(
            "input must have more than one element in a channel, whose variance is 0 else, got shape "
            f"{shape}: use layer_norm, or running statistics with use_input_stats=False"
        )


@takes_tensors
def instance_norm_backward(dy: ArrayLike, saved: NormSaved, *, out: Array | None = None) -> Gradients:
    """dx = rstd (g - mean(g) - xhat mean(g xhat)), with g = dy weight[c], xhat = (x - mean) rstd.

    The means are those of a sample's channel. Where running statistics were used, dx = rstd g. dweight[c]
    is the sum of dy xhat over channel c and dbias[c] the sum of dy; None where forward had None. dy, saved,
    out and what is returned as for layer_norm_backward. Raises ValueError for shapes that do not fit.
    """
    return _backward(dy, saved, out)
