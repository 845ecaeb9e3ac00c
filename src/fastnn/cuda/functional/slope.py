"""The twins of fastnn.functional.slope: PReLU and RReLU for arrays on a GPU."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from fastnn._core.arrays import in_place
from fastnn._core.dtypes import computing_name
from fastnn.cuda._core import device_arrays, overlap
from fastnn.cuda._core.device_arrays import Elementwise
from fastnn.cuda._runtime import launch, memory
from fastnn.cuda._runtime.memory import DeviceArray
from fastnn.cuda.kernels.activation import slope, slope_sums
from fastnn.cuda.kernels.common import strips
from fastnn.cuda.kernels.common.strips import Strips
from fastnn.cuda.kernels.random import draws
from fastnn.functional.activation import leaky_relu, leaky_relu_backward
from fastnn.functional.slope import blocks, bounds, check_weight, forward_key
from fastnn.random import Key, given_or_next

# ---- PReLU -------------------------------------------------------------------------------------------------


def _weight(weight: Any, arrays: Elementwise) -> DeviceArray:
    """The weight in the dtype of the arrays, apart from what is written."""
    array, target = device_arrays.ready("weight", weight), arrays.target
    check_weight(array.shape, target.shape)
    device_arrays.same_device((("input", target), ("weight", array)))
    return overlap.apart(device_arrays.contiguous(device_arrays.astype(array, target.dtype)), target)


def _promoted(named: device_arrays.Named, out: Any) -> Elementwise:
    return device_arrays.elementwise(named, out, in_c_order=True)


def _prelu(input: Any, weight: Any, out: Any) -> Any:
    """PReLU; the weight stays on the GPU, also if it is one."""
    arrays = _promoted((("input", input),), out)
    (x,), y, w = arrays.inputs, arrays.target, _weight(weight, arrays)
    outer, inner = blocks(x.shape, w.size)
    channels_last = inner == 1 and w.size > 1
    if channels_last:
        shape, step, across = (1, outer, w.size), (0, w.size), (0, 0)
    else:
        shape, step, across = (outer, w.size, inner), (w.size * inner, inner), (0, 1)
    operands = [Strips(y.address, *step), Strips(x.address, *step), Strips(w.address, *across)]
    strips.run(slope.prelu, (y.dtype, not channels_last), y, operands, shape)
    return arrays.result()


def prelu_backward(dy: Any, input: Any, weight: Any, *, out: Any = None) -> tuple[Any, Any]:
    """dx, and dweight in input's dtype, summed in float64 in an order that depends on the shape alone."""
    arrays = _promoted((("dy", dy), ("input", input)), out)
    (g, x), dx, w = arrays.inputs, arrays.target, _weight(weight, arrays)
    dweight = memory.empty(w, w.shape, w.dtype)
    slope_sums.run((dx, g, x, w), dweight, *blocks(x.shape, w.size))
    return arrays.result(), dweight.owner


# ---- RReLU -------------------------------------------------------------------------------------------------


def rrelu(
    input: Any,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
    *,
    key: Key | None = None,
    out: Any = None,
) -> Any:
    """The slopes are the CPU's, bit for bit."""
    low, high = bounds(lower, upper)
    out = in_place(input, out) if inplace else out
    if not training:
        return leaky_relu(input, (low + high) / 2, out=out)
    arrays = _promoted((("input", input),), out)
    _run(arrays, given_or_next(key), low, high)
    return arrays.result()


def rrelu_backward(
    dy: Any,
    input: Any,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    *,
    key: Key | None = None,
    out: Any = None,
) -> Any:
    """The slopes are those of the forward call, drawn again from its key."""
    low, high = bounds(lower, upper)
    if not training:
        return leaky_relu_backward(dy, input, (low + high) / 2, out=out)
    drawn_with = forward_key(key)
    arrays = _promoted((("dy", dy), ("input", input)), out)
    _run(arrays, drawn_with, low, high)
    return arrays.result()


def _line(low: float, high: float, dtype: str) -> list[float]:
    """A draw's slope as (step, step_low, start, start_low): two numbers in two parts each."""
    real: Any = getattr(np, computing_name(dtype))
    step = (Fraction(high) - Fraction(low)) / 65536
    parts = []
    for number in (step, Fraction(low) + step / 2):
        rounded = float(real(float(number)))
        parts += [rounded, float(real(float(number - Fraction(rounded))))]
    return parts


def _run(arrays: Elementwise, key: Key, low: float, high: float) -> None:
    out, n = arrays.target, arrays.target.size
    if n == 0:
        return
    dy, x = arrays.inputs[0], arrays.inputs[-1]
    grid = -(-n // (slope.THREADS * slope.DRAWS))
    words = map(launch.signed, draws.key_words(key, 0, out))
    addresses, line = (out.address, dy.address, x.address), _line(low, high, out.dtype)
    kernel = slope.rrelu, (out.dtype, len(arrays.inputs) == 2)
    launch.run(*kernel, out, grid, slope.THREADS, *addresses, n, *words, *line)
