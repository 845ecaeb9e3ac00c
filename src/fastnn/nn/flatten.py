"""Flatten: several axes as one."""

from __future__ import annotations

import math

from fastnn.nn.module import Array, Module


class Flatten(Module):
    """The axes start_dim to end_dim (both counted) as one, in C order; a view where memory allows it.

    As a rule (N, C, H, W) becomes (N, C H W). Raises IndexError for axes that the input does not have,
    ValueError for an end_dim before start_dim.
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Array) -> Array:
        """Return `x` in its new shape."""
        start, end = (self._axis(name, x.ndim) for name in ("start_dim", "end_dim"))
        if end < start:
            raise ValueError(f"Flatten: end_dim {self.end_dim} is before start_dim {self.start_dim}")
        shape = (*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :])
        self._kept = x.shape, shape
        return x.reshape(shape)

    def backward(self, dy: Array) -> Array:
        """Return `dy` in the shape of the input; ValueError where it has not the output's shape."""
        given, shape = self._keep()
        if dy.shape != shape:
            raise ValueError(
                f"Flatten: dy has shape {dy.shape}; an input of {given} takes the output's, {shape}"
            )
        return dy.reshape(given)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"

    def _axis(self, name: str, ndim: int) -> int:
        axis: int = getattr(self, name)
        if not -ndim <= axis < ndim:
            raise IndexError(f"Flatten: {name} is {axis}; an input of {ndim} axes has none such")
        return axis % ndim
