"""Layers of functions along a dimension: softmax, log softmax, GLU and SwiGLU."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import ClassVar

import fastnn.functional as F
from fastnn._core.arrays import integer
from fastnn._core.typing import Array
from fastnn.nn.module import Module


class _AlongDim(Module):
    """y = F.function(x, dim), dx = F.function_backward(dy, x or y, dim)."""

    _forward: ClassVar[Callable[..., Array]]
    _backward: ClassVar[Callable[..., Array]]
    _saves_output: ClassVar[bool]

    def __init_subclass__(cls, function: str | None = None) -> None:
        if function is not None:
            cls._forward = staticmethod(getattr(F, function))
            cls._backward = staticmethod(getattr(F, f"{function}_backward"))
            cls._saves_output = list(inspect.signature(cls._backward).parameters)[1] == "output"

    def __init__(self, dim: int = -1) -> None:
        self.dim = integer("dim", dim)

    def forward(self, x: Array) -> Array:
        """Return the function's values."""
        y = self._forward(x, self.dim)
        self._saved = y if self._saves_output else x
        return y

    def backward(self, dy: Array) -> Array:
        """Return the gradient with respect to x."""
        return self._backward(dy, self._take_saved(), self.dim)

    def extra_repr(self) -> str:
        """Return the parameter, by name."""
        return f"dim={self.dim}"


class Softmax(_AlongDim, function="softmax"):
    """e^x / (the sum of e^x along dim)."""


class LogSoftmax(_AlongDim, function="log_softmax"):
    """x - log(the sum of e^x along dim)."""


class GLU(_AlongDim, function="glu"):
    """a sigmoid(b), where a and b are the halves of x along dim. Dauphin, Fan, Auli and Grangier, 2017."""


class SwiGLU(_AlongDim, function="swiglu"):
    """silu(a) b, where a and b are the halves of x along dim. Shazeer, 2020."""
