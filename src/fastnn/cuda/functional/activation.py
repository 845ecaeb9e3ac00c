"""Elementwise activations on a GPU: the general ways of the binding's kernels, for its arrays."""

from __future__ import annotations

import functools
from typing import Any

from fastnn import _kernels
from fastnn.cuda._core import device_arrays
from fastnn.cuda._runtime import launch
from fastnn.cuda._runtime.compiler import Template
from fastnn.cuda._runtime.memory import Alike
from fastnn.cuda.kernels.chain import elementwise
from fastnn.cuda.kernels.common import tiles

#: The rows of the table of activations, by their number, and what each one's backward needs.
_ROWS = [(name, saved) for name, (saved, _) in _kernels.activations().items()]


@functools.cache
def _plan(dtype: str, kernel: int) -> tuple[Template, Any, int]:
    """A kernel's template, its key, and the elements that a block takes."""
    name = _ROWS[kernel // 2][0]
    if kernel % 2:
        return elementwise.gradient, (dtype, name), tiles.tile(elementwise.backward_operands(dtype, ()))
    stages = (("activation", name),)
    return elementwise.chain_forward, (dtype, stages), tiles.tile(elementwise.forward_operands(dtype, stages))


def _run_alike(kernel: int, arrays: Alike, p0: float, p1: float) -> Any:
    """The result of a kernel on arrays that are alike."""
    result, addresses, dtype, size, device, stream = arrays
    template, key, tile = _plan(dtype, kernel)
    arguments = (*addresses, size, p0, p1)
    launch.start(template, key, device, stream, -(-size // tile), tiles.THREADS, arguments)
    return result


def _forward(kernel: int, input: Any, out: Any, p0: float, p1: float) -> Any:
    """`kernel` (the number of an activation's forward) of `input`."""
    alike = device_arrays.alike(input, (), out)
    if alike is not None:
        return _run_alike(kernel, alike, p0, p1)
    arrays = device_arrays.elementwise((("input", input),), out)
    tiles.run(*_plan(arrays.target.dtype, kernel), (arrays.target, *arrays.inputs), (p0, p1))
    return arrays.result()


def _backward(kernel: int, dy: Any, saved: Any, out: Any, p0: float, p1: float) -> Any:
    """`kernel` (the number of an activation's backward) of `dy` and what forward's input or output was."""
    alike = device_arrays.alike(dy, (saved,), out)
    if alike is not None:
        return _run_alike(kernel, alike, p0, p1)
    arrays = device_arrays.elementwise((("dy", dy), (_ROWS[kernel // 2][1], saved)), out)
    tiles.run(*_plan(arrays.target.dtype, kernel), (arrays.target, *arrays.inputs), (p0, p1))
    return arrays.result()
