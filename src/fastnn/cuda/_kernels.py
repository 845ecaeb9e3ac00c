"""The twins of the functions of fastnn._kernels that the layers above call: the same, for arrays on a GPU."""

from __future__ import annotations

from typing import Any

from fastnn import _kernels
from fastnn.cuda import _arrays
from fastnn.cuda.kernels import elementwise, tiles

#: The rows of the table of activations, by their number, and what each one's backward needs.
_ROWS = [(name, saved) for name, (saved, _) in _kernels.activations().items()]


def forward(kernel: int, input: Any, out: Any, p0: float = 0.0, p1: float = 0.0) -> Any:
    """`kernel` (the number of an activation's forward) of `input`."""
    arrays = _arrays.elementwise((("input", input),), out)
    key = arrays.target.dtype, (("activation", _ROWS[kernel // 2][0]),)
    operands = elementwise.forward_operands(*key)
    tiles.run(elementwise.chain_forward, key, operands, (arrays.target, *arrays.inputs), (p0, p1))
    return arrays.result()


def backward(kernel: int, dy: Any, saved: Any, out: Any, p0: float = 0.0, p1: float = 0.0) -> Any:
    """`kernel` (the number of an activation's backward) of `dy` and what forward's input or output was."""
    name, kept = _ROWS[kernel // 2]
    arrays = _arrays.elementwise((("dy", dy), (kept, saved)), out)
    key = arrays.target.dtype, name
    operands = elementwise.backward_operands(key[0], ())
    tiles.run(elementwise.gradient, key, operands, (arrays.target, *arrays.inputs), (p0, p1))
    return arrays.result()
