"""The activations on a GPU: each one's device functions, by the names of the CPU's table. It knows no memory.

forward(x, p0, p1) and backward(dy, saved, p0, p1), for float32 and float64, are formulas in x, or in what
backward saves; p0 and p1 are the parameters in the table's order. They stand in the files imported here.
Gradients at kinks are torch's; comparisons are written so that NaN passes through.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastnn import _kernels
from fastnn.cuda.kernels.activation import exponentials, gelu, piecewise


class Activation(NamedTuple):
    """Device functions forward(x, p0, p1) and backward(dy, saved, p0, p1)."""

    forward: Any
    backward: Any
    saves_output: bool


def _table() -> dict[str, Activation]:
    """The functions by the rows of the CPU's table (fastnn._kernels.activations)."""
    found = vars(piecewise) | vars(exponentials) | vars(gelu)
    return {
        name: Activation(found[name], found[f"{name}_backward"], saved == "output")
        for name, (saved, _) in _kernels.activations().items()
    }


ACTIVATIONS = _table()
