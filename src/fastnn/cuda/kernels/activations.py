"""Each activation and its gradient on a GPU: a formula in x, or in what backward saves. It knows no memory.

The names, parameters and what is saved are those of the CPU's table (fastnn._kernels.activations). All work
for float32 and float64. Gradients at kinks are torch's; comparisons are written so that NaN passes through.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastnn import _kernels
from fastnn.cuda._ptx import device, like


class Activation(NamedTuple):
    """Device functions forward(x, p0, p1) and backward(dy, saved, p0, p1)."""

    forward: Any
    backward: Any
    saves_output: bool


@device
def relu(x: float, p0: float, p1: float) -> float:
    """y = max(x, 0)."""
    return like(x, 0) if x <= 0 else x


@device
def relu_backward(dy: float, y: float, p0: float, p1: float) -> float:
    """dx = dy where y > 0, else 0."""
    return like(dy, 0) if y <= 0 else dy


@device
def leaky_relu(x: float, p0: float, p1: float) -> float:
    """y = x where x > 0, else p0 x."""
    return x if x > 0 else x * p0


@device
def leaky_relu_backward(dy: float, x: float, p0: float, p1: float) -> float:
    """dx = dy where x > 0, else p0 dy."""
    return dy if x > 0 else dy * p0


def _table() -> dict[str, Activation]:
    """What is in this file, by the rows of the CPU's table."""
    rows = _kernels.activations()
    return {
        name: Activation(globals()[name], globals()[f"{name}_backward"], rows[name][0] == "output")
        for name in rows
        if name in globals()
    }


ACTIVATIONS = _table()
