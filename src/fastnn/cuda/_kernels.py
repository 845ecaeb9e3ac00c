"""The twins of the functions of fastnn._kernels that the layers above call: the same, for arrays on a GPU."""

from __future__ import annotations

import functools
from typing import Any

from fastnn import _kernels
from fastnn.cuda import _arrays
from fastnn.cuda._arrays import Elementwise
from fastnn.cuda.kernels import draws, elementwise, random, tiles
from fastnn.random import Key

#: The rows of the table of activations, by their number, and what each one's backward needs.
_ROWS = [(name, saved) for name, (saved, _) in _kernels.activations().items()]


@functools.cache
def _forward_plan(dtype: str, kernel: int) -> tuple[tuple[Any, ...], int]:
    """The key of a template, and the elements that a block takes."""
    key = dtype, (("activation", _ROWS[kernel // 2][0]),)
    return key, tiles.tile(elementwise.forward_operands(*key))


@functools.cache
def _backward_plan(dtype: str, kernel: int) -> tuple[tuple[Any, ...], int]:
    return (dtype, _ROWS[kernel // 2][0]), tiles.tile(elementwise.backward_operands(dtype, ()))


def forward(kernel: int, input: Any, out: Any, p0: float = 0.0, p1: float = 0.0) -> Any:
    """`kernel` (the number of an activation's forward) of `input`."""
    alike = _arrays.alike((input,), out)
    if alike is not None:
        return tiles.run_alike(elementwise.chain_forward, *_forward_plan(alike[2], kernel), alike, p0, p1)
    arrays = _arrays.elementwise((("input", input),), out)
    key = arrays.target.dtype, (("activation", _ROWS[kernel // 2][0]),)
    operands = elementwise.forward_operands(*key)
    tiles.run(elementwise.chain_forward, key, operands, (arrays.target, *arrays.inputs), (p0, p1))
    return arrays.result()


def backward(kernel: int, dy: Any, saved: Any, out: Any, p0: float = 0.0, p1: float = 0.0) -> Any:
    """`kernel` (the number of an activation's backward) of `dy` and what forward's input or output was."""
    alike = _arrays.alike((dy, saved), out)
    if alike is not None:
        return tiles.run_alike(elementwise.gradient, *_backward_plan(alike[2], kernel), alike, p0, p1)
    name, kept = _ROWS[kernel // 2]
    arrays = _arrays.elementwise((("dy", dy), (kept, saved)), out)
    key = arrays.target.dtype, name
    operands = elementwise.backward_operands(key[0], ())
    tiles.run(elementwise.gradient, key, operands, (arrays.target, *arrays.inputs), (p0, p1))
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
    arrays = _drawable(_arrays.elementwise(((name, input),), out), out, shared_from)
    (x,), y = arrays.inputs, arrays.target
    if threshold == 65536 and scale == 1 and shift == 0:  # the bits of every NaN too
        y.library.assign(y.owner, x.owner)
        return arrays.result()
    source, words = draws.source(Key(*key), threshold, y, shared_from)
    kernel = y.dtype, not shift == dropped == 0, source is draws.MAPPED
    tiles.run(random.dropout, kernel, random.operands(y.dtype), (y, x), (scale, shift, dropped), words)
    return arrays.result()


def _drawable(arrays: Elementwise, out: Any, shared_from: int | None) -> Elementwise:
    """The arrays, or others in C order if no map leads from their memory to draws."""
    if len(draws.axes_of(arrays.target, shared_from)) <= draws.MOST_AXES:
        return arrays
    inputs = tuple(_arrays.contiguous(x) for x in arrays.inputs)
    return Elementwise(inputs, _arrays.empty(inputs[0], inputs[0].shape, inputs[0].dtype), out)
