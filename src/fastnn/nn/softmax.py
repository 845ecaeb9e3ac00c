"""Softmax and LogSoftmax as layers: formulas and gradients are fastnn.functional's."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import ClassVar

import fastnn.functional as F
from fastnn.nn.module import Array, Module


class _AlongDim(Module):
    """y = F.function(x, dim), dx = F.function_backward(dy, y, dim)."""

    _forward: ClassVar[Callable[..., Array]]
    _backward: ClassVar[Callable[..., Array]]

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        try:
            self.dim = operator.index(dim)
        except TypeError:
            raise TypeError(f"dim must be an integer, got {type(dim).__name__}") from None

    def forward(self, x: Array) -> Array:
        """Return the function's values, in the shape of `x`."""
        self._kept = y = self._forward(x, self.dim)
        return y

    def backward(self, dy: Array) -> Array:
        """Return the gradient with respect to x."""
        return self._backward(dy, self._keep(), self.dim)

    def extra_repr(self) -> str:
        """Return the parameter, by name."""
        return f"dim={self.dim}"


class Softmax(_AlongDim):
    """e^x / (the sum of e^x along dim)."""

    _forward = staticmethod(F.softmax)
    _backward = staticmethod(F.softmax_backward)


class LogSoftmax(_AlongDim):
    """x - log(the sum of e^x along dim)."""

    _forward = staticmethod(F.log_softmax)
    _backward = staticmethod(F.log_softmax_backward)
