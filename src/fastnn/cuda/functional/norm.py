"""The twins of fastnn.functional.norm: the same for arrays on a GPU.

Saved statistics are float64 arrays of the input's library. Nothing is copied to the host.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fastnn._chain.running import check_running
from fastnn._core.arrays import real_number
from fastnn.cuda._core import device_arrays, overlap
from fastnn.cuda._runtime import launch, memory
from fastnn.cuda._runtime.memory import DeviceArray
from fastnn.cuda.functional.norm_gradients import Gradients, gradients
from fastnn.cuda.functional.norm_parameters import joined, parameter, row_words, weighted_by
from fastnn.cuda.kernels.common import cuts, rows
from fastnn.cuda.kernels.norm import norms, running
from fastnn.functional.norm import (
    NormSaved,
    _check_given_together,
    _check_instances,
    _group_blocks,
    _normalized_shape,
)

# ---- forward -----------------------------------------------------------------------------------------------


def _normalise(
    input: Any,
    weight: DeviceArray | None,
    bias: DeviceArray | None,
    out: Any,
    shape: tuple[int, ...],
    blocks: tuple[int, int, int],
    eps: float,
    how: str = "own",
    given: tuple[DeviceArray, DeviceArray] | None = None,
    variance: DeviceArray | None = None,
) -> tuple[Any, NormSaved]:
    """The result and what backward needs. shape: the statistics'; variance: filled with the rows'."""
    eps = real_number("eps", eps)
    arrays = device_arrays.elementwise((("input", input),), out, in_c_order=True)
    y, (x,) = arrays.target, arrays.inputs
    if out is not None:  # backward needs the weight as it is now
        place = device_arrays.describe("out", out)
        weight, bias = (v if v is None else overlap.apart(v, place) for v in (weight, bias))
    mean, rstd = given or (memory.empty(x, shape, "float64"), memory.empty(x, shape, "float64"))
    parameters = joined(weight, bias, y)
    if x.size:
        per, length = weighted_by(blocks), blocks[1] * blocks[2]
        cut = cuts.row_cut(length, x.dtype, 1, frozenset((x.address % 16, y.address % 16)))
        per_vector = parameters.aligned(length) if per == "element" else blocks[2] % cut.width == 0
        form = (per, weight is not None, bias is not None, per_vector and not cut.ragged)
        addresses = y.address, x.address, mean.address, rstd.address, *parameters.addresses()
        key = x.dtype, parameters.dtype, how, form, tuple(cut)
        last = 0 if variance is None else variance.address
        sizes = math.prod(shape), length, 1
        rows.run(norms.forward, key, cut, x, sizes, (*addresses, last), row_words(blocks), (eps, 1 / length))
    kept = x.owner if out is None or not overlap.may_overlap(x, device_arrays.describe("out", out)) else None
    statistics = (None if how == "rms" else mean.owner), rstd.owner
    w, b = device_arrays.owners(weight, bias)
    return arrays.result(), NormSaved(kept, *statistics, w, b, blocks, given is not None)


def _of_rows(
    input: Any,
    normalized_shape: int | Sequence[int],
    weight: Any,
    bias: Any,
    eps: float | None,
    out: Any,
    how: str,
) -> tuple[Any, NormSaved]:
    x = device_arrays.ready("input", input)
    shape = _normalized_shape(normalized_shape, x.shape)
    w, b = parameter("weight", weight, shape), parameter("bias", bias, shape)
    if eps is None:
        eps = 2.0**-52 if x.dtype == "float64" else 2.0**-23
    return _normalise(x.owner, w, b, out, x.shape[: -len(shape)], (1, math.prod(shape), 1), eps, how)


def layer_norm(
    input: Any,
    normalized_shape: int | Sequence[int],
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *,
    out: Any = None,
) -> tuple[Any, NormSaved]:
    """As fastnn.functional.layer_norm. A row of up to 16384 float32 is read once, written once."""
    return _of_rows(input, normalized_shape, weight, bias, eps, out, "own")


def rms_norm(
    input: Any,
    normalized_shape: int | Sequence[int],
    weight: Any = None,
    eps: float | None = None,
    *,
    out: Any = None,
) -> tuple[Any, NormSaved]:
    """As fastnn.functional.rms_norm."""
    return _of_rows(input, normalized_shape, weight, None, eps, out, "rms")


def group_norm(
    input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, *, out: Any = None
) -> tuple[Any, NormSaved]:
    """As fastnn.functional.group_norm. An input in another order than C is copied."""
    x = device_arrays.ready("input", input)
    blocks = _group_blocks(x.shape, num_groups)
    n, channels, *_ = x.shape
    w, b = parameter("weight", weight, (channels,)), parameter("bias", bias, (channels,))
    return _normalise(x.owner, w, b, out, (n, blocks[0]), blocks, eps)


# ---- running statistics ------------------------------------------------------------------------------------


def _running(name: str, value: Any, channels: int) -> DeviceArray:
    array = device_arrays.describe(name, value)
    check_running(name, channels, array.shape, array.dtype)
    return array


def _run_on_channels(
    template: Any,
    moving: tuple[DeviceArray, DeviceArray],
    by_sample: tuple[DeviceArray, DeviceArray],
    numbers: tuple[float, ...],
) -> None:
    mean, variance = moving
    samples, channels = by_sample[0].shape
    if samples * channels == 0:
        return
    addresses = [array.address for array in (*moving, *by_sample)]
    words = channels, samples, *mean.strides(), *variance.strides()
    grid, key = -(-channels // cuts.THREADS), (mean.dtype, variance.dtype)
    like = by_sample[0]
    launch.run(
        template,
        key,
        like,
        grid,
        cuts.THREADS,
        *addresses,
        *words,
        *numbers,
    )


def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    out: Any = None,
) -> tuple[Any, NormSaved]:
    """As fastnn.functional.instance_norm. Running statistics are moved in the input's stream."""
    x = device_arrays.ready("input", input)
    if len(x.shape) < 2:
        raise ValueError(f"input must have shape (N, C, ...), got {x.shape}")
    n, channels, *rest = x.shape
    inner = math.prod(rest)
    w, b = parameter("weight", weight, (channels,)), parameter("bias", bias, (channels,))
    eps = real_number("eps", eps)
    shape, blocks = (n, channels), (channels, 1, inner)
    _check_given_together(running_mean, running_var, use_input_stats)
    if running_mean is None:
        _check_instances(x.shape, inner)
        return _normalise(x.owner, w, b, out, shape, blocks, eps)
    mean, var = (
        _running("running_mean", running_mean, channels),
        _running("running_var", running_var, channels),
    )
    device_arrays.same_device([("input", x), ("running_mean", mean), ("running_var", var)])
    if not use_input_stats:
        given = memory.empty(x, shape, "float64"), memory.empty(x, shape, "float64")
        _run_on_channels(running.given_statistics, (mean, var), given, (eps,))
        return _normalise(x.owner, w, b, out, shape, blocks, eps, "given", given)
    _check_instances(x.shape, inner)
    part, variance = real_number("momentum", momentum), memory.empty(x, shape, "float64")
    y, saved = _normalise(x.owner, w, b, out, shape, blocks, eps, variance=variance)
    if x.size:
        means = device_arrays.describe("mean", saved.mean)
        numbers = part, inner / (inner - 1)
        _run_on_channels(running.move_running, (mean, var), (means, variance), numbers)
    return y, saved


# ---- backward ----------------------------------------------------------------------------------------------


def layer_norm_backward(dy: Any, saved: NormSaved, *, out: Any = None) -> Gradients:
    """As fastnn.functional.layer_norm_backward: rows' sums in float64, those over rows in a fixed order."""
    return gradients(dy, saved, out)


def rms_norm_backward(dy: Any, saved: NormSaved, *, out: Any = None) -> tuple[Any, Any]:
    """As fastnn.functional.rms_norm_backward."""
    dx, dweight, _ = gradients(dy, saved, out)
    return dx, dweight


def group_norm_backward(dy: Any, saved: NormSaved, *, out: Any = None) -> Gradients:
    """As fastnn.functional.group_norm_backward."""
    return gradients(dy, saved, out)


def instance_norm_backward(dy: Any, saved: NormSaved, *, out: Any = None) -> Gradients:
    """As fastnn.functional.instance_norm_backward."""
    return gradients(dy, saved, out)
