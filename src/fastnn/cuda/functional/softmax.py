"""The twins of fastnn.functional.softmax: the same for arrays on a GPU."""

from __future__ import annotations

import math
from typing import Any

from fastnn import _kernels
from fastnn._core.arrays import axis
from fastnn.cuda._core import device_arrays
from fastnn.cuda.kernels.common import cuts, rows
from fastnn.cuda.kernels.loss import softmax
from fastnn.functional.softmax import float_name


def sizes(shape: tuple[int, ...], dim: int) -> tuple[int, int, int]:
    """(outer, length, inner) of an array with its samples along axis `dim`; 0 dimensions are one element."""
    if not shape:
        return 1, 1, 1
    return math.prod(shape[:dim]), shape[dim], math.prod(shape[dim + 1 :])


def _converted(input: Any, dtype: Any) -> Any:
    """The input in this dtype."""
    return device_arrays.astype(device_arrays.ready("input", input), float_name(dtype)).owner


def _softmax(kind: int, input: Any, dim: int, out: Any) -> Any:
    """SOFTMAX or LOG_SOFTMAX. A GPU moves each element once in and once out where registers hold a sample."""
    arrays = device_arrays.elementwise((("input", input),), out, in_c_order=True)
    shape = arrays.target.shape
    _run(softmax.forward, kind, arrays, sizes(shape, axis(dim, max(len(shape), 1))))
    return arrays.result()


def _softmax_backward(kind: int, dy: Any, output: Any, dim: int, out: Any) -> Any:
    """The gradient of SOFTMAX or LOG_SOFTMAX."""
    arrays = device_arrays.elementwise((("dy", dy), ("output", output)), out, in_c_order=True)
    shape = arrays.target.shape
    _run(softmax.backward, kind, arrays, sizes(shape, axis(dim, max(len(shape), 1))))
    return arrays.result()


def _run(template: Any, kind: int, arrays: device_arrays.Elementwise, shape: tuple[int, int, int]) -> None:
    target, inputs = arrays.target, arrays.inputs
    if target.size == 0:
        return
    cut = cuts.cut_of(shape, (target, *inputs), len(inputs))
    key = target.dtype, kind == _kernels.LOG_SOFTMAX, tuple(cut)
    addresses = [target.address, *(array.address for array in reversed(inputs))]
    rows.run(template, key, cut, target, shape, addresses)
