"""The twins of the functions of fastnn._kernels that the layers above call: the same, for arrays on a GPU."""

from __future__ import annotations

import functools
from typing import Any

from fastnn import _kernels
from fastnn.cuda._core import device_arrays
from fastnn.cuda._core.device_arrays import Elementwise
from fastnn.cuda._runtime import launch, memory
from fastnn.cuda._runtime.compiler import Template
from fastnn.cuda._runtime.memory import Alike
from fastnn.cuda.kernels.chain import elementwise
from fastnn.cuda.kernels.common import tiles
from fastnn.cuda.kernels.random import draws, random
from fastnn.random import Key

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


def forward(kernel: int, input: Any, out: Any, p0: float = 0.0, p1: float = 0.0) -> Any:
    """`kernel` (the number of an activation's forward) of `input`."""
    alike = device_arrays.alike(input, (), out)
    if alike is not None:
        return _run_alike(kernel, alike, p0, p1)
    arrays = device_arrays.elementwise((("input", input),), out)
    tiles.run(*_plan(arrays.target.dtype, kernel), (arrays.target, *arrays.inputs), (p0, p1))
    return arrays.result()


def backward(kernel: int, dy: Any, saved: Any, out: Any, p0: float = 0.0, p1: float = 0.0) -> Any:
    """`kernel` (the number of an activation's backward) of `dy` and what forward's input or output was."""
    alike = device_arrays.alike(dy, (saved,), out)
    if alike is not None:
        return _run_alike(kernel, alike, p0, p1)
    arrays = device_arrays.elementwise((("dy", dy), (_ROWS[kernel // 2][1], saved)), out)
    tiles.run(*_plan(arrays.target.dtype, kernel), (arrays.target, *arrays.inputs), (p0, p1))
    return arrays.result()


def dropout(
    name: str,
    input: Any,
    out: Any,
    key: Key,
    threshold: int,
    scale: float,
    shift: float = 0.0,
    dropped: float = 0.0,
    axes: int = -1,
) -> Any:
    """scale x + shift where the draw is below `threshold`, else `dropped`.

    Elements of one index into the first `axes` axes share a draw; axes < 0: every one has its own.
    """
    shared_from = None if axes < 0 else axes
    arrays = _drawable(device_arrays.elementwise(((name, input),), out), out, shared_from)
    (x,), y = arrays.inputs, arrays.target
    if threshold == 65536 and scale == 1 and shift == 0:  # the bits of every NaN too
        y.library.assign(y.owner, x.owner)
        return arrays.result()
    source, words = draws.source(Key(*key), threshold, y, shared_from)
    kernel = y.dtype, not shift == dropped == 0, source is draws.MAPPED
    tile = tiles.tile(random.operands(y.dtype))
    tiles.run(random.dropout, kernel, tile, (y, x), (scale, shift, dropped), words)
    return arrays.result()


def _drawable(arrays: Elementwise, out: Any, shared_from: int | None) -> Elementwise:
    """The arrays, or others in C order if no map leads from their memory to draws."""
    if len(draws.axes_of(arrays.target, shared_from)) <= draws.MOST_AXES:
        return arrays
    inputs = tuple(device_arrays.contiguous(x) for x in arrays.inputs)
    return Elementwise(inputs, memory.empty(inputs[0], inputs[0].shape, inputs[0].dtype), out)
