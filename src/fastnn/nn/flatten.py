"""Flatten: several axes as one."""

from __future__ import annotations

import math

from fastnn._core.arrays import integer
from fastnn._core.typing import Array
from fastnn.nn.module import Module


class Flatten(Module):
    """The axes start_dim to end_dim (both counted) as one, in C order; a view where memory allows it.

    As a rule (N, C, H, W) becomes (N, C H W). Raises IndexError for axes that the input does not have,
    ValueError for an end_dim before start_dim, TypeError for what is no integer.
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        integer("Flatten: start_dim", start_dim)
        integer("Flatten: end_dim", end_dim)
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Array) -> Array:
        """Return `x` in its new shape."""
        start, end = (self._axis(name, x.ndim) for name in ("start_dim", "end_dim"))
        if end < start:
            raise ValueError(
                f"Flatten: end_dim must not be before start_dim, {self.start_dim}, got {self.end_dim}"
            )
        shape = (*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :])
        self._saved = x.shape, shape
        return x.reshape(shape)

    def backward(self, dy: Array) -> Array:
        """Return `dy` in the shape of the input; ValueError where it has not the output's shape."""
        given, shape = self._take_saved()
        if dy.shape != shape:
            raise ValueError(f"Flatten: dy must have the shape of forward's result, {shape}, got {dy.shape}")
        return dy.reshape(given)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"

    def _axis(self, name: str, ndim: int) -> int:
        axis: int = getattr(self, name)
        if not -ndim <= axis < ndim:
            raise IndexError(
                f"Flatten: {name} must be in [{-ndim}, {ndim}) for an input of {ndim} dimensions, got {axis}"
            )
        return axis % ndim
